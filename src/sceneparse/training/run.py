"""train(): from settings to a run folder. Wires; the loop is in :mod:`sceneparse.training.loop`."""

from __future__ import annotations

import datetime
import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from sceneparse import environment
from sceneparse.config import RunConfig, read_config
from sceneparse.data.cache import PixelCache
from sceneparse.data.layouts import Dataset, open_dataset
from sceneparse.data.loader import default_workers
from sceneparse.deploy.bundle import read_bundle
from sceneparse.errors import InputError
from sceneparse.files import remove_leftovers, write_text
from sceneparse.labels import LabelSet
from sceneparse.models import FCN, build_model
from sceneparse.models.weights import load_matching, load_weights
from sceneparse.normalization import IMAGENET, Normalization
from sceneparse.settings import differences

FREE_ON_RESUME = {"steps", "epochs", "workers", "checkpoint_minutes", "samples", "data.path", "data.cache"}
"""Settings that may change when a run goes on; any other would make it a different run."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Args:
        run: the run folder.
        step: optimizer steps done.
        steps: optimizer steps in all.
        mean_iou: of the best evaluation, nan without one.
        best_step: step of it.
        stopped_by: number of the signal that ended it early, or None.
    """

    run: Path
    step: int
    steps: int
    mean_iou: float
    best_step: int
    stopped_by: int | None


@dataclass(frozen=True)
class Prepared:
    """Everything the loop needs, checked.

    Args:
        run: the run folder.
        config: resolved.
        dataset: as opened.
        train: cache of the training split, masks at the size of the images.
        val: cache of the validation split, masks at their own size.
        console: where to print.
        command: how to repeat the run.
    """

    run: Path
    config: RunConfig
    dataset: Dataset
    train: PixelCache
    val: PixelCache
    console: Console
    command: str


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    command: Sequence[str] | None = None,
    console: Console | None = None,
) -> RunResult:
    """Train a network and leave a run folder.

    Args:
        config: every setting; on resume only those in :data:`FREE_ON_RESUME` may differ from the run's own.
        out: run folder; made if need be. Without ``resume`` it must be empty.
        resume: go on from ``checkpoints/last.ckpt``, in the same folder with the same order of data; a run
            that was killed before its first checkpoint starts again.
        command: the command line, kept for the report.
        console: where to print; standard error by default.

    Raises:
        InputError: wrong data, settings or weights; a non-finite loss; a full disk.
    """
    from sceneparse.training.loop import Loop

    console = console or Console(stderr=True)
    run = Path(out)
    config = _resumed_config(config, run) if resume else config
    if not resume:
        _refuse_used_folder(run)
    dataset = open_dataset(config.data.path, label_set=config.data.label_set)
    console.print(f"{dataset.name}: {dataset.labels.num_classes} classes; {dataset.labels.describe()}")
    train_cache, val_cache = _open_caches(dataset, config)
    config = _resolved(config, train_samples=len(train_cache))
    prepared = Prepared(
        run=run,
        config=config,
        dataset=dataset,
        train=train_cache,
        val=val_cache,
        console=console,
        command=shlex.join(command) if command else "",
    )
    network, normalization = make_network(config, dataset.labels, console)
    _write_run_folder(prepared)
    return Loop(prepared, network, normalization).run()


