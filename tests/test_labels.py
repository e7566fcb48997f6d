"""LabelSet against the benchmark's own tables and hand-worked cases."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sceneparse.errors import InputError
from sceneparse.labels import (
    LabelSet,
    ade20k,
    ade20k_tutorial,
    camvid,
    distinct_colors,
    label_set,
    label_set_from_names,
    value_counts,
)

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "ade20k-sample"


def rows(name):
    file = SAMPLE / name
    if not file.is_file():
        pytest.skip(f"the benchmark's table {file} is not here")
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_ade20k_has_the_benchmarks_classes():
    labels, official = ade20k(), rows("objectInfo150.csv")
    assert labels.file_numbers == tuple(range(1, 151))
    assert labels.ignored == (0,)
    assert len(set(labels.names)) == 150
    for name, row in zip(labels.names, official, strict=True):
        # The table splits names of several words at their spaces too.
        assert set(name.split()) <= set(row["Name"].split(";")), (name, row["Name"])


def test_ade20k_has_the_benchmarks_palette():
    official = [(int(r["red"]), int(r["green"]), int(r["blue"])) for r in rows("color150.csv")]
    assert list(ade20k().palette) == official
    assert list(np.frombuffer(ade20k().file_palette(), np.uint8).reshape(256, 3)[150]) == list(official[149])


def test_the_tutorials_151_classes_are_file_numbers():
    labels = ade20k_tutorial()
    assert labels.num_classes == 151
    assert labels.names[0] == "other"
    assert labels.ignored == ()
    mask = np.arange(151, dtype=np.uint8)[None]
    assert (labels.to_index(mask) == mask).all()


def test_camvid_ignores_void():
    labels = camvid()
    assert labels.num_classes == 11
    assert labels.to_index(np.array([[0, 10, 11]], np.uint8)).tolist() == [[0, 10, 255]]
    assert labels.describe() == "11 = ignored; 0 sky .. 10 bicyclist"


def test_indices_and_file_numbers_are_inverse():
    labels = ade20k()
    mask = np.random.default_rng(0).integers(1, 151, (30, 40)).astype(np.uint8)
    assert (labels.to_file(labels.to_index(mask)) == mask).all()
    assert labels.to_index(np.zeros((2, 2), np.uint8)).tolist() == [[255, 255]] * 2


def test_16_bit_numbers_and_many_classes():
    labels = label_set_from_names([f"c{i}" for i in range(300)], first_number=1000, ignored=[65535])
    assert (labels.ignore_index, labels.index_dtype, labels.file_dtype) == (65535, np.uint16, np.uint16)
    mask = np.array([[1000, 1299, 65535]], np.uint16)
    assert labels.to_index(mask).tolist() == [[0, 299, 65535]]


def test_a_value_outside_the_list_is_named_with_pixels_and_file():
    with pytest.raises(InputError, match=r"(?s)12 \(3 pixels\), 200 \(1 pixels\).*street\.png"):
        camvid().to_index(np.array([[12, 12, 12, 200, 0]], np.uint8), path="street.png")


def test_plain_values_round_trip():
    for labels in (ade20k(), camvid(), label_set_from_names(["a", "b"], ignored=[9])):
        assert LabelSet.from_dict(labels.to_dict()) == labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "empty"),
        ({"names": ("a", "a")}, "name given twice: a"),
        ({"file_numbers": (1, 1)}, "file number given twice: 1"),
        ({"ignored": (2,)}, "file number given twice: 2"),
        ({"file_numbers": (1, 70000)}, "outside"),
        ({"palette": ((0, 0, 0),)}, "each class needs one of each"),
        ({"palette": ((0, 0, 0), (0, 0, 256))}, "three numbers"),
    ],
)
def test_wrong_lists_are_refused(change, message):
    good = {"names": ("a", "b"), "file_numbers": (1, 2), "palette": ((0, 0, 0), (1, 1, 1)), "ignored": ()}
    LabelSet(**good)
    with pytest.raises(InputError, match=message):
        LabelSet(**(good | change))


def test_colours_are_those_of_pascal_voc():
    # The first of the published colour map, without background.
    assert distinct_colors(4) == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert len(set(distinct_colors(255))) == 255


def test_unknown_label_set_names_the_nearest():
    with pytest.raises(InputError, match="camvid"):
        label_set("camvit")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(1, 1), (300, 401), (1000, 700)])
def test_large_masks_equal_a_plain_table(dtype, shape):
    """Sizes below, above and beside the pieces that are looked up at a time."""
    labels = label_set_from_names([f"class {i}" for i in range(200)], first_number=3, ignored=[0, 255])
    table = np.arange(-3, 253)
    table[[0, 255]] = 255
    numbers = np.random.default_rng(0).choice([0, *range(3, 203), 255], shape).astype(dtype)
    for mask in (numbers, numbers[::-1, ::2], np.asfortranarray(numbers)):
        index = labels.to_index(mask)
        assert index.dtype == np.uint8
        np.testing.assert_array_equal(index, table[mask])
    numbers[-1, -1] = 254
    with pytest.raises(InputError, match=r"254 \(1 pixels\)"):
        labels.to_index(numbers)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_value_counts_equal_numpys(dtype):
    rng = np.random.default_rng(1)
    mask = rng.choice([0, 1, 7, np.iinfo(dtype).max], (301, 203)).astype(dtype)
    for part in (mask, mask[1::2, ::3], mask[:1, :1], np.full((2, 2), 5, dtype)):
        values, counts = value_counts(part)
        expected_values, expected_counts = np.unique(part, return_counts=True)
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, expected_values)
        np.testing.assert_array_equal(counts, expected_counts)
