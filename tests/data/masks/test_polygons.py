"""Canvas: every shape against a truth that is worked out another way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mask_forms_polygons import outer_ring, traced
from pycocotools import mask as coco_mask

from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.masks.polygons import Canvas
from sceneparse.errors import InputError

CLASSES = SourceClasses(names=("sky", "road"), numbers=(1, 7), colors=(None, None), uncovered=0)
PATH = Path("some.json")

# pycocotools 2.0.11 decodes in a way that NumPy 2 wants to be written anew; only the tests decode with it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def painted(points, size_hw: tuple[int, int]) -> np.ndarray:
    canvas = Canvas(size_hw, CLASSES, PATH)
    canvas.polygon(np.array(points, np.float64), 1, shape="shape 1")
    return canvas.finish()


def inside_by_crossings(points, size_hw: tuple[int, int]) -> np.ndarray:
    """Pixels whose centres have an odd number of horizontal edges above them: for upright shapes only."""
    x, y = np.meshgrid(np.arange(size_hw[1]) + 0.5, np.arange(size_hw[0]) + 0.5)
    inside = np.zeros(size_hw, bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, axis=0), strict=True):
        assert ax == bx or ay == by
        if ay == by:
            inside ^= (x > min(ax, bx)) & (x < max(ax, bx)) & (y > ay)
    return inside


def test_rectangle_fills_its_pixels() -> None:
    mask = painted([(2, 1), (5, 1), (5, 4), (2, 4)], (6, 8))
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 2:5] = 1
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.uint8
    assert mask.flags.c_contiguous


def test_shapes_with_notches_by_hand() -> None:
    # A comb with teeth one pixel wide, and a spiral's beginning.
    comb = [(0, 0), (1, 0), (1, 2), (2, 2), (2, 0), (3, 0), (3, 2), (4, 2), (4, 0), (5, 0), (5, 3), (0, 3)]
    np.testing.assert_array_equal(painted(comb, (3, 5)), [[1, 0, 1, 0, 1], [1, 0, 1, 0, 1], [1, 1, 1, 1, 1]])
    hook = [(0, 0), (4, 0), (4, 4), (1, 4), (1, 2), (2, 2), (2, 3), (3, 3), (3, 1), (0, 1)]
    expected = [[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1]]
    np.testing.assert_array_equal(painted(hook, (4, 4)), expected)


def test_triangle_takes_pixels_whose_centres_lie_inside() -> None:
    # x + 2 y < 8.2: no centre lies on the edge.
    mask = painted([(0, 0), (8.2, 0), (0, 4.1)], (5, 9))
    x, y = np.meshgrid(np.arange(9) + 0.5, np.arange(5) + 0.5)
    np.testing.assert_array_equal(mask, x + 2 * y < 8.2)


@pytest.mark.parametrize("seed", range(3))
def test_upright_shapes_are_exact_whatever_hangs_over(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(150):
        height, width = (int(n) for n in rng.integers(1, 30, 2))
        count = int(rng.integers(2, 8))
        xs = rng.integers(-width, 2 * width + 1, count)
        ys = rng.integers(-height, 2 * height + 1, count)
        points = np.array([(xs[(k + side) % count], ys[k]) for k in range(count) for side in (0, 1)])
        mask = painted(points, (height, width))
        np.testing.assert_array_equal(mask, inside_by_crossings(points, (height, width)))


def test_overhanging_slanted_edges_are_those_of_the_whole_shape() -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        height, width = (int(n) for n in rng.integers(10, 60, 2))
        points = rng.uniform(-0.9, 1.9, (5, 2)) * (width, height)
        whole = painted(points + np.array([width, height]), (3 * height, 3 * width))
        mask = painted(points, (height, width))
        np.testing.assert_array_equal(mask, whole[height : 2 * height, width : 2 * width])


def test_pycocotools_alone_bends_edges_that_leave_the_picture() -> None:
    """Why shapes are moved first: this fails once pycocotools rounds negative numbers down."""
    points = np.array([(5.0, -1.0), (14.0, 14.0), (6.0, 6.0)])
    alone = coco_mask.decode(coco_mask.frPyObjects([points.ravel()], 10, 12))[:, :, 0]
    moved = coco_mask.decode(coco_mask.frPyObjects([(points + 10).ravel()], 20, 22))[10:, 10:, 0]
    assert (alone != moved).any()
    np.testing.assert_array_equal(painted(points, (10, 12)), moved)


def test_within_the_picture_it_is_pycocotools_rule() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(n) for n in rng.integers(10, 120, 2))
        points = np.round(rng.random((int(rng.integers(3, 12)), 2)) * (width, height), 2)
        theirs = coco_mask.decode(coco_mask.frPyObjects([points.ravel()], height, width))[:, :, 0]
        np.testing.assert_array_equal(painted(points, (height, width)), theirs)


def test_neighbours_share_no_pixel_and_leave_none() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        middle = rng.uniform(5, 35, 2)
        corners = [(0, 0), (40, 0), (40, 40), (0, 40)]
        parts = [painted([corners[k], corners[(k + 1) % 4], middle], (40, 40)) for k in range(4)]
        np.testing.assert_array_equal(np.sum(parts, axis=0), 1)


def test_no_area_paints_nothing() -> None:
    for points in (
        [(1, 1), (5, 5), (1, 1)],
        [(3, 3)] * 4,
        [(-4, 1), (-1, 1), (-1, 3)],
        [(1, 7), (4, 7), (2, 9)],
    ):
        assert not painted(points, (6, 6)).any()


def test_later_shapes_lie_over_earlier_ones() -> None:
    canvas = Canvas((2, 3), CLASSES, PATH)
    canvas.polygon(np.array([(0, 0), (3, 0), (3, 2), (0, 2)], float), 1, shape="a")
    canvas.polygon(np.array([(1, 0), (2, 0), (2, 2), (1, 2)], float), 7, shape="b")
    np.testing.assert_array_equal(canvas.finish(), [[1, 7, 1], [1, 7, 1]])


def test_circle_takes_centres_within_its_radius() -> None:
    canvas = Canvas((9, 12), CLASSES, PATH)
    canvas.circle((3.0, 4.5), 3.2, 7, shape="a")
    x, y = np.meshgrid(np.arange(12) + 0.5, np.arange(9) + 0.5)
    np.testing.assert_array_equal(canvas.finish() == 7, np.hypot(x - 3.0, y - 4.5) <= 3.2)


def test_circle_over_the_edge_is_cut() -> None:
    canvas = Canvas((6, 6), CLASSES, PATH)
    canvas.circle((0.0, 6.0), 2.0, 7, shape="a")
    expected = np.zeros((6, 6), np.uint8)
    expected[4:, :2] = 7
    expected[4, 1] = 0  # its centre is 2.1 away
    np.testing.assert_array_equal(canvas.finish(), expected)


@pytest.mark.parametrize(("left", "top"), [(1, 2), (-1, -2), (3, 4), (-3, 0), (0, 5), (4, -1)])
def test_bitmap_is_cut_at_the_edges(left: int, top: int) -> None:
    rng = np.random.default_rng(100 + left * 10 + top)
    inside = rng.random((3, 4)) > 0.4
    canvas = Canvas((6, 5), CLASSES, PATH)
    canvas.bitmap(inside, left, top, 7, shape="a")
    wide = np.zeros((26, 25), np.uint8)
    wide[10 + top : 13 + top, 10 + left : 14 + left][inside] = 7
    np.testing.assert_array_equal(canvas.finish(), wide[10:16, 10:15])


def test_runs_count_down_the_columns() -> None:
    canvas = Canvas((2, 3), CLASSES, PATH)
    canvas.runs(np.array([1, 2, 2, 1]), 7, shape="a")
    np.testing.assert_array_equal(canvas.finish(), [[0, 7, 0], [7, 0, 7]])


@pytest.mark.parametrize(
    ("counts", "expected"), [([6], 0), ([0, 6], 7), ([0, 0, 6], 0), ([6, 0], 0), ([0, 6, 0, 0], 7)]
)
def test_runs_of_nothing_and_all(counts: list[int], expected: int) -> None:
    canvas = Canvas((2, 3), CLASSES, PATH)
    canvas.runs(np.array(counts), 7, shape="a")
    np.testing.assert_array_equal(canvas.finish(), np.full((2, 3), expected))


@pytest.mark.parametrize("counts", [[], [5], [7], [3, -1, 4], [2**62, 2**62, 2**62], [-(2**63), 6]])
def test_runs_that_are_not_the_picture(counts: list[int]) -> None:
    canvas = Canvas((2, 3), CLASSES, PATH)
    with pytest.raises(InputError, match=r"annotation 3 has .*the picture has 6 pixels"):
        canvas.runs(np.array(counts, np.int64), 7, shape="annotation 3")


def test_numbers_above_255_and_nothing_below() -> None:
    classes = SourceClasses(names=("a", "b"), numbers=(3, 300), colors=(None, None), uncovered=3)
    mask = Canvas((2, 2), classes, PATH).finish()
    assert mask.dtype == np.uint16
    np.testing.assert_array_equal(mask, 3)
    assert Canvas((2, 2), CLASSES, PATH).finish().dtype == np.uint8
    ignoring = SourceClasses(names=("a",), numbers=(3,), colors=(None,), ignored=(256,), uncovered=3)
    assert Canvas((2, 2), ignoring, PATH).finish().dtype == np.uint16


def test_uncovered_pixels_are_asked_about() -> None:
    classes = SourceClasses(names=("a",), numbers=(0,), colors=(None,))
    canvas = Canvas((4, 5), classes, PATH, picture="x.jpg")
    canvas.polygon(np.array([(0, 0), (5, 0), (5, 3), (0, 3)], float), 0, shape="a")
    with pytest.raises(
        DataError, match=r"x\.jpg: 25\.0% of the pixels .*class of their own or ignored\?"
    ) as error:
        canvas.finish()
    assert error.value.kind == "uncovered"
    assert error.value.where == PATH
    assert "uncovered: ignore" in str(error.value.fix)
    canvas.polygon(np.array([(0, 3), (5, 3), (5, 4), (0, 4)], float), 0, shape="b")
    np.testing.assert_array_equal(canvas.finish(), 0)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([(0, 0), (1, 1)], "has 2 points"),
        (np.empty((0, 2)), "has 0 points"),
        ([(0, 0), (1, np.nan), (1, 0)], r"\(1, nan\), far outside the 5 x 4 picture"),
        ([(0, 0), (np.inf, 2), (1, 0)], "far outside"),
        ([(0, 0), (1e308, 2), (1, 0)], "far outside"),
        ([(0, 0), (10.1, 2), (1, 0)], "far outside"),
        ([(0, 0), (1, -4.1), (1, 0)], "far outside"),
    ],
)
def test_senseless_points(points, said: str) -> None:
    canvas = Canvas((4, 5), CLASSES, PATH, picture="x.jpg")
    with pytest.raises(InputError, match=rf"x\.jpg: shape 3 {said}|x\.jpg: shape 3 .*{said}") as error:
        canvas.polygon(np.array(points, np.float64), 1, shape="shape 3")
    assert error.value.where == PATH
    assert error.value.fix


def test_an_endless_outline_is_refused_before_it_is_walked() -> None:
    canvas = Canvas((1000, 1000), CLASSES, PATH)
    points = np.zeros((20_000, 2))
    points[::2] = 1000
    with pytest.raises(InputError, match="outline of 20000000 pixels"):
        canvas.polygon(points, 1, shape="shape 1")


@pytest.mark.parametrize("seed", range(4))
def test_traced_regions_paint_the_map_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (17, 23))  # as rough as can be: holes, corners that touch, single pixels
    canvas = Canvas(labels.shape, SourceClasses.numbered(("a", "b", "c")), PATH)
    for number, rings in traced(labels):
        for ring in rings:
            canvas.polygon(ring.astype(float), number, shape="a")
    np.testing.assert_array_equal(canvas.finish(), labels)


def test_ring_by_hand() -> None:
    ring = outer_ring(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool))
    assert ring.tolist() == [[0, 0], [3, 0], [3, 2], [2, 2], [2, 1], [1, 1], [1, 2], [2, 2], [2, 3], [0, 3]]
