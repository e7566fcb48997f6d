"""sceneparse: gives every pixel of an image a class.

>>> import sceneparse
>>> predictor = sceneparse.load("runs/camvid")          # doctest: +SKIP
>>> result = predictor("street.jpg")                    # doctest: +SKIP
>>> result.overlay().save("overlay.png")                # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sceneparse.errors import InputError

if TYPE_CHECKING:
    from sceneparse.evaluation.evaluate import evaluate as evaluate
    from sceneparse.prediction.predictor import Predictor as Predictor
    from sceneparse.prediction.predictor import load as load
    from sceneparse.prediction.segmentation import Segmentation as Segmentation
    from sceneparse.training.run import train as train

__version__ = "0.1.0"

__all__ = ["InputError", "Predictor", "Segmentation", "evaluate", "load", "train"]

_HOMES = {
    "Predictor": "sceneparse.prediction.predictor",
    "Segmentation": "sceneparse.prediction.segmentation",
    "evaluate": "sceneparse.evaluation.evaluate",
    "load": "sceneparse.prediction.predictor",
    "train": "sceneparse.training.run",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: ``sceneparse --help`` need not wait for PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
