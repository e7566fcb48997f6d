"""Layouts that are recognised: where each keeps images and masks of its splits, and what says its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sceneparse import labels as shipped
from sceneparse.data.class_files import find_class_file, read_class_file
from sceneparse.data.classes import SourceClasses
from sceneparse.data.dataset_file import SPLITS, DatasetFile, SplitFiles
from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One layout.

    Args:
        title: name for people.
        shape: where its files are, in a line.
        find: what of it is in a folder: each split's files, none if the folder has another layout.
        form: of its masks; None where the files tell.
        label_set: the shipped classes it has when no class file is there.
    """

    title: str
    shape: str
    find: Callable[[Path], dict[str, SplitFiles]]
    form: str | None = None
    label_set: str | None = None


def _folders(folders: Mapping[str, tuple[str, str]]) -> Callable[[Path], dict[str, SplitFiles]]:
    """Finds pairs of folders, by split. A split with one of its two folders counts: the other is then named
    as missing; but pictures that are to be tested, "test", often have no masks."""

    def find(root: Path) -> dict[str, SplitFiles]:
        found = {}
        for split, names in folders.items():
            images, masks = (root / name for name in names)
            there = (images.is_dir(), masks.is_dir())
            if all(there) or (any(there) and split != "test"):
                found[split] = SplitFiles(images=(images,), masks=(masks,))
        return found

    return find


def _camvid(root: Path) -> dict[str, SplitFiles]:
    """The folder ``train`` alone could be anything."""
    masks_there = any((root / name).is_dir() for name in ("trainannot", "valannot"))
    folders = {split: (split, f"{split}annot") for split in SPLITS}
    return _folders(folders)(root) if masks_there else {}


def _cityscapes(kind: str) -> Callable[[Path], dict[str, SplitFiles]]:
    """Cityscapes' folders, where they hold masks of a kind: ``labelIds`` or ``labelTrainIds``."""
    ending = f"_gtFine_{kind}"

    def find(root: Path) -> dict[str, SplitFiles]:
        found = _folders({split: (f"leftImg8bit/{split}", f"gtFine/{split}") for split in SPLITS})(root)
        return {
            split: SplitFiles(
                images=files.images, masks=files.masks, image_ending="_leftImg8bit", mask_ending=ending
            )
            for split, files in found.items()
            if next(files.masks[0].rglob(f"*{ending}.png"), None) is not None
        }

    return find


def _voc(root: Path) -> dict[str, SplitFiles]:
    """PASCAL VOC's folders; CVAT's export too, whose only list may be called ``default``."""
    masks = root / "SegmentationClass"
    if not masks.is_dir():
        return {}
    lists = root / "ImageSets" / "Segmentation"
    files = {split: lists / f"{split}.txt" for split in SPLITS}
    splits = {split: path for split, path in files.items() if path.is_file()}
    if not splits and (lists / "default.txt").is_file():
        splits = {"train": lists / "default.txt"}
    images = root / "JPEGImages"
    if not splits:
        return {"train": SplitFiles(images=(images,), masks=(masks,))}
    return {split: SplitFiles(images=(images,), masks=(masks,), names=path) for split, path in splits.items()}


_ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}
"""Folders of Roboflow's exports."""


def _roboflow(root: Path) -> dict[str, SplitFiles]:
    """``train/x.jpg`` beside ``train/x_mask.png`` and ``train/_classes.csv``."""
    return {
        split: SplitFiles(images=(root / name,), masks=(root / name,), mask_ending="_mask")
        for split, name in _ROBOFLOW.items()
        if (root / name / "_classes.csv").is_file()
    }


