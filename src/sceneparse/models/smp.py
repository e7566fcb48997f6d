"""Architectures of segmentation_models.pytorch (smp), as networks of this package.

What smp calls encoder, decoder and segmentation head keep their names in ``state_dict()``, so weights go
either way. The bilinear upsampling at the end of its heads, with aligned corners, is left to
:meth:`SmpNetwork.upsampling`: loss and arg-max then need no full-resolution logits.

Shapes: B batch, K classes, H,W image, h,w = H,W over the stride of the head: 1, 2, 4, 8 or 16.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sceneparse.environment import version
from sceneparse.errors import InputError, nearest
from sceneparse.models.encoder import DEEPEST
from sceneparse.models.network import Network
from sceneparse.models.options import ModelOptions
from sceneparse.models.upsample import Upsampling

PREFIX = "smp/"

INSTALL = "pip install 'sceneparse[smp]', or pip install segmentation-models-pytorch"

MULTIPLES = {"pan": 128}
"""Of what the sides of an image must be multiples, where 32 is not enough: PAN halves the features at stride
16 three times."""

NOT_ARGUMENTS = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
"""Arguments of smp's classes that are said otherwise or have no place here: logits need no activation, and
there are no labels of whole images."""

OLDER_ARGUMENTS = ("decoder_use_batchnorm", "psp_use_batchnorm")
"""Arguments that smp takes from older checkpoints."""

TIMM_ARGUMENTS = ("img_size", "dynamic_img_size", "drop_path_rate")
"""Arguments that smp passes on to timm's backbones; encoders of its own would drop them without a word."""

_REFUSALS = (ValueError, KeyError, TypeError, RuntimeError, AssertionError)
"""What smp and timm raise where an architecture does not go with an encoder; NotImplementedError, where a
class has no such form, is a RuntimeError. All are told on as InputError."""


