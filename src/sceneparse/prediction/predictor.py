"""Predictor: a picture in, a Segmentation in the data set's own numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sceneparse.data.decode import read_image, upright_rgb
from sceneparse.data.preprocess import ResizePolicy, prepare_image, resize_mask, to_tensor
from sceneparse.deploy.bundle import Bundle, load_model
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet
from sceneparse.models import FCN
from sceneparse.models.upsample import upsampled_argmax
from sceneparse.prediction.inference import averaged_logits, normalized
from sceneparse.prediction.segmentation import Segmentation
from sceneparse.prediction.tiling import spans, tile_side

Picture = str | Path | Image.Image | NDArray[np.uint8]


class Predictor:
    """A network with everything it needs to parse a picture.

    Args:
        model: (B, 3, H, W) normalized to (B, K, H, W) logits.
        bundle: classes and preprocessing.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        InputError: a GPU is asked for and there is none.
    """

    def __init__(self, model: FCN, bundle: Bundle, *, device: str = "auto") -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise InputError(f"device {device!r}: PyTorch sees no GPU", fix="use --device cpu")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(device)
        except RuntimeError:
            raise InputError(f"unknown device {device!r}", fix="one of: auto, cpu, cuda, cuda:N") from None
        self.bundle = bundle
        self.model = model.eval().to(self.device, memory_format=torch.channels_last)

    @property
    def labels(self) -> LabelSet:
        """Classes, palette and numbers."""
        return self.bundle.labels

    @property
    def resize(self) -> ResizePolicy:
        """How pictures are brought to the network's size."""
        return self.bundle.resize

    def __call__(
        self,
        image: Picture,
        *,
        tile: str | int = "auto",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> Segmentation:
        """Parse one picture.

        Args:
            image: path, PIL image, or uint8 (H, W, 3) RGB; any size from 1x1 up.
            tile: side in pixels of overlapping windows for pictures larger than that, "auto" to use them
                where memory needs it, 0 for never.
            scales: sizes of the picture whose probabilities are averaged.
            flip: average also over the mirrored picture.

        Returns:
            Labels in the data set's own numbers at the picture's own size.

        Raises:
            InputError: the picture cannot be read, or a wrong option.
        """
        pixels = _pixels(image)
        index = self.predict_index(pixels, tile=tile, scales=scales, flip=flip)
        return Segmentation(labels=self.labels.to_file(index), label_set=self.labels, image=pixels)

    @torch.no_grad()
    def predict_index(
        self,
        image: NDArray[np.uint8],
        *,
        size_hw: tuple[int, int] | None = None,
        tile: str | int = "auto",
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
    ) -> NDArray[np.integer]:
        """Training indices (H, W) of a picture uint8 (H, W, 3), by default at the picture's own size."""
        check_options(tile, scales)
        size_hw = size_hw or (image.shape[0], image.shape[1])
        small = prepare_image(image, self.resize)
        tensor = to_tensor(np.ascontiguousarray(small))[None]
        side = tile_side((small.shape[0], small.shape[1]), self.labels.num_classes, tile)
        if side is None:
            labels = self._labels(tensor, size_hw, scales, flip)[0].cpu().numpy()
            return labels.astype(self.labels.index_dtype, copy=False)
        whole = np.empty(small.shape[:2], self.labels.index_dtype)
        for rows, kept_rows in spans(small.shape[0], side):
            for columns, kept_columns in spans(small.shape[1], side):
                window = tensor[:, :, rows, columns]
                labels = (
                    self._labels(window, (window.shape[2], window.shape[3]), scales, flip)[0].cpu().numpy()
                )
                inner = labels[
                    kept_rows.start - rows.start : kept_rows.stop - rows.start,
                    kept_columns.start - columns.start : kept_columns.stop - columns.start,
                ]
                whole[kept_rows, kept_columns] = inner
        return resize_mask(whole, size_hw)

    def _labels(
        self, images: Tensor, size_hw: tuple[int, int], scales: Sequence[float], flip: bool
    ) -> Tensor:
        pixels = normalized(images, self.bundle.normalization, self.device)
        return upsampled_argmax(averaged_logits(self.model, pixels, scales, flip), size_hw)


def load(model: str | Path, *, device: str = "auto") -> Predictor:
    """The predictor of a run folder or a bundle folder.

    Example::

        predictor = sceneparse.load("runs/camvid")
        result = predictor("street.jpg")
        result.overlay().save("overlay.png")

    Raises:
        InputError: no model there, damaged files, or no such device.
    """
    network, bundle = load_model(model)
    return Predictor(network, bundle, device=device)


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


def _pixels(image: Picture) -> NDArray[np.uint8]:
    if isinstance(image, (str, Path)):
        return read_image(Path(image))
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
    raise InputError(f"a picture is a path, a PIL image or uint8 (H, W, 3) RGB; got {found}")
