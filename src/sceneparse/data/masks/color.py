"""Masks whose pixels are class colours.

H, W: height and width of the mask, pixels. A *code* is a colour as one number, 0xRRGGBB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.classes import SourceClasses
from sceneparse.data.decode import read_mask_pixels
from sceneparse.data.faults import DataError
from sceneparse.errors import InputError
from sceneparse.labels import Color, value_counts

MOST_COLORS = 8
"""How many colours an error names."""

_BLOCK = 2**18  # pixels looked up at once: what is held meanwhile stays small and near the processor
_MOST_COUNTED = 4096  # unknown colours: a photo has millions, and nobody wants to know how many


@dataclass(frozen=True, slots=True, eq=False)
class ColorTable:
    """Exact colour to source number; :meth:`of` makes it. All masks of a data set share one.

    Args:
        codes: uint32 (n,) colours that are of one class, rising.
        numbers: uint8 or uint16 (n,) source number of each.
        names: of the class of each.
        shared: colours that are of several classes, and these; found in a mask, such a colour is an error.
        known: every source number that a mask of numbers may hold.
    """

    codes: NDArray[np.uint32]
    numbers: NDArray[np.integer]
    names: tuple[str, ...]
    shared: dict[int, tuple[str, ...]]
    known: frozenset[int]

    @classmethod
    def of(cls, classes: SourceClasses) -> ColorTable:
        """The colours of classes.

        Raises:
            InputError: a class that is not ignored has no colour.
        """
        rows = zip(classes.names, classes.numbers, classes.colors, strict=True)
        bare = [name for name, number, color in rows if color is None and number not in classes.ignored]
        if bare:
            raise InputError(
                f"masks of colours, and no colour is given for: {', '.join(bare[:20])}",
                fix="write it in the class file or in dataset.yaml: {name: NAME, color: [70, 130, 180]}",
            )
        found: dict[int, list[tuple[int, str]]] = {}
        for name, number, color in zip(classes.names, classes.numbers, classes.colors, strict=True):
            if color is not None:
                found.setdefault(_code(color), []).append((number, name))
        single = sorted((code, *entries[0]) for code, entries in found.items() if len(entries) == 1)
        known = frozenset((*classes.numbers, *classes.ignored))
        return cls(
            codes=np.array([code for code, _, _ in single], np.uint32),
            numbers=np.array([n for _, n, _ in single], np.uint8 if max(known) <= 255 else np.uint16),
            names=tuple(name for _, _, name in single),
            shared={c: tuple(name for _, name in found[c]) for c in found if len(found[c]) > 1},
            known=known,
        )

    def find(self, codes: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Position of each code in the table, -1 where it is not in it."""
        if not len(self.codes):
            return np.full(codes.shape, -1, np.intp)
        at = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[at] == codes, at, -1)

    def numbers_of(self, colors: NDArray[np.uint8], *, path: Path) -> NDArray[np.integer]:
        """Colours to source numbers.

        Args:
            colors: (H, W, 3) RGB, contiguous.
            path: named in the error.

        Returns:
            (H, W) uint8 or uint16.

        Raises:
            InputError: a colour that is of no class, or of several; names colours, pixels, nearest classes.
        """
        found = np.empty(colors.shape[:2], self.numbers.dtype)
        flat = found.reshape(-1)
        for start, codes, lengths in _runs(colors):
            at = self.find(codes)
            if (at < 0).any():
                raise self._unknown(colors, path)
            flat[start : start + _BLOCK] = np.repeat(self.numbers[at], lengths)
        return found

    def _unknown(self, colors: NDArray[np.uint8], path: Path) -> InputError:
        unknown, pixels = np.empty(0, np.uint32), np.empty(0, np.int64)
        for _, codes, lengths in _runs(colors):
            bad = self.find(codes) < 0
            unknown, where = np.unique(np.concatenate([unknown, codes[bad]]), return_inverse=True)
            pixels = np.bincount(where, np.concatenate([pixels, lengths[bad]]), len(unknown)).astype(np.int64)
            if len(unknown) > _MOST_COUNTED:
                break
        named = unknown[np.argsort(-pixels, kind="stable")[:MOST_COLORS]]
        told = [(int(code), _pixels_of(int(code), colors)) for code in named]
        more = len(unknown) - len(named)
        fix = (
            "add the colour to the class list if it is a class; colours between those of two classes come of "
            "smooth (antialiased) edges or lossy compression: export the masks again as PNG, without them"
        )
        swapped = np.array([_code(_color(code)[::-1]) for code in named.tolist()], np.uint32)
        if (self.find(swapped) >= 0).all():
            fix = "red and blue are exchanged, as OpenCV's imwrite does with RGB: save the masks again"
        if self.shared.keys() >= set(named.tolist()):
            fix = "give each class a colour of its own, or make one class of those that share it"
        return DataError(
            "mask colours outside the class list: "
            + "; ".join(f"{_color(code)}: {count} pixels{self._about(code)}" for code, count in told)
            + (f"; and {'over ' * (len(unknown) > _MOST_COUNTED)}{more} more colours" if more else ""),
            kind="colors",
            where=path,
            fix=fix,
            values=[(str(_color(code)), count) for code, count in told],
        )

    def _about(self, code: int) -> str:
        """What is to be said of a colour that is of no single class."""
        if code in self.shared:
            return f", the colour of both {' and '.join(self.shared[code])}"
        if not len(self.codes):
            return ""
        table = np.array([_color(int(c)) for c in self.codes])
        at = int(np.linalg.norm(table - np.array(_color(code)), axis=1).argmin())
        return f", nearest is {self.names[at]} {_color(int(self.codes[at]))}"


