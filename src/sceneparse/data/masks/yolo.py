"""YOLO: one text of polygons for each picture, and the ``data.yaml`` that says where they are.

A line is ``class x1 y1 x2 y2 ...``; x and y are shares of the picture's width and height
[docs.ultralytics.com, "Instance segmentation datasets"]. Shares with six decimals are wrong by at most half a
millionth, and corners are rounded to fifths of a pixel: corners of pixels come back exactly on pictures up to
200,000 pixels wide (with four decimals, up to 2,000).

Polygons are painted in the order of the lines. (Ultralytics paints the smaller over the larger.)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset_file import SplitFiles, class_name, class_number, parse_yaml
from sceneparse.data.faults import DataError
from sceneparse.data.lists import path_in, read_list
from sceneparse.data.masks.documents import read_bytes, shown
from sceneparse.data.masks.polygons import Canvas
from sceneparse.errors import InputError

MAX_BYTES = 2**28
"""Largest text of one picture that is read."""
IGNORED = 255
"""What a pixel of a mask of Ultralytics' semantic task holds that is to be ignored."""


@dataclass(frozen=True, slots=True)
class YoloMask:
    """The mask of one text of polygons; an empty one says that nothing is on the picture.

    Args:
        path: the text file.
        classes: numbers are those at the beginning of the lines.
    """

    path: Path
    classes: SourceClasses

    @property
    def files(self) -> tuple[Path, ...]:
        """The text."""
        return (self.path,)

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """Class numbers, (H, W) = ``size_hw``, uint8 or uint16.

        Blank lines and what follows ``#`` do not count.

        Raises:
            InputError: names the file and the line.
        """
        canvas = Canvas(size_hw, self.classes, self.path)
        scale = np.array([size_hw[1], size_hw[0]], np.float64)
        numbers = {*self.classes.numbers, *self.classes.ignored}
        for title, columns in self._lines():
            number, points = self._parsed(title, columns)
            if number not in numbers:
                raise DataError(
                    f"{title} is of class {number}; the classes are {shown(sorted(numbers))}",
                    kind="values",
                    where=self.path,
                    fix="correct the line, or add the class to data.yaml",
                )
            if np.abs(points).max() > 2 or np.isnan(points).any():
                raise self._error(
                    f"{title} has coordinates far outside 0..1",
                    "divide x by the picture's width and y by its height",
                )
            canvas.polygon(points * scale, number, shape=title)
        return canvas.finish()

    def _lines(self) -> Iterator[tuple[str, list[str]]]:
        try:
            text = read_bytes(self.path, most=MAX_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise self._error("not a text file in UTF-8", "export it again") from None
        for position, line in enumerate(text.splitlines(), start=1):
            columns = line.partition("#")[0].split()
            if columns:
                yield f"line {position}", columns

    def _parsed(self, title: str, columns: list[str]) -> tuple[int, NDArray[np.float64]]:
        """Class and (N, 2) shares of the picture's width and height."""
        try:
            values = np.frombuffer(array("d", map(float, columns)), np.float64)
        except ValueError:
            raise self._error(
                f"{title} holds something that is no number: {shown(' '.join(columns))}"
            ) from None
        if len(values) == 5:
            raise self._error(
                f"{title} has 5 columns: a box, not a polygon",
                "use a segmentation export (class x1 y1 x2 y2 ...)",
            )
        if len(values) < 7 or len(values) % 2 == 0:
            raise self._error(
                f"{title} has {len(values)} columns; expected a class and at least 3 pairs x y",
                "use a segmentation export (class x1 y1 x2 y2 ...)",
            )
        if not (values[0] >= 0 and values[0].is_integer()):
            raise self._error(f"{title} begins with {shown(columns[0])}; expected the number of a class")
        return int(values[0]), values[1:].reshape(-1, 2)

    def _error(self, what: str, fix: str = "correct the line, or export the file again") -> InputError:
        return InputError(what, where=self.path, fix=fix)


@dataclass(frozen=True, kw_only=True)
class YoloSet:
    """What a YOLO ``data.yaml`` says.

    Args:
        form: "yolo" for texts of polygons; "index" for pictures of class numbers (it has ``masks_dir``).
        classes: numbers are those of the texts or pictures. With ``masks_dir`` 255 is ignored.
        splits: "train", "val" and "test", as far as they are folders.
        listed: the same as far as they are list files: image and text (or mask) of each line.
    """

    form: str
    classes: SourceClasses
    splits: dict[str, SplitFiles] = field(default_factory=dict)
    listed: dict[str, tuple[tuple[Path, Path], ...]] = field(default_factory=dict)


_SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def yolo_yaml(path: Path) -> YoloSet:
    """Read a ``data.yaml`` as Ultralytics and Roboflow write it.

    ``path`` is the root of the other paths: the file's own folder if it is left out or not there (as in a
    file that was made on another machine). The texts of a folder of images are in the folder whose path has
    "labels", or what ``masks_dir`` says, instead of its last "images"; beside the images if it has none.
    Keys that concern training, downloading or key points have no meaning here.

    Raises:
        InputError: not YAML, no classes or splits, values of the wrong kind, folders that are not there.
    """
    values = parse_yaml(path)
    masks_dir = values.get("masks_dir")
    if masks_dir is not None and not _is_path(masks_dir):
        raise InputError(
            f"masks_dir must be a folder; got {shown(masks_dir)}", where=path, fix="masks_dir: masks"
        )
    classes = _classes(values, path)
    if masks_dir is not None:
        classes = _mapped(classes, values.get("label_mapping"), path)
    splits: dict[str, SplitFiles] = {}
    listed: dict[str, tuple[tuple[Path, Path], ...]] = {}
    root = _root(values.get("path"), path)
    for split, keys in _SPLIT_KEYS.items():
        value = next((values[key] for key in keys if values.get(key) is not None), None)
        if value is None:
            continue
        entries = value if isinstance(value, list) else [value]
        if not entries or not all(_is_path(entry) for entry in entries):
            raise InputError(
                f"{split} must be a folder, a list file or several of them; got {shown(value)}",
                where=path,
                fix=f"{split}: images/{split}",
            )
        found = [_found(root, entry, split, path) for entry in entries]
        if all(place.is_dir() for place in found):
            pairs = [_folders(place, masks_dir or "labels") for place in found]
            splits[split] = SplitFiles(images=tuple(i for i, _ in pairs), masks=tuple(m for _, m in pairs))
        elif any(place.is_dir() for place in found):
            raise InputError(
                f"{split} has folders and list files", where=path, fix="name folders only, or lists only"
            )
        else:
            suffix = ".png" if masks_dir else ".txt"
            listed[split] = tuple(
                (image, _partner(image, masks_dir or "labels").with_suffix(suffix))
                for place in found
                for image in _listed_images(place, root)
            )
    if not splits and not listed:
        raise InputError("neither train nor val is given", where=path, fix="train: images/train")
    return YoloSet(form="index" if masks_dir else "yolo", classes=classes, splits=splits, listed=listed)


def _is_path(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value


def _root(value: object, path: Path) -> Path:
    if value is None:
        return path.parent
    if not _is_path(value):
        raise InputError(f"path must be a folder; got {shown(value)}", where=path, fix="path: .")
    assert isinstance(value, str)
    root = path_in(path.parent, value)
    return root if root.is_dir() else path.parent


def _found(root: Path, entry: str, split: str, path: Path) -> Path:
    """Roboflow writes ``../train/images`` for folders beside the file; Ultralytics tries both, as here."""
    tried = [path_in(root, entry)]
    if entry.startswith(("../", "..\\")):
        tried.append(path_in(root, entry[3:]))
    for place in tried:
        if place.is_dir() or (place.is_file() and place.suffix.lower() == ".txt"):
            return place
    raise InputError(
        f"{split} is {entry!r}, which is no folder and no list (.txt): tried {' and '.join(map(str, tried))}",
        where=path,
        fix="correct the path, or leave the split out",
    )


def _folders(images: Path, partner: str) -> tuple[Path, Path]:
    """Folders of images and of what belongs to them."""
    if "images" not in images.parts and (images / "images").is_dir():
        images = images / "images"
    return images, _partner(images, partner)


def _partner(path: Path, name: str) -> Path:
    parts = list(path.parts)
    if "images" not in parts:
        return path
    parts[len(parts) - 1 - parts[::-1].index("images")] = name
    return Path(*parts)


def _listed_images(file: Path, root: Path) -> Iterator[Path]:
    for (line,) in read_list(file, columns=1):
        yield path_in(file.parent, line[2:]) if line.startswith(("./", ".\\")) else path_in(root, line)


def _classes(values: Mapping[str, Any], path: Path) -> SourceClasses:
    names, count = values.get("names"), values.get("nc")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise InputError(
            f"names must list the classes; got {shown(names)}", where=path, fix="names: [sky, road]"
        )
    if count is not None and count != len(names):
        raise InputError(
            f"nc is {shown(count)}, and names has {len(names)} classes", where=path, fix=f"nc: {len(names)}"
        )
    numbers = tuple(class_number(number, path, "the number of a class") for number in names)
    try:
        return SourceClasses(
            names=tuple(class_name(name, path) for name in names.values()),
            numbers=numbers,
            colors=(None,) * len(numbers),
        )
    except InputError as error:
        raise InputError(error.what, where=error.where or path, fix=error.fix) from None


def _mapped(classes: SourceClasses, mapping: object, path: Path) -> SourceClasses:
    """Classes of masks as pictures: 255 is ignored; ``label_mapping`` says which number of the pictures
    counts as which class, and which are ignored."""
    if mapping is None:
        return replace(classes, ignored=() if IGNORED in classes.numbers else (IGNORED,))
    if not isinstance(mapping, dict):
        raise InputError(
            f"label_mapping must map numbers of the masks to classes; got {shown(mapping)}",
            where=path,
            fix="label_mapping: {7: 0, 8: 1}",
        )
    inside: dict[int, int] = {}
    ignored = []
    for number, target in mapping.items():
        if isinstance(number, int) and number < 0:  # Cityscapes' -1: no pixel can hold it
            continue
        number = class_number(number, path, "a number in label_mapping")
        if isinstance(target, int) and (target == IGNORED or target < 0):
            ignored.append(number)
        elif target not in classes.numbers:
            raise InputError(
                f"label_mapping makes {number} of the masks {shown(target)}, which is no class",
                where=path,
                fix=f"write the number of a class, or {IGNORED} to ignore it",
            )
        elif target in inside:
            raise InputError(
                f"label_mapping gives class {target} several numbers",
                where=path,
                fix="write a dataset.yaml with `merge` instead",
            )
        else:
            inside[target] = number
    kept = [i for i, number in enumerate(classes.numbers) if number in inside]
    return SourceClasses(
        names=tuple(classes.names[i] for i in kept),
        numbers=tuple(inside[classes.numbers[i]] for i in kept),
        colors=tuple(classes.colors[i] for i in kept),
        ignored=tuple(dict.fromkeys((*ignored, IGNORED))),
    )
