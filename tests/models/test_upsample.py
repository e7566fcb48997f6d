"""Upsampling against hand-worked kernels, torch's interpolation and its transposed convolution."""

import pytest
import torch
import torch.nn.functional as F
from largest_tensor import LargestTensor

from sceneparse.kernels import bands, compiled, transposed
from sceneparse.kernels.compiler import kernels
from sceneparse.models import upsampled_argmax
from sceneparse.models.upsample import (
    Upsampling,
    bilinear_kernel,
    bilinear_transposed_conv,
    mixing_transposed_conv,
)


def test_kernel_is_worked_by_hand():
    ramp = (
        torch.tensor([1, 3, 5, 7, 7, 5, 3, 1]) / 8
    )  # stride 4: one stride from the centre to zero, in steps of 1/4
    torch.testing.assert_close(bilinear_kernel(8), ramp[:, None] * ramp)
    ramp = torch.tensor([1, 2, 1]) / 2
    torch.testing.assert_close(bilinear_kernel(3), ramp[:, None] * ramp)


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_transposed_convolution_starts_as_interpolation(factor):
    layer = bilinear_transposed_conv(3, factor)
    x = torch.randn(2, 3, 5, 7)
    up = layer(x)
    assert up.shape == (2, 3, 5 * factor, 7 * factor)
    expected = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    inside = slice(factor // 2, -(factor // 2))  # nearer to the border, interpolation repeats the edge
    torch.testing.assert_close(up[..., inside, inside], expected[..., inside, inside], atol=1e-5, rtol=1e-5)
    full = bilinear_transposed_conv(3, factor, keep_border=True)(x)
    torch.testing.assert_close(full[..., factor // 2 : -(factor // 2), factor // 2 : -(factor // 2)], up)


def test_mixing_upsampling_is_interpolation_of_mixed_channels():
    torch.manual_seed(0)
    layer = mixing_transposed_conv(64, 48, 2).requires_grad_(False)
    x = torch.randn(1, 64, 6, 6)
    mix = layer.weight[:, :, 1, 1].T / bilinear_kernel(4)[1, 1]
    mixed = F.conv2d(x, mix[:, :, None, None])
    expected = F.interpolate(mixed, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(layer(x)[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-4, rtol=1e-4)
    assert mixed.std() == pytest.approx(1.0, abs=0.1)  # the variance of the input is kept


@pytest.fixture(params=["compiled", "compiled, large pieces", "PyTorch", "PyTorch, small blocks"])
def way(request, monkeypatch):
    """Every way to find the labels of upsampled scores on a CPU."""
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
        monkeypatch.setattr(transposed, "BAND_BYTES_CPU", 1)


SIZES = [
    ((4, 5), (32, 40)),
    ((7, 3), (50, 29)),
    ((6, 9), (6, 9)),
    ((8, 8), (3, 5)),
    ((40, 33), (2, 1)),
    ((1, 1), (1, 1)),
    ((1, 4), (9, 1)),
    ((2, 2), (70, 70)),
]


def agree(labels, logits):
    """Labels are those of the full-resolution logits, but where the two best are within float32 rounding."""
    best = logits.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-5
    return torch.equal(labels.long()[clear], logits.argmax(1)[clear]) and clear.float().mean() > 0.99


@pytest.mark.parametrize("classes", [2, 8, 11, 150])
@pytest.mark.parametrize(("small", "large"), SIZES, ids=str)
def test_labels_equal_interpolation_and_argmax(small, large, classes, way):
    logits = torch.randn(2, classes, *small, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(logits, large, mode="bilinear", align_corners=False)
    for memory in (torch.contiguous_format, torch.channels_last):
        labels = upsampled_argmax(logits.contiguous(memory_format=memory), large)
        assert labels.dtype == torch.uint8
        assert labels.shape == (2, *large)
        assert agree(labels, expected)


def test_labels_of_smooth_scores(way):
    """As networks give them: most cells can be of one class only, and some of a few."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn(1, 20, 4, 4, generator=generator) * 5
    logits = F.interpolate(coarse, (24, 24), mode="bicubic") + torch.randn(1, 20, 24, 24, generator=generator)
    labels = upsampled_argmax(logits, (190, 200))
    assert agree(labels, F.interpolate(logits, (190, 200), mode="bilinear", align_corners=False))


def test_a_class_that_wins_only_between_the_scores(way):
    """Nowhere the best of a score, but nearly as good as either neighbour's best."""
    logits = torch.tensor([[10.0, 0.0], [0.0, 10.0], [9.0, 9.0]]).view(1, 3, 1, 2)
    labels = upsampled_argmax(logits, (1, 16))[0, 0]
    assert labels.tolist() == [0] * 5 + [2] * 6 + [1] * 5


def test_equal_scores_give_the_first_class(way):
    assert not upsampled_argmax(torch.zeros(1, 9, 3, 3), (24, 24)).any()
    logits = torch.zeros(1, 9, 3, 3)
    logits[:, [4, 7]] = 1
    assert (upsampled_argmax(logits, (24, 24)) == 4).all()


def test_labels_of_a_padded_image_are_cut_from_it(way):
    logits = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(1))
    labels = upsampled_argmax(logits, (27, 33), upsampling=Upsampling(padded_size_hw=(32, 48)))
    full = F.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    assert agree(labels, full[..., :27, :33])


@pytest.mark.parametrize(("small", "large"), SIZES, ids=str)
def test_labels_with_aligned_corners(small, large, way):
    logits = torch.randn(2, 11, *small, generator=torch.Generator().manual_seed(5))
    for covered in (large, (large[0] + 3, large[1] + 9)):
        upsampling = Upsampling(padded_size_hw=covered, align_corners=True)
        full = F.interpolate(logits, covered, mode="bilinear", align_corners=True)
        assert agree(
            upsampled_argmax(logits, large, upsampling=upsampling), full[..., : large[0], : large[1]]
        )


def test_labels_of_half_precision_scores_are_interpolated_in_float32(way):
    logits = torch.randn(1, 5, 4, 4, generator=torch.Generator().manual_seed(2)).bfloat16()
    labels = upsampled_argmax(logits, (64, 64))
    assert agree(labels, F.interpolate(logits.float(), (64, 64), mode="bilinear", align_corners=False))


def test_many_classes_need_wider_labels(way):
    logits = torch.zeros(1, 300, 1, 1)
    logits[:, 290] = 1
    labels = upsampled_argmax(logits, (2, 2))
    assert labels.dtype == torch.int32
    assert (labels == 290).all()


def test_scores_that_are_no_numbers_give_labels_all_the_same(way):
    labels = upsampled_argmax(torch.full((1, 3, 2, 2), float("nan")), (16, 16))
    assert labels.max() < 3


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.usefixtures("way")
def test_labels_of_a_learned_upsampling(groups, factor):
    torch.manual_seed(0)
    scores, kernel = torch.randn(2, 6, 5, 7), torch.randn(6, 6 // groups, 2 * factor, 2 * factor)
    full = F.conv_transpose2d(scores, kernel, stride=factor, groups=groups)
    wholes = (factor // 2, (5 * factor, 7 * factor)), (factor + 1, (4 * factor, 5 * factor))
    for offset, (height, width) in ((0, (5, 9)), (3, (7, 4)), *wholes):
        upsampling = Upsampling(kernel=kernel, offset=offset, groups=groups)
        labels = upsampled_argmax(scores, (height, width), upsampling=upsampling)
        assert labels.dtype == torch.uint8
        assert agree(labels, full[:, :, offset : offset + height, offset : offset + width])


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "PyTorch"])
def test_full_resolution_scores_are_never_held(compile, monkeypatch):
    if not compile:
        monkeypatch.setattr(compiled, "can_take", lambda scores: False)
        monkeypatch.setattr(bands, "BLOCK_BYTES_CPU", 2**18)
    logits = torch.randn(1, 20, 16, 16)
    with LargestTensor() as largest:
        upsampled_argmax(logits, (512, 512))
    assert largest.bytes <= 4 * 20 * 512 * 512 / 16
