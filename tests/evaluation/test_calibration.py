"""Calibration by hand and against the paper's formula written out."""

import math

import numpy as np
import pytest

from sceneparse.evaluation.calibration import BINS, Calibration


def test_by_hand():
    found = Calibration()
    found.add(np.array([[0.95, 0.95], [0.55, 1.0]]), np.array([[True, False], [True, True]]))
    top, middle = BINS - 1, 8  # 0.55 * 15 = 8.25
    assert found.pixels[top] == 3
    assert found.right[top] == 2
    assert found.pixels[middle] == 1
    assert found.expected_error == pytest.approx((abs(2 - 2.9) + abs(1 - 0.55)) / 4)
    assert found.overconfidence == pytest.approx((0.95 + 0.95 + 0.55 + 1 - 3) / 4)


def test_borders_of_bins_belong_to_the_lower_one():
    found = Calibration()
    found.add(np.array([0.0, 0.2, 0.2 + 1e-9, 1.0]), np.zeros(4, bool))
    assert found.pixels.nonzero()[0].tolist() == [0, 2, 3, 14]


def test_against_the_formula_in_parts():
    rng = np.random.default_rng(0)
    confidence, right = rng.random(5000).astype(np.float32), rng.random(5000) < 0.6
    found = Calibration()
    for part in (slice(0, 1), slice(1, 3000), slice(3000, 5000)):
        found.add(confidence[part], right[part])
    expected = 0.0
    for m in range(BINS):
        inside = (confidence > m / BINS) & (confidence <= (m + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert found.expected_error == pytest.approx(expected, abs=1e-6)
    again = Calibration.from_dict(found.to_dict())
    assert again.expected_error == found.expected_error


def test_nothing_counted():
    assert math.isnan(Calibration().expected_error)
    assert math.isnan(Calibration().overconfidence)
    with pytest.raises(ValueError, match="lengths"):
        Calibration.from_dict({"pixels": [1, 2], "confidence": [1.0], "right": [1]})
