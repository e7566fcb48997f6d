"""Adam and AdamW for weights in channels-last memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _in_memory_order(tensors: list[Tensor]) -> None:
    """Turn channels-last tensors to the order of their memory.

    The fused optimizer of the CPU first copies the gradient of a tensor that is not contiguous, and then
    takes it as it lies in memory all the same: a quarter of a second for VGG.
    """
    for i, tensor in enumerate(tensors):
        if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            tensors[i] = tensor.permute(0, 2, 3, 1)


class Adam(torch.optim.Adam):
    """``torch.optim.Adam`` whose weights stay in channels-last memory."""

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        told = super()._init_group(group, *lists)
        for tensors in lists:
            _in_memory_order(tensors)
        return told


class AdamW(Adam, torch.optim.AdamW):
    """AdamW is an Adam whose decay is apart."""
