"""Checkpoints: plain tensors and values, written whole or not at all, read without running any code."""

from __future__ import annotations

import os
import pickle
import shutil
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sceneparse.errors import InputError
from sceneparse.files import atomic_file

VERSION = 1


@dataclass
class Progress:
    """How far a run is: everything a checkpoint holds besides tensors.

    Args:
        step: optimizer steps done.
        history: rows of ``metrics.csv``, one an evaluation.
        best_iou: highest mean IoU so far; -1 before the first evaluation.
        best_step: step of that evaluation.
        loss_sum: sum of the training losses since the last evaluation.
        loss_count: their number.
        seconds: training time so far, without that of killed parts.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best_iou: float = -1.0
    best_step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0


@dataclass
class Checkpoint:
    """A moment of a run.

    Args:
        progress: see :class:`Progress`.
        model: state of the network.
        average: state of the averaged network, None without averaging.
        optimizer: state of the optimizer.
        scaler: state of the precision's gradient scaler; empty but for fp16.
        normalization: what the weights expect, plain values.
    """

    progress: Progress
    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    normalization: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, also: Path | None = None) -> None:
    """Write ``path``, and the same under the name ``also`` without a second copy where the disk can.

    Raises:
        InputError: the disk is full; what was saved before is intact.
    """
    values = {"version": VERSION} | {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    values["progress"] = asdict(checkpoint.progress)
    with atomic_file(path) as file:
        torch.save(values, file)
    if also is not None:
        _link(path, also)


def _link(source: Path, name: Path) -> None:
    temporary = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    try:
        os.link(source, temporary)
    except OSError:
        with source.open("rb") as read, atomic_file(name) as write:
            shutil.copyfileobj(read, write)
        return
    os.replace(temporary, name)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; never runs code from the file.

    Raises:
        InputError: missing, damaged, or of another program.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError:
        raise InputError("no checkpoint", where=path, fix="train without --resume") from None
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise InputError(
            f"the checkpoint cannot be read: {str(error).splitlines()[0]}",
            where=path,
            fix="put best.ckpt in its place, or start a new run",
        ) from None
    if not isinstance(values, dict) or values.get("version") != VERSION:
        raise InputError(f"not a checkpoint of version {VERSION}", where=path, fix="start a new run")
    values["progress"] = Progress(**values["progress"])
    del values["version"]
    return Checkpoint(**values)
