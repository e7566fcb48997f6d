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
from sceneparse.labels import Color

MOST_COLORS = 8
"""How many colours an error names."""

_BLOCK = 2**18  # pixels looked up at once: what is held meanwhile stays small and near the processor
_CODES = 2**24
_CLOSE = 48  # soft edges and lossy compression leave colours within such a distance of a class's, mostly


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
        for start, run_colors, lengths in _runs(colors):
            at = self.find(_codes(run_colors))
            if (at < 0).any():
                raise self._unknown(colors, path)
            flat[start : start + _BLOCK] = np.repeat(self.numbers[at], lengths)
        return found

    def _unknown(self, colors: NDArray[np.uint8], path: Path) -> InputError:
        pixels = np.zeros(_CODES, np.int64)
        for _, run_colors, lengths in _runs(colors):
            np.add.at(pixels, _codes(run_colors), lengths)
        pixels[self.codes] = 0
        unknown = np.flatnonzero(pixels)
        unknown = unknown[np.argsort(-pixels[unknown], kind="stable")]
        counts = [(_text(_color(int(code))), int(pixels[code])) for code in unknown[:MOST_COLORS].tolist()]
        told = [
            f"{text}: {count} pixels{self._about(int(code))}"
            for (text, count), code in zip(counts, unknown, strict=False)
        ]
        more = f"; and {len(unknown) - MOST_COLORS} more colours" if len(unknown) > MOST_COLORS else ""
        swapped = (unknown & 255) << 16 | unknown & 0xFF00 | unknown >> 16
        near = all(self._nearest(int(code))[1] <= _CLOSE for code in unknown[:MOST_COLORS])
        fix = "add the colour to the class list, or correct the mask"
        if (self.find(swapped.astype(np.uint32)) >= 0).all():
            fix = "red and blue are exchanged, as OpenCV's imwrite does with RGB: save the masks again"
        elif not self.shared and (near or len(unknown) > MOST_COLORS):
            fix = (
                "colours close to those of classes mean soft (antialiased) or lossily compressed edges: "
                "export the masks again as PNG, without smoothing; or add the class whose colour is missing"
            )
        return DataError(
            f"mask colours outside the class list: {'; '.join(told)}{more}",
            kind="colors",
            where=path,
            fix=fix,
            values=counts,
        )

    def _about(self, code: int) -> str:
        if code in self.shared:
            return f", the colour of both {' and '.join(self.shared[code])}"
        if not len(self.codes):
            return ""
        at, _ = self._nearest(code)
        return f", nearest is {self.names[at]} {_text(_color(int(self.codes[at])))}"

    def _nearest(self, code: int) -> tuple[int, float]:
        """Position and distance in RGB of the class colour that is nearest."""
        if not len(self.codes):
            return -1, np.inf
        table = np.array([_color(int(c)) for c in self.codes])
        distances = np.linalg.norm(table - np.array(_color(code)), axis=1)
        at = int(distances.argmin())
        return at, float(distances[at])


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
        seen = np.zeros(max(256, len(shown)), np.bool_)
        for _, numbers, _ in _runs(values):
            seen[numbers] = True
        used = np.flatnonzero(seen[: len(shown)])
        at = self.table.find(_codes(shown[used]))
        of_class = at >= 0
        other = of_class & (self.table.numbers[at] != used) if of_class.any() else of_class
        if not has_palette and of_class.all() and not self.table.known.issuperset(used.tolist()):
            number_of = np.zeros(len(seen), self.table.numbers.dtype)
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
        red, green, blue = (int(c) for c in shown[used[0]])
        told = [
            f"{n} is shown in {_text(_color(int(_codes(shown[n]))))}, the colour of {names[i]}, "
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
            f"color: [{red}, {green}, {blue}]}}, ...]; or save the masks as RGB if their colours are right",
        )


def _runs(pixels: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any], NDArray[np.intp]]]:
    """Runs of equal pixels in (H, W) or (H, W, C), a block at a time.

    Masks are large patches of few colours: looking up a run at a time costs a fraction of looking up pixels.

    Yields:
        the block's first pixel; a pixel (R,) or (R, C) of each of its R runs; their lengths (R,).
    """
    height, width, *channels = pixels.shape
    listed = np.ascontiguousarray(pixels).reshape(height * width, *channels)
    step = channels[0] if channels else 1
    for start in range(0, len(listed), _BLOCK):
        block = listed[start : start + _BLOCK]
        flat = block.reshape(-1)
        changes = (
            np.flatnonzero(flat[step:] != flat[:-step]) // step + 1
        )  # again for each channel that changes
        first = np.concatenate([[0], changes[np.diff(changes, prepend=0) > 0]])
        yield start, block[first], np.diff(first, append=len(block))


def _codes(colors: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """(..., 3) RGB to (...) codes."""
    wide = colors.astype(np.uint32)
    return (wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]).astype(np.uint32, copy=False)


def _code(color: Color) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _color(code: int) -> Color:
    return code >> 16, code >> 8 & 255, code & 255


def _text(color: Color) -> str:
    return str(color)
