"""Photos of about 4000 x 3000 to a pixel cache at short side 256: how much faster than Pillow, how different?

    python benchmarks/cache_build.py [--photos 1000] [--folder DIR] [--blocks 10]

Makes JPEGs (quality 90, 4:2:0) with PNG masks of the same size (half grey, half palette), then brings them to
the network's size in four ways, block after block in one run, so that all of them meet the same machine:

* Pillow, images: decode, resize with BILINEAR, in two processes;
* Pillow, images and masks: the same, and masks decoded and resized with NEAREST;
* ours, images: read_picture and prepare_picture in two threads;
* ours, all: PixelCache.open with two workers, which also counts every mask's values, compares every size and
  writes and syncs the cache file.

Says the ratios for images alone and with masks, and how much the images differ, over all photos. Writes
results/cache_build_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from photos import write_photos
from PIL import Image
from provenance import write_result

from sceneparse.data.cache import PixelCache
from sceneparse.data.dataset import open_dataset
from sceneparse.data.decode import read_picture
from sceneparse.data.preprocess import ResizePolicy, prepare_picture
from sceneparse.data.threads import mapped_in_order

POLICY = ResizePolicy(mode="short-side", size=256)
PROCESSES = 2
TARGET_RATIO, TARGET_LEVELS = 3.0, 2.0

Pixels = NDArray[np.uint8]


def plain_image(path: Path) -> Pixels:
    with Image.open(path) as image:
        height, width = POLICY.target_size(image.height, image.width)
        return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def plain_mask(path: Path) -> Pixels:
    with Image.open(path) as mask:
        height, width = POLICY.target_size(mask.height, mask.width)
        return np.asarray(mask.resize((width, height), Image.Resampling.NEAREST))


def plain_pair(paths: tuple[Path, Path]) -> tuple[Pixels, Pixels]:
    return plain_image(paths[0]), plain_mask(paths[1])


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


class Block:
    """Some of the photos, brought to size in each way; keeps what Pillow and the cache gave."""

    def __init__(self, folder: Path, pool: Pool) -> None:
        self.dataset = open_dataset(folder)
        self.pairs = self.dataset.split("train")
        self.images = [pair.image for pair in self.pairs]
        self.pool = pool
        for pair in self.pairs:  # from the disk into memory, so that the first way is not the slowest
            pair.image.read_bytes(), pair.mask.path.read_bytes()

    def pillow_images(self) -> None:
        for _ in self.pool.imap(plain_image, self.images):
            pass

    def pillow_all(self) -> None:
        paths = [(pair.image, pair.mask.path) for pair in self.pairs]
        self.plain = list(self.pool.imap(plain_pair, paths))

    def our_images(self) -> None:
        with contextlib.closing(mapped_in_order(_prepared, self.images, PROCESSES)) as prepared:
            for _ in prepared:
                pass

    def our_all(self) -> None:
        with tempfile.TemporaryDirectory(prefix="cache_") as folder:
            cache = PixelCache.open(
                self.dataset,
                "train",
                POLICY,
                mask_size="image",
                folder=Path(folder),
                workers=PROCESSES,
                progress=False,
            )
            self.ours = [(image.copy(), mask.copy()) for image, mask in (cache[i] for i in range(len(cache)))]

    def differences(self) -> Iterator[tuple[float, float]]:
        """Mean difference of images in grey levels, and share of mask pixels that differ, of each pair."""
        for (image, mask), (plain_image, plain_mask) in zip(self.ours, self.plain, strict=True):
            levels = np.abs(image.astype(np.int16) - plain_image).mean()
            yield float(levels), float((mask != plain_mask).mean())


def _prepared(path: Path) -> Pixels:
    return prepare_picture(read_picture(path, target=POLICY.target_size), POLICY)


def measure(folders: list[Path]) -> dict[str, object]:
    ways = {
        "pillow_images": Block.pillow_images,
        "our_images": Block.our_images,
        "pillow_all": Block.pillow_all,
        "our_all": Block.our_all,
    }
    seconds = dict.fromkeys(ways, 0.0)
    levels, changed = [], []
    with multiprocessing.Pool(PROCESSES) as pool:
        pool.map(str, range(PROCESSES))
        for number, folder in enumerate(folders):
            block = Block(folder, pool)
            for name, way in list(ways.items())[:: 1 if number % 2 else -1]:
                seconds[name] += timed(lambda way=way, block=block: way(block))
            for image_levels, mask_share in block.differences():
                levels.append(image_levels)
                changed.append(mask_share)
            print(f"block {number + 1} of {len(folders)}: {len(levels)} photos", flush=True)
    count = len(levels)
    return {
        "photos": count,
        **{f"{name}_ms_a_photo": round(1000 * total / count, 2) for name, total in seconds.items()},
        "ratio_images": round(seconds["pillow_images"] / seconds["our_images"], 2),
        "ratio_images_and_masks": round(seconds["pillow_all"] / seconds["our_all"], 2),
        "mean_difference_levels": round(float(np.mean(levels)), 3),
        "worst_photo_levels": round(max(levels), 3),
        "mask_pixels_changed": float(np.mean(changed)),
        "target_ratio": TARGET_RATIO,
        "target_levels": TARGET_LEVELS,
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument(
        "--folder", type=Path, help="for the photos, 3.4 MB each; used again if they are there"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cache_build_") as scratch:
        root = options.folder or Path(scratch)
        bounds = np.linspace(0, options.photos, options.blocks + 1).astype(int).tolist()
        parts = {
            root / f"{first:05d}-{end:05d}": range(first, end)
            for first, end in itertools.pairwise(bounds)
            if end > first
        }
        write_photos(parts, PROCESSES)
        figures = measure(list(parts))
    for name, figure in figures.items():
        print(f"  {name}: {figure}")
    write_result(
        "cache_build",
        "A pixel cache at short side 256 from 12-megapixel JPEGs, against decoding and resizing with Pillow.",
        figures,
    )
    good = figures["ratio_images"] >= TARGET_RATIO and figures["mean_difference_levels"] <= TARGET_LEVELS  # type: ignore[operator]
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
