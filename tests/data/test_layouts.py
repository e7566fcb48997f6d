"""Folders as people have them to pairs and classes. Each folder is made by hand here."""

from __future__ import annotations

import json
import os
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.dataset import open_dataset
from sceneparse.data.decode import read_image
from sceneparse.data.faults import FaultsError
from sceneparse.data.layouts import LAYOUTS
from sceneparse.data.masks.color import ColorMask
from sceneparse.data.masks.source import IndexMask
from sceneparse.errors import InputError
from sceneparse.labels import (
    ade20k,
    ade20k_tutorial,
    camvid,
    cityscapes,
    cityscapes_train_ids,
    voc,
)

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


def stems(dataset, split="train"):
    return [pair.stem for pair in dataset.splits[split]]


def said(root, text, name="dataset.yaml"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root


# ---------------------------------------------------------------- layouts


def test_plain_layout(tmp_path):
    dataset = open_dataset(plain(tmp_path / "my data", ("b", "a", "c10", "c9")))
    assert (dataset.name, dataset.layout, dataset.root) == ("my data", "plain", tmp_path / "my data")
    assert (list(dataset.splits), dataset.form) == (["train", "val"], "index")
    assert stems(dataset) == ["a", "b", "c10", "c9"]
    pair = dataset.split("val")[1]
    assert pair.image == tmp_path / "my data" / "images/val/b.jpg"
    assert pair.mask == IndexMask(tmp_path / "my data" / "masks/val/b.png")
    assert (dataset.labels.names, dataset.labels.file_numbers) == (("sky", "road"), (0, 1))
    assert (dataset.labels.ignored, dataset.class_weights) == ((), (1.0, 1.0))


@pytest.mark.parametrize("masks", ["labels", "annotations"])
def test_plain_layout_with_other_names_for_masks(tmp_path, masks):
    touch(tmp_path, "images/train/a.jpg", f"{masks}/train/a.png", "images/test/t.jpg", "classes.txt")
    (tmp_path / "classes.txt").write_text("sky\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, list(dataset.splits), stems(dataset)) == ("plain", ["train"], ["a"])


def test_images_and_masks_without_splits_are_all_for_training(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b/c.jpg", "masks/a.png", "masks/b/c.png")
    (tmp_path / "classes.txt").write_text("sky\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, list(dataset.splits), stems(dataset)) == ("plain", ["train"], ["a", "b/c"])
    with pytest.raises(InputError, match="neighbouring frames"):
        dataset.split("val")


def test_a_test_split_counts_where_it_has_masks(tmp_path):
    plain(tmp_path, splits=("train", "val", "test"))
    assert list(open_dataset(tmp_path).splits) == ["train", "val", "test"]
    for path in (tmp_path / "masks/test").iterdir():
        path.unlink()
    (tmp_path / "masks/test").rmdir()
    assert list(open_dataset(tmp_path).splits) == ["train", "val"]


def test_ade20k_layout_and_the_tutorials_classes(tmp_path):
    for split in ("training", "validation"):
        touch(tmp_path, f"images/{split}/ADE_1.jpg", f"annotations/{split}/ADE_1.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.form) == ("ade20k", "index")
    assert dataset.labels == ade20k()
    assert [len(pairs) for pairs in dataset.splits.values()] == [1, 1]
    assert open_dataset(str(tmp_path), label_set="ade20k-151").labels == ade20k_tutorial()
    assert "Did you mean 'ade20k'?" in message(tmp_path, label_set="ade2k")


def test_camvid_layout_and_its_own_class_file(tmp_path):
    touch(tmp_path, "train/x.png", "trainannot/x.png", "val/y.png", "valannot/y.png", "test/z.png")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.labels) == ("camvid", camvid())
    assert stems(dataset, "val") == ["y"]
    assert list(dataset.splits) == ["train", "val"]
    (tmp_path / "classes.txt").write_text("one\r\ntwo\r\n")
    assert open_dataset(tmp_path).labels.names == ("one", "two")
    assert open_dataset(tmp_path, label_set="camvid").labels == camvid()
    touch(tmp_path, "testannot/z.png")
    assert stems(open_dataset(tmp_path), "test") == ["z"]


@pytest.mark.parametrize(
    ("kind", "labels"), [("labelIds", cityscapes()), ("labelTrainIds", cityscapes_train_ids())]
)
def test_cityscapes_layout(tmp_path, kind, labels):
    for split, city in (("train", "ulm"), ("val", "münster")):
        stem = f"{city}/{city}_000001_000019"
        touch(tmp_path, f"leftImg8bit/{split}/{stem}_leftImg8bit.png")
        for end in ("color.png", "instanceIds.png", "polygons.json", f"{kind}.png"):
            touch(tmp_path, f"gtFine/{split}/{stem}_gtFine_{end}")
    touch(tmp_path, "leftImg8bit/test/a/a_leftImg8bit.png")
    dataset = open_dataset(tmp_path)
    assert dataset.labels == labels
    assert (stems(dataset), stems(dataset, "val")) == (
        ["ulm/ulm_000001_000019"],
        ["münster/münster_000001_000019"],
    )
    assert dataset.splits["train"][0].mask.path.name == f"ulm_000001_000019_gtFine_{kind}.png"
    assert list(dataset.splits) == ["train", "val"]


def test_cityscapes_with_both_kinds_takes_label_ids(tmp_path):
    touch(tmp_path, "leftImg8bit/train/u/a_leftImg8bit.png")
    touch(tmp_path, *(f"gtFine/train/u/a_gtFine_{kind}.png" for kind in ("labelIds", "labelTrainIds")))
    assert open_dataset(tmp_path).layout == "cityscapes"


def test_voc_layout_with_its_lists(tmp_path):
    names = ("2007_1", "2007_2", "2007_3", "no_mask_of_its_own")
    touch(tmp_path, *(f"JPEGImages/{name}.jpg" for name in names))
    touch(tmp_path, *(f"SegmentationClass/{name}.png" for name in names[:3]))
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_3\n2007_1\n")
    (lists / "val.txt").write_text("2007_2\n")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.form, dataset.labels) == ("voc", "color", voc())
    assert (stems(dataset), stems(dataset, "val")) == (["2007_1", "2007_3"], ["2007_2"])


def test_cvat_with_one_list(tmp_path):
    touch(tmp_path, "JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png")
    touch(tmp_path, "JPEGImages/not annotated yet.jpg")
    (tmp_path / "ImageSets/Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets/Segmentation/default.txt").write_text("a\n")
    (tmp_path / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:1,2,3::\n"
    )
    dataset = open_dataset(tmp_path)
    assert (list(dataset.splits), dataset.form) == (["train"], "color")
    assert dataset.labels.palette == ((0, 0, 0), (1, 2, 3))
    assert isinstance(dataset.splits["train"][0].mask, ColorMask)
    (tmp_path / "ImageSets/Segmentation/default.txt").unlink()
    (tmp_path / "JPEGImages/not annotated yet.jpg").unlink()
    assert stems(open_dataset(tmp_path)) == ["a"]


def test_roboflow_masks(tmp_path):
    for split in ("train", "valid"):
        touch(
            tmp_path,
            f"{split}/a.jpg",
            f"{split}/a_mask.png",
            f"{split}/b_mask.jpg",
            f"{split}/b_mask_mask.png",
        )
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car\n")
    text = message(tmp_path)  # b_mask.jpg ends as a mask does: it is taken for one
    assert "b_mask" in text
    for split in ("train", "valid"):
        (tmp_path / split / "b_mask.jpg").unlink()
        (tmp_path / split / "b_mask_mask.png").unlink()
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.form, list(dataset.splits)) == ("roboflow", "index", ["train", "val"])
    assert dataset.labels.names == ("background", "car")
    assert (stems(dataset), dataset.splits["val"][0].mask.path.name) == (["a"], "a_mask.png")


def coco_document(path, *names):
    document = {
        "images": [{"id": i, "file_name": name, "height": 4, "width": 6} for i, name in enumerate(names)],
        "categories": [{"id": 3, "name": "sky"}, {"id": 7, "name": "background"}],
        "annotations": [],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("images", "document"),
    [
        ("images/train", "annotations/train.json"),
        ("train2017", "annotations/instances_train2017.json"),
        ("images/train2017", "annotations/stuff_train2017.json"),
        ("images", "annotations/instances_train.json"),
        ("train", "train/_annotations.coco.json"),
    ],
)
def test_coco_layouts(tmp_path, images, document):
    touch(tmp_path, f"{images}/a.jpg")
    coco_document(tmp_path / document, "a.jpg")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.form, stems(dataset)) == ("coco", "coco", ["a"])
    assert dataset.labels.file_numbers == (3, 7)
    assert dataset.source.uncovered == 7
    assert (dataset.splits["train"][0].mask.read((1, 1)) == np.full((4, 6), 7)).all()


def test_pictures_that_a_coco_document_does_not_have(tmp_path):
    touch(tmp_path, "images/train/a.jpg", "images/train/b.jpg")
    coco_document(tmp_path / "annotations/train.json", "a.jpg", "c.jpg")
    text = message(tmp_path)
    assert "b.jpg has no mask" in text
    assert "(c) has no image" in text
    assert "add the image to the document" in text


def test_labelme_beside_the_pictures(tmp_path):
    for split in ("train", "val"):
        touch(tmp_path, f"{split}/a.jpg")
        shapes = [{"label": "sky", "points": [[0, 0], [6, 0], [6, 4], [0, 4]], "shape_type": "polygon"}]
        (tmp_path / split / "a.json").write_text(
            json.dumps({"shapes": shapes, "imageHeight": 4, "imageWidth": 6})
        )
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.form, list(dataset.splits)) == ("labelme", "labelme", ["train", "val"])
    assert dataset.labels.names == ("sky",)
    assert dataset.splits["val"][0].mask.path == tmp_path / "val/a.json"


