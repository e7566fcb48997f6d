"""The loss through a learned upsampling against F.conv_transpose2d and F.cross_entropy."""

import pytest
import torch
import torch.nn.functional as F

from sceneparse.kernels import compiled, compiled_transposed, transposed
from sceneparse.kernels.compiler import kernels
from sceneparse.models import ModelOptions, build_model
from sceneparse.models.upsample import Upsampling
from sceneparse.normalization import IMAGENET
from sceneparse.settings import override
from sceneparse.training.learner import Learner
from sceneparse.training.loss import cross_entropy_sum, mean_of, pixel_weight

TOLERANCE = 1e-5  # of the contract, float32
WEIGHTS = torch.tensor([0.3, 2.0, 1.0, 0.0, 5.0, 1.5])


@pytest.fixture(params=["compiled", "compiled, few tiles", "PyTorch", "PyTorch, small bands"])
def way(request, monkeypatch):
    """Every way to compute it on a CPU."""
    if request.param.startswith("compiled"):
        if kernels().library is None:
            pytest.skip(kernels().said)
        if request.param == "compiled, few tiles":
            monkeypatch.setattr(compiled_transposed, "TILES", 2)
            monkeypatch.setattr(compiled_transposed, "PARTS", 3)
    else:
        monkeypatch.setattr(compiled, "can_take", lambda scores: False)
    if request.param == "PyTorch, small bands":
        monkeypatch.setattr(transposed, "BAND_BYTES_CPU", 1)
    return request.param


