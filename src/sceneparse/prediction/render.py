"""Pictures for people: overlays with a legend, image | label | prediction, error maps.

H,W: the labels' own size; h,w: the size a picture is drawn at. Labels hold file numbers; a pixel whose number
is no class of the label set is hatched grey and called "ignored". Everything is resized to its drawn size
first and coloured there: contours and hatching stay thin and no colour is mixed from two classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sceneparse.data.preprocess import resize_image, resize_mask
from sceneparse.errors import InputError
from sceneparse.labels import MAX_FILE_NUMBER, LabelSet
from sceneparse.prediction.legend import (
    INK,
    MUTED,
    PAPER,
    draw_legend,
    font,
    hatch,
    legend_entries,
    number_counts,
    text_size,
)

MIN_SIDE = 320
MAX_SIDE = 1600
"""An overlay's long side, pixels: smaller pictures are enlarged by a whole factor, larger ones shrunk."""

TILE_SIDE = 480
"""Long side of each picture in a panel, pixels."""

NAMED_REGION = 0.01
"""Share of pixels from which a class's name is written into its largest region, if it fits there."""

_WRONG = np.array((214, 32, 40), np.float32)


@dataclass(frozen=True, kw_only=True)
class Triple:
    """One row of a panel.

    Args:
        image: uint8 (H, W, 3).
        label: file numbers (H, W), or None where there is no truth.
        prediction: file numbers (H, W).
        name: printed below the row.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.integer] | None
    prediction: NDArray[np.integer]
    name: str = ""


def is_class(labels: NDArray[np.integer], label_set: LabelSet) -> NDArray[np.bool_]:
    """(H, W): the pixel's number is a class, not an ignored or unknown number."""
    table = np.zeros(MAX_FILE_NUMBER + 1, np.bool_)
    table[list(label_set.file_numbers)] = True
    return table[labels]


def file_numbers(index: NDArray[np.integer], label_set: LabelSet) -> NDArray[np.integer]:
    """Training indices (H, W) to file numbers for a picture; ignored pixels to a number that is no class."""
    known = index != label_set.ignore_index
    out = label_set.to_file(np.where(known, index, 0))
    # Padding is ignored also where no number is.
    classes = label_set.file_numbers
    free = (number for number in range(len(classes) + 1) if number not in classes)
    nothing = label_set.ignored[0] if label_set.ignored else next(free)
    if nothing > np.iinfo(out.dtype).max:
        out = out.astype(np.uint16)
    out[~known] = nothing
    return out


def colourise(labels: NDArray[np.integer], label_set: LabelSet) -> NDArray[np.uint8]:
    """The classes' colours; pixels of no class hatched grey.

    Args:
        labels: file numbers (H, W), 0..65535.

    Returns:
        uint8 (H, W, 3).
    """
    table = np.zeros((MAX_FILE_NUMBER + 1, 3), np.uint8)
    table[list(label_set.file_numbers)] = label_set.palette
    colours = table[labels]
    nowhere = ~is_class(labels, label_set)
    if nowhere.any():
        colours[nowhere] = hatch(*labels.shape)[nowhere]
    return colours