def _coco(root: Path) -> dict[str, SplitFiles]:
    """Roboflow's ``train/_annotations.coco.json``, or ``annotations/train.json`` with a folder of images."""
    found = {
        split: SplitFiles(images=(root / name,), masks=(root / name / "_annotations.coco.json",))
        for split, name in _ROBOFLOW.items()
        if (root / name / "_annotations.coco.json").is_file()
    }
    if found or not (root / "annotations").is_dir():
        return found
    for split in SPLITS:
        documents = _coco_documents(root / "annotations", split)
        folders = [root / name for name in (f"images/{split}", f"images/{split}2017", f"{split}2017", split)]
        folder = next((f for f in (*folders, root / "images") if f.is_dir()), None)
        if documents and folder:
            found[split] = SplitFiles(images=(folder,), masks=(documents[0],))
    return found


def _coco_documents(folder: Path, split: str) -> list[Path]:
    """Documents of shapes for a split: ``train.json``, ``instances_train2017.json``, the plainest first."""
    kinds = ("", "instances_", "stuff_")
    names = [f"{kind}{split}{year}.json" for kind in kinds for year in ("", "2017")]
    return [folder / name for name in names if (folder / name).is_file()]


def _labelme(root: Path) -> dict[str, SplitFiles]:
    """``train/x.jpg`` beside ``train/x.json``."""
    return {
        split: SplitFiles(images=(root / split,), masks=(root / split,))
        for split in SPLITS
        if _has_pictures_and_documents(root / split)
    }