class SmpNetwork(Network):
    """An architecture of smp.

    Args:
        model: smp's model.
        num_classes: K.
        multiple: of what the sides of an image are padded to a multiple.
    """

    head_prefix = score_prefix = "segmentation_head."

    def __init__(self, model: Any, num_classes: int, multiple: int) -> None:
        super().__init__(model.encoder, num_classes)
        self.decoder: nn.Module = model.decoder
        self.segmentation_head: nn.Module = model.segmentation_head
        self.multiple = multiple

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) for images (B, 3, H, W)."""
        height, width = images.shape[-2:]
        size_hw = self.padded_size_hw((height, width))
        logits = F.interpolate(self.scores(images), size=size_hw, mode="bilinear", align_corners=True)
        return logits[..., :height, :width]

    def scores(self, images: Tensor) -> Tensor:
        """What the last upsampling starts from: (B, K, h, w)."""
        features = self.encoder(self._padded(images))
        # Vision transformers give the features of their prefix tokens apart.
        decoded = self.decoder(*features) if isinstance(features, tuple) else self.decoder(features)
        scores: Tensor = self._layers_before_upsampling(decoded)
        return scores

    def upsampling(self, size_hw: tuple[int, int]) -> Upsampling:
        """How the logits of images of ``size_hw`` come from their :meth:`scores`: as in :meth:`forward`."""
        return Upsampling(padded_size_hw=self.padded_size_hw(size_hw), align_corners=True)

    @property
    def _layers_before_upsampling(self) -> nn.Module:
        head = self.segmentation_head
        layers = head[0] if isinstance(head, nn.Sequential) else head.head
        assert isinstance(layers, nn.Module)
        return layers


def build_smp(name: str, num_classes: int, options: ModelOptions) -> SmpNetwork:
    """A network of smp with random weights, in training mode.

    Args:
        name: ``smp/ARCH-ENCODER``, ARCH in any case.
        num_classes: K.
        options: only ``smp`` is looked at: further arguments of smp's class, such as ``decoder_channels``.

    Raises:
        InputError: smp is not installed; unknown architecture, encoder or argument (the nearest is named);
            or a combination that smp does not make or that does not take images of any size.
    """
    arch, encoder = split_smp_name(name)
    _require_known_arguments(arch, encoder, options.smp)
    model = create_smp(arch, encoder, num_classes, options.smp)
    network = SmpNetwork(model, num_classes, MULTIPLES.get(arch, DEEPEST))
    used = _parameters_in_use(network, name)
    for parameter_name, parameter in network.named_parameters():
        # The end of a backbone that a decoder does not look at: processes that train together would wait for
        # its gradient.
        parameter.requires_grad_(parameter_name in used)
    network.architecture = {
        "name": f"{PREFIX}{arch}-{encoder}",
        "num_classes": num_classes,
        "options": options.to_dict(),
    }
    return network


def split_smp_name(name: str) -> tuple[str, str]:
    """Architecture and encoder of ``smp/ARCH-ENCODER``, as smp writes them.

    Raises:
        InputError: smp is not installed, or does not know one of them.
    """
    smp = require_smp()
    arch, _, encoder = name.removeprefix(PREFIX).partition("-")
    known = smp.MODEL_ARCHITECTURES_MAPPING
    if arch.lower() not in known:
        raise InputError(
            f"unknown architecture {arch!r} of segmentation_models.pytorch.{nearest(arch.lower(), known)}",
            where="model name",
            fix=f"a name is smp/ARCH-ENCODER with ARCH one of {', '.join(known)}",
        )
    return arch.lower(), _known_encoder(encoder, name)


def _known_encoder(encoder: str, name: str) -> str:
    import timm

    smp = require_smp()
    if not encoder:
        raise InputError(
            f"unknown model {name!r}: no encoder is named",
            where="model name",
            fix="a name is smp/ARCH-ENCODER, for instance smp/unet-resnet34",
        )
    names = smp.encoders.get_encoder_names()
    for written in (encoder, encoder.lower()):
        if written in names:
            return written
        if smp.encoders.is_equivalent_to_timm_universal(written):  # older names, which smp itself replaces
            written = written.replace("timm-mobilenetv3", "timm-tf_mobilenetv3").replace("timm-", "tu-")
        if written.startswith("tu-") and timm.is_model(written.removeprefix("tu-").partition(".")[0]):
            return written
    wanted = encoder.partition(".")[0].lower()
    known = [*names, *(f"tu-{backbone}" for backbone in timm.list_models())]
    raise InputError(
        f"unknown encoder {encoder!r}.{nearest(wanted, known)}",
        where="model name",
        fix="use a name that `sceneparse models smp` lists, such as resnet34 or mit_b0, or tu-NAME with a "
        "backbone of timm's",
    )


def smp_version() -> str | None:
    """Version of segmentation_models.pytorch; None: it is not installed."""
    return version("segmentation-models-pytorch")


def require_smp() -> Any:
    """The module ``segmentation_models_pytorch``.

    Raises:
        InputError: it is not installed.
    """
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise InputError(
            f"models called smp/... need the package segmentation-models-pytorch ({error})",
            where="model name",
            fix=INSTALL,
        ) from None
    return segmentation_models_pytorch


def create_smp(
    arch: str,
    encoder: str,
    num_classes: int,
    arguments: Mapping[str, Any],
    *,
    timm_weights: Mapping[str, Tensor] | None = None,
) -> Any:
    """smp's own model, for images of any size where the encoder can.

    Args:
        arch: as smp writes it.
        encoder: likewise.
        num_classes: K.
        arguments: further ones of smp's class.
        timm_weights: for an encoder of timm's: its file, which timm converts.

    Raises:
        InputError: smp does not make it.
    """
    smp = require_smp()
    given = dict(arguments) | _any_size(arch, encoder)
    if timm_weights is not None:
        given |= {"encoder_weights": True, "pretrained_cfg_overlay": {"state_dict": dict(timm_weights)}}

    def create() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of encoders that have other names by now
            return smp.create_model(
                arch, encoder, **({"encoder_weights": None} | given), in_channels=3, classes=num_classes
            )

    try:
        try:
            return create()
        except RuntimeError as error:
            if "meta tensors" not in str(error):
                raise
            # Some encoders compute with tensors when they are made, which "meta" cannot. Whoever builds there
            # wants shapes, and no random numbers drawn.
            with torch.device("cpu"), torch.random.fork_rng(devices=[]):
                return create()
    except InputError:
        raise
    except _REFUSALS as error:
        raise InputError(
            f"segmentation_models.pytorch does not make {arch} on {encoder!r}: {_first_line(error)}",
            where="model name",
            fix="DPT takes vision transformers of timm's, such as tu-vit_base_patch16_224"
            if arch == "dpt"
            else "choose another encoder, such as resnet34, or another architecture, such as fpn",
        ) from error


def _any_size(arch: str, encoder: str) -> dict[str, Any]:
    """What timm's transformers must be told to take images of any size."""
    if arch == "dpt":
        return {"dynamic_img_size": True}
    if encoder.startswith(("tu-swin_", "tu-swinv2_")):
        return {"strict_img_size": False}
    return {}


