"""Files in which a person describes a data set: ``dataset.yaml`` and ``classes.txt``.

``dataset.yaml``::

    path: .                 # root of the other paths; the yaml's own folder if left out
    train: {images: images/train, masks: masks/train}
    val: {images: images/val, masks: masks/val}
    classes: [sky, road, car]          # numbers 0, 1, 2 in the masks; or {1: sky, 2: road};
                                       # or [{number: 1, name: sky, color: [70, 130, 180]}]
    ignore: [255]                      # numbers that mean "no class"
    # label_set: ade20k                # instead of classes and ignore: one that ships with the package
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sceneparse.errors import InputError, nearest
from sceneparse.labels import LabelSet, distinct_colors, label_set, label_set_from_names

EXAMPLE = "classes: [sky, road, car]"
_KEYS = ("path", "train", "val", "classes", "ignore", "label_set")
_SPLIT_KEYS = ("images", "masks")
_CLASS_KEYS = ("number", "name", "color")


@dataclass(frozen=True, kw_only=True)
class DatasetFile:
    """What a ``dataset.yaml`` says: root, (images, masks) folders of each split, classes."""

    root: Path
    folders: dict[str, tuple[Path, Path]]
    labels: LabelSet


def read_class_names(path: Path) -> LabelSet:
    """``classes.txt``: one name a line; a class's number in the masks is its line, counted from 0.

    Raises:
        InputError: not UTF-8 text, no name, a blank line between names, or a name given twice.
    """
    lines = [line.strip() for line in _read_text(path).rstrip().split("\n")]
    if lines == [""]:
        raise InputError("the class list is empty", where=path, fix="write one class name a line")
    if "" in lines:
        raise InputError(
            f"line {lines.index('') + 1} is blank, but every line is a class number",
            where=path,
            fix="give that number a name, or remove the line if the numbers in the masks do not count it",
        )
    return _located(path, lambda: label_set_from_names(lines))


def read_dataset_file(path: Path, *, override: LabelSet | None = None) -> DatasetFile:
    """Read a ``dataset.yaml``; see the top of this module for its keys.

    Args:
        path: the file.
        override: classes that replace those of the file.

    Raises:
        InputError: not YAML, an unknown key (with the nearest known one), a key twice, a value of the wrong
            kind, no split, or no classes.
    """
    values = _parse(path)
    _check_keys(values, _KEYS, path, "key")
    root = path.parent
    if "path" in values:
        root = _folder(values["path"], root, path, "path")
    folders = {}
    for split in ("train", "val"):
        if values.get(split) is None:
            continue
        where = values[split]
        if not isinstance(where, dict) or set(where) != set(_SPLIT_KEYS):
            if isinstance(where, dict):
                _check_keys(where, _SPLIT_KEYS, path, f"key in {split}")
            raise InputError(
                f"{split} must say where its images and its masks are; got {where!r}",
                where=path,
                fix=f"{split}: {{images: FOLDER, masks: FOLDER}}",
            )
        images, masks = (_folder(where[key], root, path, f"{split}.{key}") for key in _SPLIT_KEYS)
        folders[split] = (images, masks)
    if not folders:
        raise InputError(
            "neither train nor val is given", where=path, fix="train: {images: FOLDER, masks: FOLDER}"
        )
    labels = override or _located(path, lambda: _labels(values, path))
    return DatasetFile(root=root, folders=folders, labels=labels)


def _labels(values: dict[str, Any], path: Path) -> LabelSet:
    if values.get("label_set") is not None:
        if values.get("classes") is not None or values.get("ignore") is not None:
            raise InputError(
                "label_set brings its own classes and ignored numbers",
                where=path,
                fix="keep label_set or classes",
            )
        return label_set(str(values["label_set"]))
    classes, ignored = values.get("classes"), values.get("ignore")
    ignored = [] if ignored is None else ignored if isinstance(ignored, list) else [ignored]
    if isinstance(classes, dict):
        classes = [{"number": number, "name": name} for number, name in classes.items()]
    elif isinstance(classes, list) and not any(isinstance(c, dict) for c in classes):
        classes = [{"number": number, "name": name} for number, name in enumerate(classes)]
    if not isinstance(classes, list) or not classes:
        raise InputError(f"classes must be a list of names; got {classes!r}", where=path, fix=EXAMPLE)
    colors = distinct_colors(len(classes))
    names, numbers, palette = [], [], []
    for entry, color in zip(classes, colors, strict=True):
        if not isinstance(entry, dict):
            raise InputError(f"class {entry!r} has no number, while others have", where=path, fix=EXAMPLE)
        _check_keys(entry, _CLASS_KEYS, path, "key in classes")
        names.append(_name(entry.get("name"), path))
        numbers.append(_number(entry.get("number"), path, f"number of class {names[-1]!r}"))
        palette.append(_color(entry["color"], path) if entry.get("color") is not None else color)
    return LabelSet(
        names=tuple(names),
        file_numbers=tuple(numbers),
        palette=tuple(palette),
        ignored=tuple(_number(n, path, "ignore") for n in ignored),
    )


def _name(value: object, path: Path) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(
            f"class name {value!r} is not text",
            where=path,
            fix="put it in quotes (YAML reads yes, no, on, off, 1 otherwise)",
        )
    return value.strip()


def _number(value: object, path: Path, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{what} must be a whole number; got {value!r}", where=path, fix="for example 255")
    return value


def _color(value: object, path: Path) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(
            f"color must be three numbers; got {value!r}", where=path, fix="color: [70, 130, 180]"
        )
    red, green, blue = (_number(v, path, "color") for v in value)
    return red, green, blue


def _folder(value: object, root: Path, path: Path, what: str) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"{what} must be a folder; got {value!r}", where=path, fix=f"{what}: FOLDER")
    if os.sep == "/":  # written on Windows, read here
        value = value.replace("\\", "/")
    return root / Path(value).expanduser()


def _check_keys(values: dict[Any, Any], known: tuple[str, ...], path: Path, what: str) -> None:
    for key in values:
        if key not in known:
            raise InputError(
                f"unknown {what} {key!r}.{nearest(str(key), known)}",
                where=path,
                fix=f"known: {', '.join(known)}",
            )


def _located(path: Path, make: Any) -> LabelSet:
    """Class lists check themselves, without knowing the file they came from."""
    try:
        labels: LabelSet = make()
    except InputError as error:
        if error.where is not None:
            raise
        raise InputError(error.what, where=path, fix=error.fix or "correct the class list") from None
    return labels


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("not a text file in UTF-8", where=path, fix="save it as UTF-8 text") from None
    except OSError as error:
        raise InputError(
            f"cannot read the file: {error.strerror}", where=path, fix="check path and access"
        ) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader, except that a key given twice is an error: YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value) and not any(k.tag.endswith(":merge") for k, _ in node.value):
            keys = [self.construct_object(key) for key, _ in node.value]
            twice = sorted({str(k) for k in keys if keys.count(k) > 1})
            raise yaml.MarkedYAMLError(
                problem=f"given twice: {', '.join(twice)}", problem_mark=node.start_mark
            )
        return mapping


def _parse(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        values = yaml.load(text, _UniqueKeyLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
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