YOLO = "train: images/train\nval: images/val\nnames: [sky, road]\n"


def yolo(root, text=YOLO):
    for split in ("train", "val"):
        touch(root, f"images/{split}/a.jpg")
        said(root / "labels" / split, "0 0 0 1 0 1 1 0 1\n", "a.txt")
    return said(root, text, "data.yaml")


def test_yolo_and_what_dataset_yaml_adds(tmp_path):
    yolo(tmp_path)
    for path in (tmp_path, tmp_path / "data.yaml"):
        dataset = open_dataset(path)
        assert (dataset.layout, dataset.form, list(dataset.splits)) == ("yolo", "yolo", ["train", "val"])
        assert (dataset.labels.names, dataset.source.uncovered) == (("sky", "road"), None)
    said(tmp_path, "uncovered: ignore\nmerge: {all: [sky, road]}")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.labels.names, dataset.source.uncovered) == ("yolo", ("all",), 255)
    said(tmp_path, "classes: {0: himmel, 1: weg}")
    assert open_dataset(tmp_path).labels.names == ("himmel", "weg")


def test_real_camvid_and_ade20k_sample():
    if not (SHARED / "camvid").is_dir():
        pytest.skip(f"no camvid in {SHARED}")
    camvid_set = open_dataset(SHARED / "camvid")
    assert {split: len(pairs) for split, pairs in camvid_set.splits.items()} == {"train": 367, "val": 101}
    assert all(p.image.name == p.mask.path.name for pairs in camvid_set.splits.values() for p in pairs)
    sample = open_dataset(SHARED / "ade20k-sample")
    assert stems(sample, "val") == [f"ADE_val_0000000{i}" for i in (1, 2, 3)]
    with pytest.raises(InputError, match="no split 'train'"):
        sample.split("train")


