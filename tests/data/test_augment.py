"""Augmentation: one function of (seed, epoch, index), and the mask stays on its image."""

import math

import numpy as np
import pytest
import torch

from sceneparse.data.augment import (
    PADDING_COLOR,
    Augmentation,
    _color_matrix,
    _resize,
    _uniform,
    augment,
    recolor,
)
from sceneparse.data.preprocess import resize_image
from sceneparse.errors import InputError

IGNORE = 255


def blocks(height=120, width=160, block=40, classes=6, dtype=np.uint8):
    """A picture whose red says the class of each pixel, and its mask."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, classes, (math.ceil(height / block), math.ceil(width / block)))
    mask = np.kron(coarse, np.ones((block, block), int))[:height, :width].astype(dtype)
    image = np.stack([mask * 20 + 10, 255 - mask * 30, np.full(mask.shape, 50)], axis=2).astype(np.uint8)
    return image, mask


def view(image, mask, augmentation, *, seed=0, epoch=0, index=0, ignore_index=IGNORE):
    return augment(image, mask, augmentation, seed=seed, epoch=epoch, index=index, ignore_index=ignore_index)


def inside(mask):
    """Pixels at least two away from another class or the border of the picture."""
    same = np.ones(mask.shape, bool)
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            same &= np.roll(mask, shift, axis) == mask
    same[:2] = same[-2:] = same[:, :2] = same[:, -2:] = False
    return same


def test_same_numbers_same_view_other_numbers_other_view():
    image, mask = blocks()
    aug = Augmentation(crop=(64, 64))
    first = view(image, mask, aug, seed=5, epoch=6, index=7)
    np.random.default_rng(1).random(100)
    again = view(image, mask, aug, seed=5, epoch=6, index=7)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    for other in ({"seed": 4}, {"epoch": 5}, {"index": 6}, {"epoch": 7, "index": 6}):
        changed = view(image, mask, aug, **({"seed": 5, "epoch": 6, "index": 7} | other))
        assert not np.array_equal(first[0], changed[0])


def test_sources_are_left_alone():
    image, mask = blocks()
    image.flags.writeable = mask.flags.writeable = False
    for index in range(20):
        out, out_mask = view(image, mask, Augmentation(crop=(120, 160), scale=(1, 1)), index=index)
        out[:], out_mask[:] = 0, 0  # a read-only view handed out would raise here
        assert out.flags.c_contiguous
        assert out_mask.flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("crop", [(64, 64), (97, 51), (200, 300)])
def test_mask_stays_on_its_image(crop, dtype):
    ignore = np.iinfo(dtype).max
    image, mask = blocks(dtype=dtype)
    aug = Augmentation(crop=crop, photometric=0)
    agree = total = 0
    for index in range(60):
        out, out_mask = view(image, mask, aug, index=index, ignore_index=int(ignore))
        assert out.shape == (*crop, 3)
        assert out.dtype == np.uint8
        assert out_mask.shape == crop
        assert out_mask.dtype == dtype
        padded = out_mask == ignore
        assert (out[padded] == PADDING_COLOR).all()
        known = inside(out_mask) & ~padded
        decoded = np.rint((out[..., 0].astype(float) - 10) / 20)
        agree += (decoded == out_mask)[known].sum()
        total += known.sum()
    assert total > 60 * 1000
    assert agree / total > 0.99


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.7, 3.0])
def test_edge_is_in_the_same_place(scale):
    """The white area of the image gives the edge to a fraction of a pixel; the mask's is within half."""
    mask = np.zeros((90, 130), np.uint8)
    mask[:, 61:] = 1
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    seen = 0
    for index in range(40):
        aug = Augmentation(crop=(50, 60), scale=(scale, scale), photometric=0)
        out, out_mask = view(image, mask, aug, index=index)
        column = (out_mask != IGNORE).any(axis=1).argmax()  # a row that is not padding
        row, row_mask = out[column, :, 0].astype(float), out_mask[column]
        real = row_mask != IGNORE
        if 0 < (row_mask == 1).sum() < real.sum():
            assert abs(row[real].sum() / 255 - (row_mask == 1).sum()) <= 0.5 + 0.05
            seen += 1
    assert seen >= 5


def test_shrinking_is_antialiased():
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    aug = Augmentation(crop=(32, 32), scale=(0.25, 0.25), photometric=0)
    out, _ = view(stripes, np.zeros((128, 128), np.uint8), aug)
    assert np.abs(out.astype(int) - 127).max() < 35  # nearest would give 0 or 255


@pytest.mark.parametrize("target", [(30, 41), (64, 64), (150, 99), (1, 1), (2, 300)])
def test_fast_resize_is_the_deterministic_one(target):
    image = np.random.default_rng(0).integers(0, 256, (64, 77, 3), dtype=np.uint8)
    fast = _resize(image, target)
    assert fast.flags.c_contiguous
    assert np.abs(fast.astype(int) - resize_image(image, target)).max() <= 1


