"""Data sets with one file damaged, and what reading them comes to.

A case is a number: it decides form, file and damage, and can be repeated. Cases run in a process of their own
with a limit on time and memory; what comes back is one of :data:`GOOD` or :data:`BAD`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import re
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from all_forms import ALL_FORMS, Truth
from file_damage import MANY_PIXELS, spoil

from sceneparse.data.check import Checked, check
from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.errors import InputError

GOOD = ("read", "named")
BAD = ("incomplete", "traceback", "hang", "memory", "died")
"""Read: no fault that stops. Named: a fault that stops, or an InputError that says where and what to do. The
others must not be."""

LIMIT_S = 20.0
LIMIT_BYTES = 3 * 2**30
"""Of address space in all: what a sound picture of very many pixels can take."""
LIMIT_GROWN_MIB = 512.0
"""What any other case may take."""


@dataclass(frozen=True)
class Result:
    """What a case came to.

    ``grown_mib``: by how much the process was larger at most than before it. ``told``: the first of what was
    said. ``itself``: whether the damaged file, or another one of its picture, was named.
    """

    case: int
    form: str
    file: str
    kind: str
    outcome: str
    seconds: float = 0.0
    grown_mib: float = 0.0
    told: str = ""
    itself: bool = False


# ---------------------------------------------------------------------- a case


def run_case(case: int, folder: Path) -> Result:
    """Damage one of the data sets in ``folder``, check it, and undo the damage."""
    rng = random.Random(case)
    root = rng.choice(sorted(path for path in folder.iterdir() if path.is_dir()))
    path, kind, undo = spoil(root, rng)
    about = {"case": case, "form": root.name, "file": path.relative_to(root).as_posix(), "kind": kind}
    before = _memory("VmRSS")
    _reset_peak()
    began = time.monotonic()
    told, itself = "", False
    try:
        dataset = open_dataset(root, keep_faults=True)
        checked = _checked(dataset)
        outcome = "named" if checked.stops else "read"
        if checked.stops:
            told = str(checked.stops[0].error())
            itself = any(path in fault.files for fault in checked.stops) or path.stem in told
    except InputError as error:
        told = str(error)
        outcome = "named" if error.fix and error.where is not None else "incomplete"
        itself = path.stem in told
    except Exception:
        outcome, told = "traceback", traceback.format_exc()
    finally:
        seconds = time.monotonic() - began
        grown = (_memory("VmHWM") - before) / 2**10
        undo()
    if kind != MANY_PIXELS and grown > LIMIT_GROWN_MIB:
        outcome = "memory"
    return Result(
        **about, outcome=outcome, seconds=seconds, grown_mib=grown, told=told[-4000:], itself=itself
    )


def _checked(dataset: Dataset) -> Checked:
    """Once the data set is open, nothing about a file is an error: all is listed."""
    try:
        return check(dataset, workers=2)
    except InputError as error:
        raise RuntimeError("check ends at one file") from error


def run_command(case: int, folder: Path, out: Path, *, named: bool, limit_s: float = 3 * LIMIT_S) -> str:
    """The same case, which was ``named`` or not, through the command line: what went wrong, or nothing.

    Even cases are checked, odd ones converted to ``out``, which must be there whole or not at all.
    """
    rng = random.Random(case)
    root = rng.choice(sorted(path for path in folder.iterdir() if path.is_dir()))
    _, _, undo = spoil(root, rng)
    line = ["check", str(root)] if case % 2 == 0 else ["convert", str(root), str(out)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sceneparse", *line], capture_output=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{line[0]} takes more than {limit_s:.0f} s"
    finally:
        undo()
    told = done.stderr.decode("utf-8", "replace")
    if done.returncode != (2 if named else 0) or "Traceback" in told:
        return f"{line[0]} ends with {done.returncode}: {told[-3000:]}"
    if line[0] == "convert" and out.exists() != (done.returncode == 0):
        return f"convert ends with {done.returncode}, and its folder is {'' if out.exists() else 'not '}there"
    if out.exists():
        open_dataset(out)
        shutil.rmtree(out)
    left = [path for path in out.parent.iterdir() if path.name.startswith(".")]
    return f"convert leaves {left}" if left else ""


def _memory(what: str) -> int:
    """KiB that this process takes (VmRSS) or took at most (VmHWM); 0 where the system does not say."""
    try:
        found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


# ---------------------------------------------------------------------- many cases


def run_cases(
    cases: Iterable[int], folder: Path, truths: dict[str, Truth], *, limit_s: float = LIMIT_S
) -> Iterator[Result]:
    """Each case in a worker process, which is ended when it takes too long or dies, and started anew.

    Args:
        cases: their numbers.
        folder: scratch; a worker writes all forms of all data sets there.
        truths: the data sets by name.
        limit_s: seconds that a case may take.
    """
    worker: _Worker | None = None
    started = 0
    for case in cases:
        if worker is None:
            started += 1
            worker = _Worker(folder / f"worker {started}", truths)
        result = worker.run(case, limit_s)
        if result.outcome in ("hang", "died"):
            worker.end()
            worker = None
        yield result
    if worker is not None:
        worker.end()


def write_forms(folder: Path, truths: dict[str, Truth]) -> None:
    """Every data set in every form."""
    for name, truth in truths.items():
        for form, write in ALL_FORMS.items():
            write(folder / f"{name}, {form}", truth)


class _Worker:
    def __init__(self, folder: Path, truths: dict[str, Truth]) -> None:
        self._folder = folder
        write_forms(folder, truths)
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, folder), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.recv() == "ready"

    def run(self, case: int, limit_s: float) -> Result:
        self._pipe.send(case)
        began = time.monotonic()
        try:
            if self._pipe.poll(limit_s):
                return self._pipe.recv()
            outcome = "hang"
        except (EOFError, ConnectionError):
            outcome = "died"
        return Result(case, "", "", "", outcome, seconds=time.monotonic() - began)

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _serve(pipe: Connection, folder: Path) -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    pipe.send("ready")
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        pipe.send(run_case(case, folder))
