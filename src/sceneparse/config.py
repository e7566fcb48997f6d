"""RunConfig: every setting of a run, checked when made; a recipe returns one, ``config.yaml`` keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sceneparse.data.augment import Augmentation
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.devices import refuse_numbered_gpu
from sceneparse.errors import InputError, nearest
from sceneparse.files import write_text
from sceneparse.models import DEFAULT_MODEL, ModelOptions
from sceneparse.settings import from_plain, to_plain

OPTIMIZERS = ("adam", "adamw", "muon", "sgd")
SCHEDULES = ("constant", "poly", "cosine")
CLASS_WEIGHTS = ("none", "enet", "median-frequency")
PRECISIONS = ("auto", "32", "bf16", "16")
RESIZES = ("short-side", "squash", "none")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(
            f"setting {name!r} is {value!r}.{nearest(str(value), known)}", fix=f"one of: {', '.join(known)}"
        )


def _at_least(name: str, value: float, low: float) -> None:
    if not (math.isfinite(value) and value >= low):
        raise InputError(f"setting {name!r} is {value}, expected at least {low}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the data is and how a picture is brought to size.

    Args:
        path: folder in a recognised layout, or a ``dataset.yaml``.
        label_set: shipped class list to use instead of the data set's own; None keeps its own.
        resize: ``"short-side"`` keeps the aspect ratio, ``"squash"`` is the tutorial's square, ``"none"``.
        short_side: pixels; of the short side, or of both sides of the square. Without effect under "none".
        cache: folder of the pixel cache; None is the user's cache folder.
        skip_bad: leave out the pairs that ``sceneparse check`` finds fault with, instead of stopping.
    """

    path: str = ""
    label_set: str | None = None
    resize: str = "short-side"
    short_side: int = 256
    cache: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        _one_of("data.resize", self.resize, RESIZES)
        _at_least("data.short_side", self.short_side, 1)

    @property
    def policy(self) -> ResizePolicy:
        """The same rule for training, evaluation and prediction."""
        if self.resize == "none":
            return ResizePolicy(mode="none")
        if self.resize == "squash":
            return ResizePolicy(mode="squash", size=(self.short_side, self.short_side))
        return ResizePolicy(mode="short-side", size=self.short_side)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network, and what it starts from.

    Args:
        name: as :func:`sceneparse.models.build_model` takes it.
        options: choices a name leaves open.
        init: None (random), "imagenet", a file of weights, a run or a bundle.
    """

    name: str = DEFAULT_MODEL
    options: ModelOptions = field(default_factory=ModelOptions)
    init: str | None = None


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights follow the gradient.

    Args:
        name: "adam", "adamw", "sgd", or "muon" (:mod:`sceneparse.training.muon`).
        lr: learning rate at its height.
        momentum: of SGD and Muon.
        weight_decay: on the weights of convolutions; normalisation layers have none.
        bias_lr_factor: learning rate of biases over that of weights (the paper: 2).
        others_lr_factor: Muon only: learning rate of what AdamW moves (first and last layers, biases,
            normalisation) over that of the rest.
        schedule: "constant", or from ``lr`` to 0 over the run by "poly" (power 0.9) or "cosine".
        warmup: share 0..1 of the steps over which the rate rises from 0.
        clip_norm: largest norm of the gradient; 0 does not clip.
        ema: decay of the moving average of weights that is evaluated and shipped; 0 has none.
    """

    name: str = "adam"
    lr: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    bias_lr_factor: float = 1.0
    others_lr_factor: float = 0.15
    schedule: str = "constant"
    warmup: float = 0.0
    clip_norm: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        _one_of("optimizer.name", self.name, OPTIMIZERS)
        _one_of("optimizer.schedule", self.schedule, SCHEDULES)
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"setting 'optimizer.lr' is {self.lr}, expected a positive number")
        for name in ("weight_decay", "bias_lr_factor", "others_lr_factor", "clip_norm"):
            _at_least(f"optimizer.{name}", getattr(self, name), 0)
        for name in ("momentum", "warmup", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"setting 'optimizer.{name}' is {getattr(self, name)}, expected 0 to below 1"
                )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimised: mean softmax cross-entropy over the pixels that are not ignored.

    Args:
        class_weights: "none", "enet" (1 / ln(1.02 + share), Paszke et al. 2016) or "median-frequency"
            (Eigen, Fergus 2015), from the pixel shares of the training split.
        label_smoothing: share 0..1 of the target spread over all classes.
        logit_adjustment: with class weights: the loss is of the logits plus the logarithm of the weights.
            Rare classes are learned as fast, and the logits are still those of classes as frequent as they
            are: weights alone make a network see rare classes where there are none.
    """

    class_weights: str = "none"
    label_smoothing: float = 0.0
    logit_adjustment: bool = False

    def __post_init__(self) -> None:
        _one_of("loss.class_weights", self.class_weights, CLASS_WEIGHTS)
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"setting 'loss.label_smoothing' is {self.label_smoothing}, expected 0 to below 1"
            )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A run, complete.

    Args:
        recipe: name of the recipe it came from.
        data: see :class:`DataConfig`.
        augmentation: random views; its crop is the size the network trains at.
        model: see :class:`ModelConfig`.
        optimizer: see :class:`OptimizerConfig`.
        loss: see :class:`LossConfig`.
        batch_size: samples of one forward pass of one process; 0 is what memory allows, found at the start.
        accumulate: forward passes of one step; a step sees ``batch_size * accumulate * devices`` samples.
        steps: optimizer steps in all; 0 until ``epochs`` is resolved against the data.
        epochs: passes over the training split in all; where given, ``steps`` follows from it.
        eval_every: steps between evaluations; 0 is one pass over the training split, and at least a
            twentieth of the run.
        eval_batch_size: samples of one forward pass in evaluation.
        checkpoint_minutes: ``last.ckpt`` is written at every evaluation and after so many minutes.
        samples: validation images shown after every evaluation.
        precision: "32", "bf16", "16" (on a GPU), or "auto": bf16 on a GPU that has it, else 32.
        device: "auto", "cpu", "cuda" or "cuda:N".
        devices: processes that train together, each with a GPU of its own or a share of the processor. They
            take the steps that one process takes with ``devices`` times the ``batch_size``, but for dropout,
            which each draws for itself, and for batch norm on the processor, whose statistics are those of
            each process's own batch. Under torchrun it is the number that torchrun starts.
        workers: processes that load ahead; -1 suits the machine.
        seed: of everything random.
        deterministic: refuse operations whose result varies from run to run. A run on the processor is then
            repeated to the bit on the same machine with as many threads (OMP_NUM_THREADS) and the same
            versions, stopped and resumed or not, with up to two processes.
    """

    recipe: str = "fcn8s-tutorial"
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: Augmentation = field(default_factory=lambda: Augmentation(crop=(224, 224)))
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    batch_size: int = 4
    accumulate: int = 1
    steps: int = 0
    epochs: float | None = None
    eval_every: int = 0
    eval_batch_size: int = 4
    checkpoint_minutes: float = 5.0
    samples: int = 4
    precision: str = "auto"
    device: str = "auto"
    devices: int = 1
    workers: int = -1
    seed: int = 0
    deterministic: bool = False

    def __post_init__(self) -> None:
        _one_of("precision", self.precision, PRECISIONS)
        for name, low in (
            ("batch_size", 0),
            ("accumulate", 1),
            ("devices", 1),
            ("eval_batch_size", 1),
            ("steps", 0),
            ("eval_every", 0),
            ("samples", 0),
            ("workers", -1),
            ("seed", 0),
            ("checkpoint_minutes", 0),
        ):
            _at_least(name, getattr(self, name), low)
        if self.epochs is not None and not (math.isfinite(self.epochs) and self.epochs > 0):
            raise InputError(f"setting 'epochs' is {self.epochs}, expected a positive number")
        kind, _, number = self.device.partition(":")
        if self.device not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
            raise InputError(f"setting 'device' is {self.device!r}", fix="one of: auto, cpu, cuda, cuda:N")
        refuse_numbered_gpu(self.device, self.devices)

    @property
    def images_per_step(self) -> int:
        """Samples that a step sees, of all processes together."""
        return self.batch_size * self.accumulate * self.devices

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as in ``config.yaml``."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def write(self, path: Path) -> None:
        """Write as YAML, whole or not at all: without its settings a run could not be resumed."""
        write_text(path, yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True))


