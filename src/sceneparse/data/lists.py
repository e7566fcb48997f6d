"""List files: one name, or one image and its mask, a line."""

from __future__ import annotations

import os
from pathlib import Path

from sceneparse.errors import InputError
from sceneparse.files import read_text

MAX_LIST_BYTES = 256 * 2**20


def read_list(path: Path, *, columns: int) -> list[tuple[str, ...]]:
    """The rows of a list file. Blank lines and lines that begin with ``#`` do not count.

    Args:
        path: the file.
        columns: 1: a name a line, which may hold spaces (what follows a tab is left out, as in the class
            lists of PASCAL VOC). 2: an image and a mask, with a tab, a comma or spaces between.

    Raises:
        InputError: not a readable text, nothing in it, or a line with another number of columns.
    """
    rows: list[tuple[str, ...]] = []
    for number, line in enumerate(read_text(path, most=MAX_LIST_BYTES).split("\n"), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if columns == 1:
            rows.append((line.split("\t")[0].strip(),))
            continue
        separator = next((s for s in ("\t", ",", ";") if s in line), None)
        row = tuple(part.strip() for part in line.split(separator))
        if len(row) != 2 or not all(row):
            raise InputError(
                f"line {number} must hold an image and a mask; got {line[:200]!r}",
                where=path,
                fix="separate the two by a tab or a comma if the names hold spaces",
            )
        rows.append(row)
    if not rows:
        raise InputError(
            "the list is empty", where=path, fix="write a name, or an image and its mask, a line"
        )
    if any("\0" in part for row in rows for part in row):
        raise InputError("the list holds bytes that are no text", where=path, fix="name a text file")
    return rows


def path_in(root: Path, text: str) -> Path:
    """A path of a list: below ``root``, also where it begins with ``/`` as in lists of PASCAL VOC."""
    if os.sep == "/":  # written on Windows, read here
        text = text.replace("\\", "/")
    path = Path(text)
    if path.is_absolute() and not path.exists():
        return root / text.lstrip("/")
    return root / path
