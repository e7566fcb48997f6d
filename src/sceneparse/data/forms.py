"""Where masks are, to one :class:`MaskSource` for each stem: the forms that masks are kept in.

``index``: pictures of class numbers. ``color``: pictures of class colours. ``per-class``: a picture for each
class or region. ``coco``: one document of polygons and run lengths for a folder of pictures. ``labelme``: one
document for each picture. ``yolo``: one text of polygons for each picture.

Importing the readers of all forms takes as long as decoding ten pictures: each is imported when it is
needed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sceneparse.data.classes import SourceClasses
from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.data.faults import Fault
from sceneparse.data.masks.source import IndexMask, MaskSource
from sceneparse.data.pairs import files_by_stem
from sceneparse.errors import InputError

if TYPE_CHECKING:
    from sceneparse.data.masks.color import ColorTable

_SUFFIXES = {
    "labelme": frozenset({".json"}),
    "yolo": frozenset({".txt"}),
}


def detect_form(masks: Path, stems: Collection[str], *, ending: str = "") -> str:
    """The form that masks are kept in, by the names of the files; colours and numbers are told apart later.

    Args:
        masks: a folder, or a COCO document.
        stems: of the images.
        ending: what names of masks have before the suffix.
    """
    if masks.suffix.lower() == ".json":
        return "coco"
    found: dict[str, int] = {}
    matching = 0
    for folder, _, names in os.walk(masks):
        below = os.path.relpath(folder, masks).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        for name in names:
            stem, suffix = os.path.splitext(name)
            found[suffix.lower()] = found.get(suffix.lower(), 0) + 1
            matching += suffix.lower() in IMAGE_SUFFIXES and (prefix + stem).removesuffix(ending) in stems
    if any(suffix in IMAGE_SUFFIXES for suffix in found):
        return "index" if matching else "per-class"
    for form, suffixes in _SUFFIXES.items():
        if any(suffix in found for suffix in suffixes):
            return form
    return "index"


class Masks:
    """Makes the masks of one data set, whose classes they share.

    Args:
        classes: as the masks have them.
    """

    def __init__(self, classes: SourceClasses) -> None:
        self.classes = classes

    @cached_property
    def _colors(self) -> ColorTable:
        from sceneparse.data.masks.color import ColorTable

        return ColorTable.of(self.classes)

    def one(self, path: Path, form: str) -> MaskSource:
        """The mask in a file of its own.

        Raises:
            InputError: a form whose masks have no file of their own.
        """
        if form == "index":
            return IndexMask(path)
        if form == "color":
            from sceneparse.data.masks.color import ColorMask

            return ColorMask(path, self._colors)
        if form == "labelme":
            from sceneparse.data.masks.labelme import LabelmeMask

            return LabelmeMask(path, self.classes)
        if form == "yolo":
            from sceneparse.data.masks.yolo import YoloMask

            return YoloMask(path, self.classes)
        raise InputError(
            f"masks of the form {form} cannot be listed one by one", where=path, fix="name their folder"
        )

    def all(
        self,
        masks: Path,
        form: str,
        images: Mapping[str, str],
        faults: list[Fault],
        *,
        images_folder: Path,
        split: str,
        ending: str = "",
    ) -> dict[str, MaskSource]:
        """The masks of a folder or a COCO document by stem.

        Args:
            masks: the folder or document.
            form: one of the forms above.
            images: stem to path.
            faults: files of one stem, and those of no image or class, are added to it.
            images_folder: which is not searched for masks if it lies below, and COCO file names begin in it.
            split: named in faults.
            ending: what names of masks have before the suffix.

        Raises:
            InputError: nothing there, or names that do not say picture and class.
        """
        if form == "coco":
            from sceneparse.data.masks.coco import CocoDocument, coco_items

            return {
                stem: mask for stem, _, mask in coco_items(CocoDocument(masks), images_folder, self.classes)
            }
        inside = images_folder != masks and images_folder.is_relative_to(masks)
        skipped = images_folder if inside else None
        if form == "per-class":
            from sceneparse.data.masks.per_class import PerClassMask, group_class_files

            groups = group_class_files(
                masks, self.classes.names, images, faults, split=split, skipped=skipped
            )
            numbers = dict(zip(self.classes.names, self.classes.numbers, strict=True))
            return {
                stem: PerClassMask(tuple((numbers[name], path) for name, path in files), self.classes)
                for stem, files in groups.items()
            }
        found = files_by_stem(
            masks,
            faults,
            split=split,
            skipped=skipped,
            suffixes=_SUFFIXES.get(form, IMAGE_SUFFIXES),
            ending=ending,
        )
        return {stem: self.one(Path(path), form) for stem, path in found.items()}
