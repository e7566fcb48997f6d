"""evaluate(): the numbers of a model on a split, from the files themselves, streamed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from threading import Event
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from sceneparse.data.dataset import Dataset
from sceneparse.data.dataset_file import SPLITS
from sceneparse.data.decode import Picture
from sceneparse.data.faults import Fault, FaultsError, counted
from sceneparse.data.inspect import inspect_pair
from sceneparse.data.pairs import Pair
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.data.threads import PictureThreads
from sceneparse.errors import InputError, nearest
from sceneparse.evaluation.confusion import ABSENT_RULES, AbsentRule, confusion_matrix, numbers_json
from sceneparse.evaluation.reading import Counted, Reading
from sceneparse.group import Group
from sceneparse.labels import LabelSet
from sceneparse.memory import full_memory_named

ROUND = 32
"""Pictures of one process between two times that processes tell each other whether all is well."""


class IndexPredictor(Protocol):
    """What is needed of :class:`sceneparse.prediction.predictor.Predictor`; several threads call it."""

    @property
    def labels(self) -> LabelSet:
        """Classes of the model."""
        ...

    @property
    def resize(self) -> ResizePolicy:
        """How pictures are brought to the network's size."""
        ...

    @property
    def takes_several(self) -> bool:
        """Whether several threads predict sooner, with a picture each, than one after the other."""
        ...

    def picture_bytes(
        self, size_hw: tuple[int, int], *, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> int:
        """Estimate of the memory that it takes to predict a picture of this size."""
        ...

    def predict_index(
        self, image: Picture, *, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> NDArray[np.integer]:
        """Training indices (H, W) of a decoded file, (H, W) = ``image.size_hw``."""
        ...

    def predict_with_confidence(
        self, image: Picture, *, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
        """The same, and the probability (H, W) of each pixel's class; asked for a reading only."""
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
    reading: Reading | None = None,
    group: Group = Group(),  # noqa: B008
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """One confusion matrix over every image of a split, at the label's own size.

    After the first file that is wrong nothing more is predicted, but the others are still read, so that one
    error names all wrong files.

    Args:
        predictor: the model.
        dataset: with the classes of the model: names and file numbers must be the same, in any order.
        split: "val", "train" or "test".
        absent: what a class without truth and prediction does to the means, "skip" or "zero".
        scales: see :class:`~sceneparse.prediction.predictor.Predictor`.
        flip: likewise.
        skip_bad: leave out pairs with a fault instead of raising.
        console: where a progress bar is shown, and what is left out is said; None shows nothing.
        each: called with the stem and the predicted training indices of every image, from several threads
            and in no order; in the process that has predicted it.
        reading: every image is added to it, in order and in every process.
        group: the processes that share the images; each gets the result for all of them.

    Returns:
        The contract's numbers, and the matrix (K, K+1).

    Raises:
        InputError: other classes than the model's, no such split or rule, files that cannot be read, mask
            values outside the class list, an image and a mask of different sizes. Of several processes the
            first raises it, and the others exit.
    """
    with group.agreed():
        for what, value, known in (
            ("split", split, SPLITS),
            ("rule for absent classes", absent, ABSENT_RULES),
        ):
            if value not in known:
                raise InputError(
                    f"unknown {what} {value!r}.{nearest(value, known)}", fix="one of: " + ", ".join(known)
                )
        work = _Work(predictor, dataset, split, scales, flip, skip_bad, each, reading)
        pairs = dataset.split(split)
    matrix, faults, read, images = _share(work, pairs, group, console)
    # Every count is an integer: the sums do not depend on who added what, nor on the order.
    group.add_up(torch.from_numpy(matrix))
    images = int(group.add_up(torch.tensor(images)))
    everywhere = [found for part in group.gathered(faults) for found in part]
    if reading is not None:
        for _, counted_image in sorted(
            (one for part in group.gathered(read) for one in part), key=lambda one: one[0]
        ):
            reading.add(counted_image)
    told = [f for f in dataset.faults if f.split in (split, None)]
    told += [fault for _, fault in sorted(everywhere, key=lambda found: found[0])]
    if told and (not skip_bad or not images):
        with group.agreed():
            raise FaultsError(told, where=dataset.root)
    if told and console is not None and group.is_first:
        console.print(f"left out because of --skip-bad: {counted(told)}", highlight=False)
    return numbers_json(matrix, predictor.labels, images=images, split=split, absent=absent), matrix


_Found = tuple[int, Fault]
"""Place of a pair in the split, and what is wrong with it."""

_Read = tuple[int, Counted]
"""Place of a pair in the split, and what was read of it."""


def _share(
    work: _Work, pairs: Sequence[Pair], group: Group, console: Console | None
) -> tuple[NDArray[np.int64], list[_Found], list[_Read], int]:
    """This process's share of the pairs: its matrix, what is wrong, what was read, and how many images it
    counted.
    """
    classes = work.predictor.labels.num_classes
    matrix = np.zeros((classes, classes + 1), np.int64)
    faults: list[_Found] = []
    read: list[_Read] = []
    images = 0
    mine = range(group.rank, len(pairs), group.size)
    rounds = math.ceil(len(pairs) / (group.size * ROUND))  # of the process that has most
    with (
        PictureThreads(several=work.predictor.takes_several, processes=group.local_size) as threads,
        closing(threads.map(lambda number: (number, work(pairs[number], threads)), mine)) as ahead,
        Progress(console=console, transient=True, disable=console is None) as bar,
    ):
        shown = iter(bar.track(ahead, total=len(mine), description=f"evaluating {work.split}"))
        for _ in range(rounds):
            with group.agreed():
                for number, result in islice(shown, ROUND):
                    faults += [(number, fault) for fault in result.faults]
                    read += [] if result.read is None else [(number, result.read)]
                    if result.matrix is not None:
                        matrix += result.matrix
                        images += 1
            if group.highest(bool(faults)) and not work.skip_bad:
                work.faulty.set()
    return matrix, faults, read, images


@dataclass(frozen=True)
class _Result:
    """Of one pair."""

    faults: tuple[Fault, ...]
    matrix: NDArray[np.int64] | None = None
    read: Counted | None = None


@dataclass(frozen=True)
class _Work:
    """What a thread does with a pair, from the files to the counts."""

    predictor: IndexPredictor
    dataset: Dataset
    split: str
    scales: Sequence[float]
    flip: bool
    skip_bad: bool
    each: Callable[[str, NDArray[np.integer]], None] | None
    reading: Reading | None
    index_of_theirs: NDArray[np.integer] = field(init=False)
    faulty: Event = field(init=False, default_factory=Event)
    """Set once nothing is predicted any more."""

    def __post_init__(self) -> None:
        table = _matching_classes(self.predictor.labels, self.dataset)
        object.__setattr__(self, "index_of_theirs", table)

    def __call__(self, pair: Pair, threads: PictureThreads) -> _Result:
        labels, theirs = self.predictor.labels, self.dataset.labels
        found = inspect_pair(pair, theirs, split=self.split, target=self.predictor.resize.target_size)
        faults = tuple(fault for fault in found.faults if fault.stops)
        if faults and not self.skip_bad:
            self.faulty.set()
        picture = found.picture
        if picture is None or found.numbers is None or self.faulty.is_set():
            return _Result(faults)
        size = self.predictor.picture_bytes(picture.size_hw, scales=self.scales, flip=self.flip)
        guess, sure = threads.compute(lambda: self._predicted(pair, picture), size)
        truth = self.index_of_theirs[theirs.to_index(found.numbers)]
        matrix = confusion_matrix(guess, truth, labels.num_classes, labels.ignore_index)
        if self.each is not None:
            self.each(pair.stem, guess)
        read = None if self.reading is None else self.reading.count(pair.stem, truth, guess, sure)
        return _Result(faults, matrix, read)

    def _predicted(
        self, pair: Pair, picture: Picture
    ) -> tuple[NDArray[np.integer], NDArray[np.float32] | None]:
        """Training indices, and for a reading their confidence."""

        def too_large() -> InputError:
            (height, width), resize = picture.size_hw, self.predictor.resize
            rows, columns = resize.target_size(height, width)
            return InputError(
                f"not enough memory to evaluate a picture of {width} x {height} pixels, for the network "
                f"{columns} x {rows}, at scales {', '.join(f'{scale:g}' for scale in self.scales)}",
                where=pair.image,
                fix="other programs closed, --device cpu, no --scales and --flip, or a model with a smaller "
                "data.short_side",
            )

        with full_memory_named(too_large):
            if self.reading is None:
                return self.predictor.predict_index(picture, scales=self.scales, flip=self.flip), None
            return self.predictor.predict_with_confidence(picture, scales=self.scales, flip=self.flip)


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
