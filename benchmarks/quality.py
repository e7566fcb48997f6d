"""How good is a recipe, and at what cost? Reads finished runs and writes a result file for each recipe.

    python benchmarks/quality.py RUN [RUN ...] [--data CAMVID] [--views single flip multi-scale]

Runs of one recipe that differ in their seeds are one result: mean, sample standard deviation and each seed.
Every bundle is evaluated anew from the image files with sceneparse.evaluate: as it is ("single": one scale,
no flip, the yardstick), averaged over the mirrored picture ("flip"), and over several sizes too
("multi-scale"). What a picture costs is measured with one bundle of the recipe on this machine, the views in
turns: Predictor from uint8 pixels to the class of every pixel. Training cost comes from metrics.csv, scores
at boundaries and the calibration error from the run's reading.json, where they are there.

Writes results/quality-RECIPE_HARDWARE_DATE.json; results_table.py makes the tables of it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finished_run import FinishedRun, changed_settings, finished_run, spread, training_command
from numpy.typing import NDArray
from provenance import write_result

import sceneparse
from sceneparse.config import RunConfig
from sceneparse.data.dataset import open_dataset
from sceneparse.data.decode import read_image
from sceneparse.deploy.bundle import WEIGHTS, find_bundle, load_model
from sceneparse.prediction.engine import ENGINES
from sceneparse.report.findings import read_findings
from sceneparse.report.mistakes import digest_of_model, read_numbers

SCALES = (0.75, 1.0, 1.25)
VIEWS: dict[str, tuple[tuple[float, ...], bool]] = {
    "single": ((1.0,), False),
    "flip": ((1.0,), True),
    "multi-scale": (SCALES, True),
}
"""Name: sizes of the picture, and whether it is mirrored too."""

SCORES = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "benchmark_score")


def groups(folders: Sequence[Path]) -> dict[str, list[FinishedRun]]:
    """Runs by recipe, in the order of their seeds.

    Raises:
        SystemExit: a run is not finished, two have one seed, or settings differ within a recipe.
    """
    found: dict[str, list[FinishedRun]] = {}
    for folder in folders:
        run = finished_run(folder)
        if run is None:
            raise SystemExit(f"{folder}: no finished run; go on with it: sceneparse train ... --resume")
        found.setdefault(run.config.recipe, []).append(run)
    for name, runs in found.items():
        runs.sort(key=lambda run: run.config.seed)
        seeds = [run.config.seed for run in runs]
        if len(set(seeds)) < len(seeds):
            raise SystemExit(f"{name}: two runs have the same seed; the seeds are {seeds}")
        if any(changed_settings(run.config) != changed_settings(runs[0].config) for run in runs):
            said = "\n".join(f"  {run.folder}: {changed_settings(run.config)}" for run in runs)
            raise SystemExit(f"{name}: the runs differ in more than their seed from the recipe:\n{said}")
    return found


def scores_of(run: FinishedRun, data: Path, options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Scores of each view, with those of every class for a single view; and the number of images."""
    predictor = sceneparse.load(run.folder, device=options.device, engine=options.engine)
    views, images = {}, 0
    for name in options.views:
        scales, flip = VIEWS[name]
        numbers = sceneparse.evaluate(
            predictor,
            data,
            split=options.split,
            absent=options.absent,
            scales=scales,
            flip=flip,
            label_set=run.config.data.label_set,
        )
        images = numbers["images"]
        views[name] = {score: numbers[score] for score in SCORES}
        if name == "single":
            views[name]["per_class"] = {row["name"]: row["iou"] for row in numbers["per_class"]}
            views[name]["pixels"] = {row["name"]: row["pixels"] for row in numbers["per_class"]}
        print(f"{run.folder.name}, {name}: mean IoU {numbers['mean_iou']:.4f}", flush=True)
    return views, images


def reading_of(run: FinishedRun, split: str, classes: int) -> dict[str, Any]:
    """Mean IoU within so many pixels of a boundary, and the calibration error; empty where not known."""
    numbers = read_numbers(run.folder)
    if numbers.get("split") != split or numbers.get("model") != digest_of_model(run.folder):
        return {}
    findings = read_findings(numbers, classes)
    if findings is None:
        return {}
    within = [findings.within(slice(0, bands + 1)).mean_iou for bands in range(len(findings.widths))]
    found: dict[str, Any] = {
        "boundary_mean_iou": {str(w): iou for w, iou in zip(findings.widths, within, strict=True)}
    }
    if findings.calibration is not None:
        found["calibration_error"] = findings.calibration.expected_error
    return found


