"""Folders as people have them to pairs and classes. Each folder is made by hand here."""

import os
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.layouts import open_dataset
from sceneparse.errors import InputError
from sceneparse.labels import ade20k, ade20k_tutorial, camvid

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def plain(root, stems=("a", "b"), splits=("train", "val"), classes="sky\nroad\n"):
    for split in splits:
        for stem in stems:
            touch(root, f"images/{split}/{stem}.jpg", f"masks/{split}/{stem}.png")
    if classes is not None:
        (root / "classes.txt").write_text(classes, encoding="utf-8")
    return root


def message(path, **options):
    with pytest.raises(InputError) as caught:
        open_dataset(path, **options)
    assert "fix:" in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- layouts


def test_plain_layout(tmp_path):
    dataset = open_dataset(plain(tmp_path / "my data", ("b", "a", "c10", "c9")))
    assert (dataset.name, dataset.layout, dataset.root) == ("my data", "plain", tmp_path / "my data")
    assert list(dataset.splits) == ["train", "val"]
    assert [p.stem for p in dataset.splits["train"]] == ["a", "b", "c10", "c9"]
    pair = dataset.split("val")[1]
    assert pair.image == tmp_path / "my data" / "images/val/b.jpg"
    assert pair.mask == tmp_path / "my data" / "masks/val/b.png"
    assert (dataset.labels.names, dataset.labels.file_numbers) == (("sky", "road"), (0, 1))
    assert dataset.labels.ignored == ()


def test_ade20k_layout_and_the_tutorials_classes(tmp_path):
    for split in ("training", "validation"):
        touch(tmp_path, f"images/{split}/ADE_1.jpg", f"annotations/{split}/ADE_1.png")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "ade20k"
    assert dataset.labels == ade20k()
    assert [len(pairs) for pairs in dataset.splits.values()] == [1, 1]
    assert open_dataset(str(tmp_path), label_set="ade20k-151").labels == ade20k_tutorial()
    assert "Did you mean 'ade20k'?" in message(tmp_path, label_set="ade2k")


