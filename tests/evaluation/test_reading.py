"""A reading against scores that are computed anew with the mistakes corrected."""

import json

import numpy as np
import pytest

from sceneparse.evaluation import reading
from sceneparse.evaluation.boundary import boundary_bands
from sceneparse.evaluation.confusion import confusion_matrix, scores
from sceneparse.evaluation.reading import Reading, costliest_confusions, mean_iou_gains

K, IGNORED = 5, 255


def samples(count=6, size=(40, 50), seed=0):
    """Truth in blocks, predictions with random mistakes, some pixels ignored; class 4 only predicted."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        truth = rng.integers(0, 4, (size[0] // 10, size[1] // 10)).repeat(10, 0).repeat(10, 1)
        guess = np.where(rng.random(truth.shape) < 0.1 + 0.1 * number, rng.integers(0, K, truth.shape), truth)
        truth = np.where(rng.random(truth.shape) < 0.1, IGNORED, truth)
        yield f"s{number}", truth.astype(np.uint8), guess.astype(np.uint8)


def read(triples):
    found = Reading(K, IGNORED)
    for triple in triples:
        found.add(found.count(*triple))
    return found


def test_the_matrix_is_that_of_the_split():
    triples = list(samples())
    expected = sum(confusion_matrix(guess, truth, K, IGNORED) for _, truth, guess in triples)
    assert (read(triples).matrix() == expected).all()


def test_pieces_of_rows_change_nothing(monkeypatch):
    triples = [(*triple, np.full(triple[1].shape, 0.5)) for triple in samples()]
    whole = read(triples).numbers()
    monkeypatch.setattr(reading, "PIECE_PIXELS", 130)
    assert read(triples).numbers() == whole


def test_bands_hold_every_pixel_once_and_are_those_of_the_boundary():
    triples = list(samples())
    numbers = read(triples).numbers()["boundaries"]
    matrices = np.zeros((5, K, K + 1), np.int64)
    for _, truth, guess in triples:
        bands = boundary_bands(truth, IGNORED)
        for n in range(5):
            matrices[n] += confusion_matrix(guess[bands == n], truth[bands == n], K, IGNORED)
    assert numbers["widths"] == [3, 5, 10, 20]
    assert (np.array(numbers["true"]) == matrices.sum(2)).all()
    assert (np.array(numbers["predicted"]) == matrices.sum(1)[:, :-1]).all()
    assert (np.array(numbers["right"]) == matrices.diagonal(axis1=1, axis2=2)).all()


def test_an_image_costs_what_the_score_gains_with_it_right(monkeypatch):
    monkeypatch.setattr(reading, "ALIKE", 2.0)
    triples = list(samples())
    before = scores(read(triples).matrix()).mean_iou
    expected = {}
    for i, (name, truth, _) in enumerate(triples):
        corrected = [*triples[:i], (name, truth, truth), *triples[i + 1 :]]
        expected[name] = scores(read(corrected).matrix()).mean_iou - before
    worst = read(triples).numbers()["worst"]
    assert [item["name"] for item in worst] == sorted(expected, key=lambda name: -expected[name])
    for item in worst:
        assert item["gain"] == pytest.approx(expected[item["name"]], abs=1e-12)
        _, truth, guess = triples[int(item["name"][1:])]
        alone = scores(confusion_matrix(guess, truth, K, IGNORED))
        assert item["mean_iou"] == pytest.approx(alone.mean_iou)
        assert 1 - item["wrong"] / item["pixels"] == pytest.approx(alone.pixel_accuracy)


def test_the_costliest_confusion_is_found_by_correcting_each():
    whole = read(samples()).matrix()
    expected = {}
    for i in range(K):
        for j in range(K + 1):
            corrected = whole.copy()
            if i != j and whole[i, j]:
                corrected[i, i] += whole[i, j]
                corrected[i, j] = 0
                expected[i, j] = scores(corrected).mean_iou - scores(whole).mean_iou
    found = costliest_confusions(whole, whole, 3)
    ranked = sorted(expected, key=lambda pair: -expected[pair])[:3]
    assert [(pair["truth"], pair["prediction"]) for pair in found] == ranked
    for pair in found:
        assert pair["gain"] == pytest.approx(expected[pair["truth"], pair["prediction"]], abs=1e-12)
        assert pair["pixels"] == whole[pair["truth"], pair["prediction"]]


def test_a_class_only_predicted_leaves_the_mean_when_it_is_corrected():
    matrix = np.array([[6, 2, 0], [0, 0, 0]])
    gain = mean_iou_gains(matrix, np.array([[2, 0]]), np.array([[0, 2]]))
    assert gain == pytest.approx([1 - (6 / 8 + 0) / 2])
    assert mean_iou_gains(np.zeros((2, 3), np.int64), np.zeros((1, 2)), np.zeros((1, 2))) == [0]


def test_images_with_the_same_mistakes_are_one_case():
    (_, truth, guess), (_, other, wrong) = list(samples(2, seed=4))
    twins = [("a", truth, guess), ("b", truth, guess), ("c", other, np.where(wrong == other, 0, wrong))]
    worst = read(twins).numbers()["worst"]
    assert sum(item["alike"] for item in worst) == 3 - len(worst)
    assert {item["name"] for item in worst} <= {"a", "c"}


def test_images_without_a_mistake_are_not_named():
    _, truth, _ = next(samples())
    assert read([("a", truth, truth)]).numbers()["worst"] == []


def test_no_class_is_a_mistake_of_its_truth():
    truth = np.zeros((4, 4), np.uint8)
    guess = np.full((4, 4), IGNORED, np.uint8)
    found = read([("a", truth, guess)])
    assert found.matrix()[0, K] == 16
    assert found.numbers()["worst"][0]["confusion"]["prediction"] == K


def block(confidence=0.99):
    """A label of one class; a block of the prediction says another, with this confidence."""
    truth, guess = np.zeros((60, 80), np.uint8), np.zeros((60, 80), np.uint8)
    guess[20:40, 30:60] = 3
    sure = np.full(truth.shape, 0.6, np.float32)
    sure[20:40, 30:60] = confidence
    return truth, guess, sure


def test_a_region_sure_and_wrong():
    truth, guess, sure = block()
    guess[0, 0], sure[0, 0] = 2, 1.0  # a single pixel is none
    found = Reading(K, IGNORED)
    found.add(found.count("a", truth, guess, sure))
    found.add(found.count("b", *block(0.8)))
    (region,) = found.numbers()["regions"]
    assert (region["name"], region["truth"], region["prediction"]) == ("a", 0, 3)
    assert region["pixels"] == 600
    assert region["share"] == pytest.approx(600 / 4800)
    assert tuple(region["box"]) == (20, 30, 40, 60)
    assert region["confidence"] == pytest.approx(0.99, abs=1e-6)


def test_regions_at_boundaries_do_not_count():
    truth, guess, sure = block()
    truth[:, 45:] = 1
    found = Reading(K, IGNORED)
    found.add(found.count("a", truth, guess, sure))
    (region,) = found.numbers()["regions"]
    top, left, bottom, right = region["box"]
    assert right <= 45 - 5 or left >= 45 + 5
    assert (bottom - top) * (right - left) == region["pixels"]


def test_the_same_place_in_other_images_is_one_case():
    found = Reading(K, IGNORED)
    for name in "abc":
        found.add(found.count(name, *block()))
    moved = [np.roll(array, -20, 0) for array in block()]
    found.add(found.count("d", *moved))
    regions = found.numbers()["regions"]
    assert [(region["name"], region["alike"]) for region in regions] == [("a", 2), ("d", 0)]


def test_large_pictures_are_looked_at_coarsely():
    found = Reading(K, IGNORED)
    found.add(found.count("a", *(array.repeat(40, 0).repeat(40, 1) for array in block())))
    (region,) = found.numbers()["regions"]
    assert region["pixels"] == pytest.approx(600 * 1600, rel=0.02)
    assert np.abs(np.array(region["box"]) - 40 * np.array([20, 30, 40, 60])).max() <= 4


@pytest.mark.parametrize("truth", [np.full((3, 3), IGNORED, np.uint8), np.zeros((1, 1), np.uint8)])
def test_nothing_and_next_to_nothing(truth):
    found = Reading(K, IGNORED)
    found.add(found.count("a", truth, np.zeros_like(truth), np.ones(truth.shape, np.float32)))
    numbers = json.loads(json.dumps(found.numbers()))
    assert numbers["images"] == 1
    assert numbers["worst"] == numbers["regions"] == []


def test_without_images_and_without_confidence():
    assert Reading(K, IGNORED).numbers()["worst"] == []
    assert read(samples(1)).numbers()["calibration"] is None


def test_containing_counts_images():
    expected = np.zeros(K, int)
    for _, truth, _ in samples():
        expected += np.isin(np.arange(K), truth)
    assert read(samples()).numbers()["containing"] == expected.tolist()
