"""COCO documents: shapes against pycocotools and by hand, what comes with them, and damage."""

from __future__ import annotations

import gc
import json
import os
import pickle
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from camvid_labels import camvid_labels
from damage import damaged, refused
from mask_forms_polygons import write_coco, write_coco_rle
from PIL import Image
from pycocotools import mask as coco_mask

from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.masks import coco_document
from sceneparse.data.masks.coco import CocoDocument, CocoMask, coco_classes, coco_items
from sceneparse.data.masks.runs import run_lengths
from sceneparse.errors import InputError

# pycocotools 2.0.11 decodes in a way that NumPy 2 wants to be written anew; only the tests decode with it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]


def document(**changes) -> dict:
    """A document of one 6 x 5 picture with a square of category 2."""
    return {
        "images": [{"id": 10, "file_name": "a.jpg", "height": 5, "width": 6}],
        "categories": [{"id": 2, "name": "road"}, {"id": 7, "name": "sky"}],
        "annotations": [{"id": 1, "image_id": 10, "category_id": 2, "segmentation": SQUARE}],
    } | changes


def annotations(*shapes) -> list[dict]:
    """Annotations of the picture, from (category, segmentation)."""
    return [
        {"id": i, "image_id": 10, "category_id": category, "segmentation": segmentation}
        for i, (category, segmentation) in enumerate(shapes, start=1)
    ]


def written(folder: Path, content) -> CocoDocument:
    path = folder / "doc.json"
    path.write_text(json.dumps(content) if not isinstance(content, str) else content, encoding="utf-8")
    return CocoDocument(path)


def classes_of(doc: CocoDocument, uncovered: int | None = 0) -> SourceClasses:
    found = coco_classes([doc])
    return SourceClasses(names=found.names, numbers=found.numbers, colors=found.colors, uncovered=uncovered)


def read(doc: CocoDocument, image_id=10, size_hw=(5, 6)) -> np.ndarray:
    return CocoMask(doc, image_id, classes_of(doc)).read(size_hw)


def test_polygons_by_hand(tmp_path: Path) -> None:
    shapes = annotations(
        (2, [[0, 0, 6, 0, 6, 2, 0, 2]]),
        (7, [[1, 1, 3, 1, 3, 4, 1, 4], [4, 3, 6, 3, 6, 5, 4, 5]]),  # two parts of one annotation
        (2, [[2, 3, 5, 3, 5, 4, 2, 4]]),
    )
    mask = read(written(tmp_path, document(annotations=shapes)))
    assert mask.tolist() == [
        [2, 2, 2, 2, 2, 2],
        [2, 7, 7, 2, 2, 2],
        [0, 7, 7, 0, 0, 0],
        [0, 7, 2, 2, 2, 7],
        [0, 0, 0, 0, 7, 7],
    ]
    assert mask.dtype == np.uint8


def test_parts_of_one_annotation_add_up_where_they_overlap(tmp_path: Path) -> None:
    rings = [[0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 6, 2, 6, 5, 2, 5]]
    mask = read(written(tmp_path, document(annotations=annotations((2, rings)))))
    theirs = coco_mask.merge(coco_mask.frPyObjects(rings, 5, 6))
    np.testing.assert_array_equal(mask == 2, _decoded(theirs))
    assert mask[2, 2] == 2


def test_shapes_are_those_of_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(20):
        rings = [np.round(rng.random(2 * int(n)) * 60, 2).tolist() for n in rng.integers(3, 9, 3)]
        content = document(
            images=[{"id": 10, "file_name": "a.jpg", "height": 60, "width": 60}],
            annotations=annotations((7, rings)),
        )
        path = tmp_path / str(i)
        path.mkdir()
        theirs = coco_mask.merge(coco_mask.frPyObjects(rings, 60, 60))
        np.testing.assert_array_equal(read(written(path, content)) == 7, _decoded(theirs))


def _decoded(rle) -> np.ndarray:
    return coco_mask.decode(rle).astype(bool)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 1), (37, 53), (300, 200)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
