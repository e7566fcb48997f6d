"""The colour-only baseline against cases worked by hand and against predicting pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.dataset import open_dataset
from sceneparse.errors import InputError
from sceneparse.evaluation.color_baseline import (
    baseline_from_samples,
    color_baseline,
    color_histogram,
    fit_table,
    score_table,
)
from sceneparse.evaluation.confusion import confusion_matrix, scores

IGNORED = 255


def samples(seed, count, color_of_class):
    """Images of 24 x 40 in blocks of 4 x 4, each pixel coloured by ``color_of_class(rng, mask)``."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mask = np.kron(rng.integers(0, 3, (6, 10)), np.ones((4, 4), int)).astype(np.uint8)
        yield color_of_class(rng, mask), mask


def own_color(rng, mask):
    noise = rng.integers(-3, 4, (*mask.shape, 3))
    return (np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]])[mask] + noise).astype(np.uint8)


def any_color(rng, mask):
    return rng.integers(0, 256, (*mask.shape, 3), np.uint8)


def test_colour_gives_the_class_scores_one():
    result = baseline_from_samples(samples(0, 10, own_color), samples(1, 4, own_color), 3, IGNORED)
    assert result.scores.mean_iou == 1.0
    assert result.scores.pixel_accuracy == 1.0


def test_colour_says_nothing_scores_as_guessing():
    result = baseline_from_samples(samples(0, 20, any_color), samples(1, 10, any_color), 3, IGNORED)
    # Guessing three equally common classes: accuracy 1/3; IoU (1/9) / (1/3 + 1/3 - 1/9) = 1/5.
    assert result.scores.pixel_accuracy == pytest.approx(1 / 3, abs=0.03)
    assert result.scores.mean_iou < 0.22


def test_one_colour_for_all_gives_the_commonest_class():
    mask = np.array([[0, 0, 0, 1]], np.uint8)
    image = np.full((1, 4, 3), 90, np.uint8)
    histogram = color_histogram([(image, mask)], 2, IGNORED)
    table = fit_table(histogram, bins=16, prior_power=1.0)
    assert (table(image) == 0).all()
    assert (table(np.full((2, 2, 3), 250, np.uint8)) == 0).all(), "a colour never seen gets the prior"
    assert score_table(table, histogram).pixel_accuracy == 0.75


@pytest.mark.parametrize("bins", [16, 32])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_scores_from_histograms_equal_prediction_of_every_pixel(bins, power):
    def mixed(rng, mask):
        return np.where(rng.random((*mask.shape, 1)) < 0.4, own_color(rng, mask), any_color(rng, mask))

    train, val = list(samples(0, 6, mixed)), list(samples(1, 3, mixed))
    val[0][1][:3] = IGNORED
    table = fit_table(color_histogram(train, 3, IGNORED), bins=bins, prior_power=power)
    expected = scores(sum(confusion_matrix(table(image), mask, 3, IGNORED) for image, mask in val))
    found = score_table(table, color_histogram(val, 3, IGNORED))
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    assert found.mean_iou == expected.mean_iou


def test_ignored_pixels_are_not_counted():
    image = np.zeros((2, 3, 3), np.uint8)
    mask = np.full((2, 3), IGNORED, np.uint8)
    mask[0, 0] = 1
    histogram = color_histogram([(image, mask)], 2, IGNORED)
    assert histogram.sum() == 1
    assert histogram[0, 0, 0, 1] == 1


def test_sizes_that_differ_are_an_input_error():
    with pytest.raises(InputError, match="differ in size"):
        color_histogram([(np.zeros((4, 4, 3), np.uint8), np.zeros((2, 2), np.uint8))], 2, IGNORED)


def test_from_a_folder_as_from_samples(tmp_path):
    splits = {"train": list(samples(0, 6, own_color)), "val": list(samples(1, 2, own_color))}
    for split, pairs in splits.items():
        for kind in ("images", "masks"):
            (tmp_path / kind / split).mkdir(parents=True)
        for i, (image, mask) in enumerate(pairs):
            Image.fromarray(image).save(tmp_path / "images" / split / f"{i}.png")
            Image.fromarray(mask * 10).save(tmp_path / "masks" / split / f"{i}.png")
    (tmp_path / "dataset.yaml").write_text(
        "train: {images: images/train, masks: masks/train}\n"
        "val: {images: images/val, masks: masks/val}\n"
        "classes: {0: red, 10: green, 20: blue}\n"
    )
    numbers = color_baseline(open_dataset(tmp_path))
    assert numbers["mean_iou"] == numbers["pixel_accuracy"] == 1.0
