"""What every result file carries: the question, the figures, the command, versions and hardware."""

from __future__ import annotations

import datetime
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sceneparse import environment
from sceneparse.files import write_text

RESULTS = Path(__file__).parent / "results"


def hardware_name() -> str:
    """Short name for file names: ``h200`` or ``x86_64-2cores``."""
    facts = environment.hardware()
    if facts["gpus"]:
        return str(facts["gpus"][0]).lower().replace("nvidia ", "").replace(" ", "-")
    return f"{platform.machine()}-{facts['cores']}cores"


def machine(hardware: dict[str, Any], threads: int) -> str:
    """``2 cores, AVX2``, or the names of the GPUs."""
    if hardware["gpus"]:
        return ", ".join(hardware["gpus"])
    return f"{threads} core{'s' * (threads > 1)}, {hardware['instructions']}"


def cost_said(minutes: float, threads: Sequence[int]) -> str:
    """``63 min, 1 thread, resumed twice``: minutes of all steps, and threads of every start."""
    numbers = sorted(set(threads))
    said = f"{' and '.join(map(str, numbers))} thread{'s' * (numbers != [1])}"
    times = len(threads) - 1
    resumed = {0: "in one go", 1: "resumed once", 2: "resumed twice"}.get(times, f"resumed {times} times")
    return f"{minutes:.0f} min, {said}, {resumed}"


def write_result(what: str, question: str, figures: dict[str, Any], *, command: str | None = None) -> Path:
    """Write ``results/<what>_<hardware>_<date>.json`` and say where."""
    date = datetime.date.today().isoformat()
    path = RESULTS / f"{what}_{hardware_name()}_{date}.json"
    script = f"python benchmarks/{Path(sys.argv[0]).name} {shlex.join(sys.argv[1:])}".strip()
    record = {
        "what": what,
        "question": question,
        "date": date,
        "command": command or script,
        "figures": figures,
        "environment": environment.describe(),
    }
    write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(f"wrote {path.relative_to(RESULTS.parent.parent)}")
    return path


def newest(what: str) -> dict[str, Any] | None:
    """The newest result of a question, on whatever hardware."""
    files = sorted(RESULTS.glob(f"{what}_*.json"), key=lambda path: path.stem.rpartition("_")[2])
    return json.loads(files[-1].read_text(encoding="utf-8")) if files else None
