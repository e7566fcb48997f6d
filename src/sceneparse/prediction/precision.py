"""Whether a network is faster in bfloat16 on this processor, found out once."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor, nn

from sceneparse.prediction.artefact import Shelf
from sceneparse.prediction.folding import between
from sceneparse.prediction.packed import can_pack, packed
from sceneparse.prediction.rewritten import Rewritten

FILE = "precision.json"

_UNITS = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")

_ROUNDS = 3


def has_units() -> bool:
    """Whether the processor multiplies in bfloat16. oneDNN computes in it on others too, more slowly."""
    return can_pack(torch.bfloat16) and any(getattr(torch.cpu, name, lambda: False)() for name in _UNITS)


def packed_in_best(network: Rewritten, size_hw: tuple[int, int], shelf: Shelf) -> tuple[Rewritten, str]:
    """A folded network packed in float32 or bfloat16, whichever is faster, and its name.

    Not known beforehand: in float32 most convolutions of 3x3 need a quarter of the products.

    Args:
        network: see :func:`~sceneparse.prediction.packed.packed`.
        size_hw: usual size of its input.
        shelf: where the choice is kept.
    """
    name = "float32"
    if has_units():

        def choose(folder: Path) -> None:
            (folder / FILE).write_text(json.dumps(_faster(network, size_hw)), encoding="utf-8")

        with suppress(OSError):  # no place to keep it: not worth finding out in each process
            found = shelf.find() or shelf.make(choose)
            if found is not None:
                name = json.loads((found / FILE).read_text(encoding="utf-8"))
    return packed_in(name, network, size_hw), name


def packed_in(name: str, network: Rewritten, size_hw: tuple[int, int]) -> Rewritten:
    """A folded network packed in "float32" or "bfloat16"; input and scores stay float32."""
    if name == "float32":
        return packed(network, size_hw)
    assert isinstance(network.body, nn.Module)
    network.body.bfloat16()
    small = packed(network, size_hw)
    return between(small, torch.bfloat16)


def _faster(network: Rewritten, size_hw: tuple[int, int]) -> str:
    seconds = {}
    image = torch.zeros(1, 3, *size_hw).contiguous(memory_format=torch.channels_last)
    for name in ("float32", "bfloat16"):
        seconds[name] = _seconds(packed_in(name, copy.deepcopy(network), size_hw).scores, image)
    return min(seconds, key=seconds.__getitem__)


@torch.no_grad()
def _seconds(call: Callable[[Tensor], Tensor], image: Tensor) -> float:
    call(image)
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        call(image)
        times.append(time.perf_counter() - began)
    return min(times)
