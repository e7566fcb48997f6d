"""Encoders: a backbone as a source of features at fixed strides.

Shapes: B batch, H,W image (multiples of 32), h,w = H/stride, W/stride.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sceneparse.errors import InputError, nearest
from sceneparse.models.options import ModelOptions
from sceneparse.models.resnet import NETWORKS, SlimResNet
from sceneparse.models.vgg import BLOCKS, VGG

DEEPEST = 32
"""Stride of the deepest features, and what image sizes are padded to a multiple of."""


class Encoder(Protocol):
    """What a head needs from a backbone.

    Calling it with (B, 3, H, W) gives ``{stride: (B, channels[stride], H / stride, W / stride)}``; cell i of
    such a map covers image rows ``origins[stride] + stride * i`` and on.
    """

    channels: Mapping[int, int]
    origins: Mapping[int, int]

    def __call__(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, at least those in ``channels``."""
        ...


class TimmEncoder(nn.Module):
    """Any backbone of timm that has features at the given strides.

    Args:
        backbone: timm's name, with or without a weight tag (``resnet50.a1_in1k``).
        strides: strides to give, ascending.

    Raises:
        InputError: unknown name (the nearest is named), no feature maps, a stride is missing, or the backbone
            takes one image size only.
    """

    def __init__(self, backbone: str, strides: Sequence[int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.out_indices = _feature_levels(backbone, strides)
        self.body = create_timm(backbone, out_indices=self.out_indices)
        self.strides = tuple(strides)
        self.channels = dict(zip(strides, self.body.feature_info.channels(), strict=True))
        self.origins = dict.fromkeys(strides, 0)
        # Swin and its relatives give (B, h, w, C).
        self.channels_last_features = str(getattr(self.body, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride."""
        features = self.body(images)
        if self.channels_last_features:
            features = [f.permute(0, 3, 1, 2) for f in features]
        return dict(zip(self.strides, features, strict=True))


BuiltEncoder = VGG | SlimResNet | TimmEncoder


def create_timm(backbone: str, *, out_indices: Sequence[int] | None = None, **arguments: Any) -> Any:
    """``timm.create_model(backbone, features_only=True)``, accepting any image size where timm can."""
    import timm

    if out_indices is not None:
        arguments["out_indices"] = tuple(out_indices)
    if backbone.startswith(("swin_", "swinv2_")):
        arguments["strict_img_size"] = False
    return timm.create_model(backbone, features_only=True, **arguments)


def _feature_levels(backbone: str, strides: Sequence[int]) -> list[int]:
    """Positions in timm's list of feature maps of the deepest map at each stride."""
    import timm

    name = backbone.partition(".")[0]
    if not timm.is_model(name):
        raise InputError(
            f"unknown backbone {backbone!r}.{nearest(name, (*NETWORKS, *timm.list_models()))}",
            where="model name",
            fix="use a name that timm.list_models() gives; for instance resnet50, convnext_tiny, vgg19",
        )
    try:
        with torch.device("meta"):  # only the description is wanted: no memory, no random numbers
            info = create_timm(backbone).feature_info
    except (
        RuntimeError,
        AssertionError,
        AttributeError,
        NotImplementedError,
        TypeError,
        ValueError,
    ) as error:
        raise InputError(
            f"backbone {backbone!r} gives no feature maps by stride (timm: {error})",
            where="model name",
            fix="choose a hierarchical backbone, such as resnet50, convnext_tiny or efficientnet_b0",
        ) from error
    reductions = [level["reduction"] for level in info.info]
    missing = [s for s in strides if s not in reductions]
    if missing:
        raise InputError(
            f"backbone {backbone!r} has no features at stride {', '.join(map(str, missing))}; it has strides "
            f"{', '.join(map(str, sorted(set(reductions))))}",
            where="model name",
            fix="choose a backbone with these strides, such as resnet50, or a head with fewer (fcn32s)",
        )
    return [len(reductions) - 1 - reductions[::-1].index(s) for s in strides]


def check_encoder(encoder: BuiltEncoder, strides: Sequence[int], name: str) -> None:
    """Runs a 32x96 image through and compares the features with what the encoder promises.

    Raises:
        InputError: the backbone fails on that size or its features have other shapes.
    """
    height, width = 32, 96  # the least that any image is padded to, and not square
    weight = next(encoder.parameters())
    image = torch.zeros(1, 3, height, width, device=weight.device, dtype=weight.dtype)
    training = encoder.training
    try:
        with torch.no_grad():
            features = encoder.eval()(image)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise InputError(
            f"backbone {name!r} does not take an image of {height}x{width} (timm: {error})",
            where="model name",
            fix="choose a backbone without a fixed image size, such as resnet50 or convnext_tiny",
        ) from error
    finally:
        encoder.train(training)
    for stride in strides:
        expected = (1, encoder.channels[stride], height // stride, width // stride)
        found = tuple(features[stride].shape)
        if found != expected:
            raise InputError(
                f"backbone {name!r} gives features of shape {found} at stride {stride}, expected {expected}",
                where="model name",
                fix="choose another backbone, such as resnet50",
            )


def is_vgg(backbone: str) -> bool:
    """Whether our :class:`VGG` stands for this name. timm's own VGG gives features *before* each pool."""
    return backbone.partition(".")[0].removesuffix("_bn") in BLOCKS


def make_encoder(backbone: str, strides: Sequence[int], options: ModelOptions) -> BuiltEncoder:
    """The encoder for a backbone name, starting at random.

    Raises:
        InputError: see :class:`TimmEncoder`; or an option is set that only VGG has.
    """
    if is_vgg(backbone):
        architecture = backbone.partition(".")[0]
        return VGG(
            BLOCKS[architecture.removesuffix("_bn")],
            batch_norm=architecture.endswith("_bn"),
            pooling=options.pooling,
            dropout=options.dropout,
            padding=options.padding,
        )
    for option in ("pooling", "padding"):
        value = getattr(options, option)
        if value != getattr(ModelOptions(), option):
            raise InputError(
                f"{option}={value!r} has no effect on {backbone!r}: only VGG backbones have it",
                where=f"model option {option}",
                fix="leave it out, or choose vgg16 or vgg19",
            )
    if backbone in NETWORKS:
        return SlimResNet(NETWORKS[backbone])
    encoder = TimmEncoder(backbone, strides)
    check_encoder(encoder, strides, backbone)
    return encoder
