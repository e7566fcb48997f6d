"""``dataset.yaml``: a data set said in words.

Every key may be left out. Without ``train``, ``val`` and ``test`` the folder's own layout is recognised, and
what the file says of classes goes before what is found there::

    path: .                       # root of the other paths; the folder of this file if left out
    train: {images: photos/train, masks: labels/train}      # or several folders each: [a/photos, b/photos]
    val: {list: val.txt}          # lines of two columns, image and mask; or, with images and masks, of names
    form: color                   # index, color, per-class, coco, labelme, yolo; if left out, the files tell
    classes: [sky, road, car, van, void]    # numbers 0, 1, 2 ...; or {1: sky, 2: road}; or
                                  # [{number: 1, name: sky, color: [70, 130, 180]}]; or a file: labelmap.txt
    ignore: [255, void]           # without effect on loss and score: numbers in the masks, or classes
    merge: {car: [car, van]}      # one class made of several
    uncovered: ignore             # or a class: pixels that no polygon and no class file covers
    class_weights: {car: 2}       # factors on the weights that the loss setting gives; 1 if left out
    # label_set: ade20k           # instead of classes: a list that ships with the package
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from sceneparse.data.class_files import read_class_file
from sceneparse.data.classes import SourceClasses
from sceneparse.data.lists import path_in, read_list
from sceneparse.data.masks.documents import is_name
from sceneparse.errors import InputError, nearest
from sceneparse.files import read_text
from sceneparse.labels import LabelSet, given_twice, label_set

_Made = TypeVar("_Made")

EXAMPLE = "classes: [sky, road, car]"
FORMS = ("index", "color", "per-class", "coco", "labelme", "yolo")
SPLITS = ("train", "val", "test")
_KEYS = (*("path", *SPLITS, "form", "classes", "ignore", "merge", "uncovered", "class_weights", "label_set"),)
_SPLIT_KEYS = ("images", "masks", "list")
_CLASS_KEYS = ("number", "name", "color")


@dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """Where the images and masks of a split are.

    Args:
        images: folders; several are taken together.
        masks: a folder or COCO document for each of ``images``.
        names: file with the name of an image a line; None takes all files.
        pairs: images and masks that are listed one by one, instead of folders.
        image_ending: what names of images have before the suffix; it is no part of the stem.
        mask_ending: the same for masks.
    """

    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    names: Path | None = None
    pairs: tuple[tuple[Path, Path], ...] = ()
    image_ending: str = ""
    mask_ending: str = ""


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """What a person says of a data set; whatever is left out is found out from the files.

    Args:
        path: the ``dataset.yaml``; None without one.
        root: folder of the data.
        splits: where each split's files are; empty where the layout is to be recognised.
        form: one of :data:`FORMS`.
        classes: as the masks have them.
        ignore: numbers or names without effect on loss and score.
        merge: new class to those it takes in.
        uncovered: "ignore" or the name of a class.
        class_weights: name of a class after merges to its factor.
    """

    root: Path
    path: Path | None = None
    splits: dict[str, SplitFiles] = field(default_factory=dict)
    form: str | None = None
    classes: SourceClasses | None = None
    ignore: tuple[int | str, ...] = ()
    merge: dict[str, tuple[str, ...]] = field(default_factory=dict)
    uncovered: str | None = None
    class_weights: dict[str, float] = field(default_factory=dict)

    def labels(self, found: Callable[[], SourceClasses]) -> tuple[SourceClasses, LabelSet]:
        """The classes as the masks have them, and those that are trained and scored.

        Args:
            found: gives the classes that the data comes with, where the file says none.

        Raises:
            InputError: a name in ``ignore``, ``merge`` or ``uncovered`` is no class.
        """

        def both() -> tuple[SourceClasses, LabelSet]:
            source = (self.classes or found()).ignoring(self.ignore).with_uncovered(self.uncovered)
            return source, source.label_set(self.merge)

        return located(self.path or self.root, both)


def read_dataset_file(path: Path) -> DatasetFile:
    """Read a ``dataset.yaml``; see the top of this module for its keys.

    Raises:
        InputError: not YAML, an unknown key (with the nearest known one), a key twice, a value of the wrong
            kind. Names of classes in ``ignore``, ``merge`` and ``uncovered`` are looked up later, when the
            classes are known.
    """
    values = parse_yaml(path)
    check_keys(values, _KEYS, path, "key")
    root = path.parent
    if values.get("path") is not None:
        root = _path(values["path"], root, path, "path")
    form = values.get("form")
    if form is not None and form not in FORMS:
        raise InputError(
            f"unknown form of masks {form!r}.{nearest(str(form), FORMS)}",
            where=path,
            fix=f"one of: {', '.join(FORMS)}",
        )
    uncovered = values.get("uncovered")
    if uncovered is not None and not isinstance(uncovered, str):
        raise InputError(
            f"uncovered must be ignore or the name of a class; got {uncovered!r}",
            where=path,
            fix="uncovered: ignore",
        )
    return DatasetFile(
        root=root,
        path=path,
        splits={
            split: _split(values[split], root, path, split)
            for split in SPLITS
            if values.get(split) is not None
        },
        form=form,
        classes=located(path, lambda: _classes(values, root, path)),
        ignore=_ignored(values.get("ignore"), path),
        merge=_merges(values.get("merge"), path),
        uncovered=uncovered,
        class_weights=_weights(values.get("class_weights"), path),
    )


def _split(where: object, root: Path, path: Path, split: str) -> SplitFiles:
    example = f"{split}: {{images: FOLDER, masks: FOLDER}}"
    if not isinstance(where, dict):
        raise InputError(
            f"{split} must say where its images and its masks are; got {where!r}", where=path, fix=example
        )
    check_keys(where, _SPLIT_KEYS, path, f"key in {split}")
    images, masks = (_paths(where.get(key), root, path, f"{split}.{key}") for key in ("images", "masks"))
    listed = None if where.get("list") is None else _path(where["list"], root, path, f"{split}.list")
    if bool(images) != bool(masks) or not (images or listed):
        missing = "masks" if images else "images"
        raise InputError(
            f"{split} must say where its images and its masks are; {missing} are not given",
            where=path,
            fix=f"{example}; or {split}: {{list: FILE}} with an image and its mask in every line",
        )
    if len(images) != len(masks):
        raise InputError(
            f"{split} has {len(images)} folders of images and {len(masks)} of masks",
            where=path,
            fix="give a folder of masks for each folder of images, in the same order",
        )
    if listed is not None and not images:
        rows = read_list(listed, columns=2)
        return SplitFiles(pairs=tuple((path_in(root, image), path_in(root, mask)) for image, mask in rows))
    return SplitFiles(images=images, masks=masks, names=listed)


def _classes(values: dict[str, Any], root: Path, path: Path) -> SourceClasses | None:
    classes, shipped = values.get("classes"), values.get("label_set")
    if shipped is not None:
        if classes is not None:
            raise InputError("label_set brings its own classes", where=path, fix="keep label_set or classes")
        return SourceClasses.of(label_set(str(shipped)))
    if classes is None:
        return None
    if isinstance(classes, str):
        return read_class_file(_path(classes, root, path, "classes"))
    if isinstance(classes, dict):
        classes = [{"number": number, "name": name} for number, name in classes.items()]
    elif isinstance(classes, list) and not any(isinstance(c, dict) for c in classes):
        classes = [{"number": number, "name": name} for number, name in enumerate(classes)]
    if not isinstance(classes, list) or not classes:
        raise InputError(f"classes must be a list of names; got {classes!r}", where=path, fix=EXAMPLE)
    names, numbers, colors = [], [], []
    for position, entry in enumerate(classes):
        if not isinstance(entry, dict):
            raise InputError(f"class {entry!r} has no number, while others have", where=path, fix=EXAMPLE)
        check_keys(entry, _CLASS_KEYS, path, "key in classes")
        names.append(class_name(entry.get("name"), path))
        # Where colours say what is what, a class needs no number.
        number = entry.get("number", position if entry.get("color") is not None else None)
        numbers.append(class_number(number, path, f"number of class {names[-1]!r}"))
        colors.append(_color(entry["color"], path) if entry.get("color") is not None else None)
    return SourceClasses(names=tuple(names), numbers=tuple(numbers), colors=tuple(colors))


def class_name(value: object, path: Path) -> str:
    """A class's name as YAML gives it.

    Raises:
        InputError: it is not text.
    """
    if not is_name(value):
        raise InputError(
            f"class name {value!r} is not text",
            where=path,
            fix="put it in quotes (YAML reads yes, no, on, off, 1 otherwise)",
        )
    return str(value).strip()


def class_number(value: object, path: Path, what: str) -> int:
    """A class's number as YAML gives it; ``what`` names it in the error.

    Raises:
        InputError: not a whole number from 0 to 65535.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65535:
        raise InputError(
            f"{what} must be a whole number from 0 to 65535; got {value!r}", where=path, fix="for example 255"
        )
    return value


