"""What ``sceneparse.train`` and ``sceneparse.evaluate`` do; the command line calls the same two functions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from sceneparse.config import RunConfig, refuse_without_effect
from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.devices import refuse_numbered_gpu, refuse_other_number, require_devices
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import AbsentRule
from sceneparse.evaluation.evaluate import evaluate as evaluate_split
from sceneparse.evaluation.outputs import write_evaluation
from sceneparse.evaluation.reading import Reading
from sceneparse.group import Group, is_first_process, torchrun_group
from sceneparse.launch import launch
from sceneparse.models import ModelOptions
from sceneparse.models.smp import PREFIX
from sceneparse.outputs import output_folder
from sceneparse.prediction.predictor import Predictor, check_options, load
from sceneparse.prediction.segmentation import Segmentation
from sceneparse.recipes import DEFAULT_RECIPE
from sceneparse.recipes import recipe as recipe_config
from sceneparse.report import write_curves, write_report
from sceneparse.report.evaluated import write_evaluated
from sceneparse.report.run_folder import is_evaluation, is_run
from sceneparse.settings import override
from sceneparse.training.reading import update_reading
from sceneparse.training.run import RunResult, config_for_resume
from sceneparse.training.run import train as train_run


def train(
    data: str | Path,
    out: str | Path,
    *,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    command: Sequence[str] | None = None,
) -> RunResult:
    """Train a network; leaves a run folder with its report.

    Example::

        result = sceneparse.train("camvid", "runs/camvid", recipe="camvid-small", settings={"steps": 2000})
        predictor = sceneparse.load(result.run)

    Args:
        data: folder in a recognised layout, or a ``dataset.yaml``.
        out: run folder; new or empty unless ``resume``.
        recipe: where the settings start from, a key of :data:`sceneparse.recipes.RECIPES`; by default
            "fcn8s-tutorial". On resume it is the run's own.
        settings: what differs from the recipe, by dotted name as in ``config.yaml``, like
            ``{"optimizer.lr": 0.001}``; text is read as YAML unless the setting is text. "steps" and "epochs"
            replace each other. A crop larger than the recipe's ``data.short_side`` raises that to its shorter
            side, unless it is given too.
        resume: go on with the run in ``out``.
        command: the command line, kept for the report.

    With the setting "devices" above 1 other processes train, which import the main module of this one: a
    script has its calls under ``if __name__ == "__main__":``.

    Returns:
        How the run ended. A signal ends it early and is no error.

    Raises:
        InputError: wrong data, settings or weights; a folder in use; a non-finite loss; a full disk.
    """
    config = _config(data, out, recipe, dict(settings or {}), resume)
    result = train_run(config, out, resume=resume, command=command)
    if is_first_process():
        if result.stopped_by is None:
            update_reading(result.run, Console(stderr=True))
        write_report(result.run)
    return result


def report(run: str | Path, *, console: Console | None = None) -> Path:
    """Write ``RUN/curves.png`` and ``RUN/report.html`` anew from what the run folder holds; of the folder of
    an evaluation ``report.html``.

    The worst images, the scores at boundaries and the calibration of a run that has none yet, or those of
    earlier weights, are made first if its data is where the run found it; Ctrl-C leaves them out.

    Args:
        run: run folder, or one that :func:`evaluate` has written to.
        console: is told what is done, and what is missing; None tells nobody.

    Returns:
        The page's path.

    Raises:
        InputError: no run folder, or the page cannot be written.
    """
    run, console = Path(run), console or Console(quiet=True)
    if is_evaluation(run):
        return write_report(run)
    try:
        update_reading(run, console)
    except InputError as error:
        said = f"no worst images, boundaries and calibration of this model in the report: {error}"
        console.print(said, highlight=False, markup=False)
    except KeyboardInterrupt:
        console.print("left out: the report is written without it", highlight=False)
    write_curves(run)
    return write_report(run)


def _config(
    data: str | Path, out: str | Path, recipe: str | None, settings: dict[str, Any], resume: bool
) -> RunConfig:
    base = config_for_resume(out) if resume else recipe_config(recipe or DEFAULT_RECIPE)
    if resume and recipe is not None:
        settings["recipe"] = recipe  # refused by the run if it is another
    if settings.get("steps") and settings.get("epochs"):
        raise InputError(
            "steps and epochs are both given", fix="leave out one: each says how long the run is"
        )
    if settings.get("steps"):
        settings["epochs"] = None
    elif settings.get("epochs"):
        settings["steps"] = 0
    settings["data.path"] = Path(data).as_posix()
    before, now = base.model.name, str(settings.get("model.name", base.model.name))
    if now != before and (now.startswith(PREFIX) or before.startswith(PREFIX)) and not resume:
        # A recipe's options are for this package's heads, or for its one network of smp.
        settings = {"model.options": ModelOptions()} | settings
    config = override(base, settings)
    refuse_without_effect(config, settings)
    short_side = min(config.augmentation.crop)
    grows = config.data.resize == "short-side" and short_side > config.data.short_side
    if "augmentation.crop" in settings and "data.short_side" not in settings and grows and not resume:
        config = override(config, {"data.short_side": short_side})
    return config


def evaluate(
    model: str | Path | Predictor,
    data: str | Path | Dataset,
    *,
    split: str = "val",
    absent: AbsentRule = "skip",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    label_set: str | None = None,
    skip_bad: bool = False,
    device: str | None = None,
    engine: str | None = None,
    devices: int = 1,
    out: str | Path | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """The numbers of a model on a split of a data set.

    Example::

        numbers = sceneparse.evaluate("runs/camvid", "camvid")
        numbers["mean_iou"], numbers["per_class"][0]

    Args:
        model: run folder, bundle folder, or a :class:`~sceneparse.prediction.predictor.Predictor`.
        data: folder in a recognised layout, a ``dataset.yaml``, or an open data set.
        split: "val" or "train".
        absent: what a class without truth and prediction does to the means: "skip" leaves it out, "zero"
            counts it 0 (the rule of MIT Scene Parsing).
        scales: sizes of the pictures whose probabilities are averaged.
        flip: average also over the mirrored pictures.
        label_set: shipped class list to use instead of the data's own.
        skip_bad: leave out files with a fault instead of raising; "images" counts the rest.
        device: "auto" (default), "cpu", "cuda" or "cuda:N".
        engine: "auto" (default), "eager", "compiled" or "openvino", see :mod:`sceneparse.prediction.engine`.
        devices: processes that share the images, each on a GPU of its own or a share of the processor; the
            numbers are those of one. Above 1 other processes work, which import the main module of this one:
            a script has its calls under ``if __name__ == "__main__":``. Under torchrun it is their number.
        out: folder for ``numbers.json``, ``confusion.csv``, ``labels/``, the predicted label files,
            ``reading.json``, scores at boundaries, calibration and what costs most, ``worst/`` and
            ``regions/``, pictures of it, and ``report.html``, all of it on one page. Not a run's.
        console: where a progress bar is shown; None shows none.

    Returns:
        ``images, pixels, pixel_accuracy, mean_accuracy, mean_iou, frequency_weighted_iou, benchmark_score,
        classes_present, absent_rule, split, per_class: [{id, name, iou, accuracy, pixels}]``; fractions, None
        where there is no value.

    Raises:
        InputError: no such model or data, other classes than the model's, files that are wrong, an option
            that has no effect on what is given.
    """
    for option, value in (("device", device), ("engine", engine)):
        if value is not None and isinstance(model, Predictor):
            raise InputError(f"{option} has no effect on a Predictor", fix="give it to sceneparse.load")
    if label_set is not None and isinstance(data, Dataset):
        raise InputError("label_set has no effect on an open data set", fix="give it to open_dataset")
    check_options("auto", scales)
    asked = _Asked(
        model=model,
        data=data,
        split=split,
        absent=absent,
        scales=tuple(scales),
        flip=flip,
        label_set=label_set,
        skip_bad=skip_bad,
        device=device or "auto",
        engine=engine or "auto",
        out=None if out is None else Path(out),
        shown=console is not None,
    )
    group = torchrun_group()
    if group is not None:
        with group.joined():
            with group.agreed():
                refuse_other_number(devices, group.size)
                _require_devices(asked, group.size, group.local_size)
            return _take_part(asked, group, console or Console(quiet=True))
    _require_devices(asked, devices, devices)
    if devices == 1:
        return _take_part(asked, Group(), console or Console(quiet=True))
    if isinstance(model, Predictor):
        raise InputError("a Predictor is of one process", fix="give the model's folder, or leave out devices")
    return launch(
        partial(_take_part, asked), devices, console or Console(quiet=True), preload=("sceneparse.api",)
    )


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What :func:`evaluate` was asked for, see there; goes to other processes."""

    model: str | Path | Predictor
    data: str | Path | Dataset
    split: str
    absent: AbsentRule
    scales: tuple[float, ...]
    flip: bool
    label_set: str | None
    skip_bad: bool
    device: str
    engine: str
    out: Path | None
    shown: bool


