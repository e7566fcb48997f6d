"""1x1 convolutions of few channels that skip cells, on the CPU: the stems of RepVGG and MobileOne.

oneDNN's gradient of their weight writes past its workspace where the map is channels-last and has fewer
channels than a block (8 with AVX2, 16 with AVX512): wrong values, or the process dies (its issue 6035). The
cells that count, taken first, leave a convolution of stride 1, which has no such workspace.

Shapes: B batch, C channels in, K channels out, H,W map.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.kernels import layers

CHANNELS = 16
"""From so many on every block is whole."""


class SkippingConv1x1(nn.Conv2d):
    """``nn.Conv2d`` of 1x1 with a stride, on the cells that count."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        down, right = self.stride
        return F.conv2d(input[..., ::down, ::right], weight, bias)


def use(network: nn.Module) -> int:
    """Turn every 1x1 ``nn.Conv2d`` with a stride and few channels into a :class:`SkippingConv1x1`, in place.

    Returns:
        How many there are now.
    """
    return layers.turn(network, SkippingConv1x1, _is_in_danger)


def _is_in_danger(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.padding, layer.groups)
    return shape == ((1, 1), (0, 0), 1) and layer.stride != (1, 1) and layer.in_channels < CHANNELS
