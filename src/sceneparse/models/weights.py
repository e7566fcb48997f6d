"""Every import of weights into a network: ImageNet by name, files of others, and our own with another class
list.

Each import checks before it copies: a file that does not fit leaves the network as it was, and names the
first layers that don't fit with both shapes. Each returns a :class:`WeightsReport`, with the normalization
that the weights expect.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sceneparse.errors import InputError
from sceneparse.models.build import split_name
from sceneparse.models.encoder import TimmEncoder, create_timm
from sceneparse.models.hub import cached_or_downloaded, pretrained_facts
from sceneparse.models.matconvnet import read_matconvnet
from sceneparse.models.network import Network
from sceneparse.models.smp import SmpNetwork
from sceneparse.models.smp_weights import imagenet_encoder
from sceneparse.models.statedict import (
    PYTORCH_FCN_LAYERS,
    as_convolutions,
    is_classifier_vgg,
    is_pytorch_fcn,
    read_state_dict,
    renamed,
    vgg_layers,
)
from sceneparse.models.vgg import VGG
from sceneparse.normalization import CAFFE_BGR, IMAGENET, Normalization

SHOWN_LAYERS = 5

TORCHVISION_NOTE = (
    "torchvision's normalization is assumed; a VGG file converted from Caffe has the same layer names but "
    "expects BGR 0..255"
)


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """What an import did.

    Args:
        source: file or name the weights came from.
        normalization: what the weights expect of pixels.
        kept: names in the network's state dict that were filled.
        remade: names that start at random.
        unused: names in the source without a place in the network.
        notes: what else the user should know.
    """

    source: str
    normalization: Normalization
    kept: tuple[str, ...]
    remade: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        n = self.normalization
        order, span = ("BGR", "0..255") if n.bgr else ("RGB", f"0..{n.max_value:g}")
        lines = [
            f"weights from {self.source}",
            f"  kept:          {_named(self.kept)}",
            f"  made anew:     {_named(self.remade)}",
            f"  not used:      {_named(self.unused)}",
            f"  normalization: {order} {span}, mean {_numbers(n.mean)}, deviation {_numbers(n.std)}",
        ]
        return "\n".join(lines + [f"  note:          {note}" for note in self.notes])


def _named(names: Collection[str]) -> str:
    layers = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    if not layers:
        return "nothing"
    shown = layers if len(layers) <= 2 * SHOWN_LAYERS else [*layers[:3], "...", *layers[-3:]]
    return f"{len(layers)} layer{'s' if len(layers) > 1 else ''}: {', '.join(shown)}"


def _numbers(values: Collection[float]) -> str:
    return " ".join(f"{v:.6g}" for v in values)


def load_weights(model: Network, source: str | Path) -> WeightsReport:
    """Fills a network from ``"imagenet"`` or a file.

    Args:
        model: built by :func:`sceneparse.models.build_model`; changed in place.
        source: ``"imagenet"`` (timm's weights of the backbone), ``FILE.mat`` (MatConvNet VGG), or a PyTorch
            or safetensors file: torchvision's or timm's VGG, a published FCN (pytorch-fcn), or a timm
            backbone. A network of segmentation_models.pytorch takes ``"imagenet"``.

    Raises:
        InputError: no such file, not readable, not for this network, or no network to fetch ImageNet weights.
    """
    if isinstance(model, SmpNetwork):
        return _load_smp(model, source)
    if str(source) == "imagenet":
        return _load_imagenet(model)
    path = Path(source)
    if path.suffix.lower() == ".mat":
        return _load_matconvnet(model, path)
    tensors = read_state_dict(path)
    if any(name.startswith(("encoder.", "model.encoder.")) for name in tensors):
        raise InputError(
            "saved by this package: what these weights expect of pixels is in the config.json beside",
            where=path,
            fix="name the run or bundle folder instead of the file",
        )
    if is_pytorch_fcn(tensors):
        return _load_pytorch_fcn(model, tensors, str(path))
    if isinstance(model.encoder, VGG):
        return _load_vgg(model, tensors, str(path), IMAGENET, (TORCHVISION_NOTE,))
    _, normalization = pretrained_facts(_backbone(model))
    return _load_timm(model, tensors, str(path), normalization, check=True)


def load_matching(
    model: Network,
    tensors: Mapping[str, Tensor],
    *,
    source: str,
    normalization: Normalization,
    head_may_differ: bool = False,
    same_classes: bool = True,
) -> WeightsReport:
    """Fills a network from the state dict of another one of this package.

    Args:
        model: changed in place.
        tensors: a state dict with our names.
        source: named in the report and in errors.
        normalization: of the other network; goes to the report.
        head_may_differ: tensors of the head that are missing or of another shape are made anew instead of an
            error: another number of classes, or FCN-32s into FCN-16s, as the paper trains in stages.
        same_classes: False when the class list is another one: the whole head is made anew, even where shapes
            agree.

    Raises:
        InputError: the rest does not fit; the first layers are named with both shapes.
    """
    shapes = _shapes(model)
    head = {name for name in shapes if name.startswith(model.head_prefix)}
    wanted = {name: tensor for name, tensor in tensors.items() if same_classes or name not in head}
    required: Collection[str] = shapes
    if head_may_differ or not same_classes:
        wanted = {n: t for n, t in wanted.items() if n not in head or t.shape == shapes[n]}
        required = shapes.keys() - head
    return _fill(model, wanted, required, source, normalization)


def _load_imagenet(model: Network) -> WeightsReport:
    backbone = _backbone(model)
    name, normalization = pretrained_facts(backbone)
    path = cached_or_downloaded(backbone)
    tensors = read_state_dict(path)
    if isinstance(model.encoder, VGG):
        return _load_vgg(model, tensors, name, normalization)
    # timm's own files may need timm's own conversion, so their names are not compared here.
    return _load_timm(model, tensors, name, normalization, check=False)


def _load_smp(model: SmpNetwork, source: str | Path) -> WeightsReport:
    name = model.architecture["name"]
    if str(source) != "imagenet":
        raise InputError(
            f"no such weights for {name}",
            where=source,
            fix="name a run or a bundle of yours, a checkpoint of segmentation_models.pytorch (its folder, "
            "or smp-hub/NAME), or imagenet",
        )
    found = imagenet_encoder(model)
    return _fill(model, found.tensors, _encoder_names(model), found.name, found.normalization)


def _load_matconvnet(model: Network, path: Path) -> WeightsReport:
    _require_vgg(model, path, "VGG weights of MatConvNet")
    layers, normalization = read_matconvnet(path)
    unused = [name for name in layers if name.startswith("fc8.")]
    tensors = {f"encoder.{name}": tensor for name, tensor in layers.items() if name not in unused}
    return _fill(model, tensors, _encoder_names(model), str(path), normalization, unused=unused)


def _load_vgg(
    model: Network,
    tensors: Mapping[str, Tensor],
    source: str,
    normalization: Normalization,
    notes: tuple[str, ...] = (),
) -> WeightsReport:
    encoder = model.encoder
    assert isinstance(encoder, VGG)
    if not is_classifier_vgg(tensors):
        raise InputError(
            "these are not weights of a VGG: no layer is called features.N "
            f"(the first are called {', '.join(list(tensors)[:3])})",
            where=source,
            fix="use torchvision's or timm's file of this backbone",
        )
    ours, unknown = renamed(tensors, vgg_layers(encoder.blocks, encoder.batch_norm))
    unused = [name for name in unknown if not name.startswith("features.")]
    ours |= {f"encoder.{name}": tensors[name] for name in unknown if name not in unused}
    ours = as_convolutions(ours, _shapes(model))
    return _fill(model, ours, _encoder_names(model), source, normalization, unused=unused, notes=notes)


def _load_pytorch_fcn(model: Network, tensors: Mapping[str, Tensor], source: str) -> WeightsReport:
    _require_vgg(model, source, "weights of a published FCN on VGG16")
    assert isinstance(model.encoder, VGG)
    body = {name.rpartition(".")[0] for name in tensors} - PYTORCH_FCN_LAYERS.keys()
    ours, unused = renamed(tensors, PYTORCH_FCN_LAYERS | {layer: f"encoder.{layer}" for layer in body})
    shapes = _shapes(model)
    misfits = [n for n, t in ours.items() if n.startswith("head.") and t.shape != shapes.get(n)]
    for name in misfits:
        del ours[name]
    notes = []
    if not model.encoder.reference:
        notes.append("the weights were made for padding='reference'; the published logits need it")
    if any(name.startswith("head.score") for name in ours):
        notes.append("the head is kept; its classes are PASCAL VOC's 21 unless you trained the file")
    if "upscore8.weight" in tensors:
        at_once = bool(getattr(model.head, "scales", None))
        how = "at once" if at_once else "in stages"
        notes.append(
            f"at_once is {at_once}: right for an FCN-8s trained {how}; the file does not tell which it is"
        )
    return _fill(
        model, ours, _encoder_names(model), source, CAFFE_BGR, unused=[*unused, *misfits], notes=tuple(notes)
    )


def _load_timm(
    model: Network, tensors: Mapping[str, Tensor], source: str, normalization: Normalization, *, check: bool
) -> WeightsReport:
    """timm fills a second backbone (it may convert names), whose state is then copied."""
    import timm

    encoder = model.encoder
    assert isinstance(encoder, TimmEncoder)
    with torch.device("meta"):
        whole = timm.create_model(encoder.backbone, num_classes=0).state_dict()
    if check:
        _require_fit({n: t.shape for n, t in whole.items()}, tensors, whole.keys(), source)
    overlay: dict[str, Any] = {"state_dict": dict(tensors)}
    filled = create_timm(
        encoder.backbone, out_indices=encoder.out_indices, pretrained=True, pretrained_cfg_overlay=overlay
    )
    ours = {f"encoder.body.{name}": tensor for name, tensor in filled.state_dict().items()}
    unused = [name for name in tensors if name not in whole]
    return _fill(model, ours, _encoder_names(model), source, normalization, unused=unused)


def _fill(
    model: Network,
    tensors: Mapping[str, Tensor],
    required: Collection[str],
    source: str,
    normalization: Normalization,
    *,
    unused: Collection[str] = (),
    notes: tuple[str, ...] = (),
) -> WeightsReport:
    """Copies after everything required was found with the right shape and finite values."""
    state = model.state_dict()
    _require_fit({name: t.shape for name, t in state.items()}, tensors, required, source)
    kept = tuple(name for name in state if name in tensors)
    for name in kept:
        if not torch.isfinite(tensors[name]).all():
            raise InputError(f"{name} holds values that are not finite numbers", where=source)
    for name in kept:
        state[name].copy_(tensors[name])  # shares memory with the model
    return WeightsReport(
        source=source,
        normalization=normalization,
        kept=kept,
        remade=tuple(name for name in state if name not in tensors),
        unused=(*unused, *(name for name in tensors if name not in state)),
        notes=notes,
    )


def _require_fit(
    shapes: Mapping[str, torch.Size], tensors: Mapping[str, Tensor], required: Collection[str], source: str
) -> None:
    problems = []
    for name, shape in shapes.items():
        found = tuple(tensors[name].shape) if name in tensors else None
        # Files older than this counter of batch norm lack it; it has no effect on the result.
        missing = found is None and name in required and not name.endswith("num_batches_tracked")
        if missing or (found is not None and found != tuple(shape)):
            problems.append(
                f"{name}: the network has {tuple(shape)}, the file {'nothing' if found is None else found}"
            )
    # A deeper network's file would otherwise fill a shallower one with layers that belong elsewhere.
    for name in tensors:
        if name.startswith("encoder.") and name not in shapes:
            problems.append(f"{name}: the network has nothing, the file {tuple(tensors[name].shape)}")
    if problems:
        more = f"\n    ... and {len(problems) - SHOWN_LAYERS} more" if len(problems) > SHOWN_LAYERS else ""
        raise InputError(
            "the weights do not fit the network:\n    " + "\n    ".join(problems[:SHOWN_LAYERS]) + more,
            where=source,
            fix="choose the model that the weights were made for",
        )


def _require_vgg(model: Network, source: str | Path, what: str) -> None:
    if not isinstance(model.encoder, VGG):
        raise InputError(
            f"{what} do not fit a network on {_backbone(model)}",
            where=source,
            fix="choose a model on vgg16 or vgg19",
        )


def _backbone(model: Network) -> str:
    return split_name(model.architecture["name"])[1]


def _encoder_names(model: Network) -> list[str]:
    return [name for name in model.state_dict() if name.startswith("encoder.")]


def _shapes(model: Network) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}
