"""Rooms: a box seen in perspective, with things on its walls and furniture on its floor."""

from __future__ import annotations

import numpy as np

from sceneparse.data.scenes import furniture
from sceneparse.data.scenes.canvas import HEIGHT, Canvas, Floats, Patch, Point, rgb
from sceneparse.data.scenes.classes import CEILING, FLOOR, UNLABELLED, WALL
from sceneparse.data.scenes.figures import draw_person
from sceneparse.data.scenes.room import Room
from sceneparse.data.scenes.textures import folds, ground, textured, tiled


def draw_room(canvas: Canvas) -> None:
    """Draws a room: shell, things on the back wall, furniture, now and then a person."""
    room = _plan(canvas)
    _ceiling(canvas, room)
    _floor(canvas, room)
    _walls(canvas, room)
    _hang_things(canvas, room)
    _furnish(canvas, room)


def _plan(canvas: Canvas) -> Room:
    vx, vy = canvas.width * canvas.between(0.35, 0.65), canvas.between(36, 50)
    depth = canvas.between(0.66, 0.8)
    hue = canvas.pick((0.07, 0.09, 0.11, 0.07, canvas.between(0, 1)))
    return Room(
        vanishing=(vx, vy),
        left=vx * (1 - depth),
        top=vy * (1 - depth * canvas.between(0.95, 1.1)),
        right=vx + (canvas.width - vx) * depth,
        bottom=vy + (HEIGHT - vy) * depth * canvas.between(0.72, 0.9),
        hue=hue,
        saturation=canvas.between(0.1, 0.5),
    )


def _ray(room: Room, corner: Point, reach: float = 4.0) -> Point:
    """A point far outside on the line from the vanishing point through a corner of the back wall."""
    vx, vy = room.vanishing
    return vx + (corner[0] - vx) * reach, vy + (corner[1] - vy) * reach


def _ceiling(canvas: Canvas, room: Room) -> None:
    left, right = (room.left, room.top), (room.right, room.top)
    patch = canvas.shape([left, right, _ray(room, right), _ray(room, left)])
    fade = np.float32(1.05) - (patch.y / np.float32(room.top + 1)) * np.float32(canvas.between(0.05, 0.3))
    factor = fade + canvas.noise(patch, "cloud") * np.float32(0.04)
    if canvas.chance(0.4):
        below = np.maximum(np.float32(room.vanishing[1]) - patch.y, np.float32(1))
        beams = (patch.x - np.float32(room.vanishing[0])) / below
        factor = factor * tiled(
            beams * np.float32(1.6) + 50, beams * 0, shift=0, joint=(0.1, 0), variety=0.02, seed=1
        )
    canvas.paint(patch, textured(room.tone(canvas, 0.5, 1.0), factor), CEILING)
    if canvas.chance(0.5):
        x, y = canvas.between(room.left + 15, room.right - 15), room.top * canvas.between(0.35, 0.7)
        lamp = canvas.shape([(x - 7, y - 1), (x + 7, y - 1), (x + 5.5, y + 1.2), (x - 5.5, y + 1.2)])
        canvas.paint(lamp, rgb(255, 250, 225), UNLABELLED)


def _floor(canvas: Canvas, room: Room) -> None:
    left, right = (room.left, room.bottom), (room.right, room.bottom)
    patch = canvas.shape([left, right, _ray(room, right), _ray(room, left)])
    side, depth = ground(patch, room.vanishing)
    style = canvas.pick(("planks", "planks", "boards", "tiles"))
    seed = int(canvas.rng.integers(1000))
    if style == "planks":
        grid = (depth * np.float32(0.9), side * np.float32(6) + 80)
        factor = tiled(*grid, shift=0.37, joint=(0.03, 0.1), variety=0.16, seed=seed)
    elif style == "boards":
        grid = (side * np.float32(1.6) + 80, depth * np.float32(6))
        factor = tiled(*grid, shift=0.37, joint=(0.03, 0.14), variety=0.16, seed=seed)
    else:
        grid = (side * np.float32(3.5) + 80, depth * np.float32(3.5))
        factor = tiled(*grid, shift=0, joint=(0.07, 0.09), variety=canvas.between(0.04, 0.2), seed=seed)
    factor = factor + canvas.noise(patch, "mottle") * np.float32(0.05)
    canvas.paint(patch, textured(room.tone(canvas, 0.3, 0.85), factor), FLOOR)


