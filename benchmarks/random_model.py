"""A model folder without training: random weights, and scores that are not all equal."""

from __future__ import annotations

from pathlib import Path

import torch

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import Bundle, write_bundle
from sceneparse.labels import LabelSet
from sceneparse.models import ModelOptions, build_model
from sceneparse.models.network import Network
from sceneparse.normalization import IMAGENET


def random_network(name: str, classes: int, options: ModelOptions = ModelOptions()) -> Network:  # noqa: B008
    """In evaluation mode, the same at every call."""
    torch.manual_seed(0)
    network = build_model(name, classes, options).eval()
    for layer in network.head.modules():  # scores begin at zero, and equal ones would make arg-max trivial
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.normal_(layer.weight, std=0.05)
    return network


def bundle_of(network: Network, labels: LabelSet) -> Bundle:
    """Its pictures keep their size."""
    return Bundle(
        architecture=network.architecture,
        labels=labels,
        resize=ResizePolicy(mode="none"),
        normalization=IMAGENET,
        scores={},
    )


def write_random_model(
    folder: Path,
    name: str,
    labels: LabelSet,
    options: ModelOptions = ModelOptions(),  # noqa: B008
) -> Path:
    """Write a bundle folder."""
    network = random_network(name, labels.num_classes, options)
    write_bundle(folder, bundle_of(network, labels), network.state_dict())
    return folder
