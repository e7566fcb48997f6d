"""A head that fuses features instead of scores.

The paper adds the scores of the strides, K numbers a cell: a fine map can correct a coarse one only class by
class. Here each stride is projected to a common width, and at every step from coarse to fine the sum is
looked at by a 3x3 convolution before the next one, as in the top-down path of Lin et al., *Feature Pyramid
Networks*, CVPR 2017. What is kept of the FCN: every stride speaks, coarse to fine, and the result is scored
by a 1x1 convolution and upsampled.

Shapes: B batch, K classes, D width, h,w = H,W over the finest stride.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.models.upsample import bilinear_transposed_conv

WIDTH = 64

WIDTH_AT_2 = 32
"""At stride 2 there are four times as many cells as at 4, and edges to tell apart rather than things."""


def stride_key(stride: int) -> str:
    """Name of the layer of a stride in a head's state dict."""
    return f"stride{stride}"


def _width(stride: int) -> int:
    return WIDTH if stride > 2 else WIDTH_AT_2


def _normalized(channels: int, width: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(width)
    )


class FusedHead(nn.Module):
    """Features by stride to logits.

    Args:
        channels: encoder channels by stride.
        num_classes: K.
        strides: strides to fuse, deepest first.
        dropout: probability before the score.
        upsampling: of the last step, see :class:`~sceneparse.models.options.ModelOptions`; the steps between
            strides are bilinear.
    """

    image_offset = 0

    def __init__(
        self,
        channels: Mapping[int, int],
        num_classes: int,
        strides: Sequence[int],
        *,
        dropout: float,
        upsampling: str,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.lateral = nn.ModuleDict(
            {stride_key(s): _normalized(channels[s], _width(s), 1) for s in self.strides}
        )
        self.narrow = nn.ModuleDict(
            {
                stride_key(fine): _normalized(_width(coarse), _width(fine), 1)
                for coarse, fine in pairwise(self.strides)
                if _width(coarse) != _width(fine)
            }
        )
        self.smooth = nn.ModuleDict(
            {stride_key(s): _normalized(_width(s), _width(s), 3) for s in self.strides[1:]}
        )
        self.dropout = nn.Dropout(dropout)
        finest = self.strides[-1]
        self.score = nn.Conv2d(_width(finest), num_classes, 1)
        self.up: nn.Module
        if upsampling == "learned":
            self.up = bilinear_transposed_conv(num_classes, finest)
        else:
            self.up = nn.Upsample(scale_factor=finest, mode="bilinear", align_corners=False)

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        """Features by stride to logits (B, K, H, W)."""
        return self.last(self.scores(features))

    @property
    def last(self) -> nn.Module:
        """The layer from scores to logits."""
        return self.up

    def scores(self, features: dict[int, Tensor]) -> Tensor:
        """Scores (B, K, h, w) at the finest stride, before the last upsampling."""
        deepest, *finer = self.strides
        fused = F.relu(self.lateral[stride_key(deepest)](features[deepest]))
        for stride in finer:
            key = stride_key(stride)
            if key in self.narrow:
                fused = self.narrow[key](fused)
            lateral = self.lateral[key](features[stride])
            coarse = F.interpolate(fused, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
            fused = F.relu(self.smooth[key](F.relu(coarse + lateral)))
        return self.score(self.dropout(fused))
