"""The files of a reading: ``reading.json``, and pictures of the images that it names.

``reading.json`` is what :meth:`sceneparse.evaluation.reading.Reading.numbers` gives; who writes it may add to
it. ``worst/`` shows the images that cost most, ``regions/`` where the network is sure and the label says
otherwise. Pictures are there before the numbers that name them: after a kill all is written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sceneparse.data.preprocess import resize_image
from sceneparse.files import write_text
from sceneparse.labels import LabelSet
from sceneparse.prediction.legend import MUTED, PAPER, draw_legend, font, legend_entries
from sceneparse.prediction.render import Triple, file_numbers, picture_tiles
from sceneparse.prediction.segmentation import save_png

READING = "reading.json"
FOLDERS = ("worst", "regions")
"""Keys of the numbers, and folders of their pictures."""

TITLES = ("image", "label", "prediction", "errors")
_NOTE = "share of pixels: label / prediction"
_TEXT = 15
_LINE = 24
_GAP = 10


def write_reading(
    folder: Path, numbers: dict[str, Any], labels: LabelSet, sample: Callable[[str], Triple | None]
) -> None:
    """Write numbers and pictures; those of an earlier reading are removed.

    Args:
        folder: there already.
        numbers: plain values.
        labels: names, numbers and colours.
        sample: by the name of an image: image, label and prediction, these two in training indices; None
            where there is none to be shown.

    Raises:
        InputError: the disk is full.
    """
    for path in _pictures(read_numbers(folder), folder):
        with suppress(OSError):
            path.unlink()
    for kind in FOLDERS:
        for item in numbers[kind]:
            row = sample(item["name"])
            if row is not None:
                picture = mistakes_sheet(row, labels, box=item.get("box"))
                save_png(picture, folder / kind / f"{item['name']}.png")
    write_text(folder / READING, json.dumps(numbers, ensure_ascii=False) + "\n")


def read_numbers(folder: Path) -> dict[str, Any]:
    """What ``reading.json`` holds; empty where there is none, or none that can be read."""
    try:
        numbers = json.loads((folder / READING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return numbers if isinstance(numbers, dict) else {}


def needs_reading(run: Path) -> bool:
    """Whether a run has a model, and no reading of it."""
    return digest_of_model(run) not in (None, read_numbers(run).get("model"))


def digest_of_model(run: Path) -> str | None:
    """Stands for a run's best weights: their configuration holds the scores to the last digit."""
    try:
        return hashlib.sha256((run / "model" / "config.json").read_bytes()).hexdigest()
    except OSError:
        return None


def _pictures(numbers: dict[str, Any], folder: Path) -> list[Path]:
    named = [(kind, item) for kind in FOLDERS for item in numbers.get(kind) or []]
    return [folder / kind / f"{item['name']}.png" for kind, item in named if isinstance(item, dict)]


def mistakes_sheet(row: Triple, labels: LabelSet, *, box: Sequence[int] | None = None) -> Image.Image:
    """Image, label, prediction and errors, two by two, with a legend.

    Args:
        row: label and prediction in training indices (H, W); the image is resized if need be.
        labels: names, numbers and colours.
        box: top, left, bottom and right of what is framed in the image, pixels of the label.
    """
    assert row.label is not None
    height, width = row.label.shape
    image = resize_image(np.asarray(row.image), (height, width))
    if box is not None:
        image = _framed(image, box)
    label, prediction = file_numbers(row.label, labels), labels.to_file(row.prediction)
    drawn = Triple(image=image, label=label, prediction=prediction)
    tiles = picture_tiles(drawn, labels, TITLES)
    wide, high = max(tile.width for tile in tiles.values()), max(tile.height for tile in tiles.values())
    width = max(2 * wide + 3 * _GAP, 480)
    legend = draw_legend(legend_entries([label], labels, others=[prediction]), _TEXT, width=width, note=_NOTE)
    page = Image.new("RGB", (width, 2 * (high + _LINE) + 2 * _GAP + legend.height), PAPER)
    draw = ImageDraw.Draw(page)
    for i, title in enumerate(TITLES):
        x, y = _GAP + i % 2 * (wide + _GAP), _GAP // 2 + i // 2 * (high + _LINE + _GAP // 2)
        draw.text((x, y), title, MUTED, font(_TEXT))
        page.paste(tiles[title], (x, y + _LINE))
    page.paste(legend, (0, page.height - legend.height))
    return page


def _framed(image: NDArray[np.uint8], box: Sequence[int]) -> NDArray[np.uint8]:
    """A white frame with a dark rim around the box, thick enough to be seen when the picture is shrunk."""
    framed = image.copy()
    thick = max(2, max(image.shape[:2]) // 240)
    top, left, bottom, right = box
    for outer, color in ((2 * thick, (20, 20, 20)), (thick, (255, 255, 255))):
        rows = slice(max(top - outer, 0), bottom + outer)
        columns = slice(max(left - outer, 0), right + outer)
        framed[rows, columns] = color
    framed[top:bottom, left:right] = image[top:bottom, left:right]
    return framed
