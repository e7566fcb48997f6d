"""Score a folder of predicted label files against a folder of true ones: no model, any origin of either."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.decode import IMAGE_SUFFIXES, read_mask
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import AbsentRule, confusion_matrix, numbers_json
from sceneparse.labels import MAX_FILE_NUMBER, LabelSet, distinct_colors

MAX_NAMED = 20
"""Problems listed in one message; the rest is counted."""

MAX_INFERRED_CLASSES = 1000
"""More different numbers than this in label files are not classes but, say, instance numbers."""

WINDOW = 16
"""Pairs handed to the decoding threads at once: bounds the memory whatever the size of the folder."""


@dataclass(frozen=True, kw_only=True)
class _Pair:
    name: str
    prediction: Path
    label: Path


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
    pairs = _pairs(Path(pred_dir), Path(label_dir))
    for number in ignore:
        if not 0 <= number <= MAX_FILE_NUMBER:
            raise InputError(f"ignored number {number} is outside 0..{MAX_FILE_NUMBER}", where="--ignore")
    if labels is None:
        labels = _inferred_labels(pairs, ignore, progress)
    else:
        labels = without_classes(labels, ignore)
    columns = np.full(MAX_FILE_NUMBER + 1, labels.num_classes, np.int32)
    columns[list(labels.file_numbers)] = np.arange(labels.num_classes)

    def one_matrix(pair: _Pair) -> NDArray[np.int64]:
        prediction, label = read_mask(pair.prediction), read_mask(pair.label)
        if prediction.shape != label.shape:
            raise InputError(
                f"{pair.name}: prediction is {prediction.shape[1]}x{prediction.shape[0]} pixels, "
                f"label is {label.shape[1]}x{label.shape[0]} (width x height)"
            )
        truth = labels.to_index(label, path=pair.label)
        return confusion_matrix(columns[prediction], truth, labels.num_classes, labels.ignore_index)

    matrix = np.zeros((labels.num_classes, labels.num_classes + 1), np.int64)
    for part in _for_each(one_matrix, pairs, "scoring", progress):
        matrix += part
    split = Path(label_dir).resolve().name
    return numbers_json(matrix, labels, images=len(pairs), split=split, absent=absent), matrix


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


def _inferred_labels(pairs: Sequence[_Pair], ignore: Sequence[int], progress: bool) -> LabelSet:
    def numbers_in(pair: _Pair) -> NDArray[np.bool_]:
        seen = np.zeros(MAX_FILE_NUMBER + 1, np.bool_)
        seen[read_mask(pair.prediction)] = True
        seen[read_mask(pair.label)] = True
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
    work: Callable[[_Pair], NDArray[Any]], pairs: Sequence[_Pair], what: str, progress: bool
) -> Iterator[NDArray[Any]]:
    """Results for the pairs, decoded in threads a window at a time; wrong files are named together, last."""
    from rich.console import Console
    from rich.progress import Progress

    problems: list[str] = []

    def attempt(pair: _Pair) -> NDArray[Any] | InputError:
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


def _pairs(pred_dir: Path, label_dir: Path) -> list[_Pair]:
    predictions, labels = _files(pred_dir, "predictions"), _files(label_dir, "labels")
    lonely = [f"label without prediction: {path}" for name, path in labels.items() if name not in predictions]
    lonely += [
        f"prediction without label: {path}" for name, path in predictions.items() if name not in labels
    ]
    if lonely:
        raise InputError(
            f"{len(lonely)} files have no partner of the same name in the other folder:\n{_listed(lonely)}",
            where=f"{pred_dir} (predictions), {label_dir} (labels)",
            fix="every label needs one prediction of the same name (endings may differ), and the reverse",
        )
    return [_Pair(name=name, prediction=predictions[name], label=path) for name, path in labels.items()]


def _files(folder: Path, what: str) -> dict[str, Path]:
    """Name (path below the folder without ending, composed Unicode) to file, sorted; no hidden files."""
    if not folder.is_dir():
        raise InputError(f"the folder of {what} does not exist", where=folder, fix="check the path")
    found: dict[str, Path] = {}
    twice = []
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            key = unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
            if key in found:
                twice.append(f"{found[key]} and {path}")
            found[key] = path
    if twice:
        raise InputError(
            f"{len(twice)} names of {what} stand for two files:\n{_listed(twice)}", fix="keep one of each"
        )
    if not found:
        raise InputError(
            f"no {what} in the folder: no PNG or other lossless image", where=folder, fix="check the path"
        )
    return dict(sorted(found.items()))


def _listed(lines: Sequence[str]) -> str:
    shown = ["  - " + line.replace("\n", "\n    ") for line in lines[:MAX_NAMED]]
    more = len(lines) - len(shown)
    return "\n".join(shown + ([f"  and {more} more"] if more else []))
