"""Bands around boundaries against scipy's distance transform and against every pair of pixels."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from sceneparse.evaluation import boundary
from sceneparse.evaluation.boundary import WIDTHS, boundary_bands, squared_distance

IGNORED = 255


def regions(shape, seed, *, classes=4, ignored=0.0):
    """Blobs: the nearest of some random points gives each pixel its class."""
    rng = np.random.default_rng(seed)
    points = rng.random((12, 2)) * shape
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    nearest = np.hypot(rows[..., None] - points[:, 0], columns[..., None] - points[:, 1]).argmin(-1)
    truth = rng.integers(0, classes, 12).astype(np.uint8)[nearest]
    truth[rng.random(shape) < ignored] = IGNORED
    return truth


def by_every_pair(truth, widths=WIDTHS):
    """The definition, pixel by pixel, for a truth without ignored pixels."""
    height, width = truth.shape
    edges = [
        (y, x)
        for y in range(height)
        for x in range(width)
        for a, b in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1))
        if 0 <= a < height and 0 <= b < width and truth[a, b] != truth[y, x]
    ]
    found = np.full(truth.shape, len(widths))
    for y in range(height):
        for x in range(width):
            distance = min((np.hypot(y - a, x - b) for a, b in edges), default=np.inf)
            found[y, x] = sum(distance >= w - 1e-9 for w in widths)
    return found


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (33, 1), (23, 31), (30, 8)])
def test_bands_by_the_definition(shape):
    truth = regions(shape, seed=shape[0])
    assert (boundary_bands(truth, IGNORED) == by_every_pair(truth)).all()
    assert (boundary_bands(truth, IGNORED, (1, 2)) == by_every_pair(truth, (1, 2))).all()


def test_a_straight_edge_has_as_many_pixels_on_either_side():
    truth = np.zeros((40, 60), np.uint8)
    truth[:, 30:] = 1
    bands = boundary_bands(truth, IGNORED)
    assert [int((bands[5] <= n).sum()) for n in range(5)] == [6, 10, 20, 40, 60]
    assert (bands == bands[:1]).all()


@pytest.mark.parametrize("reach", [1, 4, 20])
def test_distances_are_those_of_scipy(reach):
    rng = np.random.default_rng(reach)
    for density in (0.001, 0.05, 0.6):
        there = rng.random((70, 55)) < density
        there[0, 0] = True
        expected = np.minimum(distance_transform_edt(~there) ** 2, reach**2)
        np.testing.assert_allclose(squared_distance(there, reach), expected, atol=1e-6)


def test_pieces_of_rows_change_nothing(monkeypatch):
    truth = regions((900, 21), seed=3, ignored=0.2)
    whole = boundary_bands(truth, IGNORED)
    monkeypatch.setattr(boundary, "PIECE_PIXELS", 1)
    monkeypatch.setattr(boundary, "CACHED_PIXELS", 50)
    assert (boundary_bands(truth, IGNORED) == whole).all()
    assert len(np.unique(whole)) == 5


def test_a_thin_ignored_line_is_a_boundary_along_its_middle():
    """As PASCAL VOC draws it, five pixels wide."""
    truth = np.zeros((9, 45), np.uint8)
    truth[:, 20:25], truth[:, 25:] = IGNORED, 1
    same = np.zeros((9, 45), np.uint8)
    same[:, 22:] = 1  # of equal distances the smaller class is taken, and 22 is as far from both
    expected = boundary_bands(same, IGNORED)
    found = boundary_bands(truth, IGNORED)
    assert np.abs(found.astype(int) - expected)[:, :20].max() <= 1
    assert found[4, 19] == 1  # three pixels from the middle
    assert found[4, 25] in (0, 1)


def test_ignored_regions_by_themselves_are_no_boundary():
    truth = np.zeros((50, 50), np.uint8)
    truth[10:20, 10:30] = IGNORED
    truth[:, 45:] = IGNORED
    assert (boundary_bands(truth, IGNORED) == len(WIDTHS)).all()
    assert (boundary_bands(np.full((5, 5), IGNORED, np.uint8), IGNORED) == len(WIDTHS)).all()


def test_ignored_pixels_take_the_class_of_the_nearest():
    truth = regions((60, 70), seed=5, ignored=0.7)
    counted = truth != IGNORED
    filled = boundary._filled(truth, IGNORED, 20)
    assert (filled[counted] == truth[counted]).all()
    distance = distance_transform_edt(~counted)
    for y, x in np.argwhere(~counted)[::7]:
        nearest = [
            truth[a, b] for a, b in np.argwhere(counted) if np.hypot(a - y, b - x) <= distance[y, x] + 1e-9
        ]
        assert filled[y, x] in nearest


def test_ignored_pixels_far_from_all_stay_without_a_class():
    truth = np.full((3, 60), IGNORED, np.uint8)
    truth[:, 0] = 0
    filled = boundary._filled(truth, IGNORED, 20)
    assert (filled[1, :20] == 0).all()
    assert (filled[1, 20:] == -1).all()
    assert (boundary_bands(truth, IGNORED) == len(WIDTHS)).all()


def test_many_classes():
    truth = np.zeros((4, 60), np.uint16)
    truth[:, 30:] = 65534
    truth[:, 28:31] = 65535
    assert boundary_bands(truth, 65535)[0, 27] == 0
