"""Confidence of upsampled scores against the softmax of scores at full resolution."""

import pytest
import torch
import torch.nn.functional as F

from sceneparse.kernels import bands
from sceneparse.models import upsampled_confidence
from sceneparse.models.upsample import Upsampling


def softmax_of(full):
    return full.float().softmax(1).amax(1)


@pytest.mark.parametrize("classes", [1, 2, 150])
@pytest.mark.parametrize(
    ("small", "large"), [((1, 1), (5, 7)), ((9, 7), (72, 56)), ((6, 6), (6, 6)), ((9, 9), (4, 5))], ids=str
)
@pytest.mark.parametrize("block_bytes", [1, 2**21])
def test_bilinear(small, large, classes, block_bytes, monkeypatch):
    monkeypatch.setattr(bands, "BLOCK_BYTES_CPU", block_bytes)
    scores = 4 * torch.randn(2, classes, *small, generator=torch.Generator().manual_seed(0))
    before = scores.clone()
    found = upsampled_confidence(scores, large)
    torch.testing.assert_close(found, softmax_of(F.interpolate(scores, large, mode="bilinear")))
    assert torch.equal(scores, before)
    covered = (large[0] + 3, large[1] + 5)
    full = F.interpolate(scores, covered, mode="bilinear", align_corners=True)[..., : large[0], : large[1]]
    upsampling = Upsampling(padded_size_hw=covered, align_corners=True)
    torch.testing.assert_close(upsampled_confidence(scores, large, upsampling=upsampling), softmax_of(full))


@pytest.mark.parametrize("groups", [1, 6])
@pytest.mark.parametrize("factor", [2, 8])
def test_learned(groups, factor):
    torch.manual_seed(0)
    scores, kernel = torch.randn(2, 6, 5, 7), torch.randn(6, 6 // groups, 2 * factor, 2 * factor)
    full = F.conv_transpose2d(scores, kernel, stride=factor, groups=groups)
    sizes = ((0, (5, 9)), (factor // 2, (5 * factor, 7 * factor)), (3, (7, 4)), (factor, (5 * factor,) * 2))
    for offset, (height, width) in sizes:
        upsampling = Upsampling(kernel=kernel, offset=offset, groups=groups)
        found = upsampled_confidence(scores, (height, width), upsampling=upsampling)
        expected = softmax_of(full[:, :, offset : offset + height, offset : offset + width])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_half_precision_and_large_scores():
    scores = (100 * torch.randn(1, 5, 4, 4)).bfloat16()
    found = upsampled_confidence(scores, (30, 30))
    expected = softmax_of(F.interpolate(scores.float(), (30, 30), mode="bilinear"))
    torch.testing.assert_close(found, expected)
    assert found.isfinite().all()
