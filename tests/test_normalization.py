"""Normalization against torchvision and hand-worked numbers."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from sceneparse.errors import InputError
from sceneparse.normalization import CAFFE_BGR, IMAGENET, MATCONVNET, Normalization


@pytest.fixture
def images():
    return torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_imagenet_is_torchvisions(images):
    expected = F.normalize(F.to_dtype(images, torch.float32, scale=True), IMAGENET.mean, IMAGENET.std)
    torch.testing.assert_close(IMAGENET(images), expected, atol=1e-6, rtol=1e-6)


def test_matconvnet_subtracts_the_mean_of_0_to_255(images):
    expected = images.float() - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    torch.testing.assert_close(MATCONVNET(images), expected, atol=1e-4, rtol=0)


def test_caffe_turns_the_channels_with_their_means(images):
    blue = CAFFE_BGR(images)[:, 0]
    torch.testing.assert_close(blue, images[:, 2].float() - 104.00698793, atol=1e-4, rtol=0)


def test_channels_last_memory_stays(images):
    out = IMAGENET(images.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_plain_values_round_trip():
    for constants in (IMAGENET, MATCONVNET, CAFFE_BGR):
        assert Normalization.from_dict(constants.to_dict()) == constants


def test_wrong_constants_are_refused():
    with pytest.raises(InputError, match="positive deviations"):
        Normalization(std=(1.0, 0.0, 1.0))