def test_compressed_run_lengths_as_pycocotools_writes_them(shape: tuple[int, int], share: float) -> None:
    inside = np.random.default_rng(1).random(shape) < share
    encoded = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    counts = run_lengths(encoded["counts"])
    assert counts is not None
    again = np.repeat(np.arange(counts.size) % 2 == 1, counts).reshape(shape[::-1]).T
    np.testing.assert_array_equal(again, inside)


def test_long_runs_are_read(tmp_path: Path) -> None:
    """Runs of more than 16 bits, and differences that are negative."""
    inside = np.zeros((1500, 1500), bool)
    inside[:, 700:705] = True
    inside[3, 2] = True
    content = document(
        images=[{"id": 10, "file_name": "a.jpg", "height": 1500, "width": 1500}],
        annotations=[],
    )
    rle = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    content["annotations"] = annotations((2, {"size": [1500, 1500], "counts": rle["counts"].decode()}))
    np.testing.assert_array_equal(read(written(tmp_path, content)) == 2, inside)


def test_plain_run_lengths_by_hand(tmp_path: Path) -> None:
    shapes = annotations((7, {"size": [5, 6], "counts": [6, 2, 3, 1, 18]}))
    mask = read(written(tmp_path, document(annotations=shapes)))
    expected = np.zeros((5, 6), np.uint8)
    expected[1:3, 1] = 7
    expected[1, 2] = 7
    np.testing.assert_array_equal(mask, expected)


def test_category_ids_above_255(tmp_path: Path) -> None:
    content = document(categories=[{"id": 2, "name": "road"}, {"id": 65535, "name": "sky"}])
    mask = read(written(tmp_path, content))
    assert mask.dtype == np.uint16
    assert set(np.unique(mask)) == {0, 2}


def test_uncovered_pixels_are_asked_about(tmp_path: Path) -> None:
    doc = written(tmp_path, document())
    with pytest.raises(DataError, match=r"a\.jpg: 80\.0% of the pixels") as error:
        CocoMask(doc, 10, classes_of(doc, None)).read((5, 6))
    assert error.value.kind == "uncovered"
    assert error.value.where == doc.path


def test_a_picture_without_annotations_is_all_uncovered(tmp_path: Path) -> None:
    images = [*document()["images"], {"id": 11, "file_name": "b.jpg", "height": 2, "width": 3}]
    doc = written(tmp_path, document(images=images))
    np.testing.assert_array_equal(read(doc, 11), np.zeros((2, 3)))


def test_size_is_the_documents_own(tmp_path: Path) -> None:
    assert read(written(tmp_path, document()), size_hw=(50, 60)).shape == (5, 6)


def test_size_left_out_is_the_pictures(tmp_path: Path) -> None:
    doc = written(tmp_path, document(images=[{"id": 10, "file_name": "a.jpg"}]))
    assert read(doc, size_hw=(9, 8)).shape == (9, 8)


