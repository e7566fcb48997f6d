"""Optimizer, learning rate as a function of the step, moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sceneparse.config import OptimizerConfig
from sceneparse.training.adam import Adam, AdamW
from sceneparse.training.muon import Muon, hidden_weights


def parameter_groups(model: nn.Module, config: OptimizerConfig) -> list[dict[str, object]]:
    """Weights, biases, and normalisation layers apart; for Muon also the weights that it moves.

    Biases learn at ``bias_lr_factor`` times the rate and never decay, nor do normalisation layers [Long,
    Shelhamer, Darrell, CVPR 2015, section 4.3].
    """
    hidden = hidden_weights(model) if config.name == "muon" else []
    others = config.others_lr_factor if config.name == "muon" else 1.0
    orthogonal = {id(parameter) for parameter in hidden}
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    scales: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or id(parameter) in orthogonal:
            continue
        if parameter.ndim > 1:
            weights.append(parameter)
        elif name.endswith("bias"):
            biases.append(parameter)
        else:
            scales.append(parameter)
    groups: list[dict[str, object]] = [
        {"params": hidden, "lr_factor": 1.0, "weight_decay": config.weight_decay, "orthogonal": True},
        {"params": weights, "lr_factor": others, "weight_decay": config.weight_decay},
        {"params": biases, "lr_factor": others * config.bias_lr_factor, "weight_decay": 0.0},
        {"params": scales, "lr_factor": others, "weight_decay": 0.0},
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
    if config.name == "muon":
        return Muon(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    kind = AdamW if config.name == "adamw" else Adam
    return kind(groups, lr=config.lr, fused=fused)


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
