"""From a decoded picture to the network's input, deterministically: train, evaluate, predict and export.

Geometry: pixel ``i`` of ``n`` covers ``[i, i + 1)``, its centre is ``i + 0.5``; a resize maps ``[0, n)``
onto ``[0, m)``. Images and masks follow the same rule, so an edge stays where it is in both
(``F.interpolate(align_corners=False)`` is the same geometry).

Shapes: ``H, W`` rows and columns; images ``(H, W, 3)`` uint8 RGB; masks ``(H, W)`` integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sceneparse.data.decode import Picture
from sceneparse.errors import InputError, nearest

MODES = ("short-side", "long-side", "squash", "none")

MAX_ASPECT = 16
"""Under "short-side" the long side becomes at most this many times ``size``: without a bound a strip of
20,000 x 1 pixels would grow to 5,120,000 x 256."""


@dataclass(frozen=True, kw_only=True)
class ResizePolicy:
    """How a picture is brought to the size the network sees.

    Args:
        mode: ``"short-side"`` keeps the aspect ratio, the short side becomes ``size`` pixels;
            ``"long-side"`` likewise the long side;
            ``"squash"`` makes every picture ``size = (H, W)`` whatever its aspect (the tutorial's square);
            ``"none"`` leaves every picture at its own size.
        size: pixels; an int for "short-side" and "long-side", (H, W) for "squash", None for "none".

    Raises:
        InputError: unknown mode, or a size that does not suit the mode.
    """

    mode: str = "none"
    size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(
                f"unknown resize mode {self.mode!r}.{nearest(str(self.mode), MODES)}",
                fix=f"one of: {', '.join(MODES)}",
            )
        if self.mode in ("short-side", "long-side"):
            good, wanted = _is_pixels(self.size), "one whole number of pixels, at least 1"
        elif self.mode == "squash":
            good = isinstance(self.size, tuple) and len(self.size) == 2 and all(map(_is_pixels, self.size))
            wanted = "two whole numbers of pixels (height, width), each at least 1"
        else:
            good, wanted = self.size is None, "no size"
        if not good:
            raise InputError(f"resize mode {self.mode!r} takes {wanted}; got {self.size!r}")

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) that a picture of ``height`` x ``width`` pixels, each at least 1, is resized to.

        Under "short-side" the long side is rounded to the nearest pixel, half up. Pictures longer than
        :data:`MAX_ASPECT` to 1 get a long side of ``MAX_ASPECT * size`` instead, and a shorter short side.
        """
        assert min(height, width) >= 1, (height, width)
        if isinstance(self.size, tuple):
            return self.size
        if self.size is None:
            return height, width
        short, long = min(height, width), max(height, width)
        if self.mode == "long-side":
            new_short, new_long = max(1, _round_half_up(short * self.size, long)), self.size
        elif long <= MAX_ASPECT * short:
            new_short, new_long = self.size, _round_half_up(long * self.size, short)
        else:
            new_long = MAX_ASPECT * self.size
            new_short = max(1, _round_half_up(short * new_long, long))
        return (new_short, new_long) if height <= width else (new_long, new_short)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and YAML; :meth:`from_dict` reads them back."""
        return {"mode": self.mode, "size": list(self.size) if isinstance(self.size, tuple) else self.size}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ResizePolicy:
        """Inverse of :meth:`to_dict`.

        Raises:
            InputError: an unknown key, or values the constructor refuses.
        """
        known = ("mode", "size")
        for key in values:
            if key not in known:
                raise InputError(
                    f"unknown resize setting {key!r}.{nearest(str(key), known)}",
                    fix=f"one of: {', '.join(known)}",
                )
        size = values.get("size")
        return cls(
            mode=values.get("mode", "none"), size=tuple(size) if isinstance(size, (list, tuple)) else size
        )


def _is_pixels(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _round_half_up(numerator: int, denominator: int) -> int:
    # In integers: the size must not depend on floating-point rounding, caches and bundles are compared by it.
    return (2 * numerator + denominator) // (2 * denominator)


def resize_image(
    image: NDArray[np.uint8],
    size_hw: tuple[int, int],
    *,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Resize a picture, antialiased when it shrinks.

    Pillow's BILINEAR: a triangle filter as wide as the shrinking factor, so every source pixel counts; plain
    bilinear when growing. The same as ``F.interpolate(mode="bilinear", antialias=True)`` but for rounding.

    Args:
        image: uint8 (H, W, 3).
        size_hw: height and width of the result, pixels.
        box: left, top, right and bottom of the part to resize, pixels, fractions allowed; None for all. At
            its border the filter also sees what lies around it.

    Returns:
        uint8 (H', W', 3), contiguous; ``image`` itself where the size is already right.
    """
    height, width = size_hw
    if image.shape[:2] == size_hw and box in (None, (0, 0, width, height)):
        return image
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, box=box))


def nearest_source(source: int, target: int) -> NDArray[np.intp]:
    """For each of ``target`` pixels the one of ``source`` pixels that its centre falls in.

    ``floor((i + 0.5) * source / target)``, in integers and hence exact; a centre on the edge between two
    pixels goes to the second.
    """
    return (2 * np.arange(target, dtype=np.int64) + 1) * source // (2 * target)


def resize_mask(mask: NDArray[np.integer], size_hw: tuple[int, int]) -> NDArray[np.integer]:
    """Resize a mask by the nearest pixel; never makes a value that was not there.

    Args:
        mask: (H, W), any integer type.
        size_hw: height and width of the result, pixels.

    Returns:
        (H', W') of the same type; ``mask`` itself where the size is already right.
    """
    if mask.shape == size_hw:
        return mask
    rows, columns = nearest_source(mask.shape[0], size_hw[0]), nearest_source(mask.shape[1], size_hw[1])
    return mask.take(rows, axis=0).take(columns, axis=1)


def prepare_image(image: NDArray[np.uint8], policy: ResizePolicy) -> NDArray[np.uint8]:
    """A picture uint8 (H, W, 3) at the size ``policy`` gives it."""
    return resize_image(image, policy.target_size(*image.shape[:2]))


def prepare_picture(picture: Picture, policy: ResizePolicy) -> NDArray[np.uint8]:
    """A decoded file as uint8 (H, W, 3) at the size ``policy`` gives it.

    Training, evaluation and prediction all read with ``read_picture(path, target=policy.target_size)`` and
    come this way, so that they see the same pixels.
    """
    return resize_image(picture.pixels, policy.target_size(*picture.size_hw), box=picture.box)
