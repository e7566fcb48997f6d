"""Image and mask files to arrays: the one place where a file becomes pixels.

Training, prediction and serving all read through here, so that grey, 16-bit, palette, RGBA, CMYK and
EXIF-rotated files become the same upright RGB everywhere.

H, W: height and width of the upright picture, in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from sceneparse.data.faults import DataError
from sceneparse.data.image_file import (
    digest_of,
    load,
    named_errors,
    opened,
    orientation_of,
    png_has_exif,
    tiff_orientation,
    to_array,
    turned,
)
from sceneparse.errors import InputError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"}
)
"""File name endings, in lower case, that count as pictures when a folder is listed."""

# Formats that keep every number. Out: PPM (Pillow stretches its values), GIF (writers reorder the palette).
_MASK_FORMATS = ("PNG", "TIFF", "BMP")

SPARE = 4 / 3
"""How much larger than its target a JPEG decoded at reduced scale is at least.

Mean difference in grey levels between decoding at reduced scale and at full size, both resized to the target
by Pillow's BILINEAR: over 22 pictures of 4000 x 3000 pixels (mosaics of street scenes, leaves of all sizes,
enlarged photos with texture and noise added), and of the one among them with the finest detail.

========================= ==== ==== ==== ==== ====
larger than the target    1    1.33 1.46 2    4
========================= ==== ==== ==== ==== ====
all                       2.6  1.5  1.2  0.8  0.3
finest                    5.2  3.0  2.4  1.5  0.5
========================= ==== ==== ==== ==== ====

