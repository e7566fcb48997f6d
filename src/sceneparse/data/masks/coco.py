"""COCO documents: one JSON file with the shapes of many pictures.

Shapes are polygons (several of one annotation are taken together), or run lengths, plain or compressed
[cocodataset.org, "Data format"]. Annotations are painted in the order of the file, those of crowds too.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.classes import SourceClasses
from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.data.faults import DataError
from sceneparse.data.masks.coco_document import EXPORT_SHAPES, CocoCategory, CocoContent, CocoDocument
from sceneparse.data.masks.documents import picture_size, shown
from sceneparse.data.masks.polygons import Canvas
from sceneparse.data.masks.runs import run_lengths
from sceneparse.data.masks.source import MaskSource
from sceneparse.data.pairs import files_by_stem, stem_of
from sceneparse.errors import InputError


@dataclass(frozen=True, slots=True)
class CocoMask:
    """The mask of one picture of a COCO document.

    Args:
        document: handle, shared by all its pictures.
        image_id: of the picture.
        classes: numbers are category ids.
    """

    document: CocoDocument
    image_id: int | str
    classes: SourceClasses

    @property
    def path(self) -> Path:
        """The document."""
        return self.document.path

    @property
    def files(self) -> tuple[Path, ...]:
        """The document."""
        return (self.document.path,)

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """Category ids, (H, W) uint8 or uint16; the size is the document's, or ``size_hw`` if it has none.

        Raises:
            InputError: names document, picture and annotation.
        """
        content = self.document.content()
        picture = content.pictures.get(self.image_id)
        if picture is None:  # the file was changed after it was listed
            raise InputError(
                f"no image has the id {shown(self.image_id)}", where=self.path, fix="start again"
            )
        name = picture.file_name
        size = picture_size(picture.height, picture.width, size_hw, path=self.path, picture=name)
        canvas = Canvas(size, self.classes, self.path, picture=name)
        numbers = {*self.classes.numbers, *self.classes.ignored}
        for shape in picture.shapes:
            title = f"annotation {shown(shape.id)}"
            if not isinstance(shape.category, int) or shape.category not in numbers:
                raise self._unknown_category(name, title, shape.category, content)
            try:
                _paint(canvas, shape.segmentation, shape.category, size, title)
            except _BadShape as error:
                raise InputError(f"{name}: {title} {error.what}", where=self.path, fix=error.fix) from None
        return canvas.finish()

    def _unknown_category(self, name: str, title: str, category: object, content: CocoContent) -> InputError:
        listed = content.categories.get(category) if isinstance(category, int) else None
        if listed is not None:
            return DataError(
                f"{name}: {title} is of category {category} ({listed.name}), which is not in the class list",
                kind="values",
                where=self.path,
                fix=f"add number {category} ({listed.name}) to the classes, or {category} to ignore",
            )
        return DataError(
            f"{name}: {title} is of category {shown(category)}, which the document does not list",
            kind="values",
            where=self.path,
            fix="add it to the document's categories, or remove the annotation",
        )


def coco_classes(documents: Sequence[CocoDocument]) -> SourceClasses:
    """The categories of the documents of a data set, numbered by their ids, in the order of the first file.

    Roboflow's exports begin with a category that no annotation has and that is the supercategory of all
    others: it is left out.

    Raises:
        InputError: an id is given twice or stands for two names, a name is given twice, an id is not a whole
            number 0..65535, or there are no categories.
    """
    names: dict[int, str] = {}
    where: Path | None = None
    for document in documents:
        categories = _without_parent(document.content().categories, documents)
        for number, category in categories.items():
            if names.setdefault(number, category.name) != category.name:
                raise InputError(
                    f"category {number} is {names[number]!r} in {where} and {category.name!r} here",
                    where=document.path,
                    fix="export both documents with the same categories",
                )
        where = where or document.path
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise InputError(
            f"category name given twice: {', '.join(twice)}",
            where=where,
            fix="give every category its own name",
        )
    if not names:
        raise InputError("no categories", where=where, fix="export the document with its categories")
    return SourceClasses(names=tuple(names.values()), numbers=tuple(names), colors=(None,) * len(names))


def _without_parent(
    categories: dict[int, CocoCategory], documents: Sequence[CocoDocument]
) -> dict[int, CocoCategory]:
    def is_parent(number: int, category: CocoCategory) -> bool:
        others = [other for n, other in categories.items() if n != number]
        used = any(number in c and c[number].used for c in (d.content().categories for d in documents))
        return bool(others) and not used and all(other.parent == category.name for other in others)

    return {n: category for n, category in categories.items() if not is_parent(n, category)}


def coco_items(
    document: CocoDocument, images_folder: Path, classes: SourceClasses
) -> Iterator[tuple[str, str, MaskSource]]:
    """(stem, file name, mask) of every picture of a document, in its order.

    The stem is that of the picture on disk: the one whose path ends in the document's file name (which may
    begin with folders, as in ``images/train/x.jpg``, and may have backslashes), or else the only one with
    that base name. It is the file name's own where no picture fits. Suffixes do not count.

    Args:
        document: the document.
        images_folder: where its pictures are; folders below are searched too.
        classes: of the masks.

    Raises:
        InputError: the document or the folder cannot be read, or two of its pictures are the same.
    """
    pictures = document.content().pictures
    stem_on_disk = _Stems(images_folder, [picture.file_name for picture in pictures.values()])
    seen: dict[str, str] = {}
    for image_id, picture in pictures.items():
        stem = stem_on_disk.find(picture.file_name)
        if stem in seen:
            raise InputError(
                f"the images {seen[stem]} and {picture.file_name} of the document are the same picture",
                where=document.path,
                fix="remove one of them, or put their annotations together",
            )
        seen[stem] = picture.file_name
        yield stem, picture.file_name, CocoMask(document, image_id, classes)


class _Stems:
    """Stems of the pictures in a folder, found by the file names that a document has for them."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = stem_of(Path(os.path.abspath(folder)).as_posix())
        self._stems = files_by_stem(folder, []).keys()
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for stem in self._stems:
            self._by_base[stem.rpartition("/")[2]].append(stem)
        self._claims = Counter(_stem(name).rpartition("/")[2] for name in names)

    def find(self, name: str) -> str:
        stem = _stem(name)
        if stem in self._stems:
            return stem
        base = stem.rpartition("/")[2]
        near = self._by_base.get(base, [])
        ending = [found for found in near if f"{self._folder}/{found}".endswith(f"/{stem}")]
        if len(ending) == 1:
            return ending[0]
        return near[0] if len(near) == 1 and self._claims[base] == 1 else stem


