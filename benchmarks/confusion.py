"""The confusion matrix of a picture: ours against numpy.bincount and torchmetrics.

    python benchmarks/confusion.py [--seconds 2]

CamVid's size and ADE20K's: 480x360 of 11 classes, 512x512 of 150; labels in regions of 32 pixels, a tenth
of them ignored, a fifth of the predictions wrong. numpy.bincount in the usual way (ignored pixels taken
out, pairs counted) and ours on uint8, as label files and predictions are; torchmetrics on int64, as it asks
for, without the checks of its input. In turns, the least time of each; all on one thread, as they are.
Writes results/confusion_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import numpy as np
import side_by_side
import torch
from numpy.typing import NDArray
from provenance import write_result

from sceneparse.evaluation.confusion import confusion_matrix

CASES = {"480x360, 11 classes": (360, 480, 11), "512x512, 150 classes": (512, 512, 150)}
IGNORED = 255

Labels = NDArray[np.uint8]


def labels(height: int, width: int, classes: int) -> tuple[Labels, Labels]:
    """Prediction and truth."""
    rng = np.random.default_rng(0)
    regions = rng.integers(0, classes, (height // 32 + 1, width // 32 + 1), dtype=np.uint8)
    truth = regions.repeat(32, 0).repeat(32, 1)[:height, :width].copy()
    wrong = rng.integers(0, classes, truth.shape, dtype=np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.2, wrong, truth)
    truth[rng.random(truth.shape) < 0.1] = IGNORED
    return prediction, truth


def with_bincount(prediction: Labels, truth: Labels, classes: int) -> NDArray[np.int64]:
    counted = truth != IGNORED
    cells = truth[counted].astype(np.int64) * classes + prediction[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def sides(prediction: Labels, truth: Labels, classes: int) -> dict[str, Callable[[], NDArray[np.int64]]]:
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    guess, target = torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()

    def with_torchmetrics() -> NDArray[np.int64]:
        found = multiclass_confusion_matrix(guess, target, classes, ignore_index=IGNORED, validate_args=False)
        return found.numpy()

    return {
        "numpy.bincount": lambda: with_bincount(prediction, truth, classes),
        "torchmetrics": with_torchmetrics,
        "ours": lambda: confusion_matrix(prediction, truth, classes, IGNORED)[:, :-1],
    }


def measure(name: str, seconds: float) -> dict[str, dict[str, float]]:
    height, width, classes = CASES[name]
    calls = sides(*labels(height, width, classes), classes)
    wanted = calls["numpy.bincount"]()
    assert all((call() == wanted).all() for call in calls.values()), "the matrices differ"
    best = side_by_side.best_s(calls, rounds=5, seconds=seconds)
    print(f"\n{name}\n  {'':16}{'ms':>8}{'ours faster':>14}{'pixels/s':>12}")
    rows = {}
    for side in calls:
        faster, rate = best[side] / best["ours"], height * width / best[side]
        print(f"  {side:16}{best[side] * 1e3:8.2f}{faster:13.1f}x{rate / 1e6:10.0f} M")
        rows[side] = {"ms": round(best[side] * 1e3, 3), "ours_times_faster": round(faster, 2)}
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2, help="time for each case, at least")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases = {name: measure(name, options.seconds) for name in CASES}
    write_result(
        "confusion",
        "Milliseconds for the confusion matrix of one picture, against numpy.bincount and torchmetrics.",
        {"cases": cases, "threads": 1, "load_average": os.getloadavg()},
    )
    slowest = min(
        row["ours_times_faster"] for rows in cases.values() for side, row in rows.items() if side != "ours"
    )
    return 0 if slowest > 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
