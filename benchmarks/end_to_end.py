"""Whole processes: `sceneparse train` and `sceneparse predict` as a user starts them.

    python benchmarks/end_to_end.py [--data ../shared/data/camvid] [--model RUN] [--steps 40] [--photos 20]

Train: recipe camvid-small for so many steps, from the start of the process to its end, with check, pixel
cache, one evaluation of the 101 validation images, checkpoint and report; images a second of all that time
and of the steps alone, and the share of the steps' time that was spent waiting for data. Predict: photos of
the validation split in one process, with the network that ships or --model, seconds a photo with start-up,
and without it by part: reading, network and labels, writing label file and overlay. Without CamVid the
built-in scenes are drawn. Writes results/end_to_end_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from provenance import write_result

import sceneparse
from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.data.decode import read_picture
from sceneparse.data.scenes import write_scenes
from sceneparse.deploy.bundle import read_bundle
from sceneparse.deploy.shipped import DEFAULT_SHIPPED
from sceneparse.prediction.segmentation import Segmentation, save_png
from sceneparse.recipes import recipe

RECIPE = "camvid-small"
CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"
PARTS = ("read", "network and labels", "draw overlay", "write files")


def run(*arguments: str) -> float:
    """Seconds of a sceneparse process."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sceneparse", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
    return time.monotonic() - began


def train(data: Path, steps: int, work: Path) -> dict[str, Any]:
    out = work / "run"
    wall = run(
        *("train", str(data), "--out", str(out), "--recipe", RECIPE, "--steps", str(steps)),
        *("--device", "cpu", "--set", f"eval_every={steps}", "--set", f"data.cache={work / 'cache'}"),
    )
    with (out / "metrics.csv").open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    images = int(float(last["images"]))
    return {
        "network": recipe(RECIPE).model.name,
        "images": images,
        "wall_s": round(wall, 2),
        "images_per_s_of_all": round(images / wall, 2),
        "images_per_s_of_steps": round(float(last["images_per_second"]), 2),
        "share_waiting_for_data": round(float(last["data_wait"]), 4),
        "outside_of_steps_s": round(wall - images / float(last["images_per_second"]), 2),
    }


def predict(model: Path, photos: list[Path], work: Path) -> dict[str, Any]:
    wall = run("predict", str(model), *map(str, photos), "--out", str(work / "out"), "--device", "cpu")
    parts = {
        part: seconds / len(photos) * 1e3 for part, seconds in seconds_by_part(model, photos, work).items()
    }
    return {
        "network": read_bundle(model)[0].architecture["name"],
        "photos": len(photos),
        "wall_s": round(wall, 2),
        "ms_a_photo_of_all": round(wall / len(photos) * 1e3, 1),
        "ms_a_photo": round(sum(parts.values()), 2),
        "parts_ms": {part: round(ms, 2) for part, ms in parts.items()},
        "start_up_s": round(wall - sum(parts.values()) / 1e3 * len(photos), 2),
    }


def seconds_by_part(model: Path, photos: list[Path], work: Path) -> dict[str, float]:
    """The same work in this process, after one photo that is not counted."""
    predictor = sceneparse.load(model, device="cpu")
    predictor(photos[0])
    (work / "parts").mkdir()
    seconds = dict.fromkeys(PARTS, 0.0)
    for path in photos:
        times = [time.perf_counter()]
        picture = read_picture(path, target=predictor.resize.target_size)
        times.append(time.perf_counter())
        index = predictor.predict_index(picture)
        times.append(time.perf_counter())
        labels = predictor.labels.to_file(index)
        result = Segmentation(labels=labels, label_set=predictor.labels, image=picture.pixels)
        overlay = result.overlay()
        times.append(time.perf_counter())
        result.save_labels(work / "parts" / f"{path.stem}.png")
        save_png(overlay, work / "parts" / f"{path.stem}_overlay.png")
        times.append(time.perf_counter())
        for part, (start, end) in zip(PARTS, pairwise(times), strict=True):
            seconds[part] += end - start
    return seconds


def data_of(path: Path, work: Path) -> tuple[Path, Dataset]:
    """CamVid, or drawn scenes where it is not."""
    if not path.is_dir():
        path = work / "scenes"
        write_scenes(path, train=64, val=32, size_hw=(360, 480))
    return path, open_dataset(path)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=CAMVID)
    parser.add_argument("--model", type=Path, default=DEFAULT_SHIPPED, help="a run of train")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--photos", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="end_to_end_") as folder:
        work = Path(folder)
        data, dataset = data_of(options.data, work)
        trained = train(data, options.steps, work)
        photos = [pair.image for pair in dataset.split("val")[: options.photos]]
        predicted = predict(options.model, photos, work)
    print(f"train: {trained['images']} images in {trained['wall_s']:.1f} s")
    print(f"  {trained['images_per_s_of_all']:.1f} images/s of all that time")
    print(
        f"  {trained['images_per_s_of_steps']:.1f} images/s of the steps, which wait for data "
        f"{trained['share_waiting_for_data']:.1%} of their time"
    )
    print(f"predict: {predicted['photos']} photos in {predicted['wall_s']:.1f} s")
    print(f"  start-up {predicted['start_up_s']:.1f} s; then {predicted['ms_a_photo']:.0f} ms a photo:")
    for part, ms in predicted["parts_ms"].items():
        print(f"  {part:24}{ms:8.1f} ms")
    write_result(
        "end_to_end",
        "sceneparse train and sceneparse predict as whole processes: images a second, milliseconds a photo.",
        {
            "data": data.name,
            "train": trained,
            "predict": predicted,
            "threads": torch.get_num_threads(),
            "load_average": os.getloadavg(),
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
