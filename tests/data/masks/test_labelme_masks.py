"""LabelMe documents: every kind of shape by hand, class lists, and damage."""

from __future__ import annotations

import base64
import io
import json
import pickle
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from camvid_labels import camvid_labels
from damage import damaged, refused
from mask_forms_polygons import write_labelme
from PIL import Image

from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.masks.labelme import LabelmeMask, labelme_classes
from sceneparse.errors import InputError

CLASSES = SourceClasses(
    names=("sky", "road", "car"), numbers=(1, 2, 5), colors=(None,) * 3, ignored=(255,), uncovered=0
)


def shape(label: object, points: object, kind: object = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | more


def written(folder: Path, *shapes: object, **more: object) -> Path:
    content = {
        "version": "5.8.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "..\\photos\\a.jpg",
        "imageData": None,
        "imageHeight": 5,
        "imageWidth": 6,
    }
    path = folder / "a.json"
    path.write_text(json.dumps(content | more), encoding="utf-8")
    return path


def read(path: Path, size_hw: tuple[int, int] = (5, 6)) -> np.ndarray:
    return LabelmeMask(path, CLASSES).read(size_hw)


def png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


SQUARE = [[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]]


def test_polygons_and_rectangles_in_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        shape("sky", [[0, 0], [6, 0], [6, 2], [0, 2]]),
        shape("road", [[4, 5], [0, 2]], "rectangle"),  # corners in any order
        shape("car", [[3, 1], [5, 1], [5, 4], [3, 4]], None),  # as older documents have it
        shape(" sky ", [[0, 4], [1, 4], [1, 5], [0, 5]], "rectangle"),
        shape("road", [[5, 3], [6, 3], [6, 5], [5, 5]], "oriented_rectangle"),
    )
    mask = read(path)
    assert mask.tolist() == [
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 5, 5, 1],
        [2, 2, 2, 5, 5, 0],
        [2, 2, 2, 5, 5, 2],
        [1, 2, 2, 2, 0, 2],
    ]
    assert mask.dtype == np.uint8


def test_shape_type_may_be_missing(tmp_path: Path) -> None:
    path = written(tmp_path, {"label": "car", "points": SQUARE})
    assert (read(path) == 5).sum() == 6


def test_circle(tmp_path: Path) -> None:
    path = written(tmp_path, shape("car", [[3.0, 2.5], [3.0, 4.0]], "circle"))
    x, y = np.meshgrid(np.arange(6) + 0.5, np.arange(5) + 0.5)
    np.testing.assert_array_equal(read(path) == 5, np.hypot(x - 3, y - 2.5) <= 1.5)


@pytest.mark.parametrize("mode", ["1", "L", "0/1"])
def test_mask_with_its_box(tmp_path: Path, mode: str) -> None:
    inside = np.array([[1, 0, 1], [0, 1, 1]], bool)
    pixels = inside if mode == "1" else inside.astype(np.uint8) * (255 if mode == "L" else 1)
    path = written(tmp_path, shape("car", [[2, 1], [4, 2]], "mask", mask=png(pixels)))
    expected = np.zeros((5, 6), np.uint8)
    expected[1:3, 2:5][inside] = 5
    np.testing.assert_array_equal(read(path), expected)


def test_mask_between_pixels_and_over_the_edge(tmp_path: Path) -> None:
    """LabelMe rounds corners between pixels, and takes the size of the picture."""
    mask = png(np.ones((3, 3), bool))
    path = written(tmp_path, shape("car", [[3.4, -1.4], [5.6, 0.7]], "mask", mask=mask))
    expected = np.zeros((5, 6), np.uint8)
    expected[:2, 3:] = 5
    np.testing.assert_array_equal(read(path), expected)


def test_ignored_label(tmp_path: Path) -> None:
    path = written(tmp_path, shape("__ignore__", SQUARE))
    assert set(np.unique(read(path))) == {0, 255}
    named = SourceClasses(names=("__ignore__",), numbers=(9,), colors=(None,), ignored=(7,), uncovered=0)
    assert LabelmeMask(path, named).read((5, 6)).max() == 9
    without = SourceClasses(names=("sky",), numbers=(9,), colors=(None,), uncovered=9)
    with pytest.raises(InputError, match=r"shape 1 \(__ignore__\) is to be ignored, and no number is"):
        LabelmeMask(path, without).read((5, 6))


def test_size_is_the_documents_own_or_the_pictures(tmp_path: Path) -> None:
    assert read(written(tmp_path, shape("car", SQUARE)), (50, 60)).shape == (5, 6)
    assert read(written(tmp_path, shape("car", SQUARE), imageHeight=None), (50, 60)).shape == (50, 60)


def test_no_shapes_cover_nothing(tmp_path: Path) -> None:
    assert not read(written(tmp_path)).any()
    asking = SourceClasses(names=("sky",), numbers=(0,), colors=(None,))
    with pytest.raises(DataError, match="all of the pixels are covered by nothing") as error:
        LabelmeMask(written(tmp_path), asking).read((5, 6))
    assert error.value.kind == "uncovered"


