"""Loss and labels of bilinearly upsampled scores in plain PyTorch: where there is no compiler, on any device.

Output pixels are made in blocks that stay in the cache. Interpolation of the columns of a block is one matrix
product, and its gradient is that product turned round.

Shapes: B batch, K classes, h,w scores, H,W labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sceneparse.kernels.taps import matrix, taps
from sceneparse.kernels.target import Gradients, Target, refuse_strange_labels, softmax_loss

BLOCK_BYTES_CPU = 2**22
BLOCK_COLUMNS_CPU = 128
"""Scores of a block stay in the cache that cores share; wider blocks multiply by more zeros."""

BLOCK_BYTES_ACCELERATOR = 2**28
"""There, few large launches are faster than many small ones."""


class _Block(NamedTuple):
    """Some output pixels of one image, and the way there and back.

    Args:
        image: 0..B-1.
        rows: of the output.
        columns: of the output.
        above: (rows,) row of scores that each lies below.
        part: (rows, 1) the distance from it.
        cells: columns of scores that are read.
        weights: (columns, cells) of their interpolation; None where output and scores are of one size.
    """

    image: int
    rows: slice
    columns: slice
    above: Tensor
    part: Tensor
    cells: slice
    weights: Tensor | None

    def scores(self, source: Tensor) -> Tensor:
        """Of (B, K, h, w): (K, rows, columns)."""
        if self.weights is None:
            return source[self.image, :, self.rows, self.columns]
        below = (self.above + 1).clamp(max=source.shape[2] - 1)
        image = source[self.image, :, :, self.cells]
        return torch.lerp(image[:, self.above], image[:, below], self.part) @ self.weights.mT

    def add_gradient(self, gradient: Tensor, to: Tensor) -> None:
        """Of the scores of this block, to (B, K, h, w)."""
        if self.weights is None:
            to[self.image, :, self.rows, self.columns] = gradient
            return
        below = (self.above + 1).clamp(max=to.shape[2] - 1)
        image = to[self.image, :, :, self.cells]
        # In this order the product is three times as fast as with the few cells as its columns.
        back = (self.weights.mT @ gradient.flatten(0, 1).mT).mT.unflatten(0, gradient.shape[:2])
        image.index_add_(1, self.above, back * (1 - self.part))
        image.index_add_(1, below, back * self.part)


def _blocks(source: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int]) -> Iterator[_Block]:
    """All blocks of an output of ``size_hw``; ``source``: (B, K, h, w)."""
    batch, classes, h, w = source.shape
    height, width = size_hw
    on_cpu = source.device.type == "cpu"
    most_columns = BLOCK_COLUMNS_CPU if on_cpu else width
    most_bytes = BLOCK_BYTES_CPU if on_cpu else BLOCK_BYTES_ACCELERATOR
    most_rows = max(1, most_bytes // (4 * classes * min(most_columns, width)))
    tops, parts = (values.to(source.device) for values in taps(height, h, covered_hw[0]))
    lefts = taps(width, w, covered_hw[1]).first
    for first_column in range(0, width, most_columns):
        columns = slice(first_column, min(first_column + most_columns, width))
        cells = slice(int(lefts[columns.start]), min(int(lefts[columns.stop - 1]) + 2, w))
        weights = None
        if covered_hw != (h, w):
            weights = matrix(columns, cells, width, w, covered_hw[1]).to(source.device)
        for image in range(batch):
            for first in range(0, height, most_rows):
                rows = slice(first, min(first + most_rows, height))
                above, part = tops[rows].long(), parts[rows].view(-1, 1)
                yield _Block(image, rows, columns, above, part, cells, weights)


def loss(scores: Tensor, target: Target, covered_hw: tuple[int, int], *, with_gradient: bool) -> Gradients:
    """Sum of the cross-entropies of upsampled scores.

    Args:
        scores: float32 (B, K, h, w).
        target: labels (B, H, W).
        covered_hw: size that the scores cover; the labels lie at its upper left.
        with_gradient: also that of the scores.
    """
    refuse_strange_labels(target, scores.shape[1])
    gradient = torch.zeros_like(scores, memory_format=torch.contiguous_format) if with_gradient else None
    scores = scores.contiguous()
    total = torch.zeros((), dtype=torch.float64, device=scores.device)
    height, width = target.labels.shape[1:]
    for block in _blocks(scores, (height, width), covered_hw):
        labels = target.labels[block.image, block.rows, block.columns]
        share, change = softmax_loss(block.scores(scores), labels, target, dim=0)
        total += share
        if gradient is not None:
            block.add_gradient(change, gradient)
    return Gradients(total.float(), gradient)


def labels(scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int]) -> Tensor:
    """Arg-max of upsampled scores.

    Args:
        scores: float32 (B, K, h, w).
        size_hw: H, W.
        covered_hw: size that the scores cover; the labels lie at its upper left.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    dtype = torch.uint8 if scores.shape[1] <= 256 else torch.int32
    found = torch.empty((len(scores), *size_hw), dtype=dtype, device=scores.device)
    scores = scores.contiguous()
    for block in _blocks(scores, size_hw, covered_hw):
        # max with its place takes half the time of argmax, where the classes are not neighbours in memory.
        found[block.image, block.rows, block.columns] = block.scores(scores).max(0).indices
    return found
