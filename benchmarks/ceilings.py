"""What can this machine do at most? Matrix product, 3x3 convolution and memory copy, on all threads and one.

    python benchmarks/ceilings.py [--threads 2] [--seconds 2]

Matrix product 2048 x 2048 x 2048; 3x3 convolution of 256 to 256 channels at 56 x 56 in channels-last memory,
as oneDNN computes it directly, without fast algorithms; copy of 256 MiB, bytes read and written. fp32, and
bf16 where the processor computes in it. Best of several. Writes results/ceilings_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import side_by_side
import torch
import torch.nn.functional as F
from provenance import write_result

SIDE = 2048
CHANNELS, MAP = 256, 56
COPIED = 256 * 2**20
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def computes_in_bf16() -> bool:
    """Whether the processor has instructions for it; without them bf16 is slower than fp32."""
    return any("bf16" in name and there for name, there in torch.cpu.get_capabilities().items())


def matrix_product(dtype: torch.dtype) -> Callable[[], object]:
    a, b = torch.randn(SIDE, SIDE, dtype=dtype), torch.randn(SIDE, SIDE, dtype=dtype)
    return lambda: a @ b


def convolution(dtype: torch.dtype) -> Callable[[], object]:
    """The network's most frequent kind of layer."""
    x = torch.randn(1, CHANNELS, MAP, MAP, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
    return lambda: F.conv2d(x, weight, padding=1)


def copy() -> Callable[[], object]:
    source = torch.ones(COPIED, dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


MATRIX_PRODUCT, CONVOLUTION = "matrix product 2048^3", "3x3 convolution 256 to 256 at 56x56"
WORK = {
    MATRIX_PRODUCT: (matrix_product, 2 * SIDE**3),
    CONVOLUTION: (convolution, 2 * 9 * CHANNELS**2 * MAP**2),
}


@torch.no_grad()
def measure(seconds: float, dtypes: list[str]) -> dict[str, float]:
    """GFLOP/s by what and dtype, and GB/s of copying, on the threads that PyTorch has now."""
    calls: dict[str, Callable[[], object]] = {
        f"{what}, {dtype}": make(DTYPES[dtype]) for what, (make, _) in WORK.items() for dtype in dtypes
    }
    calls["copy"] = copy()
    best = side_by_side.best_s(calls, rounds=3, seconds=seconds)
    rates = {
        f"{what}, {dtype}": work / best[f"{what}, {dtype}"] / 1e9
        for what, (_, work) in WORK.items()
        for dtype in dtypes
    }
    return {**rates, "copy": 2 * COPIED / best["copy"] / 1e9}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=2, help="for each number of threads, at least")
    options = parser.parse_args()
    dtypes = ["fp32", "bf16"] if computes_in_bf16() else ["fp32"]
    rates: dict[str, dict[str, float]] = {}
    for threads in sorted({options.threads, 1}, reverse=True):
        torch.set_num_threads(threads)
        rates[str(threads)] = {
            what: round(rate, 1) for what, rate in measure(options.seconds, dtypes).items()
        }
    heads = ["1 thread" if threads == "1" else f"{threads} threads" for threads in rates]
    print(" " * 50 + "".join(f"{head:>12}" for head in heads))
    for what in rates["1"]:
        unit = "GB/s" if what == "copy" else "GFLOP/s"
        print(f"{what:42}{unit:8}" + "".join(f"{rates[n][what]:12.1f}" for n in rates))
    write_result(
        "ceilings",
        "Matrix product, direct convolution (GFLOP/s) and memory copy (GB/s) at most, by number of threads.",
        {"by_threads": rates, "threads": options.threads, "load_average": os.getloadavg()},
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
