"""evaluate(): the numbers of a model on a split, from the files themselves, streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from sceneparse.data.dataset import Dataset
from sceneparse.data.dataset_file import SPLITS
from sceneparse.data.decode import Picture
from sceneparse.data.faults import Fault, FaultsError, counted
from sceneparse.data.inspect import Inspection, inspect_pair
from sceneparse.data.pairs import Pair
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.data.threads import decoding_threads, mapped_in_order
from sceneparse.errors import InputError, nearest
from sceneparse.evaluation.confusion import ABSENT_RULES, AbsentRule, confusion_matrix, numbers_json
from sceneparse.labels import LabelSet
from sceneparse.memory import full_memory_named

MOST_THREADS = 4
"""Threads that decode ahead; twice as many pictures wait in memory."""


class IndexPredictor(Protocol):
    """What is needed of :class:`sceneparse.prediction.predictor.Predictor`."""

    @property
    def labels(self) -> LabelSet:
        """Classes of the model."""
        ...

    @property
    def resize(self) -> ResizePolicy:
        """How pictures are brought to the network's size."""
        ...

    def predict_index(
        self, image: Picture, *, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> NDArray[np.integer]:
        """Training indices (H, W) of a decoded file, (H, W) = ``image.size_hw``."""
        ...


def evaluate(
    predictor: IndexPredictor,
    dataset: Dataset,
    *,
    split: str = "val",
    absent: AbsentRule = "skip",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    skip_bad: bool = False,
    console: Console | None = None,
    each: Callable[[str, NDArray[np.integer]], None] | None = None,
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """One confusion matrix over every image of a split, at the label's own size.

    After the first file that is wrong nothing is predicted any more, but the others are still read, so that
    one error names all wrong files.

    Args:
        predictor: the model.
        dataset: with the classes of the model: names and file numbers must be the same, in any order.
        split: "val", "train" or "test".
        absent: what a class without truth and prediction does to the means, "skip" or "zero".
        scales: see :class:`~sceneparse.prediction.predictor.Predictor`.
        flip: likewise.
        skip_bad: leave out pairs with a fault instead of raising.
        console: where a progress bar is shown, and what is left out is said; None shows nothing.
        each: called with the stem and the predicted training indices of every image.

    Returns:
        The contract's numbers, and the matrix (K, K+1).

    Raises:
        InputError: other classes than the model's, no such split or rule, files that cannot be read, mask
            values outside the class list, an image and a mask of different sizes.
    """
    for what, value, known in (("split", split, SPLITS), ("rule for absent classes", absent, ABSENT_RULES)):
        if value not in known:
            raise InputError(
                f"unknown {what} {value!r}.{nearest(value, known)}", fix="one of: " + ", ".join(known)
            )
    labels = predictor.labels
    index_of_theirs = _matching_classes(labels, dataset)
    pairs = dataset.split(split)
    matrix = np.zeros((labels.num_classes, labels.num_classes + 1), np.int64)
    faults: list[Fault] = [f for f in dataset.faults if f.split in (split, None)]
    images = 0

    def inspected(pair: Pair) -> tuple[Pair, Inspection]:
        return pair, inspect_pair(pair, dataset.labels, split=split, target=predictor.resize.target_size)

    # The network computes on all cores: decoding only has to be ahead of it.
    ahead = mapped_in_order(inspected, pairs, min(MOST_THREADS, decoding_threads()))
    with closing(ahead), Progress(console=console, transient=True, disable=console is None) as bar:
        for pair, found in bar.track(ahead, total=len(pairs), description=f"evaluating {split}"):
            faults += [fault for fault in found.faults if fault.stops]
            if found.picture is None or found.numbers is None or (faults and not skip_bad):
                continue
            guess = _predicted(predictor, pair, found.picture, scales, flip)
            truth = index_of_theirs[dataset.labels.to_index(found.numbers)]
            matrix += confusion_matrix(guess, truth, labels.num_classes, labels.ignore_index)
            if each is not None:
                each(pair.stem, guess)
            images += 1
    if faults and (not skip_bad or not images):
        raise FaultsError(faults, where=dataset.root)
    if faults and console is not None:
        console.print(f"left out because of --skip-bad: {counted(faults)}", highlight=False)
    return numbers_json(matrix, labels, images=images, split=split, absent=absent), matrix


def _predicted(
    predictor: IndexPredictor, pair: Pair, picture: Picture, scales: Sequence[float], flip: bool
) -> NDArray[np.integer]:
    def too_large() -> InputError:
        (height, width), (rows, columns) = picture.size_hw, predictor.resize.target_size(*picture.size_hw)
        return InputError(
            f"not enough memory to evaluate a picture of {width} x {height} pixels, for the network "
            f"{columns} x {rows}, at scales {', '.join(f'{scale:g}' for scale in scales)}",
            where=pair.image,
            fix="other programs closed, --device cpu, no --scales and --flip, or a model with a smaller "
            "data.short_side",
        )

    with full_memory_named(too_large):
        return predictor.predict_index(picture, scales=scales, flip=flip)


def _matching_classes(ours: LabelSet, dataset: Dataset) -> NDArray[np.integer]:
    """Table from the data set's training indices to the model's: they may list the classes in another order.

    Raises:
        InputError: the classes are not the same; names the first that differ.
    """
    theirs = dataset.labels
    name_of_theirs = dict(zip(theirs.file_numbers, theirs.names, strict=True))
    name_of_ours = dict(zip(ours.file_numbers, ours.names, strict=True))
    if name_of_ours != name_of_theirs:
        numbers = sorted(name_of_ours.keys() | name_of_theirs.keys())
        differ = [n for n in numbers if name_of_ours.get(n) != name_of_theirs.get(n)]
        said = "; ".join(
            f"number {n} is {_named(name_of_ours.get(n))} in the model and {_named(name_of_theirs.get(n))} "
            "in the data set"
            for n in differ[:4]
        )
        more = f"; and {len(differ) - 4} more" if len(differ) > 4 else ""
        raise InputError(
            f"the model has {len(name_of_ours)} classes and the data set {len(name_of_theirs)}, "
            f"and they differ: {said}{more}",
            where=dataset.root,
            fix="evaluate on data with the model's classes, or name them with --label-set",
        )
    table = np.arange(theirs.ignore_index + 1, dtype=theirs.index_dtype)
    table[: theirs.num_classes] = [ours.file_numbers.index(n) for n in theirs.file_numbers]
    return table


def _named(name: str | None) -> str:
    return "no class" if name is None else repr(name)
