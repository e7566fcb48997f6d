"""Which picture and which class Label Studio's "Brush labels to PNG" files are of.

Their names say task, annotation, user, control tag and label, but not the picture [label-studio-sdk,
converter/brush.py]: ``task-7-annotation-12-by-3-tag-car-0.png``. Tag and label may both hold dashes, and a
slash in them is written as one. The JSON or JSON-MIN export of the same project says the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.data.masks.documents import is_name, read_bytes, shown
from sceneparse.data.pairs import stem_of
from sceneparse.errors import InputError, nearest

MAX_BYTES = 2**29
"""Size of the largest export that is read."""

_FILE = re.compile(r"task-(\d{1,18})-annotation-(\d{1,18})-by-[^-]*-(.+)-\d+", re.DOTALL)
_UPLOADED = re.compile(r"[0-9a-f]{8}-")  # put before the name of every file that is uploaded
_NO_LABEL = "no_label"


@dataclass
class Tasks:
    """What exports say.

    Attributes:
        document: the export, named in errors; the last one if there are several.
        pictures: task to what it says of its picture: paths and addresses.
        labels: (task, annotation) to the labels of each region, by tag and labels as file names have them.
            The annotation is None where the export does not say it.
    """

    document: Path
    pictures: dict[int, tuple[str, ...]] = field(default_factory=dict)
    labels: dict[tuple[int, int | None], dict[str, tuple[str, ...]]] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Every label that a region has, sorted."""
        found = {name for regions in self.labels.values() for labels in regions.values() for name in labels}
        return tuple(sorted(found))


def is_label_studio(stem: str) -> bool:
    """Whether a file is called as Label Studio calls its PNG files; ``stem`` may have folders before it."""
    return _FILE.fullmatch(stem.rpartition("/")[2]) is not None


def find_tasks(folder: Path) -> Tasks:
    """The exports in a folder, or in one of the two folders above it; the nearest folder that has any.

    Raises:
        InputError: none there, one cannot be read, or two give one task different pictures.
    """
    tasks: Tasks | None = None
    above = Path(folder).absolute()
    for place in (above, *list(above.parents)[:2]):
        for path in sorted(place.glob("*.json")):
            if not path.is_file():
                continue
            tasks = tasks or Tasks(path)
            _add_document(tasks, path)
        if tasks is not None and tasks.pictures:
            return tasks
        tasks = None
    raise InputError(
        "files of Label Studio's PNG export, whose names do not say which picture they belong to",
        where=folder,
        fix="export the project in Label Studio once more, as JSON or JSON-MIN, and put that file beside the "
        "PNG files",
    )


def task_of(stem: str) -> tuple[int, int]:
    """Task and annotation that a file name says."""
    match = _FILE.fullmatch(stem.rpartition("/")[2])
    assert match is not None, stem
    return int(match[1]), int(match[2])


def label_of(stem: str, tasks: Tasks, *, path: Path) -> str:
    """The label of the region that a file shows.

    Raises:
        InputError: the export does not have the region, or it has no label, or several.
    """
    match = _FILE.fullmatch(stem.rpartition("/")[2])
    assert match is not None, stem
    task, annotation = task_of(stem)
    regions = tasks.labels.get((task, annotation), tasks.labels.get((task, None), {}))
    labels = regions.get(match[3])
    if labels is None and match[3].endswith(f"-{_NO_LABEL}"):
        labels = ()
    if labels is None:
        raise InputError(
            f"{tasks.document.name} has no region {match[3]!r} in annotation {annotation} of task {task}."
            f"{nearest(match[3], regions)}",
            where=path,
            fix="export PNG and JSON again, at the same time",
        )
    if len(labels) != 1:
        what = f"the labels {' and '.join(labels)}" if labels else "no label"
        raise InputError(
            f"a region with {what}; each pixel must have one class",
            where=path,
            fix=f"give the region one label in Label Studio (task {task}) and export again",
        )
    return labels[0]