def milliseconds(
    run: FinishedRun, picture: NDArray[np.uint8], options: argparse.Namespace
) -> tuple[dict[str, dict[str, float]], str]:
    """Best and median of each view's time for a picture, taken in turns; and how the network computes."""
    predictor = sceneparse.load(run.folder, device=options.device, engine=options.engine)
    times: dict[str, list[float]] = {name: [] for name in options.views}
    for name in options.views:  # warm up
        predictor(picture, scales=VIEWS[name][0], flip=VIEWS[name][1])
    began = time.monotonic()
    while len(times[options.views[0]]) < 5 or time.monotonic() - began < options.seconds:
        for name, measured in times.items():
            scales, flip = VIEWS[name]
            start = time.perf_counter()
            predictor(picture, scales=scales, flip=flip)
            measured.append((time.perf_counter() - start) * 1e3)
    found = {
        name: {"best": round(min(measured), 1), "median": round(statistics.median(measured), 1)}
        for name, measured in times.items()
    }
    return found, predictor.engine


def seed_record(run: FinishedRun, data: Path, options: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """All of one run; and the number of images."""
    views, images = scores_of(run, data, options)
    best = max(run.rows, key=lambda row: row["mean_iou"])
    record = {
        "seed": run.config.seed,
        "views": views,
        **reading_of(run, options.split, len(views["single"]["per_class"])),
        "best_step": int(best["step"]),
        "evaluations": len(run.rows),
        "mean_iou_of_last_step": run.rows[-1]["mean_iou"],
        "training_minutes": run.training_seconds / 60,
        "images_per_second": run.images_per_second,
        "machine": run.machine,
        "threads": run.threads,
        "commits": run.commits,
    }
    return record, images


def figures_of(runs: list[FinishedRun], options: argparse.Namespace) -> dict[str, Any]:
    """What a recipe's result file holds."""
    first = runs[0]
    config: RunConfig = first.config
    data = options.data or Path(config.data.path)
    dataset = open_dataset(data, label_set=config.data.label_set)
    picture = read_image(dataset.split(options.split)[0].image)
    found = [seed_record(run, data, options) for run in runs]
    seeds, images = [record for record, _ in found], found[0][1]
    network, _ = load_model(first.folder)
    cost, engine = milliseconds(first, picture, options)
    views = {
        name: {score: spread(seed["views"][name][score] for seed in seeds) for score in SCORES}
        | {"ms": cost[name], "scales": VIEWS[name][0], "flip": VIEWS[name][1]}
        for name in options.views
    }
    return {
        "recipe": config.recipe,
        "changed_settings": changed_settings(config),
        "network": config.model.name,
        "start": config.model.init or "random",
        "data": dataset.layout,
        "split": options.split,
        "images": images,
        "absent_rule": options.absent,
        "parameters_million": sum(p.numel() for p in network.parameters()) / 1e6,
        "bundle_mb": (find_bundle(first.folder) / WEIGHTS).stat().st_size / 1e6,
        "steps": config.steps,
        "images_per_step": config.images_per_step,
        "training_minutes": spread(seed["training_minutes"] for seed in seeds),
        "images_per_second": spread(seed["images_per_second"] for seed in seeds),
        "views": views,
        "picture_hw": picture.shape[:2],
        "engine": engine,
        "threads": torch.get_num_threads(),
        "seeds": seeds,
        "versions_of_training": first.facts["versions"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--data", type=Path, help="if it is not where the runs found it")
    parser.add_argument("--split", default="val")
    parser.add_argument("--absent", default="skip", choices=("skip", "zero"))
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", default="auto", choices=ENGINES)
    parser.add_argument("--seconds", type=float, default=20, help="of measuring the cost, at least")
    options = parser.parse_args()
    options.views = [name for name in VIEWS if name in {"single", *options.views}]
    for name, runs in groups(options.runs).items():
        figures = figures_of(runs, options)
        single = figures["views"]["single"]
        print(
            f"{name}: mean IoU {single['mean_iou']['mean']:.4f} of {len(runs)} seeds, "
            f"{single['ms']['best']:.0f} ms a picture"
        )
        what = f"quality-{name}" + (f"-{options.split}" if options.split != "val" else "")
        question = "Scores of the best checkpoint of each run of a recipe, and what they cost."
        write_result(what, question, figures, command=training_command(runs[0].config))


if __name__ == "__main__":
    main()
