"""Random views of a training sample: scale, crop, flip and colour; a pure function of (seed, epoch, index).

Neither the number of workers nor stopping and resuming changes what a sample looks like. Image and mask share
every geometric number: both are cut by the same whole-pixel box and resized to the same size, by the rule of
:mod:`sceneparse.data.preprocess`.

Shapes: ``H, W`` rows and columns; images ``(H, W, 3)`` uint8 RGB; masks ``(H, W)`` training indices.
"""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from sceneparse.data.preprocess import nearest_source
from sceneparse.errors import InputError

PADDING_COLOR = (124, 116, 104)
"""RGB outside the picture: ImageNet's mean, about 0 after any normalization."""

MAX_COLOR_CHANGE = 0.5
"""At strength 1 brightness, contrast and saturation are multiplied by 1 - 0.5 .. 1 + 0.5."""

MAX_HUE_DEGREES = 18.0
"""At strength 1 the hue turns by up to this many degrees either way."""

CELL = 32
"""Networks pad images to multiples of it."""

LUMA = (0.299, 0.587, 0.114)

_PIVOT = sum(weight * level for weight, level in zip(LUMA, PADDING_COLOR, strict=True))

_STREAM = b"augment"
"""Keeps these random numbers apart from others of the same seed."""

_FRACTION = 2.0**-12
"""Step of the numbers in colour maps. The products with 0..255 and their sums are then whole multiples of it
below 2**24 and exact in float32: in whatever order a matrix product adds them up, the result is the same."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is drawn at random.

    Args:
        crop: (H, W) of every sample, pixels; larger than the picture is allowed, the rest is padding.
        scale: smallest and largest factor on the picture's size, drawn log-uniformly: under (0.5, 2)
            shrinking is as likely as growing.
        flip: mirror left and right half of the time.
        photometric: strength 0..1 of changes in brightness, contrast, saturation and hue; 0 changes none.
        early: share 0..1 of a run's steps, at its start, that see :meth:`small` views: at first a network
            learns as much from them, and about twice as many go by in the same time. On resume
            with another ``--steps`` it is the share of the new number: with more, a run may go back to small
            views.
        early_size: factor 0..1 on the height and width of small views.

    Raises:
        InputError: a value out of range.
    """

    crop: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    photometric: float = 0.5
    early: float = 0.0
    early_size: float = 0.6

    def __post_init__(self) -> None:
        if len(self.crop) != 2 or any(not isinstance(side, int) or side < 1 for side in self.crop):
            raise InputError(
                f"the crop takes two whole numbers of pixels (height, width), at least 1; got {self.crop}"
            )
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise InputError(f"the scale takes two positive factors, the smaller first; got {self.scale}")
        if not 0 <= self.photometric <= 1:
            raise InputError(f"the photometric strength is between 0 and 1; got {self.photometric}")
        if not 0 <= self.early <= 1:
            raise InputError(f"the share of early steps is between 0 and 1; got {self.early}")
        if not 0 < self.early_size <= 1:
            raise InputError(f"the size of early views is above 0 and up to 1; got {self.early_size}")

    def small(self) -> Augmentation:
        """The early views: crop and scale times ``early_size``, the crop in multiples of 32 pixels.

        No side is longer than the crop's: ``--batch-size auto`` has tried that one.
        """
        crop_h, crop_w = (
            min(side, max(CELL, round(side * self.early_size / CELL) * CELL)) for side in self.crop
        )
        low, high = (factor * self.early_size for factor in self.scale)
        return replace(self, crop=(crop_h, crop_w), scale=(low, high))


