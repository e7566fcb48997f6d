"""Score a folder of predicted label files against a folder of true ones: no model, any origin of either."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.class_files import read_class_file
from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset_file import read_dataset_file
from sceneparse.data.decode import read_mask
from sceneparse.data.faults import Fault
from sceneparse.data.masks.source import IndexMask
from sceneparse.data.pairs import Pair, files_by_stem, pair_up
from sceneparse.errors import InputError, nearest
from sceneparse.evaluation.confusion import AbsentRule, confusion_matrix, numbers_json
from sceneparse.labels import LABEL_SETS, MAX_FILE_NUMBER, LabelSet, distinct_colors, label_set

MAX_NAMED = 20
"""Problems listed in one message; the rest is counted."""

MAX_INFERRED_CLASSES = 1000
"""More different numbers than this in label files are not classes but, say, instance numbers."""

WINDOW = 16
"""Pairs handed to the decoding threads at once: bounds the memory whatever the size of the folder."""


def score_folders(
    pred_dir: str | Path,
    label_dir: str | Path,
    *,
    labels: LabelSet | None = None,
    ignore: Sequence[int] = (),
    absent: AbsentRule = "skip",
    progress: bool = False,
) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """The numbers of an evaluation from two folders of label files.

    Files are paired by their path below the folder without its ending, so ``a/x.png`` meets ``a/x.tif``.
    Both hold file numbers, as in the user's annotations. A predicted number that is ignored or unknown is "no
    class": an error of the true class. Memory does not grow with the number of files.

    Args:
        pred_dir: predictions, read by :func:`sceneparse.data.decode.read_mask`.
        label_dir: truth, one file for each prediction, of the same size.
        labels: classes and ignored numbers. None: every number found in either folder and not in ``ignore``
            is a class, named by its number; the files are then read twice.
        ignore: further ignored file numbers; one that is a class of ``labels`` is a class no longer.
        absent: what a class with neither truth nor prediction does to the means.
        progress: draw a progress bar on stderr.

    Returns:
        The numbers with the keys of :func:`sceneparse.evaluation.confusion.numbers_json` (``split`` is the
        name of the label folder) and the int64 (K, K+1) matrix.

    Raises:
        InputError: a folder is missing or empty, a file has no partner, sizes differ, a file cannot be read,
            or a label holds a number that is neither class nor ignored; names all, the first 20 by file.
    """
    pairs = _paired(Path(pred_dir), Path(label_dir))
    for number in ignore:
        if not 0 <= number <= MAX_FILE_NUMBER:
            raise InputError(f"ignored number {number} is outside 0..{MAX_FILE_NUMBER}", where="--ignore")
    if labels is None:
        labels = _inferred_labels(pairs, ignore, progress)
    else:
        labels = without_classes(labels, ignore)
    columns = np.full(MAX_FILE_NUMBER + 1, labels.num_classes, np.int32)
    columns[list(labels.file_numbers)] = np.arange(labels.num_classes)

    def one_matrix(pair: Pair) -> NDArray[np.int64]:
        prediction, label = read_mask(pair.image), read_mask(pair.mask.path)
        if prediction.shape != label.shape:
            raise InputError(
                f"{pair.stem}: prediction is {prediction.shape[1]}x{prediction.shape[0]} pixels, "
                f"label is {label.shape[1]}x{label.shape[0]} (width x height)"
            )
        truth = labels.to_index(label, path=pair.mask.path)
        return confusion_matrix(columns[prediction], truth, labels.num_classes, labels.ignore_index)

    matrix = np.zeros((labels.num_classes, labels.num_classes + 1), np.int64)
    for part in _for_each(one_matrix, pairs, "scoring", progress):
        matrix += part
    split = Path(label_dir).resolve().name
    return numbers_json(matrix, labels, images=len(pairs), split=split, absent=absent), matrix


def read_classes(spec: str | Path) -> LabelSet:
    """Classes for scoring, from one of:

    * the name of a label set that ships with the package (``ade20k``, ``ade20k-151``, ``camvid``);
    * a ``dataset.yaml``;
    * a class file of :mod:`sceneparse.data.class_files`: a table ``.csv`` with columns such as ``number`` and
      ``name``, CVAT's ``labelmap.txt``, or a text file with one name a line, whose first line is class 0.

    Raises:
        InputError: neither a known name nor a file, or the file does not fit its form.
    """
    if str(spec) in LABEL_SETS:
        return label_set(str(spec))
    path = Path(spec)
    if not path.is_file():
        raise InputError(
            f"no such class file, and no label set of this name.{nearest(str(spec), LABEL_SETS)}",
            where=path,
            fix=f"a .txt, .csv or dataset.yaml file, or one of: {', '.join(LABEL_SETS)}",
        )
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_dataset_file(path).labels(lambda: _no_classes(path))[1]
    return read_class_file(path).label_set()


def _no_classes(path: Path) -> SourceClasses:
    raise InputError("the file names no classes", where=path, fix="classes: [sky, road, car]")


def without_classes(labels: LabelSet, ignore: Iterable[int]) -> LabelSet:
    """The label set with further file numbers ignored; a class of such a number is taken out.

    Raises:
        InputError: no class is left.
    """
    ignored = tuple(dict.fromkeys((*labels.ignored, *ignore)))
    kept = [i for i, number in enumerate(labels.file_numbers) if number not in ignored]
    if not kept:
        raise InputError("every class is ignored", where="--ignore", fix="leave at least one class")
    return replace(
        labels,
        names=tuple(labels.names[i] for i in kept),
        file_numbers=tuple(labels.file_numbers[i] for i in kept),
        palette=tuple(labels.palette[i] for i in kept),
        ignored=ignored,
    )


def _inferred_labels(pairs: Sequence[Pair], ignore: Sequence[int], progress: bool) -> LabelSet:
    def numbers_in(pair: Pair) -> NDArray[np.bool_]:
        seen = np.zeros(MAX_FILE_NUMBER + 1, np.bool_)
        seen[read_mask(pair.image)] = True
        seen[read_mask(pair.mask.path)] = True
        return seen

    seen = np.zeros(MAX_FILE_NUMBER + 1, np.bool_)
    for part in _for_each(numbers_in, pairs, "finding classes", progress):
        seen |= part
    seen[list(ignore)] = False
    numbers = tuple(int(n) for n in np.flatnonzero(seen))
    if not 1 <= len(numbers) <= MAX_INFERRED_CLASSES:
        raise InputError(
            f"{len(numbers)} different numbers not ignored; expected 1 to {MAX_INFERRED_CLASSES} classes",
            fix="name the classes with --classes",
        )
    return LabelSet(
        names=tuple(str(n) for n in numbers),
        file_numbers=numbers,
        palette=distinct_colors(len(numbers)),
        ignored=tuple(dict.fromkeys(ignore)),
    )


def _for_each(
    work: Callable[[Pair], NDArray[Any]], pairs: Sequence[Pair], what: str, progress: bool
) -> Iterator[NDArray[Any]]:
    """Results for the pairs, decoded in threads a window at a time; wrong files are named together, last."""
    from rich.console import Console
    from rich.progress import Progress

    problems: list[str] = []

    def attempt(pair: Pair) -> NDArray[Any] | InputError:
        try:
            return work(pair)
        except InputError as error:
            return error

    with (
        Progress(console=Console(stderr=True), transient=True, disable=not progress) as bar,
        ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool,
    ):
        task = bar.add_task(what, total=len(pairs))
        for start in range(0, len(pairs), WINDOW):
            for result in pool.map(attempt, pairs[start : start + WINDOW]):
                bar.advance(task)
                if isinstance(result, InputError):
                    problems.append(str(result))
                else:
                    yield result
    if problems:
        raise InputError(
            f"{len(problems)} of {len(pairs)} pairs cannot be scored:\n" + _listed(problems),
            fix="correct or remove these files in both folders",
        )


def _paired(pred_dir: Path, label_dir: Path) -> tuple[Pair, ...]:
    """Pairs with the prediction as ``image`` and the label as ``mask``."""
    faults: list[Fault] = []
    labels = files_by_stem(label_dir, faults, skipped=pred_dir)
    predictions = files_by_stem(pred_dir, faults, skipped=label_dir)
    pairs = pair_up(predictions, {stem: IndexMask(Path(path)) for stem, path in labels.items()}, faults)
    said = {
        "missing-image": "label without prediction",
        "missing-mask": "prediction without label",
        "same-stem": "the same name twice",
    }
    faults.sort(key=lambda fault: list(said).index(fault.kind))
    lonely = [f"{said[fault.kind]}: {' and '.join(map(str, fault.files))}" for fault in faults]
    if lonely:
        raise InputError(
            f"{len(lonely)} files do not pair up:\n{_listed(lonely)}",
            where=f"{pred_dir} (predictions), {label_dir} (labels)",
            fix="every label needs one prediction of the same name (endings may differ), and the reverse",
        )
    return pairs


def _listed(lines: Sequence[str]) -> str:
    shown = ["  - " + line.replace("\n", "\n    ") for line in lines[:MAX_NAMED]]
    more = len(lines) - len(shown)
    return "\n".join(shown + ([f"  and {more} more"] if more else []))
