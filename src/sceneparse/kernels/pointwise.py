"""1x1 convolutions with large weights on the CPU as one matrix product: fc7 of VGG.

oneDNN copies the weight into an order of its own at each call, which for a map of 7x7 cells takes as long as
the products. In a channels-last map the cells are rows as they lie.

Shapes: B batch, C channels in, K channels out, H,W map.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.kernels import layers

LARGE = 2**20
"""C * K from which on it is faster, forward and with the gradients; below there is no difference."""


class Conv1x1(nn.Conv2d):
    """``nn.Conv2d`` of 1x1 as a matrix product where the weight is large."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not layers.is_plain(input, weight):
            return super()._conv_forward(input, weight, bias)
        # The result is channels-last.
        return F.linear(input.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def use(network: nn.Module) -> int:
    """Turn every large 1x1 ``nn.Conv2d`` of a network into a :class:`Conv1x1`, in place.

    Returns:
        How many there are now.
    """
    return layers.turn(network, Conv1x1, _is_fitting)


def _is_fitting(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.groups)
    return shape == ((1, 1), (1, 1), (0, 0), 1) and layer.weight.numel() >= LARGE
