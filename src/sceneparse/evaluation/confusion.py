"""One confusion matrix for a whole split, and every score that is read from it.

Shapes: K classes, H,W image. The matrix is int64 (K, K+1):

* row i: pixels whose truth is class i;
* column j < K: pixels predicted as class j;
* column K: pixels whose prediction holds no class (a number that is ignored or unknown). Such a pixel is an
  error of its true class and nobody's prediction, as in the MIT development kit.

Pixels whose truth is ignored are in no cell. Matrices of parts add up to the matrix of the whole, so a split
of any size is streamed through one (K, K+1) array; scores are read once at the end, not averaged over images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from sceneparse.errors import InputError
from sceneparse.labels import LabelSet

if TYPE_CHECKING:
    from rich.console import Group
    from torch import Tensor

AbsentRule = Literal["skip", "zero"]

ABSENT_RULES: dict[str, str] = {
    "skip": "a class with neither truth nor prediction is left out of the means",
    "zero": "a class with neither truth nor prediction counts 0 in the means (MIT Scene Parsing rule)",
}

CHUNK_PIXELS = 1 << 15
"""Pixels per step on the CPU: 256 KiB an int64 temporary stays in cache; at 1 MiB a count takes 4x longer."""

CHUNK_PIXELS_OF_BYTES = 1 << 16
"""Likewise where both are bytes. More would share one pass over up to 65,536 cells, but the memory of larger
temporaries may go back to the system after each step: a count then takes 2x longer."""

CHUNK_PIXELS_CUDA = 1 << 24


class Scores(NamedTuple):
    """What one confusion matrix says. Fractions 0..1; nan where there is nothing to divide by.

    A NamedTuple and not a frozen dataclass because torchmetrics refuses to return frozen dataclasses.

    Attributes:
        pixel_accuracy: correct pixels / pixels.
        mean_accuracy: mean over classes of ``accuracy``.
        mean_iou: mean over classes of ``iou``.
        frequency_weighted_iou: mean of ``iou`` weighted with the classes' share of true pixels.
        benchmark_score: ``(pixel_accuracy + mean_iou) / 2``, the score of MIT Scene Parsing.
        iou: (K,) float64, nan for a class with neither truth nor prediction, under either rule.
        accuracy: (K,) float64, nan for a class without truth.
        pixels: (K,) int64, true pixels of each class.
        classes_present: number of classes with truth or prediction.
        absent: the rule the means follow, a key of :data:`ABSENT_RULES`.
        matrix: (K, K+1) int64 the scores were read from.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    benchmark_score: float
    iou: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    pixels: NDArray[np.int64]
    classes_present: int
    absent: str
    matrix: NDArray[np.int64]


