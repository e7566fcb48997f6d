"""What a reading found, ready to be shown: the numbers of ``reading.json``, checked.

K classes; L bands around the boundaries, the last the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.evaluation.calibration import Calibration

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An image that is named, for its cost or for a region.

    Attributes:
        name: of the image.
        truth: training index of the costliest confusion, or of the region.
        prediction: likewise; K is "no class".
        pixels: of the confusion or the region.
        alike: how many other images are much the same case.
        gain: of mean IoU if the image were right; of a region None.
        mean_iou: of the image alone; of a region None.
        accuracy: part of the image's pixels that is right; of a region None.
        share: of the image's pixels that the region holds; otherwise None.
        confidence: mean over the region; otherwise None.
    """

    name: str
    truth: int
    prediction: int
    pixels: int
    alike: int
    gain: float | None = None
    mean_iou: float | None = None
    accuracy: float | None = None
    share: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingShare:
    """What the training split holds: images, and (K,) pixels and images containing each class."""

    images: int
    pixels: Counts
    containing: Counts


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The numbers of a reading.

    Attributes:
        widths: of the bands, ascending, pixels.
        true: (L, K) pixels of each class in the label, by band.
        predicted: (L, K), in the prediction.
        right: (L, K), in both.
        calibration: None where it is not known.
        images: of the split.
        images_with_regions: of them, those with a place where the network is sure and wrong.
        worst: images that cost most, the costliest first.
        regions: sure and wrong, the largest first.
        train: None where it is not known.
        shrunk: images whose sides were made shorter for the network; None where it is not known.
    """

    widths: list[int]
    true: Counts
    predicted: Counts
    right: Counts
    calibration: Calibration | None
    images: int
    images_with_regions: int
    worst: list[Mistake]
    regions: list[Mistake]
    train: TrainingShare | None
    shrunk: int | None

    def within(self, bands: slice) -> BandScores:
        """Scores over some of the bands."""
        true, predicted, right = (c[bands].sum(0) for c in (self.true, self.predicted, self.right))
        total, union = int(true.sum()), true + predicted - right
        iou = np.divide(right, union, out=np.full(len(true), np.nan), where=union > 0)
        return BandScores(
            share=total / max(int(self.true.sum()), 1),
            accuracy=float(right.sum() / total) if total else None,
            mean_iou=float(np.nanmean(iou)) if total else None,
            iou=[None if np.isnan(value) else float(value) for value in iou],
            pixels=true,
        )


@dataclass(frozen=True, kw_only=True)
class BandScores:
    """Scores over some pixels: their share of all, and fractions, None where there is nothing.

    ``mean_iou`` is over the classes that are there, in label or prediction; ``iou`` and ``pixels`` have K.
    """

    share: float
    accuracy: float | None
    mean_iou: float | None
    iou: list[float | None]
    pixels: Counts


def read_findings(numbers: dict[str, Any], num_classes: int) -> Findings | None:
    """None where there is no reading, or one of other classes or of another form."""
    try:
        boundaries = numbers["boundaries"]
        widths = [int(width) for width in boundaries["widths"]]
        shape = (len(widths) + 1, num_classes)
        true, predicted, right = (_counts(boundaries[key], shape) for key in ("true", "predicted", "right"))
        if (right > np.minimum(true, predicted)).any():
            return None
        calibration, train, shrunk = (numbers.get(key) for key in ("calibration", "train", "shrunk"))
        return Findings(
            widths=widths,
            true=true,
            predicted=predicted,
            right=right,
            calibration=None if calibration is None else Calibration.from_dict(calibration),
            images=int(numbers["images"]),
            images_with_regions=int(numbers["images_with_regions"]),
            worst=[_worst(item, num_classes) for item in numbers["worst"]],
            regions=[_region(item, num_classes) for item in numbers["regions"]],
            train=None if train is None else _train(train, num_classes),
            shrunk=None if shrunk is None else int(shrunk),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


def _counts(values: Any, shape: tuple[int, ...]) -> Counts:
    counts = np.array(values, np.int64)
    if counts.shape != shape or (counts < 0).any():
        raise ValueError("other classes")
    return counts


def _train(values: dict[str, Any], num_classes: int) -> TrainingShare:
    pixels, containing = (_counts(values[key], (num_classes,)) for key in ("pixels", "containing"))
    return TrainingShare(images=int(values["images"]), pixels=pixels, containing=containing)


def _worst(item: dict[str, Any], num_classes: int) -> Mistake:
    confusion = item["confusion"]
    return Mistake(
        name=str(item["name"]),
        truth=_index(confusion["truth"], num_classes),
        prediction=_index(confusion["prediction"], num_classes + 1),
        pixels=int(confusion["pixels"]),
        alike=int(item["alike"]),
        gain=float(item["gain"]),
        mean_iou=float(item["mean_iou"]),
        accuracy=1 - item["wrong"] / item["pixels"],
    )


def _region(item: dict[str, Any], num_classes: int) -> Mistake:
    return Mistake(
        name=str(item["name"]),
        truth=_index(item["truth"], num_classes),
        prediction=_index(item["prediction"], num_classes + 1),
        pixels=int(item["pixels"]),
        alike=int(item["alike"]),
        share=float(item["share"]),
        confidence=float(item["confidence"]),
    )


def _index(value: Any, below: int) -> int:
    if not 0 <= int(value) < below:
        raise ValueError("no such class")
    return int(value)
