"""Checkpoints: plain tensors and values, written whole or not at all, read without running any code."""

from __future__ import annotations

import pickle
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sceneparse.errors import InputError
from sceneparse.files import atomic_file, link_or_copy

VERSION = 1


@dataclass
class Progress:
    """How far a run is: everything a checkpoint holds besides tensors and settings.

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
        config: the settings, plain values.
        progress: see :class:`Progress`.
        model: state of the network.
        average: state of the averaged network, None without averaging.
        optimizer: state of the optimizer.
        scaler: state of the precision's gradient scaler; empty but for fp16.
        normalization: what the weights expect, plain values.
    """

    config: dict[str, Any]
    progress: Progress
    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    normalization: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, also: Path | None = None) -> None:
    """Write ``path``, then the same under the name ``also`` without a second copy where the disk can.

    Raises:
        InputError: the disk is full; what was saved before is intact.
    """
    values = {"version": VERSION} | {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint)}
    values["progress"] = asdict(checkpoint.progress)
    with atomic_file(path) as file:
        torch.save(values, file)
    if also is not None:
        link_or_copy(path, also)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`save_checkpoint` wrote; never runs code from the file.

    Raises:
        InputError: missing, damaged, or of another program.
    """
    try:
        # Not memory-mapped: the tensors would hold on to a file that the next save replaces. Opened here:
        # torch cannot open every name on Windows.
        with path.open("rb") as file:
            values = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError("no checkpoint", where=path, fix="train without --resume") from None
    except pickle.UnpicklingError:
        raise _unusable("it holds something else than tensors and plain values", path) from None
    except Exception as error:  # a damaged or foreign file may fail anywhere in torch's readers
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise _unusable(f"it is damaged or not of this program ({reason})", path) from None
    names = {f.name for f in fields(Checkpoint)}
    if not isinstance(values, dict) or values.get("version") != VERSION or names - values.keys():
        raise _unusable(f"it is not of version {VERSION}", path)
    values["progress"] = Progress(**values["progress"])
    return Checkpoint(**{name: values[name] for name in names})


def _unusable(reason: str, path: Path) -> InputError:
    return InputError(
        f"the checkpoint cannot be read: {reason}",
        where=path,
        fix="copy best.ckpt over last.ckpt and resume from there, or start a new run",
    )