@overload
def joint_counts(
    prediction: NDArray[np.integer], target: NDArray[np.integer], num_classes: int, ignore_index: int
) -> NDArray[np.int64]: ...
@overload
def joint_counts(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor: ...
def joint_counts(prediction: Any, target: Any, num_classes: int, ignore_index: int) -> Any:
    """Count pairs of truth and prediction, without looking at the result: on a GPU the host never waits.

    Args:
        prediction: integers of any shape, array or tensor; a value outside 0..K-1 is no class.
        target: integers of the same shape, on the same device.
        num_classes: K.
        ignore_index: truth of pixels that do not count; it wins over a class of the same number.

    Returns:
        int64 (K+2, K+1). Rows 0..K-1 are the confusion matrix, row K counts pixels whose truth is neither a
        class nor ignored (to be refused by :func:`checked_matrix`), row K+1 the ignored pixels.

    Raises:
        InputError: shapes differ, or a dtype is not integer.
    """
    if num_classes < 1:
        raise InputError(f"a confusion matrix needs at least one class, got {num_classes}")
    if tuple(prediction.shape) != tuple(target.shape):
        raise InputError(
            f"prediction is {tuple(prediction.shape)} and truth is {tuple(target.shape)}, expected one shape",
            fix="compare at the label's own size",
        )
    if isinstance(prediction, np.ndarray) and isinstance(target, np.ndarray):
        return _count_numpy(prediction, target, num_classes, ignore_index)

    import torch

    if not (isinstance(prediction, torch.Tensor) and isinstance(target, torch.Tensor)):
        raise InputError(f"two arrays or two tensors expected, got {type(prediction)} and {type(target)}")
    if prediction.device != target.device:
        raise InputError(f"prediction is on {prediction.device} and truth on {target.device}")
    if prediction.device.type == "cpu":
        counts = _count_numpy(prediction.detach().numpy(), target.detach().numpy(), num_classes, ignore_index)
        return torch.from_numpy(counts)
    return _count_device(prediction, target, num_classes, ignore_index)


def _count_numpy(
    prediction: NDArray[np.integer], target: NDArray[np.integer], num_classes: int, ignore_index: int
) -> NDArray[np.int64]:
    for what, values in (("prediction", prediction), ("truth", target)):
        if values.dtype.kind not in "iu":
            raise InputError(
                f"{what} holds {values.dtype}, expected integers", fix="pass class numbers, not scores"
            )
    if prediction.dtype == target.dtype == np.uint8 and num_classes <= 255:
        return _count_bytes(prediction.view(np.uint8), target.view(np.uint8), num_classes, ignore_index)
    cells = (num_classes + 2) * (num_classes + 1)
    counts = np.zeros(cells, np.int64)
    prediction, target = prediction.reshape(-1), target.reshape(-1)
    for start in range(0, target.size, CHUNK_PIXELS):
        truth = target[start : start + CHUNK_PIXELS].astype(np.int64)
        guess = prediction[start : start + CHUNK_PIXELS].astype(np.int64)
        ignored = truth == ignore_index
        # Seen as unsigned, negative numbers are huge: one minimum sends everything outside 0..K-1 to K.
        cell = np.minimum(truth.view(np.uint64), np.uint64(num_classes))
        cell[ignored] = num_classes + 1
        cell *= np.uint64(num_classes + 1)
        cell += np.minimum(guess.view(np.uint64), np.uint64(num_classes))
        counts += np.bincount(cell.view(np.int64), minlength=cells)
    return counts.reshape(num_classes + 2, num_classes + 1)


def _count_bytes(
    prediction: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int, ignore_index: int
) -> NDArray[np.int64]:
    """As :func:`_count_numpy`, twice as fast: each byte of truth has a row, and only rows are sorted out."""
    columns = num_classes + 1
    cells = np.zeros(256 * columns, np.int64)
    prediction, target = prediction.reshape(-1), target.reshape(-1)
    for start in range(0, target.size, CHUNK_PIXELS_OF_BYTES):
        guess = prediction[start : start + CHUNK_PIXELS_OF_BYTES]
        if guess.max() > num_classes:
            guess = np.minimum(guess, np.uint8(num_classes))
        cell = target[start : start + CHUNK_PIXELS_OF_BYTES].astype(np.uint16)
        cell *= np.uint16(columns)
        cell += guess
        cells += np.bincount(cell, minlength=len(cells))
    rows = cells.reshape(256, columns)
    counts = np.zeros((num_classes + 2, num_classes + 1), np.int64)
    if 0 <= ignore_index < 256:
        counts[num_classes + 1] = rows[ignore_index]
        rows[ignore_index] = 0
    counts[:num_classes] = rows[:num_classes]
    counts[num_classes] = rows[num_classes:].sum(0)
    return counts


def _count_device(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    import torch

    for what, values in (("prediction", prediction), ("truth", target)):
        if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise InputError(
                f"{what} holds {values.dtype}, expected integers", fix="pass class numbers, not scores"
            )
    counts = torch.zeros((num_classes + 2) * (num_classes + 1), dtype=torch.int64, device=target.device)
    for truth, guess in zip(
        target.reshape(-1).split(CHUNK_PIXELS_CUDA),
        prediction.reshape(-1).split(CHUNK_PIXELS_CUDA),
        strict=True,
    ):
        truth, guess = truth.long(), guess.long()
        row = truth.where((truth >= 0) & (truth < num_classes), num_classes)
        row = row.masked_fill(truth == ignore_index, num_classes + 1)
        column = guess.where((guess >= 0) & (guess < num_classes), num_classes)
        # Not torch.bincount: on CUDA it waits for the host to read the largest value.
        counts.scatter_add_(0, row * (num_classes + 1) + column, torch.ones_like(row))
    return counts.view(num_classes + 2, num_classes + 1)


def checked_matrix(counts: Any) -> Any:
    """The (K, K+1) matrix inside the result of :func:`joint_counts`.

    Raises:
        InputError: some pixels' truth was neither a class nor ignored.
    """
    num_classes = counts.shape[1] - 1
    wrong = int(counts[num_classes].sum())
    if wrong:
        raise InputError(
            f"{wrong} pixels have a truth outside 0..{num_classes - 1} that is not the ignored value",
            fix="map label files with LabelSet.to_index, which names the value and the file",
        )
    return counts[:num_classes]


@overload
def confusion_matrix(
    prediction: NDArray[np.integer], target: NDArray[np.integer], num_classes: int, ignore_index: int
) -> NDArray[np.int64]: ...
@overload
def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor: ...
def confusion_matrix(prediction: Any, target: Any, num_classes: int, ignore_index: int) -> Any:
    """Confusion matrix of one image or batch.

    Args:
        prediction: training indices, integers of any shape, numpy array or torch tensor; a value outside
            0..K-1 means "no class" and counts in column K.
        target: training indices of the same shape: 0..K-1 or ``ignore_index``.
        num_classes: K.
        ignore_index: truth of pixels without effect, whatever is predicted there.

    Returns:
        int64 (K, K+1), of the kind and on the device of the input.

    Raises:
        InputError: shapes differ, a dtype is not integer, or a truth is neither a class nor ignored.

    Example:
        >>> confusion_matrix(np.array([0, 1, 1, 255]), np.array([0, 0, 255, 1]), 2, 255)
        array([[1, 1, 0],
               [0, 0, 1]])
    """
    return checked_matrix(joint_counts(prediction, target, num_classes, ignore_index))


def scores(matrix: NDArray[np.integer] | Tensor, absent: AbsentRule = "skip") -> Scores:
    """The paper's four scores [Long, Shelhamer, Darrell, CVPR 2015, section 5] and the benchmark's.

    With n_ij the matrix, t_i = sum over all K+1 columns of row i (true pixels of class i) and
    p_i = sum of column i (pixels predicted as i):

    * pixel accuracy  ``sum_i n_ii / sum_i t_i``
    * mean accuracy   ``mean_i n_ii / t_i``
    * mean IoU        ``mean_i n_ii / (t_i + p_i - n_ii)``
    * frequency weighted IoU ``sum_i t_i n_ii / (t_i + p_i - n_ii) / sum_i t_i``
    * benchmark score ``(pixel accuracy + mean IoU) / 2``

    Rules. A class predicted but never true has IoU 0 and counts in the mean IoU; it has no accuracy.
    ``absent="skip"``: mean IoU over classes with truth or prediction, mean accuracy over classes with truth.
    ``absent="zero"``: both means over all K classes, a class without a value counting 0; with 0 for an absent
    class the mean IoU is that of the MIT development kit. Where nothing is scored (every pixel ignored) every
    score is nan under either rule.

    Args:
        matrix: (K, K+1) counts, last column "no class".
        absent: ``"skip"`` or ``"zero"``.

    Raises:
        InputError: unknown rule, or not a (K, K+1) matrix of counts.

    Example:
        >>> round(scores(np.array([[3, 1, 0], [0, 4, 0]])).mean_iou, 3)
        0.775
    """
    if absent not in ABSENT_RULES:
        raise InputError(
            f"unknown rule for absent classes {absent!r}", fix=f"one of: {', '.join(ABSENT_RULES)}"
        )
    counts = np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.cpu())
    if (
        counts.ndim != 2
        or counts.shape[1] != counts.shape[0] + 1
        or counts.dtype.kind not in "iu"
        or counts.min() < 0
    ):
        raise InputError(f"a (K, K+1) matrix of counts expected, got {counts.dtype} {counts.shape}")
    counts = counts.astype(np.int64)
    correct = np.diagonal(counts)
    pixels = counts.sum(1)
    union = pixels + counts[:, :-1].sum(0) - correct
    total = int(pixels.sum())
    nan = np.full(len(counts), np.nan)
    iou = np.divide(correct, union, out=nan.copy(), where=union > 0)
    accuracy = np.divide(correct, pixels, out=nan.copy(), where=pixels > 0)
    pixel_accuracy = int(correct.sum()) / total if total else math.nan
    mean_iou = _mean(iou, absent) if total else math.nan
    return Scores(
        pixel_accuracy=pixel_accuracy,
        mean_accuracy=_mean(accuracy, absent) if total else math.nan,
        mean_iou=mean_iou,
        frequency_weighted_iou=float(np.nansum(iou * (pixels / total))) if total else math.nan,
        benchmark_score=(pixel_accuracy + mean_iou) / 2,
        iou=iou,
        accuracy=accuracy,
        pixels=pixels,
        classes_present=int((union > 0).sum()),
        absent=absent,
        matrix=counts,
    )


def _mean(values: NDArray[np.float64], absent: str) -> float:
    return float(np.nansum(values) / len(values) if absent == "zero" else np.nanmean(values))


def numbers_json(
    matrix: NDArray[np.integer] | Tensor,
    labels: LabelSet,
    *,
    images: int,
    split: str,
    absent: AbsentRule = "skip",
) -> dict[str, Any]:
    """The numbers of an evaluation as plain values, with the keys every ``--json`` file has.

    Fractions, not per cent. What has no value (see :func:`scores`) is None, written ``null``.
    ``pixels`` counts pixels that are not ignored, ``id`` is the class's number in the label files.

    Raises:
        InputError: the matrix does not have a row for each class of ``labels``.
    """
    result = scores(matrix, absent)
    if len(result.matrix) != labels.num_classes:
        raise InputError(f"matrix of {len(result.matrix)} classes, label set of {labels.num_classes}")
    return {
        "images": images,
        "pixels": int(result.pixels.sum()),
        "pixel_accuracy": _number(result.pixel_accuracy),
        "mean_accuracy": _number(result.mean_accuracy),
        "mean_iou": _number(result.mean_iou),
        "frequency_weighted_iou": _number(result.frequency_weighted_iou),
        "benchmark_score": _number(result.benchmark_score),
        "classes_present": result.classes_present,
        "absent_rule": absent,
        "split": split,
        "per_class": [
            {
                "id": number,
                "name": name,
                "iou": _number(iou),
                "accuracy": _number(accuracy),
                "pixels": int(pixels),
            }
            for number, name, iou, accuracy, pixels in zip(
                labels.file_numbers, labels.names, result.iou, result.accuracy, result.pixels, strict=True
            )
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def format_table(numbers: dict[str, Any], *, worst: int = 5) -> Group:
    """What people read of :func:`numbers_json`; print it with ``rich.console.Console().print``.

    Classes by file number, those without truth or prediction dimmed and called absent, the ``worst`` by IoU
    in red and named again under the table, then the scores and the rule they follow, one line each.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows: Sequence[dict[str, Any]] = sorted(numbers["per_class"], key=lambda row: row["id"])
    scored = sorted((row for row in rows if row["iou"] is not None), key=lambda row: row["iou"])
    lowest = [row for row in scored[:worst] if row["iou"] < 1] if len(scored) > worst else []
    table = Table(header_style="bold")
    for heading in ("number", "class", "IoU", "accuracy", "share of pixels"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for row in rows:
        share = row["pixels"] / numbers["pixels"] if numbers["pixels"] else None
        iou = "absent" if row["iou"] is None else _percent(row["iou"])
        style = "dim" if row["iou"] is None else "red" if row in lowest else None
        cells = (str(row["id"]), Text(row["name"]), iou, _percent(row["accuracy"]), _percent(share))
        table.add_row(*cells, style=style)
    lines = []
    if lowest:
        lines.append("lowest IoU: " + ", ".join(f"{row['name']} {_percent(row['iou'])}" for row in lowest))
    lines += [
        f"mean IoU {_percent(numbers['mean_iou'])}   pixel accuracy {_percent(numbers['pixel_accuracy'])}   "
        f"mean accuracy {_percent(numbers['mean_accuracy'])}",
        f"frequency weighted IoU {_percent(numbers['frequency_weighted_iou'])}   "
        f"benchmark score {_percent(numbers['benchmark_score'])}",
        f"one matrix over {numbers['images']} images, {numbers['pixels']} pixels of {numbers['split']!r}",
        f"{numbers['classes_present']} of {len(rows)} classes present; "
        f"{ABSENT_RULES[numbers['absent_rule']]}",
    ]
    return Group(table, *(Text(line) for line in lines))
