"""Predictor: a picture in, a Segmentation in the data set's own numbers out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sceneparse.data.decode import Picture, read_image, read_picture, upright_rgb
from sceneparse.data.loader import to_tensor
from sceneparse.data.preprocess import ResizePolicy, prepare_image, prepare_picture, resize_mask
from sceneparse.deploy.bundle import Bundle
from sceneparse.deploy.shipped import shipped_folder
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet
from sceneparse.memory import full_memory_named
from sceneparse.models import Network
from sceneparse.prediction.engine import load_engine
from sceneparse.prediction.inference import normalized, predicted, predicted_with_confidence
from sceneparse.prediction.rewritten import Rewritten
from sceneparse.prediction.segmentation import Segmentation
from sceneparse.prediction.tiling import FILE_BYTES, picture_bytes, spans, tile_side


class Predictor:
    """A network with everything it needs to parse a picture.

    Args:
        model: (B, 3, H, W) normalized to (B, K, H, W) logits.
        bundle: classes and preprocessing.
        device: "auto", "cpu", "cuda" or "cuda:N".
        engine: how the model computes, in words.

    Raises:
        InputError: no such device.
    """

    def __init__(
        self,
        model: Network | Rewritten,
        bundle: Bundle,
        *,
        device: str = "auto",
        engine: str = "eager",
    ) -> None:
        self.device = _device(device)
        self.bundle = bundle
        self.engine = engine
        self.model = model.eval().to(self.device)
        if not isinstance(model, Rewritten):  # whose weights already lie as they should
            self.model.to(memory_format=torch.channels_last)

    @property
    def labels(self) -> LabelSet:
        """Classes, palette and numbers."""
        return self.bundle.labels

    @property
    def resize(self) -> ResizePolicy:
        """How pictures are brought to the network's size."""
        return self.bundle.resize

    @property
    def takes_several(self) -> bool:
        """Whether several threads predict sooner, with a picture each, than one after the other."""
        return self.device.type == "cpu" and getattr(self.model, "takes_several", True) is True

    def picture_bytes(
        self, size_hw: tuple[int, int], *, scales: Sequence[float] = (1.0,), flip: bool = False
    ) -> int:
        """Estimate of the memory that it takes to predict a picture file of this size, whole."""
        network = picture_bytes(self.resize.target_size(*size_hw), self.labels.num_classes, scales, flip)
        return network + FILE_BYTES * size_hw[0] * size_hw[1]

    def __call__(
        self,
        image: str | Path | Image.Image | NDArray[np.uint8],
        *,
        tile: str | int = "auto",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        progress: Callable[[float], object] | None = None,
    ) -> Segmentation:
        """Parse one picture.

        A path is read as training and evaluation read it, large JPEGs at reduced scale; a PIL image or an
        array is resized from its own pixels.

        Args:
            image: path, PIL image, or uint8 (H, W, 3) RGB; any size from 1x1 up.
            tile: side in pixels of overlapping windows for pictures larger than that, "auto" to use them
                where memory needs it, 0 for never.
            scales: sizes of the picture whose probabilities are averaged.
            flip: average also over the mirrored picture.
            progress: called after each window with the share 0..1 of the picture that is done.

        Returns:
            Labels in the data set's own numbers at the picture's own size.

        Raises:
            InputError: the picture cannot be read, a wrong option, or too little memory.
        """
        source: Picture | NDArray[np.uint8]
        if isinstance(image, (str, Path)):
            source = read_picture(image, target=self.resize.target_size)
            pixels = source.pixels if source.scale == 1 else read_image(image)  # overlays show it whole
        else:
            source = pixels = _pixels(image)
        with full_memory_named(lambda: _too_large(tile)):
            index = self.predict_index(source, tile=tile, scales=scales, flip=flip, progress=progress)
        return Segmentation(labels=self.labels.to_file(index), label_set=self.labels, image=pixels)

    def predict_index(
        self,
        image: Picture | NDArray[np.uint8],
        *,
        tile: str | int = "auto",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        progress: Callable[[float], object] | None = None,
    ) -> NDArray[np.integer]:
        """Training indices (H, W) of a decoded file or a picture uint8 (H, W, 3), at the picture's own size.

        The dtype is that of :attr:`LabelSet.index_dtype`; options and errors as in :meth:`__call__`, but that
        where memory is full PyTorch's own error is raised.
        """

        def labels(images: Tensor, size_hw: tuple[int, int]) -> tuple[NDArray[np.integer]]:
            found = predicted(self.model, self._normalized(images), size_hw, scales, flip)
            return (self._index(found),)

        (index,) = self._over_windows(labels, image, tile, scales, flip, progress)
        return index

    def predict_with_confidence(
        self,
        image: Picture | NDArray[np.uint8],
        *,
        tile: str | int = "auto",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
        """What :meth:`predict_index` gives, and float32 (H, W), the probability of each pixel's class."""

        def both(images: Tensor, size_hw: tuple[int, int]) -> tuple[NDArray[Any], ...]:
            found, sure = predicted_with_confidence(
                self.model, self._normalized(images), size_hw, scales, flip
            )
            return self._index(found), sure[0].cpu().numpy()

        index, confidence = self._over_windows(both, image, tile, scales, flip, None)
        return index, confidence

    @torch.no_grad()
    def _over_windows(
        self,
        maps_of: Callable[[Tensor, tuple[int, int]], tuple[NDArray[Any], ...]],
        image: Picture | NDArray[np.uint8],
        tile: str | int,
        scales: Sequence[float],
        flip: bool,
        progress: Callable[[float], object] | None,
    ) -> tuple[NDArray[Any], ...]:
        """Maps (H, W) of a picture, put together from its windows where it has several.

        Args:
            maps_of: of uint8 (1, 3, h, w), at the size given.
            image: and the rest as in :meth:`predict_index`.
            tile: likewise.
            scales: likewise.
            flip: likewise.
            progress: likewise.
        """
        check_options(tile, scales)
        if isinstance(image, Picture):
            small, size_hw = prepare_picture(image, self.resize), image.size_hw
        else:
            small, size_hw = prepare_image(image, self.resize), (image.shape[0], image.shape[1])
        tensor = to_tensor(np.ascontiguousarray(small))[None]
        side = tile_side((small.shape[0], small.shape[1]), self.labels.num_classes, tile, scales, flip)
        if side is None:
            return maps_of(tensor, size_hw)
        whole: list[NDArray[Any]] = []
        rows, columns = list(spans(small.shape[0], side)), list(spans(small.shape[1], side))
        for i, (row, kept_row) in enumerate(rows):
            for j, (column, kept_column) in enumerate(columns):
                window = tensor[:, :, row, column]
                maps = maps_of(window, (window.shape[2], window.shape[3]))
                whole = whole or [np.empty(small.shape[:2], found.dtype) for found in maps]
                for all_of_it, found in zip(whole, maps, strict=True):
                    all_of_it[kept_row, kept_column] = found[
                        kept_row.start - row.start : kept_row.stop - row.start,
                        kept_column.start - column.start : kept_column.stop - column.start,
                    ]
                if progress is not None:
                    progress((i * len(columns) + j + 1) / (len(rows) * len(columns)))
        return tuple(resize_mask(all_of_it, size_hw) for all_of_it in whole)

    def _normalized(self, images: Tensor) -> Tensor:
        return normalized(images, self.bundle.normalization, self.device)

    def _index(self, labels: Tensor) -> NDArray[np.integer]:
        return labels[0].cpu().numpy().astype(self.labels.index_dtype, copy=False)


def load(model: str | Path | None = None, *, device: str = "auto", engine: str = "auto") -> Predictor:
    """The predictor of a model.

    Example::

        predictor = sceneparse.load("runs/camvid")
        result = predictor("street.jpg")
        result.overlay().save("overlay.png")

    Args:
        model: run folder, bundle folder, or a name, see :func:`sceneparse.deploy.bundle.find_bundle`; None:
            :data:`~sceneparse.deploy.shipped.DEFAULT_SHIPPED`, which comes with the package.
        device: "auto", "cpu", "cuda" or "cuda:N".
        engine: one of :data:`~sceneparse.prediction.engine.ENGINES`, see there.

    Raises:
        InputError: no model there, damaged files, no such device or engine.
    """
    found = load_engine(shipped_folder() if model is None else model, _device(device), engine)
    return Predictor(found.network, found.bundle, device=device, engine=found.said)


def check_options(tile: str | int, scales: Sequence[float]) -> None:
    """Refuse options of a prediction that have no meaning.

    Raises:
        InputError: names the option.
    """
    if tile != "auto" and not (
        isinstance(tile, int) and not isinstance(tile, bool) and (tile == 0 or tile >= 64)
    ):
        raise InputError(f"tile is {tile!r}", fix='"auto", 0 for never, or a side of at least 64 pixels')
    if not scales or not all(0.1 <= s <= 8 for s in scales):
        raise InputError(f"scales are {scales!r}", fix="one or several factors from 0.1 to 8")


def _device(name: str) -> torch.device:
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if match is None:
        raise InputError(f"unknown device {name!r}", fix="one of: auto, cpu, cuda, cuda:N")
    if name != "cpu" and int(match[1] or 0) >= gpus:
        found = f"{gpus} GPU{'s' * (gpus > 1)}, numbered from 0" if gpus else "no GPU"
        raise InputError(f"device {name!r}: PyTorch sees {found}", fix="use --device auto or --device cpu")
    return torch.device(name)


def _too_large(tile: str | int) -> InputError:
    smaller = max(64, (tile if isinstance(tile, int) and tile else 1024) // 2)
    return InputError(
        "not enough memory to predict this picture", fix=f"use smaller windows: --tile {smaller}"
    )


def _pixels(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return image
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(
        f"a picture is a path, a PIL image or uint8 (H, W, 3) RGB; got {found}",
        fix="PIL.Image.fromarray(array) takes grey, RGBA and 16-bit arrays",
    )
