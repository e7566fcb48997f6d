"""YOLO texts of polygons and the data.yaml that comes with them."""

from __future__ import annotations

import pickle
import random
import time
from pathlib import Path

import numpy as np
import pytest
from camvid_labels import camvid_labels
from damage import damaged_bytes, refused
from mask_forms_polygons import write_yolo

from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.masks.yolo import YoloMask, yolo_yaml
from sceneparse.errors import InputError

CLASSES = SourceClasses(names=("sky", "road", "car"), numbers=(0, 1, 7), colors=(None,) * 3, uncovered=255)


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def read(path: Path, size_hw: tuple[int, int] = (5, 10)) -> np.ndarray:
    return YoloMask(path, CLASSES).read(size_hw)


def test_polygons_by_hand(tmp_path: Path) -> None:
    text = (
        "\ufeff0 0 0 1 0 1 0.4 0 0.4\r\n\r\n# the road\n1\t0.1 0.2 0.3 0.2 0.3 1 0.1 1  # behind\n"
        "7 .2 .8 1.05 .8 1.05 1.1 .2 1.1"
    )
    mask = read(written(tmp_path, text))
    assert mask.tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        [255, 1, 1, *[255] * 7],
        [255, 1, 1, *[255] * 7],
        [255, 1, *[7] * 8],
    ]
    assert mask.dtype == np.uint8


def test_class_numbers_as_fractions(tmp_path: Path) -> None:
    assert read(written(tmp_path, "7.0 0 0 1 0 1 1 0 1")).tolist() == [[7] * 10] * 5


@pytest.mark.parametrize("text", ["", "\n \n", "# nothing here\n"])
def test_empty_text_says_that_nothing_is_there(tmp_path: Path, text: str) -> None:
    assert read(written(tmp_path, text)).tolist() == [[255] * 10] * 5
    asking = SourceClasses(names=("sky",), numbers=(0,), colors=(None,))
    with pytest.raises(DataError, match="all of the pixels are covered by nothing"):
        YoloMask(written(tmp_path, text), asking).read((5, 10))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 0.5 0.5 0.2 0.2", "line 2 has 5 columns: a box, not a polygon"),
        ("1 0.5 0.5 0.2 0.2 0.9", "line 2 has 6 columns"),
        ("1", "line 2 has 1 columns"),
        ("1 0 0 1 0 1 1 0", "line 2 has 8 columns"),
        ("3 0 0 1 0 1 1", r"line 2 is of class 3; the classes are \[0, 1, 7\]"),
        ("-1 0 0 1 0 1 1", "line 2 begins with '-1'"),
        ("0.5 0 0 1 0 1 1", "line 2 begins with '0.5'"),
        ("nan 0 0 1 0 1 1", "line 2 begins with 'nan'"),
        ("inf 0 0 1 0 1 1", "line 2 begins with 'inf'"),
        ("1e300 0 0 1 0 1 1", "line 2 is of class"),
        ("road 0 0 1 0 1 1", "line 2 holds something that is no number: 'road 0"),
        ("1 0,5 0 1 0 1 1", "line 2 holds something that is no number"),
        ("1 0 0 nan 0 1 1", "line 2 has coordinates far outside 0..1"),
        ("1 0 0 inf 0 1 1", "far outside 0..1"),
        ("1 0 0 1e308 0 1 1", "far outside 0..1"),
        ("1 0 0 320 0 320 200", "far outside 0..1"),
        ("1 0 0 -1.5 0 1 1", "far outside"),
    ],
)
def test_senseless_lines_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path, f"0 0 0 1 0 1 1 0 1\n{line}\n")
    with pytest.raises(InputError, match=said) as error:
        read(path)
    assert error.value.where == path
    assert error.value.fix


def test_texts_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none.txt")
    with pytest.raises(InputError, match="not a file"):
        read(tmp_path)
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        read(written(tmp_path, b"\xff\xfe1\x00"))


@pytest.mark.parametrize("digits", [6, 4])
def test_camvid_comes_back_byte_for_byte(tmp_path: Path, digits: int) -> None:
    """Corners are rounded to fifths of a pixel: four decimals are enough up to 2,000 pixels."""
    maps, names = camvid_labels(2)
    classes = SourceClasses.numbered([names[n] for n in range(12)])
    for name, labels in maps.items():
        path = tmp_path / f"{Path(name).stem}.txt"
        write_yolo(path, labels, digits=digits)
        mask = pickle.loads(pickle.dumps(YoloMask(path, classes)))
        assert mask.files == (path,)
        again = mask.read(labels.shape)
        assert again.dtype == labels.dtype
        assert again.tobytes() == labels.tobytes()


