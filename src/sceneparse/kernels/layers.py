"""What the layers that take the place of ``nn.Conv2d`` have in common.

Shapes: B batch, C channels in, H,W map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether both are float32 on the CPU and stay so (no autocast), and ``x`` is (B, C, H, W)."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32 and x.dim() == 4
    return plain and not torch.is_autocast_enabled("cpu")


def turn(network: nn.Module, kind: type[nn.Conv2d], fits: Callable[[nn.Conv2d], bool]) -> int:
    """Turn every ``nn.Conv2d`` of a network that fits into another class, in place.

    Parameters, names and hooks stay as they are.

    Args:
        network: any.
        kind: what they become.
        fits: whether ``kind`` is for such a layer.

    Returns:
        How many of this kind there are now.
    """
    found = 0
    for layer in network.modules():
        if type(layer) is nn.Conv2d and fits(layer):
            layer.__class__ = kind
        found += isinstance(layer, kind)
    return found
