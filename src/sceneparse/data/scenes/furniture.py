"""What stands in a room and hangs on its back wall."""

from __future__ import annotations

import numpy as np

from sceneparse.data.scenes.canvas import Canvas, Ellipse, Floats, Patch, Point, hsv
from sceneparse.data.scenes.classes import BED, CABINET, CURTAIN, DOOR, PAINTING, SOFA, WINDOWPANE
from sceneparse.data.scenes.room import Room
from sceneparse.data.scenes.textures import folds, textured, tiled


def _block(
    canvas: Canvas, box: tuple[float, float, float, float], color: Floats, number: int | None
) -> Patch:
    """A rectangle (left, top, right, bottom) in one colour with a little texture."""
    patch = canvas.rectangle(*box)
    canvas.paint(
        patch, textured(color, np.float32(1) + canvas.noise(patch, "mottle") * np.float32(0.04)), number
    )
    return patch


def _wood(canvas: Canvas, patch: Patch, color: Floats, *, upright: bool) -> Floats:
    """Wood grain: streaks along or across, (3, h, w)."""
    place = patch.x if upright else patch.y
    streak = np.float32(1) + canvas.noise(patch, "mottle") * np.float32(0.05)
    lines = tiled(place * np.float32(0.8), place * 0, shift=0, joint=(0.0, 0.0), variety=0.07, seed=5)
    return textured(color, streak * lines)


# --- on the wall ------------------------------------------------------------


def draw_window(canvas: Canvas, room: Room, middle: float, step: float) -> None:
    """A window with a view, nearly always between curtains."""
    half = step * canvas.between(0.27, 0.32)
    top = room.top + (room.bottom - room.top) * canvas.between(0.08, 0.16)
    bottom = room.top + (room.bottom - room.top) * canvas.between(0.6, 0.7)
    frame = hsv(0.1, 0.05, canvas.between(0.75, 1.0)) if canvas.chance(0.7) else room.tone(canvas, 0.3, 0.5)
    _block(canvas, (middle - half, top, middle + half, bottom), frame, WINDOWPANE)
    glass = canvas.rectangle(middle - half + 1.2, top + 1.2, middle + half - 1.2, bottom - 1.2)
    above = canvas.pick(
        (hsv(0.57, 0.35, 1.0), hsv(0.6, 0.1, 0.95), hsv(0.08, 0.35, 1.0), hsv(0.63, 0.6, 0.3))
    )
    below = canvas.any_color(saturation=(0.1, 0.4), value=(0.4, 0.8)) if canvas.chance(0.7) else above
    fall = np.clip((glass.y - np.float32(top)) / np.float32(bottom - top), 0, 1)
    hills = fall + canvas.noise(glass, "cloud") * np.float32(0.2) > 0.62
    canvas.paint(
        glass,
        np.where(hills, below, above * (np.float32(1.05) - fall * np.float32(0.15))),
    )
    for x in (-half / 3, half / 3) if half > 11 else (0.0,):
        canvas.paint(canvas.rectangle(middle + x - 0.6, top, middle + x + 0.6, bottom), frame)
    bar = top + (bottom - top) * canvas.pick((0.35, 0.5))
    canvas.paint(canvas.rectangle(middle - half, bar - 0.6, middle + half, bar + 0.6), frame)
    if canvas.chance(0.85):
        _draw_curtains(canvas, room, (middle - half, middle + half), step)


def _draw_curtains(canvas: Canvas, room: Room, window: Point, step: float) -> None:
    """Two lengths of cloth from a rod, in front of the window's edges."""
    color = canvas.any_color(saturation=(0.05, 0.7), value=(0.4, 0.95))
    width = step * canvas.between(0.28, 0.33)
    top = room.top + (room.bottom - room.top) * canvas.between(0.02, 0.06)
    foot = room.top + (room.bottom - room.top) * canvas.pick((0.8, 0.97, 0.97))
    depth, pleat = canvas.between(0.14, 0.24), canvas.between(2.4, 3.4)
    for outer, inner in (
        (window[0] - width * 0.65, window[0] + width * 0.35),
        (window[1] + width * 0.65, window[1] - width * 0.35),
    ):
        waist = inner + (outer - inner) * canvas.between(0.0, 0.25)
        patch = canvas.shape(
            [(outer, top), (inner, top), (waist, (top + foot) * 0.62), (waist, foot), (outer, foot)]
        )
        factor = folds(patch, pleat, depth, canvas.noise(patch, "cloud")) + canvas.noise(
            patch, "grain"
        ) * np.float32(0.03)
        canvas.paint(patch, textured(color, factor), CURTAIN)
    rod = canvas.rectangle(window[0] - width * 0.8, top - 0.9, window[1] + width * 0.8, top + 0.6)
    canvas.paint(rod, color * np.float32(0.4), CURTAIN)


