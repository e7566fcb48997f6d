"""open_dataset(): from a path to pairs of images and masks with their classes. One header is read at most."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sceneparse import labels as shipped
from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset_file import SPLITS, DatasetFile, SplitFiles, located, read_dataset_file
from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.data.faults import Fault, FaultsError
from sceneparse.data.forms import Masks, detect_form
from sceneparse.data.image_file import mode_of
from sceneparse.data.layouts import (
    DATASET_FILES,
    LAYOUTS,
    YOLO_FILES,
    found_classes,
    looks_like_data,
    recognise,
    recognised,
    yolo_dataset,
)
from sceneparse.data.lists import read_list
from sceneparse.data.masks.source import MaskSource
from sceneparse.data.pairs import SAME_NAME, Pair, files_by_stem, pair_up, stem_of
from sceneparse.errors import InputError, nearest
from sceneparse.labels import LabelSet


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Pairs of images and masks, by split, with their classes.

    Args:
        root: the folder that was recognised.
        name: its name.
        layout: key of :data:`~sceneparse.data.layouts.LAYOUTS`, "yolo", or "yaml".
        form: how the masks are kept, one of :data:`~sceneparse.data.dataset_file.FORMS`.
        labels: the classes that are trained and scored, and their numbers in the masks.
        source: the classes as the masks have them.
        splits: "train", "val" and "test", as far as they are there; pairs sorted by stem.
        faults: images and masks without a partner, and files of one name.
        class_weights: (K,) factors on the weights of the loss.
    """

    root: Path
    name: str
    layout: str
    form: str
    labels: LabelSet
    source: SourceClasses
    splits: dict[str, tuple[Pair, ...]]
    faults: tuple[Fault, ...]
    class_weights: tuple[float, ...]

    def split(self, name: str) -> tuple[Pair, ...]:
        """The pairs of a split.

        Raises:
            InputError: the data set does not have it.
        """
        if name not in self.splits:
            fix = f"choose one of: {', '.join(self.splits)}"
            if name in SPLITS:
                shape = f" ({LAYOUTS[self.layout].shape})" if self.layout in LAYOUTS else ""
                fix = (
                    f"add its folders{shape}, or write a dataset.yaml that says where they are; "
                    "neighbouring frames of a film belong into one split"
                )
            raise InputError(
                f"the data set has no split {name!r}; it has: {', '.join(self.splits)}",
                where=self.root,
                fix=fix,
            )
        return self.splits[name]


def open_dataset(path: str | Path, *, label_set: str | None = None, keep_faults: bool = False) -> Dataset:
    """Recognise a data set and pair its images and masks.

    Args:
        path: a folder in one of :data:`~sceneparse.data.layouts.LAYOUTS`, or with a ``dataset.yaml`` or a
            YOLO ``data.yaml`` in it, or such a file. What a ``dataset.yaml`` says goes before the rest.
        label_set: name of shipped classes to use instead of those the data set comes with.
        keep_faults: leave images and masks without a partner, and files of one name, in ``faults`` instead
            of raising.

    Raises:
        InputError: the path does not exist or is not recognised (the error lists what is); an image without
            mask, a mask without image, two files of one stem (one error names them all); a folder without
            pictures; no classes; unknown ``label_set``.
    """
    path = Path(path)
    override = None if label_set is None else SourceClasses.of(shipped.label_set(label_set))
    said, layout = _said(path)
    if override is not None:
        said = replace(said, classes=override, merge={}, ignore=())
    dataset = dataset_of(said, layout)
    if dataset.faults and not keep_faults:
        raise FaultsError(dataset.faults, where=dataset.root)
    return dataset


def dataset_of(said: DatasetFile, layout: str = "") -> Dataset:
    """The data set that is described; faults are left in it.

    Args:
        said: where it is, and what is known of it.
        layout: its name, where the description says the splits; otherwise they are recognised.

    Raises:
        InputError: as :func:`open_dataset`, but for images and masks without a partner.
    """
    splits, form = said.splits, said.form
    if not splits:
        name = recognise(said.root)
        if name is None:
            raise _not_recognised(said.root)
        layout, splits = name, LAYOUTS[name].find(said.root)
        form = form or LAYOUTS[name].form
    return _Opening(said, layout, splits).dataset(form)


def _said(path: Path) -> tuple[DatasetFile, str]:
    """What a file says of the data set, and the layout to name when it says where everything is."""
    if not os.path.exists(path):  # unlike Path.exists, never raises
        raise InputError("the data set does not exist", where=path, fix=f"check the path; {recognised()}")
    if path.is_dir():
        for name in DATASET_FILES:
            if (path / name).is_file():
                return _with_yolo(read_dataset_file(path / name))
        for name in YOLO_FILES:
            if (path / name).is_file():
                return yolo_dataset(path / name), "yolo"
        return DatasetFile(root=path), ""
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise InputError(
            "a file that is no dataset.yaml where a data set was expected", where=path, fix=recognised()
        )
    if path.name in YOLO_FILES:
        return yolo_dataset(path), "yolo"
    return _with_yolo(read_dataset_file(path))


