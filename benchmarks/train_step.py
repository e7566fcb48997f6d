"""A training step of ours beside plain PyTorch: same network, weights, pictures and loss.

    python benchmarks/train_step.py [--threads 2] [--rounds 3]
    python benchmarks/train_step.py --model fcn8s-vgg19 --classes 151 --size 224,224 --batch-size 8

Plain: eager fp32 in the usual memory format, logits at full size, F.cross_entropy, backward, torch.optim.Adam
as it comes. Ours: sceneparse.training.learner.Learner on the same settings, normalization of the pictures
included. Each in a process of its own, since ours tells the process to keep the memory that it frees; they
take turns, one waits while the other computes, and the least time of each counts. Both begin with the same
weights: loss and gradients of two pictures without dropout are compared with those in float64, relative to
the norm of each parameter's gradient. Rounding that moves a maximum or a sign in the network is most of it.
Parts are those of one profiled step; the ceiling is that of direct convolution (ceilings.py), which a network
with fast convolutions may exceed. Memory is the most that the process held in steps, beyond what it held
before the network was built. Without --model: the contract's case and the network of the recipe camvid-small.
Writes results/train_step_HARDWARE_DATE.json.
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
from pathlib import Path
from typing import Any, NamedTuple

import ceilings
import torch
import torch.nn.functional as F
from forward import gflop
from provenance import write_result
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from sceneparse.config import ModelConfig, OptimizerConfig, RunConfig
from sceneparse.models import ModelOptions, build_model
from sceneparse.normalization import IMAGENET
from sceneparse.recipes.camvid_small import camvid_small

TARGET_RATIO = 4.0
RATE = 1e-4

PARTS = {
    "3x3 convolutions, ours": ("sceneparse::conv3x3", "sceneparse::pack3x3", "_Differentiable"),
    "7x7 convolution, ours": ("_Product",),
    "loss with its upsampling, ours": ("_Loss", "_LossBackward"),
    "convolutions and upsampling of PyTorch": ("conv",),
    "1x1 convolutions as matrix products": ("aten::addmm", "aten::mm"),
    "batch norm": ("batch_norm",),
    "loss of PyTorch": ("softmax", "nll_loss"),
    "optimizer": ("Optimizer.step",),
    "ReLU, pooling, dropout": ("threshold", "clamp_min", "relu", "pool", "bernoulli", "dropout"),
    "interpolation": ("upsample",),
}
"""By kind: words that the names of its operations hold. The first that fits counts."""


class Case(NamedTuple):
    model: str
    options: ModelOptions
    classes: int
    size_hw: tuple[int, int]
    batch_size: int

    def network(self) -> nn.Module:
        """The same weights each time. Scores begin at zero; here they do not, or the body had no gradient."""
        torch.manual_seed(0)
        network = build_model(self.model, self.classes, self.options).train()
        for weight in network.parameters():
            if weight.ndim == 4 and not weight.any():
                nn.init.normal_(weight, std=0.01)
        return network

    def batch(self) -> tuple[Tensor, Tensor]:
        """uint8 (B, 3, H, W) and labels (B, H, W), a tenth of them ignored."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(
            0, 256, (self.batch_size, 3, *self.size_hw), dtype=torch.uint8, generator=generator
        )
        labels = torch.randint(0, self.classes, (self.batch_size, *self.size_hw), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
        return images, labels


def cases() -> dict[str, Case]:
    light = camvid_small()
    return {
        "fcn8s-vgg19, 151 classes, 8 x 224x224": Case("fcn8s-vgg19", ModelOptions(), 151, (224, 224), 8),
        f"{light.model.name}, 11 classes, {light.batch_size} x 256x320": Case(
            light.model.name, light.model.options, 11, (256, 320), light.batch_size
        ),
    }


# ---------------------------------------------------------------------- a side, in a process of its own


class Side(NamedTuple):
    network: nn.Module
    step: Callable[[], Tensor]
    gradient: Callable[[int], Tensor]  # the loss of so many pictures; leaves the gradients at the parameters


def plain(case: Case, dtype: torch.dtype = torch.float32) -> Side:
    network, (images, labels) = case.network().to(dtype), case.batch()
    pixels = IMAGENET(images).to(dtype)
    optimizer = torch.optim.Adam(network.parameters(), RATE)

    def gradient(count: int) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(pixels[:count]), labels[:count], ignore_index=255)
        loss.backward()
        return loss.detach()

    def step() -> Tensor:
        loss = gradient(case.batch_size)
        optimizer.step()
        return loss

    return Side(network, step, gradient)


