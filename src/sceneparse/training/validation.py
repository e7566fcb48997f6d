"""Evaluation of a network on the whole validation split, at the labels' own size, streamed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from sceneparse.evaluation.confusion import Scores
from sceneparse.evaluation.metric import SegmentationScores
from sceneparse.group import Group
from sceneparse.models.upsample import upsampled_argmax
from sceneparse.normalization import Normalization
from sceneparse.prediction.inference import normalized, scores_for
from sceneparse.training.loss import cross_entropy_sum, pixel_weight


@dataclass(frozen=True)
class Validation:
    """Result of one evaluation.

    Args:
        scores: of the whole split, with the confusion matrix.
        loss: mean cross-entropy over all counted pixels; nan where there are none.
        predictions: training indices (H, W) of the samples asked for, by index.
    """

    scores: Scores
    loss: float
    predictions: dict[int, NDArray[np.integer]]


@torch.no_grad()
def validate(
    model: nn.Module,
    loader: DataLoader,
    *,
    normalization: Normalization,
    device: torch.device,
    num_classes: int,
    ignore_index: int,
    keep: Collection[int] = (),
    stop: Callable[[], bool] = lambda: False,
    group: Group = Group(),  # noqa: B008
) -> Validation | None:
    """Run ``model`` over ``loader``.

    Args:
        model: is in evaluation mode during the call and in its former mode after it.
        loader: batches of :class:`sceneparse.data.loader.EvalDataset`.
        normalization: of the weights.
        device: where the model is.
        num_classes: K.
        ignore_index: label without effect.
        keep: indices of samples whose predictions are returned.
        stop: asked after every batch; True gives up, for all processes.
        group: the processes whose loaders together give the split; each gets the result for the whole of it.

    Returns:
        None where ``stop`` ended it.
    """
    was_training = model.training
    model.eval()
    metric = SegmentationScores(num_classes, ignore_index).to(device)
    nothing = torch.zeros(0, dtype=torch.uint8, device=device)
    metric.update(nothing, nothing)  # it would warn in a process that has no batch
    total = torch.zeros((), dtype=torch.float64, device=device)
    pixels = torch.zeros((), dtype=torch.float64, device=device)
    predictions: dict[int, NDArray[np.integer]] = {}
    stopped = False
    try:
        for batch in loader:
            mask: Tensor = batch["mask"].to(device, non_blocking=True)
            images = normalized(batch["image"], normalization, device)
            size_hw = (mask.shape[1], mask.shape[2])
            scores, upsampling = scores_for(model, images, size_hw)
            total += cross_entropy_sum(scores, mask, ignore_index, upsampling=upsampling)
            pixels += pixel_weight(mask, ignore_index)
            labels = upsampled_argmax(scores, size_hw, upsampling=upsampling)
            metric.update(labels, mask)
            for row, index in enumerate(batch["index"].tolist()):
                if index in keep:
                    predictions[index] = labels[row].cpu().numpy()
            if stopped := stop():
                break
    finally:
        model.train(was_training)
    if group.highest(int(stopped)):
        return None
    group.add_up(total)
    group.add_up(pixels)
    for others in group.gathered(predictions):
        predictions |= others
    loss_mean = (total / pixels).item() if pixels.item() else float("nan")
    # The metric adds up the counts of all processes itself.
    return Validation(metric.compute(), loss_mean, predictions)


def collapse_warning(scores: Scores, names: tuple[str, ...]) -> str | None:
    """A sentence when nearly every pixel is predicted as one class although the labels have more."""
    predicted = scores.matrix[:, :-1].sum(0)
    if not predicted.sum():
        return None
    top = int(predicted.argmax())
    share, truth = predicted[top] / predicted.sum(), scores.pixels[top] / scores.pixels.sum()
    if share < 0.95 or truth > 0.9 * share:
        return None
    return (
        f"the prediction has collapsed: {share:.0%} of the pixels are predicted as {names[top]!r}, which is "
        f"{truth:.0%} of the labels. Early in a run this passes; if it stays, check the masks (look at "
        "samples/), lower --lr, or weight the classes (--set loss.class_weights=enet)"
    )
