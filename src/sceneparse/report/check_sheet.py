"""Contact sheet of a data set: images with their masks laid over them, for eyes.

A mask that is shifted, mirrored, of another picture or numbered otherwise passes every check of numbers; a
person sees it at once. Samples are spread evenly over each split; then come pairs with faults. Pixels whose
number is not in the class list, or that nothing covers, are magenta.

H, W: height and width of the upright picture, pixels. h, w: those of its place on the sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sceneparse.data.check import Checked
from sceneparse.data.decode import read_picture
from sceneparse.data.faults import Fault, title
from sceneparse.data.pairs import Pair
from sceneparse.data.preprocess import resize_image, resize_mask
from sceneparse.data.survey import uncovered_marked
from sceneparse.errors import InputError
from sceneparse.labels import Color, LabelSet
from sceneparse.prediction.legend import INK, MUTED, PAPER, LegendEntry, draw_legend, font
from sceneparse.prediction.render import blend, colourise

COLUMNS = 4
TILE = (300, 400)
"""Largest height and width of a picture on the sheet, pixels."""

SAMPLES = 8
"""Pairs shown of each split."""

FAULTS = 12
"""Pairs with faults that are shown."""

_FOR_EYES = ("turned", "size", "values", "binary", "uncovered", "colors", "all-ignored", "duplicate")
"""Kinds of faults of which a picture tells most, in this order."""

LEGEND_CLASSES = 40

_TEXT = 14
_LINE = 20
_GAP = 14
_STRANGE: Color = (255, 0, 200)
_ERROR: Color = (190, 20, 30)
_WARNING: Color = (165, 95, 0)
_NOTHING: Color = (225, 225, 230)


@dataclass(frozen=True, kw_only=True)
class _Tile:
    """A picture, what stands below it, and the second line in its colour."""

    picture: Image.Image
    name: str
    note: str = ""
    color: Color = MUTED


def check_sheet(checked: Checked) -> Image.Image:
    """The sheet. Reads the files of the pairs that it shows; those that cannot be read are grey.

    Args:
        checked: what was found.
    """
    sections: list[tuple[str, list[list[_Tile]]]] = []
    for split, tally in checked.tallies.items():
        pairs = {pair.stem: pair for pair in checked.dataset.splits[split]}
        sound = [pairs[stem] for stem, _ in tally.images]
        chosen = [sound[i] for i in _spread(len(sound), SAMPLES)]
        if chosen:
            tiles = [[_sound_tile(pair, checked.dataset.labels)] for pair in chosen]
            sections.append((f"{split}: {len(chosen)} of {len(sound):,} pairs", tiles))
    faulty = _faulty(checked)
    shown = _chosen(faulty)
    if shown:
        tiles = [_fault_tiles(pair, fault, checked.dataset.labels) for pair, fault in shown]
        total = len({str(pair.image) for those in faulty.values() for pair, _ in those})
        sections.append((f"with errors or warnings: {len(shown)} of {total:,} pairs", tiles))
    return _page(checked, sections)


def _spread(count: int, most: int) -> list[int]:
    """At most ``most`` positions, evenly over ``count``."""
    shown = min(count, most)
    return [(2 * i + 1) * count // (2 * shown) for i in range(shown)]


def _faulty(checked: Checked) -> dict[str, list[tuple[Pair, Fault]]]:
    """Pairs with faults by kind, the kinds of which a picture tells most first."""
    pairs = {(split, pair.stem): pair for split in checked.tallies for pair in checked.dataset.splits[split]}
    kinds: dict[str, list[tuple[Pair, Fault]]] = {kind: [] for kind in _FOR_EYES}
    for fault in checked.faults:
        pair = pairs.get((fault.split or "", fault.stem or ""))
        if pair is not None:
            kinds.setdefault(fault.kind, []).append((pair, fault))
    return kinds


def _chosen(kinds: dict[str, list[tuple[Pair, Fault]]]) -> list[tuple[Pair, Fault]]:
    """At most :data:`FAULTS` pairs: the first of every kind, then the second, and so on."""
    chosen: dict[str, tuple[Pair, Fault]] = {}
    for turn in range(min(FAULTS, max(map(len, kinds.values())))):
        for those in kinds.values():
            if turn < len(those) and len(chosen) < FAULTS:
                chosen.setdefault(str(those[turn][0].image), those[turn])
    return list(chosen.values())


# ---------------------------------------------------------------------- tiles


def _sound_tile(pair: Pair, labels: LabelSet) -> _Tile:
    image, numbers = _image(pair), _numbers(pair)
    if image is None or numbers is None or numbers.shape != image.size_hw:  # changed since it was checked
        return _Tile(picture=_blank(TILE), name=pair.stem, note="changed meanwhile", color=_ERROR)
    return _Tile(picture=_overlay(image.pixels, numbers, labels), name=pair.stem)


def _fault_tiles(pair: Pair, fault: Fault, labels: LabelSet) -> list[_Tile]:
    """An overlay where mask and image fit; otherwise both side by side, at one scale."""
    color = _ERROR if fault.stops else _WARNING
    image, numbers = _image(pair), _numbers(pair)
    if image is not None and numbers is not None and numbers.shape == image.size_hw:
        picture = _overlay(image.pixels, numbers, labels)
        return [_Tile(picture=picture, name=pair.stem, note=_note(fault), color=color)]
    sizes = [*([] if image is None else [image.size_hw]), *([] if numbers is None else [numbers.shape])]
    scale = min(TILE[i] / max((size[i] for size in sizes), default=1) for i in (0, 1))
    tiles = []
    left = _blank(TILE)
    if image is not None:
        left = Image.fromarray(resize_image(image.pixels, _scaled(image.size_hw, scale)))
    tiles.append(_Tile(picture=left, name=pair.stem, note=_note(fault), color=color))
    if numbers is not None:
        drawn = resize_mask(numbers, _scaled(numbers.shape, scale))
        note = f"mask, {numbers.shape[1]} x {numbers.shape[0]}"
        if image is not None:
            note += f"; image {image.size_hw[1]} x {image.size_hw[0]}"
        right = Image.fromarray(_coloured(drawn, labels))
        tiles.append(_Tile(picture=right, name=pair.mask.path.name, note=note, color=color))
    else:
        tiles.append(_mask_as_picture(pair, color))
    return tiles


def _mask_as_picture(pair: Pair, color: Color) -> _Tile:
    """A mask that holds no class numbers, as any viewer shows it; grey where it is no picture."""
    picture, note = _blank(TILE), "mask that cannot be read"
    if pair.mask.path.suffix.lower() not in (".json", ".txt"):
        try:
            pixels = read_picture(pair.mask.path, target=lambda *_: TILE).pixels
            picture, note = Image.fromarray(resize_image(pixels, _fitted(pixels.shape))), "mask, as it is"
        except InputError:
            pass
    return _Tile(picture=picture, name=pair.mask.path.name, note=note, color=color)


def _note(fault: Fault) -> str:
    if fault.kind == "duplicate":
        return f"same file as {fault.files[-1].name}"
    values = ", ".join(str(value) for value, _ in fault.values[:4] if fault.kind != "binary")
    return title(fault.kind) + (f": {values}" if values else "")


@dataclass(frozen=True)
class _Read:
    """Pixels (h, w, 3), perhaps at reduced scale, and the picture's own (H, W)."""

    pixels: NDArray[np.uint8]
    size_hw: tuple[int, int]