1.46 is 4000 x 3000 pixels at 1/8 for a short side of 256. Decoding takes 98 ms at full size, 40 at 1/2, 35 at
1/4 and 31 at 1/8; resizing what comes out 39, 13, 5 and 2.
"""

_SAVE_AS = "save it again as an 8-bit PNG or JPEG"


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file, decoded.

    Attributes:
        pixels: uint8 (h, w, 3) upright RGB, contiguous and writable: the whole picture, as large as in the
            file or reduced by ``scale``.
        size_hw: height and width of the whole upright picture, pixels.
        scale: 1, 2, 4 or 8. A pixel of ``pixels`` is the mean of ``scale`` x ``scale`` pixels.
        orientation: EXIF orientation that was applied, 1..8.
        digest: (length in bytes, CRC-32 of the first GiB) of the file: equal files have equal digests.
    """

    pixels: NDArray[np.uint8]
    size_hw: tuple[int, int]
    scale: int
    orientation: int
    digest: tuple[int, int]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the picture among ``pixels``, in pixels from their upper left.

        Where ``scale`` does not divide the size, the last pixel of a stored row or column reaches over the
        border; turned by EXIF orientation that can be the first one.
        """
        (height, width), (rows, columns) = self.size_hw, self.pixels.shape[:2]
        top = rows - height / self.scale if self.orientation in (3, 4, 7, 8) else 0.0
        left = columns - width / self.scale if self.orientation in (2, 3, 6, 7) else 0.0
        return left, top, left + width / self.scale, top + height / self.scale


def read_picture(
    path: str | Path,
    *,
    target: Callable[[int, int], tuple[int, int]] | None = None,
    keep_pixels: bool = True,
) -> Picture:
    """Read an image file as upright RGB, at reduced scale where that is enough.

    Every colour mode becomes RGB as in :func:`upright_rgb`; all eight EXIF orientations are applied.
    Of files with several pictures (GIF, TIFF) the first one is read.

    Args:
        path: the file.
        target: from height and width of the upright picture to those it will be resized to. A JPEG is then
            decoded at 1/2, 1/4 or 1/8 of its size if that leaves :data:`SPARE` times the target or more in
            both directions.
        keep_pixels: whether they are wanted; without, it is only made sure that they could be had, and
            ``pixels`` is uint8 (0, 0, 3).

    Raises:
        InputError: the file is missing, not readable, empty, damaged, or not a picture.
    """
    with opened(path) as image:
        digest = digest_of(image)
        width, height = image.size
        scale = 1
        if target is not None and image.format in ("JPEG", "MPO"):
            scale = _reduce(image, target)
        try:
            pixels, orientation, on_its_side = _upright_rgb(image, path, keep_pixels=keep_pixels)
        except InputError:
            if scale == 1:
                raise
            # Lossless JPEG knows no scales; all else fails again, with the error it has at full size.
            return read_picture(path, keep_pixels=keep_pixels)
        if scale == 1:
            width, height = image.size  # loading a TIFF may have turned it
        if on_its_side:
            height, width = width, height
    return Picture(pixels, (height, width), scale, orientation, digest)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """:func:`read_picture` at full size: uint8 (H, W, 3) upright RGB, contiguous and writable."""
    return read_picture(path).pixels


def _reduce(image: Image.Image, target: Callable[[int, int], tuple[int, int]]) -> int:
    """Have a JPEG that is not loaded yet decoded at reduced scale; returns by how much."""
    width, height = image.size
    on_its_side = orientation_of(image) >= 5
    wanted_h, wanted_w = target(width, height)[::-1] if on_its_side else target(height, width)
    for scale in (8, 4, 2):
        if width >= SPARE * scale * wanted_w and height >= SPARE * scale * wanted_h:
            image.draft(None, (width // scale, height // scale))
            return scale
    return 1


def upright_rgb(image: Image.Image, *, path: str | Path | None = None) -> NDArray[np.uint8]:
    """Pixels of a Pillow image as upright RGB, for any mode.

    * 16-bit grey is scaled by 1/257, so that white stays white (Pillow alone clips it at 255).
      16-bit colour arrives from Pillow as its high bytes.
    * Transparent pixels are laid over black: the colour stored under them is arbitrary, and black is
      what aerial and stitched pictures hold where there is nothing.
    * CMYK and YCbCr are converted by Pillow's formulas, without colour profiles.

    Args:
        image: any Pillow image with known range; 32-bit float and CIE Lab are refused.
        path: named in the error.

    Returns:
        uint8 (H, W, 3), contiguous and writable.

    Raises:
        InputError: the mode has no agreed way to RGB, or the pixels cannot be decoded.
    """
    return _upright_rgb(image, path)[0]


def _upright_rgb(
    image: Image.Image, path: str | Path | None, *, keep_pixels: bool = True
) -> tuple[NDArray[np.uint8], int, bool]:
    """:func:`upright_rgb`, the EXIF orientation that was applied, and whether ``image`` itself, once it is
    loaded, is still on its side."""
    with named_errors(path):
        orientation, left_to_apply = load(image)
        if image.mode.startswith("I"):
            pixels = _rgb_of_16_bit(np.asarray(image), path)
        elif image.mode in ("F", "LAB"):
            raise InputError(
                f"image of mode {image.mode}: its values have no agreed way to RGB 0..255",
                where=path,
                fix=_SAVE_AS,
            )
        elif not keep_pixels:
            pixels = np.empty((0, 0, 3), np.uint8)
        elif image.has_transparency_data:
            rgba = image.convert("RGBA")
            pixels = np.array(
                Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
            )
        else:
            pixels = to_array(image if image.mode == "RGB" else image.convert("RGB"))
    return np.ascontiguousarray(turned(pixels, left_to_apply)), orientation, left_to_apply >= 5


def read_mask(path: str | Path) -> NDArray[np.integer]:
    """Read a label mask: the numbers that the file holds, upright.

    Palette files give their indices, never their colours; 1-bit files give 0 and 1; grey stored in equal
    channels (RGB or RGBA, alpha whatever it is) gives that grey. EXIF rotation is applied as to images.

    Returns:
        (H, W) uint8, or uint16 where the file stores 16 bits or more; contiguous and writable.

    Raises:
        InputError: as :func:`read_image`; also for lossy formats, and for colours instead of numbers.
    """
    with _loaded_mask(path) as (image, raw_mode, orientation):
        numbers = _numbers(image, raw_mode, path)
    return np.ascontiguousarray(turned(numbers, orientation))


class MaskPixels(NamedTuple):
    """What a mask file holds where it may hold colours.

    Attributes:
        values: (H, W) uint8 or uint16 numbers, or uint8 (H, W, 3) RGB colours; contiguous.
        shown: uint8 (n, 3): the RGB colour in which number i is shown; None for colours and 16-bit numbers.
        alpha: uint8 (H, W); None without an alpha channel.
        has_palette: whether the file says these colours itself; otherwise they are greys.
    """

    values: NDArray[np.integer]
    shown: NDArray[np.uint8] | None
    alpha: NDArray[np.uint8] | None
    has_palette: bool


def read_mask_pixels(path: str | Path) -> MaskPixels:
    """Read a label mask of colours or numbers: :func:`read_mask`, but RGB and RGBA files give their colours.

    Raises:
        InputError: as :func:`read_mask`, but for colours.
    """
    with _loaded_mask(path) as (image, raw_mode, orientation):
        values: NDArray[np.integer]
        if image.mode in ("RGB", "RGBA") and ";16" not in raw_mode:
            values, shown = np.asarray(image)[:, :, :3], None
        else:
            values, shown = _numbers(image, raw_mode, path), _shown(image, raw_mode)
        alpha = turned(np.asarray(image.getchannel("A")), orientation) if image.mode[-1] == "A" else None
    values = np.ascontiguousarray(turned(values, orientation))
    return MaskPixels(values, shown, alpha, has_palette=image.mode in ("P", "PA"))


@contextmanager
def _loaded_mask(path: str | Path) -> Iterator[tuple[Image.Image, str, int]]:
    """A decoded mask that is not lossy, its raw mode, and the EXIF orientation left to apply."""
    with opened(path) as image:
        if image.format not in _MASK_FORMATS or "jpeg" in str(image.info.get("compression", "")):
            raise DataError(
                f"mask in the {image.format} format, which does not keep values exactly: "
                "its class numbers cannot be trusted",
                kind="lossy",
                where=path,
                fix="export the masks again as PNG from the labelling tool (converting does not repair them)",
            )
        raw_mode = _raw_mode(image)
        _, left_to_apply = load(image)
        yield image, raw_mode, left_to_apply


def image_size(path: str | Path) -> tuple[int, int]:
    """(H, W) of the upright picture, in pixels, from the file's header only.

    Raises:
        InputError: as :func:`read_image`, except that damage behind the header is not seen.
    """
    with opened(path, whole=False) as image:
        if isinstance(image, TiffImageFile):  # its .size is upright or not, depending on Pillow's version
            width, height = image.tag_v2[256], image.tag_v2[257]
            orientation = tiff_orientation(image)
        else:
            width, height = image.size
            # Pillow decodes a whole PNG to look for EXIF data behind the pixels; stepping over is quicker.
            plain = image.format == "PNG" and "exif" not in image.info and not png_has_exif(path)
            orientation = 1 if plain else orientation_of(image)
    return (width, height) if orientation >= 5 else (height, width)


def _rgb_of_16_bit(grey: NDArray[Any], path: str | Path | None) -> NDArray[np.uint8]:
    lowest, highest = int(grey.min()), int(grey.max())
    if lowest < 0 or highest > 65535:
        raise InputError(
            f"32-bit integer image with values {lowest}..{highest}; expected 0..65535",
            where=path,
            fix=_SAVE_AS,
        )
    return np.repeat(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)


def _raw_mode(image: Image.Image) -> str:
    """How the numbers lie in the file, such as ``L;4`` or ``RGB;16B``: known before loading only."""
    tiles = getattr(image, "tile", None)
    args = tiles[0][3] if tiles else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _highest_grey(image: Image.Image, raw_mode: str) -> int:
    """The number of white in a loaded grey mask of up to 8 bits."""
    return 1 if image.mode == "1" else {"L;2": 3, "L;4": 15}.get(raw_mode[:3], 255)


def _white_is_zero(raw_mode: str) -> bool:
    return raw_mode.endswith(("I", "IR"))


def _shown(image: Image.Image, raw_mode: str) -> NDArray[np.uint8] | None:
    """The colour in which each number of a loaded mask is shown; None for 16 bits."""
    if image.mode in ("P", "PA"):
        return np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if image.mode not in ("1", "L", "LA"):
        return None
    greys = np.linspace(0, 255, _highest_grey(image, raw_mode) + 1).astype(np.uint8)
    return np.repeat(greys[:: -1 if _white_is_zero(raw_mode) else 1, None], 3, axis=1)


def _numbers(image: Image.Image, raw_mode: str, path: str | Path) -> NDArray[np.integer]:
    """Stored (h, w) numbers of a loaded mask."""
    mode = image.mode
    if mode == "P":
        return to_array(image)
    if mode in ("1", "L"):
        # Pillow stretches 2- and 4-bit grey to 0..255 and inverts TIFFs whose white is 0; undo both.
        highest = _highest_grey(image, raw_mode)
        grey = to_array(image).astype(np.uint8, copy=False)
        if mode == "L":
            grey //= np.uint8(255 // highest)
        return np.uint8(highest) - grey if _white_is_zero(raw_mode) else grey
    if mode.startswith("I"):
        numbers = np.asarray(image)
        if numbers.min() < 0 or numbers.max() > 65535:
            raise InputError(
                f"mask with values {numbers.min()}..{numbers.max()}; expected class numbers 0..65535",
                where=path,
                fix="number the classes from 0 and export the masks again",
            )
        return numbers.astype(np.uint16)
    if ";16" in raw_mode:
        raise InputError(
            f"mask with {len(mode)} channels of 16 bits, of which only the high bytes can be read",
            where=path,
            fix="export it with one channel (8- or 16-bit grey PNG)",
        )
    if mode in ("LA", "PA"):
        return np.array(image)[:, :, 0]
    if mode in ("RGB", "RGBA"):
        channels = np.asarray(image)
        if (channels[:, :, 0] == channels[:, :, 1]).all() and (channels[:, :, 0] == channels[:, :, 2]).all():
            return channels[:, :, 0].copy()
        different = int((channels[:, :, :3].min(2) != channels[:, :, :3].max(2)).sum())
        raise DataError(
            f"mask with colours instead of class numbers ({different} coloured pixels), "
            "and nothing says which colour is which class",
            kind="colors",
            where=path,
            fix="put the labelling tool's class file (labelmap.txt or class_dict.csv) beside the masks, or "
            "write the colours in dataset.yaml: classes: [{name: road, color: [128, 64, 128]}, ...]",
        )
    raise InputError(
        f"mask of mode {mode}: it holds no class numbers",
        where=path,
        fix="export it as an 8- or 16-bit grey PNG",
    )
