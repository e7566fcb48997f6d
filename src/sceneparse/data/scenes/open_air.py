"""What streets and landscapes share: weather, sky, distance, and the stuff roads and walls are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sceneparse.data.scenes.canvas import Canvas, Floats, Patch, hsv
from sceneparse.data.scenes.classes import ROAD, SKY
from sceneparse.data.scenes.textures import textured, tiled


@dataclass(frozen=True)
class Weather:
    """Sky colours from top to horizon and the colour of distance."""

    top: Floats
    horizon: Floats
    clouds: Floats
    cover: float


def choose_weather(canvas: Canvas) -> Weather:
    """Blue, overcast, sunset, dusk or dawn."""
    kind = canvas.pick(("blue", "blue", "overcast", "sunset", "dusk", "dawn"))
    jitter = canvas.between(-0.03, 0.03)
    top, horizon, clouds = {
        "blue": (hsv(0.59 + jitter, 0.65, 0.85), hsv(0.56 + jitter, 0.2, 0.97), hsv(0.6, 0.02, 1.0)),
        "overcast": (hsv(0.6, 0.08, canvas.between(0.5, 0.8)), hsv(0.6, 0.04, 0.85), hsv(0.6, 0.05, 0.65)),
        "sunset": (hsv(0.72 + jitter, 0.35, 0.6), hsv(0.07 + jitter, 0.6, 1.0), hsv(0.98, 0.4, 0.85)),
        "dusk": (hsv(0.66 + jitter, 0.6, 0.3), hsv(0.8 + jitter, 0.35, 0.6), hsv(0.7, 0.35, 0.45)),
        "dawn": (hsv(0.5 + jitter, 0.3, 0.75), hsv(0.12 + jitter, 0.3, 1.0), hsv(0.05, 0.2, 1.0)),
    }[kind]
    return Weather(top, horizon, clouds, canvas.between(-0.3, 0.5))


def paint_sky(canvas: Canvas, weather: Weather, horizon: float) -> None:
    """Sky with clouds from the top to a little below the horizon."""
    patch = canvas.rectangle(0, 0, canvas.width, horizon + 12)
    fall = np.clip(patch.y / np.float32(horizon), 0, 1)
    canvas.paint(patch, weather.top + (weather.horizon - weather.top) * fall, SKY)
    billow = canvas.noise(patch, "cloud") + canvas.noise(patch, "blotch") * np.float32(0.35)
    canvas.mix(
        patch, weather.clouds, np.clip((billow - np.float32(0.35 - weather.cover)) * np.float32(1.6), 0, 0.85)
    )


def haze(canvas: Canvas, weather: Weather, horizon: float) -> None:
    """Distance takes the colour of the sky at the horizon; called before what stands in front is drawn."""
    patch = canvas.rectangle(0, horizon - 30, canvas.width, horizon + 22)
    near = np.abs(patch.y - np.float32(horizon)) / np.float32(30)
    canvas.mix(
        patch, weather.horizon, np.clip(np.float32(1) - near, 0, 1) * np.float32(canvas.between(0, 0.4))
    )


def stone(canvas: Canvas) -> Floats:
    """The greys and browns that buildings, roads, pavements and rock share."""
    return hsv(canvas.between(0.02, 0.14), canvas.between(0, 0.35), canvas.between(0.3, 0.85))


def paint_asphalt(canvas: Canvas, patch: Patch) -> None:
    """Fine-grained grey."""
    color = hsv(canvas.between(0.05, 0.65), canvas.between(0, 0.12), canvas.between(0.25, 0.6))
    rough = canvas.noise(patch, "grain") * np.float32(0.07) + canvas.noise(patch, "cloud") * np.float32(0.06)
    canvas.paint(patch, textured(color, np.float32(1) + rough), ROAD)


def bricked(canvas: Canvas, patch: Patch, color: Floats) -> Floats:
    """A wall of bricks or render, (3, h, w)."""
    if canvas.chance(0.6):
        grid = patch.x / np.float32(4.6), patch.y / np.float32(2.3)
        return textured(color, tiled(*grid, shift=0.5, joint=(0.12, 0.2), variety=0.13, seed=2))
    return textured(color, np.float32(1) + canvas.noise(patch, "blotch") * np.float32(0.05))
