"""Bilinear upsampling against hand-worked kernels and torch's interpolation."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sceneparse.models import upsampled_argmax
from sceneparse.models.upsample import bilinear_kernel, bilinear_transposed_conv, mixing_transposed_conv


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


SIZES = [
    ((4, 5), (32, 40)),
    ((7, 3), (50, 29)),
    ((6, 9), (6, 9)),
    ((8, 8), (3, 5)),
    ((1, 1), (1, 1)),
    ((1, 4), (9, 1)),
]


def agree(labels, logits):
    """Labels are those of the full-resolution logits, but where the two best are within float32 rounding."""
    best = logits.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-5
    return torch.equal(labels.long()[clear], logits.argmax(1)[clear]) and clear.float().mean() > 0.99


@pytest.mark.parametrize("max_bytes", [1, 2000, 2**26])
@pytest.mark.parametrize(("small", "large"), SIZES, ids=str)
def test_labels_equal_interpolation_and_argmax(small, large, max_bytes):
    logits = torch.randn(2, 11, *small, generator=torch.Generator().manual_seed(0))
    labels = upsampled_argmax(logits, large, max_bytes=max_bytes)
    assert labels.dtype == torch.uint8
    assert labels.shape == (2, *large)
    assert agree(labels, F.interpolate(logits, large, mode="bilinear", align_corners=False))


def test_labels_of_a_padded_image_are_cut_from_it():
    logits = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(1))
    labels = upsampled_argmax(logits, (27, 33), padded_size_hw=(32, 48), max_bytes=3000)
    full = F.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    assert agree(labels, full[..., :27, :33])


def test_labels_of_half_precision_scores_are_interpolated_in_float32():
    logits = torch.randn(1, 5, 4, 4, generator=torch.Generator().manual_seed(2)).bfloat16()
    labels = upsampled_argmax(logits, (64, 64))
    assert agree(labels, F.interpolate(logits.float(), (64, 64), mode="bilinear", align_corners=False))


def test_many_classes_need_wider_labels():
    logits = torch.zeros(1, 300, 1, 1)
    logits[:, 290] = 1
    labels = upsampled_argmax(logits, (2, 2))
    assert labels.dtype == torch.int32
    assert (labels == 290).all()


class LargestTensor(TorchDispatchMode):
    """Bytes of the largest tensor that any operation inside makes."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.bytes = max(self.bytes, out.numel() * out.element_size())
        return out


def test_full_resolution_scores_are_never_held():
    logits = torch.randn(1, 20, 16, 16)
    with LargestTensor() as largest:
        upsampled_argmax(logits, (512, 512), max_bytes=2**18)
    assert largest.bytes <= 512 * 512  # the labels; the scores of a band are at most as large
