"""evaluate(): the numbers of a model on a split, from the files themselves, streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from sceneparse.data.decode import read_image, read_mask
from sceneparse.data.layouts import Dataset
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import AbsentRule, confusion_matrix, numbers_json
from sceneparse.labels import LabelSet


class IndexPredictor(Protocol):
    """What is needed of :class:`sceneparse.prediction.predictor.Predictor`."""

    @property
    def labels(self) -> LabelSet:
        """Classes of the model."""
        ...

    def predict_index(
        self,
        image: NDArray[np.uint8],
        *,
        size_hw: tuple[int, int] | None = None,
        tile: str | int = "auto",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> NDArray[np.integer]:
        """Training indices at ``size_hw``."""
        ...


def evaluate(
    predictor: IndexPredictor,
    dataset: Dataset,
    *,
    split: str = "val",
    absent: AbsentRule = "skip",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    console: Console | None = None,
    each: Callable[[str, NDArray[np.integer]], None] | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """One confusion matrix over every image of a split, at the label's own size.

    Args:
        predictor: the model.
        dataset: with the classes of the model: names and file numbers must be the same.
        split: "val" or "train".
        absent: what a class without truth and prediction does to the means.
        scales: see :class:`~sceneparse.prediction.predictor.Predictor`.
        flip: likewise.
        console: where a progress bar is shown; None shows none.
        each: called with the stem and the predicted training indices of every image.

    Returns:
        The contract's numbers, and the matrix (K, K+1).

    Raises:
        InputError: other classes than the model's, a file that cannot be read, a mask value outside the
            class list, an image and a mask of different sizes.
    """
    labels = predictor.labels
    theirs = dict(zip(dataset.labels.file_numbers, dataset.labels.names, strict=True))
    ours = dict(zip(labels.file_numbers, labels.names, strict=True))
    if ours != theirs:
        differ = [n for n in sorted(ours.keys() | theirs.keys()) if ours.get(n) != theirs.get(n)]
        said = ", ".join(f"{n}: {ours.get(n)!r} / {theirs.get(n)!r}" for n in differ[:4])
        raise InputError(
            f"the model has {len(ours)} classes, the data set {len(theirs)}; "
            f"they differ (model / data set) in {said}",
            where=dataset.root,
            fix="evaluate on data with the model's classes, or name them with --label-set",
        )
    pairs = dataset.split(split)
    matrix = np.zeros((labels.num_classes, labels.num_classes + 1), np.int64)
    shown = track(pairs, f"evaluating {split}", console=console, transient=True) if console else pairs
    for pair in shown:
        image, mask = read_image(pair.image), read_mask(pair.mask)
        if image.shape[:2] != mask.shape:
            raise InputError(
                f"the image is {image.shape[1]}x{image.shape[0]} and its mask {mask.shape[1]}x{mask.shape[0]}",
                where=pair.mask,
                fix="give both one size",
            )
        truth = dataset.labels.to_index(mask, path=pair.mask)
        guess = predictor.predict_index(image, scales=scales, flip=flip)
        matrix += confusion_matrix(
            guess, _reordered(truth, dataset.labels, labels), labels.num_classes, labels.ignore_index
        )
        if each is not None:
            each(pair.stem, guess)
    return numbers_json(matrix, labels, images=len(pairs), split=split, absent=absent), matrix


def _reordered(index: NDArray[np.integer], theirs: LabelSet, ours: LabelSet) -> NDArray[np.integer]:
    """Indices of one class list as those of another with the same classes in another order."""
    if theirs.file_numbers == ours.file_numbers:
        return index
    table = np.arange(max(theirs.num_classes, theirs.ignore_index + 1))
    table[: theirs.num_classes] = [ours.file_numbers.index(n) for n in theirs.file_numbers]
    return table[index]
