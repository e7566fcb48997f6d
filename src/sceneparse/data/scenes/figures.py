"""People, cars and trees: they stand with their foot at a point and have a height."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sceneparse.data.scenes.canvas import Canvas, Ellipse, Floats, Point, hsv, rgb
from sceneparse.data.scenes.classes import CAR, PERSON, TREE
from sceneparse.data.scenes.textures import leaves, textured


def draw_person(canvas: Canvas, x: float, foot: float, height: float) -> None:
    """A standing person in clothes of any colour; about 0.4 as wide as high."""
    u = height / 100
    skin = hsv(canvas.between(0.04, 0.08), canvas.between(0.3, 0.6), canvas.between(0.35, 0.95))
    hair = hsv(0.08, canvas.between(0.1, 0.7), canvas.between(0.08, 0.6))
    shirt, trousers = (
        canvas.any_color(value=(0.2, 0.95)),
        canvas.any_color(saturation=(0, 0.5), value=(0.12, 0.7)),
    )
    top = foot - height
    canvas.soft_spot(Ellipse(x, foot, 22 * u, 5 * u), 0.6)

    def limb(color: Floats, *corners: Point) -> None:
        patch = canvas.shape([(x + 1.15 * a * u, top + b * u) for a, b in corners])
        round_off = np.float32(1.1) - np.abs(patch.x - np.float32(x)) / np.float32(30 * u) * np.float32(0.35)
        factor = round_off + canvas.noise(patch, "mottle") * np.float32(0.07)
        canvas.paint(patch, textured(color, factor), PERSON)

    step = canvas.between(0, 3)
    limb(trousers, (-13, 50), (0, 50), (-0.5, 97), (-12 - step, 97))
    limb(trousers * np.float32(0.85), (0, 50), (13, 50), (12 + step, 97), (0.5, 97))
    shoes = hsv(0.08, 0.3, canvas.between(0.1, 0.4))
    limb(shoes, (-14 - step, 94), (-1, 94), (-1, 100), (-14 - step, 100))
    limb(shoes, (1, 94), (14 + step, 94), (14 + step, 100), (1, 100))
    spread = canvas.between(17, 21)
    for side in (-1, 1):
        limb(
            shirt * np.float32(0.8),
            (side * 10, 20),
            (side * 16, 21),
            (side * spread, 50),
            (side * (spread - 6), 52),
        )
        limb(
            skin,
            (side * spread, 49),
            (side * (spread - 6), 51),
            (side * (spread - 5), 57),
            (side * spread, 56),
        )
    limb(shirt, (-10, 18), (10, 18), (16, 21), (14, 54), (-14, 54), (-16, 21))
    limb(skin, (-4, 13), (4, 13), (4, 20), (-4, 20))
    canvas.paint(canvas.shape(Ellipse(x, top + 8.8 * u, 8.6 * u, 9 * u)), hair, PERSON)
    canvas.paint(canvas.shape(Ellipse(x, top + 10.4 * u, 6.8 * u, 7.2 * u)), skin, PERSON)


def draw_car_side(canvas: Canvas, x: float, foot: float, length: float) -> None:
    """A car from the side, of any colour."""
    u = length / 100 * canvas.pick((-1, 1))
    size = abs(u)
    top = foot - 36 * size
    paint = canvas.any_color(saturation=(0, 0.9), value=(0.15, 0.98))
    glass = hsv(0.58, canvas.between(0.1, 0.4), canvas.between(0.2, 0.75))
    canvas.soft_spot(Ellipse(x, foot, length * 0.56, 5 * size + 1), 0.75)

    def place(corners: Sequence[Point]) -> list[Point]:
        return [(x + a * u, top + b * size) for a, b in corners]

    body = [
        (-50, 17),
        (-46, 13),
        (-24, 12),
        (-12, 1),
        (20, 0),
        (36, 12),
        (48, 15),
        (50, 28),
        (47, 31),
        (-49, 31),
        (-51, 25),
    ]
    patch = canvas.shape(place(body))
    fall = (patch.y - np.float32(top)) / np.float32(31 * size)
    canvas.paint(
        patch,
        textured(
            paint,
            np.float32(1.15) - fall * np.float32(0.4) + canvas.noise(patch, "mottle") * np.float32(0.03),
        ),
        CAR,
    )
    for pane in ([(-20, 12), (-10, 3), (2, 2.5), (2, 12)], [(5, 12), (5, 2.5), (18, 2.5), (30, 12)]):
        canvas.paint(canvas.shape(place(pane)), glass)
    canvas.shade(canvas.shape(place([(2.8, 12), (4.4, 12), (4.4, 28), (2.8, 28)])), 0.6)
    canvas.shade(canvas.shape(place([(-50, 24), (50, 24), (49, 31), (-50, 31)])), 0.7)
    canvas.paint(canvas.shape(place([(-50, 17), (-45, 16), (-46, 20), (-50, 21)])), hsv(0.13, 0.2, 1.0))
    canvas.paint(canvas.shape(place([(46, 16), (49, 17), (49.5, 21), (47, 21)])), hsv(0.0, 0.85, 0.85))
    for wheel in (-30, 31):
        centre = x + wheel * u, top + 28 * size
        for radius, tone in ((9.5, 22.0), (5.0, 150.0), (1.8, 60.0)):
            color = rgb(tone, tone, tone)
            canvas.paint(canvas.shape(Ellipse(*centre, radius * size, radius * size)), color, CAR)


def draw_car_rear(canvas: Canvas, x: float, foot: float, width: float) -> None:
    """A car from behind, of any colour."""
    u = width / 100
    top = foot - 76 * u
    paint = canvas.any_color(saturation=(0, 0.9), value=(0.15, 0.98))
    canvas.soft_spot(Ellipse(x, foot, width * 0.62, 8 * u + 1), 0.8)

    def part(corners: Sequence[Point], color: Floats) -> None:
        canvas.paint(canvas.shape([(x + a * u, top + b * u) for a, b in corners]), color, CAR)

    dark = rgb(24, 24, 24)
    part([(-46, 60), (-28, 60), (-28, 76), (-46, 76)], dark)
    part([(28, 60), (46, 60), (46, 76), (28, 76)], dark)
    part(
        [
            (-30, 2),
            (-22, 0),
            (22, 0),
            (30, 2),
            (42, 28),
            (50, 33),
            (50, 62),
            (46, 68),
            (-46, 68),
            (-50, 62),
            (-50, 33),
            (-42, 28),
        ],
        paint,
    )
    part(
        [(-27, 5), (27, 5), (36, 27), (-36, 27)],
        hsv(0.58, canvas.between(0.1, 0.4), canvas.between(0.15, 0.6)),
    )
    part([(-50, 56), (50, 56), (50, 62), (46, 68), (-46, 68), (-50, 62)], paint * np.float32(0.6))
    for side in (-1, 1):
        part(
            [(side * 49, 34), (side * 33, 34), (side * 36, 45), (side * 49, 46)],
            hsv(0.0, 0.85, canvas.between(0.7, 1.0)),
        )
    part([(-13, 42), (13, 42), (13, 51), (-13, 51)], hsv(0.13, 0.15, 0.95))


def leaf_color(canvas: Canvas) -> Floats:
    """Mostly greens from olive to blue-green, now and then autumn."""
    if canvas.chance(0.2):
        return hsv(canvas.between(0.03, 0.14), canvas.between(0.5, 0.85), canvas.between(0.45, 0.8))
    return hsv(canvas.between(0.2, 0.4), canvas.between(0.25, 0.7), canvas.between(0.25, 0.65))


def draw_tree(canvas: Canvas, x: float, foot: float, height: float, color: Floats) -> None:
    """A leafy tree or, one time in three, a conifer; trunk and crown are both ``tree``."""
    canvas.soft_spot(Ellipse(x, foot, height * 0.3, height * 0.06 + 1), 0.55)
    bark = hsv(0.07, canvas.between(0.2, 0.5), canvas.between(0.2, 0.45))
    half = max(height * 0.08, 3.2)
    trunk = canvas.rectangle(x - half, foot - height * 0.5, x + half, foot)
    off = (trunk.x - np.float32(x)) / np.float32(half)
    light = np.float32(1.15) - off * off * np.float32(0.4) - off * np.float32(0.2)
    canvas.paint(trunk, textured(bark, light + canvas.noise(trunk, "mottle") * np.float32(0.2)), TREE)
    parts: list[list[Point] | Ellipse] = []
    if canvas.chance(0.33):
        for level in range(3):
            y, r = foot - height * (0.18 + 0.24 * level), height * (0.32 - 0.06 * level)
            parts.append([(x - r, y), (x + r, y), (x, y - height * 0.42)])
        shade = color * np.float32(0.8)
    else:
        r = height * 0.24
        parts.append(Ellipse(x, foot - height * 0.66, r * 1.25, r * 1.3))
        for _ in range(8):
            dx, dy = canvas.between(-1, 1), canvas.between(-1, 1)
            size = r * canvas.between(0.55, 0.85)
            parts.append(Ellipse(x + dx * r * 0.95, foot - height * 0.68 + dy * r * 0.85, size, size))
        shade = color
    crown = canvas.shape(*parts)
    lit = np.float32(1.0) - (crown.x - np.float32(x)) / np.float32(height) * np.float32(0.7)
    lit = lit - (crown.y - np.float32(foot - height * 0.65)) / np.float32(height) * np.float32(0.8)
    canvas.paint(crown, textured(shade, leaves(canvas, crown) * lit), TREE)