def ours(case: Case) -> Side:
    from sceneparse.training.learner import Learner

    network, (images, labels) = case.network(), case.batch()
    config = RunConfig(
        recipe="train_step",
        model=ModelConfig(name=case.model, options=case.options),
        optimizer=OptimizerConfig(name="adam", lr=RATE),
        batch_size=case.batch_size,
        steps=1_000_000,
        device="cpu",
        precision="32",
    )
    learner = Learner(config, network, IMAGENET, ignore_index=255, class_weights=None)
    images = images.contiguous(memory_format=torch.channels_last)  # as the loader gives them
    batch: Any = {"image": images, "mask": labels.byte(), "index": torch.arange(len(images))}

    def gradient(count: int) -> Tensor:
        return learner._gradient([{key: values[:count] for key, values in batch.items()}], 0)

    return Side(network, lambda: learner.step([batch], 0), gradient)


def exact(case: Case) -> Side:
    return plain(case, torch.float64)


COMPARED = 2
"""Pictures whose loss and gradients are compared."""

SIDES = {"plain": plain, "ours": ours}


def serve(side_name: str, case: Case, scratch: Path) -> None:
    """Do what the lines of the standard input say, each answered by a line of JSON."""
    before = status("VmRSS")
    side = {**SIDES, "exact": exact}[side_name](case)
    for line in sys.stdin:
        answer: Any = None
        if line.strip() == "step":
            start = time.perf_counter()
            side.step()
            answer = time.perf_counter() - start
        elif line.strip() == "parts":
            answer = parts_of(side.step)
        elif line.strip() == "gradient":
            answer = gradient_of(side, scratch / "gradients.pt")
        elif line.strip() == "memory":
            answer = (status("VmHWM") - before) / 2**20
        print(json.dumps(answer), flush=True)


def status(key: str) -> int:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(key))
    return int(line.split()[1]) * 1024


