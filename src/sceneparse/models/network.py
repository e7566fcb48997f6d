"""What every network promises, whatever its architecture.

Shapes: B batch, K classes, H,W image, h,w scores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.models.encoder import DEEPEST
from sceneparse.models.upsample import Upsampling


class Network(nn.Module, ABC):
    """Normalized images (B, 3, H, W) to logits (B, K, H, W), for any H, W >= 1.

    Build one with :func:`sceneparse.models.build_model`, which fills ``architecture``.

    Attributes:
        encoder: the backbone: what ImageNet weights are for.
        num_classes: K.
        architecture: name, number of classes and options, as plain values: what
            :func:`sceneparse.models.model_from_architecture` needs to build this network again.
        head_prefix: how the names in ``state_dict()`` of the layers begin that belong to the classes.
        score_prefix: how the names begin of those that give scores of classes.
        multiple: of what H and W are padded to a multiple.
    """

    head_prefix: ClassVar[str]
    score_prefix: ClassVar[str]
    multiple: int = DEEPEST
    encoder: nn.Module

    def __init__(self, encoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_classes = num_classes
        self.architecture: dict[str, Any] = {}

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) for images (B, 3, H, W)."""

    @abstractmethod
    def scores(self, images: Tensor) -> Tensor:
        """What the last upsampling starts from: (B, C, h, w) at the network's finest stride.

        With :meth:`upsampling` a loss or an arg-max needs no full-resolution logits.
        """

    @abstractmethod
    def upsampling(self, size_hw: tuple[int, int]) -> Upsampling:
        """How the logits of images of ``size_hw`` come from their :meth:`scores`: as in :meth:`forward`."""

    def padded_size_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size to which images of ``size_hw`` are padded, right and below, before the encoder."""
        height, width = size_hw
        return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple

    def head_parameter_names(self) -> tuple[str, ...]:
        """Names in ``state_dict()`` of every parameter of the head: what starts anew on another task."""
        return tuple(name for name, _ in self.named_parameters() if name.startswith(self.head_prefix))

    def _padded(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded_h, padded_w = self.padded_size_hw((height, width))
        if (padded_h, padded_w) == (height, width):
            return images
        # Zero is the mean colour of normalized images.
        return F.pad(images, (0, padded_w - width, 0, padded_h - height))