def _has_pictures_and_documents(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    suffixes = {path.suffix.lower() for path in folder.iterdir()}
    return ".json" in suffixes and not suffixes.isdisjoint(IMAGE_SUFFIXES)


def _plain(root: Path) -> dict[str, SplitFiles]:
    for masks in ("masks", "labels", "annotations"):
        found = _folders({split: (f"images/{split}", f"{masks}/{split}") for split in SPLITS})(root)
        if found and all(files.masks[0].is_dir() for files in found.values()):
            return found
    found = _folders({split: (f"images/{split}", f"masks/{split}") for split in SPLITS})(root)
    return found or _undivided(root)


def _undivided(root: Path) -> dict[str, SplitFiles]:
    """``images`` and ``masks`` without splits: all of it is "train"."""
    for masks in ("masks", "labels", "annotations"):
        if (root / "images").is_dir() and (root / masks).is_dir():
            return {"train": SplitFiles(images=(root / "images",), masks=(root / masks,))}
    return {}


LAYOUTS = {
    "ade20k": Layout(
        title="ADE20K challenge",
        shape="images/{training,validation} + annotations/{training,validation}",
        find=_folders(
            {
                "train": ("images/training", "annotations/training"),
                "val": ("images/validation", "annotations/validation"),
            }
        ),
        form="index",
        label_set="ade20k",
    ),
    "cityscapes": Layout(
        title="Cityscapes",
        shape="leftImg8bit/{train,val} + gtFine/{train,val}",
        find=_cityscapes("labelIds"),
        form="index",
        label_set="cityscapes",
    ),
    "cityscapes-train-ids": Layout(
        title="Cityscapes, train ids",
        shape="the same with NAME_gtFine_labelTrainIds.png alone",
        find=_cityscapes("labelTrainIds"),
        form="index",
        label_set="cityscapes-train-ids",
    ),
    "voc": Layout(
        title="PASCAL VOC, CVAT",
        shape="JPEGImages + SegmentationClass + ImageSets/Segmentation/{train,val}.txt (+ labelmap.txt)",
        find=_voc,
        label_set="voc",
    ),
    "roboflow": Layout(
        title="Roboflow masks", shape="{train,valid}/NAME.jpg + NAME_mask.png + _classes.csv", find=_roboflow
    ),
    "coco": Layout(
        title="COCO",
        shape="images/{train,val} + annotations/{train,val}.json, or {train,valid}/_annotations.coco.json",
        find=_coco,
        form="coco",
    ),
    "camvid": Layout(
        title="CamVid/SegNet",
        shape="train + trainannot, val + valannot",
        find=_camvid,
        form="index",
        label_set="camvid",
    ),
    "labelme": Layout(
        title="LabelMe", shape="{train,val}/NAME.jpg + NAME.json", find=_labelme, form="labelme"
    ),
    "plain": Layout(
        title="plain",
        shape="images/{train,val} + masks/{train,val} (or labels) + classes.txt (one name a line, from 0)",
        find=_plain,
    ),
}
"""By name, in the order in which they are tried. YOLO's is none of them: its own data.yaml says all."""


def recognised() -> str:
    """All layouts, a line each, for messages."""
    lines = [f"         {layout.title:22}{layout.shape}" for layout in LAYOUTS.values()]
    lines.append(f"         {'YOLO':22}data.yaml + images/train + labels/train")
    lines.append(
        f"         {'any other':22}dataset.yaml says where they are (check --write-yaml proposes one)"
    )
    return "recognised layouts:\n" + "\n".join(lines)


def recognise(root: Path) -> str | None:
    """The first layout of which something is in a folder."""
    return next((name for name, layout in LAYOUTS.items() if layout.find(root)), None)


DATASET_FILES = ("dataset.yaml", "dataset.yml")


def looks_like_data(folder: Path) -> bool:
    """Whether a folder is a data set."""
    names = (*DATASET_FILES, *YOLO_FILES)
    return any((folder / name).is_file() for name in names) or recognise(folder) is not None


YOLO_FILES = ("data.yaml", "data.yml")


def yolo_dataset(path: Path) -> DatasetFile:
    """What a YOLO ``data.yaml`` says, in our words."""
    from sceneparse.data.masks.yolo import yolo_yaml

    said = yolo_yaml(path)
    splits = said.splits | {split: SplitFiles(pairs=pairs) for split, pairs in said.listed.items()}
    return DatasetFile(root=path.parent, path=path, splits=splits, form=said.form, classes=said.classes)


class NoClassesError(InputError):
    """Nothing says the classes of a data set."""


def found_classes(
    root: Path,
    layout: str | None,
    form: str,
    splits: Mapping[str, SplitFiles],
    images: Mapping[str, Mapping[str, str]],
) -> SourceClasses:
    """The classes that a data set comes with: of its documents, of a class file, of its files' names, or its
    layout's own.

    Args:
        root: of the data set.
        layout: key of :data:`LAYOUTS`, or None.
        form: of the masks.
        splits: where the files of each split are.
        images: stem to path of each split's images.

    Raises:
        NoClassesError: nothing says them.
        InputError: what says them cannot be read.
    """
    folders = [folder for files in splits.values() for folder in files.masks]
    if form == "coco":
        from sceneparse.data.masks.coco import CocoDocument, coco_classes

        return coco_classes([CocoDocument(path) for path in folders])
    for folder in (root, *folders, *(folder.parent for folder in folders)):
        file = find_class_file(folder) if folder.is_dir() else None
        if file is not None:
            return read_class_file(file)
    if form == "labelme":
        from sceneparse.data.masks.labelme import labelme_classes

        listed = [mask for files in splits.values() for _, mask in files.pairs]
        below = [path for folder in folders for path in sorted(folder.rglob("*.json"))]
        return labelme_classes(below + listed)
    if form == "per-class":
        from sceneparse.data.masks.per_class import class_names_of_files

        stems = {stem: path for found in images.values() for stem, path in found.items()}
        names = {name for folder in folders for name in class_names_of_files(folder, stems)}
        return SourceClasses.numbered(sorted(names))
    name = LAYOUTS[layout].label_set if layout is not None else None
    if name is not None:
        return SourceClasses.of(shipped.label_set(name))
    raise NoClassesError(
        "nothing says what the numbers in the masks mean",
        where=root,
        fix=f"write {root / 'classes.txt'}, one class name a line (line 1 is number 0), or a dataset.yaml "
        f"(`sceneparse check {root} --write-yaml` proposes one), or name a shipped label set: "
        f"{', '.join(shipped.LABEL_SETS)}",
    )
