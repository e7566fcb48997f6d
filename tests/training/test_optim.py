"""Learning rates, parameter groups and averaging against hand-worked numbers."""

import pytest
import torch
from torch import nn

from sceneparse.config import OptimizerConfig
from sceneparse.training.optim import (
    learning_rate,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
    update_average,
)


def small_model():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1, bias=False))


def rates(steps=10, **settings):
    config = OptimizerConfig(lr=1.0, **settings)
    return [learning_rate(config, step, steps) for step in range(steps)]


def test_constant():
    assert rates() == [1.0] * 10


def test_poly_falls_to_nearly_nothing():
    assert rates(schedule="poly") == pytest.approx([(1 - step / 10) ** 0.9 for step in range(10)])


def test_cosine_is_half_in_the_middle():
    values = rates(schedule="cosine")
    assert values[0] == 1
    assert values[5] == pytest.approx(0.5)
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.0244717, abs=1e-6)  # (1 + cos(0.9 pi)) / 2


def test_warmup_rises_to_the_height_then_the_schedule_runs_over_the_rest():
    values = rates(schedule="poly", warmup=0.3)
    assert values[:4] == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert values[4] == pytest.approx((6 / 7) ** 0.9)
    assert min(values) > 0


def test_groups_of_the_paper():
    model = small_model()
    groups = parameter_groups(model, OptimizerConfig(weight_decay=0.1, bias_lr_factor=2.0))
    sizes = [[tuple(p.shape) for p in group["params"]] for group in groups]
    assert sizes == [[(4, 3, 3, 3), (2, 4, 1, 1)], [(4,), (4,)], [(4,)]]
    assert [group["lr_factor"] for group in groups] == [1.0, 2.0, 1.0]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]


def test_frozen_parameters_are_left_out():
    model = small_model()
    model[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(model, OptimizerConfig())) == 3


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("fused", [True, False])
def test_a_step_of_each_optimizer(name, fused):
    torch.manual_seed(0)
    model = small_model().eval()  # in training, a bias before a batch norm has no gradient
    optimizer = make_optimizer(model, OptimizerConfig(name=name, bias_lr_factor=2.0), fused=fused)
    set_learning_rate(optimizer, 0.01)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01, 0.02, 0.01]
    before = [p.detach().clone() for p in model.parameters()]
    model(torch.randn(2, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(("name", "plain"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
@pytest.mark.parametrize("fused", [True, False])
def test_channels_last_weights_learn_as_others_and_are_not_copied(name, plain, fused):
    torch.manual_seed(0)
    models = [small_model(), small_model()]
    models[1].load_state_dict(models[0].state_dict())
    models[0].to(memory_format=torch.channels_last)
    config = OptimizerConfig(name=name, lr=0.1, weight_decay=0.1)
    optimizers = [
        make_optimizer(models[0], config, fused=fused),
        plain(parameter_groups(models[1], config), lr=0.1, fused=False, foreach=False),
    ]
    names = []
    for _ in range(3):
        for own, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
            other.grad = torch.randn(other.shape)
            own.grad = torch.empty_like(own).copy_(other.grad)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            optimizers[0].step()
        names += [event.name for event in seen.events()]
        optimizers[1].step()
    for own, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(own, other)
        assert optimizers[0].state[own]["exp_avg"].stride() == own.stride()
    assert ("aten::clone" in names) <= (not fused)


def test_sgd_by_hand_biases_twice_as_fast_without_decay():
    model = nn.Conv2d(1, 1, 1)
    nn.init.constant_(model.weight, 3.0)
    nn.init.constant_(model.bias, 3.0)
    config = OptimizerConfig(name="sgd", momentum=0.9, weight_decay=0.5, bias_lr_factor=2.0)
    optimizer = make_optimizer(model, config)
    weight = bias = 3.0
    weight_speed = bias_speed = 0.0
    for _ in range(2):
        set_learning_rate(optimizer, 0.1)
        optimizer.zero_grad()
        (model.weight + model.bias).sum().backward()  # both gradients are 1
        optimizer.step()
        weight_speed = 0.9 * weight_speed + 1 + 0.5 * weight
        bias_speed = 0.9 * bias_speed + 1
        weight, bias = weight - 0.1 * weight_speed, bias - 0.2 * bias_speed
    assert model.weight.item() == pytest.approx(weight)
    assert model.bias.item() == pytest.approx(bias)


def test_average_follows_gradually_and_copies_statistics():
    model, average = small_model(), small_model().requires_grad_(False)
    old = average[0].weight.clone()
    model[1].running_mean.fill_(7.0)
    update_average(average, model, decay=0.9, step=0)  # (1 + 0) / (10 + 0) = 0.1
    torch.testing.assert_close(average[0].weight, 0.1 * old + 0.9 * model[0].weight.detach())
    assert average[1].running_mean.tolist() == [7.0] * 4
    old = average[0].weight.clone()
    update_average(average, model, decay=0.9, step=10_000)
    torch.testing.assert_close(average[0].weight, 0.9 * old + 0.1 * model[0].weight.detach())
