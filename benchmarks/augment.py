"""Augmented 224 x 224 samples from a pixel cache: how many a second and core, and where does the time go?

    python benchmarks/augment.py [--samples 1000] [--repeats 5]

Makes a cache at short side 256, then reads batches of 16 from it in one process and one thread: random scale
0.5 to 2, crop, flip, brightness, contrast, saturation and hue. In the same run the plain way: the same
samples as Pillow images through torchvision's functions (resize, pad, crop, flip, the four adjustments). The
two take turns; each counts its best turn. Seconds are those of the processor, so that other work on the
machine counts little. Writes results/augment_HARDWARE_DATE.json.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photos import CLASSES, photo
from PIL import Image
from provenance import write_result
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from sceneparse.data import augment as augmentation_module
from sceneparse.data import loader as loader_module
from sceneparse.data.augment import MAX_COLOR_CHANGE, MAX_HUE_DEGREES, PADDING_COLOR, Augmentation
from sceneparse.data.cache import PixelCache
from sceneparse.data.dataset import open_dataset
from sceneparse.data.loader import StepSampler, TrainDataset, make_loader
from sceneparse.data.preprocess import ResizePolicy

TARGET_PER_S = 1000
BATCH = 16
CROP = 224
IGNORE = 255
PICTURES = 64
AUGMENTATION = Augmentation(crop=(CROP, CROP))

PARTS = (
    ("read from the cache", PixelCache, "__getitem__"),
    ("random numbers", augmentation_module, "_uniform"),
    ("colour map", augmentation_module, "_color_matrix"),
    ("colours", augmentation_module, "recolor"),
    ("resize", augmentation_module, "_resize"),
    ("flip", augmentation_module, "_mirrored"),
    ("mask", augmentation_module, "_resized_mask"),
    ("padding", augmentation_module, "_padded"),
    ("collate", loader_module, "collate"),
)
"""What is measured apart: name, and the function."""


def write_pictures(root: Path) -> None:
    """Pictures of short side 256, cut out of the photos of the other benchmark."""
    for kind in ("images", "masks"):
        (root / kind / "train").mkdir(parents=True)
    for i in range(PICTURES):
        if i % 8 == 0:
            image, mask = photo(0)  # 4000 x 3000
            image, mask = image.resize((1368, 1024)), mask.resize((1368, 1024), Image.Resampling.NEAREST)
        left, top = i % 8 // 4 * 342 * 2 + i % 2 * 342, i % 8 % 4 * 256
        box = (left, top, left + 342, top + 256)
        image.crop(box).save(root / "images/train" / f"{i}.png")
        mask.crop(box).save(root / "masks/train" / f"{i}.png")
    (root / "classes.txt").write_text("".join(f"class {i}\n" for i in range(CLASSES)), encoding="utf-8")


def read_ours(cache: PixelCache, samples: int, turn: int) -> None:
    steps = samples // BATCH
    dataset = TrainDataset(cache, AUGMENTATION, seed=turn, ignore_index=IGNORE)
    sampler = StepSampler(num_samples=len(cache), batch_size=BATCH, seed=turn, steps=steps)
    for batch in make_loader(dataset, sampler):
        assert batch["image"].shape == (BATCH, 3, CROP, CROP)


def plain_view(image: Image.Image, mask: Image.Image, rng: np.random.Generator) -> tuple[Any, Any]:
    """The same changes, as they are usually written."""
    low, high = AUGMENTATION.scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    size = [max(1, round(image.height * scale)), max(1, round(image.width * scale))]
    image = tv.resize(image, size, InterpolationMode.BILINEAR)
    mask = tv.resize(mask, size, InterpolationMode.NEAREST)
    right, bottom = max(0, CROP - image.width), max(0, CROP - image.height)
    if right or bottom:
        image = tv.pad(image, [0, 0, right, bottom], fill=PADDING_COLOR)
        mask = tv.pad(mask, [0, 0, right, bottom], fill=IGNORE)
    top = int(rng.integers(0, image.height - CROP + 1))
    left = int(rng.integers(0, image.width - CROP + 1))
    image, mask = (tv.crop(part, top, left, CROP, CROP) for part in (image, mask))
    if rng.random() < 0.5:
        image, mask = tv.hflip(image), tv.hflip(mask)
    change, turn = (
        AUGMENTATION.photometric * MAX_COLOR_CHANGE,
        AUGMENTATION.photometric * MAX_HUE_DEGREES / 360,
    )
    for adjust in (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation):
        image = adjust(image, rng.uniform(1 - change, 1 + change))
    image = tv.adjust_hue(image, rng.uniform(-turn, turn))
    return tv.pil_to_tensor(image), torch.from_numpy(np.array(mask))


def read_plain(cache: PixelCache, samples: int, turn: int) -> None:
    rng = np.random.default_rng(turn)
    for _ in range(samples // BATCH):
        indices = rng.integers(0, len(cache), BATCH)
        pairs = [(Image.fromarray(a), Image.fromarray(b)) for a, b in (cache[int(i)] for i in indices)]
        images, masks = zip(*(plain_view(*pair, rng) for pair in pairs), strict=True)
        assert torch.stack(images).shape == (BATCH, 3, CROP, CROP)
        torch.stack(masks)


def per_second(
    read: Callable[[PixelCache, int, int], None], cache: PixelCache, samples: int, turn: int
) -> float:
    began = time.process_time()
    read(cache, samples, turn)
    return samples // BATCH * BATCH / (time.process_time() - began)


@contextlib.contextmanager
def clocked() -> Iterator[dict[str, float]]:
    """Seconds in each of PARTS while it is open."""
    seconds: dict[str, float] = defaultdict(float)

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = function(*args, **kwargs)
            seconds[name] += time.perf_counter() - began
            return result

        return call

    originals = [(owner, attribute, getattr(owner, attribute)) for _, owner, attribute in PARTS]
    for (name, owner, attribute), (_, _, original) in zip(PARTS, originals, strict=True):
        setattr(owner, attribute, watched(name, original))
    try:
        yield seconds
    finally:
        for owner, attribute, original in originals:
            setattr(owner, attribute, original)


def profile(cache: PixelCache, samples: int, turns: int) -> dict[str, dict[str, float]]:
    """Of the turn that took least: microseconds a sample and share of each part."""
    best: tuple[float, dict[str, float]] = (math.inf, {})
    for turn in range(turns):
        with clocked() as seconds:
            began = time.perf_counter()
            read_ours(cache, samples, turn)
            total = time.perf_counter() - began
        if total < best[0]:
            best = (total, dict(seconds))
    total, seconds = best
    seconds["the rest: places, tensors, loader, Python"] = total - sum(seconds.values())
    count = samples // BATCH * BATCH
    return {
        name: {"us_a_sample": round(part / count * 1e6, 1), "share": round(part / total, 3)}
        for name, part in sorted(seconds.items(), key=lambda item: -item[1])
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=1000, help="in a turn")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="augment_") as scratch:
        root = Path(scratch)
        write_pictures(root / "data")
        cache = PixelCache.open(
            open_dataset(root / "data"),
            "train",
            ResizePolicy(mode="short-side", size=256),
            mask_size="image",
            folder=root / "cache",
            workers=1,
            progress=False,
        )
        read_ours(cache, 4 * BATCH, 0)
        read_plain(cache, 4 * BATCH, 0)
        ours, plain = [], []
        for turn in range(options.repeats):
            ours.append(per_second(read_ours, cache, options.samples, turn))
            plain.append(per_second(read_plain, cache, options.samples // 4, turn))
        parts = profile(cache, options.samples, options.repeats)
    ratio = max(ours) / max(plain)
    print(f"{max(ours):.0f} samples a second and core; the plain way {max(plain):.0f}: {ratio:.1f}x")
    for name, part in parts.items():
        print(f"  {part['share']:6.1%}  {part['us_a_sample']:6.1f} us  {name}")
    write_result(
        "augment",
        "Augmented 224x224 samples a second and core from a cache at short side 256; where the time goes.",
        {
            "samples_per_s": round(max(ours)),
            "samples_per_s_of_each_turn": [round(rate) for rate in ours],
            "plain_samples_per_s": round(max(plain)),
            "ratio": round(ratio, 2),
            "profile": parts,
            "target_per_s": TARGET_PER_S,
            "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        },
    )
    return 0 if max(ours) >= TARGET_PER_S else 1


if __name__ == "__main__":
    raise SystemExit(main())
