"""Where bilinear interpolation of one axis reads: two neighbouring cells and the distance between them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

RUN = 8
"""Pixels that the C code does together; the constant of the same name in bilinear.h."""


class Taps(NamedTuple):
    """Output ``i`` is ``(1 - part[i]) * cells[first[i]] + part[i] * cells[first[i] + 1]``.

    Args:
        first: int32 (size,), ascending.
        part: float32 (size,), 0 <= part < 1, and 0 where there is no next cell.
    """

    first: Tensor
    part: Tensor


@lru_cache(maxsize=64)
def taps(size: int, cells: int, covered: int, align_corners: bool = False) -> Taps:
    """The first ``size`` outputs of interpolating ``cells`` to ``covered``, on the CPU; not to be changed.

    The positions are those of ``F.interpolate(mode="bilinear")``: of ``align_corners=False`` in float32 as
    there; with ``align_corners=True`` they seldom have short fractions, and are exact before they are cut.
    """
    if align_corners:
        position = torch.arange(size, dtype=torch.float64) * (cells - 1) / max(1, covered - 1)
    else:
        position = ((torch.arange(size) + 0.5) * (cells / covered) - 0.5).clamp_(min=0)
    first = position.int().clamp_(max=cells - 1)
    return Taps(first, (position - first).float().where(first < cells - 1, 0.0))


@lru_cache(maxsize=64)
def runs(size: int, cells: int, covered: int, align_corners: bool = False) -> Tensor:
    """Outputs cut into runs of at most :data:`RUN` that read the same cells at even distances.

    Returns:
        int32 (runs, 3): first output, outputs, first cell. Not to be changed.
    """
    first, part = (values.tolist() for values in taps(size, cells, covered, align_corners))
    found, begin = [], 0
    for i in range(1, size + 1):
        step = part[begin + 1] - part[begin] if i > begin + 1 else 0.0
        if (
            i < size
            and i - begin < RUN
            and first[i] == first[begin]
            and (i == begin + 1 or abs(part[i] - part[begin] - (i - begin) * step) < 1e-6)
        ):
            continue
        found.append((begin, i - begin, first[begin]))
        begin = i
    return torch.tensor(found, dtype=torch.int32)


@lru_cache(maxsize=64)
def begins(size: int, cells: int, covered: int, align_corners: bool = False) -> Tensor:
    """int32 (cells + 1,): outputs from ``begins[i]`` to before ``begins[i + 1]`` have ``i`` as first cell."""
    first = taps(size, cells, covered, align_corners).first
    return torch.searchsorted(first, torch.arange(cells + 1, dtype=torch.int32), out_int32=True)


def matrix(
    outputs: slice, cells: slice, size: int, all_cells: int, covered: int, align_corners: bool = False
) -> Tensor:
    """The interpolation of some outputs from the cells they read: float32 (outputs, cells)."""
    first, part = taps(size, all_cells, covered, align_corners)
    first, part = first[outputs].long() - cells.start, part[outputs]
    weights = torch.zeros(len(part), cells.stop - cells.start + 1)
    rows = torch.arange(len(part))
    weights[rows, first] = 1 - part
    weights[rows, first + 1] = part
    return weights[:, :-1]
