"""Networks: :func:`build_model` by name, and every import of weights."""

from sceneparse.models.build import DEFAULT_MODEL, HEADS, build_model, model_from_architecture
from sceneparse.models.fcn import FCN
from sceneparse.models.options import ModelOptions

__all__ = ["DEFAULT_MODEL", "FCN", "HEADS", "ModelOptions", "build_model", "model_from_architecture"]
