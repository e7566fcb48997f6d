"""Sizes, and that a resized mask stays on its image; checked against torch's resize and hand-worked cases."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sceneparse.data.decode import read_image, read_picture
from sceneparse.data.loader import to_tensor
from sceneparse.data.preprocess import (
    MAX_ASPECT,
    ResizePolicy,
    nearest_source,
    prepare_image,
    prepare_picture,
    resize_image,
    resize_mask,
)
from sceneparse.errors import InputError

SIZES = [(64, 48), (61, 83), (7, 300), (1, 1), (256, 256), (3, 2)]


@pytest.mark.parametrize(
    ("own", "size", "expected"),
    [
        ((512, 683), 256, (256, 342)),  # 341.5 rounds up
        ((683, 512), 256, (342, 256)),
        ((100, 100), 256, (256, 256)),
        ((360, 480), 360, (360, 480)),
        ((1, 1), 224, (224, 224)),
        ((1, 20000), 256, (1, MAX_ASPECT * 256)),
        ((20000, 1), 256, (MAX_ASPECT * 256, 1)),
        ((100, 1600), 50, (50, 800)),
        ((100, 3200), 50, (25, 800)),
        ((20000, 20000), 224, (224, 224)),
    ],
)
def test_short_side(own, size, expected):
    assert ResizePolicy(mode="short-side", size=size).target_size(*own) == expected


def test_squash_and_none():
    assert ResizePolicy(mode="squash", size=(224, 200)).target_size(1000, 30) == (224, 200)


@pytest.mark.parametrize(
    ("own", "expected"), [((600, 800), (360, 480)), ((801, 400), (480, 240)), ((1, 5000), (1, 480))]
)
def test_long_side(own, expected):
    assert ResizePolicy(mode="long-side", size=480).target_size(*own) == expected
    assert ResizePolicy().target_size(1000, 30) == (1000, 30)


@pytest.mark.parametrize(
    "policy",
    [ResizePolicy(), ResizePolicy(mode="squash", size=(3, 5)), ResizePolicy(mode="short-side", size=9)],
)
def test_policy_survives_json(policy):
    assert ResizePolicy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "shortside", "size": 3},
        {"mode": "short-side", "size": 0},
        {"mode": "short-side", "size": (3, 3)},
        {"mode": "short-side", "size": 2.5},
        {"mode": "short-side", "size": True},
        {"mode": "short-side"},
        {"mode": "long-side", "size": (3, 3)},
        {"mode": "squash", "size": 3},
        {"mode": "squash", "size": (3, 0)},
        {"mode": "none", "size": 3},
        {"mode": "none", "sise": 3},
    ],
)
def test_wrong_policy_is_refused(values):
    with pytest.raises(InputError):
        ResizePolicy.from_dict(values)


def test_misspelt_mode_names_the_nearest():
    with pytest.raises(InputError, match="short-side"):
        ResizePolicy(mode="shortside", size=3)


@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("target", [(32, 40), (17, 129), (1, 1), (200, 3)])
def test_image_equals_torch_antialiased_resize(own, target):
    image = np.random.default_rng(0).integers(0, 256, (*own, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    exact = F.interpolate(pixels, size=target, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
    resized = resize_image(image, target)
    assert resized.dtype == np.uint8
    assert resized.flags.c_contiguous
    # Rounding to whole levels after each of two passes, and weights in fixed point.
    assert np.abs(resized - exact).max() <= 1.5


def test_shrinking_counts_every_pixel():
    """One-pixel stripes shrunk eightfold are grey; nearest or plain bilinear would give black or white."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_image(stripes, (8, 8)).astype(int)
    assert np.abs(small - 127.5).max() < 12


@pytest.mark.parametrize("own", [40, 61, 100, 257])
@pytest.mark.parametrize("target", [16, 39, 41, 100, 224])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_edges_of_image_and_mask_stay_together(own, target, axis, dtype):
    edge = own * 3 // 5
    shape, size_hw = ((own, 5), (target, 4)) if axis == 0 else ((5, own), (4, target))
    mask = np.zeros(shape, dtype)
    np.moveaxis(mask, axis, 0)[edge:] = np.iinfo(dtype).max
    image = np.repeat(((mask > 0) * 255).astype(np.uint8)[..., None], 3, axis=2)

    line = np.moveaxis(resize_mask(mask, size_hw), axis, 0)[:, 0]
    assert set(np.unique(line)) <= {0, np.iinfo(dtype).max}
    mask_edge = int((line == 0).sum())
    # The resized image ramps from black to white; its area says where the edge is, to a fraction of a pixel.
    ramp = np.moveaxis(resize_image(image, size_hw), axis, 0)[:, 0, 0].astype(float)
    image_edge = target - ramp.sum() / 255
    truth = edge * target / own
    assert abs(mask_edge - truth) <= 0.5 + 1e-9
    assert abs(mask_edge - image_edge) <= 0.5 + 0.03  # area to whole grey levels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("own", SIZES)
