"""Loss and labels of scores upsampled by a learned transposed convolution, without the upsampled scores.

A transposed convolution of stride f and kernel 2f takes every output pixel from a 2x2 neighbourhood of
scores. Pixels with the same place (phase) in their f x f cell share its weights: it is a 2x2 convolution to
f*f*K channels, one matrix product for many cells. It is made for some rows of cells at a time, and its two
gradients at once. On a processor with a compiler the C code does it with fewer products
(``compiled_transposed.py``); here is what PyTorch does elsewhere.

Shapes: B batch, C channels in, K classes, h,w scores, H,W labels, f stride, N = (h + 1) * (w + 1) cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sceneparse.kernels import compiled, compiled_transposed
from sceneparse.kernels.target import Gradients, Target, refuse_strange_labels, softmax_loss

BAND_BYTES_CPU = 2**24
"""Large enough for matrix products at full speed."""

BAND_BYTES_ACCELERATOR = 2**28


class _Band(NamedTuple):
    """Some rows of cells of one image, and the 2x2 scores of each as one row (cells, 4C)."""

    image: int
    rows: slice
    patches: Tensor


def _bands(scores: Tensor, factor: int, classes: int) -> Iterator[_Band]:
    on_cpu = scores.device.type == "cpu"
    most_bytes = BAND_BYTES_CPU if on_cpu else BAND_BYTES_ACCELERATOR
    h, w = scores.shape[2:]
    most_rows = max(1, most_bytes // (4 * factor**2 * classes * (w + 1)))
    for image, one in enumerate(scores):
        framed = F.pad(one.permute(1, 2, 0), (0, 0, 1, 1, 1, 1))
        for first in range(0, h + 1, most_rows):
            last = min(first + most_rows, h + 1)
            corners = [framed[first + y : last + y, x : x + w + 1] for y in (1, 0) for x in (1, 0)]
            yield _Band(image, slice(first, last), torch.cat(corners, -1).flatten(0, 1))


class _Full:
    """A kernel between all channels and all classes: one matrix product for a band.

    Args:
        kernel: (C, K, 2f, 2f).
        precision: of the products.
    """

    def __init__(self, kernel: Tensor, precision: torch.dtype) -> None:
        self.shape, self.precision = kernel.shape, precision
        channels, classes, size = kernel.shape[:3]
        split = kernel.reshape(channels, classes, 2, size // 2, 2, size // 2)
        # Rows as the patches are ordered, columns by phase with the class last.
        self.matrix = split.permute(2, 4, 0, 3, 5, 1).reshape(4 * channels, -1).to(precision)

    def scores(self, patches: Tensor) -> Tensor:
        """Patches (cells, 4C) to float32 scores (cells, f*f, K)."""
        return (patches @ self.matrix).float().view(len(patches), -1, self.shape[1])

    def to_patches(self, gradient: Tensor) -> Tensor:
        """Of the scores (cells, f*f, K): of the patches (cells, 4C)."""
        return gradient.flatten(1).to(self.precision) @ self.matrix.mT

    def zeros(self) -> Tensor:
        """Where the gradient of the kernel is added up."""
        return torch.zeros_like(self.matrix, dtype=torch.float32)

    def add_to_kernel(self, total: Tensor, patches: Tensor, gradient: Tensor) -> None:
        """Add what a band says of the kernel."""
        flat = gradient.flatten(1)
        if self.precision == torch.float32:
            total.addmm_(patches.mT, flat)
        else:
            total += patches.mT @ flat.to(self.precision)

    def as_kernel(self, total: Tensor) -> Tensor:
        """The sum in the kernel's own order."""
        channels, classes, size = self.shape[:3]
        split = total.view(2, 2, channels, size // 2, size // 2, classes)
        return split.permute(2, 5, 0, 3, 1, 4).reshape(self.shape)


class _PerClass:
    """A kernel for each class by itself, in float32: see :class:`_Full`.

    Args:
        kernel: (K, 1, 2f, 2f).
    """

    def __init__(self, kernel: Tensor) -> None:
        self.shape = kernel.shape
        classes, _, size, _ = kernel.shape
        split = kernel.reshape(classes, 2, size // 2, 2, size // 2)
        self.matrix = split.permute(1, 3, 2, 4, 0).reshape(4, -1, classes)

    def scores(self, patches: Tensor) -> Tensor:
        corners = self._corners(patches)
        found = corners[0] * self.matrix[0]
        for corner, weights in zip(corners[1:], self.matrix[1:], strict=True):
            found.addcmul_(corner, weights)
        return found

    def to_patches(self, gradient: Tensor) -> Tensor:
        return torch.cat([(gradient * weights).sum(1) for weights in self.matrix], -1)

    def zeros(self) -> Tensor:
        return torch.zeros_like(self.matrix)

    def add_to_kernel(self, total: Tensor, patches: Tensor, gradient: Tensor) -> None:
        for place, corner in zip(total, self._corners(patches), strict=True):
            place += (gradient * corner).sum(0)

    def as_kernel(self, total: Tensor) -> Tensor:
        classes, _, size, _ = self.shape
        split = total.view(2, 2, size // 2, size // 2, classes)
        return split.permute(4, 0, 2, 1, 3).reshape(self.shape)

    def _corners(self, patches: Tensor) -> Tensor:
        return patches.view(len(patches), 4, 1, -1).transpose(0, 1)


def _layer(kernel: Tensor, groups: int, precision: torch.dtype) -> tuple[_Full | _PerClass, int, int]:
    """The kernel ready for use, K and f."""
    factor = kernel.shape[2] // 2
    if groups == 1:
        return _Full(kernel, precision), kernel.shape[1], factor
    assert kernel.shape[:2] == (groups, 1), "one kernel for each class, or one between all"
    return _PerClass(kernel), groups, factor


def _precision(scores: Tensor) -> torch.dtype:
    """Of the matrix products: bfloat16 under autocast to it. float16 has too little range for their sums."""
    kind = scores.device.type
    if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16:
        return torch.bfloat16
    return torch.float32


def _compiled_takes(scores: Tensor, kernel: Tensor, precision: torch.dtype) -> bool:
    return precision == torch.float32 and kernel.numel() > 0 and compiled.can_take(scores)


def _apart(kernel: Tensor, groups: int) -> tuple[Tensor, int]:
    """A fixed kernel, and groups, by class where no class has a weight for another, as in published networks.

    It is the same function with a K-th of the products. Only on the CPU: elsewhere asking is waiting.
    """
    channels, classes = kernel.shape[:2]
    if kernel.device.type != "cpu" or groups > 1 or channels != classes or bool(kernel[0, 1:].any()):
        return kernel, groups
    own = kernel.diagonal(dim1=0, dim2=1).permute(2, 0, 1).unsqueeze(1)
    return (own, classes) if kernel.count_nonzero() == own.count_nonzero() else (kernel, groups)


def loss(
    scores: Tensor,
    kernel: Tensor,
    target: Target,
    *,
    offset: int,
    groups: int = 1,
    of_scores: bool = False,
    of_kernel: bool = False,
) -> Gradients:
    """Sum of the cross-entropies of upsampled scores.

    Args:
        scores: float32 (B, C, h, w).
        kernel: float32 (C, K, 2f, 2f), or (K, 1, 2f, 2f) with as many groups as classes; of
            ``F.conv_transpose2d`` with stride f.
        target: labels (B, H, W).
        offset: row and column of the layer's output, without padding, where the labels begin.
        groups: 1 or K.
        of_scores: also the gradient of the scores.
        of_kernel: also the gradient of the kernel.
    """
    h, w = scores.shape[2:]
    precision = _precision(scores)
    refuse_strange_labels(target, kernel.shape[1] * groups)
    if not of_kernel:
        kernel, groups = _apart(kernel, groups)
    if _compiled_takes(scores, kernel, precision):
        found = compiled_transposed.loss(
            scores, kernel, target, offset=offset, groups=groups, of_scores=of_scores, of_kernel=of_kernel
        )
        if found is not None:
            return found
    with torch.autocast(scores.device.type, enabled=False):
        layer, classes, factor = _layer(kernel, groups, precision)
        places = _in_cells(target, offset, (h + 1, w + 1), factor)
        total = torch.zeros((), dtype=torch.float64, device=scores.device)
        gradient = torch.zeros_like(scores) if of_scores else None
        kernel_gradient = layer.zeros() if of_kernel else None
        source = scores.to(layer.matrix.dtype)
        for image, rows, patches in _bands(source, factor, classes):
            at = places[image, rows].reshape(-1, factor**2)
            share, change = softmax_loss(layer.scores(patches), at, target, dim=-1)
            total += share
            if kernel_gradient is not None:
                layer.add_to_kernel(kernel_gradient, patches, change)
            if gradient is not None:
                corners = layer.to_patches(change).float().view(-1, w + 1, 2, 2, scores.shape[1])
                _add_corners(gradient[image], corners, rows)
        return Gradients(
            total.float(), gradient, None if kernel_gradient is None else layer.as_kernel(kernel_gradient)
        )


def labels(
    scores: Tensor, kernel: Tensor, size_hw: tuple[int, int], *, offset: int, groups: int = 1
) -> Tensor:
    """Arg-max of upsampled scores; arguments as in :func:`loss`, ``size_hw``: H, W.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    h, w = scores.shape[2:]
    precision = _precision(scores)
    kernel, groups = _apart(kernel, groups)
    if _compiled_takes(scores, kernel, precision):
        found = compiled_transposed.labels(scores, kernel, size_hw, offset=offset, groups=groups)
        if found is not None:
            return found
    with torch.autocast(scores.device.type, enabled=False):
        layer, classes, factor = _layer(kernel, groups, precision)
        dtype = torch.uint8 if classes <= 256 else torch.int32
        whole = torch.empty(
            (len(scores), (h + 1) * factor, (w + 1) * factor), dtype=dtype, device=scores.device
        )
        cells = whole.view(len(scores), h + 1, factor, w + 1, factor).transpose(2, 3)
        for image, rows, patches in _bands(scores.to(layer.matrix.dtype), factor, classes):
            best = layer.scores(patches).argmax(-1)
            cells[image, rows] = best.view(-1, w + 1, factor, factor).to(dtype)
    height, width = size_hw
    return whole[:, offset : offset + height, offset : offset + width].contiguous()


def _in_cells(target: Target, offset: int, cells_hw: tuple[int, int], factor: int) -> Tensor:
    """Labels by cell and phase (B, h + 1, w + 1, f, f), ignored around the picture."""
    batch, height, width = target.labels.shape
    rows, columns = cells_hw
    wide = torch.int32 if target.labels.element_size() < 4 else target.labels.dtype
    whole = target.labels.new_full((batch, rows * factor, columns * factor), target.ignore_index, dtype=wide)
    whole[:, offset : offset + height, offset : offset + width] = target.labels
    return whole.view(batch, rows, factor, columns, factor).transpose(2, 3)


def _add_corners(gradient: Tensor, corners: Tensor, rows: slice) -> None:
    """Gradients of the patches (rows, w + 1, 2, 2, C) of some rows of cells to (C, h, w)."""
    h, w = gradient.shape[1:]
    for y in (0, 1):
        # Cell j has score row j as its first and j - 1 as its second.
        first, last = max(rows.start - y, 0), min(rows.stop - y, h)
        part = corners[first + y - rows.start : last + y - rows.start, :, y]
        gradient[:, first:last] += part[:, :w, 0].permute(2, 0, 1)
        gradient[:, first:last] += part[:, 1:, 1].permute(2, 0, 1)
