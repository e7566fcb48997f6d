"""3x3 convolutions by Winograd's method against PyTorch's own in float64."""

import os
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sceneparse.kernels import compiler, winograd
from sceneparse.kernels.compiler import kernels

pytestmark = pytest.mark.skipif(not winograd.available(), reason=f"the C code is not there: {kernels().said}")

SIZES = [(1, 1), (1, 5), (4, 4), (5, 7), (33, 18)]
CHANNELS = [(1, 1), (3, 17), (17, 3), (64, 64), (20, 40)]


def made(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wanted(x, weight, bias):
    return F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)


def assert_near(found, truth, tolerance=2e-5):
    assert found.dtype == torch.float32
    assert found.shape == truth.shape
    assert (found - truth).abs().max() <= tolerance * truth.square().mean().sqrt() + 1e-6


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_as_pytorch_in_double(batch, channels, size):
    x, weight, bias = made(batch, channels[0], *size), made(channels[1], channels[0], 3, 3), made(channels[1])
    packed = winograd.packed(weight)
    found = winograd.conv3x3(x, packed, bias, channels[1], False)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_near(found, wanted(x, weight, bias))
    assert_near(winograd.conv3x3(x, packed, None, channels[1], False), wanted(x, weight, None))
    assert_near(winograd.conv3x3(x, packed, bias, channels[1], True), wanted(x, weight, bias).relu())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_as_pytorch_in_double(batch, channels, size):
    inputs = made(batch, channels[0], *size), made(channels[1], channels[0], 3, 3), made(channels[1])
    inputs = [one.requires_grad_() for one in inputs]
    grad = made(batch, channels[1], *size, seed=1)
    found = torch.autograd.grad(winograd.convolution(*inputs), inputs, grad)
    truth = torch.autograd.grad(wanted(*inputs), inputs, grad.double())
    for one, right in zip(found, truth, strict=True):
        assert_near(one, right)


def test_gradient_lies_as_the_weight():
    """So that the optimizer can take it as it is."""
    x = made(1, 8, 6, 6)
    for form in torch.contiguous_format, torch.channels_last:
        weight = made(16, 8, 3, 3).contiguous(memory_format=form).requires_grad_()
        winograd.convolution(x, weight, None).sum().backward()
        assert weight.grad.stride() == weight.stride()
        truth = torch.autograd.grad(wanted(x, weight, None).sum(), weight)[0]
        assert_near(weight.grad, truth)


def test_long_sums_as_exact_as_onednn():
    """Many channels, and for the weight many tiles."""
    x, weight = made(2, 256, 40, 40).relu(), made(64, 256, 3, 3)
    truth, plain = wanted(x, weight, None), F.conv2d(x, weight, padding=1)
    found = winograd.convolution(x, weight, None)
    assert (found - truth).square().mean().sqrt() < 5e-6 * truth.square().mean().sqrt()
    assert (found - truth).abs().max() < 20 * (plain - truth).abs().max()


@pytest.mark.parametrize("shape", [(1, 64, 30, 41), (3, 24, 17, 5), (1, 320, 12, 12)])
def test_threads_do_not_change_a_bit(shape, threads, monkeypatch):
    x, weight, bias = made(*shape), made(288, shape[1], 3, 3), made(288)
    grad = made(shape[0], 288, *shape[2:], seed=2)
    results = []
    for n, own in ((1, False), (2, False), (3, False), (2, True)):
        threads(n)
        if own:  # as where PyTorch is built with another OpenMP library
            monkeypatch.setattr(winograd, "torch_threads", lambda: None)
        packed = winograd.packed(weight), winograd.packed(weight, turned=True)
        results.append(
            [
                *packed,
                winograd.conv3x3(x, packed[0], bias, 288, False),
                winograd.conv3x3(grad, packed[1], None, shape[1], False),
                *winograd.conv3x3_weight_gradient(x, grad, False),
            ]
        )
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("change", ["transpose", "slice", "expand", "channels_last"])
def test_any_strides(change):
    x = made(2, 8, 12, 10)
    x = {
        "transpose": lambda: x.transpose(2, 3),
        "slice": lambda: x[:, ::2, 1::2],
        "expand": lambda: x[:1, :1].expand(3, 8, 12, 10),
        "channels_last": lambda: x.contiguous(memory_format=torch.channels_last),
    }[change]()
    weight = made(3, 3, 6, x.shape[1]).permute(2, 3, 0, 1)
    inputs = [one.detach().requires_grad_() for one in (x, weight)]
    found, truth = winograd.convolution(*inputs, None), wanted(*inputs, None)
    assert_near(found, truth)
    grad = made(*found.shape[2:], *found.shape[:2], seed=1).permute(2, 3, 0, 1)
    for one, right in zip(
        torch.autograd.grad(found, inputs, grad),
        torch.autograd.grad(truth, inputs, grad.double()),
        strict=True,
    ):
        assert_near(one, right)


