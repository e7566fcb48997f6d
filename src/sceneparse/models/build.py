"""From a model name to a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sceneparse.errors import InputError, nearest
from sceneparse.models.encoder import BuiltEncoder, is_vgg, make_encoder
from sceneparse.models.fcn import AT_ONCE_SCALES, FCN, FCNHead, Head, WideHead
from sceneparse.models.fused import FusedHead
from sceneparse.models.network import Network
from sceneparse.models.options import ModelOptions
from sceneparse.models.smp import PREFIX, build_smp

HEADS: dict[str, tuple[int, ...]] = {
    "fcn32s": (32,),
    "fcn16s": (16, 32),
    "fcn8s": (8, 16, 32),
    "fcn4s": (4, 8, 16, 32),
    "fcn8s-wide": (8, 16, 32),
    "fcn8s-fused": (8, 16, 32),
    "fcn4s-fused": (4, 8, 16, 32),
    "fcn2s-fused": (2, 4, 8, 16, 32),
}
"""Head family to the strides whose features it uses. fcn32s, fcn16s, fcn8s: the paper's; fcn4s: one skip
further; fcn8s-wide: the tutorial's decoder; -fused: features are fused, then scored."""

DEFAULT_MODEL = "fcn8s-vgg19"


def build_model(name: str, num_classes: int, options: ModelOptions | None = None) -> Network:
    """A network with random weights, in training mode: (B, 3, H, W) float to (B, K, H, W) logits, any H, W >=
    1.

    Args:
        name: ``HEAD-BACKBONE``: a head of :data:`HEADS` and vgg11, vgg13, vgg16, vgg19 (each also with
            ``_bn``), slimresnet20, slimresnet32 or any timm backbone that has the head's strides.
            ``fcn8s-vgg19``, ``fcn8s-wide-vgg19``, ``fcn4s-convnext_tiny``. Or ``smp/ARCH-ENCODER``: an
            architecture of segmentation_models.pytorch on one of its encoders: ``smp/segformer-mit_b0``,
            ``smp/unet-tu-convnext_tiny``.
        num_classes: K, at least 1.
        options: see :class:`ModelOptions`.

    Raises:
        InputError: unknown head or backbone (the nearest name is given), a backbone without the strides, an
            option that has no effect on this model, or segmentation_models.pytorch is not installed.
    """
    options = options or ModelOptions()
    if num_classes < 1:
        raise InputError(f"num_classes is {num_classes}, expected at least 1")
    if name.startswith(PREFIX):
        _refuse_options_for_smp(name, options)
        return build_smp(name, num_classes, options)
    family, backbone = split_name(name)
    _check_options(family, backbone, options)
    model = assemble(family, make_encoder(backbone, HEADS[family], options), num_classes, options)
    model.architecture = {"name": name, "num_classes": num_classes, "options": options.to_dict()}
    return model


def assemble(family: str, encoder: BuiltEncoder, num_classes: int, options: ModelOptions) -> FCN:
    """An encoder under the head of a family. ``architecture`` stays empty: the encoder may have no name."""
    head: Head
    if family == "fcn8s-wide":
        head = WideHead(encoder.channels, num_classes, dropout=options.dropout)
    elif family.endswith("-fused"):
        head = FusedHead(
            encoder.channels,
            num_classes,
            sorted(HEADS[family], reverse=True),
            dropout=options.dropout,
            upsampling=options.upsampling,
        )
    else:
        head = FCNHead(
            encoder.channels,
            num_classes,
            sorted(HEADS[family], reverse=True),
            dropout=options.dropout,
            upsampling=options.upsampling,
            scales=AT_ONCE_SCALES if options.at_once else {},
            origins=encoder.origins,
        )
    return FCN(encoder, head, num_classes)


def model_from_architecture(architecture: Mapping[str, Any]) -> Network:
    """The network, with random weights, that a built model's ``architecture`` attribute describes."""
    return build_model(
        architecture["name"],
        architecture["num_classes"],
        ModelOptions.from_dict(dict(architecture["options"])),
    )


def split_name(name: str) -> tuple[str, str]:
    """Head family and backbone of the name of an FCN."""
    for family in sorted(HEADS, key=len, reverse=True):  # fcn8s-wide before fcn8s
        if name.startswith(f"{family}-") and len(name) > len(family) + 1:
            return family, name[len(family) + 1 :]
    head = name.partition("-")[0]
    problem = "no backbone is named" if head in HEADS else f"no such head.{nearest(head, HEADS)}"
    raise InputError(
        f"unknown model {name!r}: {problem}",
        where="model name",
        fix=f"a name is HEAD-BACKBONE with HEAD one of {', '.join(HEADS)}, for instance {DEFAULT_MODEL}",
    )


def _check_options(family: str, backbone: str, options: ModelOptions) -> None:
    """Refuses combinations in which an option would have no effect or no meaning."""
    if options.smp:
        raise InputError(
            f"smp={options.smp} has no effect on {family}-{backbone}: it is for models called smp/...",
            where="model option smp",
            fix="leave it out",
        )
    if options.at_once and family != "fcn8s":
        raise InputError(
            f"at_once=True has no meaning for {family}: its scales are those of the paper's FCN-8s",
            where="model option at_once",
            fix="leave it out, or choose fcn8s",
        )
    if options.upsampling == "bilinear" and family == "fcn8s-wide":
        raise InputError(
            "upsampling='bilinear' has no effect on fcn8s-wide: its upsampling also changes the channels",
            where="model option upsampling",
            fix="leave it out, or choose fcn8s",
        )
    published = family in ("fcn32s", "fcn16s", "fcn8s") and options.upsampling == "learned"
    if options.padding == "reference" and is_vgg(backbone) and not published:
        raise InputError(
            f"padding='reference' is the geometry of the published networks, which have no {family} with "
            f"{options.upsampling} upsampling",
            where="model option padding",
            fix="leave it out, or choose fcn32s, fcn16s or fcn8s and upsampling='learned'",
        )


def _refuse_options_for_smp(name: str, options: ModelOptions) -> None:
    usual = ModelOptions()
    for option, value in options.to_dict().items():
        if option != "smp" and value != getattr(usual, option):
            raise InputError(
                f"{option}={value!r} has no effect on {name!r}: only this package's own heads have it",
                where=f"model option {option}",
                fix=f"set it to {getattr(usual, option)!r}, or choose a head such as fcn8s",
            )