def test_camvid_layout_and_its_own_class_file(tmp_path):
    touch(tmp_path, "train/x.png", "trainannot/x.png", "val/y.png", "valannot/y.png", "test/z.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.labels) == ("camvid", camvid())
    assert [p.stem for p in dataset.split("val")] == ["y"]
    (tmp_path / "classes.txt").write_text("one\r\ntwo\r\n")
    assert open_dataset(tmp_path).labels.names == ("one", "two")
    assert open_dataset(tmp_path, label_set="camvid").labels == camvid()


def test_real_camvid_and_ade20k_sample():
    if not (SHARED / "camvid").is_dir():
        pytest.skip(f"no camvid in {SHARED}")
    camvid_set = open_dataset(SHARED / "camvid")
    assert {split: len(pairs) for split, pairs in camvid_set.splits.items()} == {"train": 367, "val": 101}
    assert all(p.image.name == p.mask.name for pairs in camvid_set.splits.values() for p in pairs)
    sample = open_dataset(SHARED / "ade20k-sample")
    assert [p.stem for p in sample.splits["val"]] == [f"ADE_val_0000000{i}" for i in (1, 2, 3)]
    with pytest.raises(InputError, match="no split 'train'"):
        sample.split("train")


# ---------------------------------------------------------------- pairing


def test_nested_folders_hidden_files_and_suffix_case(tmp_path):
    plain(tmp_path, ("city/berlin/1", "city/ulm/1"))
    touch(
        tmp_path,
        "images/train/top.JPEG",
        "masks/train/top.PNG",
        "images/train/v1.2.jpg",
        "masks/train/v1.2.png",
    )
    touch(tmp_path, "images/train/.hidden.jpg", "images/train/._city.jpg", "images/train/.git/x.png")
    touch(tmp_path, "images/train/Thumbs.db", "masks/train/notes.txt")
    pairs = open_dataset(tmp_path).splits["train"]
    assert [p.stem for p in pairs] == ["city/berlin/1", "city/ulm/1", "top", "v1.2"]
    assert pairs[1].mask == tmp_path / "masks/train/city/ulm/1.png"


def test_unicode_forms_of_one_name_match(tmp_path):
    plain(tmp_path)
    composed, decomposed = (unicodedata.normalize(form, "Zürich é") for form in ("NFC", "NFD"))
    assert composed != decomposed
    touch(tmp_path, f"images/train/{decomposed}.jpg", f"masks/train/{composed}.png")
    pairs = open_dataset(tmp_path).splits["train"]
    assert [p.stem for p in pairs] == [composed, "a", "b"]
    assert pairs[0].image.exists()
    assert pairs[0].mask.exists()


def test_everything_that_does_not_fit_is_in_one_error(tmp_path):
    plain(tmp_path)
    touch(tmp_path, "images/train/lonely.jpg", "masks/val/orphan.png")
    touch(tmp_path, "images/val/a.png")  # beside a.jpg
    touch(tmp_path, *(f"images/train/more{i:02}.jpg" for i in range(30)))
    text = message(tmp_path)
    assert "31 images without a mask" in text
    assert "lonely.jpg" in text
    assert "more18.jpg" in text
    assert "more19.jpg" not in text
    assert "and 11 more" in text
    assert "1 masks without an image" in text
    assert "orphan.png" in text
    assert "1 files with the same stem" in text
    assert "a.png" in text


def test_a_link_that_goes_round_ends(tmp_path):
    plain(tmp_path)
    try:
        (tmp_path / "images/train/again").symlink_to(tmp_path / "images/train", target_is_directory=True)
        (tmp_path / "masks/train/again").symlink_to(tmp_path / "masks/train", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    stems = [p.stem for p in open_dataset(tmp_path).splits["train"]]
    assert stems == ["a", "again/a", "again/b", "b"]


def test_listing_many_pairs_is_quick(tmp_path):
    for folder in ("images/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
        suffix = "jpg" if folder.startswith("images") else "png"
        for i in range(4_000):
            os.close(os.open(tmp_path / folder / f"ADE_train_{i:08}.{suffix}", os.O_CREAT))
    (tmp_path / "classes.txt").write_text("one\n")
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert len(open_dataset(tmp_path).splits["train"]) == 4_000
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.4  # about 0.04 s where nothing else runs; 20,000 pairs in 0.2 s


# ---------------------------------------------------------------- dataset.yaml


YAML = """
path: data
train: {images: in/train, masks: out/train}
val: {images: in/val, masks: out/val}
classes: [sky, road, car]
ignore: [255]
"""


def described(root, text=YAML, name="dataset.yaml"):
    touch(root, "data/in/train/a.jpg", "data/out/train/a.png", "data/in/val/b.jpg", "data/out/val/b.png")
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def test_yaml_file_or_the_folder_that_holds_it(tmp_path):
    file = described(tmp_path)
    for path in (file, tmp_path):
        dataset = open_dataset(path)
        assert (dataset.layout, dataset.root, dataset.name) == ("yaml", tmp_path / "data", "data")
        assert dataset.labels.names == ("sky", "road", "car")
        assert dataset.labels.ignored == (255,)
        assert [p.stem for p in dataset.splits["train"]] == ["a"]
        assert dataset.splits["val"][0].mask == tmp_path / "data/out/val/b.png"


@pytest.mark.parametrize(
    ("classes", "numbers", "names", "first_color"),
    [
        ("[sky, road]", (0, 1), ("sky", "road"), (128, 0, 0)),
        ("{7: sky, 300: road}", (7, 300), ("sky", "road"), (128, 0, 0)),
        (
            "[{number: 2, name: sky, color: [1, 2, 3]}, {number: 4, name: road}]",
            (2, 4),
            ("sky", "road"),
            (1, 2, 3),
        ),
    ],
)
def test_forms_of_classes(tmp_path, classes, numbers, names, first_color):
    labels = open_dataset(described(tmp_path, YAML.replace("[sky, road, car]", classes))).labels
    assert labels.file_numbers == numbers
    assert labels.names == names
    assert labels.palette[0] == first_color  # without a colour: first of the PASCAL VOC map


def test_label_set_in_yaml_and_override(tmp_path):
    text = YAML.replace("classes: [sky, road, car]\nignore: [255]", "label_set: camvid")
    assert open_dataset(described(tmp_path, text)).labels == camvid()
    assert open_dataset(tmp_path, label_set="ade20k").labels == ade20k()


def test_absolute_paths_backslashes_and_missing_val(tmp_path):
    described(tmp_path)
    text = (
        f"train: {{images: '{tmp_path / 'data' / 'in' / 'train'}', masks: 'data\\out\\train'}}\nclasses: [x]"
    )
    (tmp_path / "other.yml").write_text(text)
    dataset = open_dataset(tmp_path / "other.yml")
    assert list(dataset.splits) == ["train"]
    with pytest.raises(InputError, match="no split 'val'"):
        dataset.split("val")


def test_masks_inside_the_image_folder_are_no_images(tmp_path):
    touch(tmp_path, "all/a.png", "all/masks/a.png")
    (tmp_path / "dataset.yaml").write_text("train: {images: all, masks: all/masks}\nclasses: [x]")
    assert [p.stem for p in open_dataset(tmp_path).splits["train"]] == ["a"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("classes:", "clases:"), "Did you mean 'classes'?"),
        (("{images: in/val", "{image: in/val"), "Did you mean 'images'?"),
        (("ignore: [255]", "ignore: [void]"), "whole number"),
        (("[sky, road, car]", "[sky, yes, car]"), "quotes"),
        (("[sky, road, car]", "[sky, sky]"), "given twice"),
        (("[sky, road, car]", "[]"), "list of names"),
        (("[sky, road, car]", "{1: sky, 1: road}"), "given twice: 1"),
        (("[sky, road, car]", "[{name: sky, number: 0, colour: [1, 2, 3]}]"), "Did you mean 'color'?"),
        (("[sky, road, car]", "[{name: sky, number: 0, color: [1, 2]}]"), "three numbers"),
        (("[sky, road, car]", "[{name: sky, number: 255}]"), "file number given twice"),
        (("ignore: [255]", "ignore: [99999]"), "outside 0..65535"),
        (("ignore: [255]", "label_set: camvid"), "keep label_set or classes"),
        (("val: {images: in/val, masks: out/val}", "val: in/val"), "val must say"),
        (("in/val", "in/vall"), "does not exist"),
        (("path: data", "path: 3"), "path must be a folder"),
        (("path: data", "path: [data"), "not valid YAML"),
        (("path: data", "path: data\npath: data"), "given twice: path"),
    ],
)
def test_faults_in_yaml_are_named(tmp_path, change, expected):
    assert change[0] in YAML
    text = message(described(tmp_path, YAML.replace(*change)))
    assert expected in text
    assert "dataset.yaml" in text or "vall" in text


@pytest.mark.parametrize(
    "text", ["", "just words", "- 1\n- 2", "{", "a: !!python/object:os.system {}", "? [1]\n: 2", "1999-99-99"]
)
def test_files_that_are_no_mapping(tmp_path, text):
    assert "dataset.yaml" in message(described(tmp_path, text))


def test_yaml_that_is_not_text(tmp_path):
    described(tmp_path).write_bytes(b"\xff\xfe\x00\x01binary")
    assert "UTF-8" in message(tmp_path)


# ---------------------------------------------------------------- mistakes with folders


def test_paths_that_are_no_data_set_list_the_layouts(tmp_path):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "photo.jpg", "odd/pictures/a.jpg")
    for name in ("nowhere", "empty", "photo.jpg", "odd", "x" * 300, "a\0b"):
        text = message(tmp_path / name)
        for layout in ("ADE20K challenge", "CamVid/SegNet", "plain", "dataset.yaml"):
            assert layout in text
    assert "pictures/" in message(tmp_path / "odd")


