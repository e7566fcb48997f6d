"""Muon against singular values, and against the plain iteration."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sceneparse.config import OptimizerConfig
from sceneparse.models import ModelOptions, build_model
from sceneparse.training.muon import hidden_weights, orthogonal
from sceneparse.training.optim import make_optimizer, set_learning_rate


def plain_iteration(matrix: torch.Tensor) -> torch.Tensor:
    """As in the paper, in float64."""
    x = matrix.double()
    turned = x.shape[0] > x.shape[1]
    x = x.T if turned else x
    x = x / x.norm()
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if turned else x


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (24, 216), (64, 16)])
def test_rounds_on_the_small_square_are_the_papers(size):
    torch.manual_seed(0)
    matrices = torch.randn(3, *size)
    found = orthogonal(matrices)
    for matrix, made in zip(matrices, found, strict=True):
        torch.testing.assert_close(made.double(), plain_iteration(matrix), atol=2e-3, rtol=2e-3)


def test_directions_stay_and_lengths_become_one():
    torch.manual_seed(0)
    u, v = torch.linalg.qr(torch.randn(16, 16))[0], torch.linalg.qr(torch.randn(40, 16))[0]
    lengths = torch.logspace(0, -1.5, 16)
    found = u.T @ orthogonal((u * lengths @ v.T)[None])[0] @ v
    assert (found.diagonal() > 0.6).all()
    assert (found.diagonal() < 1.3).all()
    assert (found - found.diagonal().diag()).abs().max() < 1e-2


def test_zeros_stay_zeros():
    assert orthogonal(torch.zeros(2, 3, 5)).abs().max() == 0


def test_which_weights_are_muons():
    network = build_model("fcn4s-fused-mobilenetv3_small_050", 5, ModelOptions(upsampling="bilinear"))
    names = {id(p): n for n, p in network.named_parameters()}
    hidden = {names[id(p)] for p in hidden_weights(network)}
    assert "head.lateral.stride32.0.weight" in hidden
    assert not any("score" in name or name.endswith("bias") for name in hidden)
    depthwise = {
        f"{n}.weight" for n, m in network.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1
    }
    assert depthwise
    assert not depthwise & hidden
    assert "encoder.body.conv_stem.weight" in names.values()
    assert "encoder.body.conv_stem.weight" not in hidden
    linear = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    assert hidden_weights(linear) == [linear[0].weight]


@pytest.mark.parametrize("classes", [5, 32, 64])
def test_layers_as_wide_as_there_are_classes_are_hidden_all_the_same(classes):
    with torch.device("meta"):
        network = build_model("fcn2s-fused-slimresnet20", classes)
    hidden = {id(p) for p in hidden_weights(network)}
    others = {n for n, p in network.named_parameters() if id(p) not in hidden and p.ndim == 4}
    assert others == {"encoder.stem.0.0.weight", "head.score.weight", "head.up.weight"}


def test_frozen_weights_are_nobodys():
    layer = nn.Conv2d(8, 8, 3).requires_grad_(False)
    assert hidden_weights(nn.Sequential(layer)) == []


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_two_steps_by_hand(form):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 12, 3, bias=True).to(memory_format=form)
    config = OptimizerConfig(
        name="muon", lr=0.1, momentum=0.9, weight_decay=0.5, bias_lr_factor=2.0, others_lr_factor=0.25
    )
    optimizer = make_optimizer(nn.Sequential(layer), config)
    other = copy.deepcopy(layer.bias)
    adam = torch.optim.AdamW([other], lr=0.1 * 2 * 0.25, weight_decay=0.0)
    weight, momentum = layer.weight.detach().clone(), torch.zeros(12, 8, 3, 3)
    for _ in range(2):
        gradient, other.grad = torch.randn(12, 8, 3, 3), torch.randn(12)
        layer.weight.grad, layer.bias.grad = gradient.clone(), other.grad.clone()
        set_learning_rate(optimizer, 0.1)
        optimizer.step()
        adam.step()
        momentum = 0.9 * momentum + 0.1 * gradient
        ahead = 0.1 * gradient + 0.9 * momentum
        move = plain_iteration(ahead.flatten(1)).view_as(weight)
        weight = weight * (1 - 0.1 * 0.5) - 0.1 * move.float()
    torch.testing.assert_close(layer.weight.detach(), weight, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(layer.bias, other)


def test_tall_matrices_move_farther():
    layer = nn.Linear(4, 16, bias=False)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(nn.Sequential(layer), OptimizerConfig(name="muon", lr=0.1))
    set_learning_rate(optimizer, 0.1)
    layer.weight.grad = torch.randn(16, 4)
    move = plain_iteration(layer.weight.grad).float()
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before - 0.1 * 2 * move, atol=1e-3, rtol=1e-3)


def test_state_goes_on_where_it_was():
    torch.manual_seed(0)
    networks = [nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)) for _ in range(2)]
    config = OptimizerConfig(name="muon", lr=0.1)
    optimizers = [make_optimizer(network, config) for network in networks]

    def step(i, seed):
        torch.manual_seed(seed)
        for parameter in networks[i].parameters():
            parameter.grad = torch.randn(parameter.shape)
        set_learning_rate(optimizers[i], 0.1)
        optimizers[i].step()

    step(0, 1)
    networks[1].load_state_dict(networks[0].state_dict())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    step(0, 2)
    step(1, 2)
    for own, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        assert torch.equal(own, other)
