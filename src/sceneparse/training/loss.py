"""Pixel-wise softmax cross-entropy on low-resolution logits, without holding the full-resolution scores.

Shapes: B batch, K classes, h,w logits, H,W labels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sceneparse.errors import InputError

BAND_BYTES = 64 * 2**20


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy of bilinearly upsampled logits over the pixels that are not ignored.

    Equal in value and gradient to ``F.interpolate(logits, (H, W), mode="bilinear", align_corners=False)``
    followed by ``F.cross_entropy``, in bands of rows whose scores are made again in the backward pass. Where
    every pixel is ignored the loss is 0 with gradient 0, not nan.

    Args:
        logits: floating point (B, K, h, w), at any stride; h, w = H, W takes them as they are.
        labels: integers (B, H, W), 0..K-1 or ``ignore_index``.
        ignore_index: label without effect on value and gradient.
        class_weights: (K,), each pixel counts with the weight of its class, also in the mean; None: 1.
        label_smoothing: share 0..1 of the target that is spread evenly over all classes.

    Returns:
        float32 scalar.

    Raises:
        InputError: shapes do not go together.
    """
    return mean_of(*cross_entropy_sum(logits, labels, ignore_index, class_weights, label_smoothing))


def cross_entropy_sum(
    logits: Tensor,
    labels: Tensor,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Sum of the weighted cross-entropies, and sum of the weights: the parts of a mean over many batches.

    Takes and refuses what :func:`upsampled_cross_entropy` does; both are float32 scalars.
    """
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise InputError(
            f"logits (B, K, h, w) and labels (B, H, W) expected; got {tuple(logits.shape)} "
            f"and {tuple(labels.shape)}"
        )
    num_classes, h = logits.shape[1:3]
    height, width = labels.shape[1:]
    if class_weights is not None and class_weights.shape != (num_classes,):
        raise InputError(f"{num_classes} class weights expected; got {tuple(class_weights.shape)}")
    position = ((torch.arange(height, device=logits.device) + 0.5) * (h / height) - 0.5).clamp_(min=0)
    above = position.long().clamp_(max=h - 1)
    below = (above + 1).clamp_(max=h - 1)
    fraction = (position - above).view(1, 1, -1, 1)
    same_size = tuple(logits.shape[2:]) == (height, width)

    def band_sum(logits: Tensor, rows: slice) -> Tensor:
        if same_size:
            scores = logits[:, :, rows].float()
        else:
            scores = torch.lerp(
                logits[:, :, above[rows]].float(), logits[:, :, below[rows]].float(), fraction[:, :, rows]
            )
            scores = F.interpolate(
                scores, size=(scores.shape[2], width), mode="bilinear", align_corners=False
            )
        return F.cross_entropy(
            scores,
            labels[:, rows].long(),
            weight=class_weights,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
            reduction="sum",
        )

    band = max(1, BAND_BYTES // (4 * len(logits) * num_classes * width))
    again = band < height and torch.is_grad_enabled() and logits.requires_grad
    total = logits.new_zeros((), dtype=torch.float32)
    for first in range(0, height, band):
        rows = slice(first, first + band)
        if again:
            total = total + checkpoint(band_sum, logits, rows, use_reentrant=False, preserve_rng_state=False)
        else:
            total = total + band_sum(logits, rows)
    return total, pixel_weight(labels, ignore_index, class_weights)


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
