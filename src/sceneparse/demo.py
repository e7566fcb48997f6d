"""``sceneparse demo``: scenes drawn, a network trained, evaluated, used, and all of it shown on one page.

The folder holds ``scenes/`` (the data set, in a layout that ``train`` reads), ``run/`` (an ordinary run
folder), ``run/predictions/`` and ``report.html``. Run again it goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.data.scenes import write_scenes
from sceneparse.evaluation.color_baseline import color_baseline
from sceneparse.files import write_text
from sceneparse.prediction.predictor import load
from sceneparse.prediction.segmentation import save_png, save_shares_csv
from sceneparse.recipes.scenes_demo import SCENES_SIZE_HW, TRAIN_SCENES, VAL_SCENES, scenes_demo
from sceneparse.report import write_report
from sceneparse.training.progress import duration
from sceneparse.training.reading import update_reading
from sceneparse.training.run import config_for_resume, train

PHOTOS = 8


def run_demo(out: Path, *, command: Sequence[str] = ("sceneparse", "demo")) -> int:
    """Everything ``sceneparse demo`` does, in ``out``.

    Returns:
        0, or 128 + N when signal N ended the training.

    Raises:
        InputError: the folder holds something else, or the disk is full.
    """
    console = Console(stderr=True)
    began = time.monotonic()
    scenes, run = out / "scenes", out / "run"
    _draw(scenes, console)
    config = scenes_demo()
    config = replace(config, data=replace(config.data, path=str(scenes), cache=str(out / "cache")))
    again = (run / "config.yaml").is_file()
    if again:
        console.print(f"{run} is there: going on with it (remove {out} to start anew)")
        config = replace(config_for_resume(run), data=config.data)
    result = train(config, run, resume=again, command=command, console=console)
    if result.stopped_by is not None:
        console.print("stopped, saved; the same command goes on")
        return 128 + result.stopped_by

    dataset = open_dataset(scenes)
    baseline = _baseline(dataset, run)
    _predict(dataset, run)
    update_reading(run, console)
    report = out / "report.html"
    shutil.copyfile(write_report(run), report)
    console.print(
        f"\nmean IoU on {VAL_SCENES} scenes it has not seen: [bold]{result.mean_iou:.3f}[/]   "
        f"colour alone: {baseline:.3f}   ({duration(time.monotonic() - began)})",
        highlight=False,
    )
    print(f"look at {report} (one page, opens in any browser)")
    return 0


def _draw(scenes: Path, console: Console) -> None:
    total = TRAIN_SCENES + VAL_SCENES
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("drawing scenes", total=total)
        write_scenes(
            scenes,
            train=TRAIN_SCENES,
            val=VAL_SCENES,
            size_hw=SCENES_SIZE_HW,
            workers=min(2, os.cpu_count() or 1),
            on_scene=lambda done: bar.update(task, completed=done),
        )
    console.print(f"{TRAIN_SCENES} scenes to train on, {VAL_SCENES} others to validate, in {scenes}")


def _baseline(dataset: Dataset, run: Path) -> float:
    """Score a classifier that sees the colour of a pixel and nothing else; what the network must beat."""
    numbers = color_baseline(dataset)
    row = {
        "name": "colour only (most probable class of each RGB colour)",
        "mean_iou": numbers["mean_iou"],
        "pixel_accuracy": numbers["pixel_accuracy"],
    }
    write_text(run / "baseline.json", json.dumps([row]) + "\n")
    return float(numbers["mean_iou"])


def _predict(dataset: Dataset, run: Path) -> None:
    """Predict some validation scenes as if they were photos."""
    predictor = load(run)
    out = run / "predictions"
    pairs = dataset.split("val")
    rows = []
    for i in np.linspace(0, len(pairs) - 1, PHOTOS).round().astype(int):
        pair = pairs[i]
        result = predictor(pair.image)
        result.save_labels(out / "labels" / f"{pair.stem}.png")
        save_png(result.overlay(), out / "overlays" / f"{pair.stem}.png")
        rows.extend(result.share_rows(pair.stem))
    save_shares_csv(out / "shares.csv", rows)
