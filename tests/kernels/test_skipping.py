"""1x1 convolutions that skip cells, against PyTorch's in float64."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from sceneparse.kernels import skipping


def test_use_changes_few_channels_with_a_stride_and_nothing_else():
    network = nn.Sequential(
        nn.Conv2d(3, 48, 1, stride=2, bias=False),
        nn.Conv2d(15, 8, 1, stride=(1, 3)),
        nn.Conv2d(16, 8, 1, stride=2),
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(3, 8, 1, stride=2, padding=1),
        nn.Conv2d(4, 8, 1, stride=2, groups=2),
    )
    keys = list(network.state_dict())
    assert skipping.use(network) == 2
    assert skipping.use(network) == 2
    assert [type(layer) is skipping.SkippingConv1x1 for layer in network] == [True] * 2 + [False] * 5
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize(
    ("channels", "stride", "size_hw"), [(3, 2, (32, 48)), (3, 2, (7, 9)), (15, (1, 3), (6, 9))]
)
def test_gradients_are_those_of_float64(channels, stride, size_hw):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(channels, 48, 1, stride)).to(memory_format=torch.channels_last)
    assert skipping.use(ours) == 1
    plain = nn.Conv2d(channels, 48, 1, stride, dtype=torch.float64)
    plain.load_state_dict(ours[0].state_dict())
    x = torch.randn(2, channels, *size_hw).to(memory_format=torch.channels_last).requires_grad_()
    y = x.detach().double().contiguous().requires_grad_()
    found, wanted = ours(x), plain(y)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted.float())
    asked = torch.randn(found.shape)
    mine = torch.autograd.grad(found, (x, *ours.parameters()), asked)
    theirs = torch.autograd.grad(wanted, (y, *plain.parameters()), asked.double())
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-5)


STEP = """
import numpy as np, torch
from sceneparse.config import RunConfig
from sceneparse.models import build_model
from sceneparse.normalization import IMAGENET
from sceneparse.training.learner import Learner

config = RunConfig(device="cpu", precision="32", steps=1)
network = build_model("fcn4s-fused-repvgg_a0", 5)
learner = Learner(config, network, IMAGENET, ignore_index=255, class_weights=None)
image = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
batch = {"image": image, "mask": torch.randint(0, 5, (4, 64, 64))}
print(float(learner.step([batch], 0)), learner.is_finite())
"""


def test_a_step_of_repvgg():
    """Its process died."""
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    loss, finite = done.stdout.split()
    assert 0 < float(loss) < 10
    assert finite == "True"