# ---------------------------------------------------------------- pairing


def test_nested_folders_hidden_files_and_suffix_case(tmp_path):
    plain(tmp_path, ("city/berlin/1", "city/ulm/1"))
    touch(tmp_path, "images/train/top.JPEG", "masks/train/top.PNG")
    touch(tmp_path, "images/train/v1.2.jpg", "masks/train/v1.2.png")
    touch(tmp_path, "images/train/.hidden.jpg", "images/train/._city.jpg", "images/train/.git/x.png")
    touch(tmp_path, "images/train/Thumbs.db", "masks/train/notes.txt")
    dataset = open_dataset(tmp_path)
    assert stems(dataset) == ["city/berlin/1", "city/ulm/1", "top", "v1.2"]
    assert dataset.splits["train"][1].mask.path == tmp_path / "masks/train/city/ulm/1.png"


def test_unicode_forms_of_one_name_match(tmp_path):
    plain(tmp_path)
    composed, decomposed = (unicodedata.normalize(form, "Zürich é") for form in ("NFC", "NFD"))
    assert composed != decomposed
    touch(tmp_path, f"images/train/{decomposed}.jpg", f"masks/train/{composed}.png")
    pairs = open_dataset(tmp_path).splits["train"]
    assert [p.stem for p in pairs] == [composed, "a", "b"]
    assert pairs[0].image.exists()
    assert pairs[0].mask.path.exists()