def test_one_folder_too_high_or_too_low(tmp_path):
    root = plain(tmp_path / "outer" / "inner")
    for path in (tmp_path / "outer", root / "images", root / "images" / "train"):
        assert f"did you mean {root.resolve()}?" in message(path)


def test_half_a_split_and_empty_folders(tmp_path):
    root = plain(tmp_path / "half", splits=("train",))
    touch(root, "images/val/a.jpg")
    text = message(root)
    assert f"{Path('masks/val')} is missing" in text
    (root / "masks/val").mkdir()
    touch(root, "masks/val/a.json", "masks/val/b.json")
    text = message(root)
    assert "no pictures" in text
    assert "2 x .json" in text


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, "line 1 is number 0"),
        ("", "empty"),
        ("sky\n\nroad\n", "line 2 is blank"),
        ("sky\nsky\n", "given twice: sky"),
    ],
)
def test_class_files_that_do_not_say_enough(tmp_path, classes, expected):
    text = message(plain(tmp_path, classes=classes))
    assert expected in text
    assert "classes.txt" in text


def test_class_file_with_byte_order_mark_and_accents(tmp_path):
    plain(tmp_path)
    (tmp_path / "classes.txt").write_bytes("\ufeffHimmel\nStraße \n".encode())
    assert open_dataset(tmp_path).labels.names == ("Himmel", "Straße")


def test_pairs_can_be_read(tmp_path):
    """The whole way once: a plain folder with real files."""
    plain(tmp_path, ("a",))
    for split in ("train", "val"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"images/{split}/a.jpg")
        Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / f"masks/{split}/a.png")
    dataset = open_dataset(tmp_path)
    from sceneparse.data.decode import read_image, read_mask

    (pair,) = dataset.split("train")
    assert read_image(pair.image).shape == (4, 6, 3)
    assert dataset.labels.to_index(read_mask(pair.mask)).tolist() == [[1] * 6] * 4
