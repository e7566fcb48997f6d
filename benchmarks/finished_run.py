"""What finished run folders hold, for the scripts that compare runs."""

from __future__ import annotations

import csv
import json
import shlex
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provenance import cost_said, machine

from sceneparse.config import RunConfig, read_config
from sceneparse.recipes import recipe
from sceneparse.settings import differences, to_plain

OF_THE_MACHINE = {
    "data.path",
    "data.cache",
    "device",
    "workers",
    "seed",
    "samples",
    "checkpoint_minutes",
    "eval_batch_size",
}
"""Settings in which runs of one recipe may differ: where a run was made, its seed, and what it shows."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run folder whose last step is done.

    Args:
        folder: of the run.
        config: its settings.
        facts: ``environment.json``.
        rows: of ``metrics.csv``, one an evaluation.
    """

    folder: Path
    config: RunConfig
    facts: dict[str, Any]
    rows: tuple[dict[str, float], ...]

    @property
    def training_seconds(self) -> float:
        """Of all steps, without evaluations."""
        return self.rows[-1]["seconds"]

    @property
    def images_per_second(self) -> float:
        """Of training, over the whole run."""
        return self.rows[-1]["images"] / self.training_seconds

    @property
    def starts(self) -> list[dict[str, Any]]:
        """Facts of the first start and of every time it was resumed."""
        return [self.facts, *self.facts.get("resumed", [])]

    @property
    def threads(self) -> list[int]:
        """Of every start."""
        return [start["threads"] for start in self.starts]

    @property
    def commits(self) -> list[str]:
        """Of the source, each once, in the order of the starts."""
        return list(dict.fromkeys(_commit(start.get("git")) for start in self.starts))

    @property
    def machine(self) -> str:
        """What it was trained on, in words; with the most threads it had."""
        return machine(self.facts["hardware"], max(self.threads))

    @property
    def cost(self) -> str:
        """What its steps took, in words."""
        return cost_said(self.training_seconds / 60, self.threads)


def _commit(git: dict[str, Any] | None) -> str:
    if git is None:
        return "not known"
    return f"{git['commit']}, changed" if git["changed"] else git["commit"]


def finished_run(folder: Path) -> FinishedRun | None:
    """None where the run has steps left, or was never begun."""
    if not (folder / "config.yaml").is_file() or not (folder / "metrics.csv").is_file():
        return None
    config = read_config(folder / "config.yaml")
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = tuple({name: float(value) for name, value in row.items()} for row in csv.DictReader(file))
    if not rows or rows[-1]["step"] != config.steps:
        return None
    facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    return FinishedRun(folder=folder, config=config, facts=facts, rows=rows)


def changed_settings(config: RunConfig) -> dict[str, Any]:
    """Dotted names and plain values in which a run differs from its recipe, but for what follows the machine.

    Raises:
        InputError: the recipe does not exist any more.
    """
    base = recipe(config.recipe)
    changed = {name: new for name, (_, new) in differences(base, config).items()}
    # What a recipe leaves open is filled in by the run.
    filled = {
        "precision": base.precision == "auto",
        "eval_every": base.eval_every == 0,
        "steps": base.epochs is not None,
        "epochs": True,
    }
    left_out = OF_THE_MACHINE | {name for name, was_open in filled.items() if was_open}
    return {name: to_plain(value) for name, value in changed.items() if name not in left_out}


def training_command(config: RunConfig) -> str:
    """How to repeat a run but for its seed, without the paths of the machine it was made on."""
    words = ["sceneparse", "train", "DATA", "--out", "RUN", "--recipe", config.recipe]
    for name, value in changed_settings(config).items():
        said = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        words += ["--set", f"{name}={said}"]
    return shlex.join(words)


def spread(values: Iterable[float]) -> dict[str, float | int | None]:
    """Mean, sample standard deviation (None of a single value) and number."""
    found: Sequence[float] = list(values)
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return {"mean": statistics.fmean(found), "sd": deviation, "n": len(found)}
