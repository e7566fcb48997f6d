"""LabelMe documents: one JSON file with the shapes of one picture [labelme 5, ``shapes_to_label``].

Polygons, rectangles (upright, or turned with four corners), circles (centre and a point on the rim) and
masks (a PNG in base64 with the corners of its box) are painted in the order of the file. The picture inside
the document (``imageData``), its flags and the groups of its shapes have no meaning here.

LabelMe itself also paints the pixels that an outline runs through; here a shape ends at its outline, as in
all other forms.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.image_file import MAX_PIXELS
from sceneparse.data.masks.documents import is_name, picture_size, read_json, shown
from sceneparse.data.masks.polygons import Canvas
from sceneparse.errors import InputError, nearest
from sceneparse.files import read_text

MAX_BYTES = 2**29
"""Largest document read: LabelMe may store the picture itself in it."""
_MAX_LIST_BYTES = 2**22

IGNORE = "__ignore__"
"""LabelMe's label for pixels that are to be ignored."""

_NO_AREA = {"line": "a line", "linestrip": "a line", "point": "a point", "points": "a set of points"}


@dataclass(frozen=True, slots=True)
class LabelmeMask:
    """The mask of one LabelMe document.

    Args:
        path: the JSON file.
        classes: found by name. ``__ignore__`` gives the first ignored number if no class is called so.
    """

    path: Path
    classes: SourceClasses

    @property
    def files(self) -> tuple[Path, ...]:
        """The document."""
        return (self.path,)

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """Numbers of the classes, (H, W) uint8 or uint16. The size is the document's, or ``size_hw`` if it
        has none.

        Raises:
            InputError: names the file and the shape.
        """
        values = read_json(self.path, most=MAX_BYTES)
        size = picture_size(
            values.get("imageHeight"),
            values.get("imageWidth"),
            size_hw,
            path=self.path,
            picture="the picture",
        )
        canvas = Canvas(size, self.classes, self.path)
        for position, shape in enumerate(_shapes(values, self.path), start=1):
            title = f"shape {position}"
            try:
                label = _label(shape)
                title = f"shape {position} ({label})"
                _paint(canvas, shape, self._number(label, title), title)
            except _BadShape as error:
                raise InputError(f"{title} {error.what}", where=self.path, fix=error.fix) from None
        return canvas.finish()

    def _number(self, label: str, title: str) -> int:
        number = self.classes.number_of(label)
        if number is None and label == IGNORE and self.classes.ignored:
            number = self.classes.ignored[0]
        if number is not None:
            return number
        if label == IGNORE:
            raise _BadShape("is to be ignored, and no number is", "in dataset.yaml: `ignore: [255]`")
        raise DataError(
            f"{title} has a label that is no class.{nearest(label, self.classes.names)}",
            kind="values",
            where=self.path,
            fix="add it to the classes, or correct the label in LabelMe",
        )


def labelme_classes(paths: Iterable[Path]) -> SourceClasses:
    """The classes of LabelMe documents, numbered from 0.

    They are the lines of ``labels.txt``, LabelMe's own list, if there is one beside the documents or in the
    folder above that holds all of them. Without one they are the labels of all documents, sorted by name;
    documents that cannot be read are left out here and named when their mask is read. ``__ignore__`` is no
    class: it stands for an ignored number (255 if no class has it).

    Raises:
        InputError: several lists that differ, a label given twice, or no labels at all.
    """
    paths = list(paths)
    lists = {path: _read_list(path) for path in _list_files(paths)}
    if len(set(lists.values())) > 1:
        raise InputError(
            f"these lists of labels differ: {', '.join(map(str, lists))}",
            fix="keep one labels.txt, in the folder above",
        )
    where = next(iter(lists), paths[0].parent if paths else None)
    labels: Sequence[str] = next(iter(lists.values())) if lists else sorted(_labels_in(paths))
    names = [label for label in labels if label != IGNORE]
    if not names:
        raise InputError(
            "no labels", where=where, fix="draw shapes in LabelMe, or write labels.txt beside them"
        )
    try:
        classes = SourceClasses.numbered(names)
    except InputError as error:
        raise InputError(error.what, where=where, fix=error.fix) from None
    if IGNORE not in labels:
        return classes
    return replace(classes, ignored=(max(255, len(names)),))


def _list_files(paths: Sequence[Path]) -> list[Path]:
    """The lists beside the documents, or else the one above them."""
    folders = sorted({Path(os.path.abspath(path.parent)) for path in paths})
    beside = [file for folder in folders if (file := folder / "labels.txt").is_file()]
    if beside or not folders:
        return beside
    try:
        above = folders[0].parent if len(folders) == 1 else Path(os.path.commonpath(folders))
    except ValueError:  # on several drives of Windows
        return []
    return [file] if (file := above / "labels.txt").is_file() else []


