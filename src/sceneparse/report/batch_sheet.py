"""A training batch as the network sees it: each augmented image over the same image under its labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sceneparse.labels import LabelSet
from sceneparse.prediction.legend import INK, MUTED, PAPER, draw_legend, font, legend_entries
from sceneparse.prediction.render import blend

SAMPLES = 8
"""At most so many of the batch are shown."""

_COLUMNS = 4
_TEXT = 14
_GAP = 10


def batch_sheet(
    images: NDArray[np.uint8],
    labels: NDArray[np.integer],
    label_set: LabelSet,
    *,
    names: Sequence[str],
    title: str,
) -> Image.Image:
    """The first :data:`SAMPLES` samples of a batch, with a legend.

    Args:
        images: uint8 (B, H, W, 3).
        labels: file numbers (B, H, W); ignored pixels and padding are hatched.
        label_set: names and colours.
        names: B names, printed below the samples.
        title: printed on top.
    """
    count, height, width = labels.shape
    shown = min(count, SAMPLES)
    columns = min(shown, _COLUMNS)
    enlarged = max(1, 160 // max(height, width))
    tile_h, tile_w = height * enlarged, width * enlarged
    line = round(1.8 * _TEXT)
    legend_width = max(columns * (tile_w + _GAP) + _GAP, 480)
    legend = draw_legend(legend_entries(list(labels[:shown]), label_set), _TEXT, width=legend_width)
    row_height = 2 * tile_h + line + _GAP
    rows = -(-shown // columns)
    top = _GAP + 2 * line
    page = Image.new("RGB", (legend_width, top + rows * row_height + legend.height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, _GAP), title, INK, font(_TEXT + 2, bold=True))
    for i in range(shown):
        x = _GAP + i % columns * (tile_w + _GAP)
        y = top + i // columns * row_height
        for below, picture in enumerate((images[i], blend(images[i], labels[i], label_set))):
            tile = Image.fromarray(picture).resize((tile_w, tile_h), Image.Resampling.NEAREST)
            page.paste(tile, (x, y + below * tile_h))
        draw.text((x, y + 2 * tile_h + 2), _fitting(names[i], tile_w), MUTED, font(_TEXT))
    page.paste(legend, (0, top + rows * row_height))
    return page


def _fitting(name: str, width: int) -> str:
    letters = font(_TEXT)
    while name and letters.getlength(name) > width:
        name = "…" + name.lstrip("…")[1:]
        if name == "…":
            break
    return name