def _require_devices(asked: _Asked, devices: int, local_size: int) -> None:
    """For one device the predictor says what is wrong."""
    if devices < 1:
        raise InputError(f"devices is {devices}", fix="at least 1")
    if devices > 1:
        refuse_numbered_gpu(asked.device, devices)
        require_devices(asked.device, local_size)


def _take_part(asked: _Asked, group: Group, console: Console) -> dict[str, Any]:
    """The evaluation as one process of the group sees it; process 0 writes and shows."""
    model, data, folder = asked.model, asked.data, asked.out
    with group.agreed():
        if folder is not None and is_run(folder):
            raise InputError(
                "this is a run: its own report would be replaced", where=folder, fix="name another folder"
            )
        if not isinstance(data, Dataset):
            data = open_dataset(data, label_set=asked.label_set, keep_faults=True)
        # The others then find the engine that the first has made: all compute alike.
        if group.is_first and not isinstance(model, Predictor):
            model = load(model, device=_device_of(asked.device, group), engine=asked.engine)
    with group.agreed():
        if not isinstance(model, Predictor):
            model = load(model, device=_device_of(asked.device, group), engine=asked.engine)
        if folder is not None:
            output_folder(folder)
    labels = model.labels
    reading = None if folder is None else Reading(labels.num_classes, labels.ignore_index)

    def save_labels(stem: str, index: NDArray[np.integer]) -> None:
        if folder is not None:
            result = Segmentation(labels=labels.to_file(index), label_set=labels)
            result.save_labels(folder / "labels" / f"{stem}.png")

    numbers, matrix = evaluate_split(
        model,
        data,
        split=asked.split,
        absent=asked.absent,
        scales=asked.scales,
        flip=asked.flip,
        skip_bad=asked.skip_bad,
        console=console if asked.shown and group.is_first else None,
        each=save_labels,
        reading=reading,
        group=group,
    )
    with group.agreed():
        if folder is not None and reading is not None and group.is_first:
            write_evaluation(folder, numbers, matrix)
            pairs = data.split(asked.split)
            write_evaluated(folder, reading, _evaluated(asked, model, data), pairs, data.labels, labels)
    return numbers


def _evaluated(asked: _Asked, model: Predictor, data: Dataset) -> dict[str, Any]:
    """What an evaluation was of, for its page: names, and the command line that gives the same numbers."""
    path = None if isinstance(asked.model, Predictor) else str(asked.model)
    words = ["sceneparse", "evaluate", path or "", str(data.root)]
    words += [] if asked.split == "val" else ["--split", asked.split]
    words += [] if asked.absent == "skip" else ["--absent", asked.absent]
    words += [] if asked.scales == (1.0,) else ["--scales", ",".join(f"{s:g}" for s in asked.scales)]
    words += ["--flip"] * asked.flip + ["--skip-bad"] * asked.skip_bad
    words += [] if asked.label_set is None else ["--label-set", asked.label_set]
    return {
        "model": path,
        "network": model.bundle.architecture["name"],
        "data": str(data.root),
        "command": None if path is None else shlex.join(words),
    }


def _device_of(device: str, group: Group) -> str:
    """That of this process: of several GPUs its own."""
    if group.size == 1 or device == "cpu" or not torch.cuda.is_available():
        return device
    return f"cuda:{group.local_rank}"
