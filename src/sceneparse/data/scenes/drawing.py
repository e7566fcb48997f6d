"""One scene from one seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.scenes.canvas import Canvas, rgb
from sceneparse.data.scenes.indoor import draw_room
from sceneparse.data.scenes.landscape import draw_landscape
from sceneparse.data.scenes.streets import draw_street_across, draw_street_along

DEFAULT_SIZE_HW = (128, 160)
"""Size of a scene in pixels."""

DRAWING_VERSION = 2
"""Raised whenever a seed gives another picture, so that written scenes are drawn again."""

_STREAM = 0x5CE9E
"""Keeps these random numbers apart from those of training with the same seed."""

_KINDS = (draw_room,) * 4 + (draw_landscape,) * 2 + (draw_street_across, draw_street_along)


def draw_scene(
    seed: int, size_hw: tuple[int, int] = DEFAULT_SIZE_HW
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draws one scene; half of them are rooms.

    A pure function of its arguments: the same bytes in every process with the same NumPy and Pillow.

    Args:
        seed: any whole number >= 0.
        size_hw: height and width in pixels.

    Returns:
        image (H, W, 3) uint8 RGB and mask (H, W) uint8 of ADE20K file numbers; 0 is unlabelled.
    """
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, seed])))
    canvas = Canvas(size_hw, rng)
    canvas.pick(_KINDS)(canvas)
    warmth, brightness = canvas.between(-0.13, 0.13), canvas.between(0.72, 1.12)
    cast = rgb(1 + warmth, 1.0, 1 - warmth) * np.float32(brightness)
    return canvas.developed(
        cast=cast,
        contrast=canvas.between(0.8, 1.1),
        slope=(canvas.between(-0.16, 0.16), canvas.between(-0.1, 0.1)),
        grain=canvas.between(2, 7),
    )