@pytest.mark.parametrize(
    ("height", "width"),
    [(-5, 6), (0, 6), ("5", 6), (5.0, 6), (1e308, 6), (2**20, 2**20), ([5], 6), (True, 6), (float("nan"), 6)],
)
def test_senseless_sizes(tmp_path: Path, height, width) -> None:
    doc = written(
        tmp_path, document(images=[{"id": 10, "file_name": "a.jpg", "height": height, "width": width}])
    )
    with pytest.raises(InputError, match=r"a\.jpg: height .* and width .* are no size"):
        read(doc)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ([], "boxes, not shapes"),
        (None, "boxes, not shapes"),
        ({}, "boxes, not shapes"),
        ("", "boxes, not shapes"),
        ("polygon", "has the shape 'polygon'"),
        (5, "has the shape 5"),
        ([1, 1, 4, 1, 4, 3], "has the polygon 1"),
        ([[1, 1, 4, 1, 4]], r"has the polygon array"),
        ([[1, 1, 4, 1]], "polygon 0 has 2 points"),
        ([[]], "polygon 0 has 0 points"),
        ([[1, 1, "4", 1, 4, 3]], r"has the polygon \[1, 1, '4'"),
        ([[1, 1, None, 1, 4, 3]], "has the polygon"),
        ([[[1, 1], [4, 1], [4, 3]]], "has the polygon"),
        ([SQUARE[0], {"a": 1}], "has the polygon"),
        ([[1, 1, 10**400, 1, 4, 3]], "has the polygon"),
        ([[1, 1, 1e308, 1, 4, 3]], "far outside"),
        ([[1, 1, float("nan"), 1, 4, 3]], "far outside"),
        ([[1, 1, float("inf"), 1, 4, 3]], "far outside"),
        ({"size": [5, 6]}, "has the run lengths None"),
        ({"counts": [30]}, "run lengths of size None"),
        ({"size": [6, 5], "counts": [30]}, r"run lengths of size \[6, 5\]; the picture has \[5, 6\]"),
        ({"size": [5, 6], "counts": [29]}, "has 29 pixels; the picture has 30"),
        ({"size": [5, 6], "counts": [10, -5, 25]}, "negative or longer"),
        ({"size": [5, 6], "counts": [10, 2**62, 2**62, 2**62, 2**62]}, "negative or longer"),
        ({"size": [5, 6], "counts": [10, 10**30]}, "has the run lengths"),
        ({"size": [5, 6], "counts": [10.5, 19.5]}, "has the run lengths"),
        ({"size": [5, 6], "counts": ["10", 20]}, "has the run lengths"),
        ({"size": [5, 6], "counts": []}, "has 0 pixels"),
        ({"size": [5, 6], "counts": {"a": 3}}, "has the run lengths"),
        ({"size": [5, 6], "counts": ""}, "damaged or cut off"),
        ({"size": [5, 6], "counts": "N0P"}, "damaged or cut off"),  # "P" says that another one follows
        ({"size": [5, 6], "counts": "PPPPPPPPPPPPPP0"}, "damaged or cut off"),
        ({"size": [5, 6], "counts": "5 5"}, "damaged or cut off"),
        ({"size": [5, 6], "counts": "5é5"}, "damaged or cut off"),
        ({"size": [5, 6], "counts": "5\ud8005"}, "damaged or cut off"),
        ({"size": [5, 6], "counts": "55"}, "has 10 pixels"),
        ({"size": [5, 6], "counts": "_oooooo0"}, "negative or longer|damaged"),
    ],
)
def test_senseless_shapes_are_named(tmp_path: Path, segmentation, said: str) -> None:
    shapes = annotations((7, SQUARE), (2, segmentation))
    doc = written(tmp_path, document(annotations=shapes))
    with pytest.raises(InputError, match=rf"(?s)a\.jpg: annotation 2.*({said})") as error:
        read(doc)
    assert error.value.where == doc.path
    assert error.value.fix


@pytest.mark.parametrize("category", [9, "2", None, [2], {"a": 1}, 2.0, -1])
def test_category_that_nobody_lists(tmp_path: Path, category) -> None:
    doc = written(tmp_path, document(annotations=annotations((category, SQUARE), (2, SQUARE))))
    with pytest.raises(
        DataError, match=r"a\.jpg: annotation 1 is of category .*, which the document"
    ) as error:
        read(doc)
    assert error.value.kind == "values"


