"""Loss and labels of bilinearly upsampled scores by the C code in ``loss.c`` and ``labels.c``.

Shapes: B batch, K classes, h,w scores, H,W labels.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from sceneparse.errors import InputError
from sceneparse.kernels.compiler import kernels, torch_threads
from sceneparse.kernels.taps import begins, runs, taps
from sceneparse.kernels.target import Gradients, Target, refuse_strange_labels

PIECES = 64
"""At most so many parts that threads can take; the same whatever the number of threads, as are the sums."""

_NO_MEMORY, _NOT_FINITE, _BAD_LABEL = 1, 2, 3

_Strides = ctypes.c_int64 * 4


class _Job(ctypes.Structure):
    """``Job`` of bilinear.h."""

    _fields_ = (
        ("scores", ctypes.c_void_p),
        ("score_strides", _Strides),
        ("classes", ctypes.c_int64),
        ("h", ctypes.c_int64),
        ("w", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("piece_rows", ctypes.c_int64),
        ("pieces_per_image", ctypes.c_int64),
        ("row_begin", ctypes.c_void_p),
        ("row_part", ctypes.c_void_p),
        ("runs", ctypes.c_void_p),
        ("n_runs", ctypes.c_int64),
        ("column_part", ctypes.c_void_p),
        ("labels", ctypes.c_void_p),
        ("label_bytes", ctypes.c_int64),
        ("label_signed", ctypes.c_int64),
        ("ignore_index", ctypes.c_int64),
        ("class_weights", ctypes.c_void_p),
        ("smoothing", ctypes.c_float),
        ("grad", ctypes.c_void_p),
        ("grad_strides", _Strides),
        ("spill", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
    )


def can_take(scores: Tensor) -> bool:
    """Whether the compiled code is there and takes these scores."""
    return scores.device.type == "cpu" and scores.numel() > 0 and kernels().library is not None


def loss(
    scores: Tensor,
    target: Target,
    covered_hw: tuple[int, int],
    *,
    with_gradient: bool,
    align_corners: bool = False,
) -> Gradients | None:
    """Sum of the cross-entropies of upsampled scores; None where one is not finite: for PyTorch to say.

    Args:
        scores: float32 (B, K, h, w) on the CPU, any strides.
        target: labels (B, H, W).
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.
        with_gradient: also that of the scores.

    Raises:
        InputError: a label that is no class.
    """
    labels = target.labels.contiguous()
    if labels.dtype in (torch.uint32, torch.uint64):
        labels = labels.long()
    weights = None if target.class_weights is None else target.class_weights.float().contiguous()
    job, pieces, keep = _job(scores, labels, covered_hw, align_corners)
    batch, classes, _, w = scores.shape
    sums = torch.empty(pieces, dtype=torch.float64)
    job.sums = sums.data_ptr()
    job.ignore_index = target.ignore_index
    job.class_weights = None if weights is None else weights.data_ptr()
    job.smoothing = target.smoothing
    gradient = spill = None
    if with_gradient:
        gradient = torch.empty_like(scores)
        spill = torch.empty(batch, job.pieces_per_image, w, classes)
        job.grad, job.grad_strides = gradient.data_ptr(), _Strides(*gradient.stride())
        job.spill = spill.data_ptr()
    status = in_threads("sceneparse_loss", job, pieces)
    del keep
    if status == _BAD_LABEL:
        refuse_strange_labels(target, classes)
    if status == _NOT_FINITE:
        return None
    if gradient is not None and spill is not None:
        rows = job.piece_rows
        gradient[:, :, rows::rows] += spill[:, :-1].permute(0, 3, 1, 2)
    return Gradients(sums.sum().float(), gradient)


def labels(
    scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Arg-max of upsampled scores.

    Args:
        scores: float32 (B, K, h, w) on the CPU, any strides.
        size_hw: H, W.
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    dtype = torch.uint8 if scores.shape[1] <= 256 else torch.int32
    found = torch.empty((len(scores), *size_hw), dtype=dtype)
    job, pieces, keep = _job(scores, found, covered_hw, align_corners)
    in_threads("sceneparse_labels", job, pieces)
    del keep
    return found


def _job(
    scores: Tensor, labels: Tensor, covered_hw: tuple[int, int], align_corners: bool
) -> tuple[_Job, int, list[Tensor]]:
    """What loss and labels have in common, the number of pieces, and tensors that must live as long."""
    batch, classes, h, w = scores.shape
    height, width = labels.shape[1:]
    rows = (height, h, covered_hw[0], align_corners)
    columns = (width, w, covered_hw[1], align_corners)
    begin, row_part = begins(*rows), taps(*rows).part
    run, column_part = runs(*columns), taps(*columns).part
    piece_rows = -(-batch * h // PIECES)
    per_image = -(-h // piece_rows)
    job = _Job(
        scores=scores.data_ptr(),
        score_strides=_Strides(*scores.stride()),
        classes=classes,
        h=h,
        w=w,
        height=height,
        width=width,
        piece_rows=piece_rows,
        pieces_per_image=per_image,
        row_begin=begin.data_ptr(),
        row_part=row_part.data_ptr(),
        runs=run.data_ptr(),
        n_runs=len(run),
        column_part=column_part.data_ptr(),
        labels=labels.data_ptr(),
        label_bytes=labels.element_size(),
        label_signed=labels.dtype.is_signed,
    )
    return job, batch * per_image, [scores, labels, begin, row_part, run, column_part]


def in_threads(name: str, job: ctypes.Structure | ctypes.Array[Any], pieces: int) -> int:
    """Do every piece of a job, or of several, by the C function ``name``; the greatest status.

    Raises:
        InputError: not enough memory.
    """
    library = kernels().library
    assert library is not None
    threads = torch_threads(), torch.get_num_threads()
    status: int = library.sceneparse_pieces(*threads, getattr(library, name), ctypes.byref(job), pieces)
    if status == _NO_MEMORY:
        raise InputError("not enough memory for the loss", fix="a smaller --batch-size or --size")
    return status
