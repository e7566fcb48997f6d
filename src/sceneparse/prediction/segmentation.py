"""Segmentation: what a prediction is, checked on construction."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sceneparse.errors import InputError
from sceneparse.files import make_parent, write_atomically, write_text
from sceneparse.labels import Color, LabelSet
from sceneparse.prediction import render
from sceneparse.prediction.legend import IGNORED, number_counts


class ShareRow(NamedTuple):
    """One class in one picture: a line of ``shares.csv``."""

    file: str
    class_number: int
    class_name: str
    share: float
    pixels: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """A class for every pixel of a picture.

    Args:
        labels: (H, W) uint8 or uint16, the dataset's own numbers, those of the user's annotation files;
            each is a class or an ignored number of ``label_set``.
        label_set: names, numbers and colours of the classes.
        image: the picture, uint8 (H, W, 3), or None if it was not kept.

    Raises:
        InputError: a shape, dtype or number does not fit; says what was expected and what was found.
    """

    labels: NDArray[np.integer]
    label_set: LabelSet
    image: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        labels, image = self.labels, self.image
        if (
            not isinstance(labels, np.ndarray)
            or labels.dtype not in (np.uint8, np.uint16)
            or labels.ndim != 2
        ):
            raise InputError(
                f"labels must be a uint8 or uint16 array (H, W), got {_description(labels)}",
                fix="turn training indices into file numbers with LabelSet.to_file",
            )
        if labels.size == 0:
            raise InputError(f"labels are empty: {labels.shape}", fix="give a picture of at least 1x1 pixels")
        if image is not None and (
            not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != (*labels.shape, 3)
        ):
            raise InputError(
                f"image must be a uint8 array {(*labels.shape, 3)}, got {_description(image)}",
                fix="keep the picture at the size of its labels, RGB 0..255",
            )
        allowed = (*self.label_set.file_numbers, *self.label_set.ignored)
        strange = np.setdiff1d(np.flatnonzero(self._counts), allowed)
        if strange.size:
            raise InputError(
                f"numbers that are no class: {', '.join(map(str, strange[:8]))}"
                f"{' and more' if strange.size > 8 else ''}; "
                f"{self.label_set.describe()}",
                fix="turn training indices into file numbers with LabelSet.to_file",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """K class names, in the order of ``label_set.file_numbers``."""
        return self.label_set.names

    @property
    def palette(self) -> tuple[Color, ...]:
        """K colours, RGB 0..255, in the order of ``names``."""
        return self.label_set.palette

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        return number_counts(self.labels)

    def shares(self) -> dict[str, float]:
        """Fraction of the pixels by class name, largest first; only classes that occur. The sum is 1.

        Pixels that hold an ignored number are called ``"ignored"`` and come last.
        """
        shares = {row.class_name: row.share for row in self.share_rows("")}
        ignored = int(self._counts[list(self.label_set.ignored)].sum())
        if ignored:
            shares[IGNORED] = shares.pop(IGNORED, 0.0) + ignored / self.labels.size
        return shares

    def share_rows(self, file: str) -> list[ShareRow]:
        """The classes that occur, largest first, for :func:`save_shares_csv`; ``file`` names the picture."""
        present = [
            ShareRow(
                file, number, name, int(self._counts[number]) / self.labels.size, int(self._counts[number])
            )
            for number, name in zip(self.label_set.file_numbers, self.names, strict=True)
            if self._counts[number]
        ]
        return sorted(present, key=lambda row: -row.pixels)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The classes over the picture with a legend, see :func:`sceneparse.prediction.render.overlay`.

        Without a picture, the classes' colours alone.
        """
        if self.image is None:
            colours = render.colourise(self.labels, self.label_set)
            return render.overlay(colours, self.labels, self.label_set, alpha=1.0)
        return render.overlay(self.image, self.labels, self.label_set, alpha=alpha)

    def save_labels(self, path: str | Path) -> None:
        """Write the labels as a PNG that holds the dataset's own numbers.

        An 8-bit palette PNG in the classes' colours if every class number is at most 255, else 16-bit grey.
        ``sceneparse.data.decode.read_mask`` reads it back unchanged.

        Raises:
            InputError: the file cannot be written; what was at ``path`` before is still there.
        """
        numbers = np.ascontiguousarray(self.labels)
        if max(*self.label_set.file_numbers, int(numbers.max())) <= 255:
            picture = Image.fromarray(numbers.astype(np.uint8))
            picture.putpalette(self.label_set.file_palette())
        else:
            picture = Image.fromarray(numbers.astype(np.uint16))
        save_png(picture, path)

    def to_annotated(self) -> tuple[NDArray[np.uint8], list[tuple[NDArray[np.bool_], str]]]:
        """``(image, [(mask, class name), ...])``, largest class first, for gradio's ``AnnotatedImage``.

        Raises:
            InputError: the picture was not kept.
        """
        if self.image is None:
            raise InputError("this segmentation has no image", fix="construct it with image=")
        masks = [(self.labels == row.class_number, row.class_name) for row in self.share_rows("")]
        return self.image, masks


def save_png(picture: Image.Image, path: str | Path) -> None:
    """Write a PNG whole or not at all; folders on the way are made.

    Raises:
        InputError: the file cannot be written; what was at ``path`` before is still there.
    """
    path = Path(path)
    make_parent(path)
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def save_shares_csv(path: str | Path, rows: Iterable[ShareRow]) -> None:
    """Write shares of classes as CSV, UTF-8: file, class_number, class_name, share (0..1), pixels.

    Args:
        path: written whole or not at all; folders on the way are made.
        rows: from :meth:`Segmentation.share_rows`.

    Raises:
        InputError: the file cannot be written; what was at ``path`` before is still there.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(ShareRow._fields)
    table.writerows((*row[:3], f"{row.share:.6f}", row.pixels) for row in rows)
    path = Path(path)
    make_parent(path)
    write_text(path, text.getvalue())


def _description(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
