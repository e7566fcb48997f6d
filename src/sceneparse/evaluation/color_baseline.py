"""The colour-only baseline: what a pixel's colour alone says about its class.

Every pixel is classified from its own red, green and blue, without place, neighbours or texture: a table of
colour bins, each holding the class that is likeliest for it in the training split (Bayes' rule over a
smoothed histogram). A network has learned something about scenes only where it is above this.

Several tables are tried (coarse and fine bins; classes weighted by how common they are, equally, or in
between). The one with the best mean IoU on training samples kept aside is taken and counted again on all.

Since the prediction depends on the colour bin only, counting (bin, truth) pairs is enough: the confusion
matrix is read from two histograms and equals that of predicting every pixel.

Shape legend: H,W image; K classes; R = 32 bins a channel of the finest histogram, b = 16 or 32 of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.dataset import Dataset
from sceneparse.data.decode import read_image
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import Scores, scores

Histogram = NDArray[np.int64]
Sample = tuple[NDArray[np.uint8], NDArray[np.integer]]

FINEST = 32
BINS = (16, 32)
PRIOR_POWERS = (0.0, 0.5, 1.0)
KEPT_ASIDE_EVERY = 5


@dataclass(frozen=True, kw_only=True)
class ColorTable:
    """A class for every colour.

    Attributes:
        classes: (b, b, b) training indices, by red, green and blue bin.
        bins: b.
        prior_power: the class share of the training pixels enters the choice to this power: 1 is Bayes' rule
            (best pixel accuracy), 0 weighs all classes equally (helps rare ones).
    """

    classes: NDArray[np.integer]
    bins: int
    prior_power: float

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.integer]:
        """Classes (H, W) of an image (H, W, 3) uint8."""
        red, green, blue = np.moveaxis(image >> (8 - (self.bins.bit_length() - 1)), -1, 0)
        return self.classes[red, green, blue]


@dataclass(frozen=True, kw_only=True)
class ColorBaseline:
    """The baseline's table and its numbers on the validation split."""

    table: ColorTable
    scores: Scores


def color_baseline(dataset: Dataset) -> dict[str, float]:
    """The baseline's numbers: fitted on a data set's split "train", scored on "val", at the files' own size.

    Args:
        dataset: with both splits; images and masks of the same size.

    Returns:
        ``mean_iou``, ``pixel_accuracy``, ``bins`` (a channel) and ``prior_power`` of the table taken.

    Raises:
        InputError: a split is missing, a file cannot be read, or a mask has another size than its image.
    """
    labels = dataset.labels
    train, val = (_samples(dataset, split) for split in ("train", "val"))
    result = baseline_from_samples(train, val, labels.num_classes, labels.ignore_index)
    return {
        "mean_iou": result.scores.mean_iou,
        "pixel_accuracy": result.scores.pixel_accuracy,
        "bins": result.table.bins,
        "prior_power": result.table.prior_power,
    }


def _samples(dataset: Dataset, split: str) -> Iterator[Sample]:
    for pair in dataset.split(split):
        image = read_image(pair.image)
        yield image, dataset.labels.to_index(pair.mask.read(image.shape[:2]), path=pair.mask.path)


def color_histogram(samples: Iterable[Sample], num_classes: int, ignore_index: int) -> Histogram:
    """Counts pixels by colour and true class.

    Args:
        samples: images (H, W, 3) uint8 with masks (H, W) of training indices, one after the other.
        num_classes: K.
        ignore_index: mask value that is not counted.

    Returns:
        (R, R, R, K) int64.

    Raises:
        InputError: a mask has another size than its image.
    """
    histogram = np.zeros(FINEST**3 * num_classes, np.int64)
    for image, mask in samples:
        if image.shape[:2] != mask.shape:
            raise InputError(
                f"image {image.shape[:2]} and mask {mask.shape} (height, width) differ in size",
                fix="open the cache with masks at the image's size",
            )
        red, green, blue = np.moveaxis(image >> 3, -1, 0).astype(np.int64)
        cell = ((red * FINEST + green) * FINEST + blue) * num_classes + mask
        found, counts = np.unique(cell[mask != ignore_index], return_counts=True)
        histogram[found] += counts
    return histogram.reshape(FINEST, FINEST, FINEST, num_classes)


