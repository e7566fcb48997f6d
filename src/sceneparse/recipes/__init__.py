"""Recipes: a run is one function that returns a complete configuration, under a header."""

from __future__ import annotations

import sys
from collections.abc import Callable

from sceneparse.config import RunConfig
from sceneparse.errors import InputError, nearest
from sceneparse.recipes.ade20k_fcn8s_vgg19 import ade20k_fcn8s_vgg19
from sceneparse.recipes.ade20k_modern import ade20k_modern
from sceneparse.recipes.camvid_best import camvid_best
from sceneparse.recipes.camvid_fcn8s_vgg19 import camvid_fcn8s_vgg19
from sceneparse.recipes.camvid_small import camvid_small
from sceneparse.recipes.fcn8s_paper import fcn8s_paper
from sceneparse.recipes.fcn8s_tutorial import fcn8s_tutorial
from sceneparse.recipes.scenes_demo import scenes_demo

RECIPES: dict[str, Callable[[], RunConfig]] = {
    "fcn8s-tutorial": fcn8s_tutorial,
    "fcn8s-paper": fcn8s_paper,
    "camvid-small": camvid_small,
    "camvid-best": camvid_best,
    "camvid-fcn8s-vgg19": camvid_fcn8s_vgg19,
    "ade20k-fcn8s-vgg19": ade20k_fcn8s_vgg19,
    "ade20k-modern": ade20k_modern,
    "scenes-demo": scenes_demo,
}

DEFAULT_RECIPE = "fcn8s-tutorial"

HEADER_FIELDS = ("Paper", "Data", "Expected", "Hardware", "Hours", "Command")


def recipe(name: str) -> RunConfig:
    """The configuration of a recipe.

    Raises:
        InputError: no such recipe; the nearest is named.
    """
    if name not in RECIPES:
        raise InputError(
            f"unknown recipe {name!r}.{nearest(name, RECIPES)}", fix=f"one of: {', '.join(RECIPES)}"
        )
    return RECIPES[name]()


def header(name: str) -> dict[str, str]:
    """What the header of a recipe says under each of :data:`HEADER_FIELDS`, as one line.

    Raises:
        InputError: no such recipe.
    """
    recipe(name)
    paragraph = (sys.modules[RECIPES[name].__module__].__doc__ or "").split("\n\n")[1]
    fields: dict[str, str] = {}
    for line in paragraph.splitlines():
        field, colon, _ = line.partition(":")
        if colon and field in HEADER_FIELDS:
            fields[field] = line[len(field) + 1 :].strip()
        else:
            last = list(fields)[-1]
            fields[last] = f"{fields[last]} {line.strip()}"
    return fields
