"""Classes of masks to classes that are trained: merges, ignored ones, uncovered pixels. Worked by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from sceneparse.data.classes import BACKGROUND_NAMES, SourceClasses
from sceneparse.errors import InputError
from sceneparse.labels import camvid, distinct_colors

STREET = SourceClasses(
    names=("void", "car", "road", "van", "truck", "sky"),
    numbers=(0, 10, 20, 30, 40, 50),
    colors=((0, 0, 0), (1, 1, 1), None, (3, 3, 3), None, (5, 5, 5)),
)


def message(call) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_without_words():
    labels = STREET.label_set()
    drawn = distinct_colors(6)
    assert (labels.names, labels.file_numbers) == (STREET.names, STREET.numbers)
    assert labels.palette == ((0, 0, 0), (1, 1, 1), drawn[2], (3, 3, 3), drawn[4], (5, 5, 5))
    assert (labels.ignored, labels.merged) == ((), ())


def test_merged_classes_stand_where_the_first_of_them_stood():
    labels = STREET.ignoring(["void", 255]).label_set({"vehicle": ["truck", "car", "van"]})
    assert labels.names == ("vehicle", "road", "sky")
    assert labels.file_numbers == (10, 20, 50)  # files of predictions hold these
    assert labels.palette == ((1, 1, 1), distinct_colors(6)[2], (5, 5, 5))
    assert labels.ignored == (0, 255)
    assert labels.merged == ((30, 10), (40, 10))
    mask = np.array([[0, 10, 20, 30], [40, 50, 255, 0]])
    assert labels.to_index(mask).tolist() == [[255, 0, 1, 0], [0, 2, 255, 255]]


def test_a_merge_may_have_the_name_of_one_of_its_classes():
    assert STREET.label_set({"car": ["car", "van"]}).names == ("void", "car", "road", "truck", "sky")
    assert STREET.label_set({"van": ["car", "van"]}).names == ("void", "van", "road", "truck", "sky")
    assert STREET.label_set({"x": ["sky"]}).names == ("void", "car", "road", "van", "truck", "x")
    two = STREET.label_set({"a": ["car", "sky"], "b": ["void", "road"]})
    assert (two.names, two.file_numbers) == (("b", "a", "van", "truck"), (0, 10, 30, 40))


@pytest.mark.parametrize(
    ("merge", "expected"),
    [
        ({"x": ["carr"]}, "Did you mean 'car'?"),
        ({"x": ["car", "car"]}, "in two merges"),
        ({"x": ["car"], "y": ["car"]}, "in two merges"),
        ({"sky": ["car", "van"]}, "outside its merge"),
        ({"x": ["void"]}, "which is ignored"),
        ({"car": ["van"], "x": ["car"]}, "is a merge itself"),
        ({"car": ["sky"], "sky": ["car"]}, "is a merge itself"),
    ],
)
def test_merges_that_do_not_fit(merge, expected):
    assert expected in message(lambda: STREET.ignoring(["void"]).label_set(merge))


def test_ignored():
    assert STREET.ignoring([]).ignored == ()
    assert STREET.ignoring(["sky", 50, 99, "sky"]).ignored == (50, 99)
    assert STREET.ignoring([99]).ignoring(["void"]).ignored == (99, 0)
    assert "Did you mean 'void'?" in message(lambda: STREET.ignoring(["viod"]))
    assert "every class is ignored" in message(lambda: STREET.ignoring(STREET.names).label_set())


def test_uncovered():
    assert STREET.with_uncovered(None).uncovered is None
    assert STREET.with_uncovered("road").uncovered == 20
    free = STREET.with_uncovered("ignore")
    assert (free.uncovered, free.ignored) == (255, (255,))
    known = STREET.ignoring([7, "void"]).with_uncovered("ignore")
    assert (known.uncovered, known.ignored) == (7, (7, 0))
    taken = SourceClasses(names=("a", "b"), numbers=(255, 300), colors=(None, None)).with_uncovered("ignore")
    assert (taken.uncovered, taken.ignored) == (301, (301,))
    assert "Did you mean 'road'?" in message(lambda: STREET.with_uncovered("raod"))


@pytest.mark.parametrize("name", [*BACKGROUND_NAMES, "Background", "UNLABELED"])
def test_a_background_takes_what_is_uncovered(name):
    classes = SourceClasses.numbered(["sky", name])
    assert classes.with_uncovered(None).uncovered == 1
    assert classes.with_uncovered("sky").uncovered == 0
    assert classes.with_uncovered("ignore").uncovered == 255


def test_uncovered_pixels_find_no_number_when_all_are_taken():
    """65,536 classes: nothing is left that a pixel could hold."""
    full = SourceClasses.numbered([f"n{i}" for i in range(65536)])
    message(lambda: full.with_uncovered("ignore").label_set())


def test_of_a_shipped_label_set():
    classes = SourceClasses.of(camvid())
    assert classes.label_set() == camvid()
    assert classes.number_of("sky") == 0
    assert classes.number_of("void") is None
    assert classes.all_colored


def test_names_and_numbers_given_twice():
    assert "given twice: a" in message(lambda: SourceClasses.numbered(["a", "b", "a"]))
    twice = message(lambda: SourceClasses(names=("a", "b"), numbers=(1, 1), colors=(None, None)))
    assert "number given twice: 1" in twice
    many = message(lambda: SourceClasses.numbered([f"n{i % 30000}" for i in range(60000)]))
    assert "and 29980 more" in many
    assert len(many) < 1000


def test_names_without_end():
    assert SourceClasses.numbered(["x" * 1000]).names == ("x" * 1000,)
    assert "1001 characters" in message(lambda: SourceClasses.numbered(["a", "x" * 1001]))


def test_long_class_lists_are_no_slower_than_their_length():
    names = [f"n{i}" for i in range(30_000)]
    began = time.process_time()
    classes = SourceClasses.numbered(names).ignoring([*names[:100], *range(30_000, 60_000)])
    labels = classes.label_set({"all": names[100:20_000]})
    assert labels.num_classes == 10_001
    assert time.process_time() - began < 5  # 0.2 s; a minute if squared
