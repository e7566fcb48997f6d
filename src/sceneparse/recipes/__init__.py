"""Recipes: a run is one function that returns a complete configuration."""

from __future__ import annotations

from collections.abc import Callable

from sceneparse.config import RunConfig
from sceneparse.errors import InputError, nearest
from sceneparse.recipes.camvid_best import camvid_best
from sceneparse.recipes.camvid_small import camvid_small
from sceneparse.recipes.fcn8s_paper import fcn8s_paper
from sceneparse.recipes.fcn8s_tutorial import fcn8s_tutorial
from sceneparse.recipes.scenes_demo import scenes_demo

RECIPES: dict[str, Callable[[], RunConfig]] = {
    "fcn8s-tutorial": fcn8s_tutorial,
    "fcn8s-paper": fcn8s_paper,
    "camvid-small": camvid_small,
    "camvid-best": camvid_best,
    "scenes-demo": scenes_demo,
}

DEFAULT_RECIPE = "fcn8s-tutorial"


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
