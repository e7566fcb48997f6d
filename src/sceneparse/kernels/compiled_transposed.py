"""Loss and labels of scores upsampled by a learned transposed convolution, by the C code in ``transposed.c``.

Shapes: B batch, C channels, K classes, h,w scores, H,W labels, f stride, N tiles of 3x3 cells, G groups of
phases (``transposed.py`` says what cells and phases are).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sceneparse.kernels.compiled import in_threads
from sceneparse.kernels.target import Gradients, Target

PARTS = 8
"""At most so many parts that threads can take; the same whatever the number of threads, as are the sums."""

TILES = 512
"""Tiles of one call: every part has the gradient of their scores by itself."""

ENOUGH_COLUMNS = 96
"""With so many, matrix products run at full speed; phases of few classes are taken together."""

_POINTS, _SIDE = 16, 3
_LANES = 16
"""Rows are as long as whole vectors of any processor."""


class _Job(ctypes.Structure):
    """``Upsampled`` of transposed.c."""

    _fields_ = (
        ("tiles", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("n_tiles", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("deep", ctypes.c_int64),
        ("wide", ctypes.c_int64),
        ("factor", ctypes.c_int64),
        ("phases", ctypes.c_int64),
        ("apart", ctypes.c_int64),
        ("parts", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("labels", ctypes.c_void_p),
        ("label_bytes", ctypes.c_int64),
        ("weights", ctypes.c_void_p),
        ("spread", ctypes.c_void_p),
        ("own", ctypes.c_float),
        ("share", ctypes.c_float),
        ("tiles_grad", ctypes.c_void_p),
        ("kernel_grad", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
    )


class _Tiles(NamedTuple):
    """Scores as the C code wants them.

    Args:
        points: (16, B, rows, columns, C in whole vectors) scores of all tiles at the points.
        places: int32 (B * rows * columns, 3) image, row and column of the first cell of each.
    """

    points: Tensor
    places: Tensor


def loss(
    scores: Tensor,
    kernel: Tensor,
    target: Target,
    *,
    offset: int,
    groups: int,
    of_scores: bool,
    of_kernel: bool,
) -> Gradients | None:
    """Sum of the cross-entropies of upsampled scores; None where one is not finite: for PyTorch to say.

    Args:
        scores: float32 (B, C, h, w) on the CPU.
        kernel: float32, and the rest as in :func:`sceneparse.kernels.transposed.loss`.
        target: labels (B, H, W), all of them classes or ignored.
        offset: likewise.
        groups: likewise.
        of_scores: also the gradient of the scores.
        of_kernel: also the gradient of the kernel.
    """
    classes, factor = kernel.shape[1] * groups, kernel.shape[2] // 2
    counted = target.labels != target.ignore_index
    labels = target.labels.to(torch.int32).masked_fill_(~counted, -1).contiguous()
    weights = scores.new_ones(classes) if target.class_weights is None else target.class_weights.contiguous()
    spread = F.pad(weights * (target.smoothing / classes), (0, -classes % _LANES))
    tiles = _tiles(scores)
    gradient = torch.zeros_like(tiles.points) if of_scores else None
    kernel = kernel.contiguous()
    kernel_gradient = torch.zeros_like(kernel) if of_kernel else None
    total = torch.zeros((), dtype=torch.float64)
    wanted = _with_any(counted, tiles.points.shape[2:4], offset, factor).flatten().nonzero().squeeze(1)
    for chosen in wanted.split(TILES) if len(wanted) else ():
        points, places = tiles.points.flatten(1, 3)[:, chosen], tiles.places[chosen]
        job, parts = _job(points, places, kernel, labels, offset, groups)
        sums = torch.zeros(parts, dtype=torch.float64)
        job.weights, job.sums = weights.data_ptr(), sums.data_ptr()
        job.own, job.share = 1 - target.smoothing, float(spread.sum())
        job.spread = spread.data_ptr() if target.smoothing else None
        job.kernel_grad = None if kernel_gradient is None else kernel_gradient.data_ptr()
        changes = None if gradient is None else points.new_empty((parts, *points.shape))
        job.tiles_grad = None if changes is None else changes.data_ptr()
        if in_threads("sceneparse_transposed_loss", job, parts):
            return None
        total += sums.sum()
        if gradient is not None and changes is not None:
            gradient.flatten(1, 3)[:, chosen] = changes.sum(0)
    return Gradients(
        total.float(),
        None if gradient is None else _from_points(gradient, scores.shape),
        kernel_gradient,
    )


def labels(
    scores: Tensor, kernel: Tensor, size_hw: tuple[int, int], *, offset: int, groups: int
) -> Tensor | None:
    """Arg-max of upsampled scores; None where one is not finite: for PyTorch to say.

    Args:
        scores: float32 (B, C, h, w) on the CPU.
        kernel: float32, and the rest as in :func:`sceneparse.kernels.transposed.loss`.
        size_hw: H, W.
        offset: likewise.
        groups: likewise.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    dtype = torch.uint8 if kernel.shape[1] * groups <= 256 else torch.int32
    found = torch.empty((len(scores), *size_hw), dtype=dtype)
    points, places = _tiles(scores)
    kernel = kernel.contiguous()
    job, parts = _job(points.flatten(1, 3), places, kernel, found, offset, groups)
    return None if in_threads("sceneparse_transposed_labels", job, parts) else found


