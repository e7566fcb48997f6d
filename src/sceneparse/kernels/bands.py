"""Loss, labels and confidence of bilinearly upsampled scores in plain PyTorch, on any device.

Loss and labels are made here where there is no compiler; confidence, which is looked at once a run, always.

Output pixels are made in blocks that stay in the cache. Interpolation of the columns of a block is one matrix
product, and its gradient is that product turned round. On the CPU each thread does its own blocks.

Shapes: B batch, K classes, h,w scores, H,W labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from sceneparse.kernels.taps import matrix, taps
from sceneparse.kernels.target import Gradients, Target, refuse_strange_labels, softmax_loss

BLOCK_BYTES_CPU = 2**21
BLOCK_COLUMNS_CPU = 128
"""Scores of a block stay in the cache; wider blocks multiply by more zeros."""

BLOCK_BYTES_ACCELERATOR = 2**28
"""There, few large launches are faster than many small ones."""

PARTS_CPU = 8
"""Parts of a batch that threads can take; the same whatever the number of threads, as are the sums."""


class _Part(NamedTuple):
    """Some output rows of one image.

    Args:
        image: 0..B-1.
        rows: of the output.
        cells: rows of scores that they are made from.
    """

    image: int
    rows: slice
    cells: slice


class _Block(NamedTuple):
    """Some output pixels of one part, and the way there and back.

    Args:
        rows: of the output.
        rows_here: the same among the part's.
        columns: of the output.
        above: (rows,) row, among the part's, of the scores that each lies below.
        part: (rows, 1) the distance from it.
        cells: columns of scores that are read.
        weights: (columns, cells) of their interpolation; None where output and scores are of one size.
    """

    rows: slice
    rows_here: slice
    columns: slice
    above: Tensor
    part: Tensor
    cells: slice
    weights: Tensor | None

    def scores(self, source: Tensor) -> Tensor:
        """Of those of the part (K, h, w): (K, rows, columns)."""
        if self.weights is None:
            return source[:, self.rows_here, self.columns]
        source, below = source[:, :, self.cells], (self.above + 1).clamp(max=source.shape[1] - 1)
        return torch.lerp(source[:, self.above], source[:, below], self.part) @ self.weights.mT

    def add_gradient(self, gradient: Tensor, to: Tensor) -> None:
        """Of the scores of this block, to (K, h, w)."""
        if self.weights is None:
            to[:, self.rows_here, self.columns] = gradient
            return
        to, below = to[:, :, self.cells], (self.above + 1).clamp(max=to.shape[1] - 1)
        # In this order the product is three times as fast as with the few cells as its columns.
        back = (self.weights.mT @ gradient.flatten(0, 1).mT).mT.unflatten(0, gradient.shape[:2])
        to.index_add_(1, self.above, back * (1 - self.part))
        to.index_add_(1, below, back * self.part)


class _Plan:
    """How an output of ``size_hw`` is cut: arguments as in :func:`loss`."""

    def __init__(
        self, scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], align_corners: bool
    ) -> None:
        self.scores, self.size_hw, self.covered_hw = scores, size_hw, covered_hw
        self.align_corners = align_corners
        self.on_cpu = scores.device.type == "cpu"
        self.same_size = covered_hw == tuple(scores.shape[2:])
        above, part = taps(size_hw[0], scores.shape[2], covered_hw[0], align_corners)
        self.first_cells = above.tolist()
        self.above, self.part = above.long().to(scores.device), part.view(-1, 1).to(scores.device)

    def parts(self) -> list[_Part]:
        """Of all images; fixed by the shapes alone."""
        batch, _, h, _ = self.scores.shape
        height = self.size_hw[0]
        each = -(-height // (-(-PARTS_CPU // batch) if self.on_cpu else 1))
        found = []
        for image in range(batch):
            for first in range(0, height, each):
                last = min(first + each, height)
                stop = self.first_cells[last - 1] + (1 if self.same_size else 2)
                found.append(_Part(image, slice(first, last), slice(self.first_cells[first], min(stop, h))))
        return found

    def blocks(self, part: _Part) -> Iterator[_Block]:
        """Of a part."""
        classes, _, w = self.scores.shape[1:]
        width = self.size_hw[1]
        most_columns = BLOCK_COLUMNS_CPU if self.on_cpu else width
        most_bytes = BLOCK_BYTES_CPU if self.on_cpu else BLOCK_BYTES_ACCELERATOR
        most_rows = max(1, most_bytes // (4 * classes * min(most_columns, width)))
        lefts = taps(width, w, self.covered_hw[1], self.align_corners).first
        for left in range(0, width, most_columns):
            columns = slice(left, min(left + most_columns, width))
            cells = slice(int(lefts[left]), min(int(lefts[columns.stop - 1]) + 2, w))
            weights = None
            if not self.same_size:
                covered = self.covered_hw[1]
                weights = matrix(columns, cells, width, w, covered, self.align_corners)
                weights = weights.to(self.scores.device)
            for first in range(part.rows.start, part.rows.stop, most_rows):
                rows = slice(first, min(first + most_rows, part.rows.stop))
                here = slice(first - part.rows.start, rows.stop - part.rows.start)
                above = self.above[rows] - part.cells.start
                yield _Block(rows, here, columns, above, self.part[rows], cells, weights)


def loss(
    scores: Tensor,
    target: Target,
    covered_hw: tuple[int, int],
    *,
    with_gradient: bool,
    align_corners: bool = False,
) -> Gradients:
    """Sum of the cross-entropies of upsampled scores.

    Args:
        scores: float32 (B, K, h, w).
        target: labels (B, H, W).
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.
        with_gradient: also that of the scores.
    """
    refuse_strange_labels(target, scores.shape[1])
    scores = scores.detach().contiguous()
    height, width = target.labels.shape[1:]
    plan = _Plan(scores, (height, width), covered_hw, align_corners)

    def loss_of(part: _Part) -> tuple[Tensor, Tensor | None]:
        source = scores[part.image, :, part.cells]
        gradient = torch.zeros_like(source) if with_gradient else None
        total = torch.zeros((), dtype=torch.float64, device=scores.device)
        for block in plan.blocks(part):
            labels = target.labels[part.image, block.rows, block.columns]
            share, change = softmax_loss(block.scores(source), labels, target, dim=0)
            total += share
            if gradient is not None:
                block.add_gradient(change, gradient)
        return total, gradient

    parts = plan.parts()
    found = _each(loss_of, parts, threads=plan.on_cpu)
    total = torch.stack([share for share, _ in found]).sum().float()
    whole = torch.zeros_like(scores) if with_gradient else None
    for part, (_, gradient) in zip(parts, found, strict=True):
        if whole is not None and gradient is not None:
            whole[part.image, :, part.cells] += gradient
    return Gradients(total, whole)


def labels(
    scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Arg-max of upsampled scores.

    Args:
        scores: float32 (B, K, h, w).
        size_hw: H, W.
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    dtype = torch.uint8 if scores.shape[1] <= 256 else torch.int32
    scores = scores.detach().contiguous()
    plan = _Plan(scores, size_hw, covered_hw, align_corners)

    def labels_of(part: _Part) -> Tensor:
        shape = (part.rows.stop - part.rows.start, size_hw[1])
        found = torch.empty(shape, dtype=dtype, device=scores.device)
        for block in plan.blocks(part):
            # max with its place takes half the time of argmax where the classes are not neighbours in memory.
            best = block.scores(scores[part.image, :, part.cells]).max(0).indices
            found[block.rows_here, block.columns] = best
        return found

    return torch.cat(_each(labels_of, plan.parts(), threads=plan.on_cpu)).view(-1, *size_hw)


def confidence(
    scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Largest softmax probability of upsampled scores; arguments as in :func:`labels`.

    Returns:
        float32 (B, H, W), 1/K..1.
    """
    scores = scores.detach().contiguous()
    plan = _Plan(scores, size_hw, covered_hw, align_corners)

    def confidence_of(part: _Part) -> Tensor:
        found = torch.empty((part.rows.stop - part.rows.start, size_hw[1]), device=scores.device)
        for block in plan.blocks(part):
            there = block.scores(scores[part.image, :, part.cells])
            found[block.rows_here, block.columns] = (there - there.amax(0)).exp_().sum(0).reciprocal_()
        return found

    return torch.cat(_each(confidence_of, plan.parts(), threads=plan.on_cpu)).view(-1, *size_hw)


Task = TypeVar("Task")
Found = TypeVar("Found")


def _each(work: Callable[[Task], Found], tasks: Sequence[Task], *, threads: bool) -> list[Found]:
    """``work`` of every task, in as many threads as PyTorch has, each with one of PyTorch's own.

    The other way round, many small operations in several threads each, is slower, and on a machine with
    other work ten times as slow: every one of them waits for a thread that has to wait for a core.
    """
    count = min(torch.get_num_threads(), len(tasks)) if threads else 1
    if count == 1:
        return [work(task) for task in tasks]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, tasks))
    finally:
        torch.set_num_threads(before)
