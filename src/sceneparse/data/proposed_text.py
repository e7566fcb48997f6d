"""Lines of a proposed YAML file: values, and comments that stand in one column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

_PLAIN = re.compile(r"[^\W\d_][\w ./+-]*", re.UNICODE)
_COLUMN = 60
"""Where comments begin at most; after a longer line they follow it."""


@dataclass(frozen=True)
class Line:
    """A line: YAML, a comment (without its ``#``), or both."""

    code: str = ""
    comment: str = ""


def yaml_text(lines: Sequence[Line]) -> str:
    """The lines as text; comments of neighbouring lines stand below each other."""
    column = max((len(line.code) for line in lines if line.code and line.comment), default=0) + 2
    column = min(column, _COLUMN)
    rows = []
    for line in lines:
        comment = f"# {line.comment}" if line.comment else ""
        rows.append(f"{line.code:<{column}}{comment}" if line.code and comment else line.code + comment)
        if line.code and comment and len(line.code) >= column:
            rows[-1] = f"{line.code}  {comment}"
    return "\n".join(rows).rstrip() + "\n"


def quoted(text: str) -> str:
    """A text as YAML reads it back: plain where that is safe, else in double quotes."""
    if _PLAIN.fullmatch(text) and text == text.strip():
        try:
            if yaml.safe_load(text) == text:
                return text
        except yaml.YAMLError:
            pass
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31)).rstrip("\n")