def _job(
    points: Tensor, places: Tensor, kernel: Tensor, labels: Tensor, offset: int, groups: int
) -> tuple[_Job, int]:
    """What loss and labels have in common, and the number of parts."""
    factor, apart = kernel.shape[2] // 2, groups > 1
    channels, classes = (1, groups) if apart else kernel.shape[:2]
    phases = 1 if apart else _together(factor, classes)
    parts = min(PARTS, factor**2 // phases)
    job = _Job(
        tiles=points.data_ptr(),
        places=places.data_ptr(),
        kernel=kernel.data_ptr(),
        n_tiles=len(places),
        channels=channels,
        classes=classes,
        deep=points.shape[-1],
        wide=phases * classes + -phases * classes % _LANES,
        factor=factor,
        phases=phases,
        apart=apart,
        parts=parts,
        offset=offset,
        height=labels.shape[1],
        width=labels.shape[2],
        labels=labels.data_ptr(),
        label_bytes=labels.element_size(),
    )
    return job, parts


def _tiles(scores: Tensor) -> _Tiles:
    """Scores (B, C, h, w), with a frame of zeros, at the points."""
    batch, channels, h, w = scores.shape
    rows, columns = h // _SIDE + 1, w // _SIDE + 1  # tiles of h + 1 by w + 1 cells
    deep = channels + -channels % _LANES
    framed = scores.new_zeros(batch, _SIDE * rows + 1, _SIDE * columns + 1, deep)
    framed[:, 1 : h + 1, 1 : w + 1, :channels] = scores.permute(0, 2, 3, 1)
    points = scores.new_empty(_POINTS, batch, rows, columns, deep)
    for y, row in enumerate(_four([framed[:, taken] for taken in _every_third(rows)])):
        for x, point in enumerate(_four([row[:, :, taken] for taken in _every_third(columns)])):
            points[4 * y + x] = point
    every = (torch.arange(batch), _SIDE * torch.arange(rows), _SIDE * torch.arange(columns))
    return _Tiles(points, torch.cartesian_prod(*every).int().contiguous())


def _from_points(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The way back of :func:`_tiles` for gradients."""
    _, batch, rows, columns, deep = gradient.shape
    framed = gradient.new_zeros(batch, _SIDE * rows + 1, _SIDE * columns + 1, deep)
    lines = _four_back(gradient.unflatten(0, (4, 4)).unbind())
    for line, y in zip(lines, _every_third(rows), strict=True):
        for change, x in zip(_four_back(line.unbind()), _every_third(columns), strict=True):
            framed[:, y, x] += change
    return framed[:, 1 : shape[2] + 1, 1 : shape[3] + 1, : shape[1]].permute(0, 3, 1, 2).contiguous()


def _every_third(tiles: int) -> list[slice]:
    """The first, second, third and fourth scores of all tiles along one side."""
    return [slice(first, first + _SIDE * (tiles - 1) + 1, _SIDE) for first in range(4)]


def _four(scores: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Four neighbours along one side at the points 0, 1, -1 and infinity."""
    a, b, c, d = scores
    return a - c, b + c, c - b, d - b


def _four_back(gradient: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The way back of :func:`_four`."""
    a, b, c, d = gradient
    return a, b - c - d, b + c - a, d


def _with_any(counted: Tensor, tiles_hw: Sequence[int], offset: int, factor: int) -> Tensor:
    """Whether a tile has a pixel that counts (B, rows, columns)."""
    _, height, width = counted.shape
    rows, columns = (n * _SIDE * factor for n in tiles_hw)
    whole = F.pad(counted, (offset, columns - offset - width, offset, rows - offset - height))
    return whole.view(len(counted), tiles_hw[0], -1, tiles_hw[1], _SIDE * factor).any(4).any(2)


def _together(factor: int, classes: int) -> int:
    """Phases of a row that make enough columns together; their number divides f."""
    fitting = [n for n in range(1, factor + 1) if factor % n == 0]
    return next((n for n in fitting if n * classes >= ENOUGH_COLUMNS), factor)
