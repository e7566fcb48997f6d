"""Engines: ways to compute a network's scores, the same to those who call them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import WEIGHTS, Bundle, find_bundle, load_model, read_configuration
from sceneparse.errors import InputError, nearest
from sceneparse.models import Network
from sceneparse.prediction import aot, openvino, packed, precision
from sceneparse.prediction.artefact import Shelf
from sceneparse.prediction.folding import between, folded
from sceneparse.prediction.rewritten import Rewritten

ENGINES = ("auto", "eager", "compiled", "openvino")
"""eager: PyTorch's own layers in float32, as in training.

compiled: one library for the whole network, made by PyTorch's compiler and kept beside the bundle: a minute
once. Networks of over :data:`HEAVY_BYTES` are packed instead: their time is in a few convolutions that are
already packed, and the library would hold all their weights a second time.

auto: what compiled has left if there is something, otherwise packed: the network with batch norm folded and
its weights laid out for the processor while loading. On a GPU, folded and in bfloat16.

openvino: Intel's runtime, from the package of that name; kept beside the bundle likewise.
"""

HEAVY_BYTES = 100 * 2**20

_FOLDED = "network.pt"

USUAL_PICTURE = (480, 640)
"""Height and width that are taken for a picture's own where every size may come."""


class Engine(NamedTuple):
    """A network ready to compute.

    Args:
        network: (B, 3, H, W) normalized images to (B, K, H, W) logits.
        bundle: its configuration.
        said: how it computes, in words.
    """

    network: Network | Rewritten
    bundle: Bundle
    said: str


def load_engine(model: str | Path, device: torch.device, engine: str) -> Engine:
    """The network of MODEL as an engine computes it.

    Args:
        model: run folder or bundle folder.
        device: where it computes.
        engine: one of :data:`ENGINES`.

    Raises:
        InputError: no model there, damaged files, no such engine, or not on this device.
    """
    if engine not in ENGINES:
        raise InputError(
            f"unknown engine {engine!r}.{nearest(engine, ENGINES)}", fix=f"one of: {', '.join(ENGINES)}"
        )
    if engine == "eager":
        return Engine(*load_model(model), "eager")
    if device.type == "cpu":
        return _on_processor(model, engine)
    if engine != "auto":
        raise InputError(f"the engine {engine} computes on the processor", fix="--device cpu, or no --engine")
    network, bundle = load_model(model)
    small = folded(network.to(device))
    if small is None:
        return Engine(network, bundle, "eager")
    return _for_gpu(small, bundle, device)


def usual_size(resize: ResizePolicy) -> tuple[int, int]:
    """Height and width of the network's input for a usual picture."""
    return resize.target_size(*USUAL_PICTURE)


def describe() -> dict[str, str]:
    """What there is for the engines on this machine, in words."""
    with_bfloat16 = "in float32 or bfloat16, whichever is faster" if precision.has_units() else "in float32"
    layouts = packed.can_pack(torch.float32)
    return {
        "packed": with_bfloat16 if layouts else f"{with_bfloat16}, without oneDNN",
        "compiled": aot.compiler() or "no C++ compiler found",
        "openvino": openvino.version() or "not installed",
    }


def _on_processor(model: str | Path, engine: str) -> Engine:
    folder = find_bundle(model)
    if engine == "openvino":
        openvino.require_openvino()
        shelf = Shelf(folder, "openvino", packages=("openvino",))
        made = _from_shelf(shelf, openvino.body_of, _written_by(folder, openvino.write_openvino))
        if made is not None:
            return made
    elif (folder / WEIGHTS).stat().st_size <= HEAVY_BYTES:
        write = _written_by(folder, _write_compiled) if engine == "compiled" else None
        made = _from_shelf(Shelf(folder, "compiled"), aot.body_of, write)
        if made is not None:
            return made
    small, bundle = _folded(folder)
    if not isinstance(small, Rewritten):
        return Engine(small, bundle, "eager")
    shelf = Shelf(folder, "precision")
    fast, dtype = precision.packed_in_best(small, usual_size(bundle.resize), shelf)
    return Engine(fast, bundle, f"packed, {dtype}")


def _folded(folder: Path) -> tuple[Network | Rewritten, Bundle]:
    """The folded network, or the network where it cannot be folded.

    Building a network for its weights takes its package, and timm takes two seconds to import: what is folded
    is kept, unless it is heavy.
    """
    shelf = Shelf(folder, "folded")
    with suppress(Exception):  # as if there were none
        found = shelf.find()
        if found is not None:
            kept: Rewritten = torch.load(found / _FOLDED, mmap=True, weights_only=False)
            return kept, read_configuration(folder)
    network, bundle = load_model(folder)
    small = folded(network)
    if small is None:
        return network, bundle
    if (folder / WEIGHTS).stat().st_size <= HEAVY_BYTES:
        with suppress(Exception):  # no place, or a layer that cannot be saved
            shelf.make(lambda scratch: torch.save(small, scratch / _FOLDED))
    return small, bundle


def _from_shelf(
    shelf: Shelf, body_of: Callable[[Path], Callable[[Tensor], Tensor]], write: Callable[[Path], None] | None
) -> Engine | None:
    """What is kept, made first if need be; None where there is nothing, with a line that says why."""
    try:
        found = shelf.find()
        if found is None and write is not None:
            print(f"preparing the engine {shelf.kind} for {shelf.bundle}, once", file=sys.stderr, flush=True)
            found = shelf.make(write)
            if found is None:
                _warn(shelf.kind, "another process is preparing it")
        if found is None:
            return None
        network = Rewritten.load(body_of(found), found)
        return Engine(network, read_configuration(shelf.bundle), shelf.kind)
    except InputError:
        raise
    except Exception as error:  # compilers fail in every way, and are never worth a failed prediction
        _warn(shelf.kind, next(iter(str(error).strip().splitlines()), type(error).__name__)[:200])
        return None


def _warn(kind: str, why: str) -> None:
    print(f"warning: going on without the engine {kind}: {why}", file=sys.stderr, flush=True)


def _written_by(
    bundle: Path, write: Callable[[nn.Module, tuple[int, int], Path], None]
) -> Callable[[Path], None]:
    def written(folder: Path) -> None:
        network, configuration = load_model(bundle)
        small = folded(network)
        if small is None:
            raise RuntimeError("not for networks of this kind")
        assert isinstance(small.body, nn.Module)
        small.save(folder)
        write(small.body, small.geometry.padded(usual_size(configuration.resize)), folder)

    return written


def _write_compiled(body: nn.Module, size_hw: tuple[int, int], folder: Path) -> None:
    # PyTorch's compiler lays out the weights of oneDNN's convolutions itself.
    aot.write_compiled(packed.with_packed(body, size_hw, onednn=False), size_hw, folder)


def _for_gpu(network: Rewritten, bundle: Bundle, device: torch.device) -> Engine:
    """In bfloat16 where the GPU computes in it. Not in float16: weights that take pixels as 0..255 come near
    the end of its range."""
    assert isinstance(network.body, nn.Module)
    network.body.to(memory_format=torch.channels_last)
    if torch.cuda.get_device_capability(device) < (8, 0):
        return Engine(network, bundle, "folded, float32")
    network.body.bfloat16()
    return Engine(between(network, torch.bfloat16), bundle, "folded, bfloat16")
