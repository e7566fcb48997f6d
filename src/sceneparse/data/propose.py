"""A ``dataset.yaml`` proposed from what is in a folder, for a person to look through.

What the files say is taken: folders, form, class files, documents. What they do not say is not guessed: a
question stands in the file, and until it is answered ``check`` and ``train`` refuse the data.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sceneparse.data.class_files import find_class_file
from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset import Dataset, dataset_of
from sceneparse.data.dataset_file import DatasetFile, SplitFiles
from sceneparse.data.folders import find_splits
from sceneparse.data.layouts import (
    DATASET_FILES,
    LAYOUTS,
    YOLO_FILES,
    NoClassesError,
    recognise,
    yolo_dataset,
)
from sceneparse.data.masks.documents import is_name
from sceneparse.data.proposed_classes import ProposedClasses, propose_classes
from sceneparse.data.proposed_text import Line, quoted, yaml_text
from sceneparse.data.survey import Survey, survey
from sceneparse.errors import InputError
from sceneparse.files import write_text

_STAND_IN = SourceClasses.numbered(("?",))
"""Classes of a data set of which nothing says any: its pairs are found all the same."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """Files to be written.

    Args:
        path: the ``dataset.yaml``.
        text: what goes into it.
        lists: list files beside it, and what goes into them.
        look_at: sentences on what a person should look at.
    """

    path: Path
    text: str
    lists: dict[Path, str]
    look_at: tuple[str, ...]

    def write(self) -> None:
        """Write the files.

        Raises:
            InputError: one of them is there already, or cannot be written.
        """
        for path in (*self.lists, self.path):
            if os.path.lexists(path):
                raise _already_there(path)
        for path, text in self.lists.items():
            write_text(path, text)
        write_text(self.path, self.text)


@dataclass(frozen=True, kw_only=True)
class _Located:
    """Where the files are: as a description, the layout's name, and what the layout says of each split."""

    said: DatasetFile
    layout: str
    splits: dict[str, SplitFiles]


def propose(
    root: Path, *, file: Path | None = None, workers: int | None = None, progress: bool = False
) -> Proposal:
    """Look at a folder and propose its ``dataset.yaml``. Reads every mask; writes nothing.

    Args:
        root: the folder.
        file: where the file is to be; in the folder by default.
        workers: threads; by default as many as keep every core at work.
        progress: show a bar on standard error.

    Raises:
        InputError: there is such a file already; no images and masks are found; a class file cannot be read;
            no mask can be read, or they hold no class numbers or colours.
    """
    if root.is_file():
        raise InputError("a file where a folder was expected", where=root, fix="name the folder of the data")
    path = file or root / DATASET_FILES[0]
    for there in (path, *(root / name for name in DATASET_FILES)):
        if os.path.lexists(there):
            raise _already_there(there)
    located = _locate(root)
    try:
        dataset, known = dataset_of(located.said, located.layout), True
    except NoClassesError:
        dataset = dataset_of(replace(located.said, classes=_STAND_IN), located.layout)
        known = False
    found = survey(dataset, workers=workers, progress=progress)
    if not found.masks:
        raise InputError(
            "none of the masks can be read" if found.unreadable else "no image has a mask",
            where=root,
            fix="see what is wrong with: sceneparse check DATA",
        )
    source = dataset.source if known else None
    classes = propose_classes(found, dataset.form, source, _said_where(dataset, located), root)
    return _proposal(path, root, located, dataset, found, classes)


def _already_there(path: Path) -> InputError:
    return InputError(
        "the file is there already, and a proposal does not overwrite it",
        where=path,
        fix="correct it by hand and look at the data with `sceneparse check`, or rename it first",
    )


def _locate(root: Path) -> _Located:
    for name in YOLO_FILES:
        if (root / name).is_file():
            said = replace(yolo_dataset(root / name), root=root)
            return _Located(said=said, layout="yolo", splits=said.splits)
    layout = recognise(root)
    if layout is not None:
        splits = LAYOUTS[layout].find(root)
        return _Located(said=DatasetFile(root=root), layout=layout, splits=splits)
    found = find_splits(root) if root.is_dir() else None
    if found is None:
        dataset_of(DatasetFile(root=root))  # says what is recognised
        raise AssertionError(root)
    said = DatasetFile(root=root, splits=found.splits, form=found.form)
    return _Located(said=said, layout="yaml", splits=found.splits)


