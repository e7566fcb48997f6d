"""The confusion matrix as a torchmetrics metric: a thin state over :mod:`sceneparse.evaluation.confusion`."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from sceneparse.evaluation.confusion import AbsentRule, Scores, checked_matrix, joint_counts, scores


class SegmentationScores(Metric):
    """Scores of a split, from one int64 matrix that is summed over batches and processes.

    Args:
        num_classes: K.
        ignore_index: truth of pixels without effect.
        absent: what a class with neither truth nor prediction does to the means, see
            :func:`sceneparse.evaluation.confusion.scores`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int, ignore_index: int, absent: AbsentRule = "skip") -> None:
        super().__init__()
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.absent: AbsentRule = absent
        # The rows for wrong and ignored truths are kept: update never has to look at a value on the host.
        empty = torch.zeros(num_classes + 2, num_classes + 1, dtype=torch.int64)
        self.add_state("counts", default=empty, dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            prediction: training indices, integers of any shape; outside 0..K-1 is "no class".
            target: training indices of the same shape and device; 0..K-1 or ``ignore_index``.

        Raises:
            InputError: shapes differ or a dtype is not integer.
        """
        self.counts += joint_counts(prediction, target, self.num_classes, self.ignore_index).to(
            self.counts.device
        )

    def compute(self) -> Scores:
        """Scores of everything added so far, over all processes.

        Raises:
            InputError: a truth was neither a class nor ignored.
        """
        return scores(checked_matrix(self.counts), self.absent)
