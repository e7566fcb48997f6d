"""What the loss of a pixel is measured against, and the softmax loss of scores that are at hand.

Shapes: B batch, K classes, H,W labels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sceneparse.errors import InputError

_SURE = 1e-30
"""A probability above it is a float32 with all its digits."""


class Target(NamedTuple):
    """Labels and how they count.

    Args:
        labels: integers (B, H, W), 0..K-1 or ``ignore_index``.
        ignore_index: label without effect.
        class_weights: float32 (K,), or None for 1.
        smoothing: share 0..1 of the target that is spread evenly over all classes.
    """

    labels: Tensor
    ignore_index: int
    class_weights: Tensor | None
    smoothing: float


class Gradients(NamedTuple):
    """A loss and what it says of its inputs.

    Args:
        total: float32 scalar, sum over the counted pixels.
        scores: of the scores, in their shape and float32; None where nobody asked.
        kernel: of the upsampling kernel, float32; None where it is fixed or nobody asked.
    """

    total: Tensor
    scores: Tensor | None = None
    kernel: Tensor | None = None


def softmax_loss(scores: Tensor, labels: Tensor, target: Target, *, dim: int) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropies, and the gradient of it.

    Args:
        scores: float32, pixels in any arrangement and K classes along ``dim``.
        labels: of the pixels, in the same arrangement; those of ``target`` or a part of them.
        target: how they count; smoothing and weights as in ``F.cross_entropy``.
        dim: 0 or -1.

    Returns:
        float64 scalar, and float32 like ``scores``.
    """
    classes = scores.shape[dim]
    counted = labels != target.ignore_index
    index = labels.long().where(counted, 0)
    weights = target.class_weights
    weight = counted.float() if weights is None else weights[index] * counted
    gradient = scores.softmax(dim)
    chosen = gradient.gather(dim, index.unsqueeze(dim)).squeeze(dim)
    if scores.device.type == "cpu":
        loss = -chosen.log()
        unsure = (chosen < _SURE) & counted
        if bool(unsure.any()):
            pixels, at = scores.movedim(dim, -1)[unsure], index[unsure].unsqueeze(-1)
            loss[unsure] = pixels.logsumexp(-1) - pixels.gather(-1, at).squeeze(-1)
    else:  # elsewhere asking is waiting
        loss = scores.logsumexp(dim) - scores.gather(dim, index.unsqueeze(dim)).squeeze(dim)
    own = weight * (1 - target.smoothing)
    total = (loss * own).where(counted, 0).sum(dtype=torch.float64)
    share = own
    if target.smoothing:
        each = scores.new_ones(classes) if weights is None else weights
        spread = each * (target.smoothing / classes)
        log_sum = loss + scores.gather(dim, index.unsqueeze(dim)).squeeze(dim)
        others = spread.sum() * log_sum - torch.tensordot(spread, scores, dims=([0], [dim]))
        total += others.where(counted, 0).sum(dtype=torch.float64)
        share = own + spread.sum() * counted
        spread = spread.view(-1, *[1] * labels.ndim) if dim == 0 else spread
    gradient *= share.unsqueeze(dim)
    gradient.scatter_add_(dim, index.unsqueeze(dim), -own.unsqueeze(dim))
    if target.smoothing:
        gradient.addcmul_(counted.unsqueeze(dim), spread, value=-1)
    return total, gradient


def refuse_strange_labels(target: Target, classes: int) -> None:
    """Labels beyond the classes, where looking for them costs no waiting: on the CPU.

    Raises:
        InputError: names the first.
    """
    labels = target.labels
    if labels.device.type != "cpu":
        return
    strange = labels[(labels != target.ignore_index) & ((labels < 0) | (labels >= classes))]
    if strange.numel():
        raise InputError(
            f"label {strange[0].item()} where 0 to {classes - 1} or {target.ignore_index} (ignored) were "
            "expected",
            fix="give the network as many classes as the labels have",
        )
