"""A small data set with sky, ground and houses, and a command line that trains on it in about a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = {3: ("sky", (90, 150, 250)), 7: ("ground", (110, 90, 50)), 200: ("house", (200, 60, 50))}
"""File number: name and colour; 0 is ignored."""

BACKBONE = "test_resnet"
"""timm's smallest network with strides 2 to 32."""

DATASET_YAML = """\
train: {images: photos/a, masks: labels/a}
val: {images: photos/b, masks: labels/b}
classes: {3: sky, 7: ground, 200: house}
ignore: [0]
"""


def write_pair(root: Path, split: str, name: str, size_hw: tuple[int, int], seed: int) -> None:
    """Sky over ground with a house; the colour of a pixel gives its class. The left column is ignored."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    mask = np.full(size_hw, 7, np.uint8)
    mask[: height * rng.integers(3, 6) // 9] = 3
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    mask[top : top + height // 3, left : left + width // 3] = 200
    image = np.zeros((*size_hw, 3), np.int64)
    for number, (_, color) in CLASSES.items():
        image[mask == number] = color
    image = np.clip(image + rng.integers(-25, 26, image.shape), 0, 255).astype(np.uint8)
    mask[:, 0] = 0
    for folder, picture, suffix in (("photos", image, "png"), ("labels", mask, "png")):
        path = root / folder / split / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def write_data(root: Path) -> Path:
    """Eight training and four validation pairs of several sizes, with a ``dataset.yaml``."""
    for i in range(8):
        write_pair(root, "a", f"train {i}", (48, 64), i)
    for i, size_hw in enumerate([(48, 64), (40, 72), (65, 47), (48, 64)]):
        write_pair(root, "b", f"größe {i}", size_hw, 100 + i)
    (root / "dataset.yaml").write_text(DATASET_YAML, encoding="utf-8")
    return root


def train_arguments(data: Path, out: Path, *more: str) -> list[str]:
    """A command line that trains in about a second."""
    return [
        *("train", str(data), "--out", str(out), "--model", f"fcn8s-{BACKBONE}", "--size", "48,48"),
        *("--batch-size", "4", "--steps", "20", "--lr", "0.01", "--workers", "0", "--device", "cpu"),
        *("--set", "data.resize=none", "--set", f"data.cache={out.parent / 'cache'}", "--set", "samples=1"),
        *("--set", "eval_every=10"),
        *more,
    ]
