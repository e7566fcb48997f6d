"""COCO's compressed run lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def run_lengths(text: str | bytes) -> NDArray[np.int64] | None:
    """The numbers in a text of compressed run lengths [maskApi.c, rleFrString].

    A number is a row of characters of 5 bits each, the lowest first, from "0" on; bit 6 says that another
    one follows, and the highest of the 5 bits of the last is the sign. From the fourth on, a number is the
    difference to the last but one.

    pycocotools reads past the end of a text that breaks off, and does not see when pixels are missing.

    Returns:
        pixels outside and inside the shape in turn, not yet checked; None if the text is damaged.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    bits = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if bits.size == 0 or bits.min() < 0 or bits.max() > 63 or bits[-1] & 32:
        return None
    ends = np.flatnonzero(bits & 32 == 0)
    lengths = ends - np.concatenate(([-1], ends[:-1]))
    if lengths.max() > 7:  # more than 32 bits
        return None
    starts = ends - lengths + 1
    place = np.arange(bits.size) - np.repeat(starts, lengths)
    counts = np.add.reduceat((bits & 31) << (5 * place), starts)
    counts -= np.where(bits[ends] & 16, np.int64(1) << (5 * lengths), 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts
