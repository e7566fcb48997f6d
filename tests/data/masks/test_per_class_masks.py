"""One file for each class or region. The truth is the label map that was taken apart and written with Pillow;
names of files are put together by hand or as label-studio-sdk does it."""

import json
import pickle
import random

import numpy as np
import pytest
from camvid_labels import camvid_labels
from damage import damaged, damaged_bytes
from mask_forms_colors import write_label_studio, write_per_class
from PIL import Image

from sceneparse.data.classes import SourceClasses
from sceneparse.data.faults import DataError
from sceneparse.data.masks.per_class import PerClassMask, class_names_of_files, group_class_files
from sceneparse.errors import InputError

NAMES = {0: "road", 1: "traffic light", 2: "sky_high", 3: "Straße-neu"}
CLASSES = SourceClasses.numbered(list(NAMES.values()))
LABELS = np.random.default_rng(2).integers(0, 4, (6, 8)).astype(np.uint8)


def read(groups, stem, classes=CLASSES):
    regions = tuple((classes.number_of(name), path) for name, path in groups[stem])
    found = PerClassMask(regions, classes).read((1, 1))
    assert found.flags.c_contiguous
    return found


def grouped(folder, stems, names=CLASSES.names, faults=None):
    """Groups of files; faults are wrong unless asked for."""
    found = [] if faults is None else faults
    groups = group_class_files(folder, names, {stem: f"/images/{stem}.jpg" for stem in stems}, found)
    assert faults is not None or not found
    return groups


def short(groups):
    return {stem: sorted((name, path.name) for name, path in files) for stem, files in groups.items()}


