"""Hand-worked matrices for each rule, and plain loops beside the fused count."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sceneparse.errors import InputError
from sceneparse.evaluation import confusion
from sceneparse.evaluation.confusion import (
    CHUNK_PIXELS,
    _count_device,
    confusion_matrix,
    format_table,
    joint_counts,
    numbers_json,
    scores,
)
from sceneparse.labels import ade20k, camvid, label_set_from_names


def loop_matrix(prediction, target, num_classes, ignore_index):
    matrix = np.zeros((num_classes, num_classes + 1), np.int64)
    for guess, truth in zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True):
        if truth != ignore_index:
            matrix[truth, guess if 0 <= guess < num_classes else num_classes] += 1
    return matrix


def trial(seed, dtype=np.int64, shape=(13, 17)):
    rng = np.random.default_rng(seed)
    num_classes = int(rng.integers(1, 9))
    target = rng.integers(0, num_classes, shape)
    target[rng.random(shape) < 0.2] = 100
    prediction = rng.integers(0 if np.dtype(dtype).kind == "u" else -3, num_classes + 4, shape)
    return prediction.astype(dtype), target.astype(dtype), num_classes


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_pixels(seed, dtype):
    prediction, target, num_classes = trial(seed, dtype)
    expected = loop_matrix(prediction, target, num_classes, 100)
    assert (confusion_matrix(prediction, target, num_classes, 100) == expected).all()
    tensor = confusion_matrix(torch.from_numpy(prediction), torch.from_numpy(target), num_classes, 100)
    assert tensor.dtype == torch.int64
    assert (tensor.numpy() == expected).all()


@pytest.mark.parametrize("seed", range(10))
def test_the_gpu_path_counts_the_same(seed):
    # The arithmetic used on a GPU, run on the CPU: without a GPU it must not stay untested.
    prediction, target, num_classes = trial(seed)
    target[0, 0] = num_classes  # neither class nor ignored
    on_device = _count_device(torch.from_numpy(prediction), torch.from_numpy(target), num_classes, 100)
    assert (on_device.numpy() == joint_counts(prediction, target, num_classes, 100)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_more_pixels_than_a_chunk_and_views_that_are_not_contiguous(monkeypatch, dtype):
    monkeypatch.setattr(confusion, "CHUNK_PIXELS_OF_BYTES", CHUNK_PIXELS)
    prediction, target, num_classes = trial(3, dtype, (700, 2 * CHUNK_PIXELS // 700 + 60))
    expected = loop_matrix(prediction, target, num_classes, 100)
    assert (confusion_matrix(prediction, target, num_classes, 100) == expected).all()
    assert (confusion_matrix(prediction.T, target.T, num_classes, 100) == expected).all()
    flipped = confusion_matrix(prediction[::2, ::-3], target[::2, ::-3], num_classes, 100)
    assert (flipped == loop_matrix(prediction[::2, ::-3], target[::2, ::-3], num_classes, 100)).all()


@pytest.mark.parametrize("num_classes", [1, 3, 255, 256])
@pytest.mark.parametrize("ignore_index", [-1, 0, 2, 255, 1000])
def test_bytes_are_counted_as_other_integers_are(num_classes, ignore_index):
    rng = np.random.default_rng(num_classes)
    prediction, target = rng.integers(0, 256, (2, 50_000), dtype=np.uint8)
    expected = joint_counts(prediction.astype(np.int32), target.astype(np.int32), num_classes, ignore_index)
    counts = joint_counts(prediction, target, num_classes, ignore_index)
    assert counts.shape == expected.shape
    assert (counts == expected).all()


def test_predictions_under_ignored_pixels_change_nothing():
    prediction, target, num_classes = trial(7)
    before = confusion_matrix(prediction, target, num_classes, 100)
    for value in (-1, 0, num_classes, 100, 2**40):
        changed = np.where(target == 100, value, prediction)
        assert (confusion_matrix(changed, target, num_classes, 100) == before).all()


def test_parts_add_up_to_the_whole():
    prediction, target, num_classes = trial(11)
    parts = sum(confusion_matrix(p, t, num_classes, 100) for p, t in zip(prediction, target, strict=True))
    assert (parts == confusion_matrix(prediction, target, num_classes, 100)).all()


def test_the_ignored_value_may_be_a_class_number():
    matrix = confusion_matrix(np.array([0, 1, 0]), np.array([0, 0, 1]), 2, ignore_index=0)
    assert matrix.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_wrong_input_is_refused():
    ok = np.zeros((2, 2), np.int64)
    with pytest.raises(InputError, match=r"\(2, 2\) and truth is \(2, 3\)"):
        confusion_matrix(ok, np.zeros((2, 3), np.int64), 2, 255)
    with pytest.raises(InputError, match="float64"):
        confusion_matrix(ok.astype(float), ok, 2, 255)
    with pytest.raises(InputError, match="float32"):
        confusion_matrix(torch.zeros(2, 2), torch.zeros(2, 2, dtype=torch.int64), 2, 255)
    with pytest.raises(InputError, match=r"3 pixels have a truth outside 0\.\.1"):
        confusion_matrix(np.zeros(5, int), np.array([0, 1, 2, -1, 254]), 2, 255)
    with pytest.raises(InputError, match="two arrays or two tensors"):
        confusion_matrix(torch.zeros(2, 2, dtype=torch.int64), ok, 2, 255)
    with pytest.raises(InputError, match="rule"):
        scores(np.zeros((2, 3), int), "drop")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="K, K"):
        scores(np.zeros((2, 2), int))
    with pytest.raises(InputError, match="counts"):
        scores(np.zeros((2, 3)))


# Rows truth, columns prediction, last column "no class".
#            predicted   0  1  2  3  none
HAND = np.array([[6, 2, 0, 0, 0],  # 8 pixels of class 0
                 [1, 3, 0, 0, 4],  # 8 pixels of class 1, half of them predicted as no class
                 [0, 0, 0, 0, 0],  # class 2: neither truth nor prediction
                 [0, 0, 0, 0, 0]])  # class 3: see below  # fmt: skip


def test_hand_worked_skip():
    found = scores(HAND, "skip")
    assert found.pixel_accuracy == 9 / 16
    assert found.accuracy[:2].tolist() == [6 / 8, 3 / 8]
    # class 0: 6 / (8 + 7 - 6); class 1: 3 / (8 + 5 - 3): the pixels of no class are in t_1 and in no p_j
    assert found.iou[:2].tolist() == [6 / 9, 3 / 10]
    assert np.isnan(found.iou[2:]).all()
    assert np.isnan(found.accuracy[2:]).all()
    assert found.mean_accuracy == pytest.approx((6 / 8 + 3 / 8) / 2, abs=1e-15)
    assert found.mean_iou == pytest.approx((6 / 9 + 3 / 10) / 2, abs=1e-15)
    assert found.frequency_weighted_iou == pytest.approx((8 * 6 / 9 + 8 * 3 / 10) / 16, abs=1e-15)
    assert found.benchmark_score == pytest.approx((9 / 16 + (6 / 9 + 3 / 10) / 2) / 2, abs=1e-15)
    assert found.pixels.tolist() == [8, 8, 0, 0]
    assert found.classes_present == 2


def test_hand_worked_zero():
    found = scores(HAND, "zero")
    assert found.mean_accuracy == pytest.approx((6 / 8 + 3 / 8) / 4, abs=1e-15)
    assert found.mean_iou == pytest.approx((6 / 9 + 3 / 10) / 4, abs=1e-15)
    assert found.benchmark_score == pytest.approx((9 / 16 + found.mean_iou) / 2, abs=1e-15)
    # neither depends on the rule, and the classes' own values stay undefined
    assert found.pixel_accuracy == 9 / 16
    assert found.frequency_weighted_iou == scores(HAND).frequency_weighted_iou
    assert np.isnan(found.iou[2:]).all()


def test_frequency_weighted_iou_weighs_with_true_pixels():
    found = scores(np.array([[9, 0, 0], [0, 1, 2]]))  # IoU 1 with 9 true pixels, IoU 1/3 with 3
    assert found.frequency_weighted_iou == pytest.approx((9 * 1 + 3 / 3) / 12, abs=1e-15)
    assert found.mean_iou == pytest.approx((1 + 1 / 3) / 2, abs=1e-15)


def test_predicted_but_never_true_has_iou_0_and_no_accuracy():
    matrix = HAND.copy()
    matrix[0, 0], matrix[0, 3] = 4, 2  # two pixels of class 0 are called class 3
    found = scores(matrix, "skip")
    assert found.iou[3] == 0
    assert np.isnan(found.accuracy[3])
    assert found.classes_present == 3
    assert found.mean_iou == pytest.approx((4 / 9 + 3 / 10 + 0) / 3, abs=1e-15)
    assert found.mean_accuracy == pytest.approx((4 / 8 + 3 / 8) / 2, abs=1e-15)  # no class without truth
    assert scores(matrix, "zero").mean_accuracy == pytest.approx((4 / 8 + 3 / 8) / 4, abs=1e-15)


@pytest.mark.parametrize("absent", ["skip", "zero"])
def test_everything_ignored_gives_null_and_no_traceback(absent, recwarn):
    matrix = confusion_matrix(np.zeros((4, 4), np.uint8), np.full((4, 4), 255, np.uint8), 11, 255)
    labels = camvid()
    numbers = numbers_json(matrix, labels, images=1, split="val", absent=absent)
    assert numbers["pixels"] == 0
    assert numbers["classes_present"] == 0
    for key in ("pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou", "benchmark_score"):
        assert numbers[key] is None
    json.dumps(numbers, allow_nan=False)
    assert "absent" in printed(numbers)
    assert not recwarn.list


def printed(numbers):
    from rich.console import Console

    console = Console(width=120, record=True, file=io.StringIO())
    console.print(format_table(numbers))
    return console.export_text()


def test_numbers_have_the_keys_of_the_contract():
    labels = replace(label_set_from_names(["sky", "road", "[x]", "sign"]), file_numbers=(7, 3, 1, 2))
    numbers = numbers_json(torch.from_numpy(HAND), labels, images=4, split="val", absent="skip")
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert list(numbers) == [
        "images", "pixels", "pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou",
        "benchmark_score", "classes_present", "absent_rule", "split", "per_class",
    ]  # fmt: skip
    assert numbers["per_class"][1] == {"id": 3, "name": "road", "iou": 0.3, "accuracy": 0.375, "pixels": 8}
    assert numbers["per_class"][2] == {"id": 1, "name": "[x]", "iou": None, "accuracy": None, "pixels": 0}
    assert (numbers["images"], numbers["pixels"], numbers["absent_rule"]) == (4, 16, "skip")
    text = printed(numbers)
    assert text.index("[x]") < text.index("sign") < text.index("road") < text.index("sky")  # by file number
    assert "48.33 %" in text
    assert "left out of the means" in text
    with pytest.raises(InputError, match="4 classes, label set of 150"):
        numbers_json(HAND, ade20k(), images=1, split="val")


def test_table_names_the_worst_classes():
    matrix = np.zeros((11, 12), np.int64)
    matrix[np.arange(11), np.arange(11)] = np.arange(11) + 1
    matrix[:, 11] = 10
    text = printed(numbers_json(matrix, camvid(), images=1, split="val"))
    assert "lowest IoU: sky 9.09 %, building 16.67 %" in text


def test_counts_are_exact_beyond_what_floats_hold():
    big = 2**60
    matrix = np.array([[big + 1, 0, 1], [0, big, 0]])
    assert scores(matrix).pixels.tolist() == [big + 2, big]
    assert scores(torch.from_numpy(matrix)).matrix.dtype == np.int64


@pytest.mark.parametrize("seed", range(4))
def test_equals_torchmetrics(seed):
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

    rng = np.random.default_rng(seed)
    target = torch.from_numpy(rng.integers(0, 5, (4, 50)))
    prediction = torch.where(torch.from_numpy(rng.random((4, 50)) < 0.6), target, (target + 1) % 5)
    target[0, :10] = 255
    found = scores(confusion_matrix(prediction, target, 5, 255))
    ours = multiclass_jaccard_index(prediction, target, 5, average="none", ignore_index=255).double().numpy()
    assert np.allclose(found.iou, ours, atol=1e-6)
    accuracy = multiclass_accuracy(prediction, target, 5, average="micro", ignore_index=255)
    assert math.isclose(found.pixel_accuracy, float(accuracy), abs_tol=1e-6)
