"""Streets, seen across and along."""

from __future__ import annotations

import numpy as np

from sceneparse.data.scenes.canvas import HEIGHT, Canvas, Floats, Point, hsv, rgb
from sceneparse.data.scenes.classes import BUILDING, GRASS, SIDEWALK
from sceneparse.data.scenes.figures import draw_car_rear, draw_car_side, draw_person, draw_tree, leaf_color
from sceneparse.data.scenes.open_air import (
    Weather,
    bricked,
    choose_weather,
    haze,
    paint_asphalt,
    paint_sky,
    stone,
)
from sceneparse.data.scenes.textures import blades, ground, textured, tiled, window_grid


def _glass(canvas: Canvas, weather: Weather) -> tuple[Floats, Floats]:
    """Panes: dark, and either lit from inside or mirroring the sky."""
    light = hsv(0.12, 0.45, 1.0) if weather.top.mean() < 115 else weather.horizon * np.float32(0.8)
    return hsv(0.6, canvas.between(0.1, 0.4), canvas.between(0.12, 0.35)), light


def draw_street_across(canvas: Canvas) -> None:
    """A row of houses seen from the other side of the street: fronts, pavement, road, cars, trees, people."""
    weather = choose_weather(canvas)
    walk = canvas.between(52, 60)
    kerb = walk + canvas.between(17, 22)
    paint_sky(canvas, weather, walk - 10)
    _front(canvas, weather, (-5, walk - canvas.between(14, 24), canvas.width + 5, walk))
    x = -canvas.between(0, 20)
    while x < canvas.width:
        width = canvas.between(26, 48)
        if canvas.chance(0.85):
            _front(canvas, weather, (x, canvas.between(6, 34), x + width, walk))
        else:
            draw_tree(canvas, x + width / 2, walk + 1, canvas.between(42, 56), leaf_color(canvas))
        x += width
    haze(canvas, weather, walk - 20)
    _pavement(
        canvas,
        [(0, walk), (canvas.width, walk), (canvas.width, kerb), (0, kerb)],
        (canvas.width / 2, walk - 16),
    )
    road = canvas.rectangle(0, kerb, canvas.width, HEIGHT)
    paint_asphalt(canvas, road)
    canvas.shade(canvas.rectangle(0, kerb, canvas.width, kerb + 1.2), 0.55)
    for i in range(-1, 6):
        start = i * 30 + canvas.between(0, 3)
        line = [(start, 88), (start + 16, 88), (start + 15, 90.5), (start - 1, 90.5)]
        canvas.mix(canvas.shape(line), rgb(240, 238, 225), 0.8)
    _along_the_pavement(canvas, walk, kerb)


def _front(canvas: Canvas, weather: Weather, box: tuple[float, float, float, float]) -> None:
    """The front of one house of a row."""
    left, top, right, foot = box
    wall = canvas.rectangle(*box)
    color = stone(canvas)
    columns, rows = (
        max(2, round((right - left) / canvas.between(8, 12))),
        max(2, round((foot - top) / canvas.between(11, 15))),
    )
    across = (wall.x - np.float32(left)) / np.float32((right - left) / columns)
    along = (wall.y - np.float32(top)) / np.float32((foot - top) / rows)
    opening = canvas.between(0.4, 0.62), canvas.between(0.5, 0.68)
    front = window_grid(
        wall,
        across,
        along,
        bricked(canvas, wall, color),
        opening=opening,
        glass=_glass(canvas, weather),
        seed=int(left),
    )
    canvas.paint(wall, front, BUILDING)
    canvas.shade(canvas.rectangle(left, top, right, top + 2.2), 0.7)
    canvas.shade(canvas.rectangle(right - 0.8, top, right, foot), 0.7)


def _pavement(canvas: Canvas, corners: list[Point], vanishing: Point) -> None:
    """Slabs in perspective."""
    patch = canvas.shape(corners)
    side, depth = ground(patch, vanishing)
    slabs = tiled(
        side * np.float32(4) + 60, depth * np.float32(2.2), shift=0.5, joint=(0.09, 0.12), variety=0.1, seed=6
    )
    color = hsv(canvas.between(0.05, 0.15), canvas.between(0, 0.25), canvas.between(0.45, 0.85))
    canvas.paint(patch, textured(color, slabs + canvas.noise(patch, "grain") * np.float32(0.04)), SIDEWALK)


def _along_the_pavement(canvas: Canvas, walk: float, kerb: float) -> None:
    """Trees and people on the pavement, cars on the road."""
    w = canvas.width
    middle = (walk + kerb) / 2
    leaf = leaf_color(canvas)
    for share in (canvas.between(0.05, 0.3), canvas.between(0.7, 0.95)):
        if canvas.chance(0.5):
            draw_tree(canvas, share * w, middle - 1, canvas.between(46, 60), leaf)
    for share in (canvas.between(0.1, 0.45), canvas.between(0.55, 0.9)):
        if canvas.chance(0.4):
            draw_person(canvas, share * w, middle + canvas.between(2, 6), canvas.between(44, 54))
    for share in canvas.pick(((0.5,), (0.3,), (0.7,), (0.16, 0.84))):
        x = share * w + canvas.between(-8, 8)
        draw_car_side(canvas, x, canvas.between(kerb + 10, 98), canvas.between(62, 80))


