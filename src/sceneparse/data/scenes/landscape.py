"""Landscapes: mountains, meadow and sea."""

from __future__ import annotations

import numpy as np

from sceneparse.data.scenes.canvas import HEIGHT, Canvas, Ellipse, Point, hsv, rgb
from sceneparse.data.scenes.classes import BUILDING, GRASS, MOUNTAIN, SEA
from sceneparse.data.scenes.figures import draw_person, draw_tree, leaf_color
from sceneparse.data.scenes.open_air import (
    Weather,
    bricked,
    choose_weather,
    haze,
    paint_asphalt,
    paint_sky,
    stone,
)
from sceneparse.data.scenes.textures import blades, ripples, scatter, textured, tiled, window_grid


def draw_landscape(canvas: Canvas) -> None:
    """Mountains over a meadow or a sea, with trees, perhaps a house, a road, a person."""
    weather = choose_weather(canvas)
    horizon = canvas.between(44, 58)
    paint_sky(canvas, weather, horizon)
    if canvas.chance(0.85):
        _mountains(canvas, horizon + 6)
    haze(canvas, weather, horizon)
    shore = horizon
    if canvas.chance(0.55):
        shore = canvas.between(horizon + 20, 92)
        _sea(canvas, weather, horizon)
    _meadow(canvas, shore)
    if shore < 66 and canvas.chance(0.6):
        _country_road(canvas, (canvas.width * canvas.between(0.25, 0.75), shore - 2))
    _on_the_meadow(canvas, shore)


def _ridge(canvas: Canvas, foot: float, peaks: int, height: float) -> list[Point]:
    """A jagged skyline from the left to the right edge."""
    points: list[Point] = [(-2, foot)]
    step = canvas.width / peaks
    for i in range(peaks):
        x = step * (i + canvas.between(0.3, 0.7))
        points.append((step * i, foot - height * canvas.between(0.2, 0.5)))
        points.append((x, foot - height * canvas.between(0.65, 1.0)))
    return [*points, (canvas.width + 2, foot - height * 0.3), (canvas.width + 2, foot)]


def _mountains(canvas: Canvas, foot: float) -> None:
    """Two ridges, the far one perhaps with snow; ``foot`` is where they meet the ground."""
    color = (
        hsv(canvas.between(0.5, 0.75), canvas.between(0.1, 0.4), canvas.between(0.3, 0.7))
        if canvas.chance(0.5)
        else stone(canvas)
    )
    snow = canvas.chance(0.5)
    for height, light in ((canvas.between(30, 42), 1.15), (canvas.between(14, 22), 0.85)):
        patch = canvas.shape(_ridge(canvas, foot, canvas.pick((2, 3, 4)), height))
        slope = canvas.noise(patch, "blotch") + (canvas.noise(patch, "mottle") * np.float32(0.6))
        slope = (
            slope + scatter(np.floor(patch.x / 4 + patch.y / 5), np.floor(patch.x / 9), 4) - np.float32(0.5)
        )
        faces = (
            np.float32(light)
            + np.where(slope > 0, np.float32(0.12), np.float32(-0.16))
            + slope * np.float32(0.05)
        )
        canvas.paint(patch, textured(color, faces), MOUNTAIN)
        if snow and light > 1:
            line = np.float32(foot - height * 0.62) + canvas.noise(patch, "mottle") * 3
            canvas.mix(
                patch,
                rgb(245, 247, 252),
                np.where(patch.y < line, np.float32(0.85), np.float32(0)),
            )


def _sea(canvas: Canvas, weather: Weather, horizon: float) -> None:
    patch = canvas.rectangle(0, horizon, canvas.width, HEIGHT)
    own = hsv(canvas.between(0.46, 0.64), canvas.between(0.3, 0.7), canvas.between(0.25, 0.65))
    color = own * np.float32(0.55) + weather.top * np.float32(0.45)
    canvas.paint(patch, textured(color, ripples(canvas, patch, horizon)), SEA)
    if canvas.chance(0.5):
        glitter = (np.abs(patch.x - np.float32(canvas.between(20, canvas.width - 20))) < 14) & (
            canvas.noise(patch, "mottle") > 0.3
        )
        canvas.mix(patch, weather.horizon, np.where(glitter, np.float32(0.7), np.float32(0)))