def gradient_of(side: Side, path: Path) -> dict[str, Any]:
    """Loss and gradients without dropout: written to ``path``, or compared with what is written there."""
    layers = [(layer, layer.p) for layer in side.network.modules() if isinstance(layer, nn.Dropout)]
    for layer, _ in layers:
        layer.p = 0.0
    loss = side.gradient(COMPARED).double()
    for layer, p in layers:
        layer.p = p
    found = {name: weight.grad.double() for name, weight in side.network.named_parameters()}
    for weight in side.network.parameters():
        weight.grad = None
    if not path.exists():
        torch.save({"loss": loss, "gradients": found}, path)
        return {}
    other = torch.load(path)
    largest = max(gradient.norm() for gradient in other["gradients"].values())
    # Biases before a batch norm have none but rounding errors.
    apart = {
        name: ((gradient - other["gradients"][name]).norm() / other["gradients"][name].norm()).item()
        for name, gradient in found.items()
        if other["gradients"][name].norm() > 1e-6 * largest
    }
    difference = sum((found[name] - g).square().sum() for name, g in other["gradients"].items())
    whole = sum(g.square().sum() for g in other["gradients"].values())
    return {
        "loss": abs(loss / other["loss"] - 1).item(),
        "gradient_median": sorted(apart.values())[len(apart) // 2],
        "gradient_as_a_whole": (difference / whole).sqrt().item(),
    }


def parts_of(step: Callable[[], Tensor]) -> dict[str, float]:
    """Share of a step by kind of operation."""
    with profile(activities=[ProfilerActivity.CPU]) as found, torch.profiler.record_function("step"):
        step()
    rows = found.key_averages()
    whole = next(row.cpu_time_total for row in rows if row.key == "step")
    shares: dict[str, float] = {}
    for row in rows:
        kind = next((kind for kind, words in PARTS.items() if any(word in row.key for word in words)), None)
        if kind is None or row.key.startswith("autograd::engine"):
            continue
        # What these call has names of its own, that are not to be counted twice.
        inner = kind == "optimizer"
        shares[kind] = shares.get(kind, 0.0) + (row.cpu_time_total if inner else row.self_cpu_time_total)
    shares["other"] = whole - sum(shares.values())
    return {kind: round(us / whole, 4) for kind, us in sorted(shares.items(), key=lambda row: -row[1])}


# ---------------------------------------------------------------------- both, in turns


class Process:
    """A side that computes when asked."""

    def __init__(self, side: str, case: Case, threads: int, scratch: Path) -> None:
        told = json.dumps([*case._replace(options=case.options.to_dict())])
        command = [sys.executable, __file__, "--serve", side, told, str(scratch), "--threads", str(threads)]
        quiet = {**os.environ, "KINETO_LOG_LEVEL": "99"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet
        )

    def __call__(self, what: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(what, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process of a side has ended")
        return json.loads(line)

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(name: str, case: Case, rounds: int, threads: int, ceiling: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        reference = Process("exact", case, threads, Path(folder))
        reference("gradient")
        reference.end()
        sides = {side: Process(side, case, threads, Path(folder)) for side in SIDES}
        apart = {side: process("gradient") for side, process in sides.items()}
    for process in sides.values():
        process("step")
    seconds = {side: [] for side in sides}
    for _ in range(rounds):
        for side, process in sides.items():
            seconds[side].append(process("step"))
    parts = {side: process("parts") for side, process in sides.items()}
    memory = {side: process("memory") for side, process in sides.items()}
    for process in sides.values():
        process.end()
    with torch.no_grad():
        work = 3 * case.batch_size * gflop(case.network().eval(), torch.zeros(1, 3, *case.size_hw))
    best = {side: min(times) for side, times in seconds.items()}
    ratio = best["plain"] / best["ours"]
    print(f"\n{name}: {ratio:.2f} times as fast")
    for side in sides:
        told = ", ".join(f"{what} {value:.1e}" for what, value in apart[side].items())
        print(f"  {side}, relative difference to float64: {told}")
    for side in sides:
        share = work / best[side] / ceiling
        print(
            f"  {side}: {best[side]:.3f} s, {case.batch_size / best[side]:.2f} images/s, "
            f"{memory[side]:.0f} MiB, {share:.0%} of the ceiling of direct convolution"
        )
        for kind, part in parts[side].items():
            print(f"    {part:6.1%}  {part * best[side] * 1e3:7.0f} ms  {kind}")
    return {
        "times_faster": round(ratio, 2),
        "relative_difference_to_float64": apart,
        "gflop": round(work, 1),
        **{
            side: {
                "step_s": round(best[side], 4),
                "all_s": [round(value, 4) for value in seconds[side]],
                "images_per_s": round(case.batch_size / best[side], 2),
                "memory_mib": round(memory[side]),
                "share_of_ceiling": round(work / best[side] / ceiling, 3),
                "parts": parts[side],
            }
            for side in sides
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--rounds", type=int, default=3, help="steps of each that are timed, after one that is not"
    )
    parser.add_argument("--model", help="a case of your own")
    parser.add_argument("--classes", type=int, default=151)
    parser.add_argument("--size", default="224,224", metavar="H,W")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--serve", nargs=3, metavar=("SIDE", "CASE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        side, told, folder = options.serve
        model, model_options, classes, size_hw, batch_size = json.loads(told)
        case = Case(model, ModelOptions.from_dict(model_options), classes, tuple(size_hw), batch_size)
        serve(side, case, Path(folder))
        return 0
    chosen = cases()
    if options.model:
        height, width = map(int, options.size.split(","))
        name = f"{options.model}, {options.classes} classes, {options.batch_size} x {height}x{width}"
        own = Case(options.model, ModelOptions(), options.classes, (height, width), options.batch_size)
        chosen = {name: own}
    ceiling = ceilings.measure(1.0, ["fp32"])[f"{ceilings.CONVOLUTION}, fp32"]
    found = {
        name: measure(name, case, options.rounds, options.threads, ceiling) for name, case in chosen.items()
    }
    write_result(
        "train_step",
        "Seconds of a training step, fp32, Adam: plain PyTorch eager and ours.",
        {
            "cases": found,
            "target_times_faster": TARGET_RATIO,
            "ceiling_gflop_per_s": round(ceiling, 1),
            "threads": options.threads,
            "load_average": os.getloadavg(),
        },
    )
    return 0 if options.model or next(iter(found.values()))["times_faster"] >= TARGET_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
