"""VGG weights in MatConvNet form: ``imagenet-vgg-verydeep-16.mat``, ``imagenet-vgg-verydeep-19.mat``.

Two forms exist. Older: each layer a struct with fields ``filters`` and ``biases``; the mean under
``normalization.averageImage``. Newer: a field ``weights``, a 1x2 cell of the two; the mean under
``meta.normalization.averageImage``. The mean is an image (224, 224, 3) or a colour (1, 1, 3), RGB 0..255.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sceneparse.errors import InputError
from sceneparse.normalization import Normalization


def read_matconvnet(path: Path) -> tuple[dict[str, Tensor], Normalization]:
    """Tensors by layer (``conv1_1.weight`` (out, in, kh, kw), ``conv1_1.bias`` (out,), ..., ``fc8.bias``) and
    the mean.

    Raises:
        InputError: missing, truncated or foreign file, or one without layers, mean, or a layer's two arrays.
    """
    content = _load(path)
    layers: dict[str, Tensor] = {}
    for cell in np.ravel(content.get("layers", np.empty(0))):
        name, arrays = _text(_field(cell, "name")), _weights(cell)
        if arrays is None:
            continue  # relu, pool, softmax
        if not name or len(arrays) != 2:
            raise InputError(
                f"layer {name or '?'!r} holds {len(arrays)} arrays, expected filters and biases", where=path
            )
        filters, biases = (np.asarray(a) for a in arrays)
        layers[f"{name}.weight"] = _kernel(filters)
        layers[f"{name}.bias"] = torch.from_numpy(biases.reshape(-1))
    if not layers:
        raise InputError(
            "the file has no layers with weights",
            where=path,
            fix="use the SimpleNN form of MatConvNet's imagenet-vgg-verydeep-16 or -19",
        )
    return layers, _normalization(content, path)


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    if not path.is_file():
        raise InputError(
            "no such file", where=path, fix="check the path; or use 'imagenet' for timm's weights"
        )
    try:
        content: dict[str, Any] = loadmat(path, variable_names=["layers", "normalization", "meta"])
    except MemoryError:
        raise
    except Exception as error:  # a damaged or foreign file fails in the reader in a dozen ways
        raise InputError(
            f"not a readable .mat file: truncated, or of another format ({error or type(error).__name__})",
            where=path,
            fix="fetch the file again; a file of MATLAB 7.3 (HDF5) must be saved again with -v7",
        ) from error
    return content


def _kernel(filters: NDArray[Any]) -> Tensor:
    """(kw, kh, in, out) to (out, in, kh, kw). The file has the first two axes swapped relative to (height,
    width)."""
    while filters.ndim < 4:
        filters = filters[..., None]  # MATLAB drops trailing axes of length 1
    return torch.from_numpy(np.ascontiguousarray(filters.transpose(3, 2, 1, 0)))


def _weights(cell: Any) -> list[Any] | None:
    """[filters, biases] of a layer in either form; None for a layer without weights."""
    weights = _field(cell, "weights")
    if weights is not None and weights.size:
        return list(np.ravel(weights))
    pair = [_field(cell, "filters"), _field(cell, "biases")]
    return None if any(p is None for p in pair) else pair


def _normalization(content: dict[str, Any], path: Path) -> Normalization:
    struct = content.get("normalization")
    if struct is None:
        struct = _field(content.get("meta"), "normalization")
    average = _field(struct, "averageImage")
    if average is None or average.size % 3 or average.size == 0:
        raise InputError("the file has no mean colour (normalization.averageImage)", where=path)
    # A colour may be (1, 1, 3), (3, 1) or (1, 3); an image ends in the channels.
    pixels = np.asarray(average, dtype=np.float64).reshape(-1, 3)
    red, green, blue = (float(v) for v in pixels.mean(axis=0))
    if not all(0 <= v <= 255 for v in (red, green, blue)):
        raise InputError(f"the mean colour {red, green, blue} is outside 0..255", where=path)
    return Normalization(mean=(red, green, blue), std=(1.0, 1.0, 1.0), max_value=255.0)


def _field(struct: Any, name: str) -> Any:
    """A field of a 1x1 MATLAB struct, or None."""
    names = getattr(getattr(struct, "dtype", None), "names", None)
    if not names or name not in names or np.size(struct) != 1:
        return None
    return np.ravel(struct)[0][name]


def _text(array: Any) -> str:
    return "" if array is None or not np.size(array) else str(np.ravel(array)[0])
