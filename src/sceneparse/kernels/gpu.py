"""Loss and labels of bilinearly upsampled scores on a GPU, in Triton; importing this imports Triton.

Between four neighbouring scores lies a cell of output pixels; one program takes the pixels of a cell. The
loss goes over the classes once for the logarithm of the sum of exponentials of every pixel, which is kept:
one number a pixel. The gradient goes over them again, a block of classes in a program, and writes what each
cell says of its four corners; they are added in a fixed order.

Shapes: B batch, K classes, h,w scores, H,W labels.
"""

# What is compiled by Triton has no types.
# mypy: allow-untyped-defs

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sceneparse.kernels.taps import begins, taps
from sceneparse.kernels.target import Gradients, Target

PIXELS = 64
"""Pixels of a cell that are done together: all of them at stride 8."""

CLASSES = 32
"""Classes that are done together."""


@triton.jit
def _cell(cell, h, w, row_begin, column_begin):
    """Image, score row and column of a cell; its first output row and column, and how many there are."""
    image, place = cell // (h * w), cell % (h * w)
    y0, x0 = place // w, place % w
    top, left = tl.load(row_begin + y0), tl.load(column_begin + x0)
    rows, columns = tl.load(row_begin + y0 + 1) - top, tl.load(column_begin + x0 + 1) - left
    return image, y0, x0, top, left, rows, columns


@triton.jit
def _some_pixels(first, top, left, rows, columns, row_part, column_part, width, PIXELS: tl.constexpr):
    """Which of some pixels of a cell exist, their place in an image, and their distances from its corner."""
    pixel = first + tl.arange(0, PIXELS)
    there = pixel < rows * columns
    y, x = top + pixel // columns, left + pixel % columns
    below = tl.load(row_part + y, mask=there, other=0.0)
    right = tl.load(column_part + x, mask=there, other=0.0)
    return there, y * width + x, below, right


@triton.jit
def _corner(scores, image, y, x, h, w, classes, k):
    """Scores (k) of one place, 0 beyond the classes; beyond the last row and column those of the last."""
    place = (image.to(tl.int64) * h + tl.minimum(y, h - 1)) * w + tl.minimum(x, w - 1)
    return tl.load(scores + place * classes + k, mask=k < classes, other=0.0).to(tl.float32)[None, :]


@triton.jit
def _logits(scores, image, y0, x0, h, w, classes, k, below, right):
    """Logits (pixels, k) of pixels of a cell; minus infinity beyond the classes."""
    t0 = _corner(scores, image, y0, x0, h, w, classes, k)
    t1 = _corner(scores, image, y0, x0 + 1, h, w, classes, k)
    b0 = _corner(scores, image, y0 + 1, x0, h, w, classes, k)
    b1 = _corner(scores, image, y0 + 1, x0 + 1, h, w, classes, k)
    top = t0 + right[:, None] * (t1 - t0)
    bottom = b0 + right[:, None] * (b1 - b0)
    return tl.where((k < classes)[None, :], top + below[:, None] * (bottom - top), float("-inf"))


