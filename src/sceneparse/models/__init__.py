"""Networks: :func:`build_model` by name, and every import of weights."""

from sceneparse.models.build import DEFAULT_MODEL, HEADS, build_model, model_from_architecture
from sceneparse.models.fcn import FCN
from sceneparse.models.network import Network
from sceneparse.models.options import ModelOptions
from sceneparse.models.upsample import upsampled_argmax, upsampled_confidence
from sceneparse.models.weights import WeightsReport, load_matching, load_weights

__all__ = [
    "DEFAULT_MODEL",
    "FCN",
    "HEADS",
    "ModelOptions",
    "Network",
    "WeightsReport",
    "build_model",
    "load_matching",
    "load_weights",
    "model_from_architecture",
    "upsampled_argmax",
    "upsampled_confidence",
]
