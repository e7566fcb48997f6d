"""A training step of other networks as their users take it, beside ours of the same backbone.

    python benchmarks/train_peers.py [--threads 2] [--rounds 2] [--batch-size 4]

Batch 4 of 224x224, 151 classes, fp32, Adam, random weights. Theirs: torchvision fcn_resnet50, smp
Unet-vgg19, smp FPN-resnet50 in PyTorch eager: logits at full size, F.cross_entropy, backward,
torch.optim.Adam. Ours: fcn8s-vgg19 and fcn8s-resnet50 through sceneparse.training.learner.Learner; networks
over one backbone differ in their arithmetic all the same, so GFLOP/s are told beside images a second. smp's
two also through our Learner, so that the same network is on both sides. Our Learner tells the process to
keep the memory that it frees, which helps theirs too. Each network takes turns with those it is compared
with in one process; the least time of each counts. Writes results/train_peers_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable
from typing import Any

import runtimes
import side_by_side
import torch
import torch.nn.functional as F
from forward import gflop, peers
from provenance import write_result
from torch import Tensor, nn

from sceneparse.config import ModelConfig, OptimizerConfig, RunConfig
from sceneparse.models import build_model
from sceneparse.normalization import IMAGENET
from sceneparse.training.learner import Learner

CLASSES, SIDE, RATE = 151, 224, 1e-4

SAME_BACKBONE = {
    "torchvision fcn_resnet50": "fcn8s-resnet50",
    "smp Unet-vgg19": "fcn8s-vgg19",
    "smp FPN-resnet50": "fcn8s-resnet50",
}
SAME_NETWORK = {"smp Unet-vgg19": "smp/unet-vgg19", "smp FPN-resnet50": "smp/fpn-resnet50"}

Call = Callable[[], object]


def batch_of(size: int) -> tuple[Tensor, Tensor]:
    """uint8 (B, 3, H, W) and labels (B, H, W)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, CLASSES, (size, SIDE, SIDE), generator=generator)


def their_step(network: nn.Module, images: Tensor, labels: Tensor) -> Call:
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    pixels = IMAGENET(images)

    def step() -> None:
        optimizer.zero_grad()
        logits = network(pixels)
        logits = logits["out"] if isinstance(logits, dict) else logits
        F.cross_entropy(logits, labels).backward()
        optimizer.step()

    return step


def our_step(name: str, images: Tensor, labels: Tensor) -> Call:
    torch.manual_seed(0)
    config = RunConfig(
        recipe="train_peers",
        model=ModelConfig(name=name),
        optimizer=OptimizerConfig(name="adam", lr=RATE),
        batch_size=len(images),
        steps=1_000_000,
        device="cpu",
        precision="32",
    )
    network = build_model(name, CLASSES).train()
    learner = Learner(config, network, IMAGENET, ignore_index=255, class_weights=None)
    batch: Any = {"image": images, "mask": labels.byte()}
    return lambda: learner.step([batch], 0)


def work_of(network: nn.Module) -> float:
    """GFLOP of a training step per image: forward, and twice as much backward."""
    with torch.no_grad():
        return 3 * gflop(network.eval(), torch.zeros(1, 3, SIDE, SIDE))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, labels = batch_of(options.batch_size)
    seconds: dict[str, float] = {}
    work: dict[str, float] = {}
    theirs = peers(CLASSES)
    for name, build in theirs.items():
        # One network of theirs with ours beside it at a time: Adam's state of all at once fills the memory.
        torch.manual_seed(0)
        network = build()
        work[name] = work_of(network)
        sides: dict[str, Call] = {name: their_step(network, images, labels)}
        for ours in (SAME_BACKBONE[name], SAME_NETWORK.get(name)):
            if ours is not None:
                work[ours] = work_of(build_model(ours, CLASSES))
                sides[ours] = our_step(ours, images, labels)
        for side, best in side_by_side.best_s(sides, rounds=options.rounds, seconds=0).items():
            seconds[side] = min(best, seconds.get(side, best))
        del network, sides
        gc.collect()
    print(f"  {'':28}{'s a step':>10}{'images/s':>10}{'GFLOP/s':>10}")
    rows: dict[str, Any] = {}
    for name, step in seconds.items():
        images_s, rate = options.batch_size / step, options.batch_size * work[name] / step
        print(f"  {name:28}{step:10.2f}{images_s:10.2f}{rate:10.0f}")
        rows[name] = {
            "step_s": round(step, 3),
            "images_per_s": round(images_s, 2),
            "gflop_per_image": round(work[name], 1),
            "gflop_per_s": round(rate, 1),
        }
    faster = {
        f"{name} in our step": round(seconds[name] / seconds[ours], 2) for name, ours in SAME_NETWORK.items()
    }
    for name, ratio in faster.items():
        print(f"  {name}: {ratio:.2f} times as fast")
    write_result(
        "train_peers",
        "Images a second of a training step at 224x224, 151 classes, fp32, Adam: other networks and ours.",
        {
            "rows": rows,
            "same_backbone": SAME_BACKBONE,
            "same_network_times_faster": faster,
            "batch_size": options.batch_size,
            "threads": torch.get_num_threads(),
            "versions": runtimes.versions(),
            "load_average": os.getloadavg(),
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