@dataclass(frozen=True, slots=True)
class ColorMask:
    """A picture file whose pixels are class colours.

    Files of one channel among them hold class numbers, as everywhere: a palette file gives its indices, never
    its colours. Two things are looked at all the same. If the colours in which the numbers are shown are
    those of other classes, class list and file contradict each other, and that is an error. And greys that
    are no class numbers but are all colours of classes (black and white saved in one channel) are colours.
    """

    path: Path
    table: ColorTable

    @property
    def files(self) -> tuple[Path, ...]:
        """The file itself."""
        return (self.path,)

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """The source numbers; their size is that of the file.

        Raises:
            InputError: the file cannot be read or is lossy, a colour is of no class or of several, or the
                file's palette contradicts the class list.
        """
        values, shown, _, has_palette = read_mask_pixels(self.path)
        if values.ndim == 3:
            return self.table.numbers_of(values.astype(np.uint8, copy=False), path=self.path)
        if shown is None:
            return values
        return self._as_shown(values, shown, has_palette)

    def _as_shown(
        self, values: NDArray[np.integer], shown: NDArray[np.uint8], has_palette: bool
    ) -> NDArray[np.integer]:
        """Numbers, once they agree with the colours ``shown`` (n, 3) in which programs show them."""
        used = value_counts(values)[0].astype(np.intp)
        used = used[used < len(shown)]
        at = self.table.find(_codes(shown[used]))
        of_class = at >= 0
        other = of_class & (self.table.numbers[at] != used) if of_class.any() else of_class
        if not has_palette and of_class.all() and not self.table.known.issuperset(used.tolist()):
            number_of = np.zeros(256, self.table.numbers.dtype)
            number_of[used] = self.table.numbers[at]
            return number_of[values]
        # A colour or two may meet by chance, above all the black of number 0.
        if other.sum() > np.count_nonzero(~of_class):
            raise self._contradiction(used[other], at[other], shown, has_palette)
        return values

    def _contradiction(
        self, used: NDArray[Any], at: NDArray[Any], shown: NDArray[np.uint8], has_palette: bool
    ) -> InputError:
        names, numbers = self.table.names, self.table.numbers
        told = [
            f"{n} is shown in {tuple(shown[n].tolist())}, the colour of {names[i]}, "
            f"whose number is {numbers[i]}"
            for n, i in zip(used[:MOST_COLORS].tolist(), at.tolist(), strict=False)
        ]
        more = f"; and {len(used) - MOST_COLORS} more" if len(used) > MOST_COLORS else ""
        what = "the palette of the mask" if has_palette else "the grey of the mask"
        return DataError(
            f"{what} and the class list contradict each other: number {'; '.join(told)}{more}",
            kind="colors",
            where=self.path,
            fix="bring the class list into the order of the masks, or say which number each class has in "
            f"dataset.yaml: classes: [{{number: {used[0]}, name: {names[at[0]]}, "
            f"color: {shown[used[0]].tolist()}}}, ...]; or save the masks as RGB if their colours are right",
        )


def _runs(colors: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint32], NDArray[np.intp]]]:
    """Runs of equal colour in (H, W, 3), a block at a time: the block's first pixel, codes, lengths.

    Masks are large patches of few colours: looking up a run at a time costs a fraction of looking up pixels.
    """
    listed = np.ascontiguousarray(colors).reshape(-1, 3)
    for start in range(0, len(listed), _BLOCK):
        block = listed[start : start + _BLOCK]
        flat = block.reshape(-1)
        changes = np.flatnonzero(flat[3:] != flat[:-3]) // 3 + 1  # once for each channel that changes
        first = np.concatenate([[0], changes[np.diff(changes, prepend=0) > 0]])
        yield start, _codes(block[first]), np.diff(first, append=len(block))


def _pixels_of(code: int, colors: NDArray[np.uint8]) -> int:
    return sum(int(lengths[codes == code].sum()) for _, codes, lengths in _runs(colors))


def _codes(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(..., 3) RGB to (...) codes."""
    wide = colors.astype(np.uint32)
    return (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).astype(np.uint32, copy=False)


def _code(color: Color) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _color(code: int) -> Color:
    return code >> 16, code >> 8 & 255, code & 255