def test_six_decimals_are_exact_on_very_wide_pictures(tmp_path: Path) -> None:
    edges = np.cumsum(np.random.default_rng(0).integers(1, 2000, 100))
    width = int(edges[-1])
    assert width > 90_000
    stripes = (
        (np.searchsorted(edges, np.arange(width), side="right") % 2).astype(np.uint8)[None].repeat(2, axis=0)
    )
    write_yolo(tmp_path / "a.txt", stripes)
    classes = SourceClasses.numbered(("a", "b"))
    np.testing.assert_array_equal(YoloMask(tmp_path / "a.txt", classes).read(stripes.shape), stripes)


def folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)


def yaml_file(root: Path, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_ultralytics_yaml(tmp_path: Path) -> None:
    folders(tmp_path, "images/train", "images/val")
    path = yaml_file(
        tmp_path,
        "path: .  # root\ntrain: images/train\nval: images/val\ntest:  # none\nnames:\n  0: sky\n  1: road\n",
    )
    said = yolo_yaml(path)
    assert said.form == "yolo"
    assert said.classes.names == ("sky", "road")
    assert said.classes.numbers == (0, 1)
    assert said.classes.ignored == ()
    assert set(said.splits) == {"train", "val"}
    assert said.splits["train"].images == (tmp_path / "images" / "train",)
    assert said.splits["train"].masks == (tmp_path / "labels" / "train",)
    assert said.listed == {}


def test_roboflow_yaml(tmp_path: Path) -> None:
    """Paths that begin above the file though they lie beside it; ``valid``; a count of the names."""
    folders(tmp_path, "train/images", "valid/images", "test/images")
    path = yaml_file(
        tmp_path,
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['sky', 'road']\n"
        "roboflow:\n  workspace: w\n  license: CC BY 4.0\n",
    )
    said = yolo_yaml(path)
    assert said.splits["val"].images == (tmp_path / "valid" / "images",)
    assert said.splits["val"].masks == (tmp_path / "valid" / "labels",)
    assert set(said.splits) == {"train", "val", "test"}


def test_root_of_another_machine_and_windows_paths(tmp_path: Path) -> None:
    folders(tmp_path, "images/train/deep", "more/images")
    path = yaml_file(
        tmp_path,
        'path: "C:\\\\data\\\\set"\ntrain: ["images\\\\train", more]\nvalid: images/train/deep\nnames: [a]\n',
    )
    said = yolo_yaml(path)
    assert said.splits["train"].images == (tmp_path / "images" / "train", tmp_path / "more" / "images")
    assert said.splits["train"].masks == (tmp_path / "labels" / "train", tmp_path / "more" / "labels")
    assert said.splits["val"].masks == (tmp_path / "labels" / "train" / "deep",)


def test_only_the_last_images_is_replaced(tmp_path: Path) -> None:
    folders(tmp_path, "images/set/images/train")
    said = yolo_yaml(yaml_file(tmp_path, "train: images/set/images/train\nnames: [a]\n"))
    assert said.splits["train"].masks == (tmp_path / "images" / "set" / "labels" / "train",)


def test_texts_beside_the_images(tmp_path: Path) -> None:
    folders(tmp_path, "train")
    said = yolo_yaml(yaml_file(tmp_path, "train: train\nnames: [a]\n"))
    assert said.splits["train"].images == said.splits["train"].masks == (tmp_path / "train",)


def test_list_files(tmp_path: Path) -> None:
    folders(tmp_path, "lists", "images/a")
    (tmp_path / "lists" / "train.txt").write_text(
        "./../images/a/1.jpg\nimages/a/2.png\n\n/abs/images/3.jpg\n"
    )
    said = yolo_yaml(yaml_file(tmp_path, "train: lists/train.txt\nnames: [a]\n"))
    assert said.splits == {}
    first, second, third = said.listed["train"]
    assert second == (tmp_path / "images" / "a" / "2.png", tmp_path / "labels" / "a" / "2.txt")
    assert first[0] == tmp_path / "lists" / "../images/a/1.jpg"
    assert first[1] == tmp_path / "lists" / "../labels/a/1.txt"
    assert third[1].name == "3.txt"


def test_masks_dir_is_pictures_of_numbers(tmp_path: Path) -> None:
    folders(tmp_path, "images/train")
    path = yaml_file(tmp_path, "train: images/train\nmasks_dir: masks\nnames: [a, b]\n")
    said = yolo_yaml(path)
    assert said.form == "index"
    assert said.classes.ignored == (255,)
    assert said.splits["train"].masks == (tmp_path / "masks" / "train",)


def test_label_mapping_of_cityscapes(tmp_path: Path) -> None:
    folders(tmp_path, "images/train")
    path = yaml_file(
        tmp_path,
        "train: images/train\nmasks_dir: masks\nnames: {0: road, 1: sidewalk}\n"
        "label_mapping: {-1: 255, 0: 255, 7: 0, 8: 1, 9: 255}\n",
    )
    classes = yolo_yaml(path).classes
    assert classes.names == ("road", "sidewalk")
    assert classes.numbers == (7, 8)
    assert classes.ignored == (0, 9, 255)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "expected keys and values"),
        ("a: [", "not valid YAML"),
        ("train: images/train\n", "names must list the classes; got None"),
        ("train: images/train\nnames: []\n", "names must list the classes"),
        ("train: images/train\nnames: sky\n", "names must list the classes"),
        ("train: images/train\nnames: [yes]\n", "class name True is not text"),
        ("train: images/train\nnames: {a: b}\n", "the number of a class must be a whole number"),
        ("train: images/train\nnames: {-1: b}\n", "the number of a class must be a whole number"),
        ("train: images/train\nnames: [a, a]\n", "class name given twice: a"),
        ("train: images/train\nnames: [a]\nnc: 2\n", "nc is 2, and names has 1"),
        ("names: [a]\n", "neither train nor val is given"),
        ("train: 5\nnames: [a]\n", "train must be a folder, a list file or several of them; got 5"),
        ("train: []\nnames: [a]\n", "train must be a folder"),
        ("train: [images/train, {a: 1}]\nnames: [a]\n", "train must be a folder"),
        ('train: "a\\0b"\nnames: [a]\n', "train must be a folder"),
        ("train: none/train\nnames: [a]\n", "no folder and no list"),
        ("train: ../none\nnames: [a]\n", "no folder and no list .* and "),
        ("train: [images/train, list.txt]\nnames: [a]\n", "folders and list files"),
        ("path: [1]\ntrain: images/train\nnames: [a]\n", "path must be a folder"),
        ("train: images/train\nmasks_dir: 5\nnames: [a]\n", "masks_dir must be a folder"),
        ("train: images/train\nmasks_dir: m\nlabel_mapping: 3\nnames: [a]\n", "label_mapping must map"),
        (
            "train: images/train\nmasks_dir: m\nlabel_mapping: {x: 0}\nnames: [a]\n",
            "a number in label_mapping",
        ),
        (
            "train: images/train\nmasks_dir: m\nlabel_mapping: {1: 0, 2: 0}\nnames: [a]\n",
            "class 0 several numbers",
        ),
        ("train: images/train\nmasks_dir: m\nlabel_mapping: {1: [0]}\nnames: [a]\n", "which is no class"),
    ],
)
def test_senseless_yaml(tmp_path: Path, text: str, said: str) -> None:
    folders(tmp_path, "images/train")
    (tmp_path / "list.txt").write_text("images/train/a.jpg\n")
    path = yaml_file(tmp_path, text)
    with pytest.raises(InputError, match=said) as error:
        yolo_yaml(path)
    assert error.value.where == path


