"""Evaluation of CamVid's validation images: how much faster than a plain loop, and is its memory flat?

    python benchmarks/evaluate.py [--data ../shared/data/camvid] [--model RUN | --name fcn8s-vgg19]
                                  [--images N] [--rounds 2]

Both in one process, by turns on eight pictures at a time, on the same threads, fp32, on the processor. Plain:
one picture after the other is read, the network in PyTorch eager gives logits at the picture's size, arg-max,
numpy.bincount. Ours: sceneparse.evaluate.
Then each in a process of its own, for the memory that was held at most after a quarter
of the pictures and after all (Linux). Says the shares of time of the plain loop's parts. Writes
results/evaluate-NAME_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from provenance import write_result

from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.data.decode import read_image
from sceneparse.deploy.bundle import Bundle, load_model
from sceneparse.evaluation.evaluate import evaluate
from sceneparse.models import FCN, build_model
from sceneparse.normalization import IMAGENET
from sceneparse.prediction.predictor import Predictor

TARGET_RATIO = 3.0
FEW = 8
CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid"

Matrix = NDArray[np.int64]


def subset(path: Path, images: int) -> Dataset:
    """The first pictures of the validation split; 0 is all."""
    dataset = open_dataset(path)
    pairs = dataset.split("val")[: images or None]
    return replace(dataset, splits={**dataset.splits, "val": pairs})


def network_of(model: Path | None, name: str, dataset: Dataset) -> tuple[FCN, Bundle]:
    """A trained network, or one with random weights; its pictures keep their size."""
    if model is not None:
        return load_model(model)
    from sceneparse.data.preprocess import ResizePolicy

    torch.manual_seed(0)
    network = build_model(name, dataset.labels.num_classes)
    for layer in network.head.modules():  # scores begin at zero, and equal ones would make arg-max trivial
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.05)
    bundle = Bundle(
        architecture=network.architecture,
        labels=dataset.labels,
        resize=ResizePolicy(mode="none"),
        normalization=IMAGENET,
        scores={},
    )
    return network, bundle


@torch.no_grad()
def plain(
    network: FCN, bundle: Bundle, dataset: Dataset, done: Callable[[], object] = lambda: None
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
        truth = labels.to_index(pair.mask.read((image.shape[0], image.shape[1])))
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


def ours(network: FCN, bundle: Bundle, dataset: Dataset, done: Callable[[], object] = lambda: None) -> Matrix:
    """The matrix (K, K)."""
    predictor = Predictor(network, bundle, device="cpu")
    return evaluate(predictor, dataset, each=lambda stem, index: done())[1][:, :-1]


def held_most_gib() -> float:
    """Of this process, since it began; getrusage would count what its parent held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def peaks(way: str, network: FCN, bundle: Bundle, dataset: Dataset) -> list[float]:
    """GiB held at most: before, after a quarter of the pictures, and after all."""
    found = [held_most_gib()]
    count, quarter = [0], max(1, len(dataset.split("val")) // 4)

    def done() -> None:
        count[0] += 1
        if count[0] == quarter:
            found.append(held_most_gib())

    (plain if way == "plain" else ours)(network, bundle, dataset, done)
    return [*found, held_most_gib()]


def peaks_of_a_process(way: str) -> list[float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [round(gib, 3) for gib in json.loads(done.stdout)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=CAMVID)
    parser.add_argument("--model", type=Path, help="a run of train; its pictures keep their size")
    parser.add_argument("--name", default="fcn4s-fused-hgnetv2_b0", help="without --model: random weights")
    parser.add_argument("--images", type=int, default=0, help="only so many; 0 is all")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--memory-of", choices=("plain", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    dataset = subset(options.data, options.images)
    network, bundle = network_of(options.model, options.name, dataset)
    assert bundle.resize.mode == "none", "the plain loop resizes nothing"
    if options.memory_of:
        print(json.dumps(peaks(options.memory_of, network, bundle, dataset)))
        return 0
    images = len(dataset.split("val"))
    # Both by turns on a few pictures at a time, and the best round of each few: other load hits both alike.
    pairs = dataset.split("val")
    few = [replace(dataset, splits={"val": pairs[i : i + FEW]}) for i in range(0, images, FEW)]
    theirs = copy.deepcopy(network)  # the predictor turns the memory of its network to channels last
    best: list[tuple[float, dict[str, float], float]] = []
    moved = pixels = 0
    for part in few:
        rounds = []
        for _ in range(options.rounds):
            began = time.perf_counter()
            expected, seconds = plain(theirs, bundle, part)
            middle = time.perf_counter()
            found = ours(network, bundle, part)
            rounds.append((middle - began, seconds, time.perf_counter() - middle))
        best.append((*min(rounds, key=lambda r: r[0])[:2], min(r[2] for r in rounds)))
        # Pixels whose two best classes tie within rounding may fall either way.
        moved += int(np.abs(expected - found).sum()) // 2
        pixels += int(expected.sum())
    plain_s, ours_s = sum(b[0] for b in best), sum(b[2] for b in best)
    parts = {name: sum(b[1][name] for b in best) for name in best[0][1]}
    memory = {way: peaks_of_a_process(way) for way in ("plain", "ours")}
    ratio = plain_s / ours_s
    name = str(network.architecture["name"])
    print(f"{name}, {images} images: plain {plain_s:.1f} s, ours {ours_s:.1f} s: {ratio:.2f} times faster")
    shares = {part: round(value / sum(parts.values()), 3) for part, value in parts.items()}
    for part, share in shares.items():
        print(f"  plain: {part:24} {share:6.1%}  {parts[part] / images * 1e3:7.1f} ms an image")
    for way, (before, early, late) in memory.items():
        print(f"  {way}: {before:.2f} GiB before, {early:.2f} after a quarter, {late:.2f} after all")
    print(f"  {moved} of {pixels} pixels in another cell of the matrix")
    write_result(
        f"evaluate-{name}",
        "Seconds of evaluating CamVid's validation images, against a plain loop in the same process.",
        {
            "network": name,
            "trained": options.model is not None,
            "images": images,
            "threads": torch.get_num_threads(),
            "plain_s": round(plain_s, 2),
            "ours_s": round(ours_s, 2),
            "ratio": round(ratio, 2),
            "target_ratio": TARGET_RATIO,
            "plain_share_of_time": shares,
            "memory_gib_before_quarter_all": memory,
            "pixels_in_another_cell": moved,
            "pixels": pixels,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0 if ratio >= TARGET_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
