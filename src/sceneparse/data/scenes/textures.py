"""Textures: brightness factors and colours as functions of place, for one patch of the canvas.

``x``, ``y`` are units (see canvas.py), (1, w) and (h, 1); every function returns (h, w) or (3, h, w) float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.scenes.canvas import Canvas, Floats, Patch, sine

_SCATTER = ((np.arange(1024, dtype=np.int64) * 2654435761 % 4294967296) >> 16 & 255).astype(
    np.float32
) / np.float32(255)


def scatter(i: Floats, j: Floats, seed: int = 0) -> Floats:
    """A fixed "random" number 0..1 for every pair of whole numbers: planks, bricks and windows differ."""
    key = i.astype(np.int32) * 73 + j.astype(np.int32) * 151 + seed * 37
    return _SCATTER[key & 1023]


def _joint(phase: Floats, width: Floats | float) -> NDArray[np.bool_]:
    """True where the fractional part of ``phase`` lies in the joint between two tiles."""
    return phase - np.floor(phase) < width


def tiled(
    across: Floats, along: Floats, *, shift: float, joint: tuple[float, float], variety: float, seed: int
) -> Floats:
    """Bricks, planks, slabs or tiles: one brightness a tile, dark joints.

    Args:
        across, along: coordinates counted in tiles.
        shift: how far one row is moved against the next, in tiles (0.5: brick bond).
        joint: width of the joints across and along, as a fraction of a tile.
        variety: how much tiles differ, as a fraction of the brightness.
        seed: another number, other tiles.
    """
    row = np.floor(along)
    moved = (across + row * np.float32(shift)).astype(np.float32)
    tone = np.float32(1) + (scatter(np.floor(moved), row, seed) - np.float32(0.5)) * np.float32(2 * variety)
    dark = _joint(moved, joint[0]) | _joint(along, joint[1])
    return np.where(dark, tone * np.float32(0.62), tone).astype(np.float32)


def ground(patch: Patch, vanishing: tuple[float, float]) -> tuple[Floats, Floats]:
    """Place on a level floor in perspective: (h, w) to the side and (h, 1) depth, in heights of the eye."""
    drop = np.maximum(patch.y - np.float32(vanishing[1]), np.float32(0.8))
    depth = np.float32(100) / drop
    return (patch.x - np.float32(vanishing[0])) / drop, depth


def folds(patch: Patch, width: float, depth: float, waver: Floats) -> Floats:
    """Hanging cloth: upright waves of light and shade ``width`` units apart."""
    return np.float32(1) + sine(patch.x / np.float32(width) + waver * np.float32(0.12)) * np.float32(depth)


def ripples(canvas: Canvas, patch: Patch, horizon: float) -> Floats:
    """Water: level strokes, finer towards the horizon."""
    drop = np.maximum(patch.y - np.float32(horizon), np.float32(0.5))
    wander = canvas.noise(patch, "blotch") * np.float32(0.5) + canvas.noise(patch, "cloud") * np.float32(0.7)
    stroke = sine(np.float32(60) / (drop + np.float32(12)) * np.float32(3.5) + wander)
    return np.float32(1) + stroke * np.float32(0.16) + canvas.noise(patch, "mottle") * np.float32(0.07)


def blades(canvas: Canvas, patch: Patch) -> Floats:
    """Grass: short upright strokes over soft patches."""
    comb = sine(
        patch.x * np.float32(0.9)
        + canvas.noise(patch, "blotch") * np.float32(1.6)
        + patch.y * np.float32(0.17)
    )
    rough = canvas.noise(patch, "grain") * np.float32(0.13) + canvas.noise(patch, "mottle") * np.float32(0.13)
    return np.float32(1) + comb * np.float32(0.12) + rough + canvas.noise(patch, "blotch") * np.float32(0.08)


def leaves(canvas: Canvas, patch: Patch) -> Floats:
    """Foliage: blobs of light and deep shade."""
    clumps = canvas.noise(patch, "mottle")
    steps = np.where(
        clumps > 0.15, np.float32(1.3), np.where(clumps < -0.3, np.float32(0.55), np.float32(0.9))
    )
    return (steps + canvas.noise(patch, "blotch") * np.float32(0.2)).astype(np.float32)


def window_grid(
    patch: Patch,
    across: Floats,
    along: Floats,
    wall: Floats,
    *,
    opening: tuple[float, float],
    glass: tuple[Floats, Floats],
    seed: int,
) -> Floats:
    """A house front: rows of windows in a wall.

    Args:
        patch: where.
        across, along: coordinates counted in windows.
        wall: colour of the wall, broadcastable to (3, h, w).
        opening: share of the width and of the height of a cell that is glass.
        glass: dark and light colour of the panes; each window takes one by chance.
        seed: another number, other windows.

    Returns:
        (3, h, w).
    """
    i, j = np.floor(across), np.floor(along)
    dx, dy = np.abs(across - i - np.float32(0.5)), np.abs(along - j - np.float32(0.5))
    pane = (dx < opening[0] / 2) & (dy < opening[1] / 2)
    frame = (dx < opening[0] / 2 + 0.07) & (dy < opening[1] / 2 + 0.07)
    lit = scatter(i, j, seed) > np.float32(0.6)
    color = np.where(frame, wall * np.float32(0.66), wall)
    return np.where(pane, np.where(lit, glass[1], glass[0]), color).astype(np.float32)


def textured(color: Floats, factor: Floats) -> Floats:
    """One colour (3, 1, 1) times (h, w) brightness: (3, h, w)."""
    return color * factor
