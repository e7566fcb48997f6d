"""Large 1x1 convolutions as matrix products against F.conv2d."""

import torch
import torch.nn.functional as F
from torch import nn

from sceneparse.kernels import pointwise


def test_value_gradients_and_what_is_changed(monkeypatch):
    monkeypatch.setattr(pointwise, "LARGE", 32 * 48)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(32, 48, 1),
        nn.Conv2d(48, 48, 1, stride=2),
        nn.Conv2d(48, 48, 3, padding=1),
        nn.Conv2d(48, 8, 1),
    ).to(memory_format=torch.channels_last)
    keys = list(network.state_dict())
    assert pointwise.use(network) == 1
    assert pointwise.use(network) == 1
    assert list(network.state_dict()) == keys
    layer = network[0]
    assert [type(other) is pointwise.Conv1x1 for other in network] == [True, False, False, False]
    x = torch.randn(2, 32, 5, 7).to(memory_format=torch.channels_last).requires_grad_()
    found, wanted = layer(x), F.conv2d(x, layer.weight, layer.bias)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted)
    asked = torch.randn(found.shape)
    inputs = (x, layer.weight, layer.bias)
    pairs = zip(
        torch.autograd.grad(found, inputs, asked), torch.autograd.grad(wanted, inputs, asked), strict=True
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    torch.testing.assert_close(layer(x[0]), wanted[0])
    assert layer(x[:0]).shape == (0, 48, 5, 7)