@triton.jit
def _loss_kernel(
    scores,
    labels,
    class_weights,
    all_weights,
    log_sums,
    losses,
    row_begin,
    row_part,
    column_begin,
    column_part,
    h,
    w,
    height,
    width,
    classes,
    smoothing,
    PIXELS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """Loss of every cell into ``losses``, logarithm of the sum of every pixel into ``log_sums``."""
    cell = tl.program_id(0)
    image, y0, x0, top, left, rows, columns = _cell(cell, h, w, row_begin, column_begin)
    begin = image.to(tl.int64) * height * width
    total = tl.zeros((PIXELS,), tl.float32)
    for first in range(0, rows * columns, PIXELS):
        there, at, below, right = _some_pixels(
            first, top, left, rows, columns, row_part, column_part, width, PIXELS
        )
        label = tl.load(labels + begin + at, mask=there, other=-1)
        most = tl.full((PIXELS,), float("-inf"), tl.float32)
        exponentials = tl.zeros((PIXELS,), tl.float32)
        chosen = tl.zeros((PIXELS,), tl.float32)
        weighted = tl.zeros((PIXELS,), tl.float32)
        for block in range(0, classes, CLASSES):
            k = block + tl.arange(0, CLASSES)
            logits = _logits(scores, image, y0, x0, h, w, classes, k, below, right)
            higher = tl.maximum(most, tl.max(logits, 1))
            exponentials *= tl.exp(most - higher)
            exponentials += tl.sum(tl.exp(logits - higher[:, None]), 1)
            most = higher
            chosen += tl.sum(tl.where(k[None, :] == label[:, None], logits, 0.0), 1)
            weight = tl.load(class_weights + k, mask=k < classes, other=0.0)[None, :]
            weighted += tl.sum(tl.where((k < classes)[None, :], weight * logits, 0.0), 1)
        log_sum = most + tl.log(exponentials)
        tl.store(log_sums + begin + at, log_sum, mask=there)
        own = tl.load(class_weights + label, mask=(label >= 0) & (label < classes), other=float("nan"))
        loss = (1 - smoothing) * own * (log_sum - chosen)
        if smoothing > 0:
            loss += smoothing / classes * (tl.load(all_weights) * log_sum - weighted)
        total += tl.where(label >= 0, loss, 0.0)
    tl.store(losses + cell, tl.sum(total, 0))


@triton.jit
def _gradient_kernel(
    scores,
    labels,
    class_weights,
    all_weights,
    log_sums,
    corners,
    row_begin,
    row_part,
    column_begin,
    column_part,
    h,
    w,
    height,
    width,
    classes,
    smoothing,
    PIXELS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """What every cell says of its four corners into ``corners`` (4, cells, K)."""
    cell = tl.program_id(0)
    image, y0, x0, top, left, rows, columns = _cell(cell, h, w, row_begin, column_begin)
    begin = image.to(tl.int64) * height * width
    k = tl.program_id(1) * CLASSES + tl.arange(0, CLASSES)
    spread = smoothing / classes * tl.load(class_weights + k, mask=k < classes, other=0.0)
    top_left = tl.zeros((CLASSES,), tl.float32)
    top_right = tl.zeros((CLASSES,), tl.float32)
    bottom_left = tl.zeros((CLASSES,), tl.float32)
    bottom_right = tl.zeros((CLASSES,), tl.float32)
    for first in range(0, rows * columns, PIXELS):
        there, at, below, right = _some_pixels(
            first, top, left, rows, columns, row_part, column_part, width, PIXELS
        )
        label = tl.load(labels + begin + at, mask=there, other=-1)
        log_sum = tl.load(log_sums + begin + at, mask=there, other=0.0)
        logits = _logits(scores, image, y0, x0, h, w, classes, k, below, right)
        known = (label >= 0) & (label < classes)
        own = (1 - smoothing) * tl.load(class_weights + label, mask=known, other=0.0)
        share = own + smoothing / classes * tl.load(all_weights)
        change = share[:, None] * tl.exp(logits - log_sum[:, None])
        change -= tl.where(k[None, :] == label[:, None], own[:, None], 0.0) + spread[None, :]
        change = tl.where(known[:, None], change, 0.0)
        above, below, right = (1 - below)[:, None], below[:, None], right[:, None]
        top_left += tl.sum(change * above * (1 - right), 0)
        top_right += tl.sum(change * above * right, 0)
        bottom_left += tl.sum(change * below * (1 - right), 0)
        bottom_right += tl.sum(change * below * right, 0)
    to = corners + cell.to(tl.int64) * classes + k
    step = tl.num_programs(0).to(tl.int64) * classes
    tl.store(to, top_left, mask=k < classes)
    tl.store(to + step, top_right, mask=k < classes)
    tl.store(to + 2 * step, bottom_left, mask=k < classes)
    tl.store(to + 3 * step, bottom_right, mask=k < classes)


@triton.jit
def _labels_kernel(
    scores,
    labels,
    row_begin,
    row_part,
    column_begin,
    column_part,
    h,
    w,
    height,
    width,
    classes,
    PIXELS: tl.constexpr,
    CLASSES: tl.constexpr,
):
    """Class with the largest logit, the first of equals, of every pixel."""
    cell = tl.program_id(0)
    image, y0, x0, top, left, rows, columns = _cell(cell, h, w, row_begin, column_begin)
    begin = image.to(tl.int64) * height * width
    for first in range(0, rows * columns, PIXELS):
        there, at, below, right = _some_pixels(
            first, top, left, rows, columns, row_part, column_part, width, PIXELS
        )
        best = tl.full((PIXELS,), float("-inf"), tl.float32)
        winner = tl.zeros((PIXELS,), tl.int32)
        for block in range(0, classes, CLASSES):
            k = block + tl.arange(0, CLASSES)
            logits = _logits(scores, image, y0, x0, h, w, classes, k, below, right)
            highest, place = tl.max(logits, 1, return_indices=True)
            winner = tl.where(highest > best, block + place, winner)
            best = tl.maximum(best, highest)
        tl.store(labels + begin + at, winner.to(labels.dtype.element_ty), mask=there)


def loss(
    scores: Tensor,
    target: Target,
    covered_hw: tuple[int, int],
    *,
    with_gradient: bool,
    align_corners: bool = False,
) -> Gradients:
    """Sum of the cross-entropies of upsampled scores; not a number where a label is no class.

    Args:
        scores: float32 (B, K, h, w).
        target: labels (B, H, W).
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.
        with_gradient: also that of the scores.
    """
    batch, classes, h, w = scores.shape
    height, width = target.labels.shape[1:]
    source = scores.permute(0, 2, 3, 1).contiguous()
    marked = target.labels.long()
    marked = marked.where((marked >= 0) & (marked < classes), classes)
    labels = marked.where(target.labels != target.ignore_index, -1).int().contiguous()
    weights = scores.new_ones(classes) if target.class_weights is None else target.class_weights.contiguous()
    log_sums = scores.new_empty((batch, height, width))
    cells = batch * h * w
    losses = scores.new_empty(cells)
    tables = _tables(scores, (height, width), covered_hw, align_corners)
    sizes = (h, w, height, width, classes)
    block = min(CLASSES, triton.next_power_of_2(classes))
    how: dict[str, Any] = {"PIXELS": _pixels(sizes), "CLASSES": block, "enable_fp_fusion": True}
    smoothing = float(target.smoothing)
    inputs = (source, labels, weights, weights.sum(), log_sums)
    _loss_kernel[(cells,)](*inputs, losses, *tables, *sizes, smoothing, **how)
    total = losses.double().sum().float()
    if not with_gradient:
        return Gradients(total)
    corners = scores.new_empty((4, batch, h, w, classes))
    grid = (cells, triton.cdiv(classes, block))
    _gradient_kernel[grid](*inputs, corners, *tables, *sizes, smoothing, **how)
    gradient = corners[0]
    gradient[:, :, 1:] += corners[1, :, :, :-1]
    gradient[:, 1:] += corners[2, :, :-1]
    gradient[:, 1:, 1:] += corners[3, :, :-1, :-1]
    return Gradients(total, gradient.permute(0, 3, 1, 2))


def labels(
    scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Arg-max of upsampled scores.

    Args:
        scores: float32 (B, K, h, w).
        size_hw: H, W.
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    batch, classes, h, w = scores.shape
    dtype = torch.uint8 if classes <= 256 else torch.int32
    found = torch.empty((batch, *size_hw), dtype=dtype, device=scores.device)
    source = scores.permute(0, 2, 3, 1).contiguous()
    sizes = (h, w, *size_hw, classes)
    block = min(CLASSES, triton.next_power_of_2(classes))
    tables = _tables(scores, size_hw, covered_hw, align_corners)
    _labels_kernel[(batch * h * w,)](
        source, found, *tables, *sizes, PIXELS=_pixels(sizes), CLASSES=block, enable_fp_fusion=True
    )
    return found


def _pixels(sizes: tuple[int, ...]) -> int:
    """No more at a time than a cell has, up to :data:`PIXELS`."""
    h, w, height, width, _ = sizes
    return min(PIXELS, triton.next_power_of_2(-(-height // h) * -(-width // w)))


def _tables(
    scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], align_corners: bool
) -> list[Tensor]:
    """Where the cells begin and where their pixels lie in them, along rows and columns."""
    axes = zip(size_hw, scores.shape[2:], covered_hw, strict=True)
    return [table for axis in axes for table in _axis(*axis, align_corners, scores.device)]


@lru_cache(maxsize=64)
def _axis(
    size: int, cells: int, covered: int, align_corners: bool, device: torch.device
) -> tuple[Tensor, Tensor]:
    axis = (size, cells, covered, align_corners)
    return begins(*axis).to(device), taps(*axis).part.to(device)
