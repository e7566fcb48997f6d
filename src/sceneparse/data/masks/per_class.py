"""Masks kept as one picture file for each class or region, and which of these files belong to which image.

Names that are understood, where ``STEM`` is an image's and a number tells regions of one class apart::

    STEM/CLASS.png  STEM/CLASS-0.png      a folder for each image
    CLASS/STEM.png                        a folder for each class
    STEM_CLASS.png  STEM-CLASS.png  STEM__CLASS_3.png
    task-1-annotation-2-by-3-tag-CLASS-0.png     Label Studio's, with its JSON export beside

H, W: height and width of the mask, pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.classes import SourceClasses
from sceneparse.data.decode import read_mask_pixels
from sceneparse.data.faults import DataError, Fault
from sceneparse.data.masks.label_studio import (
    Pictures,
    Tasks,
    find_tasks,
    is_label_studio,
    label_of,
    task_of,
)
from sceneparse.data.masks.source import uncovered_error
from sceneparse.data.pairs import files_by_stem, stem_of
from sceneparse.errors import InputError, nearest
from sceneparse.labels import value_counts

_HALF = 128
_BETWEEN = re.compile(r"[_\-. ]")
_NUMBERED = re.compile(r"(.+?)[_\-. ]{1,2}\d{1,9}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PerClassMask:
    """A mask put together from a file for each class or region.

    A file covers the pixels in which it is not black; with an alpha channel, those that are not transparent
    either. Each file holds one value besides 0, whatever it is. Label Studio's brush has soft edges: there,
    pixels covered by half or more count. Where files overlap, the class that is later in the class list lies
    on top.

    Args:
        regions: source number and file; several files may be of one class.
        classes: whose order decides what lies on top; ``uncovered`` is what is left.
    """

    regions: tuple[tuple[int, Path], ...]
    classes: SourceClasses

    @property
    def path(self) -> Path:
        """The first of the files."""
        return self.regions[0][1]

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return tuple(path for _, path in self.regions)

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """The source numbers; their size is that of the files.

        Raises:
            InputError: a file cannot be read, is lossy, or holds several values; sizes differ; pixels are
                covered by nothing, and nobody has said what they are.
        """
        place = {number: i for i, number in enumerate(self.classes.numbers)}
        uncovered = self.classes.uncovered
        highest = max((*self.classes.numbers, *self.classes.ignored, uncovered or 0))
        numbers: NDArray[Any] | None = None
        left: NDArray[np.bool_] | None = None
        for number, path in sorted(self.regions, key=lambda region: place[region[0]]):
            inside = _covered(path)
            if numbers is None or left is None:
                numbers = np.full(inside.shape, uncovered or 0, np.uint8 if highest <= 255 else np.uint16)
                left, first = np.ones(inside.shape, np.bool_), path
            if inside.shape != numbers.shape:
                raise DataError(
                    f"the mask is {inside.shape[1]} x {inside.shape[0]} pixels, and {first.name} of the same "
                    f"picture {numbers.shape[1]} x {numbers.shape[0]} (width x height)",
                    kind="size",
                    where=path,
                    fix="export both at the size of the image",
                )
            np.copyto(numbers, numbers.dtype.type(number), where=inside)
            left &= ~inside
        assert numbers is not None
        assert left is not None
        if uncovered is None and left.any():
            raise uncovered_error(int(np.count_nonzero(left)), left.size, self.path)
        return numbers


def _covered(path: Path) -> NDArray[np.bool_]:
    """(H, W) whether the file covers a pixel."""
    values, shown, alpha, has_palette = read_mask_pixels(path)
    level: NDArray[Any] = values
    if values.ndim == 3:
        level = np.maximum(np.maximum(values[:, :, 0], values[:, :, 1]), values[:, :, 2])
    if alpha is not None and not (alpha == 255).all():
        # Black on nothing: what is drawn is told by the alpha channel alone.
        level = np.minimum(level, alpha) if level[alpha > 0].any() else alpha
    used, counts = value_counts(level)
    if has_palette and shown is not None:
        dark = np.flatnonzero(~shown.any(axis=1))
        if np.isin(used[used > 0], dark).any() or (0 in used and 0 not in dark):
            raise InputError(
                "mask of one class whose palette shows number 0 in a colour, or others in black: "
                "which pixels are the class?",
                where=path,
                fix="export it as grey PNG: 0 elsewhere, 255 where the class is",
            )
    counts, used = counts[used > 0], used[used > 0]
    if len(used) > 1 and is_label_studio(path.stem):
        return level >= _HALF
    if len(used) > 1:
        told = ", ".join(str(value) for value in used[:8]) + (", ..." if len(used) > 8 else "")
        raise DataError(
            f"mask of one class with {len(used)} values besides 0 ({told}): soft (antialiased) edges, or "
            "class numbers?",
            kind="values",
            where=path,
            values=[(int(v), int(n)) for v, n in zip(used, counts, strict=True)],
            fix="export it without smoothing: 0 elsewhere, 255 where the class is; if its values are class "
            "numbers, name it as its image is named",
        )
    return level > 0


def group_class_files(
    folder: Path,
    names: Sequence[str],
    images: Mapping[str, str],
    faults: list[Fault],
    *,
    split: str | None = None,
    skipped: Path | None = None,
) -> dict[str, list[tuple[str, Path]]]:
    """The files of each image, by the names at the top of this module.

    A class may be written with ``_`` or ``-`` for its spaces and slashes. Where a name can be read in two
    ways, the longer stem and the longer class count.

    Args:
        folder: of the masks; folders below are searched, too.
        names: of the classes.
        images: stem to path.
        faults: files that belong to no image, or to no class, are added to it.
        split: named in the faults.
        skipped: a folder below that is not searched.

    Returns:
        stem to (class, file), in the order of the files' names. Images without files are not in it.

    Raises:
        InputError: a name can be read in two ways of which neither is longer; Label Studio's export is
            missing, does not fit, or has two annotations of one image.
    """
    known = _written_names(names)
    groups: dict[str, list[tuple[str, Path]]] = {}
    exported: dict[str, Path] = {}
    for stem, text in sorted(files_by_stem(folder, faults, split=split, skipped=skipped).items()):
        path = Path(text)
        if images.get(stem) == text:  # images and masks in one folder
            continue
        if is_label_studio(stem):
            exported[stem] = path
            continue
        reading = _longest(list(_readings(stem, known, images)), path)
        if reading is None:
            faults.append(_leftover(path, names, split))
        else:
            groups.setdefault(reading[0], []).append((known[reading[1]], path))
    if exported:
        for stem, regions in _exported(exported, find_tasks(folder), names, images, faults, split).items():
            groups.setdefault(stem, []).extend(regions)
    return groups


def class_names_of_files(folder: Path, images: Mapping[str, str]) -> tuple[str, ...]:
    """The classes that files of classes and regions say, sorted: names of folders, or Label Studio's labels.

    Args:
        folder: of the masks.
        images: stem to path.

    Raises:
        InputError: the names of the files do not say for sure which part of them is the class.
    """
    found: set[str] = set()
    unclear: list[str] = []
    exported = False
    for stem, text in sorted(files_by_stem(folder, []).items()):
        if is_label_studio(stem):
            exported = True
            continue
        if images.get(stem) == text:
            continue
        in_folders = {name for _, name in _folder_readings(stem, images)}
        # CLASS-1 in the folder of an image may be the first region of CLASS.
        numbered = _NUMBERED.fullmatch(stem.rpartition("/")[2])
        if len(in_folders) == 1 and not (numbered and numbered[0] in in_folders):
            found |= in_folders
        else:
            unclear.append(text)
    if exported:
        found.update(find_tasks(folder).names())
    if unclear or not found:
        raise InputError(
            f"nothing says what the classes of these masks are: {len(unclear)} names of files do not say for "
            f"sure which part of them is the class{', such as ' + Path(unclear[0]).name if unclear else ''}",
            where=folder,
            fix="write classes.txt, one class name a line, beside the folders of images and masks",
        )
    return tuple(sorted(found))


def _written_names(names: Iterable[str]) -> dict[str, str]:
    """Ways in which file names may write a class, to the class; ways that two classes share are left out."""
    names = list(names)
    known = {stem_of(name): name for name in names}
    others: dict[str, str | None] = {}
    for name in names:
        for sign in "_-":
            written = re.sub(r"[ /\\:]", sign, stem_of(name))
            others[written] = None if others.get(written, name) != name else name
    return known | {way: name for way, name in others.items() if name is not None and way not in known}


def _readings(stem: str, known: Mapping[str, str], images: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every (stem of an image, class as written) that a file's stem can mean."""
    for image, name in _folder_readings(stem, images):
        if (written := _class(name, known)) is not None:
            yield image, written
    for sign in _BETWEEN.finditer(stem):
        image, rest = stem[: sign.start()], stem[sign.end() :]
        if image in images:
            for text in (rest, rest[1:] if _BETWEEN.match(rest) else ""):
                if (written := _class(text, known)) is not None:
                    yield image, written


