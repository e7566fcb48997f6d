"""The bundle: a folder with everything that is needed to predict.

``model.safetensors`` holds the weights, ``config.json`` the rest: architecture, classes with palette and file
numbers, preprocessing, licence and scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy import smp_checkpoint
from sceneparse.deploy.shipped import shipped_folder, shipped_names
from sceneparse.errors import InputError, nearest
from sceneparse.files import write_atomically, write_text
from sceneparse.labels import LabelSet
from sceneparse.models import Network, model_from_architecture
from sceneparse.models.hub import CHECKPOINTS, checkpoint_folder
from sceneparse.models.undrawn import Undrawn
from sceneparse.normalization import Normalization

FORMAT = "sceneparse-bundle"
VERSION = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What ``config.json`` says.

    Args:
        architecture: what :func:`sceneparse.models.model_from_architecture` takes.
        labels: classes, palette and numbers in label files.
        resize: size of the network's input.
        normalization: what the weights were trained on.
        licence: of the weights, in words.
        scores: numbers of the evaluation that chose these weights; empty where there was none.
    """

    architecture: dict[str, Any]
    labels: LabelSet
    resize: ResizePolicy
    normalization: Normalization
    licence: str = "as the data the weights were trained on"
    scores: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "architecture": self.architecture,
            **self.labels.to_dict(),
            "preprocessing": {
                "resize": self.resize.to_dict(),
                "normalization": self.normalization.to_dict(),
            },
            "licence": self.licence,
            "scores": self.scores,
        }

    def in_words(self) -> str:
        """Network, number of classes, and the score if there is one."""
        said = f"{self.architecture['name']}, {self.labels.num_classes} classes"
        if self.scores.get("mean_iou") is None:
            return said
        return f"{said}, {self.scores['split']} mean IoU {self.scores['mean_iou']:.3f}"


