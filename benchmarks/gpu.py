"""What a GPU does: ceilings, loss, labels, training of FCN-8s VGG19, memory, a whole run, prediction.

    bash benchmarks/gpu.sh                    all of it, under ten minutes
    python benchmarks/gpu.py --only loss      one part
    python benchmarks/gpu.py --rehearse       the same script at small sizes on the processor, writes nothing

Every part runs in a process of its own with a time limit: one that fails costs only itself. Times are those
of CUDA events around several calls after a warm-up; ratios are against PyTorch eager in the same process.
Writes results/gpu_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from provenance import write_result
from random_model import write_random_model
from torch import Tensor, nn

import sceneparse
from sceneparse.config import ModelConfig, OptimizerConfig, RunConfig
from sceneparse.deploy.bundle import load_model
from sceneparse.labels import label_set
from sceneparse.models import build_model, upsampled_argmax
from sceneparse.normalization import IMAGENET
from sceneparse.training.learner import Learner
from sceneparse.training.loss import upsampled_cross_entropy

TARGET_IMAGES_S, TARGET_LOSS_RATIO, TARGET_GIB = 1500.0, 5.0, 8.0
TUTORIAL_IMAGES = 200_000 * 3
"""What the source's two days went through."""
FORWARD_GFLOP = {"fcn8s-vgg19": 60.2}
"""Of one 224x224 picture, 150 classes; a training step does three times as much."""


@dataclass(frozen=True)
class Scale:
    """Sizes of the real thing, or of a rehearsal."""

    device: str
    side: int = 224
    loss_side: int = 512
    classes: int = 151
    batches: tuple[int, ...] = (8, 32, 64, 128)
    paper_batch: int = 20
    model: str = "fcn8s-vgg19"
    steps: int = 20
    run_steps: int = 400
    matrix: int = 8192


REHEARSAL = Scale(
    device="cpu",
    side=32,
    loss_side=32,
    classes=5,
    batches=(2, 4),
    paper_batch=2,
    model="fcn8s-resnet10t",
    steps=2,
    run_steps=2,
    matrix=64,
)


def seconds_of(call: Callable[[], object], scale: Scale, *, calls: int) -> float:
    """Mean seconds of one call, after two to warm up."""
    for _ in range(2):
        call()
    if scale.device == "cpu":
        began = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - began) / calls
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / calls


def peak_gib(call: Callable[[], object], scale: Scale) -> float | None:
    """Most memory that PyTorch's allocator holds during a call, beyond what it held before."""
    if scale.device == "cpu":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**30


def ceilings(scale: Scale) -> dict[str, Any]:
    side, device = scale.matrix, scale.device
    found: dict[str, Any] = {}
    for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        seconds = seconds_of(lambda a=a, b=b: a @ b, scale, calls=10)
        found[f"matrix_product_{name}_tflops"] = round(2 * side**3 / seconds / 1e12, 3)
    big = torch.empty(side * side * 8, device=device)
    other = torch.empty_like(big)
    seconds = seconds_of(lambda: other.copy_(big), scale, calls=10)
    found["copy_tb_s"] = round(2 * big.numel() * 4 / seconds / 1e12, 3)
    layer = nn.Conv2d(256, 256, 3, padding=1, device=device, dtype=torch.bfloat16)
    layer.to(memory_format=torch.channels_last)
    x = torch.randn(scale.batches[-1], 256, 56, 56, device=device, dtype=torch.bfloat16)
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        seconds = seconds_of(lambda: layer(x), scale, calls=5)
    found["convolution_bf16_tflops"] = round(2 * x.numel() * 256 * 9 / seconds / 1e12, 3)
    return found