def _folder_readings(stem: str, images: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(stem of an image, class) where a folder is the one and the rest the other."""
    parts = stem.split("/")
    if len(parts) > 1 and (image := "/".join(parts[:-1])) in images:
        yield image, parts[-1]
    for i, part in enumerate(parts[:-1]):
        rest = "/".join(parts[:i] + parts[i + 1 :])
        numbered = _NUMBERED.fullmatch(rest)
        if rest in images:
            yield rest, part
        elif numbered is not None and numbered[1] in images:
            yield numbered[1], part


def _class(text: str, known: Mapping[str, str]) -> str | None:
    """A class as written, with or without the number of a region behind it."""
    if text in known:
        return text
    numbered = _NUMBERED.fullmatch(text)
    return numbered[1] if numbered is not None and numbered[1] in known else None


def _longest(readings: Sequence[tuple[str, str]], path: Path) -> tuple[str, str] | None:
    """The reading that has both the longest stem and the longest class."""
    if len(readings) < 2:
        return readings[0] if readings else None
    stem, name = (max(len(reading[part]) for reading in readings) for part in (0, 1))
    best = {reading for reading in readings if (len(reading[0]), len(reading[1])) == (stem, name)}
    if len(best) != 1:
        told = [f"class {name!r} of the image {stem!r}" for stem, name in sorted(set(readings))]
        raise InputError(
            f"the name of the mask can be read in two ways: {', or '.join(told[:8])}",
            where=path,
            fix="rename the file, or put it in a folder: STEM/CLASS.png",
        )
    return best.pop()


def _exported(
    files: Mapping[str, Path],
    tasks: Tasks,
    names: Sequence[str],
    images: Mapping[str, str],
    faults: list[Fault],
    split: str | None,
) -> dict[str, list[tuple[str, Path]]]:
    """The files of Label Studio's export by image."""
    pictures = Pictures(images)
    groups: dict[str, list[tuple[str, Path]]] = {}
    drawn: dict[str, tuple[int, int]] = {}
    stem_of_task: dict[int, str | None] = {}
    for stem, path in files.items():
        task, annotation = task_of(stem)
        if task not in stem_of_task:
            stem_of_task[task] = pictures.stem_of_task(task, tasks)
        image = stem_of_task[task]
        if image is None:
            faults.append(_leftover(path, names, split))
            continue
        if drawn.setdefault(image, (task, annotation)) != (task, annotation):
            raise InputError(
                f"the image {image!r} has been annotated twice: annotation {drawn[image][1]} of task "
                f"{drawn[image][0]} and annotation {annotation} of task {task}",
                where=path,
                fix="remove the files of all but one of them",
            )
        label = label_of(stem, tasks, path=path)
        if label not in names:
            raise InputError(
                f"the label {label!r} is not in the class list.{nearest(label, names)}",
                where=path,
                fix="add it to the class list, or remove its files",
            )
        groups.setdefault(image, []).append((label, path))
    return groups


def _leftover(path: Path, names: Sequence[str], split: str | None) -> Fault:
    some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return Fault(
        kind="missing-image",
        what=f"the mask {path.name} belongs to no image and class (classes: {some})",
        fix="call it as its image is called if it holds all classes, STEM_CLASS.png (names of an image and "
        "of a class) if it holds one, or remove it",
        files=(path,),
        split=split,
    )
