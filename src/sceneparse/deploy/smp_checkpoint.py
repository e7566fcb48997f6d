"""Checkpoints of segmentation_models.pytorch (smp): a folder with ``config.json`` and ``model.safetensors``.

They do not say what their classes are called. What they expect of pixels is beside them in
``albumentations_config_eval.json``, if anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet, ade20k, cityscapes_train_ids, label_set_from_names
from sceneparse.models import ModelOptions
from sceneparse.models.hub import pretrained_facts
from sceneparse.models.smp import NOT_ARGUMENTS, PREFIX
from sceneparse.normalization import IMAGENET, Normalization

CLASS = "_model_class"
"""Its presence in ``config.json`` tells smp's checkpoints from our bundles."""

PREPROCESSING = "albumentations_config_eval.json"

BINARY = ("background", "object")


def architecture_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`sceneparse.models.model_from_architecture` takes.

    Args:
        values: of ``config.json``.

    Raises:
        InputError: images of other than three channels.
    """
    if values.get("in_channels", 3) != 3:
        raise InputError(
            f"the checkpoint is for images of {values['in_channels']} channels",
            fix="use one for RGB images",
        )
    arguments = {k: v for k, v in values.items() if not k.startswith("_") and k not in NOT_ARGUMENTS}
    return {
        "name": f"{PREFIX}{str(values[CLASS]).lower()}-{values['encoder_name']}",
        "num_classes": max(2, int(values["classes"])),
        "options": ModelOptions(smp=arguments).to_dict(),
    }


def labels_of(values: Mapping[str, Any], folder: Path) -> LabelSet:
    """ADE20K's 150 classes, Cityscapes' 19 where the name says so, otherwise names by number.

    Args:
        values: of ``config.json``.
        folder: whose name may name a data set; in the hub's cache, the one above.
    """
    count = int(values["classes"])
    if count == 150:
        return ade20k()
    if count == 19 and any("city" in part for part in folder.absolute().parts[-3:]):
        return cityscapes_train_ids()
    return label_set_from_names(BINARY if count == 1 else [f"class {i}" for i in range(count)])


def state_of(values: Mapping[str, Any], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``model.safetensors`` as the network of :func:`architecture_of` takes them.

    A checkpoint with one class has one logit, of a sigmoid. Beside a logit that is always 0 it gives the same
    class by arg-max, and the same probabilities by softmax.
    """
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("classification_head.")}
    if int(values["classes"]) == 1:
        for name, tensor in kept.items():
            if name.startswith("segmentation_head.") and tensor.shape[:1] == (1,):
                kept[name] = torch.cat([torch.zeros_like(tensor), tensor])
    return kept


def preprocessing_of(values: Mapping[str, Any], folder: Path) -> tuple[ResizePolicy, Normalization]:
    """What the checkpoint expects of pictures; padding is the network's own business.

    Raises:
        InputError: the file cannot be read, or asks for what there is nothing here for.
    """
    path = folder / PREPROCESSING
    resize, normalization = ResizePolicy(), _usual_normalization(str(values["encoder_name"]))
    if not path.is_file():
        return resize, normalization
    try:
        for step in json.loads(path.read_text(encoding="utf-8"))["transform"]["transforms"]:
            kind = step["__class_fullname__"].rpartition(".")[2]
            if kind == "Resize":
                resize = ResizePolicy(mode="squash", size=(step["height"], step["width"]))
            elif kind == "LongestMaxSize":
                resize = ResizePolicy(mode="long-side", size=step["max_size"])
            elif kind == "SmallestMaxSize":
                resize = ResizePolicy(mode="short-side", size=step["max_size"])
            elif kind == "Normalize" and step.get("normalization", "standard") == "standard":
                normalization = Normalization(
                    mean=tuple(step["mean"]), std=tuple(step["std"]), max_value=255 / step["max_pixel_value"]
                )
            elif kind not in ("PadIfNeeded", "ToTensorV2"):
                raise InputError(
                    f"the checkpoint wants pictures prepared by {kind}, which is not known here",
                    where=path,
                    fix="delete this step from the file if it can be done without",
                )
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"what the checkpoint expects of pictures cannot be read: {error!r}",
            where=path,
            fix="copy the checkpoint again",
        ) from None
    return resize, normalization


def _usual_normalization(encoder: str) -> Normalization:
    """That of the encoder's ImageNet weights as far as it is known without a network."""
    if not encoder.startswith("tu-"):
        return IMAGENET
    return pretrained_facts(encoder.removeprefix("tu-"))[1]
