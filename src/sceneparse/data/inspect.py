"""What is in one pair of image and mask, and what is wrong with it: the one place that looks.

``check`` prints it, and the pixel cache, which reads every file anyhow, keeps it: a training is checked
without reading anything twice.

H, W: height and width of the upright picture, pixels. K: number of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.decode import Picture, read_picture
from sceneparse.data.faults import DataError, Fault
from sceneparse.data.pairs import Pair
from sceneparse.data.values import values_error
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet, value_counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """One pair, looked at.

    Args:
        picture: the decoded image; None where a fault stops.
        numbers: (H, W) source numbers of the mask; None where a fault stops.
        counts: int64 (K + 1,) pixels of each class, and of none; None where a fault stops.
        faults: what is wrong; warnings too.
        size_hw: height and width of the upright picture, pixels; None where it cannot be read.
        values: the source numbers in the mask and the pixels of each, whether they fit or not; None where it
            cannot be read.
    """

    picture: Picture | None
    numbers: NDArray[np.integer] | None
    counts: NDArray[np.int64] | None
    faults: tuple[Fault, ...]
    size_hw: tuple[int, int] | None = None
    values: tuple[NDArray[np.integer], NDArray[np.int64]] | None = None

    def without_pixels(self) -> Inspection:
        """The facts alone, to be kept for thousands of pairs."""
        picture = None if self.picture is None else replace(self.picture, pixels=_NO_PIXELS)
        return replace(self, picture=picture, numbers=None)


_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


def inspect_pair(
    pair: Pair,
    labels: LabelSet,
    *,
    split: str,
    target: Callable[[int, int], tuple[int, int]] | None = None,
    keep_pixels: bool = True,
) -> Inspection:
    """Decode an image and its mask once, and find everything that is wrong with them.

    Args:
        pair: the files.
        labels: the classes.
        split: named in faults.
        target: (H, W) to the height and width that are needed of the image: see ``read_picture``.
        keep_pixels: whether the pixels of image and mask are wanted; the files are decoded all the same.
    """
    faults: list[Fault] = []

    def failed(error: InputError, *files: Path) -> None:
        faults.append(Fault.of(error, files=files, split=split, stem=pair.stem))

    picture: Picture | None = None
    values: tuple[NDArray[np.integer], NDArray[np.int64]] | None = None
    try:
        picture = read_picture(pair.image, target=target, keep_pixels=keep_pixels)
    except InputError as error:
        failed(error, pair.image)
    try:
        numbers = pair.mask.read(picture.size_hw if picture is not None else (1, 1))
        values = value_counts(numbers)
        unknown = labels.index_of(values[0]) < 0
        if unknown.any():
            found = list(zip(values[0][unknown].tolist(), values[1][unknown].tolist(), strict=True))
            failed(values_error(found, values[0], labels), pair.mask.path)
    except InputError as error:
        # A form without a size of its own covers nothing for sure where its picture is not known.
        if picture is not None or not (isinstance(error, DataError) and error.kind == "uncovered"):
            failed(error, _file_of(error, pair))
    except MemoryError:
        values = None
        failed(InputError("not enough memory for the mask", fix="make it smaller"), pair.mask.path)
    size_hw = None if picture is None else picture.size_hw
    if picture is None and values is not None and numbers.size == 1:
        values = None  # of the size that was asked for, not of the mask
    if picture is not None and values is not None and numbers.shape != picture.size_hw:
        failed(_size_error(numbers.shape, picture), pair.mask.path, pair.image)
    if picture is None or values is None or faults:
        return Inspection(
            picture=None, numbers=None, counts=None, faults=tuple(faults), size_hw=size_hw, values=values
        )
    counts = np.zeros(labels.num_classes + 1, np.int64)
    index = np.minimum(labels.index_of(values[0]), labels.num_classes)  # the ignore index is above K
    np.add.at(counts, index, values[1])
    faults += _doubts(pair, picture, counts, split)
    return Inspection(
        picture=picture,
        numbers=numbers if keep_pixels else None,
        counts=counts,
        faults=tuple(faults),
        size_hw=size_hw,
        values=values,
    )


def _file_of(error: InputError, pair: Pair) -> Path:
    """The file of a mask that an error is about: one of several, where the mask has several."""
    return next((path for path in pair.mask.files if str(path) == str(error.where)), pair.mask.path)


def _doubts(pair: Pair, picture: Picture, counts: NDArray[np.int64], split: str) -> list[Fault]:
    """The warnings about a sound pair."""
    doubts = []
    if not counts[:-1].any():
        what = f"every pixel of {pair.mask.path.name} is ignored: nothing is learned or scored from it"
        fix = "remove the pair, or correct the mask or the ignored values"
        files = (pair.mask.path,)
        doubts.append(Fault(kind="all-ignored", what=what, fix=fix, files=files, split=split, stem=pair.stem))
    if picture.orientation != 1:
        what = f"{pair.image.name} is turned upright by its EXIF data, and its mask fits the upright picture"
        if picture.orientation < 5 or picture.size_hw[0] == picture.size_hw[1]:
            what = f"{pair.image.name} is turned by its EXIF data; sizes cannot tell whether its mask is too"
        fix = "look at it: sceneparse check DATA --sheet SHEET.png"
        doubts.append(
            Fault(kind="turned", what=what, fix=fix, files=(pair.image,), split=split, stem=pair.stem)
        )
    return doubts


def _size_error(mask_hw: tuple[int, ...], picture: Picture) -> DataError:
    (height, width), (mask_height, mask_width) = picture.size_hw, mask_hw
    turned = picture.orientation >= 5 and mask_hw == (width, height)
    return DataError(
        f"the mask is {mask_width} x {mask_height} pixels and its image {width} x {height} (width x height)"
        + (", once its EXIF data has turned it upright" if turned else ""),
        kind="size",
        fix="the mask was drawn on the picture as it is stored: turn the mask, or take the orientation out "
        "of the image's EXIF data"
        if turned
        else "export the mask at the size of its image",
    )