def sample(factor, size_hw, *, low_hw=(4, 5), channels=6, classes=6, groups=1, ignored=0.2):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(2, channels, *low_hw, generator=generator)
    kernel = torch.randn(channels, classes // groups, 2 * factor, 2 * factor, generator=generator)
    labels = torch.randint(0, classes, (2, *size_hw), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return scores.requires_grad_(), kernel.requires_grad_(), labels


def plain(scores, kernel, labels, offset, groups, **options):
    """In float64: what it should be, not another rounding of it."""
    factor = kernel.shape[2] // 2
    full = F.conv_transpose2d(scores.double(), kernel.double(), stride=factor, groups=groups)
    height, width = labels.shape[1:]
    logits = full[:, :, offset : offset + height, offset : offset + width]
    options["weight"] = None if options.get("weight") is None else options["weight"].double()
    return F.cross_entropy(logits, labels, ignore_index=255, **options)


def compare(scores, kernel, labels, *, offset=0, groups=1, weights=None, smoothing=0.0):
    upsampling = Upsampling(kernel=kernel, offset=offset, groups=groups)
    total = cross_entropy_sum(scores, labels, 255, weights, smoothing, upsampling=upsampling)
    ours = mean_of(total, pixel_weight(labels, 255, weights))
    wanted = plain(scores, kernel, labels, offset, groups, weight=weights, label_smoothing=smoothing)
    torch.testing.assert_close(ours.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    found = torch.autograd.grad(ours, (scores, kernel))
    for gradient, expected in zip(found, torch.autograd.grad(wanted, (scores, kernel)), strict=True):
        assert (gradient - expected).abs().max() <= TOLERANCE * expected.abs().max()


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("groups", [1, 6], ids=["full", "per class"])
@pytest.mark.parametrize(
    ("factor", "offset", "size_hw"),
    [(8, 4, (32, 40)), (8, 4, (29, 33)), (8, 31, (3, 8)), (2, 0, (10, 12)), (4, 2, (1, 1)), (1, 0, (5, 6))],
)
def test_value_and_gradients(factor, offset, size_hw, groups):
    scores, kernel, labels = sample(factor, size_hw, groups=groups)
    labels[:, 0, 0] = 1
    compare(scores, kernel, labels, offset=offset, groups=groups)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("groups", [1, 6], ids=["full", "per class"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_and_label_smoothing(weights, smoothing, groups):
    compare(
        *sample(4, (16, 20), groups=groups), offset=2, groups=groups, weights=weights, smoothing=smoothing
    )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("factor", "classes"), [(8, 11), (8, 21), (4, 12), (2, 5), (8, 97)])
def test_other_channels_than_classes(factor, classes):
    """As in the tutorial's decoder; classes that do not fill the processor's vectors."""
    size_hw = (4 * factor - 2, 5 * factor - 3)
    compare(*sample(factor, size_hw, channels=17, classes=classes), offset=factor // 2)


@pytest.mark.usefixtures("way")
def test_one_score_and_one_class_more_than_a_byte():
    compare(*sample(2, (3, 3), low_hw=(1, 1), classes=300, ignored=0.0), offset=1)


@pytest.mark.usefixtures("way")
def test_a_large_picture():
    """More tiles than are kept at a time; a part of it is ignored."""
    scores, kernel, labels = sample(2, (60, 130), low_hw=(30, 65), classes=4)
    labels[0, :, 40:] = 255
    compare(scores, kernel, labels, offset=1)


@pytest.mark.parametrize(
    ("side", "cells"), [(4, (28, 28)), (4, (7, 16)), (3, (9, 9)), (3, (29, 29)), (3, (3, 6))]
)
def test_tiles_of_the_fewest_products(side, cells):
    for less in (0, 7):
        assert compiled_transposed._side([8 * n - less for n in cells], 8) == side


@pytest.mark.parametrize("side", ["chosen", 3, 4])
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("groups", [1, 6], ids=["full", "per class"])
@pytest.mark.parametrize(
    ("factor", "offset", "size_hw"),
    [
        (4, 2, (32, 48)),
        (4, 2, (29, 50)),
        (4, 3, (16, 33)),
        (4, 4, (28, 36)),
        (3, 1, (20, 31)),
        (4, 17, (1, 35)),
    ],
)
def test_where_tiles_begin_and_end(factor, offset, size_hw, groups, side, monkeypatch):
    """Tiles are four or three cells each way, from the border on: whole ones, and one cell more or less."""
    if side != "chosen":
        monkeypatch.setattr(compiled_transposed, "_side", lambda size_hw, factor: side)
    compare(*sample(factor, size_hw, low_hw=(8, 13), groups=groups), offset=offset, groups=groups)


def test_errors_are_those_of_float32():
    """Minimal filtering has more rounding than the layer itself; the points are chosen for little."""
    if kernels().library is None:
        pytest.skip(kernels().said)
    scores, kernel, labels = sample(8, (96, 88), low_hw=(12, 11), channels=40, classes=40)
    kernel = (kernel.detach() * 0.1).requires_grad_()
    ours = cross_entropy_sum(scores, labels, upsampling=Upsampling(kernel=kernel, offset=4))
    wanted = plain(scores, kernel, labels, 4, 1, reduction="sum")
    assert abs(ours.item() / wanted.item() - 1) < 1e-6
    found = torch.autograd.grad(ours, (scores, kernel))
    for gradient, expected in zip(found, torch.autograd.grad(wanted, (scores, kernel)), strict=True):
        assert (gradient - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_only_tiles_that_count_are_computed():
    counted = torch.zeros(2, 70, 40, dtype=torch.bool)
    counted[0, 31, 31] = counted[1, 64, 39] = True
    places = compiled_transposed._places(counted, 8, 4)
    assert places.tolist() == [[0, 0, 0], [1, 8, 4]]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("size", [30.0, 1000.0])
def test_large_scores(size):
    """Where the softmax is 0 and 1, and the loss of what is left is large."""
    scores, kernel, labels = sample(4, (16, 20))
    compare((scores.detach() * size).requires_grad_(), kernel, labels, offset=2)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_scores_beyond_numbers_show(value):
    scores, kernel, labels = sample(2, (8, 10), ignored=0.0)
    with torch.no_grad():
        scores[0, 3, 2, 2] = value
        total = cross_entropy_sum(scores, labels, upsampling=Upsampling(kernel=kernel * 100, offset=1))
    assert not total.isfinite()


def test_the_same_bits_in_any_number_of_threads():
    if kernels().library is None:
        pytest.skip(kernels().said)
    before, found = torch.get_num_threads(), []
    scores, kernel, labels = sample(4, (16, 20))
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            total = cross_entropy_sum(scores, labels, upsampling=Upsampling(kernel=kernel, offset=2))
            found.append((total, *torch.autograd.grad(total, (scores, kernel))))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.usefixtures("way")
def test_a_fixed_kernel_without_weights_between_classes():
    """As in published networks: the same as any kernel."""
    scores, kernel, labels = sample(4, (16, 20))
    kernel = kernel.detach() * torch.eye(6)[:, :, None, None]
    total = cross_entropy_sum(scores, labels, upsampling=Upsampling(kernel=kernel, offset=2))
    wanted = plain(scores, kernel, labels, 2, 1, reduction="sum")
    torch.testing.assert_close(total.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)
    (found,), (expected,) = torch.autograd.grad(total, scores), torch.autograd.grad(wanted, scores)
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    kernel[4, 2, 1, 1] = 3.0
    total = cross_entropy_sum(scores, labels, upsampling=Upsampling(kernel=kernel, offset=2))
    wanted = plain(scores, kernel, labels, 2, 1, reduction="sum")
    torch.testing.assert_close(total.double(), wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("way")
def test_all_ignored_is_zero_with_zero_gradients():
    scores, kernel, labels = sample(4, (16, 20), ignored=2.0)
    total = cross_entropy_sum(scores, labels, upsampling=Upsampling(kernel=kernel, offset=2))
    loss = mean_of(total, pixel_weight(labels))
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, (scores, kernel)))


@pytest.mark.usefixtures("way")
def test_only_the_gradient_that_is_asked_for():
    scores, kernel, labels = sample(4, (16, 20))
    fixed = Upsampling(kernel=kernel.detach(), offset=2)
    learned = Upsampling(kernel=kernel, offset=2)
    (wanted, of_kernel) = torch.autograd.grad(
        cross_entropy_sum(scores, labels, upsampling=learned), (scores, kernel)
    )
    (found,) = torch.autograd.grad(cross_entropy_sum(scores, labels, upsampling=fixed), scores)
    assert torch.equal(found, wanted)
    (found,) = torch.autograd.grad(cross_entropy_sum(scores.detach(), labels, upsampling=learned), kernel)
    assert torch.equal(found, of_kernel)
    with torch.no_grad():
        assert not cross_entropy_sum(scores, labels, upsampling=learned).requires_grad


def test_bfloat16_where_the_network_computes_in_it():
    scores, kernel, labels = sample(8, (32, 40), channels=24)
    upsampling = Upsampling(kernel=kernel, offset=4)
    exact = cross_entropy_sum(scores, labels, upsampling=upsampling)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = cross_entropy_sum(scores, labels, upsampling=upsampling)
    assert rough.dtype == torch.float32
    assert rough.item() != exact.item()
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0)
    pairs = zip(
        torch.autograd.grad(rough, (scores, kernel)),
        torch.autograd.grad(exact, (scores, kernel)),
        strict=True,
    )
    for found, expected in pairs:
        assert found.dtype == torch.float32
        assert (found - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("head", ["fcn8s", "fcn8s-wide"])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_a_training_step(config, head, precision):
    """The loss of the logits, and the kernel of the last layer learns."""
    torch.manual_seed(0)
    network = build_model(f"{head}-test_convnext", 3, ModelOptions(dropout=0.0))
    for parameter in network.head.parameters():  # scores that start at 0 would hide the body
        torch.nn.init.normal_(parameter, std=0.1)
    learner = Learner(
        override(config, {"precision": precision}), network, IMAGENET, ignore_index=255, class_weights=None
    )
    batch = {
        "image": torch.randint(0, 256, (2, 3, 37, 53), dtype=torch.uint8),
        "mask": torch.randint(0, 3, (2, 37, 53), dtype=torch.uint8),
        "index": torch.arange(2),
    }
    batch["mask"][:, :9] = 255
    with torch.no_grad():
        logits = network(IMAGENET(batch["image"]))
    wanted = F.cross_entropy(logits, batch["mask"].long(), ignore_index=255)
    kernel = network.head.last.weight.detach().clone()
    found = learner.step([batch], 5)
    rtol = 1e-5 if precision == "32" else 0.1
    torch.testing.assert_close(found, wanted, rtol=rtol, atol=1e-5)
    assert (found.item() == pytest.approx(wanted.item(), rel=1e-6)) == (precision == "32")
    assert not torch.equal(network.head.last.weight, kernel)