def _color(value: object, path: Path) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(
            f"color must be three numbers; got {value!r}", where=path, fix="color: [70, 130, 180]"
        )
    red, green, blue = (class_number(v, path, "color") for v in value)
    if max(red, green, blue) > 255:
        raise InputError(f"color {value} has a number above 255", where=path, fix="color: [70, 130, 180]")
    return red, green, blue


def _ignored(value: object, path: Path) -> tuple[int | str, ...]:
    values = [] if value is None else value if isinstance(value, list) else [value]
    for entry in values:
        if not isinstance(entry, str):
            class_number(entry, path, "ignore")
    return tuple(values)


def _merges(value: object, path: Path) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    example = "merge: {car: [car, van, truck]}"
    if not isinstance(value, dict):
        raise InputError(f"merge must name new classes; got {value!r}", where=path, fix=example)
    merges = {}
    for new, old in value.items():
        if not isinstance(old, list) or not old:
            raise InputError(
                f"merge {new!r} must list the classes it takes in; got {old!r}", where=path, fix=example
            )
        merges[class_name(new, path)] = tuple(class_name(name, path) for name in old)
    return merges


def _weights(value: object, path: Path) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(
            f"class_weights must name classes; got {value!r}", where=path, fix="class_weights: {car: 2}"
        )
    weights = {}
    for name, weight in value.items():
        good = isinstance(weight, (int, float)) and not isinstance(weight, bool)
        if not good or not (math.isfinite(weight) and weight >= 0):
            raise InputError(
                f"the weight of {name!r} must be a number, at least 0; got {weight!r}",
                where=path,
                fix="class_weights: {car: 2}",
            )
        weights[class_name(name, path)] = float(weight)
    return weights


