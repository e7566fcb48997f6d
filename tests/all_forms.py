"""One data set in every form that is read: whole folders as tools and people leave them.

Label maps hold 0..K-1 and K, void, which is to be ignored: each form says so in its own way, and where it
cannot, a ``dataset.yaml`` beside it does.

H, W: height and width of a picture, pixels. K: number of classes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from mask_forms_colors import (
    write_class_dict,
    write_color,
    write_label_studio,
    write_labelmap,
    write_per_class,
    write_roboflow_classes,
)
from mask_forms_polygons import write_coco, write_coco_rle, write_labelme, write_yolo
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from sceneparse.labels import camvid as camvid_labels
from sceneparse.labels import distinct_colors

Labels = NDArray[np.uint8]
VOID = "void"


@dataclass(frozen=True)
class Truth:
    """A data set: names of the K classes; by split and stem, the bytes of a JPEG and its (H, W) label map."""

    names: tuple[str, ...]
    splits: dict[str, dict[str, tuple[bytes, Labels]]]

    @property
    def named(self) -> dict[int, str]:
        """Name of every number in the label maps."""
        return dict(enumerate((*self.names, VOID)))

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Of every number: those that classes without a colour get."""
        return distinct_colors(len(self.names) + 1)

    def index(self, split: str, stem: str) -> Labels:
        """(H, W) training indices: void is 255."""
        labels = self.splits[split][stem][1]
        return np.where(labels == len(self.names), 255, labels).astype(np.uint8)

    def each(self) -> Iterator[tuple[str, str, Labels]]:
        """(split, stem, label map) of all pictures."""
        for split, pictures in self.splits.items():
            for stem, (_, labels) in pictures.items():
                yield split, stem, labels


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A (H, W, 3) picture as a small JPEG."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=60)
    return data.getvalue()


def small_truth() -> Truth:
    """Four and two pictures of a few thousand pixels, with names and sizes that are no round ones."""
    rng = np.random.default_rng(5)
    names = ("sky", "grüner Baum", "sign-symbol", "road", "road car")
    stems = {"train": ("größe 1", "b", "b 2", "c.v1"), "val": ("b_3", "d")}
    splits = {}
    for split, listed in stems.items():
        splits[split] = {}
        for i, stem in enumerate(listed):
            size = (31 + 9 * i, 47 - 4 * i)
            blocks = rng.integers(0, len(names) + 1, (7, 6)).astype(np.uint8)
            labels = np.kron(blocks, np.ones((9, 8), np.uint8))[: size[0], : size[1]]
            labels[rng.random(labels.shape) < 0.01] = rng.integers(0, len(names) + 1)
            splits[split][stem] = (jpeg(rng.integers(0, 256, (*size, 3), np.uint8)), labels)
    return Truth(names, splits)


