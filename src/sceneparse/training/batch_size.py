"""``--batch-size auto``: the largest batch whose training step fits in memory, from steps taken on zeros."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from sceneparse.config import RunConfig
from sceneparse.data.loader import Batch
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet
from sceneparse.memory import give_freed_memory_back, is_out_of_memory, memory_bytes
from sceneparse.models import build_model
from sceneparse.models.smp import PREFIX
from sceneparse.normalization import IMAGENET

GPU_SHARE = 0.85
"""Share of a GPU's memory for a step; the rest is for evaluation, whose pictures have other sizes."""

CPU_SHARE = 0.5
"""Share of the machine's memory: it has other programs, and a processor that pages stands still."""

MOST_ON_CPU = 32
"""A processor gains nothing from more."""

_DEEPEST = 32
"""Coarsest stride: batch norm cannot average over a crop of one such cell in a batch of one."""

_GIB = 2**30

Peak = Callable[[int], int]
"""Takes a training step of so many samples; gives the most bytes it held, or raises where memory is full."""


class Choice(NamedTuple):
    """A batch size, and why this one."""

    batch_size: int
    why: str


def fitting_batch_size(config: RunConfig, labels: LabelSet, *, samples: int, processes: int = 1) -> Choice:
    """The largest power of two, at most ``samples``, whose step fits.

    On a GPU steps are taken with 1, 2, 4, ... samples until one does not fit. On a processor memory that is
    full ends the process, so it is reckoned from steps with one and two samples.

    Args:
        config: with device and precision resolved; its batch size is not looked at.
        labels: classes of the data.
        samples: training samples there are.
        processes: how many share the memory of this machine.

    Raises:
        InputError: not even the smallest batch fits, or the system does not say what a step takes.
    """
    # Several decoders of segmentation_models.pytorch look at the mean of the whole picture: a single cell.
    one_cell = max(config.augmentation.crop) <= _DEEPEST or config.model.name.startswith(PREFIX)
    start = 2 if one_cell else 1
    step = _Step(config, labels)
    if step.device.type == "cuda":
        total = torch.cuda.mem_get_info(step.device)[1]
        return by_trial(step.peak_on_gpu, start=start, most=samples, budget=int(GPU_SHARE * total))
    total_or_none = memory_bytes()
    if total_or_none is None:
        raise _not_said()
    budget = int(CPU_SHARE * total_or_none / processes)
    return by_growth(step.peak_on_cpu, start=start, most=min(samples, MOST_ON_CPU), budget=budget)


def by_trial(peak: Peak, *, start: int, most: int, budget: int) -> Choice:
    """Doubles the batch from ``start`` while it stays within ``most`` samples and ``budget`` bytes.

    Raises:
        InputError: ``start`` does not fit.
    """
    best, held, size = 0, 0, start
    why = f"the training images are {most}"
    while size <= max(start, most):
        try:
            used = peak(size)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            why = f"{size} do not fit"
            break
        if used > budget:
            why = f"{size} take {used / _GIB:.1f} of {budget / _GIB:.1f} GiB"
            break
        best, held, size = size, used, 2 * size
    if not best:
        raise _too_small(start, budget)
    return Choice(best, f"{best} take {held / _GIB:.1f} GiB; {why}")


def by_growth(peak: Peak, *, start: int, most: int, budget: int) -> Choice:
    """The largest ``start * 2**n`` up to ``most``, if memory grows as from ``start`` to ``2 * start``.

    Raises:
        InputError: ``start`` does not fit.
    """
    first, second = peak(start), peak(2 * start)
    each = max(1, (second - first) // start)
    fits = start + (budget - first) // each
    if fits < start:
        raise _too_small(start, budget)
    size = start
    while 2 * size <= min(fits, most):
        size *= 2
    return Choice(
        size,
        f"a sample takes {each / 2**20:.0f} MiB beside {(first - start * each) / _GIB:.1f} GiB, "
        f"of {budget / _GIB:.1f} GiB; at most {most}",
    )


class _Step:
    """A training step of this run on zeros, on weights of its own."""

    def __init__(self, config: RunConfig, labels: LabelSet) -> None:
        from sceneparse.training.learner import Learner  # Lightning takes seconds to import

        self.labels = labels
        self.crop = config.augmentation.crop
        network = build_model(config.model.name, labels.num_classes, config.model.options)
        alone = replace(config, steps=1, epochs=None, accumulate=1)
        self.learner = Learner(alone, network, IMAGENET, ignore_index=labels.ignore_index, class_weights=None)
        self.device = self.learner.device
        self.is_warm = False

    def peak_on_gpu(self, samples: int) -> int:
        """Bytes that PyTorch had reserved."""
        self._warm_up(samples)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        self._take(samples)
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_reserved(self.device)

    def peak_on_cpu(self, samples: int) -> int:
        """Bytes of this process that were in memory."""
        self._warm_up(samples)
        give_freed_memory_back()
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins again
            self._take(samples)
            status = Path("/proc/self/status").read_text(encoding="utf-8")
        except OSError:
            raise _not_said() from None
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _warm_up(self, samples: int) -> None:
        # The first step makes the optimizer's state, which every later one holds from its beginning.
        if not self.is_warm:
            self._take(samples)
            self.is_warm = True
        gc.collect()

    def _take(self, samples: int) -> None:
        kind = torch.uint8 if self.labels.num_classes <= 255 else torch.int32
        image = torch.zeros((samples, 3, *self.crop), dtype=torch.uint8)
        batch: Batch = {
            "image": image.contiguous(memory_format=torch.channels_last),
            "mask": torch.zeros((samples, *self.crop), dtype=kind),
            "index": torch.arange(samples),
        }
        self.learner.step([batch], 0)


def _too_small(start: int, budget: int) -> InputError:
    return InputError(
        f"not even a batch of {start} fits in the {budget / _GIB:.1f} GiB that a step may take",
        fix="a smaller --size or --model, or --precision bf16",
    )


def _not_said() -> InputError:
    return InputError(
        "this system does not say how much memory a step takes", fix="give --batch-size a number"
    )
