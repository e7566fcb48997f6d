"""The torchmetrics state gives what the pure functions give, over batches and processes."""

import numpy as np
import pytest
import torch

from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import confusion_matrix, scores
from sceneparse.evaluation.metric import SegmentationScores


def batches():
    generator = torch.Generator().manual_seed(0)
    for size in ((2, 5, 7), (1, 9, 4), (3, 1, 1)):
        target = torch.randint(0, 4, size, generator=generator, dtype=torch.uint8)
        prediction = torch.randint(0, 5, size, generator=generator)
        target[:, 0] = 255
        yield prediction, target


def test_batches_of_any_size_give_the_scores_of_the_whole():
    metric = SegmentationScores(4, 255)
    whole = 0
    for prediction, target in batches():
        metric.update(prediction, target)
        whole = whole + confusion_matrix(prediction, target, 4, 255)
    found = metric.compute()
    assert (found.matrix == whole.numpy()).all()
    assert found.mean_iou == scores(whole).mean_iou
    metric.reset()
    assert metric.counts.sum() == 0
    assert metric.counts.dtype == torch.int64


def test_absent_rule_reaches_the_scores():
    metric = SegmentationScores(10, 255, absent="zero")
    metric.update(torch.tensor([0]), torch.tensor([0]))
    assert metric.compute().mean_iou == 0.1


def test_counts_stay_integers_in_half_precision():
    metric = SegmentationScores(2, 255).half().bfloat16()
    metric.update(torch.tensor([0]), torch.tensor([0]))
    assert metric.counts.dtype == torch.int64


def test_a_wrong_truth_is_named_when_computing():
    metric = SegmentationScores(2, 255)
    metric.update(torch.tensor([0, 0]), torch.tensor([0, 7]))
    with pytest.raises(InputError, match="1 pixels have a truth outside"):
        metric.compute()


def test_processes_are_summed():
    # torchmetrics' gather is replaced by one that returns this process's state and another's.
    parts = []
    for prediction, target in batches():
        metric = SegmentationScores(4, 255)
        metric.update(prediction, target)
        parts.append(metric)
    others = [metric.counts.clone() for metric in parts[1:]]
    first = parts[0]
    first.distributed_available_fn = lambda: True
    first.dist_sync_fn = lambda state, group: [state, *others]
    whole = sum(confusion_matrix(p, t, 4, 255).numpy() for p, t in batches())
    assert np.array_equal(first.compute().matrix, whole)
