"""What a run is made from, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from sceneparse.config import RunConfig
from sceneparse.data.cache import PixelCache
from sceneparse.data.dataset import Dataset
from sceneparse.group import Group


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
        console: where to print; quiet where another process does.
        command: how to repeat the run.
        group: the processes of the run.
    """

    run: Path
    config: RunConfig
    dataset: Dataset
    train: PixelCache
    val: PixelCache
    console: Console
    command: str
    group: Group