def _meadow(canvas: Canvas, top: float) -> None:
    bend = canvas.between(-5, 5)
    w = canvas.width
    patch = canvas.shape(
        [
            (0, top + bend),
            (w * 0.3, top),
            (w * 0.7, top - bend * 0.4),
            (w, top - bend),
            (w, HEIGHT),
            (0, HEIGHT),
        ]
    )
    color = hsv(canvas.between(0.13, 0.36), canvas.between(0.3, 0.7), canvas.between(0.35, 0.75))
    canvas.paint(patch, textured(color, blades(canvas, patch)), GRASS)


def _country_road(canvas: Canvas, far: Point) -> None:
    """A road from the horizon to the picture's foot, with a broken centre line."""
    near = canvas.between(0.2, 0.8) * canvas.width
    half = canvas.between(22, 32)
    patch = canvas.shape(
        [(far[0] - 1, far[1]), (far[0] + 1, far[1]), (near + half, HEIGHT), (near - half, HEIGHT)]
    )
    paint_asphalt(canvas, patch)
    for i in range(4):
        a, b = (0.18 + 0.24 * i) ** 1.3, (0.3 + 0.24 * i) ** 1.3
        line = [
            (far[0] + (near - far[0]) * t + s * 1.3 * t, far[1] + (HEIGHT - far[1]) * t)
            for t, s in ((a, -1), (a, 1), (b, 1), (b, -1))
        ]
        canvas.mix(canvas.shape(line), rgb(240, 235, 215), 0.85)


def _on_the_meadow(canvas: Canvas, shore: float) -> None:
    """House, trees and people, from far to near."""
    w = canvas.width
    if shore < 70 and canvas.chance(0.55):
        _house(canvas, canvas.between(0.15, 0.85) * w, shore + canvas.between(4, 12), canvas.between(42, 60))
    leaf = leaf_color(canvas)
    sides = [canvas.between(0.0, 0.3), canvas.between(0.7, 1.0), canvas.between(0.3, 0.7)]
    canvas.rng.shuffle(sides)
    for side in sides[: int(canvas.rng.integers(1, 3))]:
        foot = min(shore + canvas.between(6, 20), 98)
        draw_tree(canvas, side * w, foot, canvas.between(48, 68), leaf)
    if canvas.chance(0.45):
        draw_person(canvas, canvas.between(0.15, 0.85) * w, canvas.between(92, 101), canvas.between(56, 72))


def _house(canvas: Canvas, x: float, foot: float, width: float) -> None:
    """A house with a pitched roof."""
    half, height = width / 2, width * canvas.between(0.45, 0.6)
    canvas.soft_spot(Ellipse(x, foot, half * 1.2, 4), 0.5)
    wall = canvas.rectangle(x - half, foot - height, x + half, foot)
    color = (
        stone(canvas) if canvas.chance(0.5) else canvas.any_color(saturation=(0.05, 0.4), value=(0.6, 0.95))
    )
    across, along = (
        (wall.x - np.float32(x - half)) / np.float32(width / 3),
        (wall.y - np.float32(foot - height)) / np.float32(height / 1.5),
    )
    glass = hsv(0.6, 0.3, 0.25), hsv(0.13, 0.4, 0.95)
    front = window_grid(
        wall, across, along, bricked(canvas, wall, color), opening=(0.42, 0.5), glass=glass, seed=int(x)
    )
    canvas.paint(wall, front, BUILDING)
    eaves, ridge = foot - height, foot - height - width * canvas.between(0.22, 0.34)
    roof = canvas.shape(
        [
            (x - half - 3, eaves + 1),
            (x - half * 0.55, ridge),
            (x + half * 0.55, ridge),
            (x + half + 3, eaves + 1),
        ]
    )
    tiles = tiled(
        roof.x / np.float32(2.6),
        roof.y / np.float32(2.6),
        shift=0.5,
        joint=(0.12, 0.25),
        variety=0.15,
        seed=8,
    )
    canvas.paint(
        roof,
        textured(hsv(canvas.between(0, 0.1), canvas.between(0.1, 0.6), canvas.between(0.25, 0.6)), tiles),
        BUILDING,
    )
