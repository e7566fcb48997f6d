"""A head that fuses features instead of scores.

The paper adds the scores of the strides, K numbers a cell: a fine map can correct a coarse one only class by
class. Here each stride is projected to a common width and the sum is looked at by one 3x3 convolution before
it is scored, as in the top-down path of Lin et al., *Feature Pyramid Networks*, CVPR 2017. What is kept of
the FCN: every stride speaks, coarse to fine, and the result is scored by a 1x1 convolution and upsampled.

Shapes: B batch, K classes, D width, h,w = H,W over the finest stride.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.models.upsample import bilinear_transposed_conv

WIDTH = 64


def stride_key(stride: int) -> str:
    """Name of the layer of a stride in a head's state dict."""
    return f"stride{stride}"


class FusedHead(nn.Module):
    """Features by stride to logits.

    Args:
        channels: encoder channels by stride.
        num_classes: K.
        strides: strides to fuse, deepest first.
        dropout: probability before the score.
        upsampling: of the last step, see :class:`~sceneparse.models.options.ModelOptions`; the steps between
            strides are bilinear.
        width: D.
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
        width: int = WIDTH,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.lateral = nn.ModuleDict(
            {
                stride_key(s): nn.Sequential(
                    nn.Conv2d(channels[s], width, 1, bias=False), nn.BatchNorm2d(width)
                )
                for s in strides
            }
        )
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Conv2d(width, num_classes, 1)
        finest = self.strides[-1]
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
            lateral = self.lateral[stride_key(stride)](features[stride])
            coarse = F.interpolate(fused, size=lateral.shape[-2:], mode="bilinear", align_corners=False)
            fused = F.relu(coarse + lateral)
        return self.score(self.dropout(self.smooth(fused)))