@pytest.mark.parametrize("own", [(1, 1), (1, 500), (500, 1), (3, 2)])
@pytest.mark.parametrize("crop", [(1, 1), (32, 48)])
def test_any_size(own, crop):
    image, mask = np.full((*own, 3), 9, np.uint8), np.full(own, 4, np.uint8)
    for index in range(20):
        out, out_mask = view(image, mask, Augmentation(crop=crop, photometric=0), index=index)
        assert set(np.unique(out_mask)) <= {4, IGNORE}
        assert (out_mask == 4).any()
        assert (out[out_mask == 4] == 9).all()


def test_padding_is_ignored_and_never_a_class():
    image, mask = np.zeros((10, 12, 3), np.uint8), np.zeros((10, 12), np.uint8)
    out, out_mask = view(image, mask, Augmentation(crop=(30, 40), scale=(1, 1), photometric=1))
    assert (out_mask == 0).sum() == 120
    assert (out_mask == IGNORE).sum() == 30 * 40 - 120
    assert (out[out_mask == IGNORE] == PADDING_COLOR).all()


def test_distributions():
    """Half of the views are mirrored, half are shrunk, every place is reached."""
    image, mask = blocks(40, 40, block=1, classes=250)
    mask = np.arange(1600, dtype=np.uint16).reshape(40, 40)
    flips, shrunk, corners = 0, 0, set()
    n = 400
    for index in range(n):
        _, out = view(image, mask, Augmentation(crop=(20, 20), scale=(1, 1)), index=index, ignore_index=65535)
        flips += int(out[0, 0]) > int(out[0, 1])
        corners.add((int(out.min()) // 40, int(out.min()) % 40))
        _, out = view(image, mask, Augmentation(crop=(200, 200), flip=False), index=index, ignore_index=65535)
        shrunk += (out != 65535).sum() < 1600
    assert abs(flips - n / 2) < 4 * math.sqrt(n / 4)
    assert abs(shrunk - n / 2) < 4 * math.sqrt(n / 4)
    assert {r for r, _ in corners} == set(range(21))
    assert {c for _, c in corners} == set(range(21))


def test_one_switch_does_not_move_the_others():
    image, mask = blocks()
    for index in range(8):
        plain = view(image, mask, Augmentation(crop=(64, 64), flip=False, photometric=0), index=index)
        flipped = view(image, mask, Augmentation(crop=(64, 64), flip=True, photometric=1), index=index)
        assert np.array_equal(plain[1], flipped[1]) or np.array_equal(plain[1], flipped[1][:, ::-1])


def test_colours_change_masks_do_not():
    image, mask = blocks()
    changes = []
    for index in range(50):
        plain = view(image, mask, Augmentation(crop=(64, 64), photometric=0), index=index)
        colored = view(image, mask, Augmentation(crop=(64, 64), photometric=1), index=index)
        np.testing.assert_array_equal(plain[1], colored[1])
        real = plain[1] != IGNORE
        changes.append((colored[0].astype(float) - plain[0])[real].mean())
    assert np.std(changes) > 10
    assert abs(np.mean(changes)) < 15


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_colours_change_once_at_every_scale(scale):
    color = np.array([[[100, 60, 180]]], np.uint8)
    image, mask = np.tile(color, (60, 70, 1)), np.zeros((60, 70), np.uint8)
    aug = Augmentation(crop=(50, 50), scale=(scale, scale), photometric=1)
    for index in range(10):
        out, out_mask = view(image, mask, aug, index=index)
        expected = recolor(color, _color_matrix(1, _uniform(0, 0, index)[4:]))
        assert (out[out_mask == 0] == expected[0, 0]).all()


def test_recolor_by_numpy():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    matrix = np.array([[1.2, -0.1, 0.05, 3], [0.3, 0.6, 0.1, -20], [-0.2, 0.1, 1.4, 0.5]])
    exact = image @ matrix[:, :3].T + matrix[:, 3]
    assert np.abs(recolor(image, matrix) - exact.clip(0, 255)).max() <= 0.5 + 3 * 255 / 8192
    identity = np.eye(3, 4)
    np.testing.assert_array_equal(recolor(image, identity), image)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 3), (7, 13), (224, 224), (301, 203)])
def test_recolor_is_exact_in_whole_numbers(size_hw):
    """So that no order of summing, no number of threads and no processor gives another picture."""
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    for strength in (0.1, 1.0):
        matrix = _color_matrix(strength, rng.random(4).tolist())
        whole = np.rint(matrix * 4096).astype(np.int64)
        exact = (image.astype(np.int64) @ whole[:, :3].T + whole[:, 3] + 2048) >> 12
        recolored = recolor(image, matrix)
        np.testing.assert_array_equal(recolored, exact.clip(0, 255))
        assert recolored.dtype == np.uint8
        assert recolored.flags.c_contiguous


