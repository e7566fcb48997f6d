"""ImageNet weights for the encoders of segmentation_models.pytorch (smp)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sceneparse.errors import InputError
from sceneparse.models.hub import cached_or_downloaded, file_of, pretrained_facts
from sceneparse.models.smp import SmpNetwork, create_smp, require_smp, split_smp_name
from sceneparse.models.statedict import read_state_dict
from sceneparse.normalization import Normalization


class EncoderWeights(NamedTuple):
    """Weights of an encoder, with the names they have in the network.

    Args:
        name: of the weights.
        tensors: by name in the network's ``state_dict()``.
        normalization: what they expect of pixels.
    """

    name: str
    tensors: dict[str, Tensor]
    normalization: Normalization


def imagenet_encoder(network: SmpNetwork) -> EncoderWeights:
    """The weights that smp, or timm for ``tu-`` encoders, has for the encoder of a network.

    smp's are those called "imagenet", or its first where none is called so.

    Raises:
        InputError: there are none, or they are neither in the cache nor can be fetched.
    """
    arch, encoder = split_smp_name(network.architecture["name"])
    arguments = network.architecture["options"]["smp"]
    if encoder.startswith("tu-"):
        backbone = encoder.removeprefix("tu-")
        name, normalization = pretrained_facts(backbone)
        tensors = read_state_dict(cached_or_downloaded(backbone))
        filled = create_smp(arch, encoder, network.num_classes, arguments, timm_weights=tensors)
    else:
        settings = _settings(encoder)
        repository, revision = settings["repo_id"], settings["revision"]
        facts = file_of(repository, ("config.json",), revision=revision)
        weights = file_of(repository, ("model.safetensors",), revision=revision)
        name, normalization = repository, _normalization(facts)
        filled = create_smp(arch, encoder, network.num_classes, arguments)
        _fill_encoder(filled.encoder, weights)
    state = filled.encoder.state_dict()
    return EncoderWeights(name, {f"encoder.{n}": t for n, t in state.items()}, normalization)


def smp_weights_settings(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where smp's weights of an encoder are, from its entry in smp's table; empty where there are none."""
    known = facts["pretrained_settings"]
    settings: Mapping[str, Any] = known.get("imagenet") or next(iter(known.values()), {})
    return settings


def _settings(encoder: str) -> Mapping[str, Any]:
    settings = smp_weights_settings(require_smp().encoders.encoders[encoder])
    if not settings:
        raise InputError(
            f"segmentation_models.pytorch has no ImageNet weights for {encoder!r}",
            where="weights imagenet",
            fix="choose another encoder, such as tu-NAME with a backbone of timm's, or start at random",
        )
    return settings


def _fill_encoder(encoder: Any, path: Path) -> None:
    """smp's encoders drop by themselves what only a classifier has."""
    try:
        encoder.load_state_dict(load_file(path))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"the weights do not fit the encoder: {' '.join(str(error).split())[:300]}",
            where=path,
            fix="delete the file, so that it is fetched again",
        ) from None


def _normalization(path: Path) -> Normalization:
    """What smp's ``config.json`` of an encoder says; its mean and deviation are in the order of channels."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        mean, std = values["mean"], values["std"]
        bgr = values.get("input_space", "RGB") == "BGR"
        if bgr:
            mean, std = mean[::-1], std[::-1]
        return Normalization(
            mean=tuple(mean), std=tuple(std), max_value=float(values.get("input_range", (0, 1))[1]), bgr=bgr
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"the description of the weights cannot be read: {error!r}",
            where=path,
            fix="delete the file, so that it is fetched again",
        ) from None