def draw_door(canvas: Canvas, room: Room, middle: float, step: float) -> None:
    """A panelled door in its frame, from the floor to most of the wall's height."""
    half = min(step * 0.4, canvas.between(12.5, 15.5))
    height = (room.bottom - room.top) * canvas.between(0.78, 0.88)
    top = room.bottom - height
    color = room.tone(canvas, 0.4, 0.95)
    _block(canvas, (middle - half, top, middle + half, room.bottom), color * np.float32(0.7), DOOR)
    leaf = canvas.rectangle(middle - half + 1.2, top + 1.2, middle + half - 1.2, room.bottom)
    canvas.paint(leaf, _wood(canvas, leaf, color, upright=True))
    for side in (-1, 1):
        for above, below in canvas.pick(
            (((0.08, 0.45), (0.55, 0.92)), ((0.06, 0.3), (0.36, 0.62), (0.68, 0.94)))
        ):
            x0, x1 = sorted((middle + side * half * 0.14, middle + side * half * 0.72))
            y0, y1 = top + height * above, top + height * below
            canvas.shade(canvas.rectangle(x0, y0, x1, y1), 0.72)
            canvas.shade(canvas.rectangle(x0 + 0.8, y0 + 0.8, x1, y1), 1.28)
    knob = middle + half * 0.78 * canvas.pick((-1, 1))
    canvas.paint(canvas.shape(Ellipse(knob, top + height * 0.55, 1.0, 1.0)), hsv(0.13, 0.5, 0.95))


def draw_painting(canvas: Canvas, room: Room, middle: float, step: float) -> None:
    """A framed picture: a small landscape or coloured fields."""
    half = step * canvas.between(0.34, 0.43)
    wall = room.bottom - room.top
    top = room.top + wall * canvas.between(0.1, 0.18)
    bottom = top + min(half * canvas.between(1.3, 2.0), wall * 0.5)
    frame = canvas.pick(
        (hsv(0.12, 0.6, 0.75), hsv(0.08, 0.5, 0.25), hsv(0.1, 0.03, 0.15), hsv(0.1, 0.05, 0.97))
    )
    canvas.soft_spot(Ellipse(middle + 1, bottom, half * 1.2, 4), 0.35)
    _block(canvas, (middle - half, top, middle + half, bottom), frame, PAINTING)
    canvas.shade(canvas.rectangle(middle - half, bottom - 0.9, middle + half, bottom), 0.6)
    x0, y0, x1, y1 = middle - half + 2, top + 2, middle + half - 2, bottom - 2
    canvas.paint(canvas.rectangle(x0, y0, x1, y1), canvas.any_color(saturation=(0.2, 0.6), value=(0.6, 1.0)))
    if canvas.chance(0.5):
        _small_landscape(canvas, (x0, y0, x1, y1))
        return
    for _ in range(4):
        xs = sorted(canvas.between(x0, x1) for _ in range(2))
        ys = sorted(canvas.between(y0, y1) for _ in range(2))
        canvas.paint(
            canvas.rectangle(xs[0], ys[0], xs[1] + 1, ys[1] + 1 if ys[1] + 1 < y1 else y1), canvas.any_color()
        )


def _small_landscape(canvas: Canvas, box: tuple[float, float, float, float]) -> None:
    """Sun, two hills and a foreground, for a painting."""
    x0, y0, x1, y1 = box
    w, h = x1 - x0, y1 - y0
    sun = Ellipse(x0 + w * canvas.between(0.2, 0.8), y0 + h * 0.3, h * 0.13, h * 0.13)
    canvas.paint(canvas.shape(sun), hsv(0.13, 0.4, 1.0))
    for foot, height in ((0.75, 0.45), (0.9, 0.35)):
        peak = x0 + w * canvas.between(0.15, 0.85)
        base = y0 + h * foot
        hill = canvas.shape([(x0, base), (peak, base - h * height), (x1, base - h * 0.1), (x1, y1), (x0, y1)])
        canvas.paint(hill, canvas.any_color(value=(0.25, 0.75)))
    canvas.paint(canvas.rectangle(x0, y0 + h * 0.82, x1, y1), canvas.any_color(value=(0.25, 0.75)))


