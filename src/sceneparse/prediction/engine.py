"""Engines: ways to compute a network's scores, the same to those who call them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import Bundle, load_model
from sceneparse.errors import InputError, nearest
from sceneparse.models import Network
from sceneparse.prediction.folding import between, folded
from sceneparse.prediction.packed import packed
from sceneparse.prediction.rewritten import Rewritten

ENGINES = ("auto", "eager")

USUAL_PICTURE = (480, 640)
"""Height and width that are taken for a picture's own where every size may come."""


def load_engine(model: str | Path, device: torch.device, engine: str) -> tuple[Network | Rewritten, Bundle]:
    """The network of MODEL as an engine computes it, and its configuration.

    Args:
        model: run folder or bundle folder.
        device: where it computes.
        engine: one of :data:`ENGINES`.

    Raises:
        InputError: no model there, damaged files, or no such engine.
    """
    if engine not in ENGINES:
        raise InputError(
            f"unknown engine {engine!r}.{nearest(engine, ENGINES)}", fix=f"one of: {', '.join(ENGINES)}"
        )
    network, bundle = load_model(model)
    if engine == "eager":
        return network, bundle
    small = folded(network.to(device))
    if small is None:
        return network, bundle
    if device.type == "cuda":
        return _for_gpu(small, device), bundle
    return packed(small, usual_size(bundle.resize)), bundle


def usual_size(resize: ResizePolicy) -> tuple[int, int]:
    """Height and width of the network's input for a usual picture."""
    return resize.target_size(*USUAL_PICTURE)


def _for_gpu(network: Rewritten, device: torch.device) -> Rewritten:
    """In bfloat16 where the GPU computes in it. Not in float16: weights that take pixels as 0..255 come near
    the end of its range."""
    if torch.cuda.get_device_capability(device) < (8, 0):
        return network
    assert isinstance(network.body, nn.Module)
    network.body.bfloat16()
    return between(network, torch.bfloat16)
