"""sceneparse: gives every pixel of an image a class.

Example::

    import sceneparse

    sceneparse.train("camvid", "runs/camvid", recipe="camvid-small")
    sceneparse.evaluate("runs/camvid", "camvid")["mean_iou"]
    predictor = sceneparse.load("runs/camvid")
    result = predictor("street.jpg")
    result.labels, result.shares()
    result.overlay().save("overlay.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sceneparse.errors import InputError

if TYPE_CHECKING:
    from sceneparse import models as models
    from sceneparse.api import evaluate as evaluate
    from sceneparse.api import train as train
    from sceneparse.prediction.predictor import Predictor as Predictor
    from sceneparse.prediction.predictor import load as load
    from sceneparse.prediction.segmentation import Segmentation as Segmentation

__version__ = "0.1.0"

__all__ = ["InputError", "Predictor", "Segmentation", "evaluate", "load", "models", "train"]

_HOMES = {
    "Predictor": "sceneparse.prediction.predictor",
    "Segmentation": "sceneparse.prediction.segmentation",
    "evaluate": "sceneparse.api",
    "load": "sceneparse.prediction.predictor",
    "train": "sceneparse.api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``sceneparse --help`` need not wait for PyTorch."""
    import importlib

    if name == "models":
        return importlib.import_module("sceneparse.models")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
