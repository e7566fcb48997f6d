"""train(): from settings to a run folder. Wires; the loop is in :mod:`sceneparse.training.loop`."""

from __future__ import annotations

import datetime
import json
import math
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from sceneparse import environment
from sceneparse.config import RunConfig
from sceneparse.data.loader import default_workers
from sceneparse.deploy.bundle import read_bundle
from sceneparse.errors import InputError
from sceneparse.files import leftovers, remove_leftovers, write_text
from sceneparse.labels import LabelSet
from sceneparse.models import FCN, build_model
from sceneparse.models.weights import load_matching, load_weights
from sceneparse.normalization import IMAGENET, Normalization
from sceneparse.settings import from_plain
from sceneparse.training.checkpoint import Checkpoint, load_checkpoint
from sceneparse.training.prepared import Prepared, RunResult
from sceneparse.training.progress import say
from sceneparse.training.resume import (
    changed_settings,
    config_for_resume,
    not_bit_equal,
    refuse_changes,
    resumed_config,
    resumed_environment,
)
from sceneparse.training.splits import open_splits

__all__ = ["Prepared", "RunResult", "config_for_resume", "make_network", "train"]


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
        config: every setting; on resume only those in
            :data:`~sceneparse.training.resume.FREE_ON_RESUME` may differ from the run's own.
        out: run folder; made if need be. Without ``resume`` it must be empty.
        resume: go on from ``checkpoints/last.ckpt``, in the same folder with the same order of data; a run
            that was killed before its first checkpoint starts again.
        command: the command line, kept for the report.
        console: where to print; standard error by default.

    Raises:
        InputError: wrong data, settings or weights; a non-finite loss; a full disk.
    """
    console = console or Console(stderr=True)
    run = Path(out)
    checkpoint, old = None, config
    if resume:
        old = config_for_resume(run)
        config = resumed_config(config, run)
        checkpoint = _last_checkpoint(run, config)
    else:
        _refuse_used_folder(run)
    dataset, train_cache, val_cache = open_splits(config, console)
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
    if checkpoint is None:
        network, normalization = make_network(config, dataset.labels, console)
    else:  # what the run started from is in the checkpoint, and need not be there any more
        network = build_model(config.model.name, dataset.labels.num_classes, config.model.options)
        normalization = Normalization.from_dict(checkpoint.normalization)
    # Lightning takes seconds to import: wrong data and weights are said before.
    from sceneparse.training.loop import Loop

    with _determinism(config.deterministic):
        loop = Loop(prepared, network, normalization, checkpoint)
        _write_start(prepared)
        for change in changed_settings(old, config) if resume else ():
            say(console, f"setting {change}")
        return loop.run()


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
    if init != "imagenet" and path.is_dir():
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
    say(console, str(report))
    return network, report.normalization


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
    _require_device(config, on_gpu=on_gpu)
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


def _require_device(config: RunConfig, *, on_gpu: bool) -> None:
    if config.device.startswith("cuda"):
        number, seen = int(config.device.partition(":")[2] or 0), torch.cuda.device_count() if on_gpu else 0
        if number >= seen:
            raise InputError(
                f"device {config.device!r} was asked for and PyTorch sees {seen or 'no'} GPU",
                fix="use --device cpu, or install a driver and a PyTorch build for it",
            )
    if config.precision == "16" and not on_gpu:
        raise InputError(
            "precision '16' is for GPUs: a processor computes in '32' or 'bf16'",
            fix="use --precision bf16 or 32",
        )


def _refuse_used_folder(run: Path) -> None:
    if run.exists() and not run.is_dir():
        raise InputError("the run folder is a file", where=run, fix="choose another --out")
    # What a run killed while it wrote its first file left there is not in the way.
    if run.is_dir() and set(run.iterdir()) - set(leftovers(run)):
        is_run = (run / "config.yaml").is_file()
        raise InputError(
            "there is a run in this folder already" if is_run else "the folder is not empty",
            where=run,
            fix="go on with it: add --resume; or choose another --out" if is_run else "choose another --out",
        )


def _last_checkpoint(run: Path, config: RunConfig) -> Checkpoint | None:
    """Where the run goes on; None if it was killed before it saved.

    Raises:
        InputError: it cannot be read, or config.yaml was changed by hand in what may not change.
    """
    # best.ckpt alone: killed between the two names of the first save.
    for name in ("last.ckpt", "best.ckpt"):
        path = run / "checkpoints" / name
        if path.is_file():
            checkpoint = load_checkpoint(path)
            refuse_changes(from_plain(RunConfig, checkpoint.config), config, run)
            return checkpoint
    return None


@contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    """PyTorch's switch, put back afterwards; off is left as it is."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _write_start(prepared: Prepared) -> None:
    """config.yaml first, with which a run begins to exist, then environment.json and the folders."""
    run, config, dataset = prepared.run, prepared.config, prepared.dataset
    now = environment.describe() | {
        "threads": torch.get_num_threads(),
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
    known, path = now, run / "environment.json"
    if path.is_file():
        first = json.loads(path.read_text(encoding="utf-8"))
        known = resumed_environment(first, now, run)
        difference = not_bit_equal(first, now) if config.deterministic else None
        if difference:
            say(prepared.console, difference, style="yellow")
    try:
        run.mkdir(parents=True, exist_ok=True)
        remove_leftovers(run)
        config.write(run / "config.yaml")
        for name in ("checkpoints", "samples", "model"):
            (run / name).mkdir(exist_ok=True)
            remove_leftovers(run / name)
    except OSError as error:
        raise InputError(
            f"the run folder cannot be made: {error.strerror}", where=run, fix="choose another --out"
        ) from None
    write_text(path, json.dumps(known, indent=2, ensure_ascii=False) + "\n")