def coarser(histogram: Histogram, bins: int) -> Histogram:
    """(R, R, R, K) added up to (b, b, b, K)."""
    step = FINEST // bins
    return histogram.reshape(bins, step, bins, step, bins, step, -1).sum(axis=(1, 3, 5))


def _smoothed(histogram: Histogram) -> NDArray[np.float64]:
    """Each bin shares with its neighbours, 1 2 1 along each channel, so that rare colours have an answer."""
    smooth = histogram.astype(np.float64)
    for axis in range(3):
        padded = np.concatenate([smooth.take([0], axis), smooth, smooth.take([-1], axis)], axis)
        n = smooth.shape[axis]
        before, after = padded.take(range(n), axis), padded.take(range(2, n + 2), axis)
        smooth = (before + 2 * smooth + after) / 4
    return smooth


def fit_table(histogram: Histogram, *, bins: int, prior_power: float) -> ColorTable:
    """The likeliest class of every colour bin.

    Args:
        histogram: (R, R, R, K) from :func:`color_histogram`.
        bins: b, a power of two up to R.
        prior_power: see :class:`ColorTable`.
    """
    counts = _smoothed(coarser(histogram, bins))
    share = counts.sum(axis=(0, 1, 2)) / max(counts.sum(), 1.0)
    power = np.where(share > 0, share, 1.0) ** prior_power
    likelihood = counts / np.where(share > 0, share, 1.0) * power
    # A colour never seen, nor its neighbours, gets the class that is likeliest without looking.
    likelihood += 1e-9 * power * (share > 0)
    return ColorTable(classes=likelihood.argmax(-1), bins=bins, prior_power=prior_power)


def score_table(table: ColorTable, histogram: Histogram) -> Scores:
    """Scores of a table on the pixels of a histogram (R, R, R, K)."""
    counts = coarser(histogram, table.bins)
    num_classes = counts.shape[-1]
    matrix = np.zeros(
        (num_classes + 1, num_classes), np.int64
    )  # prediction x truth; the last: no class predicted
    np.add.at(matrix, table.classes.ravel(), counts.reshape(-1, num_classes))
    return scores(np.ascontiguousarray(matrix.T))


def baseline_from_samples(
    train: Iterable[Sample], val: Iterable[Sample], num_classes: int, ignore_index: int
) -> ColorBaseline:
    """Fits the colour-only classifier on ``train`` and scores it on ``val``.

    Args:
        train: images (H, W, 3) uint8 with masks (H, W) of training indices.
        val: the same; never looked at for a choice.
        num_classes: K.
        ignore_index: mask value without effect on fit and score.

    Raises:
        InputError: a mask has another size than its image.
    """
    parts = [np.zeros((FINEST, FINEST, FINEST, num_classes), np.int64) for _ in range(2)]
    for number, sample in enumerate(train):
        kept_aside = number % KEPT_ASIDE_EVERY == KEPT_ASIDE_EVERY - 1
        parts[kept_aside] += color_histogram([sample], num_classes, ignore_index)
    fitted, aside = parts
    choices = [(bins, power) for bins in BINS for power in PRIOR_POWERS]

    def quality(choice: tuple[int, float]) -> float:
        return score_table(fit_table(fitted, bins=choice[0], prior_power=choice[1]), aside).mean_iou

    bins, power = max(choices, key=quality) if aside.any() else (BINS[0], 1.0)
    table = fit_table(fitted + aside, bins=bins, prior_power=power)
    return ColorBaseline(
        table=table, scores=score_table(table, color_histogram(val, num_classes, ignore_index))
    )
