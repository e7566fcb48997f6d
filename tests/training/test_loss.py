"""The banded loss against F.interpolate + F.cross_entropy; class weights against hand-worked numbers."""

import math

import pytest
import torch
import torch.nn.functional as F

from sceneparse.errors import InputError
from sceneparse.training import loss as loss_module
from sceneparse.training.loss import (
    class_weights,
    cross_entropy_sum,
    mean_of,
    pixel_weight,
    upsampled_cross_entropy,
)

TOLERANCE = 1e-5  # of the contract, float32
WEIGHTS = torch.tensor([0.3, 2.0, 1.0, 0.0, 5.0])


def plain(logits, labels, **options):
    size = labels.shape[1:]
    scores = F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
    return F.cross_entropy(scores, labels.long(), **options)


def sample(low_hw, high_hw, *, batch=2, classes=5, ignored=0.2, ignore_index=255, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, *low_hw, generator=generator) * 4
    labels = torch.randint(0, classes, (batch, *high_hw), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = ignore_index
    return logits.requires_grad_(), labels


def compare(logits, labels, *, ignore_index=255, weights=None, smoothing=0.0):
    ours = upsampled_cross_entropy(logits, labels, ignore_index, weights, smoothing)
    (our_gradient,) = torch.autograd.grad(ours, logits)
    wanted = plain(logits, labels, ignore_index=ignore_index, weight=weights, label_smoothing=smoothing)
    (gradient,) = torch.autograd.grad(wanted, logits)
    torch.testing.assert_close(ours, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    # Relative to the largest gradient: its entries are small, and 1e-5 of nothing would test nothing.
    assert (our_gradient - gradient).abs().max() <= TOLERANCE * gradient.abs().max()


@pytest.mark.parametrize("band_bytes", [1, 2000, 64 * 2**20])
@pytest.mark.parametrize(
    ("low_hw", "high_hw"),
    [
        ((4, 6), (32, 48)),
        ((5, 7), (37, 53)),
        ((9, 11), (9, 11)),
        ((1, 1), (13, 8)),
        ((3, 4), (3, 9)),
        ((8, 8), (5, 3)),
    ],
    ids=["stride 8", "odd", "stride 1", "one cell", "one axis", "down"],
)
def test_value_and_gradient(low_hw, high_hw, band_bytes, monkeypatch):
    monkeypatch.setattr(loss_module, "BAND_BYTES", band_bytes)
    compare(*sample(low_hw, high_hw))


@pytest.mark.parametrize("band_bytes", [1, 64 * 2**20])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_and_label_smoothing(weights, smoothing, band_bytes, monkeypatch):
    monkeypatch.setattr(loss_module, "BAND_BYTES", band_bytes)
    compare(*sample((5, 7), (37, 53), seed=1), weights=weights, smoothing=smoothing)


def test_more_than_255_classes_and_another_ignore_index():
    logits, labels = sample((3, 3), (10, 11), classes=300, ignore_index=65535, seed=2)
    compare(logits, labels.int(), ignore_index=65535)


def test_labels_of_one_byte():
    logits, labels = sample((4, 4), (17, 17), seed=3)
    compare(logits, labels.to(torch.uint8))


def test_half_precision_logits_are_summed_in_float32():
    logits, labels = sample((4, 4), (32, 32), seed=4)
    half = logits.detach().bfloat16().requires_grad_()
    ours = upsampled_cross_entropy(half, labels)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain(half, labels, ignore_index=255), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("band_bytes", [1, 64 * 2**20])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_all_ignored_is_zero_with_zero_gradient(weights, band_bytes, monkeypatch):
    monkeypatch.setattr(loss_module, "BAND_BYTES", band_bytes)
    logits, labels = sample((4, 4), (16, 16), ignored=2.0)
    loss = upsampled_cross_entropy(logits, labels, 255, weights, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max().item() == 0


def test_ignored_pixels_have_no_effect():
    logits, labels = sample((6, 6), (6, 6), ignored=0.5, seed=5)
    upsampled_cross_entropy(logits, labels).backward()
    ignored = (labels == 255)[:, None].expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().min() > 0


def test_sums_of_parts_make_the_mean_of_the_whole():
    logits, labels = sample((4, 4), (32, 32), batch=4, seed=6)
    labels[0] = 255
    parts = [cross_entropy_sum(logits[i : i + 1], labels[i : i + 1], 255, WEIGHTS) for i in range(4)]
    total, weight = (torch.stack(values).sum() for values in zip(*parts, strict=True))
    wanted = plain(logits, labels, ignore_index=255, weight=WEIGHTS)
    torch.testing.assert_close(mean_of(total, weight), wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_pixel_weight_by_hand():
    labels = torch.tensor([[0, 1, 255], [4, 4, 2]], dtype=torch.uint8)
    assert pixel_weight(labels).item() == 5
    assert pixel_weight(labels, 255, WEIGHTS).item() == pytest.approx(0.3 + 2 + 5 + 5 + 1)


@pytest.mark.parametrize(
    ("logits", "labels", "weights"),
    [((2, 3, 4, 4), (1, 8, 8), None), ((2, 3, 4), (2, 8, 8), None), ((2, 3, 4, 4), (2, 8, 8), (4,))],
)
def test_shapes_that_do_not_fit(logits, labels, weights):
    weights = None if weights is None else torch.ones(weights)
    with pytest.raises(InputError, match="expected; got"):
        upsampled_cross_entropy(torch.zeros(logits), torch.zeros(labels).long(), 255, weights)


def test_enet_weights_by_hand():
    weights = class_weights("enet", torch.tensor([900, 100, 0]))
    common, rare = 1 / math.log(1.02 + 0.9), 1 / math.log(1.02 + 0.1)
    mean = (common + rare) / 2
    assert weights.tolist() == pytest.approx([common / mean, rare / mean, 1.0])
    assert weights.dtype == torch.float32


def test_median_frequency_weights_by_hand():
    # Shares 0.6, 0.3, 0.1: weights in proportion 0.3/0.6, 0.3/0.3, 0.3/0.1.
    weights = class_weights("median-frequency", torch.tensor([600, 300, 0, 100]))
    assert (weights / weights[1])[[0, 1, 3]].tolist() == pytest.approx([0.5, 1.0, 3.0])
    assert weights[[0, 1, 3]].mean().item() == pytest.approx(1)
    assert weights[2] == 1


def test_no_weights_and_no_pixels():
    assert class_weights("none", torch.tensor([1, 2])) is None
    assert class_weights("median-frequency", torch.zeros(3)).tolist() == [1, 1, 1]