def _said_where(dataset: Dataset, located: _Located) -> str:
    """What says the classes, in words: a class file, documents, or the name of a shipped list."""
    if located.layout == "yolo":
        return "data.yaml"
    folders = [folder for files in located.splits.values() for folder in files.masks]
    if dataset.form != "coco":
        for folder in (located.said.root, *folders, *(folder.parent for folder in folders)):
            if folder.is_dir() and (file := find_class_file(folder)) is not None:
                return _relative(file, located.said.root)
    if dataset.form in ("coco", "labelme"):
        return "the documents"
    if dataset.form == "per-class":
        return "the names of the files"
    return LAYOUTS[located.layout].label_set or "" if located.layout in LAYOUTS else ""


# ---------------------------------------------------------------------- text


def _proposal(
    path: Path, root: Path, located: _Located, dataset: Dataset, found: Survey, classes: ProposedClasses
) -> Proposal:
    masks = f"{found.masks} mask{'s' if found.masks != 1 else ''}"
    lines: list[Line] = [
        Line("", f"Proposed by sceneparse check --write-yaml, from {masks}."),
        Line("", "Look it through, then: sceneparse check with this folder or file"),
    ]
    if classes.questions:
        lines.append(Line("", "Lines with QUESTION are for you: until then check and train refuse the data."))
    lines.append(Line())
    if path.parent.resolve() != root.resolve():
        lines.append(Line(f"path: {quoted(str(root.resolve()))}"))
    lists: dict[Path, str] = {}
    lines += _split_lines(path, root, located, dataset, lists)
    lines += [Line(f"form: {classes.form}"), *classes.lines]
    look_at = [*classes.questions, *classes.notes]
    if found.unreadable:
        look_at.append(f"masks that cannot be read: {found.unreadable}; check will name them")
    if "val" not in dataset.splits:
        look_at.append("there is no split val, which a training needs: say in the file which images it has")
    if located.layout == "yaml":
        look_at.insert(0, "whether the right folders have been taken for images and masks")
    return Proposal(path=path, text=yaml_text(lines), lists=lists, look_at=tuple(look_at))


def _split_lines(
    path: Path, root: Path, located: _Located, dataset: Dataset, lists: dict[Path, str]
) -> list[Line]:
    lines = []
    by_itself = located.layout != "yaml"
    if by_itself:
        title = LAYOUTS[located.layout].title if located.layout in LAYOUTS else "YOLO's data.yaml"
        lines.append(Line("", f"The files are those of {title}, and found by themselves:"))
    for split, files in located.splits.items():
        count = len(dataset.splits[split])
        pairs = f"{count} pair{'s' if count != 1 else ''}"
        if by_itself:
            where = f"images in {_paths(files.images, root)}, masks in {_paths(files.masks, root)}; "
            lines.append(Line("", f"  {split}: {where if files.images else ''}{pairs}"))
        elif files.pairs:
            beside = path.with_name(f"{path.stem}_{split}.txt")
            if os.path.lexists(beside):
                raise _already_there(beside)
            lists[beside] = _list_text(files.pairs, root, beside)
            listed = beside.name if path.parent.resolve() == root.resolve() else str(beside.resolve())
            lines.append(Line(f"{split}: {{list: {quoted(listed)}}}", f"{pairs}, one a line"))
        else:
            images, masks = (_paths(folders, root) for folders in (files.images, files.masks))
            lines.append(Line(f"{split}: {{images: {images}, masks: {masks}}}", pairs))
    if "val" not in located.splits:
        lines.append(
            Line("", "A training also needs val; neighbouring frames of a film belong into one split:")
        )
        lines.append(Line("# val: {images: FOLDER, masks: FOLDER}"))
    lines.append(Line())
    return lines


def _paths(folders: Sequence[Path], root: Path) -> str:
    names = [quoted(_relative(folder, root)) for folder in folders]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path.resolve())


def _list_text(pairs: Sequence[tuple[Path, Path]], root: Path, path: Path) -> str:
    rows = []
    for pair in pairs:
        row = [_relative(file, root) for file in pair]
        for name in row:
            if name != name.strip() or name.startswith("#") or not is_name(name) or set(name) & set("\t\n\r"):
                raise InputError(
                    f"the name {name!r} cannot stand in a list", where=path, fix="rename the file and repeat"
                )
        rows.append("\t".join(row))
    return "\n".join(rows) + "\n"
