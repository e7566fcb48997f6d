"""Several ways to compute one thing in one run: times in turns, and the memory of each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sceneparse.kernels import compiled

_MIB = 2**20

Side = TypeVar("Side")
"""What a side is called."""


def best_s(
    sides: dict[Side, Callable[[], object]],
    *,
    rounds: int,
    seconds: float,
    pause: float = 0.0,
    block: int = 1,
) -> dict[Side, float]:
    """Least seconds of each, taken in turns: a busy moment of the machine meets all of them.

    Args:
        sides: by name; each is called once before to warm up.
        rounds: turns at least.
        seconds: further turns until so much time has passed.
        pause: seconds before each turn, and then one more call that is not timed. For sides with threads of
            their own: those of the side before go on spinning for a while, and its own have to wake up.
        block: timed calls in a turn.
    """
    best = dict.fromkeys(sides, float("inf"))
    for call in sides.values():
        call()
    began, done = time.monotonic(), 0
    while done < rounds or time.monotonic() - began < seconds:
        for name, call in sides.items():
            if pause:
                time.sleep(pause)
                call()
            for _ in range(block):
                start = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - start)
        done += 1
    return best


def print_memory(call: Callable[[], object]) -> None:
    """For the process of one side: print the MiB by which its memory rises in ``call`` at most."""
    # Linux: set the high-water mark back to what is in use now.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    kept = call()
    print(json.dumps((_status("VmHWM") - before) / _MIB))
    del kept


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def memory_mib(script: str, *arguments: str) -> float:
    """What ``script`` prints as its memory, started with ``--memory-of`` and the arguments."""
    done = subprocess.run(
        [sys.executable, script, "--memory-of", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.strip().splitlines()[-1])


@contextmanager
def without_compiler() -> Iterator[None]:
    """Compute as on a machine without a compiler."""
    can_take = compiled.can_take
    compiled.can_take = lambda scores: False
    try:
        yield
    finally:
        compiled.can_take = can_take
