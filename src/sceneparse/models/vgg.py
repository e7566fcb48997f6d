"""VGG as an encoder: fc6 and fc7 as convolutions, features taken after the pools.

Simonyan and Zisserman, *Very Deep Convolutional Networks*, 2014, table 1 (configurations A, B, D, E), made
fully convolutional as in Long, Shelhamer and Darrell 2015, section 4.1.

Shapes: B batch, H,W image. Layers carry the names of the paper and of the published weights: conv1_1 ...
    conv5_4, fc6, fc7.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.models.undrawn import Undrawn

BLOCKS: dict[str, tuple[int, ...]] = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions before each of the five pools."""

WIDTHS = (64, 128, 256, 512, 512)
FC_WIDTH = 4096

REFERENCE_PADDING = 100
"""Padding of conv1_1 in the published FCN: with it, the unpadded fc6 has an output for any image."""


class VGG(nn.Module):
    """(B, 3, H, W) to {2: pool1, 4: pool2, 8: pool3, 16: pool4, 32: fc7}, each (B, channels[stride], h, w).

    Args:
        blocks: convolutions before each pool, see :data:`BLOCKS`.
        batch_norm: batch normalization after each convolution (not after fc6, fc7, as in torchvision).
        pooling: ``"max"``, ``"average"`` or ``"source"`` (average for pools 1 to 4, max for pool 5).
        dropout: probability after fc6. The one after fc7 belongs to the head.
        padding: ``"same"``: H and W are multiples of 32 and a feature at stride s has H / s rows.
            ``"reference"``: the published FCN's geometry for any H and W (conv1_1 padded by 100, pools round
            up, fc6 unpadded).
        widths: channels of the five blocks.
        fc_width: channels of fc6 and fc7.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        batch_norm: bool = False,
        pooling: str = "max",
        dropout: float = 0.5,
        padding: str = "same",
        widths: Sequence[int] = WIDTHS,
        fc_width: int = FC_WIDTH,
    ) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        self.batch_norm = batch_norm
        self.pooling = pooling
        self.reference = padding == "reference"
        self.channels = {2: widths[0], 4: widths[1], 8: widths[2], 16: widths[3], 32: fc_width}
        # Where cell 0 of a feature begins, in image rows. The reference's 3x3 conv1_1 padded by 100 gives
        # output 99 rows before the image, and the unpadded 7x7 fc6 gives none for the first 3 cells of stride
        # 32: -99 + 3 * 32 = -3.
        before = 1 - REFERENCE_PADDING
        self.origins = (
            {2: before, 4: before, 8: before, 16: before, 32: before + 3 * 32}
            if self.reference
            else dict.fromkeys(self.channels, 0)
        )
        in_channels = 3
        for block, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            for i in range(1, count + 1):
                pad = REFERENCE_PADDING if self.reference and (block, i) == (1, 1) else 1
                self.add_module(f"conv{block}_{i}", _conv(in_channels, width, 3, pad))
                if batch_norm:
                    self.add_module(f"norm{block}_{i}", nn.BatchNorm2d(width))
                in_channels = width
        self.fc6 = _conv(in_channels, fc_width, 7, 0 if self.reference else 3)
        self.drop6 = nn.Dropout(dropout)
        self.fc7 = _conv(fc_width, fc_width, 1, 0)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride."""
        x, pools = images, []
        for block, count in enumerate(self.blocks, start=1):
            for i in range(1, count + 1):
                x = self.get_submodule(f"conv{block}_{i}")(x)
                if self.batch_norm:
                    x = self.get_submodule(f"norm{block}_{i}")(x)
                x = F.relu(x, inplace=True)
            x = self._pool(x, block)
            pools.append(x)
        x = self.drop6(F.relu(self.fc6(x), inplace=True))
        x = F.relu(self.fc7(x), inplace=True)
        return {2: pools[0], 4: pools[1], 8: pools[2], 16: pools[3], 32: x}

    def _pool(self, x: Tensor, block: int) -> Tensor:
        if self.pooling == "average" or (self.pooling == "source" and block < 5):
            return F.avg_pool2d(x, 2, ceil_mode=self.reference)
        return F.max_pool2d(x, 2, ceil_mode=self.reference)


def _conv(in_channels: int, out_channels: int, size: int, padding: int) -> nn.Conv2d:
    """A convolution that starts as He et al. 2015, keeping the variance on the way forward: nineteen layers
    train from scratch. PyTorch's own start is skipped, since for 140 million parameters it takes seconds."""
    with Undrawn():
        layer = nn.Conv2d(in_channels, out_channels, size, padding=padding)
    nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
