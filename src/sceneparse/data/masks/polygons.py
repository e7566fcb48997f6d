"""Canvas: shapes to pixels, the one way for COCO, LabelMe and YOLO masks.

H, W: height and width of the picture, pixels. x runs to the right, y down, from the picture's top left
corner: pixel (x, y) is the square from (x, y) to (x + 1, y + 1).

Polygons are filled by pycocotools [maskApi.c, rleFrPoly], whose rule is: corners are rounded to fifths of a
pixel; a pixel belongs to the shape if its centre lies inside, by even and odd crossings. So a polygon along
the edges of pixels fills exactly the pixels inside, whatever its shape, and neighbours that share an edge
leave no gap and no overlap.

pycocotools alone holds this only within the picture: it rounds negative numbers the other way, which bends
edges that leave the picture at the top or left, and it takes memory and time for the whole picture, however
small the shape. Both end when the shape is moved to its own corner, by whole pixels, before it is filled.
Measured on 8,000 random polygons within pictures, 15 of 2 * 10**8 pixels then differ from its own (where an
edge passes through a point between two fifths, rounding decides); along the edges of pixels none do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from sceneparse.data.classes import SourceClasses
from sceneparse.data.masks.runs import run_lengths
from sceneparse.data.masks.source import uncovered_error
from sceneparse.errors import InputError

_MAX_STEPS = 2**24
"""Fifths of a pixel that an outline may be long: pycocotools takes 16 bytes for each."""
_MAX_FILLED = 2**31 - 1
"""Pixels that pycocotools can count."""


class Canvas:
    """A mask that shapes are painted on, later ones over earlier ones.

    Args:
        size_hw: height and width, pixels.
        classes: whose numbers are painted; ``uncovered`` is what pixels hold that nothing is painted on.
        path: the file that errors name.
        picture: what errors begin with, where the file has several pictures.
    """

    def __init__(
        self, size_hw: tuple[int, int], classes: SourceClasses, path: Path, *, picture: str = ""
    ) -> None:
        height, width = size_hw
        ground = classes.uncovered
        highest = max((*classes.numbers, *classes.ignored, ground or 0))
        # Column by column, as run lengths count and as pycocotools fills.
        self._pixels: NDArray[Any] = np.full(
            (width, height), ground or 0, np.uint8 if highest <= 255 else np.uint16
        )
        self._covered = np.zeros((width, height), bool) if ground is None else None
        self._path = path
        self._picture = f"{picture}: " if picture else ""

    def polygon(self, points: NDArray[np.float64], number: int, *, shape: str) -> None:
        """Paint the inside of a polygon.

        Args:
            points: (N, 2) corners x, y in pixels, N >= 3, at most one picture's size outside the picture.
            number: what its pixels hold from now on.
            shape: named in the error.

        Raises:
            InputError: too few, too many or no sensible points.
        """
        self._check_points(points, shape)
        if len(points) < 3:
            raise self._error(
                f"{shape} has {len(points)} points; a polygon needs 3 at least",
                "remove it or draw it again",
            )
        fifths = np.floor(points * 5 + 0.5).astype(np.int64)
        closed = np.concatenate((fifths, fifths[:1]))
        steps = int(np.abs(closed[1:] - closed[:-1]).max(axis=1).sum())
        first = fifths.min(axis=0) // 5
        end = np.minimum(-(-fifths.max(axis=0) // 5), self._pixels.shape)
        columns, rows = (int(n) for n in end - first)
        if end.min() <= 0 or columns <= 0 or rows <= 0:
            return
        if steps > _MAX_STEPS or columns * rows > _MAX_FILLED:
            raise self._error(
                f"{shape} has an outline of {steps // 5} pixels around {columns} x {rows} pixels; "
                f"at most {_MAX_STEPS // 5} pixels around {_MAX_FILLED} can be filled",
                "cut the picture into tiles, or draw the shape with fewer points",
            )
        runs = coco_mask.frPyObjects([((fifths - 5 * first) / 5).ravel()], rows, columns)
        counts = run_lengths(runs[0]["counts"])
        assert counts is not None
        filled = np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(columns, rows)
        x, y = (int(n) for n in np.maximum(first, 0))
        self._paint(
            np.s_[x : int(end[0]), y : int(end[1])], filled[x - int(first[0]) :, y - int(first[1]) :], number
        )

    def circle(self, center: tuple[float, float], radius: float, number: int, *, shape: str) -> None:
        """Paint the pixels whose centres lie within ``radius`` pixels of ``center`` (x, y).

        Raises:
            InputError: its outermost points are no numbers, or more than one picture's size outside.
        """
        outermost = np.array([[c - radius, c + radius] for c in center]).T
        self._check_points(outermost, shape)
        first = np.clip(np.floor(outermost[0]), 0, self._pixels.shape).astype(int)
        end = np.clip(np.ceil(outermost[1]), 0, self._pixels.shape).astype(int)
        x, y = (np.arange(f, e) + 0.5 - c for f, e, c in zip(first, end, center, strict=True))
        inside = x[:, None] ** 2 + y[None, :] ** 2 <= radius**2
        self._paint(np.s_[first[0] : end[0], first[1] : end[1]], inside, number)

    def bitmap(self, inside: NDArray[np.bool_], left: int, top: int, number: int, *, shape: str) -> None:
        """Paint the true pixels of a (h, w) bitmap whose first pixel lies at column ``left``, row ``top``.
        What hangs over the picture's edge is cut off.

        Raises:
            InputError: it lies more than one picture's size outside.
        """
        height, width = inside.shape
        self._check_points(np.array([(left, top), (left + width, top + height)], np.float64), shape)
        x, y = max(left, 0), max(top, 0)
        columns, rows = self._pixels.shape
        cut = inside.T[x - left :, y - top :][: max(columns - x, 0), : max(rows - y, 0)]
        self._paint(np.s_[x : x + cut.shape[0], y : y + cut.shape[1]], cut, number)

    def runs(self, counts: NDArray[np.int64], number: int, *, shape: str) -> None:
        """Paint run lengths.

        Args:
            counts: pixels outside and inside the shape in turn, down the columns from the left, as COCO
                counts them: H * W in all.
            number: what the pixels inside hold from now on.
            shape: named in the error.

        Raises:
            InputError: a negative run, or another number of pixels.
        """
        total = self._pixels.size
        bad = counts.size > 0 and (counts.min() < 0 or counts.max() > total)
        if bad or counts.sum() != total:
            found = "runs that are negative or longer than the picture" if bad else f"{counts.sum()} pixels"
            raise self._error(f"{shape} has {found}; the picture has {total} pixels", "export it again")
        inner = counts[1 : counts.size // 2 * 2]
        first = int(counts[0])
        inside = np.repeat(np.arange(inner.size) % 2 == 0, inner)
        span = np.s_[first : first + inside.size]
        self._paint(span, inside, number, flat=True)

    def finish(self) -> NDArray[np.integer]:
        """The mask: (H, W) uint8, or uint16 if a number of the classes is above 255; contiguous.

        Raises:
            InputError: pixels are left that nothing covers, and nobody has said what they are.
        """
        if self._covered is not None and not self._covered.all():
            left = self._covered.size - int(np.count_nonzero(self._covered))
            raise uncovered_error(left, self._covered.size, self._path, picture=self._picture)
        return np.ascontiguousarray(self._pixels.T)

    def _paint(self, where: Any, inside: NDArray[np.bool_], number: int, *, flat: bool = False) -> None:
        pixels = self._pixels.reshape(-1) if flat else self._pixels
        np.copyto(pixels[where], pixels.dtype.type(number), where=inside)
        if self._covered is not None:
            covered = self._covered.reshape(-1) if flat else self._covered
            covered[where] |= inside

    def _check_points(self, points: NDArray[np.float64], shape: str) -> None:
        """Far points are mistakes (pixels where shares were meant), and outlines are walked step by step."""
        size = np.array(self._pixels.shape)
        bad = ~((points >= -size) & (points <= 2 * size)).all(axis=1)
        if bad.any():
            x, y = points[bad][0]
            raise self._error(
                f"{shape} has the point ({x:g}, {y:g}), far outside the {size[0]} x {size[1]} picture",
                "draw it again, or export it for this size of the picture",
            )

    def _error(self, what: str, fix: str) -> InputError:
        return InputError(self._picture + what, where=self._path, fix=fix)
