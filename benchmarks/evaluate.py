"""Evaluation of CamVid's validation images: how much faster than a plain loop, and is its memory flat?

    python benchmarks/evaluate.py [--data ../shared/data/camvid] [--model RUN | --name fcn8s-vgg19]
                                  [--engine auto|eager|compiled|openvino] [--images N] [--rounds 2]

Both in one process, by turns on eight pictures at a time, on the same threads, fp32, on the processor. Plain:
one picture after the other is read, the network in PyTorch eager gives logits at the picture's size, arg-max,
numpy.bincount. Ours: sceneparse.evaluate, with several pictures at a time where the engine takes them.
Then each in a process of its own, for the memory that was held at most after a quarter of the pictures and
after all (Linux). Says the shares of time of the parts of both; those of ours from one thread that takes a
picture after the other. Without --model and --name: the network that ships with the package.
Writes results/evaluate_HARDWARE_DATE.json for that network, evaluate-NAME_... for another.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from provenance import write_result
from random_model import write_random_model

from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.data.decode import read_image
from sceneparse.data.inspect import inspect_pair
from sceneparse.deploy.bundle import Bundle, load_model
from sceneparse.deploy.shipped import DEFAULT_SHIPPED
from sceneparse.evaluation.confusion import confusion_matrix
from sceneparse.evaluation.evaluate import evaluate
from sceneparse.models.network import Network
from sceneparse.prediction.predictor import Predictor, load
from sceneparse.recipes import recipe

TARGET_RATIO = 3.0
FEW = 8
RECIPE = "camvid-small"
CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"

Matrix = NDArray[np.int64]


def subset(path: Path, images: int) -> Dataset:
    """The first pictures of the validation split; 0 is all."""
    dataset = open_dataset(path)
    pairs = dataset.split("val")[: images or None]
    return replace(dataset, splits={**dataset.splits, "val": pairs})


@torch.no_grad()
def plain(
    network: Network, bundle: Bundle, dataset: Dataset, done: Callable[[], None] = lambda: None
) -> tuple[Matrix, dict[str, float]]:
    """The matrix (K, K), and the seconds of each part."""
    labels = dataset.labels
    network = network.eval()
    classes = labels.num_classes
    mean = torch.tensor(bundle.normalization.mean).view(1, 3, 1, 1)
    std = torch.tensor(bundle.normalization.std).view(1, 3, 1, 1)
    matrix = np.zeros((classes, classes), np.int64)
    seconds = dict.fromkeys(("read", "network and upsampling", "arg-max", "count"), 0.0)
    for pair in dataset.split("val"):
        times = [time.perf_counter()]
        image = read_image(pair.image)
        size_hw = (image.shape[0], image.shape[1])
        assert bundle.resize.target_size(*size_hw) == size_hw, "the plain loop resizes nothing"
        truth = labels.to_index(pair.mask.read(size_hw))
        pixels = (torch.from_numpy(image).permute(2, 0, 1)[None].contiguous().float() / 255 - mean) / std
        times.append(time.perf_counter())
        logits = network(pixels)
        times.append(time.perf_counter())
        guess = logits.argmax(1)[0].numpy()
        times.append(time.perf_counter())
        counted = truth != labels.ignore_index
        cells = truth[counted].astype(np.int64) * classes + guess[counted]
        matrix += np.bincount(cells, minlength=classes**2).reshape(classes, classes)
        times.append(time.perf_counter())
        for part, (start, end) in zip(seconds, pairwise(times), strict=True):
            seconds[part] += end - start
        done()
    return matrix, seconds


def ours(predictor: Predictor, dataset: Dataset, done: Callable[[], None] = lambda: None) -> Matrix:
    """The matrix (K, K)."""
    return evaluate(predictor, dataset, each=lambda stem, index: done())[1][:, :-1]


def parts_of_ours(predictor: Predictor, dataset: Dataset) -> dict[str, float]:
    """Seconds of each part, on one thread where that takes a picture at a time, otherwise on all."""
    before = torch.get_num_threads()
    if predictor.takes_several:
        torch.set_num_threads(1)
    labels = dataset.labels
    seconds = dict.fromkeys(("read and check", "network and labels", "count"), 0.0)
    for pair in dataset.split("val"):
        times = [time.perf_counter()]
        found = inspect_pair(pair, labels, split="val", target=predictor.resize.target_size)
        assert found.picture is not None
        assert found.numbers is not None
        times.append(time.perf_counter())
        guess = predictor.predict_index(found.picture)
        times.append(time.perf_counter())
        confusion_matrix(guess, labels.to_index(found.numbers), labels.num_classes, labels.ignore_index)
        times.append(time.perf_counter())
        for part, (start, end) in zip(seconds, pairwise(times), strict=True):
            seconds[part] += end - start
    torch.set_num_threads(before)
    return seconds


def held_most_gib() -> float:
    """Of this process, since it began; getrusage would count what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def peaks(way: str, model: Path, engine: str, dataset: Dataset) -> list[float]:
    """GiB held at most: before, after a quarter of the pictures, and after all."""
    count, quarter = [0], max(1, len(dataset.split("val")) // 4)
    found: list[float] = []

    def done() -> None:
        count[0] += 1
        if count[0] == quarter:
            found.append(held_most_gib())

    if way == "plain":
        network, bundle = load_model(model)
        found.append(held_most_gib())
        plain(network, bundle, dataset, done)
    else:
        predictor = load(model, device="cpu", engine=engine)
        found.append(held_most_gib())
        ours(predictor, dataset, done)
    return [*found, held_most_gib()]


def peaks_of_a_process(way: str, model: Path) -> list[float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--model", str(model), "--memory-of", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [round(gib, 3) for gib in json.loads(done.stdout)]


def by_turns(
    options: argparse.Namespace, model: Path, predictor: Predictor, dataset: Dataset
) -> tuple[list[tuple[float, dict[str, float], float]], int, int]:
    """Of every few pictures the best round of both ways; pixels in another cell of the matrix, and all."""
    network, bundle = load_model(model)
    pairs = dataset.split("val")
    best = []
    moved = pixels = 0
    for start in range(0, len(pairs), FEW):
        part = replace(dataset, splits={"val": pairs[start : start + FEW]})
        rounds = []
        for _ in range(options.rounds):
            began = time.perf_counter()
            expected, seconds = plain(network, bundle, part)
            middle = time.perf_counter()
            found = ours(predictor, part)
            rounds.append((middle - began, seconds, time.perf_counter() - middle))
        best.append((*min(rounds, key=lambda r: r[0])[:2], min(r[2] for r in rounds)))
        # Pixels whose two best classes tie within rounding may fall either way.
        moved += int(np.abs(expected - found).sum()) // 2
        pixels += int(expected.sum())
    return best, moved, pixels


def shares(way: str, parts: dict[str, float], images: int) -> dict[str, float]:
    """Print and return them."""
    for part, value in parts.items():
        share = value / sum(parts.values())
        print(f"  {way}: {part:24} {share:6.1%}  {value / images * 1e3:7.1f} ms an image")
    return {part: round(value / sum(parts.values()), 3) for part, value in parts.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=CAMVID)
    parser.add_argument(
        "--model", type=Path, default=DEFAULT_SHIPPED, help="a run of train; its pictures keep their size"
    )
    parser.add_argument("--name", help="in its place: a network with random weights")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--images", type=int, default=0, help="only so many; 0 is all")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory-of", choices=("plain", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    dataset = subset(options.data, options.images)
    if options.memory_of:
        print(json.dumps(peaks(options.memory_of, options.model, options.engine, dataset)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if options.name is not None:
            model = write_random_model(Path(folder) / "model", options.name, dataset.labels)
        return compared(options, model, dataset)


def compared(options: argparse.Namespace, model: Path, dataset: Dataset) -> int:
    """0 where the target is met."""
    images = len(dataset.split("val"))
    predictor = load(model, device="cpu", engine=options.engine)
    workers = torch.get_num_threads() if predictor.takes_several else 1
    best, moved, pixels = by_turns(options, model, predictor, dataset)
    plain_s, ours_s = sum(b[0] for b in best), sum(b[2] for b in best)
    memory = {way: peaks_of_a_process(way, model) for way in ("plain", "ours")}
    ratio = plain_s / ours_s
    name = str(predictor.bundle.architecture["name"])
    print(f"{name}, {images} images: plain {plain_s:.1f} s, ours {ours_s:.1f} s: {ratio:.2f} times faster")
    print(f"  ours: {predictor.engine}; pictures at a time: {workers}")
    plain_shares = shares("plain", {part: sum(b[1][part] for b in best) for part in best[0][1]}, images)
    few = replace(dataset, splits={"val": dataset.split("val")[:FEW]})
    ours_shares = shares("ours", parts_of_ours(predictor, few), len(few.split("val")))
    for way, (before, early, late) in memory.items():
        print(f"  {way}: {before:.2f} GiB before, {early:.2f} after a quarter, {late:.2f} after all")
    print(f"  {moved} of {pixels} pixels in another cell of the matrix")
    write_result(
        "evaluate" if name == recipe(RECIPE).model.name else f"evaluate-{name}",
        "Seconds of evaluating CamVid's validation images, against a plain loop in the same process.",
        {
            "network": name,
            "trained": options.name is None,
            "images": images,
            "threads": torch.get_num_threads(),
            "engine": predictor.engine,
            "pictures_at_a_time": workers,
            "plain_s": round(plain_s, 2),
            "ours_s": round(ours_s, 2),
            "ratio": round(ratio, 2),
            "target_ratio": TARGET_RATIO,
            "plain_share_of_time": plain_shares,
            "ours_share_of_time": ours_shares,
            "memory_gib_before_quarter_all": memory,
            "pixels_in_another_cell": moved,
            "pixels": pixels,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0 if ratio >= TARGET_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
