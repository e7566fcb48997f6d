"""A network in Intel's OpenVINO, for pictures of any size. The package is an extra.

Shapes: B batch, C channels of the scores, H,W padded image, h,w scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn

from sceneparse import environment
from sceneparse.errors import InputError

FILE = "network.xml"


def version() -> str | None:
    """Of the package; None where it is not installed."""
    return environment.version("openvino")


def require_openvino() -> None:
    """Refuse to go on without the package.

    Raises:
        InputError: says how to install it.
    """
    if version() is None:
        raise InputError(
            "the engine openvino needs the package openvino, which is not installed",
            fix="pip install 'sceneparse[openvino]', or another --engine",
        )


@torch.no_grad()
def write_openvino(body: nn.Module, size_hw: tuple[int, int], folder: Path) -> None:
    """Convert ``body``, padded images (B, 3, H, W) to scores, into ``folder``.

    Raises:
        Exception: of whatever kind, where OpenVINO does not know one of its layers.
    """
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ways that PyTorch will give up one day
        model = openvino.convert_model(
            body, example_input=torch.zeros(1, 3, *size_hw), input=[(-1, 3, -1, -1)]
        )
    openvino.save_model(model, folder / FILE, compress_to_fp16=False)


def body_of(folder: Path) -> Callable[[Tensor], Tensor]:
    """The function that was converted into ``folder``.

    Raises:
        Exception: of whatever kind, where it cannot be loaded.
    """
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(folder / FILE, "CPU", settings)
    requests: SimpleQueue[Any] = SimpleQueue()

    def body(images: Tensor) -> Tensor:
        try:  # a request serves one thread at a time
            request = requests.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        try:
            found = request.infer([images.contiguous().numpy()])[0]
            return torch.from_numpy(found.copy())  # the request's own memory is written to again
        finally:
            requests.put(request)

    return body
