"""The loss of low-resolution logits against F.interpolate and F.cross_entropy; class weights by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from largest_tensor import LargestTensor

from sceneparse.errors import InputError
from sceneparse.kernels import bands, compiled
from sceneparse.kernels.compiler import kernels
from sceneparse.models.upsample import Upsampling
from sceneparse.training.loss import (
    class_weights,
    cross_entropy_sum,
    mean_of,
    pixel_weight,
    upsampled_cross_entropy,
)

TOLERANCE = 1e-5  # of the contract, float32
WEIGHTS = torch.tensor([0.3, 2.0, 1.0, 0.0, 5.0])


@pytest.fixture(params=["compiled", "compiled, large pieces", "PyTorch", "PyTorch, small blocks"])
def way(request, monkeypatch):
    """Every way to compute the loss on a CPU."""
    if request.param.startswith("compiled"):
        if kernels().library is None:
            pytest.skip(kernels().said)
        if request.param == "compiled, large pieces":
            monkeypatch.setattr(compiled, "PIECES", 3)
    else:
        monkeypatch.setattr(compiled, "can_take", lambda scores: False)
    if request.param == "PyTorch, small blocks":
        monkeypatch.setattr(bands, "BLOCK_BYTES_CPU", 20_000)
        monkeypatch.setattr(bands, "BLOCK_COLUMNS_CPU", 19)


def plain(logits, labels, *, align_corners=False, **options):
    """In float64: what it should be, not another rounding of it."""
    size = labels.shape[1:]
    scores = F.interpolate(logits.double(), size=size, mode="bilinear", align_corners=align_corners)
    options["weight"] = None if options.get("weight") is None else options["weight"].double()
    return F.cross_entropy(scores, labels.long(), **options)


def sample(low_hw, high_hw, *, batch=2, classes=5, ignored=0.2, ignore_index=255, seed=0, scale=4.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, *low_hw, generator=generator) * scale
    labels = torch.randint(0, classes, (batch, *high_hw), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = ignore_index
    if ignored < 1:
        labels[0, 0, 0] = 0
    return logits.requires_grad_(), labels


def compare(logits, labels, *, ignore_index=255, weights=None, smoothing=0.0):
    ours = upsampled_cross_entropy(logits, labels, ignore_index, weights, smoothing)
    (our_gradient,) = torch.autograd.grad(ours, logits)
    wanted = plain(logits, labels, ignore_index=ignore_index, weight=weights, label_smoothing=smoothing)
    (gradient,) = torch.autograd.grad(wanted, logits)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    # Relative to the largest gradient, or that of one wrong pixel: entries are small, and 1e-5 of 1 would
    # test nothing.
    one = 1 / (labels != ignore_index).sum()
    assert (our_gradient - gradient).abs().max() <= TOLERANCE * max(gradient.abs().max(), one)


SIZES = {
    "stride 8": ((4, 6), (32, 48)),
    "stride 4": ((5, 3), (20, 12)),
    "stride 32": ((2, 3), (64, 96)),
    "odd": ((5, 7), (37, 53)),
    "stride 1": ((9, 11), (9, 11)),
    "one cell": ((1, 1), (13, 8)),
    "one row": ((1, 9), (50, 31)),
    "one column": ((9, 1), (31, 50)),
    "one axis": ((3, 4), (3, 9)),
    "down": ((8, 8), (5, 3)),
    "far down": ((40, 33), (2, 1)),
    "to one pixel": ((3, 3), (1, 1)),
}


@pytest.mark.parametrize(("low_hw", "high_hw"), SIZES.values(), ids=SIZES)
def test_value_and_gradient(low_hw, high_hw, way):
    compare(*sample(low_hw, high_hw))


@pytest.mark.parametrize("classes", [1, 2, 8, 9, 17, 150, 1000])
def test_any_number_of_classes(classes, way):
    compare(*sample((3, 4), (21, 32), classes=classes, ignore_index=65535), ignore_index=65535)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_class_weights_and_label_smoothing(weights, smoothing, way):
    compare(*sample((5, 7), (37, 53), seed=1), weights=weights, smoothing=smoothing)


@pytest.mark.parametrize("scale", [30.0, 100.0, 1000.0, 1e5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logits_far_apart(scale, smoothing, way):
    """Exponentials underflow, and differ by hundreds of powers of e from one score to the next."""
    compare(*sample((4, 5), (32, 41), classes=9, scale=scale, seed=7), smoothing=smoothing)


def test_a_pixel_between_two_certain_cells(way):
    """Half way between logits (0, -400, 200) and (-400, 0, 200) minus 200: no class is near its largest."""
    logits = torch.tensor([[0.0, -400.0], [-400.0, 0.0], [-230.0, -230.0]]).view(1, 3, 1, 2).requires_grad_()
    for label in range(3):
        compare(logits, torch.full((1, 8, 16), label))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_integers(dtype, way):
    logits, labels = sample((4, 4), (17, 17), seed=3)
    compare(logits, labels.to(dtype))
    compare(logits, labels.to(dtype).mT)


@pytest.mark.parametrize("ignore_index", [-100, 65535, 2])
def test_other_ignored_labels(ignore_index, way):
    compare(*sample((3, 3), (10, 11), ignore_index=ignore_index), ignore_index=ignore_index)


def test_logits_in_any_memory(way):
    logits, labels = sample((4, 6), (32, 48), seed=8)
    wide = torch.zeros(2, 10, 9, 12)
    wide[:, ::2, 1:5, ::2] = logits.detach()
    for other in (
        logits.detach().contiguous(memory_format=torch.channels_last),
        wide[:, ::2, 1:5, ::2],
        logits.detach()[:1].expand(2, -1, -1, -1),
    ):
        compare(other.requires_grad_(), labels)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_logits_of_other_precision_are_summed_in_float32(dtype, way):
    logits, labels = sample((4, 4), (32, 32), seed=4)
    other = logits.detach().to(dtype).requires_grad_()
    ours = upsampled_cross_entropy(other, labels)
    assert ours.dtype == torch.float32
    wanted = plain(other, labels, ignore_index=255)
    torch.testing.assert_close(ours.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    (ours,), (wanted,) = torch.autograd.grad(ours, other), torch.autograd.grad(wanted, other)
    assert ours.dtype == dtype
    assert (ours.double() - wanted.double()).abs().max() <= 0.01 * wanted.abs().max()


def test_float32_also_where_the_network_computes_in_bfloat16(way):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        compare(*sample((4, 5), (29, 40), seed=9))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_all_ignored_is_zero_with_zero_gradient(weights, way):
    logits, labels = sample((4, 4), (16, 16), ignored=2.0)
    loss = upsampled_cross_entropy(logits, labels, 255, weights, 0.1)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max().item() == 0


def test_ignored_pixels_have_no_effect(way):
    logits, labels = sample((6, 6), (6, 6), ignored=0.5, seed=5)
    upsampled_cross_entropy(logits, labels).backward()
    ignored = (labels == 255)[:, None].expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().min() > 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_logit_that_is_no_number_shows_in_the_loss(value, way):
    """The loop stops at a loss that is not finite: it must not be hidden."""
    logits, labels = sample((4, 4), (32, 32))
    labels[labels == 2] = 0
    logits.detach()[1, 2, 3, 1] = value
    assert math.isnan(upsampled_cross_entropy(logits, labels).item())


def test_a_class_that_cannot_be(way):
    """A logit of minus infinity at stride 1 is a probability of 0."""
    logits, labels = sample((5, 5), (5, 5), ignored=0.0)
    labels.clamp_(max=3)
    logits.detach()[:, 4] = -math.inf
    wanted = F.cross_entropy(logits, labels)
    torch.testing.assert_close(upsampled_cross_entropy(logits, labels), wanted)


def test_the_loss_is_scaled_and_used_twice(way):
    logits, labels = sample((4, 4), (32, 32))
    loss = upsampled_cross_entropy(logits, labels)
    (once,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (scaled,) = torch.autograd.grad(3 * loss, logits)
    torch.testing.assert_close(scaled, 3 * once)


def test_without_a_gradient(way):
    logits, labels = sample((4, 4), (32, 32))
    with torch.no_grad():
        loss = upsampled_cross_entropy(logits, labels)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, upsampled_cross_entropy(logits, labels).detach())


def test_sums_of_parts_make_the_mean_of_the_whole(way):
    logits, labels = sample((4, 4), (32, 32), batch=4, seed=6)
    labels[0] = 255
    parts = [(logits[i : i + 1], labels[i : i + 1]) for i in range(4)]
    total = sum(cross_entropy_sum(*part, 255, WEIGHTS) for part in parts)
    weight = sum(pixel_weight(part[1], 255, WEIGHTS) for part in parts)
    wanted = plain(logits, labels, ignore_index=255, weight=WEIGHTS)
    torch.testing.assert_close(mean_of(total, weight).double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)


def test_scores_of_a_padded_picture(way):
    """The labels lie at the upper left of what the scores cover."""
    logits, labels = sample((4, 6), (27, 33))
    ours = cross_entropy_sum(logits, labels, upsampling=Upsampling(padded_size_hw=(32, 48)))
    padded = F.pad(labels, (0, 15, 0, 5), value=255)
    wanted = plain(logits, padded, ignore_index=255, reduction="sum")
    torch.testing.assert_close(ours.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    (ours,), (wanted,) = torch.autograd.grad(ours, logits), torch.autograd.grad(wanted, logits)
    assert (ours - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


@pytest.mark.parametrize(("low_hw", "high_hw"), SIZES.values(), ids=SIZES)
def test_aligned_corners(low_hw, high_hw, way):
    logits, labels = sample(low_hw, high_hw, seed=8)
    ours = cross_entropy_sum(logits, labels, upsampling=Upsampling(align_corners=True))
    wanted = plain(logits, labels, align_corners=True, ignore_index=255, reduction="sum")
    torch.testing.assert_close(ours.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    (ours,), (wanted,) = torch.autograd.grad(ours, logits), torch.autograd.grad(wanted, logits)
    assert (ours - wanted).abs().max() <= TOLERANCE * max(wanted.abs().max(), 1)


def test_the_same_bits_with_any_number_of_threads(way):
    logits, labels = sample((40, 9), (301, 75), classes=12)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            loss = upsampled_cross_entropy(logits, labels)
            found.append((loss, *torch.autograd.grad(loss, logits)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for loss, gradient in found[1:]:
        assert torch.equal(loss, found[0][0])
        assert torch.equal(gradient, found[0][1])


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "PyTorch"])
def test_full_resolution_scores_are_never_held(compile, monkeypatch):
    if not compile:
        monkeypatch.setattr(compiled, "can_take", lambda scores: False)
        monkeypatch.setattr(bands, "BLOCK_BYTES_CPU", 2**18)
    logits, labels = sample((32, 32), (256, 256), classes=20, batch=1)
    with LargestTensor() as largest:
        upsampled_cross_entropy(logits, labels.to(torch.uint8)).backward()
    assert largest.bytes <= 4 * 20 * 256 * 256 / 16


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


def test_labels_that_are_no_integers():
    with pytest.raises(InputError, match=r"labels are integers; got torch\.float32"):
        upsampled_cross_entropy(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3))


@pytest.mark.parametrize("label", [5, -1, 2**40 + 1])
def test_a_label_that_is_no_class(label, way):
    logits, labels = sample((4, 4), (16, 16))
    labels[1, 7, 3] = label
    with pytest.raises(InputError, match=f"label {label} where 0 to 4 or 255"):
        upsampled_cross_entropy(logits, labels)


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
