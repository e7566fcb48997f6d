"""The GPU's kernels: ``TRITON_INTERPRET=1 python interpreted.py`` on the processor, ``python interpreted.py
cuda`` on a GPU.
"""

import sys

import torch
import torch.nn.functional as F

from sceneparse.kernels import gpu
from sceneparse.kernels.target import Target

torch.set_default_device(sys.argv[1] if sys.argv[1:] else "cpu")
WEIGHTS = torch.tensor([0.3, 2.0, 1.0, 0.0, 5.0])


def compare(
    batch, classes, low_hw, high_hw, *, weights=None, smoothing=0.0, covered_hw=None, scale=3.0, corners=False
):
    torch.manual_seed(0)
    logits = (torch.randn(batch, classes, *low_hw) * scale).requires_grad_()
    labels = torch.randint(0, classes, (batch, *high_hw))
    labels[torch.rand(labels.shape) < 0.2] = 65535
    labels[0, 0, 0] = 0
    covered_hw = covered_hw or high_hw
    target = Target(labels, 65535, weights, smoothing)
    found = gpu.loss(logits.detach(), target, covered_hw, with_gradient=True, align_corners=corners)
    scores = F.interpolate(logits.double(), covered_hw, mode="bilinear", align_corners=corners)
    scores = scores[:, :, : high_hw[0], : high_hw[1]]
    weights = None if weights is None else weights.double()
    wanted = F.cross_entropy(
        scores, labels, ignore_index=65535, weight=weights, label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(found.total.double(), wanted, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(wanted, logits)
    assert (found.scores - gradient).abs().max() <= 1e-5 * max(gradient.abs().max(), 1)
    best = scores.topk(min(2, classes), dim=1).values
    clear = best[:, 0] - best[:, -1] > 1e-5
    winners = gpu.labels(logits.detach(), high_hw, covered_hw, align_corners=corners)
    assert winners.dtype == (torch.uint8 if classes <= 256 else torch.int32)
    assert torch.equal(winners.long()[clear], scores.argmax(1)[clear])


compare(2, 5, (2, 3), (16, 24))
compare(1, 40, (2, 2), (13, 15))
compare(1, 5, (2, 3), (2, 3))
compare(1, 5, (4, 3), (2, 2))
compare(1, 5, (1, 2), (20, 30))
compare(1, 1, (1, 1), (2, 2))
compare(1, 300, (1, 1), (2, 2))
compare(1, 5, (2, 2), (16, 16), scale=1000.0)
compare(1, 5, (2, 3), (13, 19), weights=WEIGHTS, smoothing=0.1, covered_hw=(16, 24))
compare(1, 5, (2, 2), (9, 9), smoothing=0.1)
compare(1, 5, (2, 3), (13, 19), covered_hw=(16, 24), corners=True)
compare(1, 5, (2, 2), (9, 9), weights=WEIGHTS)

ignored = Target(torch.full((1, 8, 8), 255), 255, None, 0.1)
nothing = gpu.loss(torch.randn(1, 3, 2, 2), ignored, (8, 8), with_gradient=True)
assert nothing.total == 0
assert not nothing.scores.any()
strange = Target(torch.full((1, 8, 8), 7), 255, None, 0.0)
assert gpu.loss(torch.randn(1, 3, 2, 2), strange, (8, 8), with_gradient=False).total.isnan()
assert not gpu.labels(torch.zeros(1, 70, 2, 2), (8, 8), (8, 8)).any()
