"""Legends: which classes are in a picture, how much of it, and in which colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sceneparse.labels import MAX_FILE_NUMBER, Color, LabelSet

IGNORED = "ignored"
LEGEND_CLASSES = 12
"""Classes named in a legend; the others are summed up in a last line."""

INK: Color = (28, 30, 36)
MUTED: Color = (112, 118, 130)
PAPER: Color = (255, 255, 255)
_HATCH = np.array([(232, 232, 236), (168, 168, 176)], np.uint8)


def number_counts(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """(65536,) int64: how many pixels of ``labels`` (H, W) hold each file number."""
    counts = np.zeros(MAX_FILE_NUMBER + 1, np.int64)
    band = max(
        1, (1 << 22) // max(1, labels.shape[1])
    )  # bincount widens to int64: 8 times the memory of the whole
    for top in range(0, labels.shape[0], band):
        counts += np.bincount(labels[top : top + band].reshape(-1), minlength=MAX_FILE_NUMBER + 1)
    return counts


def hatch(height: int, width: int, period: int = 8) -> NDArray[np.uint8]:
    """Diagonal stripes in two greys, uint8 (height, width, 3)."""
    diagonal = np.add.outer(np.arange(height), np.arange(width)) % period
    return _HATCH[(diagonal < period // 3).astype(np.intp)]


@dataclass(frozen=True, kw_only=True)
class LegendEntry:
    """A line of a legend: ``color`` None is the hatching, "" the line that sums up what is not named."""

    name: str
    color: Color | str | None
    share: str


def legend_entries(
    labels: Sequence[NDArray[np.integer]],
    label_set: LabelSet,
    *,
    others: Sequence[NDArray[np.integer]] = (),
    limit: int = LEGEND_CLASSES,
) -> list[LegendEntry]:
    """Classes present, largest first, at most ``limit``; then a line for the rest and one for ignored pixels.

    Args:
        labels: file numbers, each (H, W); shares are fractions of all their pixels.
        label_set: names and colours.
        others: a second group, whose shares stand beside those of the first: "31.2 / 30.8 %".
        limit: classes named.
    """
    counts = [
        sum(map(number_counts, group), np.zeros(MAX_FILE_NUMBER + 1, np.int64)) for group in (labels, others)
    ]
    shares = np.stack([count / count.sum() for count in counts if count.any()])
    numbers = np.array(label_set.file_numbers)
    of_class = shares[:, numbers]
    order = [i for i in np.argsort(-of_class.max(0), kind="stable") if of_class[:, i].any()]
    entries = [
        LegendEntry(name=label_set.names[i], color=label_set.palette[i], share=_shares_text(of_class[:, i]))
        for i in order[:limit]
    ]
    rest = order[limit:]
    if rest:
        share = _shares_text(of_class[:, rest].sum(1))
        entries.append(LegendEntry(name=f"{len(rest)} more", color="", share=share))
    ignored = 1 - of_class.sum(1)
    if (ignored > 1e-9).any():
        entries.append(LegendEntry(name=IGNORED, color=None, share=_shares_text(ignored)))
    return entries


def _shares_text(shares: NDArray[np.float64]) -> str:
    def one(share: float) -> str:
        return "0" if share < 1e-9 else "<0.1" if share < 0.0005 else f"{100 * share:.1f}"

    return " / ".join(one(float(share)) for share in shares) + " %"


def draw_legend(
    entries: Sequence[LegendEntry],
    text: int,
    *,
    width: int | None = None,
    columns: int | None = None,
    note: str = "",
) -> Image.Image:
    """Entries down as many columns as fit in ``width``, or as given; long names end in an ellipsis."""
    letters, pad = font(text), text
    swatch, line = round(1.1 * text), round(1.75 * text)
    shares = max((math.ceil(letters.getlength(entry.share)) for entry in entries), default=0)
    names = max((math.ceil(letters.getlength(entry.name)) for entry in entries), default=0)
    names = min(names, 18 * text)
    if width is not None:
        names = max(min(names, width - swatch - shares - 4 * pad), text)
        columns = max(1, min(len(entries), (width - pad) // (swatch + names + shares + 3 * pad)))
    assert columns
    cell = swatch + names + shares + 3 * pad
    rows = math.ceil(len(entries) / columns)
    height = 2 * pad + line * (rows + bool(note))
    legend = Image.new("RGB", (width or columns * cell + pad, height), PAPER)
    draw = ImageDraw.Draw(legend)
    for position, entry in enumerate(entries):
        x, y = pad + position // rows * cell, pad + position % rows * line
        if entry.color is None:
            legend.paste(Image.fromarray(hatch(swatch, swatch, 6)), (x, y))
        if entry.color != "":
            fill = entry.color if isinstance(entry.color, tuple) else None
            draw.rectangle((x, y, x + swatch, y + swatch), fill, outline=MUTED)
        middle = y + swatch // 2 + 1
        draw.text(
            (x + swatch + pad // 2, middle), _shortened(entry.name, letters, names), INK, letters, anchor="lm"
        )
        draw.text((x + swatch + pad + names + shares, middle), entry.share, MUTED, letters, anchor="rm")
    if note:
        draw.text((pad, height - line - pad // 2), note, MUTED, letters)
    return legend


def _shortened(name: str, letters: ImageFont.FreeTypeFont, width: int) -> str:
    if letters.getlength(name) <= width:
        return name
    while name and letters.getlength(name + "…") > width:
        name = name[:-1]
    return name.rstrip() + "…"


def text_size(side: int) -> int:
    """Size of the letters in pixels, for a picture of this long side."""
    return min(max(side // 70, 13), 22)


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of a size in pixels."""
    # matplotlib brings DejaVu, which covers Latin, Greek and Cyrillic; found without importing matplotlib.
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)
