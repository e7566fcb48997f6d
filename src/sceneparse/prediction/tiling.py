"""Large pictures in overlapping windows: memory bounded, labels from the inner part of each window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

BUDGET_BYTES = 2 * 2**30
"""Under ``tile="auto"`` a picture is taken whole while its prediction is estimated to need at most this."""

BODY_BYTES = 512
"""Estimate of what a backbone holds at its widest, bytes per pixel: VGG has two maps of 64 float32 channels
at full resolution; the other backbones stay below that."""

FILE_BYTES = 8
"""What is held of a file besides, bytes per pixel: its pixels, mask and labels, and one of them twice."""

SMALLEST = 256
"""Side of a window under ``tile="auto"``, pixels: as large as the budget allows, and at least this."""

MARGIN = 192
"""Pixels at a window's border that only give context: half of the 404 pixels that fc6 of VGG sees."""

GRID = 32
"""Windows begin at multiples of the coarsest stride, so that feature cells lie as in the whole picture."""


def picture_bytes(
    size_hw: tuple[int, int], num_classes: int, scales: Sequence[float] = (1.0,), flip: bool = False
) -> int:
    """Estimate of the memory that the prediction of a whole picture takes; arguments as :func:`tile_side`."""
    pixel_bytes = max(1.0, max(scales)) ** 2 * (BODY_BYTES + 4 * num_classes)
    if flip or tuple(scales) != (1.0,):
        pixel_bytes += 12 * num_classes  # scores at the picture's size, their softmax, and its sum
    return int(size_hw[0] * size_hw[1] * pixel_bytes)


def tile_side(
    size_hw: tuple[int, int],
    num_classes: int,
    tile: str | int,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> int | None:
    """Side of the windows for a picture, or None to take it whole.

    Args:
        size_hw: of the network's input.
        num_classes: K.
        tile: "auto", or a side in pixels; 0 never tiles.
        scales: as the prediction averages over; larger ones need more memory.
        flip: likewise.
    """
    if tile != "auto":
        side = int(tile)
        return side if 0 < side < max(size_hw) else None
    whole = picture_bytes(size_hw, num_classes, scales, flip)
    if whole <= BUDGET_BYTES:
        return None
    longest = math.sqrt(size_hw[0] * size_hw[1] * BUDGET_BYTES / whole)
    return max(SMALLEST, int(longest) // GRID * GRID)


def spans(length: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Windows along one axis: (window, part of it whose labels are kept), together all of ``length``.

    Neighbouring windows overlap by two margins, or a quarter of ``side`` on each border where that is less,
    and the labels change hands in the middle of the overlap. All windows have ``side`` pixels, but for the
    last, which may be up to :data:`GRID` - 1 shorter.

    Args:
        length: of the picture along this axis, pixels.
        side: of the windows, at least 2 * GRID.
    """
    assert side >= 2 * GRID, side
    step = max(GRID, (side - 2 * min(MARGIN, side // 4)) // GRID * GRID)
    last = max(0, -(-(length - side) // GRID) * GRID)
    starts = [*range(0, last, step), last]
    edges = [0, *((later + earlier + side) // 2 for earlier, later in pairwise(starts)), length]
    for start, kept in zip(starts, pairwise(edges), strict=True):
        yield slice(start, min(start + side, length)), slice(*kept)
