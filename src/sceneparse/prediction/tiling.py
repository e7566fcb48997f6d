"""Large pictures in overlapping windows: memory bounded, labels from the inner part of each window."""

from __future__ import annotations

from collections.abc import Iterator

TILE = 1024
"""Side of a window under ``tile="auto"``, pixels."""

AUTO_BYTES = 2 * 2**30
"""Under ``tile="auto"`` a picture whose full-resolution scores would take more than this is tiled."""

MARGIN = 192
"""Pixels around the inner part that only give context; half the span of the deepest features' view."""


def tile_side(size_hw: tuple[int, int], num_classes: int, tile: str | int) -> int | None:
    """Side of the windows for a picture, or None to take it whole.

    Args:
        size_hw: of the network's input.
        num_classes: K.
        tile: "auto", or a side in pixels; 0 never tiles.
    """
    if tile == "auto":
        return TILE if 4 * num_classes * size_hw[0] * size_hw[1] > AUTO_BYTES else None
    side = int(tile)
    return side if 0 < side < max(size_hw) else None


def spans(length: int, side: int) -> Iterator[tuple[slice, slice]]:
    """Windows along one axis: (window, part of it whose labels are kept), together all of ``length``.

    Every window has ``side`` pixels where ``length`` allows it, so that the network sees one size.
    """
    if length <= side:
        yield slice(0, length), slice(0, length)
        return
    margin = min(MARGIN, side // 4)
    kept = 0
    while kept < length:
        start = min(max(0, kept - margin), length - side)
        end = start + side
        upto = length if end == length else end - margin
        yield slice(start, end), slice(kept, upto)
        kept = upto
