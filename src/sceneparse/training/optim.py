"""Optimizer, learning rate as a function of the step, moving average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sceneparse.config import OptimizerConfig


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, object]]:
    """Weights, biases, and normalisation layers apart.

    Biases learn at ``bias_lr_factor`` times the rate and never decay, nor do normalisation layers [Long,
    Shelhamer, Darrell, CVPR 2015, section 4.3].
    """
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    scales: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim > 1:
            weights.append(parameter)
        elif name.endswith("bias"):
            biases.append(parameter)
        else:
            scales.append(parameter)
    groups: list[dict[str, object]] = [
        {"params": weights, "lr_factor": 1.0, "weight_decay": config.weight_decay},
        {"params": biases, "lr_factor": config.bias_lr_factor, "weight_decay": 0.0},
        {"params": scales, "lr_factor": 1.0, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, config: OptimizerConfig, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimizer of a run; :func:`set_learning_rate` gives each step its rate.

    Args:
        model: whose parameters it moves.
        config: see :class:`~sceneparse.config.OptimizerConfig`.
        fused: one pass over the memory. Not with scaled gradients that are clipped: a fused optimizer undoes
            the scale itself, too late for clipping.
    """
    groups = parameter_groups(model, config)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    kind = _AdamW if config.name == "adamw" else _Adam
    return kind(groups, lr=config.lr, fused=fused)


def _in_memory_order(tensors: list[Tensor]) -> None:
    """Turn channels-last tensors to the order of their memory.

    The fused optimizer of the CPU first copies the gradient of a tensor that is not contiguous, and then
    takes it as it lies in memory all the same: a quarter of a second for VGG.
    """
    for i, tensor in enumerate(tensors):
        if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            tensors[i] = tensor.permute(0, 2, 3, 1)


class _Adam(torch.optim.Adam):
    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        told = super()._init_group(group, *lists)
        for tensors in lists:
            _in_memory_order(tensors)
        return told


class _AdamW(_Adam, torch.optim.AdamW):
    """AdamW is an Adam whose decay is apart."""


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Learning rate of step ``step`` (from 0) of ``steps``: a function of nothing else."""
    warmup = math.ceil(config.warmup * steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    if config.schedule == "poly":
        return config.lr * (1 - progress) ** 0.9
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its rate: ``rate`` times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights a step towards the model's; buffers are copied.

    ``decay`` is reached gradually, as (1 + step) / (10 + step), so that the random start is soon forgotten.
    """
    decay = min(decay, (1 + step) / (10 + step))
    kept: list[Tensor] = list(average.parameters())
    new = [p.detach() for p in model.parameters()]
    torch._foreach_lerp_(kept, new, 1 - decay)
    # Floating point apart: tensors of one type are copied by one call on a GPU.
    for floating in (True, False):
        mine, theirs = (
            [buffer for buffer in module.buffers() if buffer.is_floating_point() == floating]
            for module in (average, model)
        )
        if mine:
            torch._foreach_copy_(mine, theirs)