def _read_list(path: Path) -> tuple[str, ...]:
    lines = (line.strip() for line in read_text(path, most=_MAX_LIST_BYTES).split("\n"))
    return tuple(line for line in lines if line)


def _labels_in(paths: Iterable[Path]) -> set[str]:
    labels = set()
    for path in paths:
        try:
            shapes = _shapes(read_json(path, most=MAX_BYTES), path)
        except InputError:
            continue
        labels |= {str(shape["label"]).strip() for shape in shapes if is_name(shape.get("label"))}
    return labels


def _shapes(values: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    shapes = values.get("shapes")
    if not isinstance(shapes, list):
        raise InputError(
            f"not a LabelMe document: 'shapes' must be a list; got {shown(shapes)}",
            where=path,
            fix="save it with LabelMe again, or take it out of the folder",
        )
    for position, shape in enumerate(shapes, start=1):
        if not isinstance(shape, dict):
            raise InputError(
                f"shape {position} is {shown(shape)}; expected an object with label and points",
                where=path,
                fix="save it with LabelMe again",
            )
    return shapes


class _BadShape(Exception):
    def __init__(self, what: str, fix: str = "draw it again in LabelMe, or remove it") -> None:
        self.what = what
        self.fix = fix


def _label(shape: dict[str, Any]) -> str:
    label = shape.get("label")
    if not is_name(label):
        raise _BadShape(f"has the label {shown(label)}; expected the name of a class")
    return str(label).strip()


def _paint(canvas: Canvas, shape: dict[str, Any], number: int, title: str) -> None:
    kind = shape.get("shape_type") or "polygon"  # older documents say it for other shapes only
    if not isinstance(kind, str) or kind in _NO_AREA:
        said = _NO_AREA[kind] if isinstance(kind, str) else shown(kind)
        raise _BadShape(f"is {said}, which has no area", "draw it as a polygon in LabelMe, or remove it")
    points = _points(shape.get("points"))
    if kind == "polygon" or (kind in ("rectangle", "oriented_rectangle") and len(points) == 4):
        canvas.polygon(points, number, shape=title)
        return
    if kind not in ("rectangle", "circle", "mask"):
        raise _BadShape(f"is of the type {shown(kind)}; expected a polygon, rectangle, circle or mask")
    if len(points) != 2:
        raise _BadShape(f"is a {kind} with {len(points)} points; expected 2")
    if kind == "circle":
        center = (float(points[0, 0]), float(points[0, 1]))
        canvas.circle(center, float(np.hypot(*(points[1] - points[0]))), number, shape=title)
    elif kind == "rectangle":
        (left, top), (right, bottom) = points
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        canvas.polygon(corners, number, shape=title)
    else:
        _paint_mask(canvas, shape.get("mask"), points, number, title)


def _paint_mask(canvas: Canvas, mask: object, points: NDArray[np.float64], number: int, title: str) -> None:
    """The box's corners are its first and last pixel; LabelMe rounds them where they lie between pixels."""
    if not isinstance(mask, str):
        raise _BadShape(f"is a mask whose picture is {shown(mask)}; expected a PNG in base64")
    if not (np.abs(points) < 2**31).all():
        raise _BadShape(f"is a mask with the corners {shown(points.tolist())}")
    (left, top), (right, bottom) = np.round(points).astype(int).tolist()
    inside = _decode_png(mask)
    whole = (points == np.round(points)).all()
    if whole and inside.shape != (bottom - top + 1, right - left + 1):
        raise _BadShape(
            f"is a mask of {inside.shape[1]} x {inside.shape[0]} pixels in a box of {right - left + 1} x "
            f"{bottom - top + 1}"
        )
    canvas.bitmap(inside, left, top, number, shape=title)


def _decode_png(text: str) -> NDArray[np.bool_]:
    """(h, w): the pixels that are not 0."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _BadShape(f"is a mask of {image.width} x {image.height} pixels")
            pixels = np.asarray(image)
    except (
        binascii.Error,
        ValueError,
        MemoryError,
        OSError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:
        raise _BadShape(f"is a mask whose PNG cannot be read ({error})") from None
    if pixels.ndim != 2:
        raise _BadShape(f"is a mask whose PNG has {pixels.shape[2]} channels; expected one")
    return pixels != 0


def _points(value: object) -> NDArray[np.float64]:
    """(N, 2) x, y."""
    good = isinstance(value, list) and all(isinstance(point, list) and len(point) == 2 for point in value)
    try:
        if good:
            assert isinstance(value, list)
            return np.frombuffer(array("d", chain.from_iterable(value)) or b"", np.float64).reshape(-1, 2)
    except (TypeError, OverflowError):
        pass
    raise _BadShape(f"has the points {shown(value)}; expected pairs of numbers")
