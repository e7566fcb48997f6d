"""Handles to COCO documents: read once in a process, checked, and indexed by picture."""

from __future__ import annotations

import os
import threading
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sceneparse.data.masks.documents import is_name, read_json, shown
from sceneparse.errors import InputError
from sceneparse.labels import MAX_FILE_NUMBER

MAX_BYTES = 2**31
"""Largest document read; the largest known, of LVIS, has 1.1 GB."""

EXPORT_SHAPES = "export it as instance segmentation (polygons or RLE)"


class CocoShape(NamedTuple):
    """An annotation; its values are checked when it is painted."""

    id: object
    category: object
    segmentation: object


@dataclass(slots=True)
class CocoPicture:
    """An image of the document with its annotations; height and width are checked when it is painted."""

    file_name: str
    height: object
    width: object
    shapes: list[CocoShape]


@dataclass(slots=True)
class CocoCategory:
    """A category. ``parent``: its supercategory; ``used``: an annotation has it."""

    name: str
    parent: object
    used: bool = False


@dataclass(slots=True)
class CocoContent:
    """What a document holds, by the ids of its images and categories."""

    pictures: dict[int | str, CocoPicture]
    categories: dict[int, CocoCategory]


class CocoDocument:
    """A COCO file, read when it is first asked for, once in a process however many handles there are.

    A handle can be pickled and shared by threads; it takes its path along and not what was read.

    Args:
        path: the JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: CocoContent | None = None

    def content(self) -> CocoContent:
        """What the file holds, checked but for the shapes themselves.

        Raises:
            InputError: cannot be read, or not a COCO document with shapes.
        """
        if self._read is None:
            self._read = _content(self.path)
        return self._read

    def __reduce__(self) -> tuple[type[CocoDocument], tuple[Path]]:
        return CocoDocument, (self.path,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CocoDocument) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)


_lock = threading.Lock()
_contents: dict[tuple[str, int, int], CocoContent] = {}
_MOST_KEPT = 8


def _content(path: Path) -> CocoContent:
    """Read a document unless the process has done so and the file is as it was."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read the file: {reason}", where=path, fix="check path and access") from None
    key = (os.path.abspath(path), status.st_mtime_ns, status.st_size)
    with _lock:
        if key not in _contents:
            content = _read(path)
            while len(_contents) >= _MOST_KEPT:
                del _contents[next(iter(_contents))]
            _contents[key] = content
        return _contents[key]


def _read(path: Path) -> CocoContent:
    values = read_json(path, most=MAX_BYTES, object_hook=_packed)
    lists = {}
    for key in ("images", "categories", "annotations"):
        entries = values.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise InputError(
                f"not a COCO document: {key!r} must be a list of objects; got {shown(entries)}",
                where=path,
                fix=EXPORT_SHAPES,
            )
        lists[key] = entries
    content = CocoContent(_pictures(lists["images"], path), _categories(lists["categories"], path))
    _add_annotations(lists["annotations"], content, path)
    return content


def _packed(entry: dict[str, Any]) -> dict[str, Any]:
    """Long lists of numbers as arrays, a quarter of the memory, as soon as they are read. What is no such
    list stays as it is, to be named when its picture is read."""
    try:
        if type(entry.get("segmentation")) is list:
            entry["segmentation"] = [array("d", ring) for ring in entry["segmentation"]]
        elif type(entry.get("counts")) is list:
            entry["counts"] = array("q", entry["counts"])
    except (TypeError, OverflowError):
        pass
    return entry


def _pictures(entries: list[dict[str, Any]], path: Path) -> dict[int | str, CocoPicture]:
    pictures: dict[int | str, CocoPicture] = {}
    for position, entry in enumerate(entries):
        image_id, name = _id(entry.get("id"), f"image {position}", path), entry.get("file_name")
        if image_id in pictures:
            raise InputError(
                f"two images have the id {shown(image_id)}", where=path, fix="give every image its own id"
            )
        if not is_name(name):
            raise InputError(
                f"image {shown(image_id)} has the file name {shown(name)}",
                where=path,
                fix="write its file name",
            )
        pictures[image_id] = CocoPicture(str(name), entry.get("height"), entry.get("width"), [])
    if not pictures:
        raise InputError("the document has no images", where=path, fix="export it again")
    return pictures


def _categories(entries: list[dict[str, Any]], path: Path) -> dict[int, CocoCategory]:
    categories: dict[int, CocoCategory] = {}
    for position, entry in enumerate(entries):
        number, name = entry.get("id"), entry.get("name")
        whole = isinstance(number, int) and not isinstance(number, bool)
        if not whole or not 0 <= number <= MAX_FILE_NUMBER:  # type: ignore[operator]
            raise InputError(
                f"category {position} has the id {shown(number)}; expected 0..{MAX_FILE_NUMBER}",
                where=path,
                fix="number the categories from 0 or 1",
            )
        assert isinstance(number, int)
        if number in categories:
            raise InputError(
                f"two categories have the id {number}", where=path, fix="give every category its own id"
            )
        if not is_name(name):
            raise InputError(
                f"category {number} has the name {shown(name)}", where=path, fix="name it with a text"
            )
        categories[number] = CocoCategory(str(name).strip(), entry.get("supercategory"))
    return categories


def _add_annotations(entries: list[dict[str, Any]], content: CocoContent, path: Path) -> None:
    shapes = 0
    for position, entry in enumerate(entries):
        image_id, number = entry.get("image_id"), entry.get("category_id")
        title = f"annotation {shown(entry.get('id', position))}"
        picture = content.pictures.get(_id(image_id, f"the image of {title}", path))
        if picture is None:
            raise InputError(
                f"{title} belongs to image {shown(image_id)}, which the document does not list",
                where=path,
                fix="add the image to the document, or remove the annotation",
            )
        category = content.categories.get(number) if isinstance(number, int) else None
        if category is not None:
            category.used = True
        segmentation = entry.get("segmentation")
        shapes += bool(segmentation)
        picture.shapes.append(CocoShape(entry.get("id", position), number, segmentation))
    if entries and not shapes:
        if "segments_info" in entries[0]:
            raise InputError(
                "a panoptic COCO document: its shapes are in PNG files beside it",
                where=path,
                fix=f"{EXPORT_SHAPES}, or use the masks as pictures",
            )
        raise InputError("its annotations are boxes, not shapes", where=path, fix=EXPORT_SHAPES)


def _id(value: object, what: str, path: Path) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise InputError(f"{what} has the id {shown(value)}", where=path, fix="write a number or a text")
    return value
