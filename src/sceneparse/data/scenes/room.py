"""The shell of a room: what everything in it is placed and coloured by."""

from __future__ import annotations

from dataclasses import dataclass

from sceneparse.data.scenes.canvas import Canvas, Floats, Point, hsv


@dataclass(frozen=True)
class Room:
    """Lines of a room: the vanishing point and the back wall's rectangle, in units; its one colour family."""

    vanishing: Point
    left: float
    top: float
    right: float
    bottom: float
    hue: float
    saturation: float

    def tone(self, canvas: Canvas, low: float, high: float) -> Floats:
        """A colour of the room's family: wall, floor, ceiling, door and wood all come from here."""
        hue = self.hue + canvas.between(-0.03, 0.03)
        return hsv(hue, self.saturation * canvas.between(0.5, 1.3), canvas.between(low, high))