def write_bundle(folder: Path, bundle: Bundle, state: dict[str, Tensor], *, half: bool = False) -> None:
    """Write a bundle; each of its files appears whole or not at all.

    Args:
        folder: made if need be.
        bundle: the configuration.
        state: the weights.
        half: keep weights in float16, see :func:`half_of`; they are read as float32.

    Raises:
        InputError: the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to("cpu").contiguous() for name, t in state.items()}
    if half:
        tensors = {name: half_of(tensor) for name, tensor in tensors.items()}
    write_atomically(folder / WEIGHTS, lambda file: file.write(save(tensors)))
    write_text(folder / CONFIG, json.dumps(bundle.to_dict(), indent=2, ensure_ascii=False) + "\n")


def half_of(tensor: Tensor) -> Tensor:
    """A tensor in float16 where that costs no more than rounding, otherwise as it is.

    Weights of convolutions and linear layers have two dimensions or more; biases, and what batch norm has
    measured, have one and stay. So do weights with an output channel that is too large for float16, or so
    small that it would lose digits: its error must be within float16's unit of rounding, 2^-11 of its norm.
    """
    if tensor.dtype != torch.float32 or tensor.dim() < 2:
        return tensor
    small = tensor.half()
    rows = tensor.flatten(1).double()
    error = (small.flatten(1).double() - rows).norm(dim=1)
    return small if bool((error <= 2**-11 * rows.norm(dim=1)).all()) else tensor


def find_bundle(model: str | Path) -> Path:
    """The bundle folder of MODEL: a run folder, a bundle folder, the name of a shipped bundle, or a
    checkpoint of segmentation_models.pytorch, by its folder or as ``smp-hub/NAME``, which may be downloaded.

    A run or a bundle in a folder that is called as a shipped bundle comes first.

    Raises:
        InputError: it is none of them, or cannot be fetched.
    """
    path = Path(model)
    if is_hub_name(model):
        return checkpoint_folder(str(model))
    for folder in (path, path / "model"):
        if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            return folder
    if (path / "config.yaml").is_file():
        raise InputError(
            "this run has no model yet: a run's first evaluation writes it",
            where=path,
            fix="go on with the run: sceneparse train ... --resume",
        )
    for folder in (path, path / "model"):
        there = [name for name in (CONFIG, WEIGHTS) if (folder / name).is_file()]
        if there:
            raise InputError(
                f"half of a bundle: only {there[0]} is there",
                where=folder,
                fix="copy or make the bundle again",
            )
    names = shipped_names()
    if str(model) in names:
        return shipped_folder(str(model))
    raise InputError(
        "no model here" if path.exists() else f"no such model.{nearest(str(model), names)}",
        where=path,
        fix=f"name a run folder that train made, a bundle folder with {CONFIG} and {WEIGHTS}, "
        f"{CHECKPOINTS}NAME, or a shipped model: {', '.join(names) or 'none in this installation'}",
    )


def is_hub_name(model: str | Path) -> bool:
    """Whether MODEL names a checkpoint on the hub, and not a folder here."""
    return str(model).startswith(CHECKPOINTS) and not Path(model).exists()


def is_model_name(model: str | Path) -> bool:
    """Whether MODEL names a checkpoint on the hub or a shipped bundle: no folder need be here."""
    return is_hub_name(model) or str(model) in shipped_names()


def read_bundle(model: str | Path) -> tuple[Bundle, dict[str, Tensor]]:
    """Configuration and weights of MODEL, as :func:`find_bundle` takes it.

    Raises:
        InputError: no bundle, a damaged file, or a bundle of a later version.
    """
    folder = find_bundle(model)
    bundle = _read_config(folder / CONFIG)
    try:
        state = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"the weights cannot be read: {error}",
            where=folder / WEIGHTS,
            fix="copy or make the bundle again",
        ) from None
    state = {name: t.float() if t.dtype == torch.float16 else t for name, t in state.items()}
    values = _read_values(folder / CONFIG)
    return bundle, smp_checkpoint.state_of(values, state) if smp_checkpoint.CLASS in values else state


def read_configuration(model: str | Path) -> Bundle:
    """Configuration of MODEL alone; arguments and errors as in :func:`read_bundle`."""
    return _read_config(find_bundle(model) / CONFIG)


def _read_config(path: Path) -> Bundle:
    values = _read_values(path)
    try:
        if smp_checkpoint.CLASS in values:
            return _checkpoint(values, path.parent)
        if values.get("format") != FORMAT:
            raise InputError("not a sceneparse bundle", where=path, fix="name a run or a bundle folder")
        if values["version"] > VERSION:
            raise InputError(
                f"bundle version {values['version']}, this sceneparse reads up to {VERSION}",
                where=path,
                fix="install a newer sceneparse",
            )
        return Bundle(
            architecture=values["architecture"],
            labels=LabelSet.from_dict(values),
            resize=ResizePolicy.from_dict(values["preprocessing"]["resize"]),
            normalization=Normalization.from_dict(values["preprocessing"]["normalization"]),
            licence=values["licence"],
            scores=values["scores"],
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(error, path) from None


def _read_values(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise TypeError(f"names with values expected, found {type(values).__name__}")
        return values
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(error, path) from None


def _checkpoint(values: dict[str, Any], folder: Path) -> Bundle:
    """The bundle that a checkpoint of segmentation_models.pytorch amounts to."""
    resize, normalization = smp_checkpoint.preprocessing_of(values, folder)
    return Bundle(
        architecture=smp_checkpoint.architecture_of(values),
        labels=smp_checkpoint.labels_of(values, folder),
        resize=resize,
        normalization=normalization,
        licence="as the checkpoint's own card says",
    )


def _unreadable(error: Exception, path: Path) -> InputError:
    return InputError(
        f"the bundle's configuration cannot be read: {error!r}",
        where=path,
        fix="copy or make the bundle again",
    )


def load_model(model: str | Path) -> tuple[Network, Bundle]:
    """The network of MODEL with its weights, in evaluation mode, and its configuration.

    Raises:
        InputError: as :func:`read_bundle`, or the weights do not fit the architecture.
    """
    bundle, state = read_bundle(model)
    try:
        with Undrawn():
            network = model_from_architecture(bundle.architecture)
    except (KeyError, TypeError, AttributeError) as error:
        raise _unreadable(error, find_bundle(model) / CONFIG) from None
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in state.items()}
    if expected != found:
        wrong = [n for n in (*expected, *found) if expected.get(n) != found.get(n)]
        said = [f"{n}: expected {expected.get(n)}, found {found.get(n)}" for n in dict.fromkeys(wrong)]
        raise InputError(
            "the weights do not fit the architecture: " + "; ".join(said[:4]),
            where=find_bundle(model),
            fix="copy or make the bundle again",
        )
    network.load_state_dict(state, assign=True)
    return network.eval(), bundle