class Pictures:
    """Finds the images that tasks name.

    Args:
        stems: of the images.
    """

    def __init__(self, stems: Mapping[str, object]) -> None:
        self._stems = stems
        self._of_name: dict[str, list[str]] = {}
        for stem in stems:
            self._of_name.setdefault(stem.rpartition("/")[2], []).append(stem)

    def stem_of_task(self, task: int, tasks: Tasks) -> str | None:
        """Stem of a task's image, None where it is not among them.

        The longest end of the path that is a stem counts; or else the name alone if one image has it. Both
        are tried without the eight digits, too, that Label Studio puts before the names of uploaded files.

        Raises:
            InputError: the task names several of the images.
        """
        found = {
            stem
            for text in tasks.pictures.get(task, ())
            for path in _path_of(text)
            for stem in self._find(path)
        }
        if len(found) > 1:
            raise InputError(
                f"task {task} could be about each of the images {' and '.join(sorted(found)[:8])}",
                where=tasks.document,
                fix="give the images different names",
            )
        return next(iter(found), None)

    def _find(self, path: str) -> list[str]:
        folders, _, name = path.rpartition("/")
        names = [name, *([name[9:]] if _UPLOADED.match(name) else [])]
        parts = folders.split("/") if folders else []
        for name in names:
            for i in range(len(parts) + 1):
                stem = "/".join((*parts[i:], name))
                if stem in self._stems:
                    return [stem]
        for name in names:
            if name in self._of_name:
                return self._of_name[name]
        return []


def _path_of(text: str) -> Iterator[str]:
    """Path without suffix, NFC, of a picture's address; none where it is no picture's."""
    path = text.replace("\\", "/")
    if "://" in path or path.startswith("/data/"):
        try:
            address = urlsplit(path)
            path = parse_qs(address.query).get("d", [unquote(address.path)])[0].replace("\\", "/")
        except ValueError:  # what only looks like an address
            pass
    stem, dot, suffix = path.rpartition(".")
    if dot and dot + suffix.lower() in IMAGE_SUFFIXES:
        yield stem_of(stem)


def _add_document(tasks: Tasks, path: Path) -> None:
    """Add what a file says if it is an export; other JSON files do not matter."""
    data = read_bytes(path, most=MAX_BYTES)
    if not data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return
    try:
        listed = json.loads(data, object_hook=_without_runs)
    except RecursionError:
        raise InputError("JSON nested too deeply", where=path, fix="export it again") from None
    except MemoryError:
        raise InputError("not enough memory for the document", where=path, fix="export parts of it") from None
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", where=path, fix="export it again") from None
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(entry.get("data", {}), dict):
            continue
        task = _number(entry.get("id"))
        if task is None:
            continue
        full = "data" in entry
        said = {**(entry["data"] if full else entry), "file_upload": entry.get("file_upload")}
        pictures = tuple(v for v in said.values() if isinstance(v, str) and any(_path_of(v)))
        if not pictures:
            continue
        if tasks.pictures.setdefault(task, pictures) != pictures:
            raise InputError(
                f"task {task} is about {shown(pictures[0])} here and about "
                f"{shown(tasks.pictures[task][0])} in another export: two projects",
                where=path,
                fix="keep the export of the project that the PNG files are from",
            )
        tasks.document = path
        for annotation, tag, result in _results(entry) if full else _min_results(entry):
            labels = tuple(name for name in _labels(result) if is_name(name))
            written = "-".join((tag, *(labels or (_NO_LABEL,)))).replace("/", "-").replace("\\", "-")
            regions = tasks.labels.setdefault((task, annotation), {})
            if regions.setdefault(stem_of(written), labels) != labels:
                raise InputError(
                    f"task {task} has two labels that files both call {written!r}: "
                    f"{' and '.join(labels)}, {' and '.join(regions[stem_of(written)])}",
                    where=path,
                    fix="rename one of them in Label Studio and export again",
                )


def _results(entry: dict[str, Any]) -> Iterator[tuple[int | None, str, dict[str, Any]]]:
    """(annotation, tag, region) of a task in the JSON export."""
    for annotation in _list(entry.get("annotations")) + _list(entry.get("completions")):
        if not isinstance(annotation, dict):
            continue
        for result in _list(annotation.get("result")):
            if not isinstance(result, dict) or not isinstance(result.get("from_name"), str):
                continue
            value = result.get("value")
            yield _number(annotation.get("id")), result["from_name"], value if isinstance(value, dict) else {}


def _min_results(entry: dict[str, Any]) -> Iterator[tuple[int | None, str, dict[str, Any]]]:
    """(annotation, tag, region) of a task in the JSON-MIN export: each tag has its regions at the top."""
    for tag, regions in entry.items():
        for result in _list(regions):
            if isinstance(result, dict):
                yield _number(entry.get("annotation_id")), tag, result


def _labels(result: dict[str, Any]) -> list[Any]:
    return _list(result.get("brushlabels")) or _list(result.get("labels"))


def _without_runs(values: dict[str, Any]) -> dict[str, Any]:
    """The run lengths are nearly all of an export, and the PNG files have them."""
    values.pop("rle", None)
    return values


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
