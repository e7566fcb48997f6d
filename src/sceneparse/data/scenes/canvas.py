"""Canvas: a picture and its labels drawn together, at twice the final size, in units of the picture's height.

Lengths are in *units*: the picture is 100 units high and ``100 W / H`` units wide, whatever its size in
pixels, with y pointing down. Everything is drawn at twice the size; the picture is averaged down (smooth
edges), the labels are picked (hard edges, never a mixture).

Reproducible across machines: random numbers are NumPy's own PCG64, shapes are filled by Pillow at whole
pixels, and shading uses only + - * / and tables, because the last bit of ``exp`` or ``sin`` differs between
processors.

Shape legend: H, W the final picture; 2H, 2W the sheet drawn on; h, w a patch's box.
The sheet and colours are planar, (3, ...), so that (h, w) brightness and masks meet them without a copy.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]
Point = tuple[float, float]

HEIGHT = 100.0
"""Height of every picture in units."""

_OVERSAMPLING = 2
_SINE = np.array([round(math.sin(2 * math.pi * i / 1024), 4) for i in range(1024)], np.float32)


def sine(turns: Floats) -> Floats:
    """Sine of an angle in whole turns, from a table: the same bits on every processor."""
    return _SINE[np.floor(turns * np.float32(1024)).astype(np.int32) & 1023]


def rgb(red: float, green: float, blue: float) -> Floats:
    """Colour (3, 1, 1) float32: ready to meet (h, w) brightness."""
    return np.array([red, green, blue], np.float32).reshape(3, 1, 1)


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """Colour (3, 1, 1) from hue in turns (any number), saturation and value 0..1 (clipped)."""
    shares = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return rgb(*shares) * np.float32(255)


@dataclass(frozen=True)
class Ellipse:
    """Centre and radii in units."""

    x: float
    y: float
    rx: float
    ry: float


@dataclass(frozen=True)
class Patch:
    """Pixels of one shape.

    Attributes:
        box: rows and columns of its bounding box on the sheet.
        inside: (h, w) bool, the shape within the box.
        x: (1, w) float32, units from the left, at pixel centres.
        y: (h, 1) float32, units from the top, at pixel centres.
    """

    box: tuple[slice, slice]
    inside: NDArray[np.bool_]
    x: Floats
    y: Floats


class Canvas:
    """A picture and its labels.

    Args:
        size_hw: final size in pixels.
        rng: the only source of chance.
    """

    def __init__(self, size_hw: tuple[int, int], rng: np.random.Generator) -> None:
        self.size_hw = size_hw
        self.rng = rng
        rows, columns = (n * _OVERSAMPLING for n in size_hw)
        self.per_unit = rows / HEIGHT
        self.width = columns / self.per_unit
        self._rgb = np.zeros((3, rows, columns), np.float32)
        self._numbers = np.zeros((rows, columns), np.uint8)
        self._x = ((np.arange(columns, dtype=np.float32) + np.float32(0.5)) / np.float32(self.per_unit))[
            None, :
        ]
        self._y = ((np.arange(rows, dtype=np.float32) + np.float32(0.5)) / np.float32(self.per_unit))[:, None]
        self._noise = {
            name: self._value_noise(cell)
            for name, cell in (("cloud", 16.0), ("blotch", 5.0), ("mottle", 1.8))
        }
        self._noise["grain"] = rng.integers(-128, 128, (rows, columns), np.int8).astype(
            np.float32
        ) / np.float32(128)

    # --- chance ------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        """A number from [low, high)."""
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return float(self.rng.random()) < probability

    def pick(self, options: Sequence[Any]) -> Any:
        """One of the options, all equally likely."""
        return options[int(self.rng.integers(len(options)))]

    def any_color(
        self, *, saturation: tuple[float, float] = (0.1, 0.75), value: tuple[float, float] = (0.3, 0.95)
    ) -> Floats:
        """Any hue."""
        return hsv(self.between(0, 1), self.between(*saturation), self.between(*value))

    # --- shapes ------------------------------------------------------------

    def rectangle(self, left: float, top: float, right: float, bottom: float) -> Patch:
        """An upright rectangle, clipped to the sheet."""
        return self._patch(left, top, right, bottom, None)

    def shape(self, *parts: Sequence[Point] | Ellipse) -> Patch:
        """The union of polygons (lists of corners) and ellipses, clipped to the sheet."""
        xs: list[float] = []
        ys: list[float] = []
        for part in parts:
            if isinstance(part, Ellipse):
                xs += (part.x - part.rx, part.x + part.rx)
                ys += (part.y - part.ry, part.y + part.ry)
            else:
                xs += (x for x, _ in part)
                ys += (y for _, y in part)
        return self._patch(min(xs), min(ys), max(xs), max(ys), parts)

    def _patch(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        parts: Iterable[Sequence[Point] | Ellipse] | None,
    ) -> Patch:
        rows, columns = self._numbers.shape
        k = self.per_unit
        c0, c1 = (min(max(round(v * k), 0), columns) for v in (left, right))
        r0, r1 = (min(max(round(v * k), 0), rows) for v in (top, bottom))
        h, w = max(r1 - r0, 0), max(c1 - c0, 0)
        box = (slice(r0, r0 + h), slice(c0, c0 + w))
        if parts is None or h == 0 or w == 0:
            inside = np.ones((h, w), bool)
        else:
            sheet = Image.new("L", (w, h))
            draw = ImageDraw.Draw(sheet)
            for part in parts:
                if isinstance(part, Ellipse):
                    corners = [part.x - part.rx, part.y - part.ry, part.x + part.rx, part.y + part.ry]
                    x0, y0, x1, y1 = (round(v * k) for v in corners)
                    if x1 > x0 and y1 > y0:
                        draw.ellipse((x0 - c0, y0 - r0, x1 - c0 - 1, y1 - r0 - 1), fill=1)
                else:
                    draw.polygon([(round(x * k) - c0, round(y * k) - r0) for x, y in part], fill=1)
            inside = np.asarray(sheet) > 0
        return Patch(box, inside, self._x[:, box[1]], self._y[box[0]])

    # --- paint ------------------------------------------------------------

    def paint(self, patch: Patch, color: Floats, number: int | None = None) -> None:
        """Covers a shape.

        Args:
            patch: the shape.
            color: red green blue 0..255, (3, 1, 1) or anything that broadcasts to (3, h, w).
            number: ADE20K file number the pixels get; None leaves the labels as they are.
        """
        np.copyto(self._rgb[:, *patch.box], color, where=patch.inside)
        if number is not None:
            self._numbers[patch.box][patch.inside] = number

    def shade(self, patch: Patch, factor: Floats | float) -> None:
        """Multiplies the colours of a shape by one number or by (h, w) numbers; labels stay."""
        scale = np.where(patch.inside, np.float32(1) * factor, np.float32(1)).astype(np.float32)
        self._rgb[:, *patch.box] *= scale

    def mix(self, patch: Patch, color: Floats, share: Floats | float) -> None:
        """Moves the colours of a shape towards ``color`` by a share 0..1, number or (h, w); labels stay."""
        weight = np.where(patch.inside, np.float32(1) * share, np.float32(0)).astype(np.float32)
        region = self._rgb[:, *patch.box]
        region += (color - region) * weight

    def soft_spot(self, spot: Ellipse, strength: float, color: Floats | None = None) -> None:
        """Darkens (shadow) or, given a colour, brightens (glow) an ellipse that fades to its edge."""
        patch = self.rectangle(spot.x - spot.rx, spot.y - spot.ry, spot.x + spot.rx, spot.y + spot.ry)
        dx, dy = (patch.x - spot.x) / spot.rx, (patch.y - spot.y) / spot.ry
        share = np.maximum(np.float32(1) - dx * dx - dy * dy, np.float32(0)) * np.float32(strength)
        self.mix(patch, rgb(0, 0, 0) if color is None else color, share.astype(np.float32))

    def noise(self, patch: Patch, kind: str) -> Floats:
        """(h, w) noise, -1..1, over a patch; ``kind`` by falling size: cloud, blotch, mottle, grain."""
        return self._noise[kind][patch.box]

    def _value_noise(self, cell: float) -> Floats:
        """(2H, 2W): random values on a grid of ``cell`` units, interpolated in fixed point."""
        rows, columns = self._numbers.shape
        grid_hw = (max(2, round(HEIGHT / cell)), max(2, round(self.width / cell)))
        grid = self.rng.integers(0, 256, grid_hw, np.uint8)
        smooth = Image.fromarray(grid).resize((columns, rows), Image.Resampling.BICUBIC)
        return np.asarray(smooth).astype(np.float32) / np.float32(127.5) - np.float32(1)

    # --- result ------------------------------------------------------------

    def developed(
        self, *, cast: Floats, contrast: float, slope: Point, grain: float
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The finished picture, as a camera would give it, and its labels.

        Args:
            cast: gain (3, 1, 1) of red, green, blue: the light's brightness and colour.
            contrast: around mid-grey; 1 leaves it.
            slope: how much brighter the right and the bottom edge are than the middle, as fractions.
            grain: standard size of the sensor noise in grey levels.

        Returns:
            image (H, W, 3) uint8 and labels (H, W) uint8 in ADE20K file numbers.
        """
        rows, columns = self.size_hw
        sheet = self._rgb
        pairs = sheet[:, 0::2] + sheet[:, 1::2]
        image = pairs[:, :, 0::2] + pairs[:, :, 1::2]
        across = np.linspace(-1, 1, columns, dtype=np.float32)[None, :] * np.float32(slope[0])
        down = np.linspace(-1, 1, rows, dtype=np.float32)[:, None] * np.float32(slope[1])
        light = (np.float32(1) + across + down) * np.float32(0.25)
        image *= light * cast
        image -= np.float32(128)
        image *= np.float32(contrast)
        image += np.float32(128)
        image += self.rng.integers(-128, 128, (3, rows, columns), np.int8) * np.float32(grain * 1.7 / 128)
        pixels = np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8).transpose(1, 2, 0))
        return pixels, np.ascontiguousarray(self._numbers[0::2, 0::2])