def camvid_truth(folder: Path, *, train: int, val: int) -> Truth:
    """So many pairs of CamVid, spread over its splits, at their own size."""
    splits = {}
    for split, count in (("train", train), ("val", val)):
        images = sorted((folder / split).glob("*.png"))
        splits[split] = {
            path.stem: (
                jpeg(np.array(Image.open(path).convert("RGB"))),
                np.array(Image.open(folder / f"{split}annot" / path.name)),
            )
            for path in images[:: len(images) // count][:count]
        }
    return Truth(camvid_labels().names, splits)


# ---------------------------------------------------------------------- pieces of a form


def put(path: Path, data: bytes | str) -> None:
    """A file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def write_images(
    root: Path,
    truth: Truth,
    where: str = "images/{split}/{stem}.jpg",
    splits: Mapping[str, str] | None = None,
) -> None:
    """The pictures; ``splits``: the form's own names for them."""
    for split, pictures in truth.splits.items():
        for stem, (data, _) in pictures.items():
            put(root / where.format(split=(splits or {}).get(split, split), stem=stem), data)


def write_said(root: Path, **values: object) -> None:
    """``dataset.yaml``."""
    put(root / "dataset.yaml", yaml.safe_dump(values, allow_unicode=True, sort_keys=False))


def write_masks(
    root: Path,
    truth: Truth,
    save: Callable[[Labels, Path], None],
    where: str = "masks/{split}/{stem}.png",
    splits: Mapping[str, str] | None = None,
) -> None:
    """A picture file for each label map."""
    for split, stem, labels in truth.each():
        path = root / where.format(split=(splits or {}).get(split, split), stem=stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(labels, path)


def save_grey(labels: NDArray[np.integer], path: Path) -> None:
    Image.fromarray(labels).save(path)


def save_palette(labels: Labels, path: Path, *, seed: int | None = None) -> None:
    """With PASCAL VOC's colours, or with any whatever."""
    image = Image.fromarray(labels)
    colors = np.array([(0, 0, 0), *distinct_colors(255)], np.uint8)
    if seed is not None:
        np.random.default_rng(seed).shuffle(colors)
    image.putpalette(colors.tobytes())
    image.save(path)


def save_channels(labels: Labels, path: Path, *, alpha: bool = False) -> None:
    """The grey in three equal channels."""
    channels = [labels] * 3 + ([np.full_like(labels, 255)] if alpha else [])
    Image.fromarray(np.dstack(channels)).save(path)


def renumbered(labels: Labels, numbers: Mapping[int, int], dtype: type = np.uint8) -> NDArray[np.integer]:
    """A label map with other numbers; those that are not named stay."""
    table = np.arange(256).astype(dtype)
    for old, new in numbers.items():
        table[old] = new
    return table[labels]


# ---------------------------------------------------------------------- pictures of numbers


def plain(root: Path, truth: Truth, *, save: Callable[[Labels, Path], None], suffix: str = "png") -> None:
    """``images/SPLIT``, ``masks/SPLIT`` and ``classes.txt``."""
    write_images(root, truth)
    write_masks(root, truth, save, f"masks/{{split}}/{{stem}}.{suffix}")
    put(root / "classes.txt", "\n".join(truth.named.values()))
    write_said(root, ignore=[VOID])


def index_16_bit(root: Path, truth: Truth) -> None:
    """Numbers from 300 on."""
    count = len(truth.names)
    numbers = {i: 300 + 7 * i for i in range(count)} | {count: 65535}
    write_images(root, truth)
    write_masks(root, truth, lambda labels, path: save_grey(renumbered(labels, numbers, np.uint16), path))
    write_said(root, classes={numbers[i]: name for i, name in enumerate(truth.names)}, ignore=[65535])


def listed(root: Path, truth: Truth) -> None:
    """List files of two columns; images and masks in one folder."""
    write_images(root, truth, "{stem}.jpg")
    write_masks(root, truth, save_grey, "{stem} mask.png")
    for split, pictures in truth.splits.items():
        put(root / f"{split}.txt", "".join(f"{stem}.jpg\t{stem} mask.png\n" for stem in pictures))
    said = {split: {"list": f"{split}.txt"} for split in truth.splits}
    write_said(root, **said, classes=list(truth.named.values()), ignore=[VOID])


def ultralytics_masks(root: Path, truth: Truth) -> None:
    """``masks_dir`` of Ultralytics' semantic task: 255 is ignored."""
    void = {len(truth.names): 255}
    write_images(root, truth)
    write_masks(root, truth, lambda labels, path: save_grey(renumbered(labels, void), path))
    said = {split: f"images/{split}" for split in truth.splits}
    said |= {"path": ".", "names": dict(enumerate(truth.names)), "masks_dir": "masks"}
    put(root / "data.yaml", yaml.safe_dump(said, allow_unicode=True))


_LABEL_IDS = (23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 33)
_TRAIN_IDS = (10, 2, 5, 0, 1, 8, 7, 4, 13, 11, 18)


def cityscapes(root: Path, truth: Truth, *, kind: str) -> None:
    """Cityscapes' folders and names, with as many of its numbers as there are classes."""
    ids, void = (_LABEL_IDS, 0) if kind == "labelIds" else (_TRAIN_IDS, 255)
    count = len(truth.names)
    numbers = dict(enumerate(ids[:count])) | {count: void}
    write_images(root, truth, "leftImg8bit/{split}/{stem}_leftImg8bit.jpg")
    where = f"gtFine/{{split}}/{{stem}}_gtFine_{kind}.png"
    write_masks(root, truth, lambda labels, path: save_grey(renumbered(labels, numbers), path), where)
    for split, pictures in truth.splits.items():
        for stem in pictures:  # further files that are no masks
            put(root / f"gtFine/{split}/{stem}_gtFine_polygons.json", "{}")
    write_said(root, classes={numbers[i]: name for i, name in enumerate(truth.names)}, ignore=[void])


def pascal_voc(root: Path, truth: Truth) -> None:
    """PASCAL VOC's folders and lists, its palette, and 255 for what is not to count."""
    void = {len(truth.names): 255}
    write_images(root, truth, "JPEGImages/{stem}.jpg")
    write_masks(
        root,
        truth,
        lambda labels, path: save_palette(renumbered(labels, void), path),
        "SegmentationClass/{stem}.png",
    )
    for split, pictures in truth.splits.items():
        put(root / f"ImageSets/Segmentation/{split}.txt", "\n".join(pictures))
    write_said(root, classes=list(truth.names), ignore=[255])


def ade20k(root: Path, truth: Truth) -> None:
    """ADE20K's folders: classes from 1 on, 0 is ignored."""
    splits = {"train": "training", "val": "validation"}
    count = len(truth.names)
    numbers = {i: i + 1 for i in range(count)} | {count: 0}
    write_images(root, truth, splits=splits)
    where = "annotations/{split}/{stem}.png"
    write_masks(root, truth, lambda labels, path: save_grey(renumbered(labels, numbers), path), where, splits)
    write_said(root, classes={i + 1: name for i, name in enumerate(truth.names)}, ignore=[0])


def camvid(root: Path, truth: Truth) -> None:
    """CamVid's folders as SegNet has them."""
    write_images(root, truth, "{split}/{stem}.jpg")
    write_masks(root, truth, save_grey, "{split}annot/{stem}.png")
    write_said(root, classes=list(truth.named.values()), ignore=[VOID])


_VALID = {"val": "valid"}


def roboflow(root: Path, truth: Truth) -> None:
    """Roboflow's masks: images and masks in one folder, numbers in ``_classes.csv``."""
    write_images(root, truth, "{split}/{stem}.jpg", _VALID)
    write_masks(root, truth, save_grey, "{split}/{stem}_mask.png", _VALID)
    for split in ("train", "valid"):
        write_roboflow_classes(root / split / "_classes.csv", truth.named)
    write_said(root, ignore=[VOID])


# ---------------------------------------------------------------------- pictures of colours


def colored(labels: Labels, path: Path, *, truth: Truth, alpha: int | None = None) -> None:
    write_color(path, labels, dict(enumerate(truth.colors)), alpha=alpha)


def cvat(root: Path, truth: Truth) -> None:
    """CVAT's "Segmentation mask": colours by ``labelmap.txt``, whose first line is the background."""
    write_images(root, truth, "JPEGImages/{stem}.jpg")
    write_masks(root, truth, partial(colored, truth=truth), "SegmentationClass/{stem}.png")
    for split, pictures in truth.splits.items():
        put(root / f"ImageSets/Segmentation/{split}.txt", "\n".join(pictures) + "\n")
    names, colors = ("background", *truth.named.values()), ((0, 0, 0), *truth.colors)
    write_labelmap(root / "labelmap.txt", names, colors)
    write_said(root, ignore=["background", VOID])


def class_dict(root: Path, truth: Truth) -> None:
    """Colours by ``class_dict.csv``."""
    write_images(root, truth)
    write_masks(root, truth, partial(colored, truth=truth))
    write_class_dict(root / "class_dict.csv", tuple(truth.named.values()), truth.colors)
    write_said(root, ignore=[VOID])


def roboflow_colors(root: Path, truth: Truth) -> None:
    """Roboflow's folders with colours, and a ``_classes.csv`` that says them."""
    write_images(root, truth, "{split}/{stem}.jpg", _VALID)
    write_masks(root, truth, partial(colored, truth=truth), "{split}/{stem}_mask.png", _VALID)
    rows = [f"{n},{r},{g},{b}" for n, (r, g, b) in zip(truth.named.values(), truth.colors, strict=True)]
    for split in ("train", "valid"):
        put(root / split / "_classes.csv", "\n".join(("Class,R,G,B", *rows)))
    write_said(root, ignore=[VOID])


def colors_in_yaml(root: Path, truth: Truth) -> None:
    """RGBA, and ``dataset.yaml`` alone says the colours."""
    write_images(root, truth)
    write_masks(root, truth, partial(colored, truth=truth, alpha=255))
    rows = [
        {"name": n, "color": list(color)} for n, color in zip(truth.named.values(), truth.colors, strict=True)
    ]
    write_said(root, form="color", classes=rows, ignore=[VOID])


# ---------------------------------------------------------------------- a picture for each class


def per_class(root: Path, truth: Truth, *, pattern: str) -> None:
    """A file for each class of a picture."""
    write_images(root, truth)
    for split, stem, labels in truth.each():
        write_per_class(root / "masks" / split, stem, labels, truth.named, pattern=pattern)
    write_said(root, classes=list(truth.named.values()), ignore=[VOID])


def per_region(root: Path, truth: Truth) -> None:
    """A file for each region; void is what none of them covers."""
    write_images(root, truth)
    for split, stem, labels in truth.each():
        for number, name in enumerate(truth.names):
            parts, count = ndimage.label(labels == number)
            for part in range(1, count + 1):
                path = root / "masks" / split / f"{stem}__{name}_{part - 1}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(parts == part).save(path)
    write_said(root, classes=list(truth.names), uncovered="ignore")


def label_studio(root: Path, truth: Truth, *, minimal: bool) -> None:
    """Label Studio's PNG export with its JSON beside; the images as it was given them."""
    write_images(root, truth)
    for first, (split, pictures) in enumerate(truth.splits.items()):
        masks = {f"{stem}.jpg": labels for stem, (_, labels) in pictures.items()}
        folder = root / "masks" / split
        write_label_studio(folder, masks, truth.named, minimal=minimal, first_task=1 + 1000 * first)
    put(root / "classes.txt", "\n".join(truth.named.values()))
    write_said(root, ignore=[VOID])


# ---------------------------------------------------------------------- documents


def coco(root: Path, truth: Truth, *, save: Callable[..., None]) -> None:
    """``images/SPLIT`` and ``annotations/instances_SPLIT.json``."""
    write_images(root, truth)
    for split, pictures in truth.splits.items():
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        masks = {f"{stem}.jpg": labels + 1 for stem, (_, labels) in pictures.items()}
        save(path, masks, {number + 1: name for number, name in truth.named.items()})
    write_said(root, ignore=[VOID])


def coco_roboflow(root: Path, truth: Truth) -> None:
    """Roboflow's COCO export: the document beside the pictures."""
    write_images(root, truth, "{split}/{stem}.jpg", _VALID)
    for split, pictures in truth.splits.items():
        path = root / _VALID.get(split, split) / "_annotations.coco.json"
        write_coco(path, {f"{stem}.jpg": labels for stem, (_, labels) in pictures.items()}, truth.named)
    write_said(root, ignore=[VOID])


def labelme(root: Path, truth: Truth) -> None:
    """Documents beside the pictures, with LabelMe's own list of labels and its word for void."""
    write_images(root, truth, "{split}/{stem}.jpg")
    names = truth.named | {len(truth.names): "__ignore__"}
    for split, stem, labels in truth.each():
        write_labelme(root / split / f"{stem}.json", labels, names)
    put(root / "labels.txt", "\n".join(("__ignore__", *truth.names)))


def yolo(root: Path, truth: Truth) -> None:
    """Ultralytics' folders and ``data.yaml``; ``dataset.yaml`` adds what that cannot say."""
    write_images(root, truth)
    for split, stem, labels in truth.each():
        path = root / "labels" / split / f"{stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_yolo(path, labels)
    said = {split: f"images/{split}" for split in truth.splits}
    put(root / "data.yaml", yaml.safe_dump(said | {"names": list(truth.named.values())}, allow_unicode=True))
    write_said(root, ignore=[VOID])


def yolo_roboflow(root: Path, truth: Truth) -> None:
    """Roboflow's folders: ``train/images`` beside ``train/labels``."""
    write_images(root, truth, "{split}/images/{stem}.jpg", _VALID)
    for split, stem, labels in truth.each():
        path = root / _VALID.get(split, split) / "labels" / f"{stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_yolo(path, labels)
    names = list(truth.named.values())
    said = {"train": "../train/images", "val": "../valid/images", "nc": len(names), "names": names}
    put(root / "data.yaml", yaml.safe_dump(said, allow_unicode=True))
    write_said(root, ignore=[VOID])


ALL_FORMS: dict[str, Callable[[Path, Truth], None]] = {
    "index 8 bit": partial(plain, save=save_grey),
    "index 16 bit": index_16_bit,
    "index TIFF": partial(plain, save=save_grey, suffix="tif"),
    "palette": partial(plain, save=save_palette),
    "palette of any colours": partial(plain, save=partial(save_palette, seed=1)),
    "grey in three channels": partial(plain, save=save_channels),
    "grey in four channels": partial(plain, save=partial(save_channels, alpha=True)),
    "list files": listed,
    "Ultralytics masks_dir": ultralytics_masks,
    "Cityscapes labelIds": partial(cityscapes, kind="labelIds"),
    "Cityscapes labelTrainIds": partial(cityscapes, kind="labelTrainIds"),
    "PASCAL VOC": pascal_voc,
    "ADE20K": ade20k,
    "CamVid": camvid,
    "Roboflow _classes.csv": roboflow,
    "CVAT labelmap.txt": cvat,
    "class_dict.csv": class_dict,
    "Roboflow colours": roboflow_colors,
    "colours in dataset.yaml": colors_in_yaml,
    "per class, folders of images": partial(per_class, pattern="{stem}/{name}.png"),
    "per class, folders of classes": partial(per_class, pattern="{name}/{stem}.png"),
    "per class, names": partial(per_class, pattern="{stem}_{name}.png"),
    "per region": per_region,
    "Label Studio, JSON": partial(label_studio, minimal=False),
    "Label Studio, JSON-MIN": partial(label_studio, minimal=True),
    "COCO polygons": partial(coco, save=write_coco),
    "COCO run lengths": partial(coco, save=partial(write_coco_rle, compressed=False)),
    "COCO compressed run lengths": partial(coco, save=partial(write_coco_rle, compressed=True)),
    "COCO, Roboflow": coco_roboflow,
    "LabelMe": labelme,
    "YOLO": yolo,
    "YOLO, Roboflow": yolo_roboflow,
}
