"""From cached samples to batches: an order that can be resumed at any step, and the workers that follow it.

Shapes: ``B`` batch, ``H, W`` rows and columns, ``N`` samples in the data set.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from typing import Protocol, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sceneparse.data.augment import Augmentation, augment
from sceneparse.errors import InputError

EpochIndex = tuple[int, int]
"""(epoch, index): which sample, and for the how-manieth time."""

Sample = tuple[Tensor, Tensor, int]
"""Image uint8 (3, H, W), mask uint8 or int32 (H, W), index."""

_STREAM = 0x6F726472
"""Keeps these random numbers apart from the augmentation's, which share the seed."""


class Batch(TypedDict):
    """What a loader gives.

    ``image`` uint8 (B, 3, H, W) RGB in channels-last memory; ``mask`` (B, h, w) training indices, uint8, or
    int32 where there are more than 255 classes; ``index`` int64 (B,).
    """

    image: Tensor
    mask: Tensor
    index: Tensor


class SampleStore(Protocol):
    """What is needed of a pixel cache."""

    @property
    def image_sizes(self) -> NDArray[np.integer]:
        """(N, 2) height and width of every image."""
        ...

    @property
    def mask_sizes(self) -> NDArray[np.integer]:
        """(N, 2) height and width of every mask."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.integer]]: ...


class StepSampler(Sampler[list[EpochIndex]]):
    """Batches of (epoch, index), a pure function of the seed and the step.

    Epoch ``e`` is a permutation of all samples drawn from ``(seed, e)``. Batches run through the
    permutations one after the other: a batch may hold the end of one epoch and the start of the next, none
    is short, and a data set smaller than a batch repeats within it. A run resumed at step ``k`` goes on
    with the very batches that the unbroken run would have seen, whatever the number of workers.

    Several processes share a global batch of ``world_size * batch_size`` samples: this one takes every
    ``world_size``-th of it, so that together they see what one process with that batch size sees.

    Args:
        num_samples: N, at least 1.
        batch_size: B of this process.
        seed: of the run, not negative.
        steps: where to stop; a step is one batch of every process.
        start_step: where to go on; 0 for a new run.
        rank: number of this process, 0 .. world_size - 1.
        world_size: number of processes.
    """

    def __init__(
        self,
        *,
        num_samples: int,
        batch_size: int,
        seed: int,
        steps: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if num_samples < 1:
            raise InputError(
                "there is no sample to train on", fix="add image and mask pairs to the training split"
            )
        if batch_size < 1:
            raise InputError(f"the batch size is at least 1; got {batch_size}")
        assert 0 <= rank < world_size, (rank, world_size)
        assert start_step >= 0, start_step
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.steps = steps
        self.start_step = start_step
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def __iter__(self) -> Iterator[list[EpochIndex]]:
        epoch, order = -1, np.empty(0, np.int64)
        global_batch = self.batch_size * self.world_size
        for step in range(self.start_step, self.steps):
            batch = []
            first = step * global_batch + self.rank
            for position in range(first, first + global_batch, self.world_size):
                if position // self.num_samples != epoch:
                    epoch = position // self.num_samples
                    order = self._permutation(epoch)
                batch.append((epoch, int(order[position % self.num_samples])))
            yield batch

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        bits = np.random.Philox(np.random.SeedSequence(self.seed, spawn_key=(_STREAM, epoch)))
        return np.random.Generator(bits).permutation(self.num_samples)


class TrainDataset(Dataset[Sample]):
    """Augmented samples; an item is asked for by (epoch, index), as :class:`StepSampler` gives them.

    Args:
        cache: images and masks of equal size.
        augmentation: None gives the samples as they are, which must then all have one size.
        seed: of the run, not negative.
        ignore_index: what masks hold where there is padding.

    Raises:
        InputError: no augmentation, and pictures of several sizes.
    """

    def __init__(
        self, cache: SampleStore, augmentation: Augmentation | None, *, seed: int, ignore_index: int
    ) -> None:
        if augmentation is None and len(np.unique(cache.image_sizes, axis=0)) > 1:
            raise InputError(
                "the pictures have different sizes and cannot be stacked to batches",
                fix="train on crops, or resize every picture to one size (resize mode 'squash')",
            )
        self.cache = cache
        self.augmentation = augmentation
        self.seed = seed
        self.ignore_index = ignore_index

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, item: EpochIndex) -> Sample:
        epoch, index = item
        image, mask = self.cache[index]
        if self.augmentation is not None:
            image, mask = augment(
                image,
                mask,
                self.augmentation,
                seed=self.seed,
                epoch=epoch,
                index=index,
                ignore_index=self.ignore_index,
            )
        return to_tensor(image), _mask_tensor(mask), index


class EvalDataset(Dataset[Sample]):
    """Samples as they are in the cache, masks at whatever size they have there.

    Args:
        cache: images and masks.
    """

    def __init__(self, cache: SampleStore) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.cache[index]
        return to_tensor(image), _mask_tensor(mask), index


def to_tensor(image: NDArray[np.uint8]) -> Tensor:
    """uint8 (H, W, 3) to a uint8 tensor (3, H, W) with strides of channels-last memory.

    The memory is shared where ``image`` can be written to; a read-only view of a cache is copied, since a
    tensor cannot be made read-only.
    """
    if not image.flags.writeable:
        image = image.copy()
    return torch.from_numpy(image).permute(2, 0, 1)


def eval_batches(cache: SampleStore, batch_size: int, shard: tuple[int, int] = (0, 1)) -> list[list[int]]:
    """Batches of samples whose images have one size and whose masks have one size.

    Args:
        cache: only its sizes are looked at.
        batch_size: at most so many samples in a batch.
        shard: number of this process and how many there are; every sample is in one batch of one of them.

    Returns:
        Indices, batch by batch; sizes in the order in which they first occur, indices of a size ascending.
    """
    assert batch_size >= 1, batch_size
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, size in enumerate(np.hstack([cache.image_sizes, cache.mask_sizes]).tolist()):
        groups.setdefault(tuple(size), []).append(index)
    batches = [
        group[start : start + batch_size]
        for group in groups.values()
        for start in range(0, len(group), batch_size)
    ]
    rank, world_size = shard
    return batches[rank::world_size]


def collate(samples: list[Sample]) -> Batch:
    """Stack samples of one size; images stay in the channels-last memory they come in."""
    images, masks, indices = zip(*samples, strict=True)
    return {
        "image": torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2),
        "mask": torch.stack(masks),
        "index": torch.tensor(indices),
    }


def make_loader(
    dataset: Dataset[Sample],
    batches: Iterable[list[EpochIndex]] | Iterable[list[int]],
    *,
    workers: int = 0,
    pin_memory: bool = False,
    start_method: str | None = None,
) -> DataLoader[Sample]:
    """A loader of :class:`Batch` in the order of ``batches``.

    Neither torch's random numbers nor the number of workers has any effect on what is loaded, and loading
    leaves torch's random numbers as they are.

    Args:
        dataset: :class:`TrainDataset` or :class:`EvalDataset`.
        batches: :class:`StepSampler` or :func:`eval_batches`.
        workers: processes that load ahead; 0 loads in this one. See :func:`default_workers`.
        pin_memory: put batches where a GPU can fetch them while it works.
        start_method: of the workers: "fork", "spawn" or "forkserver"; None takes the platform's own.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker if workers else None,
        multiprocessing_context=start_method if workers else None,
        persistent_workers=workers > 0,
        prefetch_factor=2 if workers else None,
        # A loader draws a seed for its workers each time it starts: from here instead of from the global
        # generator, whose next numbers are those of dropout.
        generator=torch.Generator(),
    )


def default_workers(*, on_gpu: bool) -> int:
    """Number of workers that suits the machine.

    Loading takes about a millisecond a sample: beside a network that computes on the same cores it is no use
    to start processes for it; a GPU takes what all cores can give.
    """
    if not on_gpu:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores - 1))


def _mask_tensor(mask: NDArray[np.integer]) -> Tensor:
    # torch can hardly compute with uint16. The copy is needed for uint8 too: a cache's views are read-only.
    return torch.from_numpy(mask.astype(np.uint8 if mask.dtype == np.uint8 else np.int32))


def _start_worker(_: int) -> None:
    # Ctrl-C in a terminal, and SIGTERM from timeout or a scheduler, reach every process of the group: the
    # training process decides what to do, and workers go on serving it until it tells them to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
