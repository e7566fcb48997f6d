"""Read the folder of a run or an evaluation as it is, also half-written: what is missing is None, what is
damaged becomes a problem.

A run may have been killed at any moment, so nothing but the folder itself is required. Numbers that are not
finite become None in JSON values and nan in series.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from sceneparse.errors import InputError
from sceneparse.report.mistakes import needs_reading, read_numbers

RUN_FILES = ("config.yaml", "environment.json", "metrics.csv", "losses.csv", "evaluation.json")
"""A folder that holds none of these is no run folder."""

EVALUATION_FILES = ("numbers.json", "confusion.csv")
"""A folder that holds both, and none of a run, is that of ``evaluate --out``."""

Series = dict[str, NDArray[np.float64]]
"""Columns of a table with one row a step: float64 (N,) each, "step" strictly increasing."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The contents of a run folder.

    Attributes:
        path: the folder, as given.
        config: settings by dotted name, in the file's order.
        environment: versions, hardware, data, command.
        metrics: one row an evaluation.
        losses: one row a logged training step.
        evaluation: the numbers of the best checkpoint, or None before the first evaluation.
        reading: what ``reading.json`` says of the model in the folder; empty where it is missing or older.
        baseline: ``{"name", "mean_iou", "pixel_accuracy"}`` of simpler methods on the same split.
        warnings: what the run warned about.
        samples: (step, picture) of each evaluation, oldest first.
        first_batch: the picture of it, if there is one.
        overlays: predicted pictures.
        evaluated: of an evaluation, what it was of: ``{"model", "network", "data", "command", "palette"}``,
            paths of model and data and the network's name; None of a run.
        problems: files that could not be read, one sentence each.
    """

    path: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    metrics: Series
    losses: Series
    evaluation: dict[str, Any] | None
    reading: dict[str, Any]
    baseline: list[dict[str, Any]]
    warnings: list[str]
    samples: list[tuple[int, Path]]
    first_batch: list[Path]
    overlays: list[Path]
    evaluated: dict[str, Any] | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def steps_planned(self) -> int | None:
        """Training steps the settings ask for."""
        value = self.config.get("steps")
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def steps_done(self) -> int:
        """The last step anything was logged for; 0 before the first."""
        return max((int(s["step"][-1]) for s in (self.metrics, self.losses) if len(s["step"])), default=0)

    @property
    def model_name(self) -> str | None:
        """As in ``--model``, if it is known."""
        name = self.config.get("model.name") if self.evaluated is None else self.evaluated.get("network")
        return None if name is None else str(name)

    @property
    def data_name(self) -> str | None:
        """The data set's name, or the last part of its path."""
        data = self.environment.get("data")
        known = data if isinstance(data, dict) else {}
        path = str(known.get("path") or self.config.get("data.path") or "").rstrip("/\\")
        return str(known.get("name") or re.split(r"[/\\]", path)[-1]) or None


_FOLDERS = "give the folder that train --out or evaluate --out wrote"


def is_run(path: Path) -> bool:
    """Whether a folder holds something that only a run writes."""
    return any((path / name).is_file() for name in RUN_FILES)


def is_evaluation(path: Path) -> bool:
    """Whether a folder is that of an evaluation."""
    return not is_run(path) and all((path / name).is_file() for name in EVALUATION_FILES)


def read_run(path: Path) -> Run:
    """Everything a report shows of the folder ``path``, of a run or of an evaluation.

    Raises:
        InputError: ``path`` is not a folder, or holds nothing that either writes.
    """
    path = Path(path)
    if not path.is_dir():
        found = "a file" if path.exists() else "nothing"
        raise InputError(f"a run folder expected, found {found}", where=path, fix=_FOLDERS)
    evaluation = is_evaluation(path)
    if not evaluation and not is_run(path):
        raise InputError(
            f"not a run folder: it holds none of {', '.join(RUN_FILES)}", where=path, fix=_FOLDERS
        )
    problems: list[str] = []

    def load(name: str, parse: Callable[[str], Any], kind: type, empty: Any) -> Any:
        try:
            value = parse((path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return empty
        except (OSError, ValueError, yaml.YAMLError) as error:
            problems.append(f"{name} could not be read: {str(error).splitlines()[0]}")
            return empty
        if not isinstance(value, kind):
            problems.append(f"{name} holds {type(value).__name__}, expected {kind.__name__}")
            return empty
        return value

    warnings = load("warnings.json", _parse_json, object, [])
    if isinstance(warnings, dict):
        warnings = warnings.get("warnings", [])
    reading = {} if needs_reading(path) else read_numbers(path)
    if evaluation:
        evaluated = reading.get("evaluated")
        evaluated = evaluated if isinstance(evaluated, dict) else {}
        numbers = load("numbers.json", _parse_json, dict, {})
        numbers |= {"confusion_matrix": _matrix(path / "confusion.csv"), "palette": evaluated.get("palette")}
        return Run(
            path=path,
            config={},
            environment={"data": {"path": evaluated.get("data")}},
            metrics=_read_series(path / "metrics.csv"),
            losses=_read_series(path / "losses.csv"),
            evaluation=numbers,
            reading=reading,
            baseline=[],
            warnings=[],
            samples=[],
            first_batch=[],
            overlays=[],
            evaluated=evaluated,
            problems=problems,
        )
    return Run(
        path=path,
        config=flatten(load("config.yaml", yaml.safe_load, dict, {})),
        environment=load("environment.json", _parse_json, dict, {}),
        metrics=_read_series(path / "metrics.csv"),
        losses=_read_series(path / "losses.csv"),
        evaluation=load("evaluation.json", _parse_json, dict, None),
        reading=reading,
        baseline=[b for b in load("baseline.json", _parse_json, list, []) if isinstance(b, dict)],
        warnings=[str(w) for w in warnings] if isinstance(warnings, list) else [],
        samples=_samples(path / "samples"),
        first_batch=[file for file in [path / "samples" / "batch.png"] if file.is_file()],
        overlays=sorted((path / "predictions" / "overlays").glob("*.png")),
        problems=problems,
    )


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _parse_json(text: str) -> Any:
    def finite(number: str) -> float | None:
        value = float(number)
        return value if math.isfinite(value) else None

    return json.loads(text, parse_float=finite, parse_constant=lambda _: None)


def _matrix(path: Path) -> list[list[int]] | None:
    """The counts of ``confusion.csv``."""
    try:
        _, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
        return [[int(cell) for cell in row[1:]] for row in rows]
    except (OSError, ValueError):
        return None


def _read_series(path: Path) -> Series:
    """Without rows that a kill cut short; of a step written twice, after a resume, the last row counts."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    reader = csv.reader(text.replace("\0", "").splitlines())
    header = next(reader, ["step"])
    if "step" not in header:
        header = ["step"]
    rows: dict[int, list[str]] = {}
    position = header.index("step")
    for row in reader:
        if len(row) == len(header) and row[position].isdecimal():
            rows[int(row[position])] = row
    ordered = [rows[step] for step in sorted(rows)]
    return {name: np.array([_number(row[i]) for row in ordered], float) for i, name in enumerate(header)}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _samples(folder: Path) -> list[tuple[int, Path]]:
    found = [(re.fullmatch(r"step_(\d+)", file.stem), file) for file in folder.glob("*.png")]
    return sorted((int(match[1]), file) for match, file in found if match)
