"""Pixel-wise softmax cross-entropy on low-resolution logits, without holding the full-resolution scores.

Shapes: B batch, K classes, h,w logits, H,W labels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sceneparse.errors import InputError
from sceneparse.kernels import bilinear, transposed
from sceneparse.kernels.target import Gradients, Target
from sceneparse.models.upsample import Upsampling


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of bilinearly upsampled logits over the pixels that are not ignored.

    Equal in value and gradient to ``F.interpolate(logits, (H, W), mode="bilinear", align_corners=False)``
    followed by ``F.cross_entropy``. The gradient is made together with the value, block by block. Where every
    pixel is ignored the loss is 0 with gradient 0, not nan.

    Args:
        logits: floating point (B, K, h, w), at any stride; h, w = H, W takes them as they are.
        labels: integers (B, H, W), 0..K-1 or ``ignore_index``.
        ignore_index: label without effect on value and gradient.
        class_weights: (K,), each pixel counts with the weight of its class, also in the mean; None: 1.
        label_smoothing: share 0..1 of the target that is spread evenly over all classes.

    Returns:
        float32 scalar.

    Raises:
        InputError: shapes do not go together, or a label is none of those above (on the CPU).
    """
    total = cross_entropy_sum(logits, labels, ignore_index, class_weights, label_smoothing)
    return mean_of(total, pixel_weight(labels, ignore_index, class_weights))


def cross_entropy_sum(
    scores: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    *,
    upsampling: Upsampling | None = None,
) -> Tensor:
    """Sum of the weighted cross-entropies: what :func:`upsampled_cross_entropy` divides.

    Args:
        scores: floating point (B, C, h, w).
        labels: and the rest as there.
        ignore_index: likewise.
        class_weights: likewise.
        label_smoothing: likewise.
        upsampling: how logits of the labels' size come from the scores, see
            :meth:`sceneparse.models.network.Network.upsampling`; None: bilinear, C = K. A learned kernel gets
            its gradient too.

    Returns:
        float32 scalar.
    """
    upsampling = upsampling or Upsampling()
    if scores.ndim != 4 or labels.ndim != 3 or len(scores) != len(labels):
        raise InputError(
            f"logits (B, K, h, w) and labels (B, H, W) expected; got {tuple(scores.shape)} "
            f"and {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels are integers; got {labels.dtype}")
    classes = upsampling.num_classes(scores.shape[1])
    if class_weights is not None and class_weights.shape != (classes,):
        raise InputError(f"{classes} class weights expected; got {tuple(class_weights.shape)}")
    target = Target(
        labels, ignore_index, None if class_weights is None else class_weights.float(), label_smoothing
    )
    total: Tensor = _Loss.apply(scores, upsampling.kernel, upsampling, target, torch.is_grad_enabled())
    return total


class _Loss(torch.autograd.Function):
    """A loss whose gradient is made with it: nothing of the labels' size is kept for the way back."""

    @staticmethod
    def forward(
        ctx: Any,
        scores: Tensor,
        kernel: Tensor | None,
        upsampling: Upsampling,
        target: Target,
        with_gradient: bool,
    ) -> Tensor:
        of_scores, of_kernel = (with_gradient and needed for needed in ctx.needs_input_grad[:2])
        found = _loss(scores.detach().float(), upsampling, target, of_scores, of_kernel)
        ctx.save_for_backward(found.scores, found.kernel)
        ctx.dtype, ctx.kernel_dtype = scores.dtype, None if kernel is None else kernel.dtype
        return found.total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        scores, kernel = ctx.saved_tensors
        return (
            None if scores is None else (scores * change).to(ctx.dtype),
            None if kernel is None else (kernel * change).to(ctx.kernel_dtype),
            None,
            None,
            None,
        )


def _loss(
    scores: Tensor, upsampling: Upsampling, target: Target, of_scores: bool, of_kernel: bool
) -> Gradients:
    if upsampling.kernel is not None:
        return transposed.loss(
            scores,
            upsampling.kernel.detach().float(),
            target,
            offset=upsampling.offset,
            groups=upsampling.groups,
            of_scores=of_scores,
            of_kernel=of_kernel,
        )
    height, width = target.labels.shape[1:]
    covered_hw = upsampling.padded_size_hw or (height, width)
    corners = upsampling.align_corners
    return bilinear.loss(scores, target, covered_hw, with_gradient=of_scores, align_corners=corners)


def pixel_weight(labels: Tensor, ignore_index: int = 255, class_weights: Tensor | None = None) -> Tensor:
    """What the mean over ``labels`` (integers, any shape) divides by: pixels counted, or the sum of their
    classes' weights; float32 scalar.
    """
    counted = labels != ignore_index
    if class_weights is None:
        return counted.sum().float()
    return (class_weights[labels.long().where(counted, 0)] * counted).sum()


def mean_of(total: Tensor, weight: Tensor) -> Tensor:
    """``total / weight``, and 0 with gradient 0 where nothing is counted."""
    return total / weight.clamp(min=torch.finfo(torch.float32).tiny)


def class_weights(kind: str, pixels: Tensor, factors: Tensor | None = None) -> Tensor | None:
    """Weights of the classes from their pixels in the training split.

    Args:
        kind: "none"; "enet": ``1 / ln(1.02 + share)`` [Paszke et al. 2016, section 5.2]; "median-frequency":
            the median share over the class's share [Eigen, Fergus 2015, section 6.3.2, with shares of the
            whole split].
        pixels: (K,) counts.
        factors: (K,) what the data set says of its classes; multiplies the weights.

    Returns:
        float32 (K,) with mean 1 over the classes that occur, 1 for those that don't, times the factors; None
        where all are 1 by choice.
    """
    if kind == "none":
        return None if factors is None or bool((factors == 1).all()) else factors.float()
    share = pixels.double() / pixels.sum().clamp(min=1)
    there = share > 0
    if kind == "enet":
        weights = 1 / torch.log(1.02 + share)
    else:
        assert kind == "median-frequency", kind
        weights = share[there].median() / share.clamp(min=1e-12) if there.any() else torch.ones_like(share)
    weights = weights / weights[there].mean() if there.any() else weights
    weights = weights.where(there, 1.0).float()
    return weights if factors is None else weights * factors