def _paper(canvas: Canvas, patch: Patch, style: str) -> Floats:
    """Wallpaper: plain, striped, panelled or brick, (h, w)."""
    plain = (
        np.float32(1)
        + canvas.noise(patch, "cloud") * np.float32(0.05)
        + canvas.noise(patch, "grain") * np.float32(0.03)
    )
    if style == "striped":
        return plain * folds(patch, 3.2, 0.05, np.float32(0) * patch.y)
    if style == "brick":
        return plain * tiled(
            patch.x / np.float32(6),
            patch.y / np.float32(3),
            shift=0.5,
            joint=(0.1, 0.18),
            variety=0.1,
            seed=3,
        )
    return plain


def _walls(canvas: Canvas, room: Room) -> None:
    color = room.tone(canvas, 0.5, 0.95)
    style = canvas.pick(("plain", "plain", "striped", "brick"))
    corners = {
        "left": ((room.left, room.top), (room.left, room.bottom)),
        "right": ((room.right, room.top), (room.right, room.bottom)),
    }
    for top, bottom in corners.values():
        patch = canvas.shape([top, bottom, _ray(room, bottom), _ray(room, top)])
        away = np.abs(patch.x - np.float32(top[0])) * np.float32(0.004)
        shade = (np.float32(canvas.between(0.72, 1.12)) + away * np.float32(canvas.between(-1, 1))) * _paper(
            canvas, patch, "plain"
        )
        canvas.paint(patch, textured(color, shade), WALL)
        _skirting(
            canvas,
            [
                bottom,
                _ray(room, bottom),
                (_ray(room, bottom)[0], _ray(room, bottom)[1] - 7),
                (bottom[0], bottom[1] - 2),
            ],
            color,
        )
    back = canvas.rectangle(room.left, room.top, room.right, room.bottom)
    canvas.paint(back, textured(color, _paper(canvas, back, style)), WALL)
    _skirting(
        canvas,
        [
            (room.left, room.bottom - 2),
            (room.right, room.bottom - 2),
            (room.right, room.bottom),
            (room.left, room.bottom),
        ],
        color,
    )
    for edge in (room.left, room.right):
        corner = canvas.rectangle(edge - 0.3, room.top, edge + 0.3, room.bottom)
        canvas.shade(corner, 0.85)


def _skirting(canvas: Canvas, corners: list[Point], wall: Floats) -> None:
    """The board along the foot of a wall."""
    canvas.paint(canvas.shape(corners), np.minimum(wall * np.float32(1.12), np.float32(250)), WALL)


def _hang_things(canvas: Canvas, room: Room) -> None:
    """Two of window, door and painting, side by side on the back wall."""
    step = (room.right - room.left) / 2
    things = ["window", "door", "painting"]
    canvas.rng.shuffle(things)
    for place, thing in enumerate(things[:2]):
        middle = room.left + step * (place + 0.5) + canvas.between(-1, 1)
        if thing == "window":
            furniture.draw_window(canvas, room, middle, step)
        elif thing == "door":
            furniture.draw_door(canvas, room, middle, step)
        else:
            furniture.draw_painting(canvas, room, middle, step)


def _furnish(canvas: Canvas, room: Room) -> None:
    """One large piece in the middle, perhaps a cabinet with a lamp at its side, perhaps a person in front."""
    width = room.right - room.left
    main_side = canvas.pick((-1, 1))
    middle = (room.left + room.right) / 2
    if canvas.chance(0.75):
        furniture.draw_cabinet(canvas, room, middle - main_side * width * canvas.between(0.33, 0.42))
    main = canvas.pick((furniture.draw_bed, furniture.draw_sofa))
    main(canvas, room, middle + main_side * width * canvas.between(0.14, 0.28))
    if canvas.chance(0.35):
        x = canvas.between(0.12, 0.88) * canvas.width
        draw_person(canvas, x, canvas.between(94, 104), canvas.between(62, 78))
