"""convert(): any data set to the plain layout, with the same masks whatever form they were kept in.

The folder is filled beside its place under a hidden name, and gets its own at the very end: what looks whole
is whole, however the process ended.

K: number of classes.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import shutil
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from sceneparse import __version__
from sceneparse.data.dataset import Dataset
from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.data.faults import Fault, FaultsError
from sceneparse.data.inspect import Inspection, inspect_pair
from sceneparse.data.pairs import Pair
from sceneparse.data.tally import Tally, faults_between
from sceneparse.data.threads import decoding_threads, mapped_in_order, progress_bar
from sceneparse.errors import InputError
from sceneparse.files import NO_SPACE, write_text
from sceneparse.labels import Color, LabelSet
from sceneparse.lock import process_lock

MAX_IN_YAML = 1000
"""Classes that are listed in ``dataset.yaml``; more go in a table beside it, since YAML is slow to read."""
CLASS_TABLE = "classes.csv"

IGNORED_COLOR: Color = (224, 224, 192)
"""Colour that shows ignored pixels; PASCAL VOC's."""


@dataclass(frozen=True, kw_only=True)
class ConvertResult:
    """What was written.

    Args:
        folder: the new data set.
        labels: its classes: numbers 0..K-1, ignored pixels 255 (65535 where K > 255).
        counts: pairs of each split.
        left_out: the faults of what was left out.
        warnings: faults that stop nothing.
    """

    folder: Path
    labels: LabelSet
    counts: dict[str, int]
    left_out: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def convert(
    dataset: Dataset,
    folder: str | Path,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: bool = False,
    command: str | None = None,
) -> ConvertResult:
    """Write a data set in the plain layout.

    ``images/SPLIT/STEM.EXT`` are the image files, byte for byte; one that its EXIF data turns stays so, as
    masks are upright everywhere. ``masks/SPLIT/STEM.png`` hold training indices 0..K-1 and 255 where ignored:
    8-bit palette PNGs that show the classes' colours; 16-bit grey with 65535 where K > 255. Their bytes
    depend on indices and colours alone. ``dataset.yaml`` has the classes.

    Args:
        dataset: opened with ``keep_faults=True``.
        folder: the new data set; not there yet, or empty.
        skip_bad: leave out files with faults instead of raising.
        workers: threads; by default as many as keep every core at work.
        progress: show a bar on standard error.
        command: that is told in ``dataset.yaml``.

    Raises:
        FaultsError: what is wrong with the data, all of it; nothing is written. With ``skip_bad``: no pair of
            a split is sound.
        InputError: the folder is not empty, or cannot be written; full disk. Nothing is left behind.
    """
    folder = Path(folder)
    _refuse_names(dataset)
    labels = _renumbered(dataset.labels)
    with _appearing(folder) as place:
        tallies = _write_pairs(dataset, place, skip_bad=skip_bad, workers=workers, progress=progress)
        between = faults_between(tallies, dataset.labels)
        faults = [*dataset.faults, *(f for tally in tallies.values() for f in tally.faults), *between]
        stops = tuple(fault for fault in faults if fault.stops)
        bad = {(split, stem) for split, tally in tallies.items() for stem in tally.bad}
        twins = {(fault.split, fault.stem) for fault in between if fault.kind == "duplicate"}
        gone = bad | twins
        left = {
            split: [pair for pair in pairs if (split, pair.stem) not in gone]
            for split, pairs in dataset.splits.items()
        }
        if stops and (not skip_bad or not all(left.values())):
            raise FaultsError(stops, where=dataset.root)
        _remove_pairs(dataset, twins - bad, place)
        if labels.num_classes > MAX_IN_YAML:
            write_text(place / CLASS_TABLE, _table(labels))
        write_text(place / "dataset.yaml", _yaml(dataset, labels, list(left), command))
    counts = {split: len(pairs) for split, pairs in left.items()}
    warnings = tuple(fault for fault in faults if not fault.stops)
    return ConvertResult(folder=folder, labels=labels, counts=counts, left_out=stops, warnings=warnings)


