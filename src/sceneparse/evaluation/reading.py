"""What a split says besides its scores: which images cost most, how outlines are drawn, how sure to be.

Everything is added up in one pass; an image leaves a few hundred numbers behind, whatever its size.

What an image costs is the mean IoU of the split that would be gained if that image were all right. The mean
IoU of the image itself would name images with a tiny class in them, its pixel accuracy those with a large
class; this names those that hold the score back, every class counting the same.

Shapes: H,W image; K classes; N images; L bands around the boundaries, the last the rest.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.evaluation.boundary import PIECE_PIXELS, WIDTHS, boundary_bands
from sceneparse.evaluation.calibration import Calibration

WORST = 8
"""Images that are named."""

ALIKE = 0.85
"""Cosine between the mistakes of two images from which they are one case: neighbours in a film, mostly. Only
the costlier is named."""

SURE = 0.9
"""Confidence from which a wrong pixel may be a wrong label."""

DEEP = 2
"""Bands closer to a boundary, below 5 pixels, are left out of such regions: outlines are seldom exact."""

SMALLEST_REGION = 0.003
"""Share of an image's pixels that such a region has at least."""

_REGION_SIDE = 1024
"""Regions are looked for at every n-th pixel of larger pictures."""


@dataclass(frozen=True)
class Region:
    """A connected region where the network is sure and the label says otherwise, away from boundaries.

    Args:
        name: of the image.
        truth: training index of the label there.
        prediction: of the prediction.
        pixels: of the region.
        share: of the image's pixels that count.
        confidence: mean over the region.
        box: top, left, bottom, right, in pixels of the label.
    """

    name: str
    truth: int
    prediction: int
    pixels: int
    share: float
    confidence: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Image:
    """Cells of an image's confusion matrix that are not empty, as ``row * (K + 1) + column``."""

    name: str
    cells: NDArray[np.integer]
    counts: NDArray[np.integer]


@dataclass(frozen=True)
class Counted:
    """An image on its way from :meth:`Reading.count` to :meth:`Reading.add`."""

    image: _Image
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    right: NDArray[np.int64]
    calibration: Calibration
    region: Region | None


