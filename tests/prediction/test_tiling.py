"""Windows over large pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import Bundle
from sceneparse.labels import label_set_from_names
from sceneparse.models import ModelOptions, build_model
from sceneparse.normalization import IMAGENET
from sceneparse.prediction.predictor import Predictor
from sceneparse.prediction.tiling import BUDGET_BYTES, GRID, SMALLEST, spans, tile_side

LENGTHS = [1, 63, 64, 65, 255, 256, 257, 300, 1023, 1024, 1025, 1664, 1665, 2000, 20_000]


@pytest.mark.parametrize(("length", "side"), list(itertools.product(LENGTHS, [64, 100, 256, 1000, 1024])))
def test_windows_cover_the_line_exactly_once(length, side):
    covered = np.zeros(length, int)
    for window, kept in spans(length, side):
        covered[kept] += 1
        assert window.start <= kept.start < kept.stop <= window.stop <= length
        assert window.start % GRID == 0
        assert (
            window.stop - window.start == length
            if length <= side
            else side - GRID < window.stop - window.start <= side
        )
        # Away from the picture's border there is context, half an overlap.
        margin = min(192, side // 4) - GRID // 2
        assert window.start == 0 or kept.start - window.start >= margin
        assert window.stop == length or window.stop - kept.stop >= margin
    np.testing.assert_array_equal(covered, 1)


def test_side_under_auto():
    assert tile_side((480, 640), 150, "auto") is None
    large = tile_side((4000, 6000), 150, "auto")
    doubled = tile_side((4000, 6000), 150, "auto", (2.0,))
    assert 1000 < large < 2000
    assert 500 < doubled < large / 2 + GRID
    assert large**2 * (512 + 4 * 150) <= BUDGET_BYTES
    assert tile_side((100_000, 100_000), 60_000, "auto") == SMALLEST
    # Averaging needs more memory: a picture just within the budget is then tiled.
    side = int((BUDGET_BYTES / (512 + 4 * 150)) ** 0.5)
    assert tile_side((side, side), 150, "auto") is None
    assert tile_side((side, side), 150, "auto", (1.0,), True) is not None
    assert tile_side((side, side), 150, "auto", (0.5, 1.0)) is not None


def test_side_as_asked():
    assert tile_side((500, 500), 150, 0) is None
    assert tile_side((50_000, 50_000), 150, 0) is None
    assert tile_side((500, 500), 2, 256) == 256
    assert tile_side((200, 256), 2, 256) is None
    assert tile_side((200, 257), 2, 256) == 256


def predictor_of(network: nn.Module, classes: int) -> Predictor:
    bundle = Bundle(
        architecture={},
        labels=label_set_from_names([f"class {i}" for i in range(classes)]),
        resize=ResizePolicy(mode="none"),
        normalization=IMAGENET,
    )
    return Predictor(network, bundle, device="cpu")


@pytest.fixture(scope="module")
def small_view() -> Predictor:
    """Three convolutions at stride 4, seeing 43 pixels: windows give them all they need."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=2, padding=3),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv2d(8, 5, 5, padding=2),
        nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
    )
    nn.init.zeros_(network[-2].bias)
    return predictor_of(network, 5)


def textured(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = torch.from_numpy(rng.random((1, 3, height // 20 + 1, width // 20 + 1), np.float32))
    fine = nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    return np.clip(fine * 200 + rng.integers(0, 56, fine.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"flip": True}])
def test_windows_give_the_labels_of_the_whole_picture(small_view, options):
    image = textured(500, 700)
    whole = small_view.predict_index(image, tile=0, **options)
    assert len(np.unique(whole)) >= 4, "a test on one class would prove nothing"
    seen = []
    tiled = small_view.predict_index(image, tile=256, progress=seen.append, **options)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert len(seen) > 10
    # Not all: at the border the padding of a window lies elsewhere only where the margin is too small.
    assert (tiled == whole).mean() >= 0.9999


@pytest.mark.parametrize("flip", [False, True])
def test_confidence_is_the_probability_of_the_label(small_view, flip):
    """Against the softmax of all logits; windows change neither."""
    image = textured(300, 420)
    pixels = IMAGENET(torch.from_numpy(image).permute(2, 0, 1)[None])
    with torch.no_grad():
        share = small_view.model(pixels).softmax(1)
        if flip:
            share = (share + small_view.model(pixels.flip(3)).softmax(1).flip(3)) / 2
    expected, best = (part[0].numpy() for part in share.max(1))
    assert expected.std() > 0.001, "a test on one confidence would prove nothing"
    for tile in (0, 256):
        index, confidence = small_view.predict_with_confidence(image, tile=tile, flip=flip)
        assert confidence.dtype == np.float32
        assert (index == best).mean() >= 0.9999
        assert (np.abs(confidence - expected) < 1e-5).mean() >= 0.9999


def test_windows_of_a_network_with_stride_32():
    """Its view is wider than the margin: most pixels still agree, because the cells of both lie alike."""
    torch.manual_seed(0)
    network = build_model("fcn8s-test_resnet", 4, ModelOptions(upsampling="bilinear"))
    for score in network.head.score.values():
        nn.init.normal_(score.weight)
    predictor = predictor_of(network, 4)
    image = textured(420, 611)
    with torch.no_grad():  # no class may win everywhere
        logits = network.eval()(IMAGENET(torch.from_numpy(image).permute(2, 0, 1)[None]))
        network.head.score["stride32"].bias.copy_(-logits.mean((0, 2, 3)))
    whole = predictor.predict_index(image, tile=0)
    assert np.bincount(whole.ravel()).max() < 0.6 * whole.size
    assert (predictor.predict_index(image, tile=384) == whole).mean() >= 0.995


def test_smaller_than_a_window(small_view):
    image = textured(50, 70)
    np.testing.assert_array_equal(
        small_view.predict_index(image, tile=256), small_view.predict_index(image, tile=0)
    )