def _renumbered(labels: LabelSet) -> LabelSet:
    """The classes by their training indices."""
    return LabelSet(
        names=labels.names,
        file_numbers=tuple(range(labels.num_classes)),
        palette=labels.palette,
        ignored=(labels.ignore_index,),
    )


def _refuse_names(dataset: Dataset) -> None:
    """Lists may name files that nobody finds in a folder."""
    for pairs in dataset.splits.values():
        for pair in pairs:
            hidden = any(part.startswith(".") for part in pair.stem.split("/"))
            if hidden or pair.image.suffix.lower() not in IMAGE_SUFFIXES:
                what = "begins with a dot" if hidden else "ends like no picture"
                raise InputError(
                    f"the name {pair.stem + pair.image.suffix!r} {what}: in a folder it would not be found",
                    where=pair.image,
                    fix="rename the file, here and in the list",
                )


# ---------------------------------------------------------------------- pairs


def _write_pairs(
    dataset: Dataset, place: Path, *, skip_bad: bool, workers: int | None, progress: bool
) -> dict[str, Tally]:
    """Look at every pair, and write it as long as the folder has a chance to be finished."""
    tallies = {split: Tally.empty(dataset.labels.num_classes) for split in dataset.splits}
    work = [(split, pair) for split, pairs in dataset.splits.items() for pair in pairs]
    hopeless = threading.Event()
    if dataset.faults and not skip_bad:
        hopeless.set()
    one = partial(_write_pair, labels=dataset.labels, place=place, hopeless=hopeless)
    with (
        progress_bar("converting", len(work), shown=progress) as advance,
        contextlib.closing(mapped_in_order(one, work, workers or decoding_threads())) as inspections,
    ):
        for (split, pair), inspection in zip(work, inspections, strict=True):
            tallies[split].add(pair, inspection)
            if tallies[split].bad and not skip_bad:
                hopeless.set()
            advance()
    return tallies


def _write_pair(
    item: tuple[str, Pair], *, labels: LabelSet, place: Path, hopeless: threading.Event
) -> Inspection:
    split, pair = item
    # (1, 1): a JPEG may be decoded at any scale; its whole file is gone through all the same.
    found = inspect_pair(pair, labels, split=split, target=lambda *_: (1, 1))
    if found.numbers is not None and not hopeless.is_set():
        image, mask = _places(pair, split, place)
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = mask.open("xb")
        except FileExistsError:
            raise InputError(
                f"another picture of {split} has a name that this disk cannot tell from {pair.stem!r}",
                where=pair.image,
                fix="rename one of them",
            ) from None
        with file:
            mask_image(labels.to_index(found.numbers, path=pair.mask.path), labels).save(file, "PNG")
        shutil.copyfile(pair.image, image)
    return found.without_pixels()


def _remove_pairs(dataset: Dataset, which: Collection[tuple[str | None, str | None]], place: Path) -> None:
    for split, pairs in dataset.splits.items():
        for pair in pairs:
            if (split, pair.stem) in which:
                for path in _places(pair, split, place):
                    path.unlink()


def _places(pair: Pair, split: str, place: Path) -> tuple[Path, Path]:
    """Where image and mask of a pair go."""
    names = (f"images/{split}/{pair.stem}{pair.image.suffix}", f"masks/{split}/{pair.stem}.png")
    return place / names[0], place / names[1]


def mask_image(index: NDArray[np.integer], labels: LabelSet) -> Image.Image:
    """Training indices (H, W) of ``labels.index_dtype`` as a Pillow image: palette, or 16-bit grey."""
    image = Image.fromarray(index)
    if labels.index_dtype == np.uint8:
        colors = np.zeros((256, 3), np.uint8)
        colors[: labels.num_classes] = labels.palette
        colors[labels.ignore_index] = IGNORED_COLOR
        image.putpalette(colors.tobytes())
    return image


