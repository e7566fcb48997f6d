"""Bilinear upsampling: as a transposed convolution, and as labels without the full-resolution scores.

Shapes: B batch, K classes, h,w score map, H,W image, C channels, f upsampling factor.

Alignment. All maps here use the pixel-area convention (``align_corners=False``): a cell of a map at stride s
covers s pixels, and its value stands at the middle of them. A transposed convolution of stride f and kernel
2f spreads cell i over outputs ``f*i - p ... f*i - p + 2f - 1`` (p: its padding), centred at ``f*i - p + f -
1/2``. The middle of the f pixels of cell i is ``f*i + (f - 1)/2``. They agree for ``p = f/2``: 4x4 stride 2
padding 1, 16x16 stride 8 padding 4. The output then has exactly f*h rows, and away from the border it equals
``F.interpolate(..., align_corners=False)``. At the border the transposed convolution fades towards 0 where
interpolation repeats the edge.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BAND_BYTES_CPU = 4 * 2**20
"""Scores that stay in the cache between interpolation and arg-max: a quarter less time than with 64 MiB."""

BAND_BYTES_ACCELERATOR = 256 * 2**20
"""There, few large launches are faster than many small ones."""


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


@torch.no_grad()
def upsampled_argmax(
    logits: Tensor,
    size_hw: tuple[int, int],
    *,
    padded_size_hw: tuple[int, int] | None = None,
    max_bytes: int | None = None,
) -> Tensor:
    """Class of every pixel from low-resolution scores, without holding the full-resolution scores.

    Equal to ``F.interpolate(logits.float(), size, mode="bilinear", align_corners=False).argmax(1)``, except
    where two classes tie within float32 rounding. Works image by image in bands of rows. Also samples down
    (without antialiasing, as ``F.interpolate``).

    Args:
        logits: (B, K, h, w), floating point, any device and memory format.
        size_hw: (H, W) of the labels.
        padded_size_hw: size that the logits cover when the image was padded right and below, at least
            ``size_hw``; the labels are cut from its upper left. Default: ``size_hw``.
        max_bytes: bound on the scores of one band, which is never less than one row. Default: a few MiB on a
            CPU, more on a GPU.

    Returns:
        (B, H, W) training indices: uint8 for K <= 256, otherwise int32.
    """
    batch, classes, h, _ = logits.shape
    height, width = size_hw
    padded_h, padded_w = padded_size_hw or size_hw
    assert padded_h >= height, (size_hw, padded_size_hw)
    assert padded_w >= width, (size_hw, padded_size_hw)
    labels = torch.empty(
        (batch, height, width), dtype=torch.uint8 if classes <= 256 else torch.int32, device=logits.device
    )

    # The source row of each output row, in float32 as F.interpolate computes it.
    position = (torch.arange(height, device=logits.device) + 0.5) * (h / padded_h) - 0.5
    position = position.clamp_(min=0)
    above = position.long().clamp_(max=h - 1)
    below = (above + 1).clamp_(max=h - 1)
    weight = (position - above).view(1, -1, 1)

    if max_bytes is None:
        max_bytes = BAND_BYTES_CPU if logits.device.type == "cpu" else BAND_BYTES_ACCELERATOR
    band = max(1, max_bytes // (4 * classes * padded_w))
    for image, out in zip(logits, labels, strict=True):
        for first in range(0, height, band):
            rows = slice(first, first + band)
            scores = torch.lerp(image[:, above[rows]].float(), image[:, below[rows]].float(), weight[:, rows])
            scores = F.interpolate(
                scores[None], size=(scores.shape[1], padded_w), mode="bilinear", align_corners=False
            )[0]
            out[rows] = scores[:, :, :width].argmax(0)
    return labels