def test_strongest_colour_maps_stay_exact():
    """Every corner of what can be drawn keeps the sums below 2**24 steps, where float32 counts in ones."""
    for u in np.ndindex(2, 2, 2, 3):
        matrix = _color_matrix(1.0, [u[0], u[1], u[2], u[3] / 2])
        assert (np.abs(matrix) @ (255, 255, 255, 1)).max() * 4096 < 2**24


def test_random_numbers_are_uniform_and_each_sample_has_its_own():
    keys = [(seed, epoch, index) for seed in (0, 1, 11) for epoch in (0, 1, 11, 111) for index in range(300)]
    numbers = np.array([_uniform(*key) for key in keys])
    assert numbers.shape == (3600, 8)
    assert len(np.unique(numbers)) == numbers.size
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 5 / math.sqrt(12 * 3600)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(8)).max() < 5 / math.sqrt(3600)
    counts = np.array([np.histogram(column, 10, (0, 1))[0] for column in numbers.T])
    assert np.abs(counts - 360).max() < 5 * math.sqrt(360)


def apply(u, rgb):
    matrix = _color_matrix(1.0, u)
    return matrix[:, :3] @ np.array(rgb, float) + matrix[:, 3]


def test_color_changes_by_hand():
    same = pytest.approx
    assert apply([0.5, 0.5, 0.5, 0.5], (10, 20, 30)) == same((10, 20, 30))
    assert apply([1, 0.5, 0.5, 0.5], (10, 20, 30)) == same((15, 30, 45))
    grey = float(np.dot((0.299, 0.587, 0.114), PADDING_COLOR))
    assert apply([0.5, 0, 0.5, 0.5], (grey + 40, grey, grey - 10)) == same((grey + 20, grey, grey - 5))
    # Half the saturation halves the distance to the luma, 0.299 * 100 for pure red.
    assert apply([0.5, 0.5, 0, 0.5], (100, 0, 0)) == same((64.95, 14.95, 14.95))
    turned = apply([0.5, 0.5, 0.5, 1], (100, 0, 0))
    assert turned.sum() == same(100)
    centred = turned - 100 / 3
    cosine = centred @ (np.array((100, 0, 0)) - 100 / 3) / (centred @ centred)
    assert math.degrees(math.acos(cosine)) == same(18)


def test_threads_do_not_change_the_view():
    image = np.random.default_rng(0).integers(0, 256, (300, 301, 3), dtype=np.uint8)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2):
            torch.set_num_threads(count)
            results.append([_resize(image, size_hw) for size_hw in [(224, 223), (640, 301), (17, 9)]])
            aug = Augmentation(crop=(224, 224), photometric=1)
            mask = np.zeros((300, 301), np.uint8)
            results[-1] += [view(image, mask, aug, index=index)[0] for index in range(10)]
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_grey_stays_grey():
    """Hue and saturation turn about the grey axis: a grey picture gets no colour."""
    image = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    mask = np.zeros((16, 16), np.uint8)
    for index in range(10):
        out, _ = view(image, mask, Augmentation(crop=(16, 16), scale=(1, 1), photometric=1), index=index)
        assert np.ptp(out.astype(int), axis=2).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        {"crop": (0, 5)},
        {"crop": (5,)},
        {"crop": (5.0, 5)},
        {"scale": (2, 1)},
        {"scale": (0, 1)},
        {"scale": (1, float("inf"))},
        {"scale": (float("nan"), 1)},
        {"photometric": -0.1},
        {"photometric": 1.1},
    ],
)
def test_wrong_settings_are_refused(values):
    with pytest.raises(InputError):
        Augmentation(**({"crop": (8, 8)} | values))


def test_small_views():
    views = Augmentation(crop=(256, 320), scale=(0.6, 1.7), early=0.5, early_size=0.6, photometric=0.3)
    small = views.small()
    assert small.crop == (160, 192)  # 153.6 and 192 in multiples of 32
    assert small.scale == pytest.approx((0.36, 1.02))
    assert (small.flip, small.photometric) == (True, 0.3)
    assert Augmentation(crop=(20, 500), early_size=0.1).small().crop == (20, 64)
    assert Augmentation(crop=(48, 368), early_size=1.0).small().crop == (48, 368), "never larger"


@pytest.mark.parametrize("wrong", [{"early": -0.1}, {"early": 1.5}, {"early_size": 0}, {"early_size": 1.1}])
def test_wrong_early_views_are_refused(wrong):
    with pytest.raises(InputError, match="early"):
        Augmentation(crop=(32, 32), **wrong)
