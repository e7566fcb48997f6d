"""Loss and gradient of low-resolution logits: how much faster than upsampling, and in how much less memory?

    python benchmarks/loss.py [--threads 2] [--seconds 20]

Cases: the contract's (4 x 150 classes x 512x512 from stride 8, fp32), a small number of classes at stride 4
(CamVid), and the learned x8 upsampling of the paper (150 classes, 224x224) against ``F.conv_transpose2d``
and ``F.cross_entropy``. All sides of a case take turns in one process; the least time of each counts. Memory
is the rise of the process's resident memory in one call, each side in a process of its own, gradient of the
logits included. Writes results/loss_HARDWARE_DATE.json.

The arithmetic of a learned upsampling has a floor: three matrix products (value, gradient of the logits, of
the kernel) of 4 K multiplications for each logit, at the speed of a 2048^3 product in the same run. The C
code needs 25/64 of them, so its share of that floor can be above 1; its share of what is left is stated too.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import NamedTuple

import side_by_side
import torch
import torch.nn.functional as F
from ceilings import MATRIX_PRODUCT, WORK
from provenance import write_result
from torch import Tensor

from sceneparse.kernels.compiler import kernels
from sceneparse.models.upsample import Upsampling
from sceneparse.training.loss import cross_entropy_sum, mean_of, pixel_weight, upsampled_cross_entropy

TARGET_RATIO, TARGET_MEMORY = 10.0, 20.0
CONTRACT = "150 classes, 4 x 512x512, stride 8"


class Case(NamedTuple):
    batch: int
    classes: int
    size_hw: tuple[int, int]
    stride: int
    learned: bool = False


CASES = {
    CONTRACT: Case(4, 150, (512, 512), 8),
    "11 classes, 8 x 360x480, stride 4": Case(8, 11, (360, 480), 4),
    "150 classes, 4 x 224x224, learned x8": Case(4, 150, (224, 224), 8, learned=True),
}


def tensors(case: Case) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits, labels with a tenth ignored, and the kernel of a learned upsampling."""
    torch.manual_seed(0)
    height, width = case.size_hw
    logits = torch.randn(case.batch, case.classes, height // case.stride, width // case.stride) * 3
    labels = torch.randint(0, case.classes, (case.batch, height, width))
    labels[torch.rand(labels.shape) < 0.1] = 255
    kernel = None
    if case.learned:
        kernel = torch.randn(case.classes, case.classes, 2 * case.stride, 2 * case.stride) * 0.02
        kernel.requires_grad_()
    return logits.requires_grad_(), labels, kernel


def eager(case: Case) -> Callable[[], tuple[Tensor, ...]]:
    logits, labels, kernel = tensors(case)

    def call() -> tuple[Tensor, ...]:
        if kernel is None:
            scores = F.interpolate(logits, size=case.size_hw, mode="bilinear", align_corners=False)
            loss = F.cross_entropy(scores, labels, ignore_index=255)
            return loss.detach(), *torch.autograd.grad(loss, logits)
        scores = F.conv_transpose2d(logits, kernel, stride=case.stride, padding=case.stride // 2)
        loss = F.cross_entropy(scores, labels, ignore_index=255)
        return loss.detach(), *torch.autograd.grad(loss, (logits, kernel))

    return call


def ours(case: Case) -> Callable[[], tuple[Tensor, ...]]:
    logits, labels, kernel = tensors(case)

    def call() -> tuple[Tensor, ...]:
        if kernel is None:
            loss = upsampled_cross_entropy(logits, labels)
            return loss.detach(), *torch.autograd.grad(loss, logits)
        upsampling = Upsampling(kernel=kernel, offset=case.stride // 2)
        loss = mean_of(cross_entropy_sum(logits, labels, upsampling=upsampling), pixel_weight(labels))
        return loss.detach(), *torch.autograd.grad(loss, (logits, kernel))

    return call


def value_alone(case: Case) -> Callable[[], Tensor]:
    logits, labels, kernel = tensors(case)
    upsampling = Upsampling(kernel=kernel, offset=case.stride // 2)

    @torch.no_grad()
    def call() -> Tensor:
        return cross_entropy_sum(logits, labels, upsampling=upsampling)

    return call


def kernel_fixed(case: Case) -> Callable[[], tuple[Tensor, ...]]:
    logits, labels, kernel = tensors(case)
    assert kernel is not None
    upsampling = Upsampling(kernel=kernel.detach(), offset=case.stride // 2)

    def call() -> tuple[Tensor, ...]:
        return torch.autograd.grad(cross_entropy_sum(logits, labels, upsampling=upsampling), logits)

    return call


def without_compiler(case: Case) -> Callable[[], tuple[Tensor, ...]]:
    call = ours(case)

    def with_pytorch_alone() -> tuple[Tensor, ...]:
        with side_by_side.without_compiler():
            return call()

    return with_pytorch_alone


SIDES = {"eager": eager, "ours": ours, "ours without a compiler": without_compiler}


def sides() -> list[str]:
    return list(SIDES) if kernels().library is not None else ["eager", "ours"]


def floor(case: Case, seconds: float) -> dict[str, float]:
    """What the arithmetic of a learned upsampling takes at least, how far ours is from it, and its parts."""
    product, work = WORK[MATRIX_PRODUCT]
    calls: dict[str, Callable[[], object]] = {
        "product": product(torch.float32),
        "value": value_alone(case),
        "logits": kernel_fixed(case),
        "all": ours(case),
    }
    best = side_by_side.best_s(calls, rounds=3, seconds=seconds)
    height, width = case.size_hw
    part = 2 * 4 * case.classes**2 * case.batch * height * width / (work / best["product"])
    found = {
        "product_gflops": work / best["product"] / 1e9,
        "floor_ms": 3e3 * part,
        "share_of_floor": 3 * part / best["all"],
        "share_of_floor_of_25_64": 3 * part * 25 / 64 / best["all"],
        "value_ms": 1e3 * best["value"],
        "gradient_of_logits_ms": 1e3 * (best["logits"] - best["value"]),
        "gradient_of_kernel_ms": 1e3 * (best["all"] - best["logits"]),
    }
    print("  arithmetic: " + ", ".join(f"{name} {value:.4g}" for name, value in found.items()))
    return {name: round(value, 3) for name, value in found.items()}


def measure(name: str, case: Case, seconds: float) -> dict[str, object]:
    calls = {side: SIDES[side](case) for side in sides()}
    wanted, worst = calls["eager"](), {}
    for side in list(calls)[1:]:
        found = calls[side]()
        worst[side] = [
            ((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, wanted, strict=True)
        ]
    best = side_by_side.best_s(calls, rounds=2, seconds=seconds)
    threads = str(torch.get_num_threads())
    memory = {side: side_by_side.memory_mib(__file__, name, side, "--threads", threads) for side in calls}
    print(f"\n{name}")
    print(f"  {'':26}{'ms':>9}{'faster':>9}{'MiB':>9}{'less':>8}   largest relative difference")
    rows: dict[str, object] = {}
    for side in calls:
        faster, less = best["eager"] / best[side], memory["eager"] / max(memory[side], 0.1)
        told = ", ".join(f"{value:.1e}" for value in worst.get(side, []))
        print(f"  {side:26}{best[side] * 1e3:9.1f}{faster:8.1f}x{memory[side]:9.0f}{less:7.1f}x   {told}")
        rows[side] = {
            "ms": round(best[side] * 1e3, 2),
            "times_faster": round(faster, 2),
            "extra_mib": round(memory[side], 1),
            "times_less_memory": round(less, 1),
            "relative_differences": worst.get(side),
        }
    if case.learned:
        rows["arithmetic"] = floor(case, seconds)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=20, help="time for each case, at least")
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        case, side = options.memory_of
        SIDES[side](Case(1, 2, (16, 16), 8, CASES[case].learned))()  # what is loaded on first use
        side_by_side.print_memory(SIDES[side](CASES[case]))
        return 0
    cases = {name: measure(name, case, options.seconds) for name, case in CASES.items()}
    ours = cases[CONTRACT]["ours"]
    good = ours["times_faster"] >= TARGET_RATIO and ours["times_less_memory"] >= TARGET_MEMORY
    write_result(
        "loss",
        "Loss and gradient to the low-resolution logits, fp32, against upsampling and F.cross_entropy.",
        {
            "cases": cases,
            "target_times_faster": TARGET_RATIO,
            "target_times_less_memory": TARGET_MEMORY,
            "threads": torch.get_num_threads(),
            "load_average": os.getloadavg(),
        },
    )
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
