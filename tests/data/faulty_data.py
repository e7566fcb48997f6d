"""A data set with one of each fault, and what must be found in it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (24, 32)
"""Height and width of images and masks, pixels."""

DATASET_YAML = "classes: [sky, road, car, boat]\nignore: [200]\n"

EXPECTED = {
    "missing-mask": ["images/train/no mask.png"],
    "missing-image": ["masks/train/no image.png"],
    "same-stem": ["images/val/twice.jpg", "images/val/twice.png"],
    "empty-file": ["images/train/empty image.png", "masks/train/empty mask.png"],
    "unreadable": [
        "images/train/cut photo.jpg",
        "images/train/cut picture.png",
        "images/train/pointer.png",
        "images/val/page.png",
        "masks/train/cut mask.png",
    ],
    "size": ["masks/train/small.png", "masks/train/stored.png"],
    "values": ["masks/train/eleven.png", "masks/train/white.png"],
    "colors": ["masks/train/coloured.png"],
    "lossy": ["masks/train/lossy.jpg"],
    "duplicate": ["images/train/same here.png"],
    "turned": ["images/train/turned.jpg"],
    "all-ignored": ["masks/train/ignored.png"],
    "never-trained": [],
    "no-pixels": [],
}
"""Kind to the files that must be named first, below the folder; of "same-stem" one of the two."""


def write_faulty(root: Path) -> Path:
    """The data set, in the plain layout with a ``dataset.yaml``."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset.yaml").write_text(DATASET_YAML, encoding="utf-8")
    sound = labels()
    for split in ("train", "val"):
        for i in range(3):
            pair(root, split, f"sound {i}", sound)
    with_car = sound.copy()
    with_car[:4, :4] = 2
    pair(root, "val", "car", with_car)

    picture(root / "images/train/no mask.png")
    mask(root / "masks/train/no image.png", sound)
    pair(root, "val", "twice", sound)
    picture(root / "images/val/twice.jpg")
    for kind in ("image", "mask"):
        pair(root, "train", f"empty {kind}", sound)
        (root / f"{kind}s/train/empty {kind}.png").write_bytes(b"")
    for name, suffix in (("cut photo", "jpg"), ("cut picture", "png")):
        pair(root, "train", name, sound, suffix=suffix)
        cut(root / f"images/train/{name}.{suffix}")
    pair(root, "train", "cut mask", sound)
    cut(root / "masks/train/cut mask.png")
    pair(root, "train", "pointer", sound)
    (root / "images/train/pointer.png").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    )
    pair(root, "val", "page", sound)
    (root / "images/val/page.png").write_bytes(b"<html>not found</html>")
    pair(root, "train", "small", sound[::2, ::2])
    pair(root, "train", "stored", sound, suffix="jpg", orientation=6)
    pair(root, "train", "turned", np.rot90(sound, -1), suffix="jpg", orientation=6)
    for name, value in (("eleven", 11), ("white", 255)):
        strange = sound.copy()
        strange[:2, :5] = value
        pair(root, "train", name, strange)
    pair(root, "train", "coloured", sound)
    Image.fromarray(noise(5)).save(root / "masks/train/coloured.png")
    pair(root, "train", "lossy", sound)
    (root / "masks/train/lossy.png").unlink()
    Image.fromarray(sound).save(root / "masks/train/lossy.jpg")
    pair(root, "train", "ignored", np.full(SIZE, 200, np.uint8))
    for split, name in (("train", "same here"), ("val", "same there")):
        pair(root, split, name, sound, seed=99)
    return root


def labels() -> NDArray[np.uint8]:
    """Sky over road."""
    numbers = np.zeros(SIZE, np.uint8)
    numbers[SIZE[0] // 2 :] = 1
    return numbers


def noise(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


_made = iter(range(1000, 10**6))


def picture(path: Path, *, seed: int | None = None, orientation: int = 1) -> None:
    """An image that no other one is equal to, unless they have one seed; stored at :data:`SIZE`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(noise(next(_made) if seed is None else seed))
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    image.save(path, exif=exif.tobytes()) if orientation != 1 else image.save(path)


def mask(path: Path, numbers: NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(numbers)).save(path)


def pair(
    root: Path,
    split: str,
    name: str,
    numbers: NDArray[np.integer],
    *,
    suffix: str = "png",
    orientation: int = 1,
    seed: int | None = None,
) -> None:
    picture(root / f"images/{split}/{name}.{suffix}", seed=seed, orientation=orientation)
    mask(root / f"masks/{split}/{name}.png", numbers)


def cut(path: Path) -> None:
    """Take the second half of a file away."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def png_bytes(numbers: NDArray[np.integer]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(numbers).save(file, "PNG")
    return file.getvalue()