def test_everything_that_does_not_fit_is_in_one_error(tmp_path):
    plain(tmp_path)
    touch(tmp_path, "images/train/lonely.jpg", "masks/val/orphan.png")
    touch(tmp_path, "images/val/a.png")  # beside a.jpg
    touch(tmp_path, *(f"images/train/more{i:02}.jpg" for i in range(30)))
    with pytest.raises(FaultsError) as caught:
        open_dataset(tmp_path)
    text = str(caught.value)
    assert "33 faults" in text
    assert "31 x image without a mask" in text
    assert "1 x mask without an image" in text
    assert "1 x several files with one name" in text
    assert "and 13 more" in text
    named = {fault.stem for fault in caught.value.faults}
    assert named == {"lonely", "orphan", "a", *(f"more{i:02}" for i in range(30))}
    kept = open_dataset(tmp_path, keep_faults=True)
    assert kept.faults == caught.value.faults
    assert (stems(kept), stems(kept, "val")) == (["a", "b"], ["a", "b"])


def test_a_link_that_goes_round_ends(tmp_path):
    plain(tmp_path)
    try:
        (tmp_path / "images/train/again").symlink_to(tmp_path / "images/train", target_is_directory=True)
        (tmp_path / "masks/train/again").symlink_to(tmp_path / "masks/train", target_is_directory=True)
        (tmp_path / "images/train/itself.jpg").symlink_to("itself.jpg")
    except OSError:
        pytest.skip("no symbolic links here")
    dataset = open_dataset(tmp_path, keep_faults=True)
    assert stems(dataset) == ["a", "again/a", "again/b", "b"]
    assert {fault.files[0].name for fault in dataset.faults} == {"itself.jpg"}


def test_listing_many_pairs_is_quick(tmp_path):
    for folder in ("images/train", "masks/train"):
        (tmp_path / folder).mkdir(parents=True)
        suffix = "jpg" if folder.startswith("images") else "png"
        for i in range(2_000):
            os.close(os.open(tmp_path / folder / f"ADE_train_{i:08}.{suffix}", os.O_CREAT))
    (tmp_path / "classes.txt").write_text("one\n")
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assert len(open_dataset(tmp_path).splits["train"]) == 2_000
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2  # about 0.03 s


# ---------------------------------------------------------------- what dataset.yaml says


TEXT = """
path: data
train: {images: in/train, masks: out/train}
val: {images: in/val, masks: out/val}
classes: [sky, road, car, van, void]
ignore: [255]
"""