def _image(pair: Pair) -> _Read | None:
    try:
        picture = read_picture(pair.image, target=lambda height, width: _fitted((height, width)))
    except InputError:
        return None
    return _Read(picture.pixels, picture.size_hw)


def _numbers(pair: Pair) -> NDArray[np.integer] | None:
    """Source numbers (H, W); pixels that nothing covers have a number of no class."""
    try:
        size_hw = read_picture(pair.image, target=lambda *_: (1, 1)).size_hw
    except InputError:
        size_hw = (1, 1)
    try:
        numbers = uncovered_marked(pair.mask).read(size_hw)
    except InputError:
        return None
    return None if numbers.size == 1 and size_hw == (1, 1) else numbers


def _overlay(pixels: NDArray[np.uint8], numbers: NDArray[np.integer], labels: LabelSet) -> Image.Image:
    size_hw = _fitted(numbers.shape)
    drawn = resize_mask(numbers, size_hw)
    image = resize_image(pixels, size_hw)
    mixed = blend(image, _as_counted(drawn, labels), labels)
    strange = labels.index_of(drawn) < 0
    mixed[strange] = (0.5 * image[strange] + 0.5 * np.array(_STRANGE)).astype(np.uint8)
    return Image.fromarray(mixed)


def _coloured(numbers: NDArray[np.integer], labels: LabelSet) -> NDArray[np.uint8]:
    colours = colourise(_as_counted(numbers, labels), labels)
    colours[labels.index_of(numbers) < 0] = _STRANGE
    return colours


def _as_counted(numbers: NDArray[np.integer], labels: LabelSet) -> NDArray[np.integer]:
    """Numbers of merged classes become the number that they count as; others stay."""
    index = labels.index_of(numbers)
    counted = (index >= 0) & (index < labels.num_classes)
    table = np.array([*labels.file_numbers, 0])
    return np.where(counted, table[np.where(counted, index, -1)], numbers)


def _fitted(size_hw: Sequence[int]) -> tuple[int, int]:
    """(h, w) within :data:`TILE`: shrunk by any factor, enlarged by a whole one."""
    scale = min(TILE[0] / size_hw[0], TILE[1] / size_hw[1])
    return _scaled(size_hw, scale if scale < 1 else int(scale))


