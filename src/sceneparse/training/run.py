"""train(): from settings to a run folder. Wires; the loop is in :mod:`sceneparse.training.loop`."""

from __future__ import annotations

import datetime
import json
import math
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from sceneparse import environment
from sceneparse.config import RunConfig
from sceneparse.data.dataset import open_dataset
from sceneparse.data.loader import default_workers
from sceneparse.deploy.bundle import is_model_name, read_bundle, read_configuration
from sceneparse.deploy.shipped import shipped_names
from sceneparse.devices import refuse_other_number, require_devices
from sceneparse.errors import InputError, nearest
from sceneparse.files import leftovers, remove_leftovers, write_text
from sceneparse.group import Group, torchrun_group
from sceneparse.labels import LabelSet
from sceneparse.launch import launch
from sceneparse.models import Network, build_model
from sceneparse.models.smp import PREFIX, split_smp_name
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
from sceneparse.training.run_lock import LOCK, run_lock
from sceneparse.training.signals import StopRequest
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
    if not resume:
        config = _with_arguments_of_checkpoint(config)
    if not config.batch_size and not resume:
        config = _with_batch_size(config, Path(out), console)
    job = _Job(config, Path(out), resume, shlex.join(command) if command else "")
    group = torchrun_group()
    if group is not None:
        with group.joined():
            with group.agreed():
                job = replace(job, config=_as_torchrun_says(config, group))
            return _take_part(job, group, console if group.is_first else Console(quiet=True))
    if config.devices == 1:
        return _take_part(job, Group(), console)
    # What is wrong is said, and the caches are made, before any process is started.
    _prepare(job, Group(local_size=config.devices), console)
    with StopRequest() as stop:
        result = launch(
            partial(_take_part_prepared, job),
            config.devices,
            console,
            preload=("sceneparse.training.run", "sceneparse.training.loop"),
            stop=lambda: bool(stop),
            when_killed="go on with --resume; if memory was full, with a smaller --batch-size or --devices",
        )
    return replace(result, stopped_by=result.stopped_by and (stop.signal or result.stopped_by))


@dataclass(frozen=True)
class _Job:
    """What :func:`train` was asked for; goes to other processes."""

    config: RunConfig
    run: Path
    resume: bool
    command: str


def _take_part_prepared(job: _Job, group: Group, console: Console) -> RunResult:
    return _take_part(job, group, console, said=True)


def _take_part(job: _Job, group: Group, console: Console, *, said: bool = False) -> RunResult:
    """The whole run as one process of the group sees it; ``said``: what is known of the data was."""
    with ExitStack() as held:
        with group.agreed():
            if group.is_first and job.resume and (job.run / "config.yaml").is_file():
                held.enter_context(run_lock(job.run, console))
            prepared, checkpoint = _prepare(job, group, Console(quiet=True) if said else console)
            prepared = replace(prepared, console=console)
            config, labels = prepared.config, prepared.dataset.labels
            if checkpoint is None:
                network, normalization = make_network(config, labels, console)
            else:  # what the run started from is in the checkpoint, and need not be there any more
                network = build_model(config.model.name, labels.num_classes, config.model.options)
                normalization = Normalization.from_dict(checkpoint.normalization)
            changes = changed_settings(config_for_resume(job.run), config) if job.resume else []
        # Lightning takes seconds to import: wrong data and weights are said before.
        from sceneparse.training.loop import Loop

        held.enter_context(_determinism(config.deterministic))
        loop = Loop(prepared, network, normalization, checkpoint)
        if group.is_first:
            if not job.resume:
                with _making(job.run):
                    job.run.mkdir(parents=True, exist_ok=True)
                held.enter_context(run_lock(job.run, console))
                _refuse_used_folder(job.run)  # another process may have begun there meanwhile
            _write_start(prepared)
        for change in changes:
            say(console, f"setting {change}")
        return loop.run()


def _prepare(job: _Job, group: Group, console: Console) -> tuple[Prepared, Checkpoint | None]:
    """Everything that is checked before a network is made, and where a resumed run goes on."""
    config, run, checkpoint = job.config, job.run, None
    if job.resume:
        config = resumed_config(config, run)
        checkpoint = _last_checkpoint(run, config)
    else:
        _refuse_used_folder(run)
    _require_device(config, group.local_size)
    dataset, train_cache, val_cache = open_splits(config, console)
    prepared = Prepared(
        run=run,
        config=_resolved(config, train_samples=len(train_cache), local_size=group.local_size),
        dataset=dataset,
        train=train_cache,
        val=val_cache,
        console=console,
        command=job.command,
        group=group,
    )
    return prepared, checkpoint


def _as_torchrun_says(config: RunConfig, group: Group) -> RunConfig:
    refuse_other_number(config.devices, group.size)
    return replace(config, devices=group.size)