def described(root, text=TEXT, name="dataset.yaml"):
    touch(root, "data/in/train/a.jpg", "data/out/train/a.png", "data/in/val/b.jpg", "data/out/val/b.png")
    return said(root, text, name) / name


def test_yaml_file_or_the_folder_that_holds_it(tmp_path):
    file = described(tmp_path)
    for path in (file, tmp_path):
        dataset = open_dataset(path)
        assert (dataset.layout, dataset.root, dataset.name) == ("yaml", tmp_path / "data", "data")
        assert dataset.labels.names == ("sky", "road", "car", "van", "void")
        assert dataset.labels.ignored == (255,)
        assert stems(dataset) == ["a"]
        assert dataset.splits["val"][0].mask.path == tmp_path / "data/out/val/b.png"


def test_label_set_in_yaml_and_override(tmp_path):
    text = TEXT.replace("classes: [sky, road, car, van, void]\nignore: [255]", "label_set: camvid")
    assert open_dataset(described(tmp_path, text)).labels == camvid()
    assert open_dataset(tmp_path, label_set="ade20k").labels == ade20k()


def test_words_about_a_layout_that_is_recognised(tmp_path):
    plain(tmp_path)
    said(tmp_path, "ignore: [road, 9]")
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.labels.names, dataset.labels.ignored) == ("plain", ("sky",), (1, 9))
    said(tmp_path, "ignore: [raod]")
    assert "Did you mean 'road'?" in message(tmp_path)
    assert str(tmp_path / "dataset.yaml") in message(tmp_path)


def test_ignored_names_merges_and_weights(tmp_path):
    text = (
        TEXT.replace("[255]", "[255, void]") + "merge: {vehicle: [van, car]}\nclass_weights: {vehicle: 3}\n"
    )
    dataset = open_dataset(described(tmp_path, text))
    assert dataset.labels.names == ("sky", "road", "vehicle")
    assert dataset.labels.file_numbers == (0, 1, 2)
    assert dataset.labels.merged == ((3, 2),)
    assert dataset.labels.ignored == (255, 4)
    assert dataset.class_weights == (1.0, 1.0, 3.0)
    assert dataset.source.names == ("sky", "road", "car", "van", "void")
    mask = np.array([[0, 1, 2, 3, 4, 255]])
    assert dataset.labels.to_index(mask).tolist() == [[0, 1, 2, 2, 255, 255]]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ignore: [viod]", "'viod' is to be ignored"),
        ("merge: {car: [car, vann]}", "Did you mean 'van'?"),
        ("class_weights: {vna: 2}", "Did you mean 'van'?"),
        ("merge: {car: [car, van]}\nclass_weights: {van: 2}", "a weight is given for 'van'"),
        ("uncovered: skyy", "Did you mean 'sky'?"),
        ("ignore: [sky, road, car, van, void]", "every class is ignored"),
        ("form: color", "no colour is given for"),
        ("form: coco", "InputError"),
        ("form: labelme", "no .json files"),
        ("form: yolo", "no .txt files"),
        ("form: colour", "Did you mean 'color'?"),
    ],
)
def test_words_that_do_not_fit(tmp_path, line, expected):
    text = message(described(tmp_path, TEXT.replace("ignore: [255]", line)))
    assert expected in text or expected == "InputError"
    assert "where:" in text


def test_the_form_is_seen_or_said(tmp_path):
    colors = "classes: [{name: sky, color: [1, 2, 3]}, {name: road, color: [4, 5, 6]}]"
    text = TEXT.replace("classes: [sky, road, car, van, void]", colors)
    assert open_dataset(described(tmp_path, text)).form == "color"
    assert open_dataset(described(tmp_path, text + "form: index")).form == "index"
    assert open_dataset(described(tmp_path)).form == "index"
    touch(tmp_path, "data/out/train/a_sky.png", "data/out/val/b_sky.png")
    for name in ("train/a.png", "val/b.png"):
        (tmp_path / "data/out" / name).unlink()
    assert open_dataset(described_again := tmp_path / "dataset.yaml").form == "per-class"
    assert described_again.is_file()


