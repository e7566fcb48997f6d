"""The file format of the pixel cache: images and masks of any sizes, read through a memory map.

Layout, little-endian::

    preamble   64 bytes: magic, version, offset and sizes of the trailer, size of the file, checksums
    data       image and mask of sample 0, of sample 1, ...; each starts at a multiple of 64
    trailer    index (one RECORD a sample), then a JSON header in UTF-8

The data is written as it comes, the preamble last: a file cut short at any point has no valid preamble.
Nothing in it is code, so that reading a foreign file can do no harm.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"scnpixel"
VERSION = 1
_PREAMBLE = struct.Struct("<8sIIQQQQII")  # ..., checksum of the trailer, checksum of the preamble before it
_PREAMBLE_SIZE = 64
_ALIGNMENT = 64

RECORD = np.dtype(
    [
        ("image_offset", "<u8"),
        ("mask_offset", "<u8"),
        ("image_size", "<u4", (2,)),  # H, W
        ("mask_size", "<u4", (2,)),
        ("image_crc", "<u4"),
        ("mask_crc", "<u4"),
    ]
)


class DamagedFileError(Exception):
    """Not a whole pixel file of this version; says why. Never reaches the user: the cache is built anew."""


class PixelFileWriter:
    """Writes samples one after the other; the file is valid only after :meth:`finish`.

    Raises:
        OSError: from every method, when the disk is full or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = open(path, "xb")  # noqa: SIM115  (closed by close)
        self._records: list[tuple[Any, ...]] = []
        self._file.write(bytes(_PREAMBLE_SIZE))
        self._position = _PREAMBLE_SIZE

    def append(self, image: NDArray[np.uint8], mask: NDArray[np.integer]) -> str:
        """Add a sample: image uint8 (H, W, 3), mask (h, w) of the dtype in the header.

        Returns:
            sizes and checksums of both, in words.
        """
        image, mask = np.ascontiguousarray(image), np.ascontiguousarray(mask)
        image_offset, mask_offset = self._write(image.data), self._write(mask.data)
        facts = (image.shape[:2], mask.shape, zlib.crc32(image.data), zlib.crc32(mask.data))
        self._records.append((image_offset, mask_offset, *facts))
        return str(facts)

    def finish(self, header: dict[str, Any]) -> None:
        """Write trailer and preamble, and wait until all of it is on the disk.

        Args:
            header: values for JSON; "mask_dtype" is the numpy name of the masks' type.
        """
        index = np.array(self._records, RECORD).tobytes()
        text = json.dumps(header, ensure_ascii=False).encode()
        trailer_offset = self._write(index + text)
        checked = zlib.crc32(index + text)
        fields = (MAGIC, VERSION, 0, trailer_offset, len(index), len(text), self._position, checked)
        preamble = _PREAMBLE.pack(*fields, 0)[:-4]
        self._file.seek(0)
        self._file.write(preamble + struct.pack("<I", zlib.crc32(preamble)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Give the file up; harmless after :meth:`finish`."""
        with contextlib.suppress(OSError):  # flushing onto a full disk: the file is about to be removed
            self._file.close()

    def _write(self, data: bytes | memoryview) -> int:
        padding = -self._position % _ALIGNMENT
        self._file.write(bytes(padding))
        self._file.write(data)
        offset = self._position + padding
        self._position = offset + (data.nbytes if isinstance(data, memoryview) else len(data))
        return offset


class PixelFile:
    """A valid pixel file, memory-mapped: the pixels are read from the disk when they are looked at.

    Attributes:
        header: the JSON header.
        index: (N,) of :data:`RECORD`.

    Raises:
        DamagedFileError: not such a file, another version, cut short, or damaged in preamble or trailer.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            preamble = file.read(_PREAMBLE.size)
            if len(preamble) < _PREAMBLE.size or not preamble.startswith(MAGIC):
                raise DamagedFileError("not a pixel cache")
            *fields, checksum = _PREAMBLE.unpack(preamble)
            _, version, _, trailer_offset, index_length, text_length, expected_size, trailer_checksum = fields
            if checksum != zlib.crc32(preamble[:-4]):
                raise DamagedFileError("damaged preamble")
            if version != VERSION:
                raise DamagedFileError(f"version {version}, not {VERSION}")
            if size != expected_size:
                raise DamagedFileError(f"{size} bytes instead of {expected_size}")
            file.seek(trailer_offset)
            trailer = file.read(index_length + text_length)
            if zlib.crc32(trailer) != trailer_checksum:
                raise DamagedFileError("damaged trailer")
            self.index = np.frombuffer(trailer[:index_length], RECORD)
            self.header: dict[str, Any] = json.loads(trailer[index_length:])
            self._data = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        self._records = (
            self.index.tolist()
        )  # plain numbers: indexing a structured array costs 20 times as much
        self._mask_dtype = np.dtype(self.header["mask_dtype"])
        self._checked = bytearray(len(self.index))

    def __len__(self) -> int:
        return len(self._checked)

    def sample(self, i: int) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
        """Image (H, W, 3) and mask (h, w) of sample ``i``: read-only views; checksummed when first read.

        Raises:
            DamagedFileError: the pixels are not those that were written.
        """
        image_offset, mask_offset, (height, width), (mask_height, mask_width), *checksums = self._records[i]
        image = self._data[image_offset : image_offset + height * width * 3]
        mask = self._data[mask_offset : mask_offset + mask_height * mask_width * self._mask_dtype.itemsize]
        if not self._checked[i]:
            if [zlib.crc32(image.data), zlib.crc32(mask.data)] != list(checksums):
                raise DamagedFileError(f"damaged pixels of sample {i}")
            self._checked[i] = 1
        return image.reshape(height, width, 3), mask.view(self._mask_dtype).reshape(mask_height, mask_width)

    def verify(self) -> None:
        """Read and check every sample.

        Raises:
            DamagedFileError: as :meth:`sample`.
        """
        for i in range(len(self)):
            self.sample(i)


def spoil(path: Path) -> None:
    """Make a damaged file invalid for all who open it from now on (Windows cannot remove a mapped file)."""
    with contextlib.suppress(OSError), open(path, "r+b") as file:
        file.write(b"damaged!")