def _with_yolo(said: DatasetFile) -> tuple[DatasetFile, str]:
    """A ``dataset.yaml`` that does not say where files are adds to a YOLO ``data.yaml`` beside them."""
    file = next((said.root / name for name in YOLO_FILES if (said.root / name).is_file()), None)
    if said.splits or file is None:
        return said, "yaml"
    yolo = yolo_dataset(file)
    form, classes = said.form or yolo.form, said.classes or yolo.classes
    return replace(said, splits=yolo.splits, form=form, classes=classes), "yolo"


class _Opening:
    """One data set being opened.

    Args:
        said: what a person says of it.
        layout: its name.
        splits: where the files of each split are.
    """

    def __init__(self, said: DatasetFile, layout: str, splits: Mapping[str, SplitFiles]) -> None:
        self.said = said
        self.layout = layout
        self.splits = splits
        self.faults: list[Fault] = []

    def dataset(self, form: str | None) -> Dataset:
        """Read names of files and of classes, and pair them."""
        images = {split: self._images(split, files) for split, files in self.splits.items()}
        known = form or self._form(images)
        layout = self.layout if self.layout in LAYOUTS else None
        source, labels = self.said.labels(
            lambda: found_classes(self.said.root, layout, known, self.splits, images)
        )
        if form is None and known == "index" and source.all_colored and not self._numbered():
            known = "color"
        masks = Masks(source)

        def every_pair() -> dict[str, tuple[Pair, ...]]:
            return {s: self._pairs(s, files, images[s], masks, known) for s, files in self.splits.items()}

        pairs = located(self.said.path or self.said.root, every_pair)
        return Dataset(
            root=self.said.root,
            name=self.said.root.resolve().name,
            layout=self.layout,
            form=known,
            labels=labels,
            source=source,
            splits=pairs,
            faults=tuple(self.faults),
            class_weights=self._weights(labels),
        )

    def _numbered(self) -> bool:
        """Whether the first mask holds numbers, although every class has a colour: it has one channel. A
        palette file does so for sure only where a person has said the numbers."""
        modes = ("1", "L", "P") if self.said.classes is not None else ("1", "L")
        mode = next((mode_of(path) for path in self._mask_files()), None)
        return mode is not None and (mode in modes or mode.startswith("I"))

    def _mask_files(self) -> Iterator[Path]:
        for files in self.splits.values():
            yield from (mask for _, mask in files.pairs)
            for folder in files.masks:
                for root, _, names in os.walk(folder):
                    those = (Path(root, name) for name in sorted(names) if not name.startswith("."))
                    yield from (path for path in those if path.suffix.lower() in IMAGE_SUFFIXES)

    def _images(self, split: str, files: SplitFiles) -> dict[str, str]:
        """Stem to path; where there are several folders, the stem begins with the folder's path below what
        they have in common."""
        found: dict[str, str] = {}
        for folder, masks, prefix in zip(files.images, files.masks, _prefixes(files.images), strict=True):
            skipped = masks if masks != folder and masks.is_relative_to(folder) else None
            stems = files_by_stem(
                folder, self.faults, split=split, skipped=skipped, ending=files.image_ending
            )
            beside = files.mask_ending if masks == folder else ""
            found |= {prefix + s: path for s, path in stems.items() if not (beside and s.endswith(beside))}
        if files.pairs:
            return self._listed_images(split, files)
        if files.names is None:
            return found
        listed = dict.fromkeys(_listed_names(files.names))
        for name in sorted(listed.keys() - found.keys()):
            what = f"the list names {name!r}, and there is no such image"
            fix = f"correct the line in {files.names}, or add the image to {files.images[0]}"
            self.faults.append(
                Fault(kind="missing-image", what=what, fix=fix, files=(files.names,), split=split, stem=name)
            )
        return {name: found[name] for name in listed if name in found}

    def _listed_images(self, split: str, files: SplitFiles) -> dict[str, str]:
        found: dict[str, str] = {}
        for path, _ in files.pairs:
            stem = self._listed_stem(path)
            if stem in found:
                what = f"{path.name} is listed twice, or has the stem of another picture"
                fix = "take one of the two lines out of the list, or rename a picture"
                paths = (path, Path(found[stem]))
                self.faults.append(
                    Fault(kind="same-stem", what=what, fix=fix, files=paths, split=split, stem=stem)
                )
            found.setdefault(stem, str(path))
        return found

    def _listed_stem(self, path: Path) -> str:
        """Path below the root, or what is left of it where it leads out of there."""
        try:
            within = os.path.relpath(path, self.said.root)
        except ValueError:  # on another drive of Windows
            within = os.path.splitdrive(path)[1]
        parts = [part for part in within.replace(os.sep, "/").split("/") if part not in ("", "..")]
        return _stem("/".join(parts))

    def _form(self, images: Mapping[str, Mapping[str, str]]) -> str:
        for split, files in self.splits.items():
            for masks, prefix in zip(files.masks, _prefixes(files.images), strict=True):
                if masks.is_dir() or masks.is_file():
                    stems = {s.removeprefix(prefix) for s in images[split] if s.startswith(prefix)}
                    return detect_form(masks, stems, ending=files.mask_ending)
            for _, mask in files.pairs[:1]:
                return {".json": "labelme", ".txt": "yolo"}.get(mask.suffix.lower(), "index")
        return "index"

    def _weights(self, labels: LabelSet) -> tuple[float, ...]:
        weights = self.said.class_weights
        for name in weights:
            if name not in labels.names:
                raise InputError(
                    f"a weight is given for {name!r}, which is no class.{nearest(name, labels.names)}",
                    where=self.said.path,
                    fix=f"classes: {', '.join(labels.names[:20])}",
                )
        return tuple(weights.get(name, 1.0) for name in labels.names)

    def _pairs(
        self, split: str, files: SplitFiles, images: Mapping[str, str], masks: Masks, form: str
    ) -> tuple[Pair, ...]:
        found: dict[str, MaskSource] = {}
        for image, mask in files.pairs:
            found.setdefault(self._listed_stem(image), masks.one(mask, form))
        for images_folder, folder, prefix in zip(
            files.images, files.masks, _prefixes(files.images), strict=True
        ):
            stems = {s.removeprefix(prefix): path for s, path in images.items() if s.startswith(prefix)}
            below = masks.all(
                folder,
                form,
                stems,
                self.faults,
                images_folder=images_folder,
                split=split,
                ending=files.mask_ending,
            )
            found |= {prefix + s: mask for s, mask in below.items()}
        if files.names is not None:
            found = {s: mask for s, mask in found.items() if s in images}
        return pair_up(images, found, self.faults, split=split, mask_fix=_MASK_FIX.get(form, SAME_NAME))