def loss(scale: Scale) -> dict[str, Any]:
    """Loss and gradient, 4 x 150 classes from stride 8, against upsampling and ``F.cross_entropy``."""
    torch.manual_seed(0)
    side, classes = scale.loss_side, scale.classes - 1
    logits = torch.randn(4, classes, side // 8, side // 8, device=scale.device) * 3
    labels = torch.randint(0, classes, (4, side, side), device=scale.device)
    labels[torch.rand(labels.shape, device=scale.device) < 0.1] = 255
    found: dict[str, Any] = {}
    for dtype in (torch.float32, torch.bfloat16):
        scores = logits.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()

        def eager(scores: Tensor = scores) -> tuple[Tensor, Tensor]:
            full = F.interpolate(scores, size=(side, side), mode="bilinear", align_corners=False)
            value = F.cross_entropy(full, labels, ignore_index=255)
            return value.detach(), torch.autograd.grad(value, scores)[0]

        def ours(scores: Tensor = scores) -> tuple[Tensor, Tensor]:
            value = upsampled_cross_entropy(scores, labels)
            return value.detach(), torch.autograd.grad(value, scores)[0]

        differences = [
            ((a.float() - b.float()).abs().max() / b.float().abs().max()).item()
            for a, b in zip(ours(), eager(), strict=True)
        ]
        eager_s, ours_s = (seconds_of(call, scale, calls=scale.steps) for call in (eager, ours))
        found[str(dtype).removeprefix("torch.")] = {
            "eager_ms": round(eager_s * 1e3, 3),
            "ours_ms": round(ours_s * 1e3, 3),
            "times_faster": round(eager_s / ours_s, 2),
            "eager_gib": peak_gib(eager, scale),
            "ours_gib": peak_gib(ours, scale),
            "relative_differences": differences,
        }
    return found


def labels(scale: Scale) -> dict[str, Any]:
    """Labels from scores at stride 8, against upsampling and arg-max."""
    torch.manual_seed(0)
    side = scale.loss_side
    scores = torch.randn(4, scale.classes - 1, side // 8, side // 8, device=scale.device)
    scores = scores.contiguous(memory_format=torch.channels_last)

    def eager() -> Tensor:
        return F.interpolate(scores, size=(side, side), mode="bilinear", align_corners=False).argmax(1)

    def ours() -> Tensor:
        return upsampled_argmax(scores, (side, side))

    agree = (eager() == ours().long()).double().mean().item()
    eager_s, ours_s = (seconds_of(call, scale, calls=scale.steps) for call in (eager, ours))
    return {
        "eager_ms": round(eager_s * 1e3, 3),
        "ours_ms": round(ours_s * 1e3, 3),
        "times_faster": round(eager_s / ours_s, 2),
        "agree": agree,
    }


def _batch(scale: Scale, size: int) -> dict[str, Tensor]:
    image = torch.randint(0, 256, (size, 3, scale.side, scale.side), dtype=torch.uint8)
    batch = {
        "image": image.contiguous(memory_format=torch.channels_last),
        "mask": torch.randint(0, scale.classes, (size, scale.side, scale.side), dtype=torch.uint8),
        "index": torch.arange(size),
    }
    return {k: v.pin_memory() for k, v in batch.items()} if scale.device == "cuda" else batch


def _learner(scale: Scale, precision: str, *, compiled: bool = False) -> Learner:
    config = RunConfig(
        model=ModelConfig(name=scale.model),
        optimizer=OptimizerConfig(name="adam", lr=1e-5),
        batch_size=scale.batches[0],
        steps=10_000,
        precision=precision,
        device=scale.device,
        workers=0,
    )
    torch.manual_seed(0)
    network = build_model(scale.model, scale.classes, config.model.options)
    if compiled:
        network.encoder.compile()
    return Learner(config, network, IMAGENET, ignore_index=255, class_weights=None)


def _training(scale: Scale, precision: str, *, compiled: bool = False) -> dict[str, Any]:
    learner, found = _learner(scale, precision, compiled=compiled), {}
    number = 0
    for size in scale.batches:
        batch = _batch(scale, size)

        def step(batch: dict[str, Tensor] = batch) -> None:
            nonlocal number
            learner.step([batch], number)  # type: ignore[list-item]
            number += 1

        try:
            step()
            gib = peak_gib(step, scale)
            seconds = seconds_of(step, scale, calls=scale.steps)
        except torch.OutOfMemoryError:
            found[f"batch {size}"] = "out of memory"
            continue
        rate = size / seconds
        row: dict[str, Any] = {
            "images_s": round(rate, 1),
            "step_ms": round(seconds * 1e3, 2),
            "step_gib": gib,
        }
        if scale.model in FORWARD_GFLOP:
            row["tflops"] = round(rate * 3 * FORWARD_GFLOP[scale.model] / 1e3, 1)
        found[f"batch {size}"] = row
    return found


def training(scale: Scale) -> dict[str, Any]:
    return _training(scale, "bf16")


def training_compiled(scale: Scale) -> dict[str, Any]:
    """The same with the encoder through ``torch.compile``."""
    began = time.perf_counter()
    return _training(scale, "bf16", compiled=scale.device == "cuda") | {
        "seconds_with_compiling": round(time.perf_counter() - began, 1)
    }


def training_plain(scale: Scale) -> dict[str, Any]:
    """Plain PyTorch: NCHW, fp32, full-resolution logits, Adam; one batch of 8."""
    torch.manual_seed(0)
    network = build_model(scale.model, scale.classes).to(scale.device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-5)
    size = min(8, scale.batches[-1])
    batch = _batch(scale, size)

    def step() -> None:
        images = (batch["image"].to(scale.device).contiguous().float() / 255 - 0.45) / 0.225
        value = F.cross_entropy(network(images), batch["mask"].to(scale.device).long())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    seconds = seconds_of(step, scale, calls=max(2, scale.steps // 2))
    return {"batch": size, "images_s": round(size / seconds, 1), "step_ms": round(seconds * 1e3, 2)}


def memory(scale: Scale) -> dict[str, Any]:
    """The paper's batch of 20 at 224 with 151 classes: all memory that PyTorch takes from the card."""
    found: dict[str, Any] = {}
    for precision in ("bf16", "32"):
        if scale.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        learner = _learner(scale, precision)
        for number in range(2):
            learner.step([_batch(scale, scale.paper_batch)], number)  # type: ignore[list-item]
        if scale.device == "cuda":
            torch.cuda.synchronize()
            found[precision] = {
                "allocated_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
                "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
            }
        del learner
    return found


def run(scale: Scale) -> dict[str, Any]:
    """``sceneparse train`` whole, on the built-in scenes at 224: reading, augmentation and saving counted."""
    from sceneparse.data.scenes import write_scenes

    with tempfile.TemporaryDirectory() as scratch:
        data, out = Path(scratch) / "scenes", Path(scratch) / "run"
        size = max(64, scale.side + 32)
        write_scenes(data, train=64 if scale.device == "cuda" else 4, val=4, size_hw=(size, size), workers=8)
        batch = min(64, scale.batches[-1])
        command = [sys.executable, "-m", "sceneparse", "train", str(data), "--out", str(out)]
        command += ["--model", scale.model, "--size", f"{scale.side},{scale.side}"]
        command += ["--batch-size", str(batch), "--steps", str(scale.run_steps), "--device", scale.device]
        command += ["--set", f"eval_every={scale.run_steps}", "--lr", "1e-5"]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        with (out / "metrics.csv").open(newline="") as file:
            row = list(csv.DictReader(file))[-1]
    rate = float(row["images_per_second"])
    return {
        "batch": batch,
        "steps": scale.run_steps,
        "whole_process_s": round(seconds, 1),
        "images_s_while_training": round(rate, 1),
        "share_of_time_waiting_for_data": float(row["data_wait"]),
        "minutes_for_200000_steps_of_3": round(TUTORIAL_IMAGES / rate / 60, 2),
    }


def prediction(scale: Scale) -> dict[str, Any]:
    """One picture after the other through ``sceneparse.load``, reading not counted, against plain eager."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle = write_random_model(Path(scratch), scale.model, label_set("ade20k"))
        plain = load_model(bundle)[0].eval().to(scale.device)
        predictor = sceneparse.load(bundle, device=scale.device)
    picture = np.random.default_rng(0).integers(0, 256, (scale.side, scale.side, 3), np.uint8)
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].contiguous()
    mean, std = (torch.tensor(v, device=scale.device).view(1, 3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std))

    @torch.no_grad()
    def eager() -> NDArray[np.integer]:
        images = (pixels.to(scale.device).float() / 255 - mean) / std
        return plain(images).argmax(1)[0].cpu().numpy()

    agree = float((eager() == predictor.predict_index(picture)).mean())
    eager_s = seconds_of(eager, scale, calls=scale.steps)
    ours_s = seconds_of(lambda: predictor.predict_index(picture), scale, calls=scale.steps)
    return {
        "engine": predictor.engine,
        "eager_ms": round(eager_s * 1e3, 3),
        "ours_ms": round(ours_s * 1e3, 3),
        "times_faster": round(eager_s / ours_s, 2),
        "agree": agree,
    }


PARTS: dict[str, tuple[Callable[[Scale], dict[str, Any]], int]] = {
    "ceilings": (ceilings, 40),
    "loss": (loss, 60),
    "labels": (labels, 40),
    "training": (training, 70),
    "training_compiled": (training_compiled, 110),
    "training_plain": (training_plain, 40),
    "memory": (memory, 40),
    "run": (run, 120),
    "prediction": (prediction, 40),
}
"""What is measured, and the seconds each part may take: 560 together."""


def part_in_a_process(name: str, arguments: list[str]) -> Any:
    limit = PARTS[name][1]
    command = [sys.executable, __file__, "--part", name, *arguments]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"longer than {limit} s"}
    if done.returncode:
        return {"failed": f"exit code {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    scale = REHEARSAL if options.rehearse else Scale(device="cuda")
    if options.part:
        print(json.dumps(PARTS[options.part][0](scale)))
        return 0
    if not options.rehearse and not torch.cuda.is_available():
        print("no GPU here; --rehearse tries the script on the processor", file=sys.stderr)
        return 2
    figures: dict[str, Any] = {}
    for name in options.only:
        began = time.perf_counter()
        figures[name] = part_in_a_process(name, ["--rehearse"] if options.rehearse else [])
        print(
            f"{name} ({time.perf_counter() - began:.0f} s)\n{json.dumps(figures[name], indent=1)}", flush=True
        )
    failed = [name for name, found in figures.items() if "failed" in found]
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    if not options.rehearse:
        figures["target_images_s"] = TARGET_IMAGES_S
        figures["target_loss_ratio"] = TARGET_LOSS_RATIO
        figures["target_gib_of_batch_20"] = TARGET_GIB
        write_result("gpu", "What a GPU does, against PyTorch eager in the same process.", figures)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