def _scaled(size_hw: Sequence[int], scale: float) -> tuple[int, int]:
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _blank(size_hw: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size_hw[::-1], _NOTHING)


# ---------------------------------------------------------------------- page


def _rows(groups: Sequence[Sequence[_Tile]]) -> list[list[_Tile]]:
    """Rows of tiles; what belongs together stays in one."""
    rows: list[list[_Tile]] = [[]]
    for group in groups:
        if len(rows[-1]) + len(group) > COLUMNS:
            rows.append([])
        rows[-1] += group
    return rows


def _page(checked: Checked, sections: Sequence[tuple[str, Sequence[Sequence[_Tile]]]]) -> Image.Image:
    width = COLUMNS * TILE[1] + (COLUMNS + 1) * _GAP
    rows = [
        (heading if i == 0 else "", tiles)
        for heading, groups in sections
        for i, tiles in enumerate(_rows(groups))
    ]
    legend = draw_legend(_legend(checked), _TEXT, width=width, note=_legend_note(checked))
    heights = [
        (2 * _LINE if heading else 0) + max(tile.picture.height for tile in tiles) + 2 * _LINE + _GAP
        for heading, tiles in rows
    ]
    page = Image.new("RGB", (width, 2 * _LINE + _GAP + sum(heights) + legend.height), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, _GAP), checked.dataset.name, INK, font(_TEXT + 5, bold=True))
    y = 2 * _LINE
    for (heading, tiles), height in zip(rows, heights, strict=True):
        top = y
        if heading:
            draw.text((_GAP, y + _LINE // 2), heading, INK, font(_TEXT + 1, bold=True))
            top += 2 * _LINE
        lowest = top + max(tile.picture.height for tile in tiles)
        for i, tile in enumerate(tiles):
            _draw_tile(page, tile, _GAP + i * (TILE[1] + _GAP), top, lowest)
        y += height
    page.paste(legend, (0, y))
    return page


def _draw_tile(page: Image.Image, tile: _Tile, x: int, y: int, below: int) -> None:
    page.paste(tile.picture, (x, y))
    draw = ImageDraw.Draw(page)
    letters = font(_TEXT)
    draw.text((x, below + 3), _shortened(tile.name, letters, keep_end=True), INK, letters)
    if tile.note:
        draw.text((x, below + 3 + _LINE), _shortened(tile.note, letters), tile.color, letters)


def _shortened(text: str, letters: ImageFont.FreeTypeFont, *, keep_end: bool = False) -> str:
    """A line that fits below a tile; of names the end tells more than the beginning."""
    text = text.replace("\n", " ")
    if letters.getlength(text[:400]) <= TILE[1] and len(text) <= 400:
        return text
    text = text[-400:] if keep_end else text[:400]
    while letters.getlength(text + "…") > TILE[1]:
        text = text[1:] if keep_end else text[:-1]
    return "…" + text if keep_end else text + "…"


def _legend(checked: Checked) -> list[LegendEntry]:
    """Classes by their shares, the largest first; then the rest, ignored and strange pixels."""
    labels, tallies = checked.dataset.labels, list(checked.tallies.values())
    totals = [max(1, int(tally.pixels.sum())) for tally in tallies]
    shares = np.stack([tally.pixels / total for tally, total in zip(tallies, totals, strict=True)])
    counted = shares.any()  # otherwise no pair is sound, and shares are unknown
    order = [
        i for i in np.argsort(-shares[:, :-1].max(0), kind="stable") if shares[:, i].any() or not counted
    ]
    entries = [
        LegendEntry(
            name=labels.names[i],
            color=labels.palette[i],
            share=_share_text(shares[:, i]) if counted else "",
        )
        for i in order[:LEGEND_CLASSES]
    ]
    if rest := order[LEGEND_CLASSES:]:
        share = _share_text(shares[:, rest].sum(1)) if counted else ""
        entries.append(LegendEntry(name=f"{len(rest)} more", color="", share=share))
    if shares[:, -1].any():
        entries.append(LegendEntry(name="ignored", color=None, share=_share_text(shares[:, -1])))
    numbers = np.flatnonzero(sum(checked.numbers.values(), np.zeros(1, np.int64)))
    if (labels.index_of(numbers) < 0).any():
        entries.append(LegendEntry(name="not in the class list", color=_STRANGE, share=""))
    elif any(fault.kind == "uncovered" for fault in checked.faults):
        entries.append(LegendEntry(name="covered by nothing", color=_STRANGE, share=""))
    return entries


def _legend_note(checked: Checked) -> str:
    return f"share of pixels: {' / '.join(checked.tallies)}"


def _share_text(shares: NDArray[np.float64]) -> str:
    def one(share: float) -> str:
        return "0" if share == 0 else "<0.1" if share < 0.0005 else f"{100 * share:.1f}"

    return " / ".join(one(float(share)) for share in shares) + " %"
