"""Five kills (-9) at random moments, then resume: is the end bit-equal to the run that was never killed?

    python benchmarks/kill_resume.py [--data DATA] [--steps 200] [--kills 5] [--seed 0]

Trains twice through the command line, on the processor with --deterministic: once undisturbed, once killed
and resumed. The kills come when a step drawn at random has been logged and up to half a second later, one in
the first seconds of a process, one while a checkpoint is half written. Every kill must have hit a run before
its end. Then compares every tensor of last.ckpt and best.ckpt, the shipped weights, and the rows of
metrics.csv and losses.csv. Prints a table, writes results/kill_resume_HARDWARE_DATE.json, and fails on any
difference.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from provenance import write_result
from safetensors.torch import load_file

from sceneparse.data.scenes import write_scenes
from sceneparse.training.checkpoint import load_checkpoint

TIMING = ("images_per_second", "data_wait", "seconds")


def train_command(data: Path, run: Path, work: Path, steps: int) -> list[str]:
    """A small network with everything that is random switched on, saved about every half second."""
    settings = {
        "data.cache": work / "cache",
        "data.resize": "none",
        "model.options.upsampling": "bilinear",
        "optimizer.name": "adamw",
        "optimizer.ema": 0.9,
        "optimizer.schedule": "poly",
        "eval_every": max(1, steps // 4),
        "checkpoint_minutes": 0.01,
        "samples": 1,
    }
    return [
        *(sys.executable, "-m", "sceneparse", "train", str(data), "--out", str(run)),
        *("--model", "fcn8s-test_efficientnet", "--size", "96,96", "--batch-size", "4"),
        *("--steps", str(steps), "--device", "cpu", "--workers", "0", "--deterministic"),
        *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
    ]


def start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> float:
    began = time.monotonic()
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(f"the run failed:\n{said}")
    return time.monotonic() - began


def logged_step(run: Path) -> int:
    """The last step in losses.csv, which is written at every save."""
    try:
        return int((run / "losses.csv").read_text(encoding="utf-8").splitlines()[-1].partition(",")[0])
    except (FileNotFoundError, ValueError):
        return 0


def wait_until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    while not happened():
        if process.poll() is not None:
            raise SystemExit(
                f"the run ended before it could be killed: more --steps\n{process.communicate()[1]}"
            )
        time.sleep(0.002)


def kill(process: subprocess.Popen[str], run: Path, moment: str, step: int, delay_s: float) -> dict[str, Any]:
    """Kill -9 at a moment of the kind; what it came upon."""
    checkpoints = run / "checkpoints"
    if moment == "while it starts":
        ends = time.monotonic() + 6 * delay_s
    else:
        resumed_at = logged_step(run)
        wait_until(process, lambda: logged_step(run) > max(step, resumed_at))
        ends = time.monotonic() + delay_s
    if moment == "in a save":
        wait_until(process, lambda: any(checkpoints.glob(".*.tmp")))
    else:
        wait_until(process, lambda: time.monotonic() > ends)
    process.kill()
    process.communicate()
    half = sorted(re.sub(r"\d+", "N", p.name) for p in run.rglob(".*.tmp"))
    last = checkpoints / "last.ckpt"
    saved = load_checkpoint(last).progress.step if last.is_file() else None
    return {"moment": moment, "last_checkpoint_step": saved, "half_written": half}


def tensors(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: tensor for part, v in items for key, tensor in tensors(v, f"{name}/{part}").items()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(file)]


def compare(run: Path, whole: Path) -> dict[str, dict[str, int]]:
    """Of each part: how many values there are, and how many differ."""
    found = {}

    def compared(name: str, ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
        same = [k for k in ours if k in theirs and torch.equal(ours[k], theirs[k])]
        different = len(ours.keys() | theirs.keys()) - len(same)
        found[name] = {"tensors": len(theirs), "different": different}

    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (load_checkpoint(folder / "checkpoints" / name) for folder in (run, whole))
        for part in ("model", "average", "optimizer"):
            compared(f"{name} {part}", tensors(getattr(ours, part)), tensors(getattr(theirs, part)))
    weights = "model/model.safetensors"
    compared(weights, load_file(run / weights), load_file(whole / weights))
    for name in ("metrics.csv", "losses.csv"):
        a, b = rows(run / name), rows(whole / name)
        different = sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
        found[name] = {"rows": len(b), "different": different}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="a data set instead of the built-in scenes")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="kill_resume_"))
    try:
        data = options.data or write_scenes(work / "scenes", train=24, val=6, size_hw=(96, 128))
        run, whole = work / "killed", work / "whole"
        first = finish(start(train_command(data, whole, work, options.steps)))
        print(f"unbroken run: {options.steps} steps, {first:.1f} s with start and report", flush=True)

        steps = sorted(rng.sample(range(options.steps * 3 // 4), options.kills))
        moments = ["at random"] * options.kills
        moments[1:3] = ["while it starts", "in a save"][: options.kills - 1]
        kills = []
        for moment, step in zip(moments, steps, strict=True):
            command = train_command(data, run, work, options.steps)
            if (run / "config.yaml").is_file():
                command = [*command[:7], "--resume"]
            kills.append(kill(start(command), run, moment, step, rng.uniform(0, 0.5)))
            print(f"kill {len(kills)}: {kills[-1]}", flush=True)
        finish(start([*train_command(data, run, work, options.steps)[:7], "--resume"]))
        parts = compare(run, whole)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"\n{'part':24} {'values':>7} {'different':>10}")
    for name, counts in parts.items():
        print(f"{name:24} {counts.get('tensors', counts.get('rows')):>7} {counts['different']:>10}")
    equal = not any(counts["different"] for counts in parts.values())
    print("bit-equal" if equal else "NOT EQUAL")

    write_result(
        "kill_resume",
        "Is a run that was killed (-9) at random moments and resumed the unbroken one, to the bit?",
        {
            "bit_equal": equal,
            "kills": kills,
            "compared": parts,
            "data": "built-in scenes" if options.data is None else options.data.name,
            "steps": options.steps,
            "threads": torch.get_num_threads(),
            "unbroken_s": round(first, 1),
            "whole_s": round(time.monotonic() - began, 1),
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0 if equal else 1


if __name__ == "__main__":
    raise SystemExit(main())