def test_category_outside_the_class_list_and_ignored(tmp_path: Path) -> None:
    doc = written(tmp_path, document())
    classes = SourceClasses(names=("sky",), numbers=(7,), colors=(None,), uncovered=7)
    with pytest.raises(DataError, match=r"category 2 \(road\), which is not in the class list"):
        CocoMask(doc, 10, classes).read((5, 6))
    ignoring = SourceClasses(names=("sky",), numbers=(7,), colors=(None,), uncovered=7, ignored=(2,))
    assert set(np.unique(CocoMask(doc, 10, ignoring).read((5, 6)))) == {2, 7}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("  \n", "the file is empty"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ([1, 2], "expected a JSON object"),
        ({}, "'images' must be a list"),
        (document(images={}), "'images' must be a list"),
        (document(images=[3]), "'images' must be a list of objects"),
        (document(images=[]), "has no images"),
        (document(categories=None), "'categories' must be a list"),
        (document(annotations=[[1]]), "'annotations' must be a list of objects"),
        (document(images=[{"file_name": "a.jpg"}]), "image 0 has the id None"),
        (document(images=[{"id": [1], "file_name": "a.jpg"}]), r"image 0 has the id \[1\]"),
        (document(images=[{"id": True, "file_name": "a.jpg"}]), "image 0 has the id True"),
        (document(images=[{"id": 10}]), "image 10 has the file name None"),
        (document(images=[{"id": 10, "file_name": "a\ud800.jpg"}]), "has the file name"),
        (document(images=document()["images"] * 2), "two images have the id 10"),
        (document(categories=[{"id": "2", "name": "a"}]), "category 0 has the id '2'"),
        (document(categories=[{"id": 65536, "name": "a"}]), "category 0 has the id 65536"),
        (document(categories=[{"id": -1, "name": "a"}]), "category 0 has the id -1"),
        (document(categories=[{"id": True, "name": "a"}]), "category 0 has the id True"),
        (document(categories=[{"id": 2, "name": 5}]), "category 2 has the name 5"),
        (document(categories=[{"id": 2, "name": " "}]), "category 2 has the name ' '"),
        (document(categories=document()["categories"] * 2), "two categories have the id 2"),
        (
            document(annotations=[{"id": 5, "image_id": 99, "category_id": 2}]),
            "annotation 5 belongs to image 99",
        ),
        (document(annotations=[{"id": 5, "category_id": 2}]), "the image of annotation 5 has the id None"),
        (document(annotations=annotations((2, []), (7, None))), "boxes, not shapes"),
        (document(annotations=[{"image_id": 10, "segments_info": []}]), "panoptic"),
    ],
)
def test_no_coco_document(tmp_path: Path, content, said: str) -> None:
    doc = written(tmp_path, content)
    with pytest.raises(InputError, match=said) as error:
        doc.content()
    assert error.value.where == doc.path
    assert error.value.fix


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none.json", "No such file"),
        (tmp_path, "not a file"),
        (tmp_path / "a\0b", "null"),
    ):
        with pytest.raises(InputError, match=said):
            CocoDocument(path).content()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.json")
        with pytest.raises(InputError, match="not a file"):
            CocoDocument(tmp_path / "pipe.json").content()
    (tmp_path / "latin.json").write_bytes(b'{"images": "\xe9"}')
    with pytest.raises(InputError, match="not valid JSON"):
        CocoDocument(tmp_path / "latin.json").content()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_json(tmp_path: Path, encoding: str) -> None:
    content = document(categories=[{"id": 2, "name": "Straße"}])
    path = tmp_path / "doc.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    assert coco_classes([CocoDocument(path)]).names == ("Straße",)


def test_classes_of_several_documents(tmp_path: Path) -> None:
    docs = []
    for name, categories in (("train", [(3, "car"), (1, "road")]), ("val", [(1, "road"), (9, "sky")])):
        (tmp_path / name).mkdir()
        content = document(
            categories=[{"id": n, "name": name} for n, name in categories],
            annotations=annotations((1, SQUARE)),
        )
        docs.append(written(tmp_path / name, content))
    classes = coco_classes(docs)
    assert classes.names == ("car", "road", "sky")
    assert classes.numbers == (3, 1, 9)
    assert classes.colors == (None, None, None)
    assert classes.ignored == ()
    assert classes.uncovered is None


def test_classes_that_contradict_each_other(tmp_path: Path) -> None:
    first = written(tmp_path, document())
    (tmp_path / "b").mkdir()
    other = written(tmp_path / "b", document(categories=[{"id": 2, "name": "car"}]))
    with pytest.raises(InputError, match=r"category 2 is 'road' in .* and 'car' here") as error:
        coco_classes([first, other])
    assert error.value.where == other.path
    (tmp_path / "c").mkdir()
    twice = written(
        tmp_path / "c", document(categories=[{"id": 2, "name": "road"}, {"id": 3, "name": "road"}])
    )
    with pytest.raises(InputError, match="category name given twice: road"):
        coco_classes([twice])
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="no categories"):
        coco_classes([written(tmp_path / "d", document(categories=[], annotations=[]))])