# --- on the floor ------------------------------------------------------------


def _stand(canvas: Canvas, room: Room, low: float, high: float) -> tuple[float, float]:
    """A line on the floor, a share of the way to the picture's foot, and the scale of things there."""
    foot = room.bottom + (100 - room.bottom) * canvas.between(low, high)
    return foot, (foot - room.vanishing[1]) / (room.bottom - room.vanishing[1])


def draw_cabinet(canvas: Canvas, room: Room, middle: float) -> None:
    """A chest of drawers or a sideboard with doors, against the back wall."""
    foot, scale = _stand(canvas, room, 0.05, 0.2)
    half, height = canvas.between(17, 20) * scale, canvas.between(25, 31) * scale
    top = foot - height
    color = room.tone(canvas, 0.3, 0.9)
    canvas.soft_spot(Ellipse(middle, foot, half * 1.2, 4), 0.6)
    body = canvas.rectangle(middle - half, top, middle + half, foot)
    canvas.paint(body, _wood(canvas, body, color, upright=False), CABINET)
    _block(
        canvas,
        (middle - half - 1, top - 1.5, middle + half + 1, top + 1),
        np.minimum(color * np.float32(1.2), np.float32(250)),
        CABINET,
    )
    canvas.shade(canvas.rectangle(middle - half, foot - 2, middle + half, foot), 0.45)
    rows, columns = canvas.pick(((3, 1), (3, 2), (1, 3), (2, 2)))
    for r in range(rows):
        for c in range(columns):
            x0, x1 = (middle - half + 2 * half * (c + s) / columns for s in (0.08, 0.92))
            y0, y1 = (top + 2 + (height - 4.5) * (r + s) / rows for s in (0.1, 0.9))
            canvas.shade(canvas.rectangle(x0 - 0.6, y0 - 0.6, x1 + 0.6, y1 + 0.6), 0.55)
            canvas.shade(canvas.rectangle(x0, y0, x1, y1), 1.85)
            knob = Ellipse((x0 + x1) / 2, (y0 + y1) / 2, 1.1, 1.1)
            canvas.paint(
                canvas.shape(knob), hsv(0.13, 0.35, 0.98) if color.mean() < 150 else hsv(0.08, 0.4, 0.2)
            )


def draw_bed(canvas: Canvas, room: Room, middle: float) -> None:
    """A bed seen from its foot: headboard at the wall, pillows, a blanket that hangs over the near end."""
    foot, scale = _stand(canvas, room, 0.35, 0.75)
    vx = room.vanishing[0]
    half, rise = canvas.between(25, 30), canvas.between(12, 15)
    near = [vx + (middle + side * half - vx) * scale for side in (-1, 1)]
    far = [middle - half, middle + half]
    top_far, top_near = room.bottom - rise, foot - rise * scale
    sheet, blanket = hsv(0.1, canvas.between(0, 0.1), canvas.between(0.8, 1)), canvas.any_color()
    canvas.soft_spot(Ellipse((near[0] + near[1]) / 2, foot - 2, (near[1] - near[0]) * 0.62, 7), 0.6)
    board = canvas.rectangle(far[0] - 1.5, top_far - canvas.between(11, 16), far[1] + 1.5, room.bottom + 1)
    canvas.paint(board, _wood(canvas, board, room.tone(canvas, 0.25, 0.8), upright=True), BED)
    flanks = [
        [(far[i], top_far), (near[i], top_near), (near[i], foot), (far[i], room.bottom)] for i in range(2)
    ]
    side = canvas.shape(*flanks, _quad(near[0], top_near, near[1], foot))
    rumple = np.float32(1) + canvas.noise(side, "blotch") * np.float32(0.08)
    canvas.paint(side, textured(blanket * np.float32(0.72), rumple), BED)

    def across(share: float, depth: float) -> Point:
        """A point on the mattress: share of the width, share of the way from head to foot."""
        at = depth / (depth + (1 - depth) * scale)  # equal steps on the bed shrink towards the wall
        x0, x1 = far[0] + (near[0] - far[0]) * at, far[1] + (near[1] - far[1]) * at
        return x0 + (x1 - x0) * share, top_far + (top_near - top_far) * at

    top = canvas.shape([across(0, 0), across(1, 0), across(1, 1), across(0, 1)])
    canvas.paint(top, textured(sheet, np.float32(1) + canvas.noise(top, "blotch") * np.float32(0.06)), BED)
    cover = canvas.shape([across(0, 0.42), across(1, 0.42), across(1, 1), across(0, 1)])
    quilt = (
        np.float32(1)
        + canvas.noise(cover, "blotch") * np.float32(0.14)
        + canvas.noise(cover, "mottle") * np.float32(0.06)
    )
    if canvas.chance(0.5):
        quilt = quilt * folds(cover, canvas.between(4, 9), 0.12, np.float32(0) * cover.y)
    canvas.paint(cover, textured(blanket, quilt), BED)
    canvas.shade(canvas.shape([across(0, 0.42), across(1, 0.42), across(1, 0.5), across(0, 0.5)]), 1.2)
    pillow = (
        np.minimum(sheet * np.float32(1.08), np.float32(252)) if canvas.chance(0.7) else canvas.any_color()
    )
    for share in (0.27, 0.73):
        x, y = across(share, 0.16)
        canvas.soft_spot(Ellipse(x, y + 1.5, half * 0.48, 4.6), 0.45)
        canvas.paint(canvas.shape(Ellipse(x, y - 0.8, half * 0.4, 3.9)), pillow, BED)