def test_large_and_small_numbers():
    x, weight = made(1, 16, 9, 9), made(16, 16, 3, 3)
    for scale in (1e15, 1e-15):
        found = winograd.conv3x3(x * scale, winograd.packed(weight * scale), None, 16, False)
        assert_near(found / scale / scale, wanted(x, weight, None))


def test_nan_stays_under_relu():
    x, weight = made(1, 8, 9, 9), made(8, 8, 3, 3)
    x[0, 3, 4, 4] = torch.nan
    found = winograd.conv3x3(x, winograd.packed(weight), None, 8, True)
    assert found[0, :, 3:6, 3:6].isnan().all()
    assert found[0, :, 8].isfinite().all()


def test_empty_batch():
    x, weight = torch.empty(0, 4, 5, 5, requires_grad=True), made(6, 4, 3, 3).requires_grad_()
    found = winograd.convolution(x, weight, None)
    assert found.shape == (0, 6, 5, 5)
    assert not torch.autograd.grad(found.sum(), weight)[0].any()


@pytest.mark.parametrize("lanes", ["4", "16"])
def test_other_vector_widths(lanes, tmp_path, monkeypatch):
    """As on processors with longer and shorter registers."""
    monkeypatch.setenv("SCENEPARSE_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, "FLAGS", ("-std=gnu11", "-O0", "-shared", "-fPIC", f"-DLANES={lanes}"))
    kernels.cache_clear()
    try:
        assert kernels().library is not None, kernels().said
        for size in (5, 7), (21, 13):
            test_as_pytorch_in_double(2, (17, 40), size)
            test_gradients_as_pytorch_in_double(2, (17, 40), size)
    finally:
        kernels.cache_clear()


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1, bias=False),
        nn.Conv2d(64, 64, 3, padding=1, stride=2),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 3, padding="same"),
        nn.Conv2d(64, 64, 1),
    )


def test_use_changes_the_layers_that_fit():
    plain, changed = network(), network()
    assert winograd.use(changed) == 2
    assert [type(layer) is winograd.Conv3x3 for layer in changed] == [True, False, True] + [False] * 5
    assert winograd.use(changed) == 2
    assert changed.state_dict().keys() == plain.state_dict().keys()
    x = made(2, 3, 40, 40)
    torch.testing.assert_close(changed(x), plain(x), rtol=1e-4, atol=1e-5)
    changed(x).square().sum().backward()
    plain(x).square().sum().backward()
    for one, other in zip(changed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4 * other.grad.abs().max())


def test_used_only_where_it_pays_and_fits(monkeypatch):
    layer = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1))
    winograd.use(layer)
    calls = []
    monkeypatch.setattr(winograd, "convolution", lambda *args: calls.append(args) or args[0])
    layer(made(1, 64, 56, 56))
    assert len(calls) == 1
    layer(made(1, 64, 1, 1))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(made(1, 64, 56, 56)).dtype == torch.bfloat16
    assert layer.double()(made(1, 64, 56, 56).double()).dtype == torch.float64
    assert len(calls) == 1


def test_exported():
    """The operators go through torch.export, with a batch of any size."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("packed", winograd.packed(made(40, 8, 3, 3)))

        def forward(self, x):
            return torch.ops.sceneparse.conv3x3(x, self.packed, None, 40, True)

    x = made(2, 8, 6, 7)
    batch = {"x": {0: torch.export.Dim("batch")}}
    exported = torch.export.export(Layer(), (x,), dynamic_shapes=batch)
    assert torch.equal(exported.module()(made(3, 8, 6, 7)), Layer()(made(3, 8, 6, 7)))


def test_operators_are_what_they_say():
    x, weight = made(2, 8, 6, 7), made(40, 8, 3, 3)
    operators = torch.ops.sceneparse
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(operators.pack3x3.default, (weight, True), test_utils=tests)
    torch.library.opcheck(
        operators.conv3x3.default, (x, winograd.packed(weight), made(40), 40, True), test_utils=tests
    )
    grad = made(2, 40, 6, 7)
    for arguments in (x, weight, made(40), False), (grad, weight, None, True):
        torch.library.opcheck(operators.conv3x3_unpacked.default, arguments, test_utils=tests)
    for channels_last in (False, True):
        torch.library.opcheck(
            operators.conv3x3_weight_gradient.default, (x, grad, channels_last), test_utils=tests
        )


@pytest.mark.skipif(os.name != "posix", reason="nothing is compiled on this system")
def test_a_changed_layer_is_copied_and_kept():
    layer = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1))
    winograd.use(layer)
    copied = pickle.loads(pickle.dumps(layer))
    x = made(1, 64, 20, 20)
    assert torch.equal(copied(x), layer(x))
