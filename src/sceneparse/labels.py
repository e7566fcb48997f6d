"""LabelSet: the only place where a number in a label file becomes a class.

Three kinds of number meet here and are never mixed:

* *file number*: what a pixel of the user's annotation file holds (ADE20K: 1 = wall ... 150 = flag);
* *training index*: ``0 .. K-1``, the channel of the logits;
* *ignore index*: what an ignored pixel holds among training indices (255, or 65535 when K > 255).
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sceneparse.errors import InputError, nearest

Color = tuple[int, int, int]

MAX_FILE_NUMBER = 65535

_PIECE = 2**17  # pixels looked up at a time: what is in between stays in the processor's cache


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """Class names, colours and the numbers that stand for them in label files.

    Args:
        names: K class names in the order of the training index.
        file_numbers: the K numbers of the classes in label files, 0..65535, all different.
        palette: K colours, RGB 0..255.
        ignored: file numbers that mean "no class": without effect on loss, gradient and score.
        merged: (number, file number of the class it counts as): further numbers in label files.

    Raises:
        InputError: lengths differ, a number or name is given twice, or a value is out of range.
    """

    names: tuple[str, ...]
    file_numbers: tuple[int, ...]
    palette: tuple[Color, ...]
    ignored: tuple[int, ...] = ()
    merged: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError("the class list is empty", fix="name at least one class")
        if not len(self.names) == len(self.file_numbers) == len(self.palette):
            raise InputError(
                f"{len(self.names)} names, {len(self.file_numbers)} file numbers and "
                f"{len(self.palette)} colours: each class needs one of each"
            )
        assert {into for _, into in self.merged} <= set(self.file_numbers), self.merged
        for what, values in (("name", self.names), ("file number", self.known_numbers)):
            if twice := given_twice(values):
                raise InputError(f"class {what} given twice: {twice}", fix=f"give every class its own {what}")
        for number in self.known_numbers:
            if not 0 <= number <= MAX_FILE_NUMBER:
                raise InputError(
                    f"file number {number} is outside 0..{MAX_FILE_NUMBER}",
                    fix="give the number that pixels of the mask files hold",
                )
        for color in self.palette:
            if len(color) != 3 or not all(0 <= c <= 255 for c in color):
                raise InputError(f"colour {color} is not three numbers 0..255")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.names)

    @property
    def known_numbers(self) -> tuple[int, ...]:
        """Every number that a label file may hold: of classes, merged and ignored."""
        return self.file_numbers + tuple(number for number, _ in self.merged) + self.ignored

    @property
    def ignore_index(self) -> int:
        """Training index of ignored pixels: 255, or 65535 when there are more than 255 classes."""
        return 255 if self.num_classes <= 255 else MAX_FILE_NUMBER

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """uint8 or uint16: holds every training index and the ignore index."""
        return np.dtype(np.uint8 if self.ignore_index == 255 else np.uint16)

    @property
    def file_dtype(self) -> np.dtype[Any]:
        """uint8 or uint16: holds every file number."""
        return np.dtype(np.uint8 if max(self.file_numbers + self.ignored) <= 255 else np.uint16)

    @cached_property
    def _index_of(self) -> NDArray[np.int32]:
        """Table from file number to training index; -1 where a number is not in the class list."""
        table = np.full(MAX_FILE_NUMBER + 1, -1, np.int32)
        table[list(self.file_numbers)] = np.arange(self.num_classes)
        for number, into in self.merged:
            table[number] = table[into]
        table[list(self.ignored)] = self.ignore_index
        return table

    def index_of(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        """Training index of each number, :attr:`ignore_index` where it is ignored, -1 where it is unknown."""
        return self._index_of[numbers]

    def to_index(self, mask: NDArray[np.integer], *, path: str | Path | None = None) -> NDArray[np.integer]:
        """File numbers to training indices.

        Args:
            mask: (H, W) integers as read from a label file.
            path: named in the error.

        Returns:
            (H, W) of :attr:`index_dtype`; ignored pixels hold :attr:`ignore_index`.

        Raises:
            InputError: a value is neither a class nor ignored; says value, pixels and what to do.
        """
        numbers, index = mask.reshape(-1), np.empty(mask.size, self.index_dtype)
        for start in range(0, numbers.size, _PIECE):
            piece = slice(start, start + _PIECE)
            found = self._index_of.take(numbers[piece])
            if found.min() < 0:
                raise self._unknown_values(mask, path)
            index[piece] = found
        return index.reshape(mask.shape)

    def _unknown_values(self, mask: NDArray[np.integer], path: str | Path | None) -> InputError:
        values, counts = value_counts(mask)
        unknown = self.index_of(values) < 0
        told = list(zip(values[unknown], counts[unknown], strict=True))
        found = ", ".join(f"{v} ({n} pixels)" for v, n in told[:8])
        more = f" and {len(told) - 8} more" if len(told) > 8 else ""
        return InputError(
            f"mask values outside the class list: {found}{more}; {self.describe()}",
            where=path,
            fix="add the value to the classes or to the ignored values, or correct the mask",
        )

    def to_file(self, index: NDArray[np.integer]) -> NDArray[np.integer]:
        """Training indices (H, W), each in 0..K-1, to file numbers of :attr:`file_dtype`."""
        return np.asarray(self.file_numbers, self.file_dtype)[index]

    def file_palette(self) -> bytes:
        """768 bytes for ``PIL.Image.putpalette``: entry n is the colour of file number n, black if unused."""
        table = np.zeros((256, 3), np.uint8)
        for number, color in zip(self.file_numbers, self.palette, strict=True):
            if number < 256:
                table[number] = color
        return table.tobytes()

    def describe(self) -> str:
        """One line in words: ``0 = ignored; 1 wall .. 150 flag``."""
        ignored = f"{', '.join(map(str, self.ignored))} = ignored; " if self.ignored else "nothing ignored; "
        classes = [f"{n} {name}" for n, name in zip(self.file_numbers, self.names, strict=True)]
        return ignored + (" .. ".join([classes[0], classes[-1]]) if len(classes) > 3 else ", ".join(classes))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; :meth:`from_dict` reads them back."""
        plain: dict[str, Any] = {
            "classes": [
                {"number": n, "name": name, "color": list(color)}
                for n, name, color in zip(self.file_numbers, self.names, self.palette, strict=True)
            ],
            "ignore": list(self.ignored),
        }
        return plain | ({"merged": [list(pair) for pair in self.merged]} if self.merged else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LabelSet:
        """Inverse of :meth:`to_dict`."""
        classes = values["classes"]
        return cls(
            names=tuple(str(c["name"]) for c in classes),
            file_numbers=tuple(int(c["number"]) for c in classes),
            palette=tuple((int(c["color"][0]), int(c["color"][1]), int(c["color"][2])) for c in classes),
            ignored=tuple(int(n) for n in values.get("ignore", ())),
            merged=tuple((int(number), int(into)) for number, into in values.get("merged", ())),
        )


def given_twice(values: Iterable[object], *, most: int = 20) -> str:
    """The values that occur more than once, at most so many of them, for a message; nothing if all differ."""
    twice = sorted(str(value) for value, count in Counter(values).items() if count > 1)
    return ", ".join(twice[:most]) + (f" and {len(twice) - most} more" if len(twice) > most else "")


def value_counts(mask: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
    """The values that a mask holds and how many pixels hold each: ``np.unique``, some forty times as fast.

    Args:
        mask: uint8 or uint16, (H, W).

    Returns:
        Values, ascending, of the mask's type, and their counts.
    """
    assert mask.dtype in (np.uint8, np.uint16), mask.dtype
    if mask.dtype == np.uint8:  # Pillow counts bytes as they are; numpy makes eight bytes of each first
        row = Image.frombuffer("L", (mask.size, 1), np.ascontiguousarray(mask), "raw", "L", 0, 1)
        counts = np.array(row.histogram())
    else:
        counts = np.bincount(mask.reshape(-1))
    values = np.flatnonzero(counts)
    return values.astype(mask.dtype), counts[values].astype(np.int64)


def distinct_colors(count: int) -> tuple[Color, ...]:
    """The PASCAL VOC colour map without its black first entry: bit-reversed, so neighbours differ."""
    colors = []
    for label in range(1, count + 1):
        r = g = b = 0
        rest, bit = label, 7
        while rest:
            r |= (rest & 1) << bit
            g |= (rest >> 1 & 1) << bit
            b |= (rest >> 2 & 1) << bit
            rest >>= 3
            bit -= 1
        colors.append((r, g, b))
    return tuple(colors)


def label_set_from_names(
    names: Sequence[str], *, first_number: int = 0, ignored: Iterable[int] = ()
) -> LabelSet:
    """Classes numbered from ``first_number`` in the order given, coloured by :func:`distinct_colors`."""
    return LabelSet(
        names=tuple(names),
        file_numbers=tuple(range(first_number, first_number + len(names))),
        palette=distinct_colors(len(names)),
        ignored=tuple(ignored),
    )


def _read_table(name: str, *, ignored: tuple[int, ...]) -> LabelSet:
    text = (Path(__file__).parent / "labelsets" / f"{name}.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    return LabelSet(
        names=tuple(r["name"] for r in rows),
        file_numbers=tuple(int(r["number"]) for r in rows),
        palette=tuple((int(r["red"]), int(r["green"]), int(r["blue"])) for r in rows),
        ignored=ignored,
    )


def ade20k() -> LabelSet:
    """SceneParse150: 1 wall .. 150 flag, 0 ignored; the benchmark's own palette."""
    return _read_table("ade20k", ignored=(0,))


def ade20k_tutorial() -> LabelSet:
    """The tutorial's 151 classes: 0 "other" is a class that is trained and scored."""
    table = _read_table("ade20k", ignored=())
    return LabelSet(
        names=("other", *table.names),
        file_numbers=(0, *table.file_numbers),
        palette=((0, 0, 0), *table.palette),
    )


def camvid() -> LabelSet:
    """CamVid's 11 classes, 0 sky .. 10 bicyclist, 11 (void) ignored."""
    return _read_table("camvid", ignored=(11,))


def cityscapes() -> LabelSet:
    """Cityscapes' 19 evaluated classes by their numbers in ``labelIds`` files, 7 road .. 33 bicycle.

    The other numbers are ignored, 255, which stands for the licence plate's -1, among them."""
    table = _read_table("cityscapes", ignored=())
    others = tuple(n for n in range(34) if n not in table.file_numbers)
    return replace(table, ignored=(*others, 255))


def cityscapes_train_ids() -> LabelSet:
    """The same 19 classes by their numbers in ``labelTrainIds`` files, 0 road .. 18 bicycle, 255 ignored."""
    table = _read_table("cityscapes", ignored=(255,))
    return replace(table, file_numbers=tuple(range(table.num_classes)))


def voc() -> LabelSet:
    """PASCAL VOC's 21 classes, 0 background .. 20 tv/monitor; 255, the border of objects, is ignored."""
    return _read_table("voc", ignored=(255,))


LABEL_SETS: dict[str, Callable[[], LabelSet]] = {
    "ade20k": ade20k,
    "ade20k-151": ade20k_tutorial,
    "camvid": camvid,
    "cityscapes": cityscapes,
    "cityscapes-train-ids": cityscapes_train_ids,
    "voc": voc,
}


def label_set(name: str) -> LabelSet:
    """A label set that ships with the package, by name.

    Raises:
        InputError: no such name.
    """
    if name not in LABEL_SETS:
        raise InputError(
            f"unknown label set {name!r}.{nearest(name, LABEL_SETS)}", fix=f"one of: {', '.join(LABEL_SETS)}"
        )
    return LABEL_SETS[name]()
