"""Run folders as training writes them, with made-up but plausible numbers."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

from sceneparse.labels import LabelSet, label_set

METRICS = [
    "step",
    "epoch",
    "images",
    "train_loss",
    "val_loss",
    "mean_iou",
    "pixel_accuracy",
    "mean_accuracy",
    "frequency_weighted_iou",
    "lr",
    "images_per_second",
    "data_wait",
    "seconds",
]

CONFIG = {
    "data": {"path": "/data/camvid", "name": "camvid", "resize": {"mode": "short-side", "size": 360}},
    "augmentation": {"crop": [256, 320], "scale": [0.5, 2.0], "flip": True, "photometric": 0.5},
    "model": {"name": "fcn8s-vgg19", "options": {"pooling": "max", "dropout": 0.5}},
    "optimizer": {"name": "adam", "lr": 0.0001},
    "loss": {"label_smoothing": 0.0, "class_weights": None},
    "steps": 5000,
    "batch_size": 8,
    "seed": 0,
    "precision": "bf16",
    "device": "cpu",
    "recipe": "paper",
}
ENVIRONMENT = {
    "versions": {"python": "3.11.9", "torch": "2.15.0", "sceneparse": "0.1.0"},
    "hardware": {"cpu": "2 cores", "gpu": None, "memory_gib": 8},
    "git": {"commit": "0123abc", "changed": False},
    "data": {"path": "/data/camvid", "fingerprint": "9f2c11d0", "train_images": 367, "val_images": 101},
    "command": "sceneparse train /data/camvid --out runs/a --model fcn8s-vgg19 --resume",
    "started": "2026-11-22T09:30:00+00:00",
}


def confusion(labels: LabelSet, seed: int) -> np.ndarray:
    """A (K, K+1) matrix: big classes right, small ones taken for their neighbours, last class absent."""
    rng = np.random.default_rng(seed)
    k = labels.num_classes
    share = rng.permutation(1 / np.arange(1, k + 1) ** 1.1)
    pixels = (share / share.sum() * 17_000_000).astype(np.int64)
    right = np.clip(0.95 - 0.9 * np.exp(-22 * share / share.sum()) * rng.random(k), 0.02, 0.97)
    matrix = np.zeros((k, k + 1), np.int64)
    for i in range(k - 1):
        other = rng.dirichlet(0.15 * np.ones(k)) * (pixels / pixels.sum()) ** 0.5
        other[[i, k - 1]] = 0
        matrix[i, :k] = (1 - right[i]) * pixels[i] * other / other.sum()
        matrix[i, i] = right[i] * pixels[i]
    return matrix


def numbers(matrix: np.ndarray, labels: LabelSet, *, step: int) -> dict[str, Any]:
    """``evaluation.json``, computed here from the matrix and not by the package."""
    right, truth, guess = np.diag(matrix), matrix.sum(1), matrix[:, :-1].sum(0)
    with np.errstate(invalid="ignore"):
        iou, accuracy = right / (truth + guess - right), right / truth
    mean_iou, pixel_accuracy = float(np.nanmean(iou)), float(right.sum() / truth.sum())
    return {
        "images": 101,
        "pixels": int(truth.sum()),
        "pixel_accuracy": pixel_accuracy,
        "mean_accuracy": float(np.nanmean(accuracy)),
        "mean_iou": mean_iou,
        "frequency_weighted_iou": float(np.nansum(iou * truth) / truth.sum()),
        "benchmark_score": (mean_iou + pixel_accuracy) / 2,
        "classes_present": int(np.isfinite(iou).sum()),
        "absent_rule": "skip",
        "split": "val",
        "per_class": [
            {
                "id": labels.file_numbers[i],
                "name": labels.names[i],
                "iou": None if np.isnan(iou[i]) else float(iou[i]),
                "accuracy": None if np.isnan(accuracy[i]) else float(accuracy[i]),
                "pixels": int(truth[i]),
            }
            for i in range(labels.num_classes)
        ],
        "step": step,
        "val_loss": 0.4321,
        "confusion_matrix": matrix.tolist(),
        "palette": [list(color) for color in labels.palette],
    }


def picture(path: Path, size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).rectangle((10, 10, size[0] // 2, size[1] // 2), fill=tuple(rng.integers(0, 255, 3)))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def write_csv(path: Path, header: list[str], rows: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def make_run(
    path: Path, *, classes: str = "camvid", evaluations: int = 10, steps: int = 5000, evaluated: bool = True
) -> Path:
    """A complete run folder; ``evaluated=False`` leaves out what comes after the first evaluation."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(1)
    labels = label_set(classes)
    (path / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False), encoding="utf-8")
    write_json(path / "environment.json", ENVIRONMENT)
    step = np.arange(1, steps + 1)
    loss = 0.3 + 2.2 * np.exp(-step / (steps / 5)) + 0.18 * rng.gamma(2, 0.5, steps)
    rate = 1e-4 * (1 - step / steps) ** 0.9
    write_csv(path / "losses.csv", ["step", "loss", "lr"], zip(step, loss, rate, strict=True))
    if not evaluated:
        return path
    evaluation = numbers(confusion(labels, 3), labels, step=steps * (evaluations - 1) // evaluations)
    write_json(path / "evaluation.json", evaluation)
    rows = []
    for n in range(1, evaluations + 1):
        at = steps * n // evaluations
        fade = 1.0 if at == evaluation["step"] else 0.985 - 0.8 * np.exp(-(n - 1) / 2.5)
        iou = evaluation["mean_iou"] * fade
        row = [at, n * 11, at * 8, loss[at - 1], 0.45 + 1.6 * np.exp(-n / 2), iou]
        row += [evaluation["pixel_accuracy"] * (0.6 + 0.4 * fade), iou * 1.1, iou * 1.2, rate[at - 1]]
        rows.append([*row, 14.2, 0.031, at * 0.56])
        picture(path / "samples" / f"step_{at:07d}.png", (120, 60), n)
    write_csv(path / "metrics.csv", METRICS, rows)
    for n in range(3):
        picture(path / "predictions" / "overlays" / f"straße {n}.png", (80, 60), n)
    return path
