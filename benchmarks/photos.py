"""Photos for the benchmarks of the data path: made up, the same on every machine, as heavy as real ones.

"Dead leaves": discs of all sizes that lie over each other, blurred as a lens does and with the noise of a
sensor. Such pictures have the edges and the spectrum of photos at every scale, and their JPEGs the size.
"""

from __future__ import annotations

import multiprocessing
import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

CLASSES = 20
BASES = 3
SIZES = ((4000, 3000), (4032, 3024), (3999, 3001), (4000, 2992), (3000, 4000))
"""Width and height of the photos, in turn."""

_MARGIN = 600


@cache
def _base(number: int) -> tuple[Image.Image, Image.Image, NDArray[np.int8]]:
    """A large picture, the classes in it, and noise; photos are cut out of it."""
    rng = np.random.default_rng(number)
    side = 4032 + _MARGIN
    image, mask = Image.new("RGB", (side, side), (96, 104, 92)), Image.new("L", (side, side))
    draw, draw_mask = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    colors = rng.normal((118, 112, 104), (52, 48, 50), (CLASSES * 8, 3)).clip(0, 255).astype(int)
    ground = rng.uniform(200, 800, 400)  # covers everything; the rest lies on it
    radii = np.concatenate([ground, (3.0**-2 - rng.random(60_000) * (3.0**-2 - 600.0**-2)) ** -0.5])
    centres, shapes = rng.random((len(radii), 2)) * side, 0.4 + 0.6 * rng.random(len(radii))
    for radius, (x, y), shape, kind in zip(
        radii.tolist(),
        centres.tolist(),
        shapes.tolist(),
        rng.integers(0, len(colors), len(radii)).tolist(),
        strict=True,
    ):
        box = (x - radius, y - radius * shape, x + radius, y + radius * shape)
        draw.ellipse(box, fill=tuple(colors[kind].tolist()))
        if radius > 40:  # nobody draws masks of smaller things
            draw_mask.ellipse(box, fill=kind % CLASSES)
    noise = rng.normal(0, 3, (side, side, 1)) + rng.normal(0, 1.5, (side, side, 3))
    return image.filter(ImageFilter.GaussianBlur(0.7)), mask, noise.round().clip(-127, 127).astype(np.int8)


def photo(number: int) -> tuple[Image.Image, Image.Image]:
    """Photo ``number`` and its mask of classes 0..19."""
    rng = np.random.default_rng((7, number))
    width, height = SIZES[number % len(SIZES)]
    image, mask, noise = _base(int(rng.integers(BASES)))
    left, top = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
    box = (int(left), int(top), int(left) + width, int(top) + height)
    image, mask = image.crop(box), mask.crop(box)
    if rng.random() < 0.5:
        image, mask = (part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for part in (image, mask))
    gain = rng.uniform(0.7, 1.2)
    image = image.point([min(255, round(value * gain)) for value in range(256)] * 3)
    shift = rng.integers(0, noise.shape[0] - max(SIZES[1]) + 1, 2)
    grain = noise[shift[0] : shift[0] + height, shift[1] : shift[1] + width]
    pixels = np.clip(np.asarray(image).astype(np.int16) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), mask


def _save(task: tuple[Path, Path, int]) -> None:
    image_path, mask_path, number = task
    image, mask = photo(number)
    temporary = image_path.with_suffix(".tmp")
    # Every other mask is a palette PNG, as annotation tools write them, the rest are grey.
    if number % 2:
        mask = Image.frombytes("P", mask.size, mask.tobytes())
        mask.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    mask.save(mask_path)
    image.save(temporary, "JPEG", quality=90, subsampling="4:2:0")
    os.replace(temporary, image_path)


def write_photos(parts: dict[Path, range], processes: int = 2) -> None:
    """Write photos and masks as far as they are not there yet: for each folder, in the plain layout, split
    ``train``, those of the numbers given."""
    tasks = []
    for folder, numbers in parts.items():
        for kind in ("images", "masks"):
            (folder / kind / "train").mkdir(parents=True, exist_ok=True)
        names = "".join(f"class {i}\n" for i in range(CLASSES))
        (folder / "classes.txt").write_text(names, encoding="utf-8")
        images, masks = folder / "images/train", folder / "masks/train"
        tasks += [(images / f"{i:05d}.jpg", masks / f"{i:05d}.png", i) for i in numbers]
    missing = [task for task in tasks if not task[0].is_file()]
    if missing:
        with multiprocessing.Pool(processes) as pool:
            pool.map(_save, missing, chunksize=max(1, len(missing) // (4 * processes)))
