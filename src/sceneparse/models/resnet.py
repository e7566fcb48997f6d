"""A narrow residual network for training from random weights: 3x3 convolutions, few channels where pixels
are many, and features from stride 2 on.

Basic blocks of He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, whose second
normalisation starts at zero (Goyal et al. 2017), with the stem of 3x3 convolutions and the averaging
shortcut of He et al., *Bag of Tricks for Image Classification*, CVPR 2019 (ResNet-D). There is no
max-pooling: the stem itself goes to stride 4, and what it has at stride 2 is there for poles and signs.

Shapes: B batch, H,W image (multiples of 32).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (2, 4, 8, 16, 32)


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Channels and blocks of a network.

    Args:
        stem: channels of the stem's two convolutions.
        stages: channels of the stages at stride 4, 8, 16 and 32.
        blocks: residual blocks of each stage.
    """

    stem: tuple[int, int]
    stages: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]


NETWORKS = {
    "slimresnet20": Widths(stem=(32, 48), stages=(48, 96, 192, 256), blocks=(2, 2, 3, 2)),
    "slimresnet32": Widths(stem=(32, 64), stages=(64, 128, 256, 384), blocks=(3, 4, 6, 2)),
}
"""By name: number of layers as in the paper, every convolution but those of shortcuts."""


class SlimResNet(nn.Module):
    """(B, 3, H, W) to {2: stem, 4: stage 1, 8: stage 2, 16: stage 3, 32: stage 4}, each (B, channels[stride],
    H / stride, W / stride).

    Args:
        widths: see :class:`Widths`.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        first, second = widths.stem
        self.channels = dict(zip(STRIDES, (first, *widths.stages), strict=True))
        self.origins = dict.fromkeys(STRIDES, 0)
        self.stem = nn.ModuleList([ConvBN(3, first, 3, stride=2), ConvBN(first, second, 3, stride=2)])
        self.stages = nn.ModuleList()
        channels = second
        for stage, (width, blocks) in enumerate(zip(widths.stages, widths.blocks, strict=True)):
            layers = []
            for block in range(blocks):
                layers.append(Block(channels, width, stride=2 if stage and not block else 1))
                channels = width
            self.stages.append(nn.Sequential(*layers))

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride."""
        first, second = self.stem
        features = [F.relu(first(images))]
        x = F.relu(second(features[0]))
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return dict(zip(STRIDES, features, strict=True))


class ConvBN(nn.Sequential):
    """A convolution that keeps the size, up to its stride, and batch normalisation.

    Args:
        channels: in.
        width: channels out.
        kernel: 1 or 3.
        stride: of the convolution.
    """

    def __init__(self, channels: int, width: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(width)
        )


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        channels: in.
        width: channels out.
        stride: of the first convolution.
    """

    def __init__(self, channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.first = ConvBN(channels, width, 3, stride=stride)
        self.second = ConvBN(width, width, 3)
        shortcut: list[nn.Module] = [nn.AvgPool2d(2)] if stride == 2 else []
        if channels != width:
            shortcut.append(ConvBN(channels, width, 1))
        self.shortcut = nn.Sequential(*shortcut)
        scale = self.second[1].weight
        assert isinstance(scale, nn.Parameter)
        nn.init.zeros_(scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, h / stride, w / stride)."""
        return F.relu(self.shortcut(x) + self.second(F.relu(self.first(x))))