@pytest.mark.parametrize("target", [(32, 40), (17, 129), (1, 1), (512, 3)])
def test_mask_equals_nearest_by_pixel_centre(dtype, own, target):
    mask = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, own).astype(dtype)
    resized = resize_mask(mask, target)
    assert resized.dtype == dtype
    exact = F.interpolate(
        torch.from_numpy(mask.astype(np.float64))[None, None], size=target, mode="nearest-exact"
    )
    np.testing.assert_array_equal(resized, exact[0, 0].numpy().astype(dtype))


def test_nearest_by_hand():
    assert nearest_source(4, 2).tolist() == [1, 3]
    assert nearest_source(3, 1).tolist() == [1]
    assert nearest_source(2, 5).tolist() == [0, 0, 1, 1, 1]
    assert nearest_source(20000, 3).tolist() == [3333, 10000, 16666]


def test_strip():
    policy = ResizePolicy(mode="short-side", size=64)
    image, mask = np.full((20000, 1, 3), 7, np.uint8), np.arange(20000, dtype=np.uint16)[:, None]
    size_hw = policy.target_size(*mask.shape)
    assert prepare_image(image, policy).shape == (*size_hw, 3)
    assert (np.diff(resize_mask(mask, size_hw)[:, 0].astype(int)) > 0).all()


def test_right_size_is_not_copied():
    image, mask = np.zeros((5, 6, 3), np.uint8), np.zeros((5, 6), np.uint8)
    assert resize_image(image, (5, 6)) is image
    assert resize_mask(mask, (5, 6)) is mask


def test_box_of_whole_pixels_is_a_crop():
    image = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for left, top, right, bottom in ((0, 0, 80, 60), (3, 5, 80, 60), (0, 0, 41, 37)):
        cut = np.ascontiguousarray(image[top:bottom, left:right])
        boxed = resize_image(image, (20, 30), box=(left, top, right, bottom))
        # At its border the filter also sees what lies outside the box.
        inner = np.s_[2:-2, 2:-2]
        np.testing.assert_array_equal(boxed[inner], resize_image(cut, (20, 30))[inner])
    assert resize_image(image, (60, 80), box=(0.0, 0.0, 80.0, 60.0)) is image
    assert (resize_image(image, (60, 80), box=(0, 0, 79.5, 60)) != image).any()


@pytest.mark.parametrize("left", [0.0, 0.375, 0.875])
def test_box_of_fractions_moves_the_picture_by_them(left):
    ramp = np.repeat((np.arange(101, dtype=np.uint8) * 2)[None, :, None], 3, axis=2)
    boxed = resize_image(ramp, (1, 50), box=(left, 0, left + 100, 1))[0, :, 0]
    exact = 2 * (left + 2 * np.arange(50) + 0.5)  # level 2 i at the centre i + 0.5 of pixel i
    assert np.abs(boxed - exact)[1:-1].max() <= 1


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize(
    "policy",
    [ResizePolicy(), ResizePolicy(mode="squash", size=(30, 50)), ResizePolicy(mode="short-side", size=40)],
)
def test_file_as_the_network_sees_it(tmp_path, suffix, policy):
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(image).save(path)
    picture = read_picture(path, target=policy.target_size)
    prepared = prepare_picture(picture, policy)
    assert picture.scale == 1  # too small to be reduced
    np.testing.assert_array_equal(prepared, prepare_image(read_image(path), policy))
    assert prepared.shape[:2] == policy.target_size(48, 64)


def test_tensor():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    tensor = to_tensor(image)
    assert tensor.shape == (3, 4, 5)
    assert tensor.stride() == (1, 15, 3)
    np.testing.assert_array_equal(tensor.numpy(), np.transpose(image, (2, 0, 1)))
    image.flags.writeable = False
    frozen = to_tensor(image)
    frozen[:] = 0
    assert image.any()
