"""The one exception for wrong input: the command line prints it and exits with code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Wrong input from the user, said in three parts.

    Args:
        what: what is wrong, with what was expected and what was found.
        where: the file, folder or setting it concerns.
        fix: what to do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, fix: str | None = None) -> None:
        lines = [what]
        if where is not None:
            lines.append(f"  where: {where}")
        if fix is not None:
            lines.append(f"  fix:   {fix}")
        super().__init__("\n".join(lines))
        self.what = what
        self.where = where
        self.fix = fix


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the known name closest to ``name``, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""