def _paths(value: object, root: Path, path: Path, what: str) -> tuple[Path, ...]:
    values = [] if value is None else value if isinstance(value, list) else [value]
    return tuple(_path(entry, root, path, what) for entry in values)


def _path(value: object, root: Path, path: Path, what: str) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"{what} must be a path; got {value!r}", where=path, fix=f"{what}: FOLDER")
    if os.sep == "/":  # written on Windows, read here
        value = value.replace("\\", "/")
    try:
        return root / Path(value).expanduser()
    except RuntimeError:  # ~nobody
        raise InputError(f"{what}: no such user in {value!r}", where=path, fix="write the path out") from None


def check_keys(values: dict[Any, Any], known: tuple[str, ...], path: Path, what: str) -> None:
    """Refuse keys that mean nothing.

    Raises:
        InputError: names the nearest known one.
    """
    for key in values:
        if key not in known:
            raise InputError(
                f"unknown {what} {key!r}.{nearest(str(key), known)}",
                where=path,
                fix=f"known: {', '.join(known)}",
            )


def located(path: Path, make: Callable[[], _Made]) -> _Made:
    """What ``make`` gives; class lists check themselves, without knowing the file they came from."""
    try:
        return make()
    except InputError as error:
        if error.where is not None:
            raise
        raise InputError(error.what, where=path, fix=error.fix or "correct the class list") from None


MAX_YAML_BYTES = 2**20
"""A class list has kilobytes; a larger file is something else. Tens of thousands of classes go in a table."""
MAX_YAML_VALUES = 50_000
MAX_YAML_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """SafeLoader, except that it refuses what YAML allows and nobody means: a key given twice (YAML would
    silently take the last), aliases (a few bytes may stand for as many values as one likes), and depths and
    lengths over which it would take minutes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A value and what is in it."""
        self._values += 1
        if self.check_event(yaml.AliasEvent):
            self._refuse("aliases (*name) are not read: write the values out where they are needed")
        if self._depth > MAX_YAML_DEPTH:
            self._refuse(f"values nested more than {MAX_YAML_DEPTH} deep")
        if self._values > MAX_YAML_VALUES:
            self._refuse(f"more than {MAX_YAML_VALUES} values")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, if its keys differ."""
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value) and not any(k.tag.endswith(":merge") for k, _ in node.value):
            twice = given_twice(self.construct_object(key) for key, _ in node.value)
            raise yaml.MarkedYAMLError(problem=f"given twice: {twice}", problem_mark=node.start_mark)
        return mapping

    def _refuse(self, problem: str) -> NoReturn:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.peek_event().start_mark)


def parse_yaml(path: Path) -> dict[str, Any]:
    """Keys and values of a YAML file.

    Raises:
        InputError: no such file, not UTF-8, not YAML, a key twice, anything but keys and values.
    """
    text = read_text(path, most=MAX_YAML_BYTES)
    try:
        values = yaml.load(text, _Loader)
    except Exception as error:  # PyYAML raises anything at all over tags like !!timestamp x
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        raise InputError(f"not valid YAML: {problem}{line}", where=path, fix="correct that line") from None
    if not isinstance(values, dict):
        raise InputError(
            f"expected keys and values; got {type(values).__name__}",
            where=path,
            fix=f"known keys: {', '.join(_KEYS)}",
        )
    return values
