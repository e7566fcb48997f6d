"""Image files through Pillow: opened, decoded, turned upright; every failure is an error that names the file.

What becomes of the pixels: :mod:`sceneparse.data.decode`.
"""

from __future__ import annotations

import importlib
import io
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from sceneparse.data.faults import DataError
from sceneparse.errors import InputError

# Named, so that no file, whatever it is called, starts one of Pillow's exotic readers (EPS runs Ghostscript).
_FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000", "AVIF")

MAX_PIXELS = 2**30
"""Largest picture read (32768 x 32768): beyond it a damaged header would ask for tens of gigabytes."""

_BAND = 2**19  # pixels
_CHUNK = 2**20
_WHOLE = 2**26  # bytes up to which a file is read at once: decoding from memory takes 4 % less time
_DIGESTED = 2**30  # a file can be made to look endless
_ORIENTATION = 0x0112
# Where Pillow finds an orientation. Asking it only where there is one saves taking turns.
_ORIENTED = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})
_GET_AGAIN = "copy or download it again, or remove it"
# What a file without a picture in it often is, by its first bytes.
_KNOWN_STRANGERS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for", "run: git lfs pull"),
    (b"<", "a web page or XML, not a picture", "download the picture again"),
    (b"\0\0\0", "perhaps HEIC or a video: neither is read", "convert it to JPEG or PNG"),
)

# Pillow's size limit and Python's warning filters belong to the whole process: threads take turns.
_pillow_globals = threading.Lock()


@contextmanager
def _pillow_unlimited_and_quiet() -> Iterator[None]:
    """Own size limit instead of Pillow's, and no warnings about metadata nobody asked for."""
    with _pillow_globals, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@cache
def _formats() -> tuple[str, ...]:
    """Those of the formats that this Pillow was built with (AVIF came late); no other readers are loaded."""
    Image.preinit()
    for name in ("Mpo", "Tiff", "WebP", "Jpeg2K", "Avif"):
        with suppress(ImportError):
            importlib.import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def opened(path: str | Path, *, whole: bool = True) -> Iterator[ImageFile]:
    """A Pillow image with its header read; whatever goes wrong is an InputError that names the file.

    ``whole``: the rest of the file is going to be read, too.
    """
    try:
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size:  # opening a pipe would wait for ever
            file: IO[bytes] = open(path, "rb")  # noqa: SIM115  (closed below; its errors are told apart here)
            if whole and status.st_size <= _WHOLE:
                with file:
                    file = io.BytesIO(file.read(_WHOLE))
    except FileNotFoundError:
        raise InputError("the file does not exist", where=path, fix="check the path") from None
    except PermissionError:
        raise InputError(
            "no permission to read the file", where=path, fix="give yourself read permission"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"the file cannot be read: {error}", where=path, fix="check the path and the disk"
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError("a folder where an image file was expected", where=path, fix="name a file in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("not a regular file", where=path, fix="name an image file")
    if status.st_size == 0:
        raise DataError("the file is empty (0 bytes)", kind="empty-file", where=path, fix=_GET_AGAIN)
    with file, named_errors(path):
        with _pillow_unlimited_and_quiet():
            try:
                image = Image.open(file, formats=_formats())
            except UnidentifiedImageError:
                raise _not_an_image(file, path) from None
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{width} x {height} pixels; at most {MAX_PIXELS} can be read",
                where=path,
                fix="cut it into tiles",
            )
        yield image


@contextmanager
def named_errors(path: str | Path | None) -> Iterator[None]:
    """Pillow raises anything at all on damaged files (OSError, SyntaxError, struct.error, ...)."""
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError("not enough memory to decode the image", where=path, fix="make it smaller") from None
    except Exception as error:
        raise InputError(
            f"the image is damaged or cut off and cannot be decoded ({error})",
            where=path,
            fix=_GET_AGAIN,
        ) from error


def _not_an_image(file: IO[bytes], path: str | Path) -> InputError:
    file.seek(0)
    head = file.read(32)
    for start, what, fix in _KNOWN_STRANGERS:
        if head.startswith(start):
            return InputError(f"not an image: {what}", where=path, fix=fix)
    return InputError(
        "not an image, or one damaged at its beginning",
        where=path,
        fix=f"expected one of: {', '.join(_formats())}; copy it again or remove it",
    )


def load(image: Image.Image) -> tuple[int, int]:
    """Decode the pixels; returns the EXIF orientation of the file, and the one that is left to apply."""
    if isinstance(image, TiffImageFile):
        orientation = tiff_orientation(image)
        with _pillow_unlimited_and_quiet():  # reads its metadata again while loading, and may warn about it
            image.load()
        return orientation, orientation_of(image)  # Pillow has turned it, and says 1
    image.load()
    plain = isinstance(image, (PngImageFile, JpegImageFile)) and _ORIENTED.isdisjoint(image.info)
    orientation = 1 if plain else orientation_of(image)
    return orientation, orientation


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where the picture has none, or none that makes sense."""
    with _pillow_unlimited_and_quiet():
        try:
            value = image.getexif().get(_ORIENTATION, 1)
        except Exception:  # damaged metadata around sound pixels: taken as upright, as every viewer does
            return 1
    return _sensible(value)


def tiff_orientation(image: TiffImageFile) -> int:
    """Of a TIFF before it is loaded: afterwards Pillow has turned it and forgotten."""
    return _sensible(image.tag_v2.get(_ORIENTATION, 1))


def _sensible(orientation: object) -> int:
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored (H, W, ...) to upright, by EXIF orientation [EXIF 2.3, tag 0x0112]."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def digest_of(image: ImageFile) -> tuple[int, int]:
    """Length and CRC-32 of a file just opened."""
    file = image.fp
    assert file is not None
    if isinstance(file, io.BytesIO):
        with file.getbuffer() as data:
            return len(data), zlib.crc32(data)
    position, checksum = file.tell(), 0
    file.seek(0)
    for _ in range(_DIGESTED // _CHUNK):
        if not (chunk := file.read(_CHUNK)):
            break
        checksum = zlib.crc32(chunk, checksum)
    length = file.seek(0, os.SEEK_END)
    file.seek(position)
    return length, checksum


def to_array(image: Image.Image) -> NDArray[Any]:
    """``np.array(image)``; of large images in bands, which takes a third of the time."""
    width, height = image.size
    rows = max(1, _BAND // width)
    if rows >= height:
        return np.array(image)
    first = np.asarray(image.crop((0, 0, width, 1)))
    pixels = np.empty((height, *first.shape[1:]), first.dtype)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels


def png_has_exif(path: str | Path) -> bool:
    """Whether a PNG holds EXIF data (of its own or in a text chunk) anywhere, stepping over the pixels."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            start = file.read(min(length, 24))
            if kind == b"eXIf" or start.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp")):
                return True
            file.seek(length - len(start) + 4, os.SEEK_CUR)
    return False


def mode_of(path: str | Path) -> str | None:
    """Pillow's mode of a picture, by the file's header; None for a file that cannot be read."""
    try:
        with opened(path, whole=False) as image:
            return image.mode
    except InputError:
        return None
