"""How long does `sceneparse check` take beside decoding the same files, and doing nothing with them?

    python benchmarks/check_speed.py ../shared/data/camvid [--rounds 5]

The yardstick: Pillow in two processes (a `multiprocessing.Pool`), images to RGB arrays and masks to arrays.
Both are whole processes, from their start with all imports to their end, taken in turns; the best
of each counts. The files are read once before, so that both find them in memory. Writes
results/check_speed_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from provenance import write_result

from sceneparse.data.dataset import open_dataset

TARGET = 1.2

DECODE = """
import sys
from multiprocessing import Pool
import numpy as np
from PIL import Image

def decode(pair):
    image, mask = pair.split("\\t")
    with Image.open(image) as file:
        np.asarray(file.convert("RGB"))
    with Image.open(mask) as file:
        np.asarray(file)

if __name__ == "__main__":
    with Pool(2) as pool:
        pool.map(decode, sys.stdin.read().splitlines())
"""


def timed(command: list[str], *, given: str = "") -> dict[str, float]:
    """Wall and processor seconds of a process and its children."""
    began, before = time.monotonic(), os.times()
    done = subprocess.run(command, input=given, text=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - began, os.times()
    if done.returncode:
        raise SystemExit(f"{command[:4]} failed with {done.returncode}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": seconds, "processor_s": processor}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    dataset = open_dataset(options.data)
    pairs = [pair for those in dataset.splits.values() for pair in those]
    listed = "\n".join(f"{pair.image}\t{pair.mask.path}" for pair in pairs)
    mebibytes = sum(len(path.read_bytes()) for p in pairs for path in (p.image, p.mask.path)) / 2**20

    found: dict[str, list[dict[str, float]]] = {"decode": [], "check": []}
    for _ in range(options.rounds):
        found["decode"].append(timed([sys.executable, "-c", DECODE], given=listed))
        found["check"].append(timed([sys.executable, "-m", "sceneparse", "check", str(options.data)]))
    best = {what: min(taken["wall_s"] for taken in rounds) for what, rounds in found.items()}
    processor = {what: min(taken["processor_s"] for taken in rounds) for what, rounds in found.items()}
    ratio = best["check"] / best["decode"]
    by_round = [c["wall_s"] / d["wall_s"] for c, d in zip(found["check"], found["decode"], strict=True)]
    print(f"{dataset.name}: {len(pairs)} pairs, {mebibytes:.0f} MiB")
    for what in found:
        print(f"  {what:8} best {best[what]:.2f} s, processor {processor[what]:.2f} s")
    print(f"  check takes {ratio:.2f} times as long (median of the rounds {statistics.median(by_round):.2f})")
    write_result(
        "check_speed",
        "Time of `sceneparse check`, the whole process, over that of decoding the same files with Pillow in "
        "two processes.",
        {
            "data": dataset.name,
            "pairs": len(pairs),
            "mebibytes": round(mebibytes, 1),
            "rounds": options.rounds,
            "decode_best_s": round(best["decode"], 3),
            "check_best_s": round(best["check"], 3),
            "ratio_of_best": round(ratio, 3),
            "ratio_of_rounds": [round(value, 3) for value in by_round],
            "decode_processor_s": round(processor["decode"], 2),
            "check_processor_s": round(processor["check"], 2),
            "target_ratio": TARGET,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
