"""Other runtimes that compute a network's logits: ONNX Runtime and OpenVINO, in fp32 on so many threads."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

COMPARED = ("onnx", "onnxruntime", "openvino", "segmentation-models-pytorch")


def versions() -> dict[str, str]:
    """Of what is compared with; the result file has those of PyTorch and torchvision anyway."""
    return {name: metadata.version(name) for name in COMPARED}


def export_onnx(network: nn.Module, images: Tensor, path: Path) -> None:
    """Write ``network`` for images of this size as ONNX."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), str(path), dynamo=True, verbose=False)


def onnx_runtime(path: Path, images: Tensor, threads: int) -> Callable[[], Tensor]:
    """A call that gives the logits of ``images``."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = {session.get_inputs()[0].name: images.numpy()}
    return lambda: torch.from_numpy(session.run(None, inputs)[0])


def openvino(path: Path, images: Tensor, threads: int) -> Callable[[], Tensor]:
    """A call that gives the logits of ``images``."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = core.compile_model(core.read_model(path), "CPU", settings)
    pixels = images.numpy()
    return lambda: torch.from_numpy(model(pixels)[0])