def _require_known_arguments(arch: str, encoder: str, arguments: Mapping[str, Any]) -> None:
    """Arguments that smp's class names itself, others that published checkpoints have, and timm's."""
    import inspect

    made = require_smp().MODEL_ARCHITECTURES_MAPPING[arch]
    known = [n for n in inspect.signature(made.__init__).parameters if n not in ("self", "kwargs")]
    of_timm = TIMM_ARGUMENTS if encoder.startswith("tu-") else ()
    known = [n for n in (*known, *OLDER_ARGUMENTS, *of_timm) if n not in NOT_ARGUMENTS]
    for argument in arguments:
        if argument not in known:
            raise InputError(
                f"{made.__name__} of segmentation_models.pytorch has no argument {argument!r} here."
                f"{nearest(argument, known)}",
                where="model option smp",
                fix=f"one of: {', '.join(known)}",
            )


def _parameters_in_use(network: SmpNetwork, name: str) -> set[str]:
    """Names of the parameters that the logits depend on, found on "meta": shapes only, nothing is computed.

    Raises:
        InputError: the network fails on a small image, or its logits have another size.
    """
    parameters = {n: torch.empty_like(p, device="meta") for n, p in network.named_parameters()}
    buffers = {n: torch.empty_like(b, device="meta") for n, b in network.named_buffers()}
    parameters = {n: p.requires_grad_() for n, p in parameters.items()}
    height, width = 33, 97  # not square, and more than the least there is
    images = torch.empty(2, 3, height, width, device="meta")
    training = network.training
    try:
        with torch.device("meta"), torch.enable_grad():
            logits = torch.func.functional_call(network.eval(), parameters | buffers, (images,))
        expected, found = (2, network.num_classes, height, width), tuple(logits.shape)
        if found != expected:
            raise ValueError(f"logits of shape {found}, expected {expected}")
    except _REFUSALS as error:
        raise InputError(
            f"{name} does not take an image of {height}x{width}: {_first_line(error)}",
            where="model name",
            fix="choose an encoder without a fixed image size, such as resnet34 or mit_b0",
        ) from error
    finally:
        network.train(training)
    reached = _leaves(logits)
    return {n for n, p in parameters.items() if id(p) in reached}


def _leaves(result: Tensor) -> set[int]:
    """``id`` of every tensor that would get a gradient from ``result``: what the graph behind it ends in."""
    seen: set[Any] = set()
    todo, found = [result.grad_fn], set()
    while todo:
        function = todo.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if hasattr(function, "variable"):
            found.add(id(function.variable))
        todo += [before for before, _ in function.next_functions]
    return found


def _first_line(error: Exception) -> str:
    said = str(error.args[0]) if error.args else type(error).__name__
    return next(iter(said.splitlines()), type(error).__name__)[:300]