def config_for_resume(run: str | Path) -> RunConfig:
    """Settings of a run that is to go on.

    Raises:
        InputError: no run there.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise InputError(
            "no run to resume: there is no config.yaml", where=run, fix="train without --resume to start one"
        )
    return read_config(path)


def make_network(config: RunConfig, labels: LabelSet, console: Console) -> tuple[FCN, Normalization]:
    """The network with the weights it starts from, and what these expect of pixels.

    Raises:
        InputError: unknown model, or weights that do not fit.
    """
    torch.manual_seed(config.seed)
    network = build_model(config.model.name, labels.num_classes, config.model.options)
    init = config.model.init
    if init is None:
        return network, IMAGENET
    path = Path(init)
    if path.is_dir():
        bundle, state = read_bundle(path)
        same = bundle.labels.names == labels.names
        report = load_matching(
            network,
            state,
            source=init,
            normalization=bundle.normalization,
            head_may_differ=True,
            same_classes=same,
        )
    else:
        report = load_weights(network, init)
    console.print(str(report), highlight=False)
    return network, report.normalization


def cache_folder(config: RunConfig) -> Path:
    """Folder of the pixel cache: the setting, or the user's cache folder."""
    if config.data.cache is not None:
        return Path(config.data.cache)
    if "SCENEPARSE_CACHE" in os.environ:
        return Path(os.environ["SCENEPARSE_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "sceneparse"


def _open_caches(dataset: Dataset, config: RunConfig) -> tuple[PixelCache, PixelCache]:
    folder, threads = cache_folder(config), os.cpu_count() or 1

    def open_split(split: str, mask_size: str) -> PixelCache:
        return PixelCache.open(
            dataset,
            split,
            config.data.policy,
            mask_size=mask_size,
            folder=folder,
            workers=threads,
            progress=True,
        )

    dataset.split("val")  # say that it is missing before the training split is read
    return open_split("train", "image"), open_split("val", "own")


def _resolved(config: RunConfig, *, train_samples: int) -> RunConfig:
    """The settings with everything left to the data and the machine filled in."""
    images_per_step = config.batch_size * config.accumulate
    steps_per_epoch = math.ceil(train_samples / images_per_step)
    steps = config.steps
    if config.epochs is not None:
        steps = max(1, round(config.epochs * train_samples / images_per_step))
    if steps < 1:
        raise InputError("the run has no length", fix="give --steps N or --epochs N")
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    if config.device.startswith("cuda") and not on_gpu:
        raise InputError(
            f"device {config.device!r} was asked for and PyTorch sees no GPU",
            fix="use --device cpu, or install a driver and a PyTorch build for it",
        )
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "32"
    return replace(
        config,
        steps=steps,
        epochs=None,
        eval_every=config.eval_every or min(steps, max(steps_per_epoch, math.ceil(steps / 20))),
        device=("cuda" if config.device == "auto" else config.device) if on_gpu else "cpu",
        precision=precision,
        workers=config.workers if config.workers >= 0 else default_workers(on_gpu=on_gpu),
    )


def _refuse_used_folder(run: Path) -> None:
    if run.exists() and not run.is_dir():
        raise InputError("the run folder is a file", where=run, fix="choose another --out")
    if run.is_dir() and any(run.iterdir()):
        is_run = (run / "config.yaml").is_file()
        raise InputError(
            "there is a run in this folder already" if is_run else "the folder is not empty",
            where=run,
            fix="go on with it: add --resume; or choose another --out" if is_run else "choose another --out",
        )


def _resumed_config(config: RunConfig, run: Path) -> RunConfig:
    """The run's own settings with those of ``config`` that may change."""
    old = config_for_resume(run)
    changed = differences(old, config)
    refused = {name: pair for name, pair in changed.items() if name not in FREE_ON_RESUME}
    if refused:
        said = "; ".join(f"{name} was {a!r}, is now {b!r}" for name, (a, b) in refused.items())
        raise InputError(
            f"--resume goes on with the run as it is: {said}",
            where=run,
            fix="leave these settings out, or start a new run with --init and another --out",
        )
    return config


def _write_run_folder(prepared: Prepared) -> None:
    """config.yaml, environment.json and the folders; what a killed process left half written goes."""
    run, config, dataset = prepared.run, prepared.config, prepared.dataset
    for folder in (run, run / "checkpoints", run / "samples", run / "model"):
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    path = run / "environment.json"
    known = environment.describe() | {
        "data": {
            "path": str(dataset.root.resolve()),
            "name": dataset.name,
            "layout": dataset.layout,
            "train_images": len(prepared.train),
            "val_images": len(prepared.val),
            "train_fingerprint": prepared.train.fingerprint,
            "val_fingerprint": prepared.val.fingerprint,
        },
        "command": prepared.command,
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    if path.is_file():
        known = _resumed_environment(path, known)
    write_text(path, json.dumps(known, indent=2, ensure_ascii=False) + "\n")
    config.write(run / "config.yaml")


def _resumed_environment(path: Path, known: dict) -> dict:
    """The first start's facts; the data must still be what it was."""
    try:
        first = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return known
    for split in ("train", "val"):
        key = f"{split}_fingerprint"
        if first.get("data", {}).get(key) not in (None, known["data"][key]):
            raise InputError(
                f"the {split} images or masks have changed since this run began",
                where=path.parent,
                fix="restore them, or start a new run",
            )
    return {**first, "resumed": [*first.get("resumed", []), known["started"]]}