class Reading:
    """Adds up images of a split: ``reading.add(reading.count(...))``, the counting in any thread.

    Args:
        num_classes: K.
        ignore_index: truth of pixels without effect.
    """

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.calibration = Calibration()
        shape = (len(WIDTHS) + 1, num_classes)
        self.true, self.predicted, self.right = (np.zeros(shape, np.int64) for _ in range(3))
        self.images: list[_Image] = []
        self.regions: list[Region] = []

    def count(
        self,
        name: str,
        truth: NDArray[np.integer],
        prediction: NDArray[np.integer],
        confidence: NDArray[np.floating] | None = None,
    ) -> Counted:
        """Count an image, without adding it.

        Args:
            name: of the image.
            truth: training indices (H, W): 0..K-1 or the ignored one.
            prediction: training indices (H, W); outside 0..K-1 is no class.
            confidence: (H, W), of the predicted class; None where it is not known, for all images.
        """
        classes = self.num_classes
        bands = boundary_bands(truth, self.ignore_index)
        counts = np.zeros(len(self.true) * classes * (classes + 1), np.int64)
        calibration, region = Calibration(), None
        piece = max(1, PIECE_PIXELS // max(truth.shape[1], 1))
        for part in (slice(top, top + piece) for top in range(0, len(truth), piece)):
            counted = truth[part] != self.ignore_index
            rows = truth[part][counted].astype(np.intp)
            columns = np.minimum(prediction[part][counted].astype(np.intp), classes)
            cell = (bands[part][counted].astype(np.intp) * classes + rows) * (classes + 1) + columns
            counts += np.bincount(cell, minlength=len(counts))
            if confidence is not None:
                calibration.add(confidence[part][counted], rows == columns)
        if confidence is not None:
            region = self._region(name, truth, prediction, confidence, bands >= DEEP)
        by_band = counts.reshape(-1, classes, classes + 1)
        matrix = by_band.sum(0).reshape(-1)
        cells = np.flatnonzero(matrix)
        return Counted(
            image=_Image(name, cells.astype(np.int32), matrix[cells].astype(np.int32)),
            true=by_band.sum(2),
            predicted=by_band.sum(1)[:, :-1],
            right=by_band.diagonal(axis1=1, axis2=2),
            calibration=calibration,
            region=region,
        )

    def add(self, counted: Counted) -> None:
        """Add an image."""
        self.images.append(counted.image)
        self.true += counted.true
        self.predicted += counted.predicted
        self.right += counted.right
        self.calibration += counted.calibration
        self.regions += [counted.region] if counted.region else []

    def matrix(self) -> NDArray[np.int64]:
        """Confusion matrix (K, K+1) of all images, as in :mod:`sceneparse.evaluation.confusion`."""
        total = np.zeros(self.num_classes * (self.num_classes + 1), np.int64)
        for image in self.images:
            total[image.cells] += image.counts
        return total.reshape(self.num_classes, -1)

    def numbers(self) -> dict[str, Any]:
        """Plain values for JSON; classes by training index.

        * ``images``; ``images_with_regions``: those with a :class:`Region`;
        * ``boundaries``: ``widths``, and for each band (K,) counts ``true``, ``predicted`` and ``right``;
        * ``calibration``: see there, None where no confidence was given;
        * ``containing``: (K,) images with a pixel of each class;
        * ``worst``: the images that cost most; ``alike``: others with much the same mistakes;
        * ``regions``: the largest, one an image; ``alike``: others at that place with the same classes.
        """
        return {
            "images": len(self.images),
            "images_with_regions": len(self.regions),
            "boundaries": {
                "widths": list(WIDTHS),
                "true": self.true.tolist(),
                "predicted": self.predicted.tolist(),
                "right": self.right.tolist(),
            },
            "calibration": self.calibration.to_dict() if self.calibration.pixels.any() else None,
            "containing": self._containing().tolist(),
            "worst": self._worst(),
            "regions": self._regions(),
        }

    def _containing(self) -> NDArray[np.int64]:
        found = np.zeros(self.num_classes, np.int64)
        for image in self.images:
            found[np.unique(image.cells // (self.num_classes + 1))] += 1
        return found

    def _regions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for region in sorted(self.regions, key=lambda region: -region.share):
            twin = next((other for other in found if _same_place(region, other)), None)
            if twin is not None:
                twin["alike"] += 1
            elif len(found) < WORST:
                found.append({**asdict(region), "alike": 0})
        return found

    def _worst(self) -> list[dict[str, Any]]:
        whole = self.matrix()
        missed, false = (np.zeros((len(self.images), self.num_classes), np.int64) for _ in range(2))
        for i, image in enumerate(self.images):
            missed[i], false[i] = _missed_and_false(self._matrix_of(image))
        gains = mean_iou_gains(whole, missed, false)
        found: list[dict[str, Any]] = []
        directions: list[NDArray[np.float64]] = []
        for i in np.argsort(-gains, kind="stable"):
            if not missed[i].any():
                continue
            matrix = self._matrix_of(self.images[i])
            mistakes = matrix.astype(np.float64)
            np.fill_diagonal(mistakes, 0)
            mistakes /= np.linalg.norm(mistakes)
            twin = next((n for n, other in enumerate(directions) if (other * mistakes).sum() > ALIKE), None)
            if twin is not None:
                found[twin]["alike"] += 1
            elif len(found) < WORST:
                directions.append(mistakes)
                found.append(self._described(i, float(gains[i]), whole, matrix))
        return found

    def _described(
        self, i: int, gain: float, whole: NDArray[np.int64], matrix: NDArray[np.int64]
    ) -> dict[str, Any]:
        right = np.diagonal(matrix)
        union = matrix.sum(1) + matrix[:, :-1].sum(0) - right
        return {
            "name": self.images[i].name,
            "gain": gain,
            "mean_iou": float((right[union > 0] / union[union > 0]).mean()),
            "pixels": int(matrix.sum()),
            "wrong": int(matrix.sum() - right.sum()),
            "confusion": costliest_confusions(whole, matrix, 1)[0],
            "alike": 0,
        }

    def _matrix_of(self, image: _Image) -> NDArray[np.int64]:
        matrix = np.zeros(self.num_classes * (self.num_classes + 1), np.int64)
        matrix[image.cells] = image.counts
        return matrix.reshape(self.num_classes, -1)

    def _region(
        self,
        name: str,
        truth: NDArray[np.integer],
        prediction: NDArray[np.integer],
        confidence: NDArray[np.floating],
        deep: NDArray[np.bool_],
    ) -> Region | None:
        from scipy.ndimage import find_objects, label

        step = -(-max(truth.shape) // _REGION_SIDE)
        thin = (slice(None, None, step),) * 2
        truth, prediction, confidence, deep = truth[thin], prediction[thin], confidence[thin], deep[thin]
        counted = truth != self.ignore_index
        total = int(counted.sum())
        sure = counted & deep & (truth != prediction) & (confidence >= SURE)
        if not sure.any() or sure.sum() < SMALLEST_REGION * total:
            return None
        pairs = np.where(sure, truth.astype(np.int64) * (self.num_classes + 1) + prediction, -1)
        values, counts = np.unique(pairs[sure], return_counts=True)
        best, place = 0, None
        for i in np.argsort(-counts):
            if counts[i] <= best:
                break
            regions, _ = label(pairs == values[i])
            sizes = np.bincount(regions.reshape(-1))
            sizes[0] = 0
            if sizes.max() > best:
                best, place = int(sizes.max()), regions == sizes.argmax()
        if place is None or best < SMALLEST_REGION * total:
            return None
        rows, columns = find_objects(place.astype(np.uint8))[0]
        row, column = (int(at[0]) for at in place.nonzero())
        return Region(
            name=name,
            truth=int(truth[row, column]),
            prediction=int(prediction[row, column]),
            pixels=best * step**2,
            share=best / total,
            confidence=float(confidence[place].mean()),
            box=(rows.start * step, columns.start * step, rows.stop * step, columns.stop * step),
        )


def _same_place(region: Region, other: dict[str, Any]) -> bool:
    """Whether boxes of the same two classes overlap: what a film shows again and again."""
    (top, left, bottom, right), (top2, left2, bottom2, right2) = region.box, other["box"]
    same = (region.truth, region.prediction) == (other["truth"], other["prediction"])
    return same and min(bottom, bottom2) > max(top, top2) and min(right, right2) > max(left, left2)


def _missed_and_false(matrix: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(K,) pixels of each class that were not found, and pixels taken for it by mistake."""
    right = np.diagonal(matrix)
    return matrix.sum(1) - right, matrix[:, :-1].sum(0) - right


def mean_iou_gains(
    matrix: NDArray[np.int64], missed: NDArray[np.int64], false: NDArray[np.int64]
) -> NDArray[np.float64]:
    """What the mean IoU of a split would gain if some mistakes were not made.

    With U the pixels of a class in truth or prediction and c the right ones, its IoU c / U becomes
    ``(c + missed) / (U - false)``. The mean is over the classes with truth or prediction.

    Args:
        matrix: (K, K+1) of the split.
        missed: (N, K), of N sets of mistakes: pixels of each class that would be found.
        false: (N, K), pixels that would no more be taken for it.

    Returns:
        (N,), fractions; 0 where nothing counts.
    """
    right = np.diagonal(matrix)
    union = matrix.sum(1) + matrix[:, :-1].sum(0) - right
    if not union.any():
        return np.zeros(len(missed))

    def mean(right: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
        iou = np.divide(right, union, out=np.zeros(union.shape), where=union > 0)
        return np.asarray(iou.sum(-1) / (union > 0).sum(-1))

    return mean(right + missed, union - false) - mean(right, union)


def costliest_confusions(
    whole: NDArray[np.int64], part: NDArray[np.int64], most: int
) -> list[dict[str, int | float]]:
    """The mistakes in a part of a split that cost the mean IoU of the split most.

    Args:
        whole: (K, K+1) of the split.
        part: (K, K+1) of the part, or the same.
        most: so many are named, if there are.

    Returns:
        ``truth``, ``prediction`` (K: no class), ``pixels`` and ``gain`` of each, the costliest first.
    """
    wrong = part.copy()
    np.fill_diagonal(wrong, 0)
    # Many classes have thousands of such pairs: those of the most pixels of either class hold the costliest.
    size = np.maximum(whole.sum(1), 1)
    weight = wrong / size[:, None]
    weight[:, :-1] = np.maximum(weight[:, :-1], wrong[:, :-1] / size)
    order = np.argsort(-weight, axis=None, kind="stable")[: 40 * most]
    rows, columns = np.unravel_index(order, wrong.shape)
    pixels = wrong[rows, columns]
    missed, false = (np.zeros((len(order), len(wrong) + 1), np.int64) for _ in range(2))
    missed[np.arange(len(order)), rows] = pixels
    false[np.arange(len(order)), columns] = pixels
    gains = mean_iou_gains(whole, missed[:, :-1], false[:, :-1])
    return [
        {
            "truth": int(rows[i]),
            "prediction": int(columns[i]),
            "pixels": int(pixels[i]),
            "gain": float(gains[i]),
        }
        for i in np.argsort(-gains, kind="stable")[:most]
        if pixels[i]
    ]
