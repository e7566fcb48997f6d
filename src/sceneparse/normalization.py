"""Normalization: the constants that turn pixels into what a set of weights was trained on.

They belong to the weights and travel with them: the wrong pair costs about five points of mean IoU.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sceneparse.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """``(pixel * max_value / 255 - mean) / std``, RGB.

    Args:
        mean: per channel RGB, in units of the scaled pixel.
        std: per channel RGB, positive.
        max_value: what a white pixel becomes before the mean is taken: 1 (torchvision, timm) or 255
            (MatConvNet).
        bgr: the weights take channels in the order blue, green, red (Caffe). Mean and std are still given
            RGB.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    max_value: float = 1.0
    bgr: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0 or self.max_value <= 0:
            raise InputError(
                f"normalization needs three means, three positive deviations and a positive range: {self}"
            )

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) RGB to float32 of the same shape, in the same memory format."""
        device = images.device
        scale = torch.tensor([self.max_value / 255 / s for s in self.std], device=device).view(1, 3, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], device=device).view(
            1, 3, 1, 1
        )
        out = images.float() * scale + shift
        return out.flip(1) if self.bgr else out

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Normalization:
        """Inverse of :meth:`to_dict`."""
        return cls(
            mean=tuple(values["mean"]),
            std=tuple(values["std"]),
            max_value=float(values["max_value"]),
            bgr=bool(values["bgr"]),
        )


IMAGENET = Normalization()
"""torchvision and timm: RGB 0..1, ImageNet mean and deviation."""

MATCONVNET = Normalization(mean=(123.68, 116.779, 103.939), std=(1.0, 1.0, 1.0), max_value=255.0)
"""MatConvNet VGG: RGB 0..255 minus the training mean."""

CAFFE_BGR = Normalization(
    mean=(122.67891434, 116.66876762, 104.00698793), std=(1.0, 1.0, 1.0), max_value=255.0, bgr=True
)
"""The published FCN (Caffe, pytorch-fcn): BGR 0..255 minus the training mean."""