def _with_batch_size(config: RunConfig, run: Path, console: Console) -> RunConfig:
    """The settings with the batch size that fits in memory; says which and why."""
    from sceneparse.training.batch_size import fitting_batch_size

    _refuse_used_folder(run)
    if torchrun_group() is not None:
        raise InputError(
            "under torchrun a batch size cannot be found: machines may differ",
            fix="give --batch-size a number",
        )
    _require_device(config, config.devices)
    dataset = open_dataset(config.data.path, label_set=config.data.label_set, keep_faults=True)
    samples = len(dataset.split("train"))
    # Of what is left open only device and precision count here: the length depends on the batch size.
    there = replace(config, batch_size=1, steps=1, epochs=None)
    there = _resolved(there, train_samples=samples, local_size=config.devices)
    choice = fitting_batch_size(
        replace(there, devices=1), dataset.labels, samples=samples // config.devices, processes=config.devices
    )
    say(console, f"--batch-size auto: {choice.batch_size} ({choice.why})")
    return replace(config, batch_size=choice.batch_size)


def make_network(config: RunConfig, labels: LabelSet, console: Console) -> tuple[Network, Normalization]:
    """The network with the weights it starts from, and what these expect of pixels.

    Raises:
        InputError: unknown model, or weights that do not fit.
    """
    torch.manual_seed(config.seed)
    network = build_model(config.model.name, labels.num_classes, config.model.options)
    init = config.model.init
    if init is None:
        return network, IMAGENET
    if _is_model(init):
        bundle, state = read_bundle(init)
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
        _refuse_unknown(init)
        report = load_weights(network, init)
    say(console, str(report))
    return network, report.normalization


def _is_model(init: str) -> bool:
    """Whether a run starts from a whole network and not from a file of weights."""
    return is_model_name(init) or (init != "imagenet" and Path(init).is_dir())


def _refuse_unknown(init: str) -> None:
    """What is neither here nor the name of weights: it may be a name with a slip."""
    names = ["imagenet", *shipped_names()]
    if init not in names and not Path(init).exists():
        raise InputError(
            f"no weights to start from: there is no such file or folder.{nearest(init, names)}",
            where=init,
            fix=f"check the path; weights by name: {', '.join(names)}; see: sceneparse models",
        )


def _with_arguments_of_checkpoint(config: RunConfig) -> RunConfig:
    """The settings with those arguments of segmentation_models.pytorch that the network has which the run
    starts from: published checkpoints have wider decoders than smp makes by default.
    """
    model = config.model
    if not model.name.startswith(PREFIX) or model.options.smp or not model.init or not _is_model(model.init):
        return config
    architecture = read_configuration(model.init).architecture
    name, arguments = architecture["name"], architecture["options"].get("smp", {})
    if not name.startswith(PREFIX) or split_smp_name(name) != split_smp_name(model.name):
        return config
    return replace(config, model=replace(model, options=replace(model.options, smp=arguments)))


def _resolved(config: RunConfig, *, train_samples: int, local_size: int) -> RunConfig:
    """The settings with everything left to the data and the machine filled in."""
    images_per_step = config.images_per_step
    steps_per_epoch = math.ceil(train_samples / images_per_step)
    steps = config.steps
    if config.epochs is not None:
        steps = max(1, round(config.epochs * train_samples / images_per_step))
    if steps < 1:
        raise InputError("the run has no length", fix="give --steps N or --epochs N")
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
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
        workers=config.workers if config.workers >= 0 else _workers(on_gpu, local_size),
    )


def _workers(on_gpu: bool, local_size: int) -> int:
    """Those of one process, where ``local_size`` share the machine."""
    workers = default_workers(on_gpu=on_gpu)
    return max(1, workers // local_size) if workers else 0


def _require_device(config: RunConfig, local_size: int) -> None:
    require_devices(config.device, local_size)
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    if config.precision == "16" and not on_gpu:
        raise InputError(
            "precision '16' is for GPUs: a processor computes in '32' or 'bf16'",
            fix="use --precision bf16 or 32",
        )


def _refuse_used_folder(run: Path) -> None:
    if run.exists() and not run.is_dir():
        raise InputError("the run folder is a file", where=run, fix="choose another --out")
    # What a run killed while it wrote its first file left there is not in the way.
    if run.is_dir() and set(run.iterdir()) - {run / LOCK, *leftovers(run)}:
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
def _making(run: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the run folder cannot be made: {error.strerror}", where=run, fix="choose another --out"
        ) from None


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
    with _making(run):
        remove_leftovers(run)
        config.write(run / "config.yaml")
        for name in ("checkpoints", "samples", "model"):
            (run / name).mkdir(exist_ok=True)
            remove_leftovers(run / name)
    write_text(path, json.dumps(known, indent=2, ensure_ascii=False) + "\n")