def test_roboflows_parent_of_all_categories_is_no_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "road", "supercategory": "none"},  # named like a class, as Roboflow does it
        {"id": 1, "name": "road", "supercategory": "road"},
        {"id": 2, "name": "sky", "supercategory": "road"},
    ]
    classes = coco_classes([written(tmp_path, document(categories=categories))])
    assert classes.names == ("road", "sky")
    assert classes.numbers == (1, 2)


def test_a_parent_with_annotations_is_a_class(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "things", "supercategory": "none"},
        {"id": 1, "name": "road", "supercategory": "things"},
    ]
    doc = written(tmp_path, document(categories=categories, annotations=annotations((0, SQUARE))))
    assert coco_classes([doc]).names == ("things", "road")
    # COCO's own: a class may be its own supercategory, and only some others have it.
    (tmp_path / "b").mkdir()
    person = [
        {"id": 1, "name": "person", "supercategory": "person"},
        {"id": 2, "name": "car", "supercategory": "vehicle"},
    ]
    assert coco_classes([written(tmp_path / "b", document(categories=person))]).names == ("person", "car")


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def stems(tmp_path: Path, folder: Path, *names: str) -> list[str]:
    images = [{"id": i, "file_name": name, "height": 5, "width": 6} for i, name in enumerate(names)]
    doc = written(tmp_path, document(images=images, annotations=[]))
    items = list(coco_items(doc, folder, classes_of(doc)))
    assert [name for _, name, _ in items] == list(names)
    assert [mask.image_id for _, _, mask in items] == list(range(len(names)))
    return [stem for stem, _, _ in items]


def test_items_are_found_on_disk(tmp_path: Path) -> None:
    folder = pictures(
        tmp_path / "images" / "train", "a.jpg", "city/b.png", "city/c.jpg", "land/c.jpg", "d.e.jpg"
    )
    names = ["a.jpg", "city/b.jpg", "city\\c.jpg", "images/train/land/c.jpg", "./d.e.jpg"]
    assert stems(tmp_path, folder, *names) == ["a", "city/b", "city/c", "land/c", "d.e"]


def test_items_by_their_base_name_alone(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "a.jpg", "city/b.jpg", "x/c.jpg", "y/c.jpg")
    # From elsewhere; below on disk; not unique on disk; not there.
    names = ["export/a.jpg", "b.jpg", "c.jpg", "none.jpg"]
    assert stems(tmp_path, folder, *names) == ["a", "city/b", "c", "none"]


def test_items_of_other_splits_stay_apart(tmp_path: Path) -> None:
    """One document for two folders: a name that also says the folder does not take the other's picture."""
    folder = pictures(tmp_path / "images" / "train", "a.jpg")
    assert stems(tmp_path, folder, "train/a.jpg", "val/a.jpg") == ["a", "val/a"]


def test_items_that_are_the_same_picture(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "a.jpg")
    with pytest.raises(InputError, match=r"the images a\.jpg and \./a\.jpg of the document are the same"):
        stems(tmp_path, folder, "a.jpg", "./a.jpg")


def test_items_in_unicode_form_c(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "photos", "caf\u00e9.jpg")
    assert stems(tmp_path, folder, "cafe\u0301.jpg") == ["caf\u00e9"]


