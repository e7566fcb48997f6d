"""What a run leaves in its folder besides checkpoints: settings, tables, pictures, the bundle, TensorBoard.

Every file appears whole or not at all, and each can be written again: a run that was killed between two of
them writes them anew when it goes on.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from sceneparse.data.cache import PixelCache
from sceneparse.data.loader import Batch
from sceneparse.data.pairs import Pair
from sceneparse.data.preprocess import resize_image
from sceneparse.deploy.bundle import Bundle, write_bundle
from sceneparse.evaluation.confusion import numbers_json
from sceneparse.files import write_atomically, write_text
from sceneparse.labels import LabelSet
from sceneparse.prediction.render import Triple, file_numbers, sheet
from sceneparse.report import write_curves
from sceneparse.report.batch_sheet import batch_sheet
from sceneparse.training.checkpoint import Progress
from sceneparse.training.validation import Validation

LossRow = tuple[int, float, float]
"""Step, loss, learning rate."""


def write_tables(run: Path, progress: Progress, loss_rows: Sequence[LossRow], warning: str | None) -> None:
    """metrics.csv, losses.csv and warnings.json."""
    history = progress.history
    if history:
        write_text(run / "metrics.csv", _csv(list(history[0]), [list(row.values()) for row in history]))
    write_losses(run, loss_rows)
    warnings = [warning] if warning else []
    write_text(run / "warnings.json", json.dumps({"warnings": warnings}, ensure_ascii=False) + "\n")


def write_losses(run: Path, rows: Sequence[LossRow]) -> None:
    """losses.csv."""
    write_text(run / "losses.csv", _csv(["step", "loss", "lr"], rows))


def read_losses(run: Path, step: int) -> list[LossRow]:
    """Rows up to ``step``: what a killed process did after its last checkpoint is done again."""
    path = run / "losses.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(int(r["step"]), float(r["loss"]), float(r["lr"])) for r in csv.DictReader(file)]
    return [row for row in rows if row[0] <= step]


def write_best(run: Path, bundle: Bundle, state: dict[str, Tensor], result: Validation, images: int) -> None:
    """``model/``, and evaluation.json with the scores of every class and the confusion matrix.

    Args:
        run: the run folder.
        bundle: ``scores`` holds the step; those of this evaluation are added.
        state: weights that were evaluated.
        result: of the evaluation.
        images: number of validation images.
    """
    numbers = bundle.scores | numbers_json(result.scores.matrix, bundle.labels, images=images, split="val")
    whole = {name: value for name, value in numbers.items() if name != "per_class"}
    write_bundle(run / "model", replace(bundle, scores=whole), state)
    numbers |= {
        "val_loss": result.loss if math.isfinite(result.loss) else None,
        "confusion_matrix": result.scores.matrix.tolist(),
        "palette": [list(color) for color in bundle.labels.palette],
    }
    write_text(run / "evaluation.json", json.dumps(numbers, ensure_ascii=False) + "\n")


def write_pictures(
    run: Path, val: PixelCache, labels: LabelSet, result: Validation, step: int, shown: Collection[int]
) -> None:
    """``samples/``: image, label and prediction of the images shown; curves.png from the tables."""
    triples = []
    for index in shown:
        image, label = val[index]
        prediction = result.predictions[index]
        if image.shape[:2] != prediction.shape:
            image = resize_image(np.asarray(image), (prediction.shape[0], prediction.shape[1]))
        triples.append(
            Triple(
                image=image,
                label=file_numbers(label, labels),
                prediction=labels.to_file(prediction),
                name=val.pair(index).stem,
            )
        )
    if triples:
        title = f"step {step}   mean IoU {result.scores.mean_iou:.3f}"
        _write_picture(run / "samples" / f"step_{step:07d}.png", sheet(triples, labels, title=title))
    write_curves(run)


def write_batch(run: Path, batch: Batch, pairs: Sequence[Pair], labels: LabelSet) -> None:
    """``samples/batch.png``: what the network is fed, after augmentation."""
    images = batch["image"].permute(0, 2, 3, 1).numpy()
    numbers = file_numbers(batch["mask"].numpy(), labels)
    title = "first batch, as the network sees it (hatched: ignored)"
    picture = batch_sheet(images, numbers, labels, names=[pair.stem for pair in pairs], title=title)
    _write_picture(run / "samples" / "batch.png", picture)


def _write_picture(path: Path, picture: Image.Image) -> None:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def evenly_spaced(count: int, wanted: int) -> list[int]:
    """Up to ``wanted`` indices below ``count``, first and last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, wanted))}) if wanted else []


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in row])
    return buffer.getvalue()