def _stem(name: str) -> str:
    """Of a document's file name: with ``/``, without ``./`` before it and a picture's suffix behind."""
    path = name.replace("\\", "/").lstrip("/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    stem, dot, suffix = path.rpartition(".")
    return stem_of(stem if dot and dot + suffix.lower() in IMAGE_SUFFIXES else path)


class _BadShape(Exception):
    def __init__(self, what: str, fix: str = "draw the shape again, or remove the annotation") -> None:
        self.what = what
        self.fix = fix


def _paint(canvas: Canvas, segmentation: object, number: int, size_hw: tuple[int, int], title: str) -> None:
    if not segmentation:
        raise _BadShape("has no shape: boxes, not shapes?", f"{EXPORT_SHAPES}, or remove the annotation")
    if isinstance(segmentation, list):
        for position, ring in enumerate(segmentation):
            if not isinstance(ring, array) or len(ring) % 2:
                raise _BadShape(f"has the polygon {shown(ring)}; expected numbers x, y, x, y, ...")
            points = np.frombuffer(ring, np.float64).reshape(-1, 2)
            canvas.polygon(points, number, shape=f"{title}, polygon {position}")
        return
    if not isinstance(segmentation, dict):
        raise _BadShape(f"has the shape {shown(segmentation)}; expected polygons or run lengths")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != list(size_hw):
        raise _BadShape(
            f"has run lengths of size {shown(size)}; the picture has {list(size_hw)} (height, width)",
            "export the document again, for this size of the pictures",
        )
    if isinstance(counts, array):
        canvas.runs(np.frombuffer(counts, np.int64), number, shape=title)
    elif isinstance(counts, str):
        lengths = run_lengths(counts)
        if lengths is None:
            raise _BadShape("has run lengths that are damaged or cut off", "export the document again")
        canvas.runs(lengths, number, shape=title)
    else:
        raise _BadShape(f"has the run lengths {shown(counts)}; expected whole numbers or a text")