def draw_street_along(canvas: Canvas) -> None:
    """A view down a street: house fronts on both sides run to the vanishing point."""
    weather = choose_weather(canvas)
    vx, vy = canvas.width * canvas.between(0.36, 0.64), canvas.between(40, 52)
    paint_sky(canvas, weather, vy)
    _front(canvas, weather, (vx - 16, vy - canvas.between(5, 14), vx + 16, vy + 1))
    far = canvas.rectangle(0, vy, canvas.width, HEIGHT)
    canvas.paint(far, hsv(0.1, 0.1, 0.5), SIDEWALK)
    road, walk = canvas.between(0.65, 0.9), canvas.between(0.9, 1.2)
    _pavement(
        canvas,
        [(-99, vy + 1), (canvas.width + 99, vy + 1), (canvas.width + 99, HEIGHT), (-99, HEIGHT)],
        (vx, vy),
    )
    drop = HEIGHT - vy
    lane = canvas.shape([(vx, vy), (vx + road * drop, HEIGHT), (vx - road * drop, HEIGHT)])
    paint_asphalt(canvas, lane)
    _centre_line(canvas, (vx, vy))
    for side in (-1, 1):
        if canvas.chance(0.8):
            _row_of_fronts(canvas, weather, (vx, vy), side, road + walk)
        else:
            _verge(canvas, (vx, vy), side, road + walk)
    haze(canvas, weather, vy)
    _down_the_street(canvas, (vx, vy), road, walk)


def _centre_line(canvas: Canvas, vanishing: Point) -> None:
    vx, vy = vanishing
    for near in (60.0, 30.0, 16.0, 9.0):
        a, b = near, near * 0.7
        line = [(vx + s * 0.035 * d, vy + d) for d, s in ((a, -1), (a, 1), (b, 1), (b, -1))]
        canvas.mix(canvas.shape(line), rgb(240, 235, 215), 0.85)


def _row_of_fronts(canvas: Canvas, weather: Weather, vanishing: Point, side: int, offset: float) -> None:
    """House fronts along one side, far to near, ``offset`` eye heights to the side of the eye."""
    vx, vy = vanishing
    reach = (canvas.width - vx if side > 0 else vx) + 2
    near = 10.0
    while near < reach * 1.02:
        far, near = near, near * canvas.between(1.6, 2.3)
        far_x, near_x = vx + side * far, vx + side * near
        storeys = canvas.between(0.9, 1.8)
        patch = canvas.shape(
            [
                (far_x, vy - storeys * far),
                (near_x, vy - storeys * near),
                (near_x, vy + near / offset),
                (far_x, vy + far / offset),
            ]
        )
        away = np.maximum(np.abs(patch.x - np.float32(vx)), np.float32(2))
        across = np.float32(100) / away * np.float32(canvas.between(1.0, 1.5))
        rows = canvas.pick((2.5, 3.0))
        along = (patch.y - np.float32(vy)) / away * np.float32(rows) + np.float32(40)
        opening = canvas.between(0.42, 0.6), canvas.between(0.5, 0.65)
        color = stone(canvas)
        wall = textured(
            color,
            np.float32(1)
            + canvas.noise(patch, "blotch") * np.float32(0.07)
            + canvas.noise(patch, "grain") * np.float32(0.06),
        )
        front = window_grid(
            patch, across, along, wall, opening=opening, glass=_glass(canvas, weather), seed=int(far * 9)
        )
        canvas.paint(patch, front, BUILDING)
        canvas.shade(patch, canvas.between(0.7, 1.1))


def _verge(canvas: Canvas, vanishing: Point, side: int, offset: float) -> None:
    """Grass with trees instead of houses."""
    vx, vy = vanishing
    edge = vx + side * 300
    patch = canvas.shape([(vx, vy), (vx + side * offset * (HEIGHT - vy), HEIGHT), (edge, HEIGHT), (edge, vy)])
    color = hsv(canvas.between(0.15, 0.36), canvas.between(0.3, 0.7), canvas.between(0.35, 0.7))
    canvas.paint(patch, textured(color, blades(canvas, patch)), GRASS)
    leaf = leaf_color(canvas)
    for drop in (6.0, 12.0, 22.0):
        draw_tree(canvas, vx + side * (offset + 0.7) * drop, vy + drop, drop * 1.3 + 22, leaf)


def _down_the_street(canvas: Canvas, vanishing: Point, road: float, walk: float) -> None:
    """Cars on the road and people on the pavement, the far ones first."""
    vx, vy = vanishing
    for lane, drop in ((0.5, canvas.between(24, 32)), (-0.5, canvas.between(32, 48))):
        if canvas.chance(0.75):
            draw_car_rear(
                canvas, vx + lane * road * drop, vy + drop, drop * road * canvas.between(0.8, 0.95) + 6
            )
    for side in (-1, 1):
        if canvas.chance(0.45):
            drop = canvas.between(30, 46)
            draw_person(canvas, vx + side * (road + walk * 0.5) * drop * 0.95, vy + drop, drop * 0.7 + 30)
