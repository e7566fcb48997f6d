"""An image set of 20,000 small files: how long from the start of `train` to its first step?

    python benchmarks/startup.py [--images 20000] [--keep DIR]

Makes the image set, then trains one step twice through the command line: the first start makes the pixel
cache, the second finds it. The clock runs from before the process starts until the loss of the first step is
on the disk. Also says how much of it is importing, and the load of the machine. Writes
results/startup_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from provenance import write_result

TARGET_S = 10.0


def make_images(root: Path, count: int) -> None:
    """Pairs of 32x32 PNGs in the plain layout; the validation split has 16."""
    if (root / "classes.txt").is_file():
        return
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("val", 16)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in range(number):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "images" / split / f"{i:06d}.png", compress_level=0)
            mask = Image.fromarray(pixels[..., 0] % 3)
            mask.save(root / "masks" / split / f"{i:06d}.png", compress_level=1)
    (root / "classes.txt").write_text("a\nb\nc\n", encoding="utf-8")


def first_step_s(data: Path, run: Path, cache: Path) -> float:
    """Seconds from the start of the process until the first step is logged, as it is before every save."""
    command = [
        *(sys.executable, "-m", "sceneparse", "train", str(data), "--out", str(run)),
        *("--model", "fcn8s-test_efficientnet", "--size", "32,32", "--batch-size", "4", "--steps", "2"),
        *("--device", "cpu", "--set", f"data.cache={cache}", "--set", "data.resize=none"),
        *("--set", "checkpoint_minutes=0", "--set", "samples=0", "--set", "eval_every=2"),
    ]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (run / "losses.csv").is_file():
        if process.poll() is not None:
            raise SystemExit(process.communicate()[1])
        time.sleep(0.01)
    seconds = time.monotonic() - began
    process.communicate()
    if process.returncode:
        raise SystemExit(f"the run failed with {process.returncode}")
    return seconds


def import_s(modules: str) -> dict[str, float]:
    """Wall and processor seconds of a process that only imports."""
    began, before = time.monotonic(), os.times()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": round(time.monotonic() - began, 2), "processor_s": round(processor, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--keep", type=Path, help="folder for the image set, used again if it is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="startup_") as scratch:
        work = Path(scratch)
        data = options.keep or work / "images"
        make_images(data, options.images)
        first = first_step_s(data, work / "first", work / "cache")
        before = os.times()
        second = first_step_s(data, work / "second", work / "cache")
        after = os.times()
        processor = (
            after.children_user + after.children_system - before.children_user - before.children_system
        )
        imports = {
            "torch": import_s("torch"),
            "torch, lightning.fabric, timm": import_s("torch, lightning.fabric, timm"),
            "all that train imports": import_s("timm, sceneparse.cli_verbs, sceneparse.training.loop"),
        }
    print(f"{options.images} images: first start {first:.1f} s (makes the cache), second {second:.1f} s")
    print(f"processor time of the whole second run, with evaluation and report: {processor:.1f} s")
    for name, seconds in imports.items():
        print(f"  importing {name}: {seconds['wall_s']} s wall, {seconds['processor_s']} s processor")
    write_result(
        "startup",
        "Seconds from the start of train to its first step, with the cache that the start before made.",
        {
            "images": options.images,
            "first_start_s": round(first, 2),
            "second_start_s": round(second, 2),
            "second_run_processor_s": round(processor, 2),
            "imports": imports,
            "target_s": TARGET_S,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0 if second < TARGET_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