def test_handles_are_small_and_share_what_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = written(tmp_path, document())
    reads = []
    original = coco_document._read
    monkeypatch.setattr(coco_document, "_read", lambda path: reads.append(path) or original(path))
    mask = CocoMask(doc, 10, classes_of(doc))
    assert mask.path == doc.path
    assert mask.files == (doc.path,)
    expected = mask.read((5, 6))
    assert len(pickle.dumps(mask)) < 1000
    for _ in range(3):
        again = pickle.loads(pickle.dumps(mask))
        assert again == mask
        np.testing.assert_array_equal(again.read((5, 6)), expected)
    threads = [threading.Thread(target=CocoDocument(doc.path).content) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1


def test_threads_wait_for_one_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    doc = written(tmp_path, document())
    reads = []
    original = coco_document._read

    def slow(path: Path):
        reads.append(path)
        time.sleep(0.05)
        return original(path)

    monkeypatch.setattr(coco_document, "_read", slow)
    threads = [threading.Thread(target=CocoDocument(doc.path).content) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reads) == 1


def test_a_changed_document_is_read_again(tmp_path: Path) -> None:
    doc = written(tmp_path, document())
    assert read(doc).max() == 2
    changed = written(tmp_path, document(annotations=annotations((7, SQUARE), (7, SQUARE))))
    assert read(changed).max() == 7


def test_a_large_document_loads_in_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count = 5_000
    rings = np.round(rng.random((count, 40)) * 400, 2).tolist()
    content = document(
        images=[{"id": i, "file_name": f"{i}.jpg", "height": 400, "width": 400} for i in range(500)],
        annotations=[
            {
                "id": i,
                "image_id": i % 500,
                "category_id": 2,
                "bbox": [0, 0, 1, 1],
                "segmentation": [rings[i]],
            }
            for i in range(count)
        ],
    )
    doc = written(tmp_path, content)
    del content, rings
    gc.collect()
    start = time.perf_counter()
    doc.content()
    assert time.perf_counter() - start < 20  # 0.3 s measured
    start = time.perf_counter()
    read(doc, 3)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize("form", ["polygons", "runs", "compressed runs"])
def test_camvid_comes_back_byte_for_byte(tmp_path: Path, form: str) -> None:
    maps, names = camvid_labels(2)
    path = tmp_path / "camvid.json"
    if form == "polygons":
        write_coco(path, maps, names)
    else:
        write_coco_rle(path, maps, names, compressed=form == "compressed runs")
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in maps:
        (folder / name).touch()
    doc = CocoDocument(path)
    classes = coco_classes([doc])
    assert dict(zip(classes.numbers, classes.names, strict=True)) == names
    items = list(coco_items(doc, folder, classes))
    assert [name for _, name, _ in items] == list(maps)
    for _, name, mask in items:
        again = mask.read((1, 1))
        assert again.dtype == maps[name].dtype
        assert again.tobytes() == maps[name].tobytes()


def test_damaged_documents_are_read_or_named(tmp_path: Path) -> None:
    Image.new("RGB", (6, 5)).save(tmp_path / "a.jpg")
    shapes = annotations(
        (2, SQUARE),
        (7, {"size": [5, 6], "counts": [6, 2, 3, 1, 18]}),
        (7, {"size": [5, 6], "counts": "62O1c0"}),
        (2, [[0.5, 0, 6, 0, 6, 4, 0, 4], [1, 1, 3, 1, 3, 3]]),
    )
    rle = coco_mask.encode(np.asfortranarray(np.eye(5, 6, dtype=np.uint8)))
    shapes[2]["segmentation"]["counts"] = rle["counts"].decode()
    images = [*document()["images"], {"id": "b", "file_name": "sub\\b.png", "height": 5, "width": 6}]
    good = document(annotations=shapes, images=images)
    assert read(written(tmp_path, good)).any()
    rng = random.Random(0)
    path = tmp_path / "doc.json"

    def read_all() -> None:
        doc = CocoDocument(path)
        for _, _, mask in coco_items(doc, tmp_path, classes_of(doc)):
            pixels = mask.read((5, 6))
            assert pixels.ndim == 2
            assert pixels.dtype in (np.uint8, np.uint16)

    start = time.perf_counter()
    results = []
    for _ in range(300):
        path.write_bytes(damaged(good, rng))
        coco_document._contents.clear()
        results.append(refused(read_all))
    assert 30 < sum(results) < 290
    assert time.perf_counter() - start < 60
