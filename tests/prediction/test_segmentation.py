"""The result object: what it refuses, its shares, and label files that come back number for number."""

import csv

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.decode import read_mask
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet, ade20k, camvid
from sceneparse.prediction.segmentation import Segmentation, ShareRow, save_png, save_shares_csv

WIDE = LabelSet(names=("día", "b"), file_numbers=(7, 40000), palette=((1, 2, 3), (4, 5, 6)), ignored=(65535,))


def labels(height=5, width=8, numbers=range(1, 151), dtype=np.uint8):
    return np.random.default_rng(0).choice(list(numbers), (height, width)).astype(dtype)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.ones((2, 2), np.int64), r"uint8 or uint16 array \(H, W\), got int64 \(2, 2\)"),
        (np.ones((2, 2, 1), np.uint8), r"got uint8 \(2, 2, 1\)"),
        ([[1]], "got list"),
        (np.ones((0, 3), np.uint8), "empty"),
        (np.full((2, 2), 151, np.uint8), "no class: 151; 0 = ignored; 1 wall .. 150 flag"),
        (np.full((2, 2), 300, np.uint16), "no class: 300"),
    ],
)
def test_labels_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Segmentation(labels=wrong, label_set=ade20k())


@pytest.mark.parametrize(
    "image", [np.zeros((5, 8), np.uint8), np.zeros((8, 5, 3), np.uint8), np.zeros((5, 8, 3)), "photo.jpg"]
)
def test_images_that_do_not_fit_are_refused(image):
    with pytest.raises(InputError, match=r"image must be a uint8 array \(5, 8, 3\), got"):
        Segmentation(labels=labels(), label_set=ade20k(), image=image)


def test_names_and_palette_are_those_of_the_label_set():
    found = Segmentation(labels=np.zeros((1, 1), np.uint8), label_set=camvid())
    assert found.names == camvid().names
    assert found.palette == camvid().palette


def test_shares_by_hand():
    found = Segmentation(labels=np.uint8([[3, 3, 3, 1], [3, 3, 10, 1]]), label_set=camvid())
    assert list(found.shares().items()) == [("road", 5 / 8), ("building", 2 / 8), ("bicyclist", 1 / 8)]
    assert found.share_rows("a.jpg")[1] == ShareRow("a.jpg", 1, "building", 0.25, 2)


def test_shares_sum_to_one_with_ignored_pixels_last():
    found = Segmentation(labels=np.uint8([[0, 0, 0, 9]]), label_set=ade20k()).shares()
    assert list(found) == [ade20k().names[8], "ignored"]
    assert found["ignored"] == 0.75
    many = Segmentation(labels=labels(200, 300), label_set=ade20k()).shares()
    assert sum(many.values()) == pytest.approx(1, abs=1e-12)
    assert list(many.values()) == sorted(many.values(), reverse=True)


def test_label_file_is_a_palette_png_with_the_numbers_of_the_dataset(tmp_path):
    found = Segmentation(labels=labels(), label_set=ade20k())
    path = tmp_path / "new folder" / "Straße.png"
    found.save_labels(path)
    back = read_mask(path)
    assert back.dtype == np.uint8
    assert (back == found.labels).all()
    with Image.open(path) as picture:
        assert picture.mode == "P"
        shown = np.asarray(picture.convert("RGB"))
    index = ade20k().to_index(found.labels)
    assert (shown == np.asarray(ade20k().palette, np.uint8)[index]).all()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_numbers_beyond_255_make_a_16_bit_png(tmp_path):
    # also where this picture holds small numbers only: all files of a folder are alike
    for numbers in ((7, 40000, 65535), (7,)):
        found = Segmentation(labels=labels(numbers=numbers, dtype=np.uint16), label_set=WIDE)
        found.save_labels(tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.mode == "I;16"
        back = read_mask(tmp_path / "a.png")
        assert back.dtype == np.uint16
        assert (back == found.labels).all()


def test_views_are_saved_as_they_look(tmp_path):
    found = Segmentation(labels=labels(9, 12)[::-2, 1::3], label_set=ade20k())
    found.save_labels(tmp_path / "a.png")
    assert (read_mask(tmp_path / "a.png") == found.labels).all()


def test_overlay_with_and_without_the_picture():
    found = Segmentation(labels=labels(330, 400), label_set=ade20k(), image=np.zeros((330, 400, 3), np.uint8))
    dark, light = (np.asarray(found.overlay(alpha)) for alpha in (0.1, 0.9))
    assert dark[:330].mean() < light[:330].mean()
    bare = Segmentation(labels=np.full((400, 400), 3, np.uint8), label_set=camvid()).overlay()
    assert bare.getpixel((10, 10)) == camvid().palette[3]


def test_annotated_as_gradio_takes_it():
    image = np.zeros((2, 3, 3), np.uint8)
    picture, parts = Segmentation(
        labels=np.uint8([[1, 1, 4], [1, 4, 9]]), label_set=camvid(), image=image
    ).to_annotated()
    assert picture is image
    assert [name for _, name in parts] == ["building", "pavement", "pedestrian"]
    assert all(mask.shape == (2, 3) and mask.dtype == np.bool_ for mask, _ in parts)
    assert (sum(mask.astype(int) for mask, _ in parts) == 1).all()
    with pytest.raises(InputError, match="no image"):
        Segmentation(labels=labels(), label_set=ade20k()).to_annotated()


def test_shares_csv(tmp_path):
    found = Segmentation(labels=labels(numbers=(7, 40000), dtype=np.uint16), label_set=WIDE)
    rows = found.share_rows('straße, "1".jpg')
    save_shares_csv(tmp_path / "out" / "shares.csv", iter(rows))
    with open(tmp_path / "out" / "shares.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["file", "class_number", "class_name", "share", "pixels"]
    assert {row["class_name"] for row in table} == {"día", "b"}
    assert sum(int(row["pixels"]) for row in table) == 40
    assert float(table[0]["share"]) == pytest.approx(rows[0].share, abs=1e-6)
    assert table[0]["file"] == 'straße, "1".jpg'


def test_a_failed_write_keeps_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"before")

    def full(self, target, format):
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match=r"No space left on device[\s\S]*a\.png"):
        save_png(Image.new("L", (2, 2)), path)
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(InputError, match="cannot be made"):
        save_shares_csv(path / "shares.csv", [])  # a file where a folder is needed