_MASK_FIX = {
    "yolo": "add its .txt file; an empty one says that nothing is on the picture",
    "labelme": "add its .json file, or remove the image",
    "coco": "add the image to the document, or remove it",
}
"""What to do about an image without a mask."""


def _listed_names(path: Path) -> list[str]:
    """Stems of a list; names may come with a suffix."""
    return [_stem(name.replace("\\", "/")) for (name,) in read_list(path, columns=1)]


def _stem(name: str) -> str:
    """A path with ``/`` without its suffix, if that is a picture's."""
    stem, dot, suffix = name.rpartition(".")
    return stem_of(stem if dot and dot + suffix.lower() in IMAGE_SUFFIXES else name)


def _prefixes(folders: Sequence[Path]) -> list[str]:
    """What tells the stems of several folders apart: their paths below what they have in common.

    Raises:
        InputError: a folder is given twice, or lies in another one.
    """
    if len(folders) < 2:
        return [""] * len(folders)
    places = [Path(os.path.abspath(folder)) for folder in folders]
    for i, place in enumerate(places):
        for other in places[:i] + places[i + 1 :]:
            if place.is_relative_to(other):
                raise InputError(
                    f"the same pictures twice: the folder is given together with {other}",
                    where=place,
                    fix="name the outer folder alone; folders in it are searched too",
                )
    try:
        common = os.path.commonpath(places)
    except ValueError:  # on several drives of Windows
        return [
            f"{place.drive.rstrip(':')}/{place.relative_to(place.anchor).as_posix()}/" for place in places
        ]
    return [place.relative_to(common).as_posix() + "/" for place in places]


def _not_recognised(root: Path) -> InputError:
    resolved = root.resolve()
    try:
        children = sorted(child for child in root.iterdir() if child.is_dir())[:100]
        names = sorted(f"{child.name}/" if child.is_dir() else child.name for child in root.iterdir())
    except OSError as error:
        return InputError(f"cannot list the folder: {error.strerror}", where=root, fix="check access")
    held = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"
    near = [f for f in (*children, resolved.parent, resolved.parent.parent) if looks_like_data(f)]
    return InputError(
        f"no data set recognised in the folder; it holds {held}",
        where=root,
        fix=f"did you mean {near[0]}? {recognised()}" if near else recognised(),
    )
