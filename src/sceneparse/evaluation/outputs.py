"""The files of ``evaluate --out``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.files import write_text


def write_evaluation(folder: Path, numbers: dict[str, Any], matrix: NDArray[np.integer]) -> None:
    """``numbers.json`` and ``confusion.csv`` (rows: truth, columns: prediction, last: no class)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "numbers.json", json.dumps(numbers, indent=2, ensure_ascii=False) + "\n")
    names = [row["name"] for row in numbers["per_class"]]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["truth / prediction", *names, "no class"])
    for name, row in zip(names, matrix.tolist(), strict=True):
        writer.writerow([name, *row])
    write_text(folder / "confusion.csv", table.getvalue())
