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
    """

    picture: Picture | None
    numbers: NDArray[np.integer] | None
    counts: NDArray[np.int64] | None
    faults: tuple[Fault, ...]

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
) -> Inspection:
    """Decode an image and its mask once, and find everything that is wrong with them.

    Args:
        pair: the files.
        labels: the classes.
        split: named in faults.
        target: (H, W) to the height and width that are needed of the image: see ``read_picture``.
    """
    faults: list[Fault] = []

    def failed(error: InputError, *files: Path) -> None:
        faults.append(Fault.of(error, files=files, split=split, stem=pair.stem))

    picture: Picture | None = None
    try:
        picture = read_picture(pair.image, target=target)
    except InputError as error:
        failed(error, pair.image)
    try:
        numbers = pair.mask.read(picture.size_hw if picture is not None else (1, 1))
        values, counts = value_counts(numbers)
        wrong = _unknown(labels, values, counts)
        if wrong is not None:
            failed(wrong, pair.mask.path)
    except InputError as error:
        # A form without a size of its own covers nothing for sure where its picture is not known.
        if picture is not None or not (isinstance(error, DataError) and error.kind == "uncovered"):
            failed(error, pair.mask.path)
    if picture is None or faults:
        return Inspection(picture=None, numbers=None, counts=None, faults=tuple(faults))

    if numbers.shape != picture.size_hw:
        failed(_size_error(numbers.shape, picture), pair.mask.path, pair.image)
        return Inspection(picture=None, numbers=None, counts=None, faults=tuple(faults))
    by_class = np.zeros(labels.num_classes + 1, np.int64)
    index = np.minimum(labels.index_of(values), labels.num_classes)  # the ignore index is above K
    np.add.at(by_class, index, counts)
    if not by_class[:-1].any():
        what = f"every pixel of {pair.mask.path.name} is ignored: nothing is learned or scored from it"
        fix = "remove the pair, or correct the mask or the ignored values"
        files = (pair.mask.path,)
        faults.append(Fault(kind="all-ignored", what=what, fix=fix, files=files, split=split, stem=pair.stem))
    if picture.orientation != 1:
        what = f"{pair.image.name} is turned upright by its EXIF data, and its mask fits the upright picture"
        if picture.orientation < 5 or picture.size_hw[0] == picture.size_hw[1]:
            what = f"{pair.image.name} is turned by its EXIF data; sizes cannot tell whether its mask is too"
        fix = "look at it: sceneparse check DATA --sheet SHEET.png"
        faults.append(
            Fault(kind="turned", what=what, fix=fix, files=(pair.image,), split=split, stem=pair.stem)
        )
    return Inspection(picture=picture, numbers=numbers, counts=by_class, faults=tuple(faults))


MOST_VALUES = 8
"""How many values an error spells out."""


def _unknown(labels: LabelSet, values: NDArray[np.integer], counts: NDArray[np.int64]) -> DataError | None:
    """The error about values that are neither class nor ignored, or None."""
    unknown = labels.index_of(values) < 0
    if not unknown.any():
        return None
    found = [(int(v), int(n)) for v, n in zip(values[unknown], counts[unknown], strict=True)]
    said = ", ".join(f"{value} ({pixels} pixels)" for value, pixels in found[:MOST_VALUES])
    more = f" and {len(found) - MOST_VALUES} more" if len(found) > MOST_VALUES else ""
    if set(values.tolist()) <= {0, 255} and 255 in values:
        name = labels.names[min(1, labels.num_classes - 1)]
        return DataError(
            f"the mask holds only {' and '.join(str(v) for v in values)}, the usual way to write a mask of "
            f"one class, and 255 is no class: is 255 {name!r}, or is it ignored? {labels.describe()}",
            kind="binary",
            values=found,
            fix=f"say it in dataset.yaml: classes: {{0: {labels.names[0]}, 255: {name}}} if 255 is {name!r}, "
            "ignore: [255] if it is not",
        )
    return DataError(
        f"mask values outside the class list: {said}{more}; {labels.describe()}",
        kind="values",
        values=found,
        fix="add the value to the classes or to the ignored values, or correct the mask",
    )


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
