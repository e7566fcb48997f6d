"""What the masks of a data set hold, before anybody has said what it means."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset import Dataset
from sceneparse.data.decode import image_size, read_mask_pixels
from sceneparse.data.masks.source import MaskSource
from sceneparse.data.pairs import Pair
from sceneparse.data.threads import decoding_threads, mapped_in_order, progress_bar
from sceneparse.errors import InputError
from sceneparse.labels import MAX_FILE_NUMBER, Color, value_counts

MOST_COLORS = 4096
"""A mask of more colours is not counted: it is a photograph, or its edges are soft."""

_Counted = tuple[NDArray[np.integer], NDArray[np.int64]] | dict[Color, int] | None


@dataclass
class Survey:
    """Pixels of each number and colour in all masks that can be read.

    Args:
        numbers: int64 (65536,) pixels of each source number.
        colors: pixels of each RGB colour, in masks that hold colours.
        masks: how many could be read.
        motley: how many of them have more than :data:`MOST_COLORS` colours, which are not counted.
        unreadable: how many could not be read.
        uncovered: number of the pixels that nothing covers; None where nobody has to say what they are.
    """

    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(MAX_FILE_NUMBER + 1, np.int64))
    colors: Counter[Color] = field(default_factory=Counter)
    masks: int = 0
    motley: int = 0
    unreadable: int = 0
    uncovered: int | None = None

    @property
    def seen(self) -> list[int]:
        """The numbers that occur, ascending."""
        return [int(number) for number in np.flatnonzero(self.numbers)]

    @property
    def pixels(self) -> int:
        """All that were counted."""
        return int(self.numbers.sum()) + self.colors.total()

    def add(self, counted: _Counted) -> None:
        """Take in what a mask holds; None: it has too many colours."""
        self.masks += 1
        if counted is None:
            self.motley += 1
        elif isinstance(counted, dict):
            self.colors.update(counted)
        else:
            values, counts = counted
            self.numbers[values] += counts

    def without_grey(self) -> None:
        """Where no mask has a colour other than grey, greys are numbers kept in three equal channels."""
        if self.colors and not self.motley and all(r == g == b for r, g, b in self.colors):
            for (grey, _, _), pixels in self.colors.items():
                self.numbers[grey] += pixels
            self.colors.clear()


def survey(dataset: Dataset, *, workers: int | None = None, progress: bool = False) -> Survey:
    """Read every mask of a data set once; what its classes are said to be does not matter.

    Args:
        dataset: its form and pairs count.
        workers: threads; by default as many as keep every core at work.
        progress: show a bar on standard error.
    """
    pairs = [pair for those in dataset.splits.values() for pair in those]
    found = Survey()
    count = _count_pixels
    if dataset.form not in ("index", "color"):
        count = _count_numbers
        if dataset.source.uncovered is None:
            found.uncovered = _free_number(dataset.source)

    def counted(pair: Pair) -> _Counted | InputError:
        try:
            return count(pair)
        except InputError as error:
            return error

    with (
        progress_bar("reading the masks", len(pairs), shown=progress) as advance,
        contextlib.closing(mapped_in_order(counted, pairs, workers or decoding_threads())) as results,
    ):
        for result in results:
            if isinstance(result, InputError):
                found.unreadable += 1
            else:
                found.add(result)
            advance()
    found.without_grey()
    return found


def _count_pixels(pair: Pair) -> _Counted:
    values = read_mask_pixels(pair.mask.path).values
    if values.ndim == 2:
        return value_counts(values)
    colors = Image.fromarray(np.ascontiguousarray(values)).getcolors(MOST_COLORS)
    return None if colors is None else {(c[0], c[1], c[2]): int(n) for n, c in colors}  # type: ignore[index]


def _count_numbers(pair: Pair) -> _Counted:
    return value_counts(uncovered_marked(pair.mask).read(image_size(pair.image)))


def uncovered_marked(mask: MaskSource) -> MaskSource:
    """The same mask; pixels that nothing covers get a number of their own, if they have none."""
    classes = getattr(mask, "classes", None)
    if classes is None or classes.uncovered is not None:
        return mask
    number = _free_number(classes)
    return replace(mask, classes=replace(classes, uncovered=number))  # type: ignore[type-var]


def _free_number(classes: SourceClasses) -> int:
    """One that stands for nothing."""
    used = {*classes.numbers, *classes.ignored}
    return 255 if 255 not in used else next(n for n in range(MAX_FILE_NUMBER, -1, -1) if n not in used)