def test_uncovered_pixels_are_a_class_or_ignored(tmp_path):
    for line, number, ignored in (
        ("uncovered: ignore", 255, (255,)),
        ("uncovered: ignore\nignore: [void]", 4, (4,)),
        ("uncovered: sky", 0, ()),
        ("", None, ()),
    ):
        dataset = open_dataset(described(tmp_path, TEXT.replace("ignore: [255]", line)))
        assert (dataset.source.uncovered, dataset.source.ignored) == (number, ignored)


def test_absolute_paths_backslashes_and_missing_val(tmp_path):
    described(tmp_path)
    inside = tmp_path / "data" / "in" / "train"
    text = f"train: {{images: '{inside}', masks: 'data\\out\\train'}}\nclasses: [x]"
    said(tmp_path, text, "other.yml")
    dataset = open_dataset(tmp_path / "other.yml")
    assert list(dataset.splits) == ["train"]
    with pytest.raises(InputError, match="no split 'val'"):
        dataset.split("val")


def test_masks_inside_the_image_folder_are_no_images(tmp_path):
    touch(tmp_path, "all/a.png", "all/masks/a.png")
    said(tmp_path, "train: {images: all, masks: all/masks}\nclasses: [x]")
    assert stems(open_dataset(tmp_path)) == ["a"]


# ---------------------------------------------------------------- lists and several roots


def test_a_list_of_names_takes_some_files(tmp_path):
    plain(tmp_path, ("a", "b", "c", "v1.2", "deep/d"), splits=("train",))
    touch(tmp_path, "masks/train/unused.png", "images/train/unused too.jpg")
    text = "train: {images: images/train, masks: masks/train, list: some.txt}"
    said(tmp_path, text)
    said(tmp_path, "# comment\n\nc\na.jpg\nv1.2\ndeep\\d.png\n", "some.txt")
    dataset = open_dataset(tmp_path)
    assert stems(dataset) == ["a", "c", "deep/d", "v1.2"]
    said(tmp_path, "c\nnobody\nnothing.jpg\nc", "some.txt")
    touch(tmp_path, "masks/train/nothing.png")
    kept = open_dataset(tmp_path, keep_faults=True)
    assert (stems(kept), [f.stem for f in kept.faults]) == (["c"], ["nobody", "nothing"])
    text = message(tmp_path)
    assert "the list names 'nobody', and there is no such image" in text
    assert "some.txt" in text


@pytest.mark.parametrize("between", ["\t", ", ", " ; ", "  "])
def test_a_list_of_images_and_masks(tmp_path, between):
    said(
        tmp_path, f"a b/x.jpg{between}m/1.png\n".replace("a b", "ab") + f"y.jpg{between}m/2.png\r\n", "l.txt"
    )
    said(tmp_path, "train: {list: l.txt}\nclasses: [sky]")
    dataset = open_dataset(tmp_path)
    assert [(p.stem, p.image, p.mask.path) for p in dataset.splits["train"]] == [
        ("ab/x", tmp_path / "ab/x.jpg", tmp_path / "m/1.png"),
        ("y", tmp_path / "y.jpg", tmp_path / "m/2.png"),
    ]


def test_lists_that_lead_out_of_the_root_or_name_a_picture_twice(tmp_path):
    rows = [
        ("../photos/x.jpg", "1.png"),
        (tmp_path / "elsewhere/y.jpg", "2.png"),
        ("/photos/z.jpg", "3.png"),  # as lists of PASCAL VOC's kind mean it: below the root
        ("photos/./w.jpg", "4.png"),
        ("photos/x.png", "5.png"),  # the stem of the first
        ("photos/w.jpg", "4.png"),
    ]
    root = tmp_path / "root"
    touch(tmp_path, "elsewhere/y.jpg")
    said(root, "".join(f"{image}\t{mask}\n" for image, mask in rows), "l.txt")
    said(root, "train: {list: l.txt}\nclasses: [sky]")
    dataset = open_dataset(root, keep_faults=True)
    assert stems(dataset) == ["elsewhere/y", "photos/w", "photos/x", "photos/z"]
    assert dataset.splits["train"][3].image == root / "photos/z.jpg"
    assert [(fault.kind, fault.stem) for fault in dataset.faults] == [
        ("same-stem", "photos/x"),
        ("same-stem", "photos/w"),
    ]
    assert "listed twice" in message(root)


