"""A learned scale and shift behind a convolution: folded where that is equal, left where it is not."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from sceneparse.prediction.affine import affine_after
from sceneparse.prediction.folding import _folded
from sceneparse.prediction.packed import can_pack, with_packed


class Affine(nn.Module):
    """As timm's LearnableAffineBlock."""

    def __init__(self, scale, bias, turned=False):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([scale]))
        self.bias = nn.Parameter(torch.tensor([bias]))
        self.turned = turned

    def forward(self, x):
        return self.bias + x * self.scale if self.turned else self.scale * x + self.bias


class Twice(nn.Module):
    """What the ReLU gives goes to two places."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.affine = nn.Conv2d(3, 4, 3), nn.ReLU(), Affine(0.5, 1.0)

    def forward(self, x):
        y = self.relu(self.conv(x))
        return self.affine(y) + y


def layers(scale, bias, *, relu=True, turned=False, conv_bias=True, norm=False):
    found = [nn.Conv2d(3, 16, 3, padding=1, bias=conv_bias)]
    if norm:
        found.append(nn.BatchNorm2d(16))
        nn.init.uniform_(found[-1].weight, 0.5, 2)
        nn.init.normal_(found[-1].bias)
    return nn.Sequential(*found, *[nn.ReLU()] * relu, Affine(scale, bias, turned))


CASES = {
    "scale and shift": (layers(0.7, -0.3), True),
    "shift up": (layers(1.9, 0.4, turned=True), True),
    "no bias": (layers(0.7, 0.3, conv_bias=False), True),
    "behind batch norm": (layers(0.7, 0.3, norm=True), True),
    "no ReLU": (layers(-0.7, 0.3, relu=False), True),
    "below 0 behind a ReLU": (layers(-0.7, 0.3), False),
    "0 behind a ReLU": (layers(0.0, 0.3), False),
    "used twice": (Twice(), False),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_and_folded(case):
    module, is_folded = CASES[case]
    module.eval()
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 11).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = module(x)
        body = _folded(module)
        assert isinstance(body, fx.GraphModule)
        torch.testing.assert_close(body(x.clone()), expected, rtol=1e-5, atol=1e-5)
        left = [node for node in body.graph.nodes if node.op == "get_attr"]
        assert (not left) == is_folded
        packed = with_packed(body, (9, 11), onednn=can_pack(torch.float32))
        torch.testing.assert_close(packed(x.clone()), expected, rtol=1e-5, atol=1e-5)


def test_something_else_behind_a_convolution():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.scale = nn.Parameter(torch.ones(1, 4, 1, 1))

        def forward(self, x):
            return self.conv(x) * self.scale + 1

    body = fx.symbolic_trace(Other())
    (conv,) = (node for node in body.graph.nodes if node.op == "call_module")
    assert affine_after(body, conv) is None