def refuse_without_effect(config: RunConfig, given: Iterable[str]) -> None:
    """Raise if a setting was asked for that changes nothing beside the others.

    A recipe may hold such settings: with another optimizer they are left over, and nobody asked for them.

    Args:
        config: the run.
        given: dotted names of what was asked for.

    Raises:
        InputError: says what the setting needs.
    """
    optimizer, views = config.optimizer.name, config.augmentation
    needs = {
        "data.short_side": (config.data.resize != "none", "data.resize=short-side or squash"),
        "optimizer.momentum": (optimizer in ("sgd", "muon"), "optimizer.name=sgd or muon"),
        "optimizer.others_lr_factor": (optimizer == "muon", "optimizer.name=muon"),
        "augmentation.early_size": (views.early > 0, "augmentation.early above 0"),
    }
    for name in given:
        has_effect, need = needs.get(name, (True, ""))
        if not has_effect:
            raise InputError(f"setting {name!r} has no effect here: it needs {need}", fix="leave it out")


def read_config(path: Path) -> RunConfig:
    """A run's ``config.yaml``.

    Raises:
        InputError: no such file, no YAML, or settings this version does not know.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", where=path, fix="name a run folder that train has made") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot be read: {error}", where=path) from None
    if not isinstance(values, dict):
        raise InputError("holds no settings", where=path)
    return from_plain(RunConfig, values)