def test_a_list_of_labelme_documents(tmp_path):
    shapes = [{"label": "sky", "points": [[0, 0], [6, 0], [6, 4], [0, 4]]}]
    said(tmp_path, json.dumps({"shapes": shapes, "imageHeight": 4, "imageWidth": 6}), "1.json")
    said(tmp_path, "x.jpg 1.json", "l.txt")
    said(tmp_path, "train: {list: l.txt}")
    dataset = open_dataset(tmp_path)
    assert (dataset.form, dataset.labels.names) == ("labelme", ("sky",))


def test_several_roots_with_equal_names(tmp_path):
    for root in ("a/1", "a/2"):
        plain(tmp_path / root, ("x", "y"), splits=("train",), classes=None)
    folders = "images: [a/1/images/train, a/2/images/train], masks: [a/1/masks/train, a/2/masks/train]"
    said(tmp_path, f"train: {{{folders}}}\nclasses: [sky]")
    dataset = open_dataset(tmp_path)
    assert dataset.form == "index"
    assert stems(dataset) == [f"{i}/images/train/{s}" for i in (1, 2) for s in "xy"]
    for pair in dataset.splits["train"]:
        assert str(pair.image).replace("images", "masks").replace("jpg", "png") == str(pair.mask.path)


@pytest.mark.parametrize("folders", ["[a, a]", "[a, a/b]", "[a/b, a]", "[a, ./a/../a]"])
def test_roots_in_one_another_would_count_pictures_twice(tmp_path, folders):
    touch(tmp_path, "a/x.jpg", "a/b/y.jpg", "m/x.png", "n/y.png")
    said(tmp_path, f"train: {{images: {folders}, masks: [m, n]}}\nclasses: [sky]")
    assert "the same pictures twice" in message(tmp_path)


# ---------------------------------------------------------------- mistakes with folders


def test_paths_that_are_no_data_set_list_the_layouts(tmp_path):
    (tmp_path / "empty").mkdir()
    touch(tmp_path, "photo.jpg", "odd/pictures/a.jpg")
    for name in ("nowhere", "empty", "photo.jpg", "odd", "x" * 300, "a\0b"):
        text = message(tmp_path / name)
        for layout in (*(layout.title for layout in LAYOUTS.values()), "YOLO", "dataset.yaml"):
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
    assert str(Path("masks/val")) in text
    assert "does not exist" in text
    (root / "masks/val").mkdir()
    touch(root, "masks/val/a.doc", "masks/val/b.doc")
    text = message(root)
    assert "no pictures" in text
    assert "2 x .doc" in text


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


@pytest.mark.parametrize("place", ["", "masks", "masks/train", "masks/val"])
def test_class_files_are_found_near_the_masks(tmp_path, place):
    plain(tmp_path, classes=None)
    said(tmp_path / place, "himmel\nweg", "codes.txt")
    assert open_dataset(tmp_path).labels.names == ("himmel", "weg")


def test_pairs_can_be_read(tmp_path):
    """The whole way once: a plain folder with real files."""
    plain(tmp_path, ("a",))
    for split in ("train", "val"):
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"images/{split}/a.jpg")
        Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / f"masks/{split}/a.png")
    dataset = open_dataset(tmp_path)
    (pair,) = dataset.split("train")
    assert read_image(pair.image).shape == (4, 6, 3)
    assert dataset.labels.to_index(pair.mask.read((1, 1))).tolist() == [[1] * 6] * 4
