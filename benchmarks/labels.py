"""Labels from low-resolution scores: how much faster than upsampling and arg-max, in how much less memory?

    python benchmarks/labels.py [--threads 2] [--seconds 15]

4 x 150 classes x 512x512 from stride 8, fp32: with random scores, where nearly every class can win everywhere
(the worst case), and with smooth scores, as networks give them; and 4 x 150 x 224x224 through the learned x8
upsampling of the paper, against ``F.conv_transpose2d``. Sides, times, memory and the floor of the arithmetic
as in benchmarks/loss.py. Writes results/labels_HARDWARE_DATE.json.
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
from sceneparse.models import upsampled_argmax
from sceneparse.models.upsample import Upsampling

TARGET_RATIO = 5.0
SIZE_HW, STRIDE, BATCH, CLASSES = (512, 512), 8, 4, 150


def random_scores() -> Tensor:
    return torch.randn(BATCH, CLASSES, SIZE_HW[0] // STRIDE, SIZE_HW[1] // STRIDE)


def smooth_scores() -> Tensor:
    """Regions of some 64 pixels, with noise."""
    coarse = torch.randn(BATCH, CLASSES, SIZE_HW[0] // 64, SIZE_HW[1] // 64) * 5
    size = (SIZE_HW[0] // STRIDE, SIZE_HW[1] // STRIDE)
    return F.interpolate(coarse, size=size, mode="bicubic") + 0.3 * random_scores()


def scores_of_224() -> Tensor:
    return torch.randn(BATCH, CLASSES, 224 // STRIDE, 224 // STRIDE)


CASES = {"random scores": random_scores, "smooth scores": smooth_scores}
LEARNED = "learned x8, 224x224"


class Case(NamedTuple):
    scores: Tensor
    size_hw: tuple[int, int]
    kernel: Tensor | None = None


def case_of(name: str) -> Case:
    torch.manual_seed(0)
    if name == LEARNED:
        kernel = torch.randn(CLASSES, CLASSES, 2 * STRIDE, 2 * STRIDE) * 0.02
        return Case(scores_of_224(), (224, 224), kernel)
    return Case(CASES[name](), SIZE_HW)


def eager(case: Case) -> Callable[[], Tensor]:
    scores, size_hw, kernel = case
    if kernel is None:
        return lambda: F.interpolate(scores, size=size_hw, mode="bilinear", align_corners=False).argmax(1)
    return lambda: F.conv_transpose2d(scores, kernel, stride=STRIDE, padding=STRIDE // 2).argmax(1)


def ours(case: Case) -> Callable[[], Tensor]:
    upsampling = None if case.kernel is None else Upsampling(kernel=case.kernel, offset=STRIDE // 2)
    return lambda: upsampled_argmax(case.scores, case.size_hw, upsampling=upsampling)


def without_compiler(case: Case) -> Callable[[], Tensor]:
    call = ours(case)

    def with_pytorch_alone() -> Tensor:
        with side_by_side.without_compiler():
            return call()

    return with_pytorch_alone


SIDES = {"eager": eager, "ours": ours, "ours without a compiler": without_compiler}


def measure(name: str, seconds: float) -> dict[str, object]:
    case = case_of(name)
    sides = list(SIDES) if kernels().library is not None else ["eager", "ours"]
    calls: dict[str, Callable[[], Tensor]] = {side: SIDES[side](case) for side in sides}
    wanted = calls["eager"]()
    agree = {side: (call().long() == wanted).double().mean().item() for side, call in calls.items()}
    product, work = WORK[MATRIX_PRODUCT]
    timed: dict[str, Callable[[], object]] = {**calls, MATRIX_PRODUCT: product(torch.float32)}
    best = side_by_side.best_s(timed, rounds=2, seconds=seconds)
    threads = str(torch.get_num_threads())
    memory = {side: side_by_side.memory_mib(__file__, name, side, "--threads", threads) for side in calls}
    print(f"\n{name}")
    print(f"  {'':26}{'ms':>9}{'faster':>9}{'MiB':>9}{'less':>8}   labels that agree")
    rows: dict[str, object] = {}
    for side in calls:
        faster, less = best["eager"] / best[side], memory["eager"] / max(memory[side], 0.1)
        print(
            f"  {side:26}{best[side] * 1e3:9.1f}{faster:8.1f}x{memory[side]:9.0f}{less:7.1f}x   "
            f"{agree[side]:.6%}"
        )
        rows[side] = {
            "ms": round(best[side] * 1e3, 2),
            "times_faster": round(faster, 2),
            "extra_mib": round(memory[side], 1),
            "times_less_memory": round(less, 1),
            "share_of_labels_that_agree": agree[side],
        }
    if case.kernel is not None:
        pixels = BATCH * case.size_hw[0] * case.size_hw[1]
        floor = 2 * 4 * CLASSES**2 * pixels / (work / best[MATRIX_PRODUCT])
        print(f"  arithmetic: floor {floor * 1e3:.1f} ms, of which ours needs 25/64")
        rows["arithmetic"] = {
            "floor_ms": round(floor * 1e3, 2),
            "share_of_floor": round(floor / best["ours"], 3),
            "share_of_floor_of_25_64": round(floor * 25 / 64 / best["ours"], 3),
        }
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=15, help="time for each case, at least")
    parser.add_argument("--memory-of", nargs=2, metavar=("CASE", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        case, side = options.memory_of
        SIDES[side](Case(torch.zeros(1, 2, 2, 2), (16, 16)))()  # what is loaded on first use
        side_by_side.print_memory(SIDES[side](case_of(case)))
        return 0
    cases = {name: measure(name, options.seconds) for name in (*CASES, LEARNED)}
    worst = min(cases[name]["ours"]["times_faster"] for name in CASES)
    write_result(
        "labels",
        "Labels 4 x 512x512 of 150 classes from scores at stride 8, fp32, against upsampling and arg-max.",
        {
            "cases": cases,
            "target_times_faster": TARGET_RATIO,
            "threads": torch.get_num_threads(),
            "load_average": os.getloadavg(),
        },
    )
    return 0 if worst >= TARGET_RATIO else 1


if __name__ == "__main__":
    raise SystemExit(main())
