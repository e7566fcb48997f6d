"""7x7 convolutions by way of the frequencies against F.conv2d in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sceneparse.kernels import fourier

TOLERANCE = 1e-5  # of the largest: float32 on both sides


@pytest.fixture(autouse=True)
def needs_compiler():
    if not fourier.available():
        pytest.skip(f"the C code is not there: {fourier.kernels().said}")


def sample(batch, channels, outs, height, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, height, width, generator=generator)
    weight = torch.randn(outs, channels, 7, 7, generator=generator)
    bias = torch.randn(outs, generator=generator)
    return [tensor.requires_grad_() for tensor in (x, weight, bias)]


def close(found, wanted):
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


def compare(x, weight, bias, padding):
    plain = [tensor.detach().double().requires_grad_() for tensor in (x, weight, bias)]
    wanted = F.conv2d(*plain, padding=padding)
    found = fourier.convolution(x, weight, bias, padding)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    close(found, wanted)
    asked = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(found, (x, weight, bias), asked)
    expected = torch.autograd.grad(wanted, plain, asked.double())
    for mine, theirs in zip(gradients, expected, strict=True):
        close(mine, theirs)


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 7), (1, 7), (6, 2), (8, 7), (7, 9), (11, 15), (12, 12)])
def test_padded_maps_of_any_size(size_hw):
    compare(*sample(2, 32, 9, *size_hw), 3)


@pytest.mark.parametrize("padding", [0, 1, 2, 4, 5, 6])
def test_other_paddings(padding):
    compare(*sample(1, 16, 4, 7, 13), padding)


@pytest.mark.parametrize(("batch", "channels", "outs"), [(1, 16, 1), (3, 80, 70), (2, 144, 130), (5, 64, 3)])
def test_odd_numbers_of_everything(batch, channels, outs):
    compare(*sample(batch, channels, outs, 7, 7), 3)


def test_memory_formats_and_slices():
    x, weight, bias = sample(2, 64, 5, 9, 8)
    wanted = fourier.convolution(x, weight, bias, 3)
    last = [tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, weight)]
    assert torch.equal(fourier.convolution(*last, bias, 3), wanted)
    part = torch.cat((x, x), 1)[:, :64].transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(fourier.convolution(part, weight, bias, 3), wanted)


@pytest.mark.parametrize("own", [False, True])
def test_bits_do_not_depend_on_the_number_of_threads(own, monkeypatch):
    if own:  # another OpenMP library than GCC's: threads of the C code
        monkeypatch.setattr(fourier, "torch_threads", lambda: None)
    weight = sample(3, 144, 200, 7, 7)[1]
    seen = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            spectra = torch.randn(104, 3, 144, generator=torch.Generator().manual_seed(0)).requires_grad_()
            y = fourier._Product.apply(spectra, weight.permute(0, 2, 3, 1))
            seen.append((y, *torch.autograd.grad(y, (spectra, weight), y.detach())))
    finally:
        torch.set_num_threads(before)
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


def test_only_the_gradient_that_is_asked_for():
    x, weight, _ = sample(1, 16, 2, 7, 7)
    both = torch.autograd.grad(fourier.convolution(x, weight, None, 3).sum(), (x, weight))
    assert torch.equal(
        torch.autograd.grad(fourier.convolution(x, weight.detach(), None, 3).sum(), x)[0], both[0]
    )
    assert torch.equal(
        torch.autograd.grad(fourier.convolution(x.detach(), weight, None, 3).sum(), weight)[0], both[1]
    )


def test_inference_before_training():
    """What is kept from the one serves the other."""
    fourier._transforms.cache_clear()
    x, weight, bias = sample(1, 16, 2, 7, 7)
    with torch.inference_mode():
        fourier.convolution(x, weight, bias, 3)
    fourier.convolution(x, weight, bias, 3).sum().backward()


def test_the_operator_and_its_export():
    x, weight, bias = [tensor.detach() for tensor in sample(1, 16, 4, 7, 9)]
    packed = weight.permute(0, 2, 3, 1).contiguous()
    arguments = (x, packed, bias, 3)
    torch.library.opcheck(
        torch.ops.sceneparse.conv7x7, arguments, test_utils=("test_schema", "test_faketensor")
    )
    close(torch.ops.sceneparse.conv7x7(*arguments), F.conv2d(x, weight, bias, padding=3))


def test_use_changes_what_it_pays_for_and_nothing_else():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(256, 256, 7, padding=3),
        nn.Conv2d(256, 256, 7, padding=2, stride=2),
        nn.Conv2d(256, 256, 7, padding=3, groups=256),
        nn.Conv2d(256, 3, 7),
        nn.Conv2d(3, 256, 7),
    )
    keys = list(network.state_dict())
    assert fourier.use(network) == 1
    assert [type(layer) is fourier.Conv7x7 for layer in network] == [True, False, False, False, False]
    assert fourier.use(network) == 1
    assert list(network.state_dict()) == keys
    x = torch.randn(1, 256, 7, 7)
    close(network[0](x), F.conv2d(x, network[0].weight, network[0].bias, padding=3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network[0](x).dtype == torch.bfloat16
    with pytest.raises(RuntimeError, match="size"):  # as nn.Conv2d says it
        nn.Sequential(nn.Conv2d(256, 256, 7))[0](x[..., :3])