def test_damaged_texts_are_read_or_named(tmp_path: Path) -> None:
    good = b"0 0 0 1 0 1 0.4 0 0.4\n1 0.1 0.2 0.3 0.2 0.3 1 0.1 1\n# x\n7 .2 .8 1.05 .8 1.05 1.1 .2 1.1\n"
    rng = random.Random(0)
    path = tmp_path / "a.txt"

    def read_all() -> None:
        pixels = read(path)
        assert pixels.shape == (5, 10)
        assert pixels.dtype == np.uint8

    start = time.perf_counter()
    results = []
    for _ in range(300):
        path.write_bytes(damaged_bytes(good, rng))
        results.append(refused(read_all))
    assert 30 < sum(results) < 290
    assert time.perf_counter() - start < 60


def test_damaged_yaml_is_read_or_named(tmp_path: Path) -> None:
    folders(tmp_path, "images/train", "images/val")
    (tmp_path / "list.txt").write_text("images/train/a.jpg\n")
    good = (
        b"path: .\ntrain: [images/train, images/val]\nval: images/val\ntest: list.txt\nmasks_dir: masks\n"
        b"nc: 3\nnames: {0: sky, 1: road, 2: car}\nlabel_mapping: {-1: 255, 7: 0, 8: 1, 9: 2}\n"
    )
    rng = random.Random(1)
    path = tmp_path / "data.yaml"
    start = time.perf_counter()
    results = []
    for _ in range(300):
        path.write_bytes(damaged_bytes(good, rng))
        results.append(refused(lambda: yolo_yaml(path)))
    assert 30 < sum(results) < 290
    assert time.perf_counter() - start < 60
