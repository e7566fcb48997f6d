"""Muon: momentum whose matrices are made orthogonal (Jordan et al., *Muon: An optimizer for hidden layers in
neural networks*, 2024), for convolutions.

A gradient of a convolution has a few strong directions, and Adam spends its steps on them. Replaced by the
nearest orthogonal matrix, every direction moves as far.

torch.optim.Muon takes linear layers alone, and computes in bfloat16, which few processors have units for.

Shapes: a weight (K, C, h, w) is the matrix (K, h*w*C) here, so that channels-last memory is not copied; N
matrices of one shape (m, n), m <= n, are treated together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sceneparse.models import Network
from sceneparse.training.adam import AdamW

ITERATIONS = 5
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""Of Jordan et al.: five rounds bring every singular value from 0.002 .. 1 to 0.7 .. 1.2."""

COLOURS = 3


def hidden_weights(network: nn.Module) -> list[nn.Parameter]:
    """The weights that Muon moves: of dense convolutions and linear layers between the first and the scores.

    What touches pixels or classes, has a row for each channel alone (depthwise) or is no matrix is Adam's.
    """
    last = network.score_prefix if isinstance(network, Network) else None
    found = []
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            hidden = layer.groups == 1 and layer.in_channels > COLOURS
        else:
            hidden = type(layer) is nn.Linear
        scores = last is not None and f"{name}.".startswith(last)
        if hidden and not scores and layer.weight.requires_grad:
            found.append(layer.weight)
    return found


@torch.no_grad()
def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly the nearest matrix with singular values 1, by five rounds of Newton and Schulz.

    Each round is an odd polynomial X <- (a + b A + c A^2) X of A = X X^T. As all of them commute, the rounds
    are taken on A alone, (m, m), and X is multiplied once: for a convolution of 3x3 a third of the products.

    Args:
        matrices: floating point (N, m, n).

    Returns:
        (N, m, n) with singular values of about 0.7 to 1.2 in place of those above 0.002 of the matrix's norm
        (of all of them together); zeros stay zeros.
    """
    a, b, c = POLYNOMIAL
    turned = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if turned else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)
    square = x @ x.mT
    product: Tensor | None = None
    for i in range(ITERATIONS):
        step = torch.baddbmm(square, square, square, beta=b, alpha=c)
        step.diagonal(dim1=1, dim2=2).add_(a)
        product = step if product is None else step @ product
        if i < ITERATIONS - 1:
            square = step @ (step @ square)
    assert product is not None
    x = product @ x
    return x.mT if turned else x


class Muon(AdamW):
    """Groups with ``orthogonal=True`` move by orthogonalised momentum with Nesterov's look ahead; others as
    AdamW does.

    A matrix (K, n) moves by ``lr * max(1, K / n) ** 0.5`` times the orthogonal matrix, and decays by ``lr *
    weight_decay`` apart from it.

    Args:
        groups: with ``params``, perhaps ``orthogonal``, and what AdamW knows.
        lr: learning rate.
        momentum: of orthogonal groups.
        fused: of AdamW's part.
    """

    def __init__(self, groups: list[dict[str, object]], *, lr: float, momentum: float, fused: bool) -> None:
        self.momentum = momentum
        super().__init__(groups, lr=lr, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step from the gradients; those of orthogonal groups are used up."""
        assert closure is None
        for group in self.param_groups:
            if group.get("orthogonal"):
                self._step(group)
        return super().step()  # it passes over what has no gradient

    def _step(self, group: dict[str, Any]) -> None:
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                weight = _rows(parameter, parameter)
                ahead = _rows(self._ahead(parameter), parameter)
                assert weight.data_ptr() == parameter.data_ptr(), "a weight in no known memory format"
                alike[tuple(weight.shape)].append((weight, ahead))
                parameter.grad = None
        for (rows, columns), pairs in alike.items():
            moves = orthogonal(torch.stack([ahead for _, ahead in pairs]))
            far = group["lr"] * max(1.0, rows / columns) ** 0.5
            for (weight, _), move in zip(pairs, moves, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(move, alpha=-far)

    def _ahead(self, parameter: Tensor) -> Tensor:
        """The momentum after this step, looked at one step ahead; kept under Adam's names."""
        state = self.state[parameter]
        if not state:
            state["step"], state["exp_avg"] = torch.zeros(()), torch.zeros_like(parameter)
        state["step"] += 1
        state["exp_avg"].lerp_(parameter.grad, 1 - self.momentum)
        ahead: Tensor = state["exp_avg"].lerp(parameter.grad, 1 - self.momentum)
        return ahead


def _rows(tensor: Tensor, weight: Tensor) -> Tensor:
    """A tensor shaped like ``weight`` as a matrix (K, n), its columns in the order of the weight's memory."""
    if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
        tensor = tensor.permute(0, 2, 3, 1)
    return tensor.flatten(1)