def contours(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(H, W): the pixel's class differs from that of its right or lower neighbour."""
    edges = np.zeros(labels.shape, np.bool_)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def blend(
    image: NDArray[np.uint8], labels: NDArray[np.integer], label_set: LabelSet, *, alpha: float = 0.5
) -> NDArray[np.uint8]:
    """Class colours over the image, with a thin light line between classes.

    Args:
        image: uint8 (H, W, 3).
        labels: file numbers (H, W) of the same size.
        alpha: weight of the colours, 0..1.

    Returns:
        uint8 (H, W, 3).

    Raises:
        InputError: sizes differ or ``alpha`` is outside 0..1.
    """
    _check_size(image, labels)
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha {alpha} is outside 0..1", fix="0 shows the image only, 1 the classes only")
    weight = np.float32(alpha)
    mixed = image * (1 - weight) + colourise(labels, label_set) * weight
    edges = contours(labels)
    mixed[edges] = 0.3 * mixed[edges] + 0.7 * 255
    return (mixed + 0.5).astype(np.uint8)


def error_map(
    label: NDArray[np.integer],
    prediction: NDArray[np.integer],
    label_set: LabelSet,
    image: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Where the prediction is wrong: red.

    Right pixels show the pale grey image, ignored ones are hatched, boundaries of the label are dark lines.

    Args:
        label: truth, file numbers (H, W).
        prediction: file numbers (H, W).
        image: uint8 (H, W, 3), shown faintly; None for plain grey.

    Returns:
        uint8 (H, W, 3).
    """
    _check_size(label, prediction)
    if image is None:
        grey = np.full((*label.shape, 1), 225, np.float32)
    else:
        _check_size(image, label)
        grey = 120 + 0.5 * (image @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    drawn = np.repeat(grey, 3, axis=2)
    scored = is_class(label, label_set)
    wrong = label != prediction
    drawn[contours(label)] *= 0.55
    drawn[wrong] = 0.3 * drawn[wrong] + 0.7 * _WRONG
    drawn[~scored] = hatch(*label.shape)[~scored]
    return (drawn + 0.5).astype(np.uint8)


def overlay(
    image: NDArray[np.uint8], labels: NDArray[np.integer], label_set: LabelSet, *, alpha: float = 0.5
) -> Image.Image:
    """:func:`blend`, large regions named, with a legend of the classes and their shares, largest first.

    The long side is brought to between :data:`MIN_SIDE` and :data:`MAX_SIDE` pixels; the legend is below, or
    at the right of upright pictures.

    Args:
        image: uint8 (H, W, 3).
        labels: file numbers (H, W) of the same size.
        label_set: names and colours.
        alpha: weight of the colours, 0..1.

    Raises:
        InputError: sizes differ or ``alpha`` is outside 0..1.
    """
    _check_size(image, labels)
    size_hw = _drawn_size(labels.shape, MIN_SIDE, MAX_SIDE)
    drawn = resize_mask(labels, size_hw)
    picture = Image.fromarray(blend(_fit(image, size_hw), drawn, label_set, alpha=alpha))
    text = text_size(max(picture.size))
    _name_regions(picture, drawn, label_set, text)
    entries = legend_entries([labels], label_set)
    if picture.height > 1.25 * picture.width:
        legend = draw_legend(entries, text, columns=1)
        size = (picture.width + legend.width, max(picture.height, legend.height))
        corner = (picture.width, 0)
    else:
        legend = draw_legend(entries, text, width=max(picture.width, MIN_SIDE))
        size = (max(picture.width, legend.width), picture.height + legend.height)
        corner = (0, picture.height)
    page = Image.new("RGB", size, PAPER)
    page.paste(picture, (0, 0))
    page.paste(legend, corner)
    return page


def _name_regions(picture: Image.Image, labels: NDArray[np.integer], label_set: LabelSet, text: int) -> None:
    """Write each large class's name at the middle of the largest circle that lies inside the class."""
    from scipy.ndimage import distance_transform_edt

    draw, letters = ImageDraw.Draw(picture), font(text)
    # The place of a name needs no finer grid, and the transform takes long.
    step = -(-max(labels.shape) // 256)
    coarse = labels[::step, ::step]
    counts = number_counts(coarse)
    for number, name in zip(label_set.file_numbers, label_set.names, strict=True):
        if counts[number] < max(1, NAMED_REGION * coarse.size):
            continue
        # Pictures end where classes end, too: a border of other pixels keeps names off the edge.
        inside = distance_transform_edt(np.pad(coarse == number, 1))
        y, x = np.unravel_index(int(inside.argmax()), inside.shape)
        radius, length = float(inside[y, x]) * step, letters.getlength(name) + 6
        if radius < 0.8 * text or length > min(3 * radius, picture.width):
            continue
        middle = (int(x) - 1) * step + step // 2
        middle = min(max(middle, length / 2), picture.width - length / 2)
        center = (middle, (int(y) - 1) * step + step // 2)
        draw.text(center, name, PAPER, letters, anchor="mm", stroke_width=2, stroke_fill=INK)


def panel(
    image: NDArray[np.uint8],
    label: NDArray[np.integer] | None,
    prediction: NDArray[np.integer],
    label_set: LabelSet,
    *,
    name: str = "",
    errors: bool = False,
) -> Image.Image:
    """Image | label | prediction side by side, with titles and a legend; see :func:`sheet`."""
    return sheet(
        [Triple(image=image, label=label, prediction=prediction, name=name)], label_set, errors=errors
    )


def sheet(
    rows: Sequence[Triple], label_set: LabelSet, *, title: str = "", errors: bool = False
) -> Image.Image:
    """Rows of image | label | prediction with one legend below them.

    Legend: the classes of all labels and predictions, with their shares of the labels and of the predictions.
    Below a row: its name and the fraction of its scored pixels that are right.

    Args:
        rows: pictures of any sizes.
        title: printed on top.
        errors: a fourth column with the :func:`error_map`, of rows that have a label.

    Raises:
        InputError: no rows, or the parts of a row differ in size.
    """
    if not rows:
        raise InputError("a sheet needs at least one row")
    labels = [row.label for row in rows if row.label is not None]
    titles = ["image", "label", "prediction"] + ["errors"] * errors if labels else ["image", "prediction"]
    drawn = [picture_tiles(row, label_set, titles) for row in rows]
    text = text_size(TILE_SIDE * len(titles))
    gap = text // 2
    column = max(MIN_SIDE // 2, *(tile.width for tiles in drawn for tile in tiles.values()))
    width = len(titles) * column + (len(titles) + 1) * gap
    predictions = [row.prediction for row in rows]
    if labels:
        entries, note = legend_entries(labels, label_set, others=predictions), "label / prediction"
    else:
        entries, note = legend_entries(predictions, label_set), "prediction"
    legend = draw_legend(entries, text, width=width, note=f"share of pixels: {note}")
    line = round(1.8 * text)
    heights = [max(tile.height for tile in tiles.values()) for tiles in drawn]
    top = gap + line * (1 + bool(title))
    page = Image.new("RGB", (width, top + sum(h + line + gap for h in heights) + legend.height), PAPER)
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((gap, gap), title, INK, font(text + 3, bold=True))
    for i, heading in enumerate(titles):
        draw.text((gap + i * (column + gap), top - line + 2), heading, MUTED, font(text, bold=True))
    y = top
    for row, tiles, height in zip(rows, drawn, heights, strict=True):
        for i, heading in enumerate(titles):
            if heading in tiles:
                page.paste(tiles[heading], (gap + i * (column + gap), y))
        draw.text((gap, y + height + gap // 2), _caption(row, label_set), INK, font(text))
        y += height + line + gap
    page.paste(legend, (0, y))
    return page


def picture_tiles(row: Triple, label_set: LabelSet, titles: Sequence[str]) -> dict[str, Image.Image]:
    """Pictures of a row by title, of one size: image, prediction, and label if it has one.

    Also errors, where they are among the titles. The long side is :data:`TILE_SIDE` pixels, or at least half.
    """
    _check_size(row.image, row.prediction)
    size_hw = _drawn_size(row.prediction.shape, TILE_SIDE // 2, TILE_SIDE)
    image, prediction = _fit(row.image, size_hw), resize_mask(row.prediction, size_hw)
    tiles = {"image": image, "prediction": colourise(prediction, label_set)}
    if row.label is not None:
        _check_size(row.image, row.label)
        label = resize_mask(row.label, size_hw)
        tiles["label"] = colourise(label, label_set)
        if "errors" in titles:
            tiles["errors"] = error_map(label, prediction, label_set, image)
    return {heading: Image.fromarray(np.ascontiguousarray(tile)) for heading, tile in tiles.items()}


def _caption(row: Triple, label_set: LabelSet) -> str:
    parts = [row.name] if row.name else []
    if row.label is not None:
        scored = is_class(row.label, label_set)
        total = int(scored.sum())
        right = int((scored & (row.label == row.prediction)).sum())
        parts.append(f"{100 * right / total:.1f} % of pixels right" if total else "every pixel ignored")
    return "  ·  ".join(parts)


def _drawn_size(size_hw: Sequence[int], smallest: int, largest: int) -> tuple[int, int]:
    """(h, w) with the long side between the two: enlarged by a whole factor, shrunk by any."""
    height, width = size_hw
    long_side = max(height, width)
    if long_side > largest:
        return max(1, round(height * largest / long_side)), max(1, round(width * largest / long_side))
    factor = -(-smallest // long_side)
    return height * factor, width * factor


def _fit(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Antialiased when it shrinks; when it grows every pixel stays a square, like the labels on it."""
    if size_hw[0] <= image.shape[0]:
        return resize_image(image, size_hw)
    factor = size_hw[0] // image.shape[0]
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _check_size(image: NDArray[np.integer], labels: NDArray[np.integer]) -> None:
    if image.shape[:2] != labels.shape[:2]:
        raise InputError(
            f"picture of {image.shape[1]}x{image.shape[0]} pixels with labels of "
            f"{labels.shape[1]}x{labels.shape[0]} (width x height)",
            fix="resize the labels to the picture by nearest pixel",
        )