def augment(
    image: NDArray[np.uint8],
    mask: NDArray[np.integer],
    augmentation: Augmentation,
    *,
    seed: int,
    epoch: int,
    index: int,
    ignore_index: int,
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """One random view of a sample.

    Args:
        image: uint8 (H, W, 3); neither it nor ``mask`` is changed.
        mask: (H, W) integers of the same height and width.
        augmentation: what may vary.
        seed: of the run, not negative.
        epoch: how many times the sample was seen before.
        index: number of the sample in its data set.
        ignore_index: what the mask holds outside the picture.

    Returns:
        Image uint8 (h, w, 3) and mask (h, w) of the mask's type, ``h, w = augmentation.crop``; both
        contiguous and writable. Outside the picture they hold :data:`PADDING_COLOR` and ``ignore_index``.
    """
    assert image.shape[:2] == mask.shape, (image.shape, mask.shape)
    # A fixed number of draws, each with one use: switching one change off leaves all others as they were.
    u_scale, u_row, u_column, u_flip, *u_color = _uniform(seed, epoch, index)
    low, high = augmentation.scale
    scale = low * (high / low) ** u_scale
    rows, target_rows = _place(mask.shape[0], augmentation.crop[0], scale, u_row)
    columns, target_columns = _place(mask.shape[1], augmentation.crop[1], scale, u_column)
    size_hw = (target_rows.stop - target_rows.start, target_columns.stop - target_columns.start)

    # Only the box that will be seen is read; torch needs the copy, as it takes no read-only memory.
    view = image[rows, columns].copy()
    matrix = _color_matrix(augmentation.photometric, u_color) if augmentation.photometric > 0 else None
    shrinks = view.size > size_hw[0] * size_hw[1] * 3
    if matrix is not None and not shrinks:  # colours change where there are fewer pixels
        view = recolor(view, matrix)
    view = _resize(view, size_hw)
    if matrix is not None and shrinks:
        view = recolor(view, matrix)

    flips = augmentation.flip and u_flip < 0.5
    if flips:
        view = _mirrored(view)
    view_mask = _resized_mask(mask[rows, columns], size_hw, flips)
    if size_hw == augmentation.crop:
        return view, view_mask
    return _padded(view, view_mask, augmentation.crop, (target_rows, target_columns), ignore_index)


def _uniform(seed: int, epoch: int, index: int) -> list[float]:
    """Eight numbers 0 <= u < 1 that depend on nothing else; a hash is ten times as quick as a generator."""
    key = b"%b %d %d %d" % (_STREAM, seed, epoch, index)
    numbers = struct.unpack("<8Q", hashlib.blake2b(key, digest_size=64).digest())
    return [(number >> 11) * 2.0**-53 for number in numbers]


@cache
def _padding_row(width: int) -> NDArray[np.uint8]:
    return np.tile(np.array(PADDING_COLOR, np.uint8), width)


def _place(source: int, crop: int, scale: float, u: float) -> tuple[slice, slice]:
    """Which of ``source`` pixels fill which of ``crop`` pixels along one axis; ``u`` in 0..1 says where.

    The box is of whole source pixels, so the scale is met to within half a source pixel over the crop.
    """
    scaled = max(1, round(source * scale))
    if scaled <= crop:
        start = int(u * (crop - scaled + 1))
        return slice(0, source), slice(start, start + scaled)
    extent = min(source, max(1, round(crop / scale)))
    start = int(u * (source - extent + 1))
    return slice(start, start + extent), slice(0, crop)


def _resize(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """``preprocess.resize_image`` within one grey level, three times as fast: torch's uint8 kernel.

    Its sums are in integers, so the number of threads does not change the result.
    """
    if image.shape[:2] == size_hw:
        return image
    # Not image[None]: its first stride hides from torch that this is channels-last memory.
    pixels = torch.from_numpy(image.reshape(1, *image.shape)).permute(0, 3, 1, 2)
    resized = F.interpolate(pixels, size=size_hw, mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous()[0].numpy()


def _mirrored(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return torch.from_numpy(image).flip(1).numpy()  # numpy copies 3-byte pixels ten times slower


def _resized_mask(mask: NDArray[np.integer], size_hw: tuple[int, int], flips: bool) -> NDArray[np.integer]:
    """``preprocess.resize_mask``, mirrored on the way; always a copy."""
    rows, columns = (nearest_source(*sides) for sides in zip(mask.shape, size_hw, strict=True))
    return mask.take(rows, axis=0).take(columns[::-1] if flips else columns, axis=1, mode="clip")


def _padded(
    view: NDArray[np.uint8],
    view_mask: NDArray[np.integer],
    crop: tuple[int, int],
    place: tuple[slice, slice],
    ignore_index: int,
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Image and mask of the crop's size with the view at its place."""
    height, width = crop
    out, out_mask = np.empty((height, width * 3), np.uint8), np.full(crop, ignore_index, view_mask.dtype)
    out[:] = _padding_row(width)
    out.reshape(height, width, 3)[place] = view
    out_mask[place] = view_mask
    return out.reshape(height, width, 3), out_mask


def _color_matrix(strength: float, u: list[float]) -> NDArray[np.float64]:
    """(3, 4) affine map of RGB 0..255 from four numbers 0..1: brightness, contrast, saturation, hue.

    All four are affine in colour, so one map does them together: hue turns about the grey axis, saturation
    moves towards or away from the luma, contrast from the padding's grey, brightness multiplies.
    """
    brightness, contrast, saturation = (1 + strength * MAX_COLOR_CHANGE * (2 * x - 1) for x in u[:3])
    angle = math.radians(strength * MAX_HUE_DEGREES * (2 * u[3] - 1))
    # Numbers, not arrays: for 3 x 3 numpy takes several times as long.
    equal, across = (1 - math.cos(angle)) / 3, math.sin(angle) / math.sqrt(3)
    same, before, after = math.cos(angle) + equal, equal - across, equal + across
    hue = ((same, before, after), (after, same, before), (before, after, same))
    luma = [
        (1 - saturation) * sum(a * b for a, b in zip(LUMA, column, strict=True))
        for column in zip(*hue, strict=True)
    ]
    gain, offset = brightness * contrast, brightness * (1 - contrast) * _PIVOT
    rows = [[gain * (saturation * a + b) for a, b in zip(row, luma, strict=True)] + [offset] for row in hue]
    return np.array(rows)


def recolor(image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Affine map of colours, rounded and clipped to 0..255.

    Args:
        image: uint8 (H, W, 3).
        matrix: (3, 4), ``rgb' = matrix[:, :3] @ rgb + matrix[:, 3]``; its numbers are rounded to 1/4096.

    Returns:
        uint8 (H, W, 3), contiguous and writable.
    """
    matrix = np.rint(matrix / _FRACTION) * _FRACTION
    assert np.abs(matrix @ (255, 255, 255, 1)).max() < 2**24 * _FRACTION, matrix
    # Four pixels make one row of the product: rows of three numbers keep a processor half idle.
    table, offset = np.zeros((4, 3, 4, 3), np.float32), np.empty((4, 3), np.float32)
    for i in range(4):
        table[i, :, i] = matrix[:, :3].T
    offset[:] = matrix[:, 3] + 0.5  # the cast below cuts off
    rows = np.empty((-(-image.size // 12), 12), np.float32)
    rows[-1] = 0  # it may be longer than what is left of the image
    rows.reshape(-1)[: image.size] = image.reshape(-1)
    product = torch.addmm(*map(torch.from_numpy, (offset.reshape(12), rows, table.reshape(12, 12))))
    return product.clamp_(0, 255).numpy().reshape(-1)[: image.size].astype(np.uint8).reshape(image.shape)
