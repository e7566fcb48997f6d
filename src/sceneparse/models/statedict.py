"""State dicts from files, and their layer names in ours.

Nothing here runs code from a file: ``torch.load(weights_only=True)`` and safetensors only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sceneparse.errors import InputError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts store the state dict beside other things."""

PYTORCH_FCN_LAYERS = {
    "score_fr": "head.score.stride32",
    "score_pool4": "head.score.stride16",
    "score_pool3": "head.score.stride8",
    "upscore": "head.up.stride32",
    "upscore2": "head.up.stride32",
    "upscore_pool4": "head.up.stride16",
    "upscore16": "head.up.stride16",
    "upscore8": "head.up.stride8",
}
"""Head layers of the published FCN-32s, 16s and 8s (pytorch-fcn, after the Caffe nets) to ours. conv1_1 ...
fc7 have the same names here."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from ``.safetensors`` or a PyTorch file, on the CPU.

    A state dict wrapped by a training script is found under ``state_dict``, ``model_state_dict`` or
    ``model``, and a ``module.`` before the names is dropped.

    Raises:
        InputError: missing, truncated or foreign file, or one that holds Python objects.
    """
    if path.is_dir():
        raise InputError("expected a file of weights, found a folder", where=path)
    if not path.is_file():
        raise InputError("no such file of weights", where=path, fix="check the path, or use 'imagenet'")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise InputError(f"expected tensors by name, found a {type(content).__name__}", where=path)
    tensors = {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise InputError(
            "the file holds no tensors by name", where=path, fix="use a saved model.state_dict()"
        )
    return tensors


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        what = f"not a readable safetensors file ({error})"
        raise InputError(what, where=path, fix="fetch the file again") from error


def _read_torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged or foreign file fails in the unpickler in a dozen ways
        if "Unsupported global" in str(error) or "Trying to" in str(error):
            raise InputError(
                "the file holds Python objects, not only tensors; loading it could run code, so it is not "
                "loaded (torch.load with weights_only=True)",
                where=path,
                fix="where you trust it: torch.save(model.state_dict(), FILE), and use that file",
            ) from error
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"not a readable PyTorch file: truncated, or of another format ({first_line})",
            where=path,
            fix="fetch the file again; accepted are .mat (MatConvNet), .pth and .pt (PyTorch), .safetensors",
        ) from error


def is_pytorch_fcn(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of a published FCN (pytorch-fcn)."""
    return "score_fr.weight" in tensors and "conv1_1.weight" in tensors


def is_classifier_vgg(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the tensors of torchvision's or timm's VGG."""
    return any(re.fullmatch(r"features\.\d+\.weight", name) for name in tensors)


def vgg_layers(blocks: Sequence[int], batch_norm: bool) -> dict[str, str]:
    """Layer names of torchvision's and timm's VGG to ours: ``features.0`` to ``encoder.conv1_1``, and so on.

    Both number all layers in a row: convolution, [normalization,] ReLU, and a pool after each block.
    """
    layers, position = {}, 0
    for block, count in enumerate(blocks, start=1):
        for i in range(1, count + 1):
            layers[f"features.{position}"] = f"encoder.conv{block}_{i}"
            if batch_norm:
                layers[f"features.{position + 1}"] = f"encoder.norm{block}_{i}"
            position += 3 if batch_norm else 2
        position += 1
    for fc6, fc7 in (("classifier.0", "classifier.3"), ("pre_logits.fc1", "pre_logits.fc2")):
        layers |= {fc6: "encoder.fc6", fc7: "encoder.fc7"}
    return layers


def renamed(tensors: Mapping[str, Tensor], layers: Mapping[str, str]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors whose layer is in ``layers``, under our names; and the names of the others."""
    ours: dict[str, Tensor] = {}
    unused: list[str] = []
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if layer in layers:
            ours[f"{layers[layer]}.{kind}"] = tensor
        else:
            unused.append(name)
    return ours, unused


def as_convolutions(tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Weights of linear layers (out, in) as those of the convolutions that stand for them (out, in', kh, kw).

    fc6 of a classifier sees its 7x7 map flattened channel by channel, which is the order of a convolution's
    weights.
    """
    return {
        name: tensor.reshape(shapes[name])
        if tensor.ndim == 2 and name in shapes and tensor.numel() == shapes[name].numel()
        else tensor
        for name, tensor in tensors.items()
    }
