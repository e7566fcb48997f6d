"""The picture of a training batch."""

from __future__ import annotations

import numpy as np
import pytest

from sceneparse.labels import LabelSet
from sceneparse.report.batch_sheet import SAMPLES, batch_sheet

LABELS = LabelSet(
    names=("sky", "road"), file_numbers=(1, 2), palette=((0, 0, 250), (250, 0, 0)), ignored=(0,)
)


def colors_of(picture) -> set[tuple[int, ...]]:
    return {tuple(color) for color in np.asarray(picture).reshape(-1, 3).tolist()}


def test_image_and_classes_are_on_it():
    image = np.full((1, 200, 300, 3), (40, 80, 120), np.uint8)
    labels = np.ones((1, 200, 300), np.uint8)
    labels[:, 100:] = 2
    picture = batch_sheet(image, labels, LABELS, names=["one"], title="first batch")
    counts = {color: n for n, color in picture.getcolors(1 << 20)}
    assert counts[(40, 80, 120)] == 200 * 300, "the image as it is"
    # Half image, half class colour, but for the line between the classes.
    assert counts[(20, 40, 185)] == 99 * 300
    assert counts[(145, 40, 60)] == 100 * 300


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 500), (48, 64)])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_any_size_and_number(size_hw, count):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, *size_hw, 3)).astype(np.uint8)
    labels = rng.integers(0, 3, (count, *size_hw)).astype(np.uint8)
    names = [f"a very long name of a picture in a folder {i}" for i in range(count)]
    picture = batch_sheet(images, labels, LABELS, names=names, title="t")
    assert picture.width >= min(count, 4) * size_hw[1]
    assert picture.height >= -(-min(count, SAMPLES) // 4) * 2 * size_hw[0]


def test_ignored_pixels_are_hatched():
    labels = np.zeros((1, 200, 200), np.uint8)
    white = np.full((1, 200, 200, 3), 255, np.uint8)
    hatched = colors_of(batch_sheet(white, labels, LABELS, names=["x"], title="t"))
    plain = colors_of(batch_sheet(white, labels + 1, LABELS, names=["x"], title="t"))
    assert (127, 127, 252) not in hatched
    assert len({c for c in hatched if max(c) - min(c) <= 12} - plain) >= 2, "two greys of the hatching"