# ---------------------------------------------------------------------- dataset.yaml


def _yaml(dataset: Dataset, labels: LabelSet, splits: Sequence[str], command: str | None) -> str:
    lines = [f"# Made by sceneparse {__version__} from {_comment(str(dataset.root.absolute()))}"]
    lines += [f"# with: {_comment(command)}"] if command is not None else []
    lines += [f"{split}: {{images: images/{split}, masks: masks/{split}}}" for split in splits]
    lines.append("form: index")
    if labels.num_classes > MAX_IN_YAML:
        lines.append(f"classes: {CLASS_TABLE}")
    else:
        lines.append("classes:")
        for number, name, color in zip(labels.file_numbers, labels.names, labels.palette, strict=True):
            lines.append(f"  - {_flow({'number': number, 'name': name, 'color': list(color)})}")
    lines.append(f"ignore: [{labels.ignore_index}]")
    weights = zip(labels.names, dataset.class_weights, strict=True)
    if said := {name: weight for name, weight in weights if weight != 1}:
        lines.append(f"class_weights: {_flow(said)}")
    return "\n".join(lines) + "\n"


def _table(labels: LabelSet) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("number", "name", "r", "g", "b"))
    for number, name, color in zip(labels.file_numbers, labels.names, labels.palette, strict=True):
        rows.writerow((number, name, *color))
    return text.getvalue()


def _flow(values: dict[str, object] | dict[str, float]) -> str:
    """Values in one line of YAML."""
    text = yaml.safe_dump(
        values, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return str(text).strip()


def _comment(text: str) -> str:
    """Text that cannot end a comment."""
    return "".join(c if c.isprintable() else "?" for c in text)


# ---------------------------------------------------------------------- the folder


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill, which appears as ``folder`` whole, or not at all.

    Raises:
        InputError: ``folder`` is there and not empty, cannot be written to, or another process makes it.
    """
    folder = _free(folder)
    hidden = folder.with_name(f".{folder.name}.tmp")
    lock, place = hidden / "lock", hidden / "data"
    missing = [path for path in (hidden, *hidden.parents) if not path.exists()]

    def held() -> None:
        raise InputError("another process is making this folder", where=folder, fix="wait until it is done")

    ours = False
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        with process_lock(lock, waiting=held):
            ours = True
            if place.exists():  # a killed process left it
                shutil.rmtree(place)
            place.mkdir()
            try:
                yield place
                if folder.exists():
                    folder.rmdir()  # it is empty; Windows renames to no folder that is there
                place.rename(folder)
            finally:
                shutil.rmtree(place, ignore_errors=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    finally:
        with contextlib.suppress(OSError):
            if ours:
                lock.unlink()
            for path in missing or [hidden]:  # what was made for nothing; the rest is not empty
                path.rmdir()


def _free(folder: Path) -> Path:
    """The place without links in its path, if it is free."""
    try:
        resolved = folder.resolve()
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        fixed = folder.exists() and (folder.is_mount() or folder.samefile(Path.cwd()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"the folder cannot be used: {reason}", where=folder, fix="choose another one"
        ) from None
    if taken:
        raise InputError(
            "the place of the converted data is taken", where=folder, fix="name a folder that is new or empty"
        )
    if fixed:
        raise InputError(
            "the converted data appears by renaming a folder, and this one cannot be replaced",
            where=folder,
            fix=f"name a new folder in it: {folder / 'plain'}",
        )
    return resolved


def _cannot_write(folder: Path, error: OSError) -> InputError:
    if error.errno in NO_SPACE:
        return InputError(
            "the disk is full: the converted data could not be written",
            where=folder,
            fix="free some space or choose another disk, then repeat the command",
        )
    return InputError(
        f"the converted data could not be written: {error.strerror or error}",
        where=error.filename or folder,
        fix="check access to the folders, or choose another one",
    )
