"""Loss and labels of scores upsampled by a learned transposed convolution, by the C code in ``transposed.c``.

Shapes: B batch, C channels, K classes, h,w scores, H,W labels, f stride, N tiles of 4x4 or 3x3 cells for each
phase, which are as many times f x f pixels (``transposed.py`` says what cells and phases are).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sceneparse.kernels.compiled import in_threads
from sceneparse.kernels.target import Gradients, Target

PARTS = 8
"""About so many parts that threads can take; the same whatever the number of threads, as are the sums."""

TILES = 512
"""Tiles whose scores a part keeps at the points."""

ENOUGH_COLUMNS = 96
"""With so many, matrix products run at full speed; phases of few classes are taken together."""

_LANES = 16
"""Rows are as long as whole vectors of any processor."""


class _Job(ctypes.Structure):
    """``Upsampled`` of transposed.c."""

    _fields_ = (
        ("scores", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("kernel", ctypes.c_void_p),
        ("batch", ctypes.c_int64),
        ("frame_h", ctypes.c_int64),
        ("frame_w", ctypes.c_int64),
        ("n_tiles", ctypes.c_int64),
        ("at_once", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("classes", ctypes.c_int64),
        ("deep", ctypes.c_int64),
        ("wide", ctypes.c_int64),
        ("factor", ctypes.c_int64),
        ("phases", ctypes.c_int64),
        ("first_y", ctypes.c_int64),
        ("first_x", ctypes.c_int64),
        ("high", ctypes.c_int64),
        ("across", ctypes.c_int64),
        ("cell_y", ctypes.c_int64),
        ("cell_x", ctypes.c_int64),
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
        ("scores_grad", ctypes.c_void_p),
        ("kernel_grad", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
    )


class _Interval(NamedTuple):
    """Phases of one side of a cell, one after the other, whose first cell in the picture is the same."""

    first: int
    number: int
    cell: int


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
    side = _side(labels.shape[1:], factor)
    framed = _framed(scores, labels.shape[1:], offset, factor, side)
    kernel = kernel.contiguous()
    kernel_gradient = torch.zeros_like(kernel) if of_kernel else None
    places = _places(counted, factor, side)
    jobs = _jobs(framed, places, kernel, labels, offset, groups)
    parts = len(jobs) * jobs[0].parts
    sums = torch.zeros(parts, dtype=torch.float64)
    gradients = framed.new_empty(parts, *framed.shape) if of_scores else None
    for n, job in enumerate(jobs):
        first = n * job.parts
        job.weights, job.sums = weights.data_ptr(), sums[first:].data_ptr()
        job.own, job.share = 1 - target.smoothing, float(spread.sum())
        job.spread = spread.data_ptr() if target.smoothing else None
        job.kernel_grad = None if kernel_gradient is None else kernel_gradient.data_ptr()
        job.scores_grad = None if gradients is None else gradients[first:].data_ptr()
    if in_threads(f"sceneparse_transposed_loss_{side}", jobs, parts):
        return None
    return Gradients(
        sums.sum().float(),
        None if gradients is None else _unframed(gradients.sum(0), scores.shape),
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
    factor = kernel.shape[2] // 2
    side = _side(size_hw, factor)
    framed = _framed(scores, size_hw, offset, factor, side)
    kernel = kernel.contiguous()
    places = _places(torch.ones(found.shape, dtype=torch.bool), factor, side)
    jobs = _jobs(framed, places, kernel, found, offset, groups)
    status = in_threads(f"sceneparse_transposed_labels_{side}", jobs, len(jobs) * jobs[0].parts)
    return None if status else found


def _jobs(
    framed: Tensor, places: Tensor, kernel: Tensor, labels: Tensor, offset: int, groups: int
) -> ctypes.Array[_Job]:
    """What loss and labels have in common."""
    factor, apart = kernel.shape[2] // 2, groups > 1
    channels, classes = (1, groups) if apart else kernel.shape[:2]
    intervals = _intervals(offset, factor)
    jobs = (_Job * len(intervals) ** 2)()
    for job, (y, x) in zip(jobs, product(intervals, intervals), strict=True):
        phases = 1 if apart else _together(y.number * x.number, classes)
        wide = phases * classes + -phases * classes % _LANES
        job.scores, job.places, job.kernel = framed.data_ptr(), places.data_ptr(), kernel.data_ptr()
        job.batch, job.frame_h, job.frame_w, job.deep = framed.shape
        job.n_tiles, job.at_once, job.channels, job.classes = len(places), TILES, channels, classes
        job.wide, job.factor, job.phases, job.apart = wide, factor, phases, apart
        job.first_y, job.high, job.cell_y = y
        job.first_x, job.across, job.cell_x = x
        job.offset, job.height, job.width = offset, *labels.shape[1:]
        job.labels, job.label_bytes = labels.data_ptr(), labels.element_size()
    most_groups = max(job.high * job.across // job.phases for job in jobs)
    for job in jobs:
        job.parts = min(max(1, PARTS // len(jobs)), most_groups)
    return jobs


def _side(size_hw: Sequence[int], factor: int) -> int:
    """Cells of a side of a tile: 3 or 4, by the number of products; 3 has the fewer sums."""
    products = {}
    for side in (3, 4):
        rows, columns = (-(-n // (side * factor)) for n in size_hw)
        products[side] = rows * columns * (side + 1) ** 2
    return 3 if products[3] <= products[4] else 4


def _intervals(offset: int, factor: int) -> list[_Interval]:
    """The phases of one side by the first cell that they have in the picture."""
    cell, phase = divmod(offset, factor)
    later = [_Interval(0, phase, cell + 1)] if phase else []
    return [_Interval(phase, factor - phase, cell), *later]


def _framed(scores: Tensor, size_hw: Sequence[int], offset: int, factor: int, side: int) -> Tensor:
    """Scores (B, C, h, w) as (B, rows, columns, C in whole vectors), with zeros before and after."""
    batch, channels, h, w = scores.shape
    # Row j of the frame is the first of cell j; the last tile has one score more than cells.
    last = [-(-offset // factor) + side * -(-n // (side * factor)) for n in size_hw]
    rows, columns = max(h, last[0]) + 1, max(w, last[1]) + 1
    framed = scores.new_zeros(batch, rows, columns, channels + -channels % _LANES)
    framed[:, 1 : h + 1, 1 : w + 1, :channels] = scores.permute(0, 2, 3, 1)
    return framed


def _unframed(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The way back of :func:`_framed` for gradients."""
    return gradient[:, 1 : shape[2] + 1, 1 : shape[3] + 1, : shape[1]].permute(0, 3, 1, 2).contiguous()


def _places(counted: Tensor, factor: int, side: int) -> Tensor:
    """Tiles with a pixel that counts: int32 (N, 3), image, row and column of the first cell."""
    batch, height, width = counted.shape
    pixels = side * factor
    whole = F.pad(counted, (0, -width % pixels, 0, -height % pixels))
    any_counts = whole.view(batch, -(-height // pixels), pixels, -1, pixels).any(4).any(2)
    return (any_counts.nonzero() * torch.tensor([1, side, side])).int().contiguous()


def _together(phases: int, classes: int) -> int:
    """So many phases make enough columns together; their number divides that of all."""
    fitting = [n for n in range(1, phases + 1) if phases % n == 0]
    return next((n for n in fitting if n * classes >= ENOUGH_COLUMNS), phases)