def draw_sofa(canvas: Canvas, room: Room, middle: float) -> None:
    """A sofa from the front: back, arms, seat cushions, perhaps scatter cushions."""
    foot, scale = _stand(canvas, room, 0.2, 0.6)
    half, height = canvas.between(26, 31) * scale, canvas.between(24, 28) * scale
    color = canvas.any_color(saturation=(0.05, 0.65), value=(0.25, 0.9))
    arm, seat, top = 6.5 * scale, foot - height * 0.42, foot - height
    canvas.soft_spot(Ellipse(middle, foot, half * 1.15, 5), 0.65)

    def cloth(patch: Patch, brightness: float) -> None:
        weave = (
            np.float32(brightness)
            + canvas.noise(patch, "blotch") * np.float32(0.06)
            + canvas.noise(patch, "grain") * np.float32(0.05)
        )
        canvas.paint(patch, textured(color, weave), SOFA)

    places = canvas.pick((2, 3))
    width = 2 * (half - arm) / places
    cloth(canvas.rectangle(middle - half + 1, top + 3, middle + half - 1, foot - 1.5), 0.6)
    for i in range(places):
        x = middle - half + arm + width * i
        cloth(
            canvas.shape(
                Ellipse(x + width / 2, top + 3, width / 2 - 0.3, 3),
                _quad(x + 0.3, top + 3, x + width - 0.3, seat),
            ),
            0.92,
        )
        cloth(canvas.rectangle(x + 0.3, seat, x + width - 0.3, seat + height * 0.17), 1.12)
        cloth(canvas.rectangle(x + 0.3, seat + height * 0.18, x + width - 0.3, foot - 2), 0.78)
    for side in (-1, 1):
        x = middle + side * (half - arm / 2)
        head = seat - height * 0.16
        cloth(
            canvas.shape(
                Ellipse(x, head, arm / 2 + 0.6, arm / 2), _quad(x - arm / 2, head, x + arm / 2, foot - 1)
            ),
            1.0,
        )
        canvas.shade(
            canvas.rectangle(x - side * arm / 2 - 0.4, head, x - side * arm / 2 + 0.4, foot - 1), 0.6
        )
    if canvas.chance(0.7):
        spread = canvas.any_color()
        for share in canvas.pick(((-0.6,), (-0.6, 0.6), (0.55,))):
            x, y, r = middle + share * half, seat - 3.2 * scale, 4.2 * scale
            patch = canvas.shape(
                [(x - r, y + r * 0.7), (x - r * 0.8, y - r), (x + r * 0.9, y - r * 0.8), (x + r, y + r * 0.8)]
            )
            canvas.paint(
                patch,
                textured(spread, np.float32(1) + canvas.noise(patch, "blotch") * np.float32(0.15)),
                SOFA,
            )


def _quad(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """The corners of an upright rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]