def touched(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    return folder


def region(path, array, mode=None):
    image = Image.fromarray(np.asarray(array))
    (image.convert(mode) if mode else image).save(path)
    return path


def one(path, classes=None):
    """What a file alone covers, as 0 and 1."""
    classes = classes or SourceClasses(names=("out", "in"), numbers=(0, 1), colors=(None,) * 2, uncovered=0)
    return PerClassMask(((1, path),), classes).read((1, 1)).tolist()


# ---------------------------------------------------------------- pixels


@pytest.mark.parametrize(
    "pattern",
    [
        "{stem}/{name}.png",
        "{stem}/{name}-0.png",
        "{name}/{stem}.png",
        "{stem}_{name}.png",
        "{stem}-{name}.png",
        "{stem}__{name}_3.png",
        "{stem} {name}.tif",
        "deep/er/{stem}.{name}.bmp",
    ],
)
def test_every_way_to_name_files_gives_the_mask_back(tmp_path, pattern):
    before = "deep/er/" if pattern.startswith("deep") else ""
    for stem, labels in (("a_1", LABELS), ("größe", LABELS[:, ::-1])):
        write_per_class(tmp_path, stem, labels, NAMES, pattern=pattern)
    groups = grouped(tmp_path, [f"{before}a_1", f"{before}größe"])
    assert (read(groups, f"{before}a_1") == LABELS).all()
    assert (read(groups, f"{before}größe") == LABELS[:, ::-1]).all()


@pytest.mark.parametrize("kind", ["folders", "full", "minimal"])
def test_real_camvid_masks_come_back_byte_for_byte(tmp_path, kind):
    masks, names = camvid_labels(5)
    classes = SourceClasses(names=tuple(names.values()), numbers=tuple(names), colors=(None,) * 12)
    if kind == "folders":
        for image, labels in masks.items():
            write_per_class(tmp_path, image[:-4], labels, names)
    else:
        write_label_studio(tmp_path, masks, names, minimal=kind == "minimal")
    groups = grouped(tmp_path, [image[:-4] for image in masks], classes.names)
    assert len(groups) == len(masks) == 5
    for image, labels in masks.items():
        assert read(groups, image[:-4], classes).tobytes() == labels.tobytes()


def test_later_classes_lie_on_top_whatever_the_order_of_files(tmp_path):
    low = region(tmp_path / "z.png", np.uint8([[255, 255, 0]]))
    high = region(tmp_path / "a.png", np.uint8([[0, 255, 255]]))
    classes = SourceClasses(names=("low", "high"), numbers=(9, 4), colors=(None, None), ignored=(300,))
    for regions in (((9, low), (4, high)), ((4, high), (9, low))):
        found = PerClassMask(regions, classes).read((1, 1))
        assert found.tolist() == [[9, 4, 4]]
        assert found.dtype == np.uint16


def test_uncovered_pixels_are_background_or_asked_about(tmp_path):
    path = region(tmp_path / "a.png", np.uint8([[255, 0, 0, 0]]))
    with pytest.raises(DataError, match=r"75\.0% of the pixels are covered by nothing") as caught:
        one(path, CLASSES)
    assert caught.value.kind == "uncovered"
    assert "uncovered: ignore" in caught.value.fix
    with_ground = SourceClasses.numbered(["background", "x"]).with_uncovered(None)
    assert one(path, with_ground) == [[1, 0, 0, 0]]
    ignored = SourceClasses.numbered(["a", "x"]).with_uncovered("ignore")
    assert one(path, ignored) == [[1, 255, 255, 255]]
    with pytest.raises(DataError, match="all of the pixels"):
        one(region(tmp_path / "b.png", np.zeros((2, 2), np.uint8)), CLASSES)


@pytest.mark.parametrize("value", [1, 100, 255])
def test_any_one_value_covers(tmp_path, value):
    assert one(region(tmp_path / "a.png", np.uint8([[0, value]]))) == [[0, 1]]
    assert one(region(tmp_path / "b.png", np.uint16([[0, value * 256]]))) == [[0, 1]]


def test_kinds_of_files(tmp_path):
    assert one(region(tmp_path / "bits.png", [[False, True]])) == [[0, 1]]
    red = np.uint8([[[0, 0, 0], [200, 0, 0]]])
    assert one(region(tmp_path / "rgb.png", red)) == [[0, 1]]
    palette = Image.fromarray(np.uint8([[0, 1]]))
    palette.putpalette([0, 0, 0, 128, 0, 0])
    palette.save(tmp_path / "palette.png")
    assert one(tmp_path / "palette.png") == [[0, 1]]


@pytest.mark.parametrize(
    ("colors", "expected"),
    [
        ([(255, 255, 255, 0), (255, 255, 255, 255)], [0, 1]),  # white on nothing
        ([(0, 0, 0, 0), (0, 0, 0, 255)], [0, 1]),  # black on nothing
        ([(0, 0, 0, 255), (255, 255, 255, 255)], [0, 1]),  # white on black
        ([(9, 9, 9, 0), (0, 0, 0, 255), (0, 255, 0, 255)], [0, 0, 1]),
        ([(0, 0, 0, 128), (0, 0, 255, 128)], [0, 1]),  # a half transparent overlay
        ([(255, 255, 255, 0), (255, 255, 255, 0)], [0, 0]),
    ],
)
def test_alpha_channels(tmp_path, colors, expected):
    assert one(region(tmp_path / "a.png", np.uint8([colors]))) == [expected]


def test_soft_edges_are_refused_except_label_studios(tmp_path):
    """Its brush paints with the soft edges of a browser's canvas: half covered counts."""
    soft = np.uint8([[0, 1, 127, 128, 255]])
    with pytest.raises(DataError, match=r"with 4 values besides 0 \(1, 127, 128, 255\)") as caught:
        one(region(tmp_path / "a.png", soft))
    assert caught.value.kind == "values"
    name = "task-1-annotation-2-by-3-tag-car-0.png"
    assert one(region(tmp_path / name, soft)) == [[0, 0, 0, 1, 1]]
    assert one(region(tmp_path / name, soft // 128 * 100)) == [[0, 0, 0, 1, 1]]  # a model's, 0 and 100
    edge = np.uint8([[(255, 255, 255, 0), (255, 255, 255, 90), (255, 255, 255, 255)]])
    with pytest.raises(DataError, match="soft"):
        one(region(tmp_path / "alpha.png", edge))


def test_a_palette_the_wrong_way_round_is_asked_about(tmp_path):
    image = Image.fromarray(np.uint8([[0, 1]]))
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(tmp_path / "a.png")
    with pytest.raises(InputError, match="which pixels are the class"):
        one(tmp_path / "a.png")


def test_sizes_that_differ_and_files_that_cannot_be_read(tmp_path):
    a = region(tmp_path / "a.png", np.where(LABELS, 255, 0).astype(np.uint8))
    b = region(tmp_path / "b.png", np.uint8([[255]]))
    with pytest.raises(DataError, match=r"1 x 1 pixels, and a\.png of the same picture 8 x 6") as caught:
        PerClassMask(((1, b), (0, a)), CLASSES).read((1, 1))
    assert caught.value.kind == "size"
    assert caught.value.where == b
    Image.open(a).save(tmp_path / "x.jpg")
    for path in (tmp_path / "x.jpg", tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError) as caught:
            one(path)
        assert caught.value.where == path


def test_masks_travel_to_workers(tmp_path):
    path = region(tmp_path / "a.png", np.uint8([[255]]))
    mask = pickle.loads(pickle.dumps(PerClassMask(((0, path), (2, path)), CLASSES)))
    assert mask.read((1, 1)).tolist() == [[2]]
    assert (mask.path, mask.files) == (path, (path, path))


# ---------------------------------------------------------------- names


def test_longest_stem_and_longest_class(tmp_path):
    stems = ["a", "a_b", "a_b_1"]
    touched(tmp_path, "a_car.png", "a_b_car.png", "a_b_1_car.png", "a_b_1_car_2.png", "a_car_red.png")
    assert short(grouped(tmp_path, stems, ["car", "car_red", "red"])) == {
        "a": [("car", "a_car.png"), ("car_red", "a_car_red.png")],
        "a_b": [("car", "a_b_car.png")],
        "a_b_1": [("car", "a_b_1_car.png"), ("car", "a_b_1_car_2.png")],
    }
    touched(tmp_path, "a-car-1.png")
    assert ("car-1", "a-car-1.png") in short(grouped(tmp_path, stems, ["car", "car-1", "car_red"]))["a"]


def test_two_readings_of_which_none_is_longer(tmp_path):
    touched(tmp_path, "a_b_car.png")
    with pytest.raises(InputError) as caught:
        grouped(tmp_path, ["a", "a_b"], ["car", "b_car"])
    assert "class 'b_car' of the image 'a', or class 'car' of the image 'a_b'" in str(caught.value)
    assert caught.value.where == tmp_path / "a_b_car.png"
    with pytest.raises(
        InputError, match="class 'road' of the image 'car', or class 'car' of the image 'road'"
    ):
        grouped(touched(tmp_path / "x", "road/car.png"), ["road", "car"], ["road", "car"])


def test_spaces_slashes_and_underscores_of_classes(tmp_path):
    touched(tmp_path, "a_traffic light.png", "a_wall-brick.png", "b_traffic_light.png", "b_wall brick.png")
    found = grouped(tmp_path, ["a", "b"], ["traffic light", "wall brick", "light"])
    assert [name for name, _ in found["a"]] == ["traffic light", "wall brick"]
    assert [name for name, _ in found["b"]] == ["traffic light", "wall brick"]
    faults = []
    assert grouped(touched(tmp_path / "x", "a_x_y.png"), ["a"], ["x y", "x/y"], faults) == {}
    assert len(faults) == 1


def test_accents_in_either_unicode_form(tmp_path):
    touched(tmp_path, "Ba\u0308ume_Straße.png", "Bäume_cafe\u0301.png")
    found = grouped(tmp_path, ["Bäume"], ["Straße", "cafe\u0301"])
    assert sorted(name for name, _ in found["Bäume"]) == ["Straße", "cafe\u0301"]


def test_files_that_belong_to_nothing_are_faults(tmp_path):
    touched(tmp_path, "a_car.png", "a_bus.png", "b_car.png", "a.png", "notes.txt", "car/a.png", "bus/a.png")
    faults = []
    found = grouped(tmp_path, ["a"], ["car"], faults)
    assert short(found) == {"a": [("car", "a.png"), ("car", "a_car.png")]}
    assert sorted(fault.files[0].name for fault in faults) == ["a.png", "a.png", "a_bus.png", "b_car.png"]
    assert {fault.kind for fault in faults} == {"missing-image"}
    assert "classes: car" in faults[0].what


def test_images_and_masks_in_one_folder(tmp_path):
    touched(tmp_path, "a.jpg", "a_car.jpg", "a_car_car.png", "a_road.png")
    images = {"a": str(tmp_path / "a.jpg"), "a_car": str(tmp_path / "a_car.jpg")}
    faults = []
    found = group_class_files(tmp_path, ["car", "road"], images, faults)
    assert short(found) == {"a": [("road", "a_road.png")], "a_car": [("car", "a_car_car.png")]}
    assert not faults


def test_names_of_classes_from_folders(tmp_path):
    of = {"x": "", "sub/y": ""}
    touched(tmp_path, "1/x/sky.png", "1/x/car.png", "1/sub/y/sky.png")
    assert class_names_of_files(tmp_path / "1", of) == ("car", "sky")
    touched(tmp_path, "2/lane_1/x.png", "2/lane_2/x.png", "2/sky/sub/y.png")
    assert class_names_of_files(tmp_path / "2", of) == ("lane_1", "lane_2", "sky")


@pytest.mark.parametrize("name", ["x_sky.png", "x/car-0.png", "sky/z.png"])
def test_names_of_classes_that_nothing_says_for_sure(tmp_path, name):
    touched(tmp_path, "x/sky.png", name)
    with pytest.raises(InputError, match="1 names of files do not say for sure") as caught:
        class_names_of_files(tmp_path, {"x": "", "y": ""})
    assert name.rpartition("/")[2] in str(caught.value)
    assert "classes.txt" in caught.value.fix


def test_a_folder_without_pictures(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            grouped(folder, ["a"])
        with pytest.raises(InputError):
            class_names_of_files(folder, {"a": ""})


# ---------------------------------------------------------------- Label Studio


LS_NAMES = {0: "road", 1: "traffic light", 2: "sky-high/blue", 3: "Straße"}


@pytest.mark.parametrize("minimal", [False, True])
@pytest.mark.parametrize("place", [".", "..", "../.."])
def test_label_studio(tmp_path, minimal, place):
    folder = tmp_path / "masks" / "train"
    masks = {"größe 1.jpg": LABELS, "b.png": LABELS.T}
    write_label_studio(folder, masks, LS_NAMES, minimal=minimal, tag="brush-tag")
    for document in folder.glob("*.json"):
        document.rename(folder / place / document.name)
    classes = SourceClasses.numbered(list(LS_NAMES.values()))
    groups = grouped(folder, ["größe 1", "b"], classes.names)
    assert (read(groups, "größe 1", classes) == LABELS).all()
    assert (read(groups, "b", classes) == LABELS.T).all()
    images = {"größe 1": "", "b": ""}
    assert class_names_of_files(folder, images) == tuple(sorted(LS_NAMES.values()))


def exported(
    folder, data, files=("task-1-annotation-2-by-3-tag-car-0.png",), regions=(("tag", ["car"]),), **task
):
    """One task, as the JSON export has it."""
    touched(folder, *files)
    result = [
        {"from_name": tag, "type": "brushlabels", "value": {"brushlabels": list(b)}} for tag, b in regions
    ]
    entry = {"id": 1, "annotations": [{"id": 2, "result": result}], "data": data, **task}
    (folder / "export.json").write_text(json.dumps([entry]), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("data", "stem"),
    [
        ({"image": "/data/upload/1/0a1b2c3d-x.jpg"}, "x"),
        ({"image": "/data/upload/1/0a1b2c3d-x.jpg"}, "0a1b2c3d-x"),
        ({"image": "/data/local-files/?d=some/where/x.jpg"}, "x"),
        ({"image": "/data/local-files/?d=images%5Cx.JPG"}, "x"),
        ({"image": "https://example.org/a%20b/x.png?width=3#top"}, "x"),
        ({"image": "s3://bucket/train/x.tif"}, "train/x"),
        ({"image": "gs://bucket/train/x.tif"}, "x"),
        ({"img": "C:\\photos\\x.jpg", "note": "a text. With a dot"}, "x"),
        ({"image": "x.jpg"}, "deep/er/x"),
        ({"image": "/data/upload/1/0a1b2c3d-x%20y.jpg"}, "x y"),
        ({"image": "x%20y.jpg"}, "x%20y"),
        ({"image": "Ba\u0308ume.jpg"}, "Bäume"),
    ],
)
def test_pictures_that_tasks_name(tmp_path, data, stem):
    groups = grouped(exported(tmp_path, data), [stem, "other"], ["car"])
    assert list(groups) == [stem]


def test_the_longest_end_of_the_path_counts(tmp_path):
    exported(tmp_path, {"image": "s3://bucket/train/x.jpg"})
    assert list(grouped(tmp_path, ["x", "val/x", "train/x"], ["car"])) == ["train/x"]
    with pytest.raises(InputError, match="each of the images test/x and val/x"):
        grouped(tmp_path, ["val/x", "test/x"], ["car"])


def test_label_studio_without_its_export(tmp_path):
    write_label_studio(tmp_path, {"x.jpg": LABELS}, LS_NAMES)
    next(tmp_path.glob("*.json")).unlink()
    (tmp_path / "coco.json").write_text('{"images": []}')
    (tmp_path / "list.json").write_text("[1, 2, {}]")
    with pytest.raises(InputError, match="which picture they belong to") as caught:
        grouped(tmp_path, ["x"], tuple(LS_NAMES.values()))
    assert "as JSON or JSON-MIN" in caught.value.fix


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([("tag", ["bus"])], "has no region 'tag-car'.* Did you mean 'tag-bus'"),
        ([("tag", [])], "has no region 'tag-car'"),
        ([("tag", ["van"]), ("tag-car", []), ("t", ["ag", "car"])], "has no region 'tag-car'"),
        ([("tag", ["car/a"]), ("tag", ["car-a"])], "two labels that files both call 'tag-car-a'"),
    ],
)
def test_exports_that_do_not_fit(tmp_path, regions, expected):
    with pytest.raises(InputError, match=expected):
        grouped(exported(tmp_path, {"image": "x.jpg"}, regions=regions), ["x"], ["car"])


@pytest.mark.parametrize(
    ("region", "labels", "expected"),
    [
        ("tag-car-bus-0", ["car", "bus"], "the labels car and bus"),
        ("tag-no_label-0", [], "a region with no label"),
        ("tag-lorry-0", ["lorry"], "'lorry' is not in the class list"),
    ],
)
def test_regions_without_one_class_of_the_list(tmp_path, region, labels, expected):
    name = f"task-1-annotation-2-by-3-{region}.png"
    with pytest.raises(InputError, match=expected) as caught:
        grouped(exported(tmp_path, {"image": "x.jpg"}, [name], [("tag", labels)]), ["x"], ["car"])
    assert caught.value.where == tmp_path / name


def test_two_annotations_of_one_picture(tmp_path):
    files = [f"task-1-annotation-{n}-by-3-tag-car-0.png" for n in (2, 3)]
    both = [{"id": n, "result": [{"from_name": "tag", "value": {"brushlabels": ["car"]}}]} for n in (2, 3)]
    exported(tmp_path, {"image": "x.jpg"}, files, annotations=both)
    with pytest.raises(
        InputError, match="annotated twice: annotation 2 of task 1 and annotation 3 of task 1"
    ):
        grouped(tmp_path, ["x"], ["car"])


def test_tasks_of_other_pictures_are_faults(tmp_path):
    faults = []
    assert grouped(exported(tmp_path, {"image": "y.jpg"}), ["x"], ["car"], faults) == {}
    assert [fault.kind for fault in faults] == ["missing-image"]


def test_a_minimal_export_that_does_not_number_annotations(tmp_path):
    write_label_studio(tmp_path, {"x.jpg": LABELS}, NAMES, minimal=True)
    path = next(tmp_path.glob("*.json"))
    path.write_text(path.read_text().replace("annotation_id", "some_id"))
    assert (read(grouped(tmp_path, ["x"]), "x") == LABELS).all()


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"id": 1, "data": {"image": "x.jpg"}', "[\xff]"])
def test_exports_that_are_no_json(tmp_path, text):
    exported(tmp_path, {"image": "x.jpg"}).joinpath("export.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="JSON") as caught:
        grouped(tmp_path, ["x"], ["car"])
    assert caught.value.where == tmp_path / "export.json"


def test_exports_of_two_projects(tmp_path):
    exported(tmp_path, {"image": "x.jpg"}).joinpath("export.json").rename(tmp_path / "first.json")
    exported(tmp_path, {"image": "z.jpg"})
    with pytest.raises(InputError, match="two projects"):
        grouped(tmp_path, ["x"], ["car"])


def test_damaged_exports_are_read_or_named(tmp_path):
    """Nothing but an InputError comes of 300 damaged JSON and JSON-MIN exports."""
    write_label_studio(tmp_path / "full", {"x.jpg": LABELS, "y.jpg": LABELS}, LS_NAMES)
    write_label_studio(tmp_path / "min", {"x.jpg": LABELS, "y.jpg": LABELS}, LS_NAMES, minimal=True)
    rng = random.Random(4)
    refused = 0
    for i in range(300):
        folder = tmp_path / ("full", "min")[i % 2]
        path = next(folder.glob("*.json"))
        good = path.read_bytes()
        path.write_bytes(damaged(json.loads(good), rng))
        try:
            groups = grouped(folder, ["x", "y"], tuple(LS_NAMES.values()), [])
            assert set(groups) <= {"x", "y"}
        except InputError as problem:
            refused += str(folder) in str(problem)
        path.write_bytes(good)
    assert 50 < refused < 300


def test_damaged_pictures_are_read_or_named(tmp_path):
    classes = SourceClasses(names=("a", "b"), numbers=(0, 1), colors=(None, None), uncovered=0)
    good = [
        region(tmp_path / f"{mode}.png", np.where(LABELS, 255, 0).astype(np.uint8), mode).read_bytes()
        for mode in ("L", "1", "RGBA", "P", "LA")
    ]
    rng = random.Random(5)
    refused = 0
    for i in range(300):
        path = tmp_path / f"damaged {i}.png"
        path.write_bytes(damaged_bytes(good[i % 5], rng))
        try:
            PerClassMask(((1, path),), classes).read((1, 1))
        except InputError as problem:
            refused += problem.where == path
    assert refused > 100
