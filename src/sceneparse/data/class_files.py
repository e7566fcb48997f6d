"""Files in which a tool or a person lists classes: names, their numbers in the masks, their colours.

* CVAT's ``labelmap.txt``: ``NAME:RED,GREEN,BLUE:PARTS:ACTIONS`` a line; numbers are lines from 0, as in
  CVAT's own index masks; blank lines and lines that begin with ``#`` do not count.
* ``class_dict.csv``, Roboflow's ``_classes.csv`` and other tables: column names, then a class a line, with
  its name, and its number or its colour or both. Without numbers they are lines from 0.
* ``classes.txt``, ``names.txt``, fastai's ``codes.txt``: a name a line, numbers are lines from 0.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sceneparse.data.classes import SourceClasses
from sceneparse.errors import InputError
from sceneparse.files import read_text
from sceneparse.labels import MAX_FILE_NUMBER, Color

CLASS_FILES = (
    "labelmap.txt",
    "class_dict.csv",
    "class_dict_seg.csv",
    "_classes.csv",
    "classes.csv",
    "classes.txt",
    "names.txt",
    "codes.txt",
)
"""Names by which class files are found, in this order: those that say colours or numbers go first."""

MAX_BYTES = 4 * 2**20
"""65,536 classes with long names fit; a larger file is something else."""

_NAMES = ("name", "class", "class_name", "class_names", "label", "label_name")
_NUMBERS = ("number", "pixel value", "idx", "index", "id", "class_number", "class_index", "class_id", "value")
_CHANNELS = (("r", "g", "b"), ("red", "green", "blue"))
_COLORS = ("color", "colour", "rgb", "hex")
_TABLE_FIX = "begin with a line of column names, such as: name,r,g,b or: number,name"

_LABELMAP_HEAD = re.compile(r"#\s*label\s*:")
_THREE_NUMBERS = re.compile(r"[\s\d]+,[\s\d]+,[\s\d]+")


@dataclass(frozen=True, slots=True)
class _Class:
    """A class as a line says it. ``number`` None: its place in the list."""

    line: int
    name: str
    number: int | None
    color: Color | None


def find_class_file(folder: Path) -> Path | None:
    """The first of :data:`CLASS_FILES` that a folder holds."""
    return next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)


def read_class_file(path: Path) -> SourceClasses:
    """Read any class file: ``.csv`` as a table; others as a CVAT label map if they look so, else as names.

    Raises:
        InputError: the file cannot be read, or a line does not fit; names the line.
    """
    if path.suffix.lower() == ".csv":
        return read_class_table(path)
    lines = read_text(path, most=MAX_BYTES).split("\n")
    if any(_LABELMAP_HEAD.match(line) or _labelmap_line(line)[1] for line in lines):
        return read_labelmap(path)
    return read_class_names(path)


def read_class_names(path: Path) -> SourceClasses:
    """``classes.txt``: one name a line; a class's number in the masks is its line, counted from 0.

    Raises:
        InputError: not UTF-8 text, no name, a blank line between names, or a name given twice.
    """
    lines = [line.strip() for line in read_text(path, most=MAX_BYTES).rstrip().split("\n")]
    if "" in lines and len(lines) > 1:
        raise InputError(
            f"line {lines.index('') + 1} is blank, but every line is a class number",
            where=path,
            fix="give that number a name, or remove the line if the numbers in the masks do not count it",
        )
    return _classes(path, [_Class(i, name, None, None) for i, name in enumerate(lines, 1) if name])


def read_labelmap(path: Path) -> SourceClasses:
    """CVAT's ``labelmap.txt``: ``NAME:RED,GREEN,BLUE:PARTS:ACTIONS`` a line; see the top of this module.

    Raises:
        InputError: a line that is not so, or a name or colour given twice.
    """
    found = []
    for line, text in enumerate(read_text(path, most=MAX_BYTES).split("\n"), 1):
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        name, color = _labelmap_line(text)
        if name is None:
            raise InputError(
                f"line {line}: {_short(text)!r} is not NAME:RED,GREEN,BLUE:PARTS:ACTIONS",
                where=path,
                fix="write it as: road:128,64,128::",
            )
        found.append(
            _Class(line, name, None, None if color is None else _color(color.split(","), path, line))
        )
    return _classes(path, found)


def read_class_table(path: Path) -> SourceClasses:
    """A table of classes with column names in its first line: ``class_dict.csv``, ``_classes.csv``, others.

    Columns may stand in any order, be written in any case, and be separated by commas, semicolons or tabs.
    Known are ``name`` (or ``class``, ``class_name``, ``label``), ``number`` (or ``Pixel Value``, ``idx``,
    ``index``, ``id``, ``class_index``, ``class_id``, ``value``), ``r``, ``g``, ``b`` (or ``red``, ``green``,
    ``blue``) and ``color`` (``#80ff00`` or three numbers). Further columns do not matter. Where numbers are
    given two classes may have one colour, which then only shows them.

    Raises:
        InputError: no column for names, none for numbers and none for colours; a line that does not fit; a
            name, number, or colour given twice.
    """
    text = read_text(path, most=MAX_BYTES)
    heading = text.lstrip("\n").partition("\n")[0]
    rows = csv.reader(text.split("\n"), delimiter=next((d for d in ",;\t" if d in heading), ","))
    columns: dict[str, int] | None = None
    found: list[_Class] = []
    read: Callable[[Sequence[str], int], _Class] | None = None
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if columns is None or read is None:
                cells = cells[: max(i for i, cell in enumerate(cells, 1) if cell)]
                columns = {cell.lower(): i for i, cell in reversed(list(enumerate(cells)))}
                read = _row_reader(columns, cells, path)
                continue
            while len(cells) > len(columns) and not cells[-1]:
                cells.pop()
            if len(cells) != len(columns):
                raise InputError(
                    f"line {rows.line_num} has {len(cells)} columns, the first line has {len(columns)}",
                    where=path,
                    fix="correct that line; a name with a comma in it must be in quotes",
                )
            found.append(read(cells, rows.line_num))
    except csv.Error as error:
        raise InputError(
            f"line {rows.line_num} cannot be read as a table: {error}", where=path, fix="correct that line"
        ) from None
    if columns is None:
        raise InputError("the class table is empty", where=path, fix=_TABLE_FIX)
    return _classes(path, found)


def _row_reader(
    columns: Mapping[str, int], heading: Sequence[str], path: Path
) -> Callable[[Sequence[str], int], _Class]:
    """What makes a class of a row, by the names of the columns."""
    name = next((columns[key] for key in _NAMES if key in columns), None)
    number = next((columns[key] for key in _NUMBERS if key in columns), None)
    channels = next(([columns[k] for k in keys] for keys in _CHANNELS if set(keys) <= set(columns)), None)
    color = next((columns[key] for key in _COLORS if key in columns), None)
    if heading[0].lower() == "filename":
        raise InputError(
            "a table of files and their classes: Roboflow's export for classification, which has no masks",
            where=path,
            fix="export the data again as Semantic Segmentation Masks",
        )
    if name is None or (number is None and channels is None and color is None):
        raise InputError(
            f"the class table has the columns {_short(', '.join(heading))}; expected one for the name, and "
            "one for the number or some for the colour",
            where=path,
            fix=_TABLE_FIX,
        )
    if len(columns) < len(heading):
        raise InputError("two columns have one name", where=path, fix="name the columns differently")

    def read(cells: Sequence[str], line: int) -> _Class:
        found = None
        if channels is not None:
            found = _color([cells[i] for i in channels], path, line)
        elif color is not None:
            found = _written_color(cells[color], path, line)
        value = None if number is None else _whole(cells[number], MAX_FILE_NUMBER, "number", path, line)
        return _Class(line, cells[name], value, found)

    return read


def _classes(path: Path, found: Sequence[_Class]) -> SourceClasses:
    """The classes of a file: each with its own name and number, and its own colour where it has no number."""
    if not found:
        raise InputError("the class list is empty", where=path, fix="write one class name a line")
    if len(found) > MAX_FILE_NUMBER + 1:
        raise InputError(
            f"{len(found)} classes; at most {MAX_FILE_NUMBER + 1} can be told apart",
            where=path,
            fix="name the right file",
        )
    seen: dict[tuple[str, object], _Class] = {}
    for entry in found:
        if not entry.name:
            raise InputError(f"line {entry.line} has no class name", where=path, fix="write it")
        marks: dict[str, object] = {"class name": entry.name}
        if entry.number is not None:
            marks["class number"] = entry.number
        elif entry.color is not None:
            marks["colour"] = entry.color
        for what, value in marks.items():
            other = seen.setdefault((what, value), entry)
            if other is not entry:
                raise InputError(
                    f"{what} given twice: {value} (lines {other.line} and {entry.line})",
                    where=path,
                    fix=f"give every class its own {what.removeprefix('class ')}",
                )
    return SourceClasses(
        names=tuple(entry.name for entry in found),
        numbers=tuple(i if entry.number is None else entry.number for i, entry in enumerate(found)),
        colors=tuple(entry.color for entry in found),
    )


def _labelmap_line(text: str) -> tuple[str | None, str | None]:
    """Name and colour as written; no name where the line does not fit, no colour where it leaves it empty."""
    parts = text.split(":")
    for i, part in enumerate(parts[1:], 1):
        if _THREE_NUMBERS.fullmatch(part):
            return ":".join(parts[:i]).strip(), part
    empty = len(parts) > 1 and not parts[1].strip()
    return (parts[0].strip() if empty else None), None


def _written_color(text: str, path: Path, line: int) -> Color:
    """A colour in one cell: ``#80ff00``, ``128,255,0``, ``(128, 255, 0)`` or ``128 255 0``."""
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        value = int(text.removeprefix("#"), 16)
        return value >> 16, value >> 8 & 255, value & 255
    return _color(re.split(r"[\s,;]+", text.strip("()[] ")), path, line)


def _color(texts: Sequence[str], path: Path, line: int) -> Color:
    if len(texts) != 3:
        raise InputError(
            f"line {line}: the colour has {len(texts)} parts; expected red, green and blue",
            where=path,
            fix="write three numbers 0..255",
        )
    red, green, blue = (_whole(text, 255, "colour", path, line) for text in texts)
    return red, green, blue


def _whole(text: str, most: int, what: str, path: Path, line: int) -> int:
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,5}", text) is None or int(text) > most:
        raise InputError(
            f"line {line}: {what} {_short(text)!r} is no whole number 0..{most}", where=path, fix="correct it"
        )
    return int(text)


def _short(text: str) -> str:
    """Text of a file that is perhaps something else altogether, fit for a message."""
    return text if len(text) <= 200 else text[:200] + "..."
