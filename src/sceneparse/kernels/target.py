"""What the loss of a pixel is measured against, and the softmax loss of scores that are at hand.

Shapes: B batch, K classes, H,W labels, ... pixels in any arrangement.
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


def softmax_loss(scores: Tensor, labels: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropies, and the gradient of it.

    Args:
        scores: float32 (..., K).
        labels: (...), of ``target`` or a part of it.
        target: how they count; smoothing and weights as in ``F.cross_entropy``.

    Returns:
        float64 scalar, and float32 (..., K).
    """
    classes = scores.shape[-1]
    counted = labels != target.ignore_index
    index = labels.long().where(counted, 0).unsqueeze(-1)
    weights = target.class_weights
    weight = counted.float() if weights is None else weights[index.squeeze(-1)] * counted
    gradient = scores.softmax(-1)
    chosen = gradient.gather(-1, index)
    loss = -chosen.log().squeeze(-1)
    unsure = (chosen.squeeze(-1) < _SURE) & counted
    if bool(unsure.any()):
        rows, at = scores[unsure], index[unsure]
        loss[unsure] = rows.logsumexp(-1) - rows.gather(-1, at).squeeze(-1)
    own = weight * (1 - target.smoothing)
    total = (loss * own).where(counted, 0).sum(dtype=torch.float64)
    spread = None
    if target.smoothing:
        each = scores.new_ones(classes) if weights is None else weights
        spread = each * (target.smoothing / classes)
        log_sum = loss + scores.gather(-1, index).squeeze(-1)
        others = spread.sum() * log_sum - scores @ spread
        total += others.where(counted, 0).sum(dtype=torch.float64)
    gradient *= (own if spread is None else own + spread.sum() * counted).unsqueeze(-1)
    gradient.scatter_add_(-1, index, -own.unsqueeze(-1))
    if spread is not None:
        gradient.addcmul_(counted.unsqueeze(-1), spread, value=-1)
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