def test_stored_picture_is_not_decoded(tmp_path: Path) -> None:
    path = written(tmp_path, shape("car", SQUARE), imageData="no picture" * 1000, flags=3, version=None)
    assert read(path).max() == 5


@pytest.mark.parametrize("kind", ["line", "point", "linestrip", "points"])
def test_shapes_without_area(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, shape("sky", SQUARE), shape("car", [[1, 1], [3, 3]], kind))
    with pytest.raises(InputError, match=r"shape 2 \(car\) is .*, which has no area") as error:
        read(path)
    assert error.value.where == path
    assert "polygon" in str(error.value.fix)


def test_label_that_is_no_class(tmp_path: Path) -> None:
    path = written(tmp_path, shape("rode", SQUARE))
    with pytest.raises(
        DataError, match=r"shape 1 \(rode\) has a label that is no class. Did you mean 'road'"
    ):
        read(path)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (7, "shape 2 is 7; expected an object"),
        (shape(None, SQUARE), "shape 2 has the label None"),
        (shape("", SQUARE), "shape 2 has the label ''"),
        (shape("\ud800", SQUARE), "shape 2 has the label"),
        (shape(["car"], SQUARE), "shape 2 has the label"),
        (shape("car", SQUARE, "star"), "is of the type 'star'"),
        (shape("car", SQUARE, 5), "is 5, which has no area"),
        (shape("car", SQUARE, ["polygon"]), "which has no area"),
        (shape("car", SQUARE[:2]), "has 2 points"),
        (shape("car", []), "has 0 points"),
        (shape("car", None), "has the points None"),
        (shape("car", "abc"), "has the points 'abc'"),
        (shape("car", [1, 1, 4, 1, 4, 3]), r"has the points \[1, 1"),
        (shape("car", [[1, 1, 1], [4, 1], [4, 3]]), "expected pairs of numbers"),
        (shape("car", [[1, "1"], [4, 1], [4, 3]]), "expected pairs of numbers"),
        (shape("car", [[1, None], [4, 1], [4, 3]]), "expected pairs of numbers"),
        (shape("car", [[1, [1]], [4, 1], [4, 3]]), "expected pairs of numbers"),
        (shape("car", [[1, 10**400], [4, 1], [4, 3]]), "expected pairs of numbers"),
        (shape("car", [[1, float("nan")], [4, 1], [4, 3]]), "far outside"),
        (shape("car", [[1, 1e308], [4, 1], [4, 3]]), "far outside"),
        (shape("car", SQUARE[:3], "rectangle"), "is a rectangle with 3 points"),
        (shape("car", SQUARE[:1], "circle"), "is a circle with 1 points"),
        (shape("car", [[1, 1], [1e308, -1e308]], "circle"), "far outside"),
        (shape("car", [[1, 1], [float("nan"), 1]], "circle"), "far outside"),
        (shape("car", [[1, 1], [100, 1]], "circle"), "far outside"),
        (shape("car", [[1, 1], [2, 2]], "mask"), "is a mask whose picture is None"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask=[1]), r"is a mask whose picture is \[1\]"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask="?!"), "PNG cannot be read"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask="é"), "PNG cannot be read"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask="AAAA"), "PNG cannot be read"),
        (shape("car", [[1, 1], [2, 2]], "mask", mask=png(np.ones((40, 40), np.uint8))[:80]), "PNG cannot be"),
        (
            shape("car", [[1, 1], [2, 2]], "mask", mask=png(np.ones((3, 2), bool))),
            "2 x 3 pixels in a box of 2 x 2",
        ),
        (shape("car", [[1, 1], [2, 2]], "mask", mask=png(np.ones((2, 2, 3), np.uint8))), "has 3 channels"),
        (
            shape("car", [[1, float("nan")], [2, 2]], "mask", mask=png(np.ones((2, 2), bool))),
            "with the corners",
        ),
        (shape("car", [[1, 1e300], [2, 2]], "mask", mask=png(np.ones((2, 2), bool))), "with the corners"),
        (shape("car", [[100, 100], [101, 101]], "mask", mask=png(np.ones((2, 2), bool))), "far outside"),
    ],
)
def test_senseless_shapes_are_named(tmp_path: Path, bad: object, said: str) -> None:
    path = written(tmp_path, shape("sky", SQUARE), bad)
    with pytest.raises(InputError, match=rf"shape 2.*({said})|{said}") as error:
        read(path)
    assert error.value.where == path
    assert error.value.fix


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("{", "not valid JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "'shapes' must be a list; got None"),
        ('{"images": [], "annotations": [], "categories": []}', "not a LabelMe document"),
        ('{"shapes": {}}', "'shapes' must be a list"),
        ('{"shapes": [], "imageHeight": -5, "imageWidth": 6}', "are no size of a picture"),
        ('{"shapes": [], "imageHeight": 5e300, "imageWidth": 6}', "are no size of a picture"),
        ('{"shapes": [], "imageHeight": 1000000, "imageWidth": 1000000}', "are no size of a picture"),
    ],
)
def test_no_labelme_document(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as error:
        read(path)
    assert error.value.where == path


def test_bomb_in_a_mask(tmp_path: Path) -> None:
    """A few bytes that say they are gigabytes of pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    text = base64.b64encode(data + png(np.ones((2, 2), bool)).encode()).decode()
    path = written(tmp_path, shape("car", [[1, 1], [2, 2]], "mask", mask=text))
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"shape 1 \(car\) is a mask"):
        read(path)
    assert time.perf_counter() - start < 5


def documents(folder: Path, *labels: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for label in labels:
        path = folder / f"{len(list(folder.iterdir()))}.json"
        path.write_text(json.dumps({"shapes": [shape(label, SQUARE)]}), encoding="utf-8")
        paths.append(path)
    return paths


def test_classes_sorted_by_name(tmp_path: Path) -> None:
    paths = documents(tmp_path, "road", "sky", "car", " road ", "_background_")
    (tmp_path / "bad.json").write_text("{")
    classes = labelme_classes([*paths, tmp_path / "bad.json"])
    assert classes.names == ("_background_", "car", "road", "sky")
    assert classes.numbers == (0, 1, 2, 3)
    assert classes.ignored == ()
    assert classes.uncovered is None


def test_classes_of_labels_txt(tmp_path: Path) -> None:
    paths = documents(tmp_path / "train", "sky") + documents(tmp_path / "val", "car")
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\nsky\ncar\n\n", encoding="utf-8")
    classes = labelme_classes(paths)
    assert classes.names == ("_background_", "sky", "car")
    assert classes.numbers == (0, 1, 2)
    assert classes.ignored == (255,)
    assert labelme_classes(paths[:1]) == classes
    assert LabelmeMask(paths[1], classes.with_uncovered(None)).read((5, 6)).tolist()[1] == [0, 2, 2, 2, 0, 0]


def test_the_same_list_in_every_folder(tmp_path: Path) -> None:
    paths = documents(tmp_path / "train", "sky") + documents(tmp_path / "val", "car")
    (tmp_path / "train" / "labels.txt").write_text("car\nsky\n")
    (tmp_path / "val" / "labels.txt").write_text("car\r\nsky")
    assert labelme_classes(paths).names == ("car", "sky")
    (tmp_path / "val" / "labels.txt").write_text("sky\ncar")
    with pytest.raises(InputError, match=r"these lists of labels differ: .*train.*labels\.txt, .*val"):
        labelme_classes(paths)


def test_ignored_number_is_free(tmp_path: Path) -> None:
    paths = documents(tmp_path, "a")
    (tmp_path / "labels.txt").write_text("\n".join(["__ignore__", *(f"c{i}" for i in range(300))]))
    assert labelme_classes(paths).ignored == (300,)


def test_class_lists_that_are_none(tmp_path: Path) -> None:
    paths = documents(tmp_path, "__ignore__")
    with pytest.raises(InputError, match="no labels"):
        labelme_classes(paths)
    with pytest.raises(InputError, match="no labels"):
        labelme_classes([])
    (tmp_path / "labels.txt").write_text("sky\nsky\n")
    with pytest.raises(InputError, match="class name given twice: sky") as error:
        labelme_classes(paths)
    assert error.value.where == tmp_path / "labels.txt"


def test_camvid_comes_back_byte_for_byte(tmp_path: Path) -> None:
    maps, names = camvid_labels(2)
    (tmp_path / "labels.txt").write_text("\n".join(names[n] for n in sorted(names)))
    paths = [tmp_path / f"{Path(name).stem}.json" for name in maps]
    for path, labels in zip(paths, maps.values(), strict=True):
        write_labelme(path, labels, names)
    classes = labelme_classes(paths)
    for path, labels in zip(paths, maps.values(), strict=True):
        mask = pickle.loads(pickle.dumps(LabelmeMask(path, classes)))
        assert mask.files == (path,)
        again = mask.read((1, 1))
        assert again.dtype == labels.dtype
        assert again.tobytes() == labels.tobytes()


def test_damaged_documents_are_read_or_named(tmp_path: Path) -> None:
    good = json.loads(
        written(
            tmp_path,
            shape("sky", [[0, 0], [6, 0], [6, 2], [0, 2]]),
            shape("road", [[0, 2], [4, 5]], "rectangle"),
            shape("car", [[3.0, 2.5], [3.0, 4.0]], "circle"),
            shape("car", [[2, 1], [4, 2]], "mask", mask=png(np.array([[1, 0, 1], [0, 1, 1]], bool))),
            shape("__ignore__", SQUARE),
        ).read_text()
    )
    rng = random.Random(0)
    path = tmp_path / "a.json"

    def read_all() -> None:
        pixels = read(path)
        assert pixels.ndim == 2
        assert pixels.dtype == np.uint8
        labelme_classes([path])

    start = time.perf_counter()
    results = []
    for _ in range(300):
        path.write_bytes(damaged(good, rng))
        results.append(refused(read_all))
    assert 30 < sum(results) < 290
    assert time.perf_counter() - start < 60
