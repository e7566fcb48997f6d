"""How far every pixel is from a boundary between classes: the bands of a trimap.

Scores within a narrow band around the true boundaries say how well outlines are drawn, which scores over all
pixels hide: most pixels are far inside [Kohli, Ladicky, Torr, IJCV 2009, section 6; Krähenbühl, Koltun, NIPS
2011, section 5]. Distances are Euclidean, between the middles of pixels.

Boundaries. Of two pixels side by side, or one above the other, with different classes, both are on the
boundary and at distance 0; a straight edge thus has r pixels at a distance below r on either side. Ignored
pixels take the class of the nearest pixel that counts, up to the widest band away: a thin ignored line
between two classes, as PASCAL VOC draws it, is a boundary along its middle, and an ignored region inside one
class, or at the border of the picture, is none.

H,W: size of the picture; s: pixels away, up to the reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTHS = (3, 5, 10, 20)
"""Widths of the bands in pixels, on either side of a boundary."""

PIECE_PIXELS = 1 << 20
"""Pictures are taken in pieces of rows, so that temporaries stay small."""

CACHED_PIXELS = 1 << 14
"""Three arrays of so many int32 stay in the cache: three times as fast as whole pictures."""


def boundary_bands(
    truth: NDArray[np.integer], ignore_index: int, widths: Sequence[int] = WIDTHS
) -> NDArray[np.uint8]:
    """In which band around the boundaries of the truth a pixel lies.

    Args:
        truth: training indices (H, W).
        ignore_index: value of ignored pixels.
        widths: ascending, in pixels.

    Returns:
        uint8 (H, W): the number of the first width that is larger than the distance to the nearest boundary;
        ``len(widths)`` for pixels beyond all.

    Example:
        >>> boundary_bands(np.array([[0] * 5 + [1] * 6]), 255, (1, 3))
        array([[2, 2, 1, 1, 0, 0, 1, 1, 2, 2, 2]], dtype=uint8)
    """
    height, width = truth.shape
    reach = widths[-1]
    squares = np.arange(reach**2 + 1)
    table = np.searchsorted(np.square(widths), squares, side="right").astype(np.uint8)
    bands = np.full(truth.shape, len(widths), np.uint8)
    piece, margin = max(8 * reach, PIECE_PIXELS // max(width, 1)), 2 * reach + 2
    for top in range(0, height, piece):
        first, bottom = max(top - margin, 0), min(top + piece, height)
        part = truth[first : bottom + margin]
        edges = _boundaries(_filled(part, ignore_index, reach))
        if edges.any():
            found = table[squared_distance(edges, reach)]
            bands[top:bottom] = found[top - first : bottom - first]
    return bands


def squared_distance(there: NDArray[np.bool_], reach: int) -> NDArray[np.int32]:
    """Squared Euclidean distance to the nearest pixel of a set, at most ``reach`` squared.

    Args:
        there: (H, W), the pixels of the set.
        reach: pixels farther than this count as if they were at this distance.

    Returns:
        int32 (H, W).
    """
    steps = _steps_within_columns(there, reach)[0]
    squares = np.minimum(steps * steps, reach**2)
    return _least_along_rows(squares, np.arange(reach, dtype=np.int32) ** 2)


def _filled(truth: NDArray[np.integer], ignore_index: int, reach: int) -> NDArray[np.int32]:
    """(H, W): ignored pixels have the class of the nearest pixel that counts, -1 where none is in reach."""
    counted = truth != ignore_index
    classes = np.where(counted, truth, -1).astype(np.int32)
    if counted.all() or not counted.any():
        return classes
    steps, carried = _steps_within_columns(counted, reach, classes)
    # The class rides in the low bits of the squared distance: the least of both is the nearest pixel's.
    keys = (np.minimum(steps * steps, reach**2) << 17) + (carried + 1)
    keys = _least_along_rows(keys, (np.arange(reach, dtype=np.int32) ** 2) << 17)
    near = keys >> 17 < reach**2
    return np.where(counted, classes, np.where(near, (keys & (1 << 17) - 1) - 1, -1))


def _boundaries(classes: NDArray[np.int32]) -> NDArray[np.bool_]:
    edges = np.zeros(classes.shape, np.bool_)
    for here, there, one, other in (
        (classes[:, :-1], classes[:, 1:], edges[:, :-1], edges[:, 1:]),
        (classes[:-1], classes[1:], edges[:-1], edges[1:]),
    ):
        differ = (here != there) & (here >= 0) & (there >= 0)
        one |= differ
        other |= differ
    return edges


def _steps_within_columns(
    there: NDArray[np.bool_], reach: int, carried: NDArray[np.int32] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Rows to the nearest pixel of the set in a column, at most ``reach``, and its ``carried`` value."""
    steps = np.where(there, 0, reach).astype(np.int32)
    values = np.zeros_like(steps) if carried is None else carried.copy()
    for rows in (range(1, len(steps)), range(len(steps) - 2, -1, -1)):
        before = -1 if rows.step > 0 else 1
        for row in rows:
            from_there = steps[row + before] + 1
            if carried is not None:
                nearer = from_there < steps[row]
                values[row][nearer] = values[row + before][nearer]
            np.minimum(steps[row], from_there, out=steps[row])
    return steps, values


def _least_along_rows(keys: NDArray[np.int32], costs: NDArray[np.int32]) -> NDArray[np.int32]:
    """Of every pixel the least of ``keys[x +- s] + costs[s]`` in its row."""
    least = keys.copy()
    height, width = keys.shape
    rows = max(1, CACHED_PIXELS // max(width, 1))
    dearer = np.empty((min(rows, height), width), np.int32)
    for top in range(0, height, rows):
        here, best = keys[top : top + rows], least[top : top + rows]
        more = dearer[: len(here)]
        for step in range(1, min(len(costs), width)):
            np.add(here, costs[step], out=more)
            np.minimum(best[:, :-step], more[:, step:], out=best[:, :-step])
            np.minimum(best[:, step:], more[:, :-step], out=best[:, step:])
    return least
