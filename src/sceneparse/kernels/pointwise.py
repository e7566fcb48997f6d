"""1x1 convolutions with large weights on the CPU as one matrix product: fc7 of VGG.

oneDNN copies the weight into an order of its own at each call, which for a map of 7x7 cells takes as long as
the products. In a channels-last map the cells are rows as they lie.

Shapes: B batch, C channels in, K channels out, H,W map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGE = 2**20
"""C * K from which on it is faster, forward and with the gradients; below there is no difference."""


class Conv1x1(nn.Conv2d):
    """``nn.Conv2d`` of 1x1 as a matrix product where the weight is large."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        plain = input.device.type == "cpu" and input.dtype == torch.float32 and input.dim() == 4
        if not plain or torch.is_autocast_enabled("cpu"):
            return super()._conv_forward(input, weight, bias)
        # The result is channels-last.
        return F.linear(input.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)


def use(network: nn.Module) -> int:
    """Turn every large 1x1 ``nn.Conv2d`` of a network into a :class:`Conv1x1`, in place.

    Parameters, names and hooks stay as they are.

    Returns:
        How many there are now.
    """
    found = 0
    for layer in network.modules():
        if type(layer) is nn.Conv2d and _is_plain(layer) and layer.weight.numel() >= LARGE:
            layer.__class__ = Conv1x1
        found += isinstance(layer, Conv1x1)
    return found


def _is_plain(layer: nn.Conv2d) -> bool:
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.groups)
    return shape == ((1, 1), (1, 1), (0, 0), 1)
