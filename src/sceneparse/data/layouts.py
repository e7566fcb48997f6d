"""From a path to pairs of images and masks with their classes: recognise the layout a person's folder has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sceneparse import labels as shipped
from sceneparse.data.dataset_file import read_class_names, read_dataset_file
from sceneparse.data.pairs import Mismatches, Pair, match_pairs
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet

__all__ = ["LAYOUTS", "Dataset", "Layout", "Pair", "open_dataset"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a layout keeps each split's images and masks, below the root.

    Args:
        title: name for people.
        folders: split to (images, masks) folders.
        label_set: the shipped classes it usually has; None where ``classes.txt`` must say.
    """

    title: str
    folders: dict[str, tuple[str, str]]
    label_set: str | None


LAYOUTS = {
    "ade20k": Layout(
        title="ADE20K challenge",
        folders={
            "train": ("images/training", "annotations/training"),
            "val": ("images/validation", "annotations/validation"),
        },
        label_set="ade20k",
    ),
    "camvid": Layout(
        title="CamVid/SegNet",
        folders={"train": ("train", "trainannot"), "val": ("val", "valannot")},
        label_set="camvid",
    ),
    "plain": Layout(
        title="plain",
        folders={"train": ("images/train", "masks/train"), "val": ("images/val", "masks/val")},
        label_set=None,
    ),
}

_RECOGNISED = """recognised layouts:
         ADE20K challenge  images/{training,validation} + annotations/{training,validation}
         CamVid/SegNet     train + trainannot, val + valannot
         plain             images/{train,val} + masks/{train,val} + classes.txt (one name a line, from 0)
         any other         dataset.yaml, which says where images and masks are and what the classes are"""

_YAML_NAMES = ("dataset.yaml", "dataset.yml")


@dataclass(frozen=True)
class Dataset:
    """Pairs of images and masks, by split, with their classes.

    Args:
        root: the folder that was recognised.
        name: its name.
        layout: key of :data:`LAYOUTS`, or "yaml".
        labels: classes and their numbers in the masks.
        splits: "train" and "val", as far as the folder has them; pairs sorted by stem.
    """

    root: Path
    name: str
    layout: str
    labels: LabelSet
    splits: dict[str, tuple[Pair, ...]]

    def split(self, name: str) -> tuple[Pair, ...]:
        """The pairs of a split.

        Raises:
            InputError: the data set does not have it.
        """
        if name not in self.splits:
            folders = LAYOUTS[self.layout].folders.get(name) if self.layout in LAYOUTS else None
            if name not in ("train", "val"):
                fix = f"choose one of: {', '.join(self.splits)}"
            elif folders:
                fix = f"add the folders {' and '.join(folders)}"
            else:
                fix = f"add {name} to its dataset.yaml"
            raise InputError(
                f"the data set has no split {name!r}; it has: {', '.join(self.splits)}",
                where=self.root,
                fix=fix,
            )
        return self.splits[name]


def open_dataset(path: str | Path, *, label_set: str | None = None) -> Dataset:
    """Recognise a data set and pair its images and masks. No image is opened.

    Args:
        path: a folder in one of :data:`LAYOUTS` or with a ``dataset.yaml`` in it, or such a file. A
            ``dataset.yaml`` in a folder goes before its layout.
        label_set: name of shipped classes to use instead of those the data set comes with.

    Raises:
        InputError: the path does not exist or is not recognised (the error lists what is); an image without
            mask, a mask without image, two files of one stem (one error names them all); a folder without
            pictures; no classes; unknown ``label_set``.
    """
    path = Path(path)
    override = shipped.label_set(label_set) if label_set is not None else None
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise InputError("the data set does not exist", where=path, fix=f"check the path; {_RECOGNISED}")
    if path.is_dir():
        file = next((path / name for name in _YAML_NAMES if (path / name).is_file()), None)
    elif path.suffix.lower() in (".yaml", ".yml"):
        file = path
    else:
        raise InputError(
            "a file that is no dataset.yaml where a data set was expected", where=path, fix=_RECOGNISED
        )

    if file is not None:
        said = read_dataset_file(file, override=override)
        root, layout, labels, folders = said.root, "yaml", said.labels, said.folders
    else:
        root, layout = path, _recognise(path)
        folders = _folders(root, LAYOUTS[layout])
        labels = override or _labels(root, LAYOUTS[layout])
    mismatches = Mismatches()
    splits = {split: match_pairs(images, masks, mismatches) for split, (images, masks) in folders.items()}
    mismatches.raise_any(root)
    return Dataset(root=root, name=root.resolve().name, layout=layout, labels=labels, splits=splits)


def _matches(root: Path) -> str | None:
    """The layout whose image folders are there; for CamVid, as "train" could be anything, mask folders."""
    for name, layout in LAYOUTS.items():
        for images, masks in layout.folders.values():
            there = (root / masks).is_dir() if name == "camvid" else (root / images).is_dir()
            if there:
                return name
    return None


def _recognise(root: Path) -> str:
    layout = _matches(root)
    if layout is not None:
        return layout
    resolved = root.resolve()
    try:
        children = sorted(child for child in root.iterdir() if child.is_dir())[:100]
    except OSError as error:
        raise InputError(
            f"cannot list the folder: {error.strerror}", where=root, fix="check access"
        ) from None
    near = [folder for folder in (*children, resolved.parent, resolved.parent.parent) if _is_dataset(folder)]
    what = f"no data set recognised in the folder; it holds {_contents(root)}"
    raise InputError(what, where=root, fix=f"did you mean {near[0]}? {_RECOGNISED}" if near else _RECOGNISED)


def _is_dataset(folder: Path) -> bool:
    return _matches(folder) is not None or any((folder / name).is_file() for name in _YAML_NAMES)


def _contents(folder: Path) -> str:
    names = sorted(f"{child.name}/" if child.is_dir() else child.name for child in folder.iterdir())
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"


def _folders(root: Path, layout: Layout) -> dict[str, tuple[Path, Path]]:
    """Folders of the splits that are there; a split with only one of its two folders is an error."""
    folders = {}
    for split, names in layout.folders.items():
        images, masks = (root / name for name in names)
        if images.is_dir() and masks.is_dir():
            folders[split] = (images, masks)
        elif images.is_dir() or masks.is_dir():
            missing, there = (masks, images) if images.is_dir() else (images, masks)
            raise InputError(
                f"{layout.title} layout: {there.relative_to(root)} is there and "
                f"{missing.relative_to(root)} is missing",
                where=root,
                fix=f"add the folder {missing}; {_RECOGNISED}",
            )
    return folders


def _labels(root: Path, layout: Layout) -> LabelSet:
    """``classes.txt`` where it is there, or else the layout's own classes."""
    file = root / "classes.txt"
    if file.is_file():
        return read_class_names(file)
    if layout.label_set is None:
        raise InputError(
            f"{layout.title} layout: nothing says what the numbers in the masks mean",
            where=root,
            fix=f"write {file}, one class name a line (line 1 is number 0), or a dataset.yaml, "
            f"or name a shipped label set: {', '.join(shipped.LABEL_SETS)}",
        )
    return shipped.label_set(layout.label_set)
