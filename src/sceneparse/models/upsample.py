"""Upsampling of scores: bilinear, as a transposed convolution, and to labels without full-resolution scores.

Shapes: B batch, K classes, h,w score map, H,W image, C channels, f upsampling factor.

Alignment. All maps of this package's heads use the pixel-area convention (``align_corners=False``): a cell of
a map at stride s covers s pixels, and its value stands at the middle of them. A transposed convolution of
stride f and kernel 2f spreads cell i over outputs ``f*i - p ... f*i - p + 2f - 1`` (p: its padding), centred
at ``f*i - p + f - 1/2``. The middle of the f pixels of cell i is ``f*i + (f - 1)/2``. They agree for ``p =
f/2``: 4x4 stride 2 padding 1, 16x16 stride 8 padding 4. The output then has exactly f*h rows, and away from
the border it equals ``F.interpolate(..., align_corners=False)``. At the border the transposed convolution
fades towards 0 where interpolation repeats the edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.kernels import bands, bilinear, transposed


def bilinear_kernel(size: int) -> Tensor:
    """The (size, size) float32 kernel that interpolates bilinearly in a transposed convolution of stride size
    / 2.

    Weight falls linearly with the distance from the kernel's centre, to zero one stride away (FCN paper,
    section 3.3). Odd sizes are centred on a cell and belong to stride (size + 1) / 2.

    >>> bilinear_kernel(4)[0].tolist()
    [0.0625, 0.1875, 0.1875, 0.0625]
    """
    factor = (size + 1) // 2
    distance = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2).abs()
    ramp = 1 - distance / factor
    return ramp[:, None] * ramp[None, :]


def bilinear_transposed_conv(channels: int, factor: int, *, keep_border: bool = False) -> nn.ConvTranspose2d:
    """A dense transposed convolution (B, C, h, w) to (B, C, f*h, f*w) that starts as bilinear interpolation.

    At the start every channel is interpolated by itself and the weights between channels are zero; all are
    learned.

    Args:
        channels: C.
        factor: f, even.
        keep_border: no padding: the output has (h + 1) * f rows and starts f / 2 pixels before the input
            does. The published networks do this and crop at the end.
    """
    layer = _transposed_conv(channels, channels, factor, keep_border)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(channels)[:, :, None, None] * bilinear_kernel(2 * factor))
    return layer


def mixing_transposed_conv(
    in_channels: int, out_channels: int, factor: int, *, gain: float = 1.0
) -> nn.ConvTranspose2d:
    """A transposed convolution (B, C, h, w) to (B, C', f*h, f*w) between maps of different widths.

    Starts as bilinear interpolation followed by a random mix of the channels that keeps their variance times
    gain^2, so the kernels are smooth from the first step on.
    """
    layer = _transposed_conv(in_channels, out_channels, factor, keep_border=False)
    with torch.no_grad():
        mix = torch.randn(in_channels, out_channels) * (gain * in_channels**-0.5)
        layer.weight.copy_(mix[:, :, None, None] * bilinear_kernel(2 * factor))
    return layer


def _transposed_conv(
    in_channels: int, out_channels: int, factor: int, keep_border: bool
) -> nn.ConvTranspose2d:
    assert factor % 2 == 0, "an odd factor cannot be centred with a kernel of twice its size"
    padding = 0 if keep_border else factor // 2
    return nn.ConvTranspose2d(
        in_channels, out_channels, 2 * factor, stride=factor, padding=padding, bias=False
    )


@dataclass(frozen=True, kw_only=True)
class Upsampling:
    """How the logits of a picture come from scores at a greater stride: the last layer of a network.

    Args:
        padded_size_hw: of bilinear interpolation: size that the scores cover where the picture was padded
            right and below; the logits are cut from its upper left. None: the size of the logits.
        align_corners: of bilinear interpolation, as ``F.interpolate`` has it.
        kernel: of a learned transposed convolution with stride f: (C, K, 2f, 2f), or (K, 1, 2f, 2f) with K
            groups. None: bilinear interpolation.
        offset: of a learned one: row and column of its output, without padding, where the logits begin.
        groups: of a learned one: 1 or K.
    """

    padded_size_hw: tuple[int, int] | None = None
    align_corners: bool = False
    kernel: Tensor | None = None
    offset: int = 0
    groups: int = 1

    def num_classes(self, channels: int) -> int:
        """K, for scores of C channels."""
        return channels if self.kernel is None else self.kernel.shape[1] * self.groups


@torch.no_grad()
def upsampled_argmax(
    scores: Tensor, size_hw: tuple[int, int], *, upsampling: Upsampling | None = None
) -> Tensor:
    """Class of every pixel from low-resolution scores, without holding the full-resolution scores.

    Equal to the arg-max of the upsampled scores, by default ``F.interpolate(scores.float(), size_hw,
    mode="bilinear", align_corners=False)``, except where two classes tie within float32 rounding. Also
    samples down (without antialiasing, as ``F.interpolate``).

    Args:
        scores: (B, C, h, w), floating point, any device and memory format.
        size_hw: (H, W) of the labels.
        upsampling: how logits of that size come from the scores; None: bilinear.

    Returns:
        (B, H, W) training indices: uint8 for K <= 256, otherwise int32.
    """
    scores, upsampling = scores.float(), upsampling or Upsampling()
    if upsampling.kernel is not None:
        kernel = upsampling.kernel.float()
        return transposed.labels(scores, kernel, size_hw, offset=upsampling.offset, groups=upsampling.groups)
    covered = upsampling.padded_size_hw or size_hw
    assert covered[0] >= size_hw[0], (size_hw, covered)
    assert covered[1] >= size_hw[1], (size_hw, covered)
    return bilinear.labels(scores, size_hw, covered, align_corners=upsampling.align_corners)


@torch.no_grad()
def upsampled_confidence(
    scores: Tensor, size_hw: tuple[int, int], *, upsampling: Upsampling | None = None
) -> Tensor:
    """Softmax probability of each pixel's class, without holding the full-resolution scores.

    Args:
        scores: and the rest as in :func:`upsampled_argmax`.
        size_hw: likewise.
        upsampling: likewise.

    Returns:
        float32 (B, H, W), 1/K..1.
    """
    scores, upsampling = scores.float(), upsampling or Upsampling()
    with torch.autocast(scores.device.type, enabled=False):
        if upsampling.kernel is not None:
            return _confidence_of_learned(scores, upsampling.kernel.float(), size_hw, upsampling)
        covered = upsampling.padded_size_hw or size_hw
        return bands.confidence(scores, size_hw, covered, align_corners=upsampling.align_corners)


def _confidence_of_learned(
    scores: Tensor, kernel: Tensor, size_hw: tuple[int, int], upsampling: Upsampling
) -> Tensor:
    """Rows of score cells one after the other; each gives f rows of pixels, with its neighbour above."""
    factor = kernel.shape[2] // 2
    height, width = size_hw
    found = torch.empty((len(scores), height, width), device=scores.device)
    columns = slice(upsampling.offset, upsampling.offset + width)
    framed = F.pad(scores, (0, 0, 1, 1))
    for cell in range(upsampling.offset // factor, (upsampling.offset + height - 1) // factor + 1):
        two = framed[:, :, cell : cell + 2]  # rows cell - 1 and cell
        there = F.conv_transpose2d(two, kernel, stride=factor, groups=upsampling.groups)
        rows = slice(cell * factor - upsampling.offset, (cell + 1) * factor - upsampling.offset)
        first, last = max(rows.start, 0), min(rows.stop, height)
        there = there[:, :, factor + first - rows.start : factor + last - rows.start, columns]
        found[:, first:last] = (there - there.amax(1, keepdim=True)).exp_().sum(1).reciprocal_()
    return found
