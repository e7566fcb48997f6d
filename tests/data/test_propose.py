"""--write-yaml: what is proposed is read back, and what nothing says is left open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from all_forms import ALL_FORMS, small_truth
from faulty_data import labels, mask, pair, picture
from PIL import Image

from sceneparse.cli import main
from sceneparse.data.check import Checked, check
from sceneparse.data.dataset import open_dataset
from sceneparse.data.dataset_file import read_dataset_file
from sceneparse.data.propose import Proposal, propose
from sceneparse.data.proposed_text import Line, quoted, yaml_text
from sceneparse.errors import InputError

SKY, LAKE, ROAD = (70, 130, 180), (0, 0, 0), (128, 64, 128)


def masks(*values: int) -> np.ndarray:
    """Sky over road, with rows of further values."""
    numbers = labels()
    for row, value in enumerate(values):
        numbers[row] = value
    return numbers


def plain(root: Path, numbers: np.ndarray, classes: str | None = None) -> Path:
    for split, stem in (("train", "a"), ("train", "b"), ("val", "c")):
        pair(root, split, stem, numbers)
    if classes is not None:
        (root / "classes.txt").write_text(classes)
    return root


def proposed(root: Path) -> tuple[Proposal, dict, Checked]:
    """A proposal, written; its values as YAML reads them; and what check finds with it."""
    proposal = propose(root)
    proposal.write()
    read_dataset_file(proposal.path)
    values = yaml.safe_load(proposal.path.read_text(encoding="utf-8"))
    return proposal, values, check(open_dataset(root, keep_faults=True))


def uncommented(root: Path, marks: Callable[[str], bool]) -> Checked:
    """Answer questions as a person would: the "# " of the chosen lines is taken away."""
    path = root / "dataset.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert any("QUESTION" in line and marks(line) for line in lines)
    answered = [line.replace("# ", "", 1) if "QUESTION" in line and marks(line) else line for line in lines]
    path.write_text("\n".join(answered), encoding="utf-8")
    return check(open_dataset(root, keep_faults=True))


# ---------------------------------------------------------------- every form


@pytest.fixture(scope="module")
def truth():
    return small_truth()


NOT_TRIED = {
    *("per class, names", "per region"),  # file names leave open what of them is the class
    *("index TIFF", "palette of any colours", "grey in four channels"),  # like others, seen from here
    *("COCO run lengths", "COCO compressed run lengths", "Label Studio, JSON-MIN", "YOLO, Roboflow"),
}


@pytest.mark.parametrize("form", [form for form in ALL_FORMS if form not in NOT_TRIED])
def test_sound_data_in_any_form_passes_with_its_proposal(tmp_path, truth, form):
    """The dataset.yaml that the form came with is taken away: the proposal stands in its place."""
    ALL_FORMS[form](tmp_path, truth)
    whole = open_dataset(tmp_path)
    (tmp_path / "dataset.yaml").unlink(missing_ok=True)
    proposal, values, found = proposed(tmp_path)
    assert not found.stops
    assert not [line for line in proposal.text.splitlines() if "QUESTION" in line]
    assert found.dataset.form == values["form"] == whole.form
    assert sum(map(len, found.dataset.splits.values())) == 6
    for pairs in found.dataset.splits.values():
        for own in pairs:
            (same,) = (p for those in whole.splits.values() for p in those if p.image.samefile(own.image))
            with Image.open(own.image) as image:
                size_hw = image.size[::-1]
            one, other = own.mask.read(size_hw), same.mask.read(size_hw)
            # Numbers may be others where names stood for them; equal pixels stay equal.
            assert len(np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T) == len(np.unique(one))


# ---------------------------------------------------------------- numbers


def test_numbers_without_names(tmp_path):
    proposal, values, found = proposed(plain(tmp_path, masks(255, 2)))
    assert values["classes"] == [{"number": n, "name": f"class_{n}"} for n in (0, 1, 2)]
    assert values["ignore"] == [255]
    assert not found.stops
    assert "# 41.7 % of the pixels" in proposal.text, "10 of 24 rows"
    assert any("255 is proposed as ignored" in sentence for sentence in proposal.look_at)
    assert "train" not in values, "the layout is found by itself"


def test_numbers_in_one_and_in_three_channels(tmp_path):
    plain(tmp_path, labels())
    mask(tmp_path / "masks/train/a.png", np.repeat(masks(2)[..., None], 3, axis=2))
    proposal, values, found = proposed(tmp_path)
    assert values["form"] == "index"
    assert [entry["number"] for entry in values["classes"]] == [0, 1, 2]
    assert "# 48.6 % of the pixels" in proposal.text, "35 of 72 rows"
    assert not found.stops


@pytest.mark.parametrize("values", [(0, 127, 255), (200, 255), (0, 1, 2, 100, 255)])
def test_255_far_from_a_row_of_numbers_is_no_special_value(tmp_path, values):
    numbers = np.resize(np.array(values, np.uint8), (24, 32))
    _, said, found = proposed(plain(tmp_path, numbers))
    assert [entry["number"] for entry in said["classes"]] == list(values)
    assert "ignore" not in said
    assert not found.stops


def test_names_of_a_class_file(tmp_path):
    _, values, found = proposed(plain(tmp_path, masks(255), "sky\nno\n"))
    assert values["classes"] == [{"number": 0, "name": "sky"}, {"number": 1, "name": "no"}]
    assert values["ignore"] == [255]
    assert not found.stops


def test_names_that_begin_at_one(tmp_path):
    proposal, values, found = proposed(plain(tmp_path, labels() + 1, "sky\nroad\n"))
    assert values["classes"] == [{"number": 1, "name": "sky"}, {"number": 2, "name": "road"}]
    assert not found.stops
    assert any("begin at 1" in sentence for sentence in proposal.look_at)


def test_values_that_the_class_file_lacks_are_asked_about(tmp_path):
    _, values, found = proposed(plain(tmp_path, masks(2, 9), "sky\nroad\n"))
    assert len(values["classes"]) == 2
    assert {fault.kind for fault in found.stops} == {"values"}
    found = uncommented(tmp_path, lambda line: "class_2" in line or "class_9" in line)
    assert not found.stops
    assert found.dataset.labels.names == ("sky", "road", "class_2", "class_9")


def test_void_is_not_ignored_without_being_told(tmp_path):
    proposal, values, _ = proposed(plain(tmp_path, labels(), "sky\nVoid\n"))
    assert "ignore" not in values
    assert "# ignore: [Void]" in proposal.text


def test_a_layouts_own_classes(tmp_path):
    for split in ("train", "val"):
        picture(tmp_path / split / "a.png")
        mask(tmp_path / f"{split}annot" / "a.png", masks(11, 5))
    proposal, values, found = proposed(tmp_path)
    assert values["label_set"] == "camvid"
    assert not found.stops
    assert any("3 of its 11 classes occur" in sentence for sentence in proposal.look_at)
    (tmp_path / "dataset.yaml").unlink()
    mask(tmp_path / "valannot" / "a.png", masks(40))
    proposal, values, found = proposed(tmp_path)
    assert [entry["number"] for entry in values["classes"]] == [0, 1, 5, 11, 40]
    assert not found.stops
    assert any("do not fit" in sentence for sentence in proposal.look_at)


# ---------------------------------------------------------------- questions


@pytest.mark.parametrize("classes", [None, "background\ntumor\n", "tumor\n"])
@pytest.mark.parametrize("channels", [1, 3])
def test_0_and_255_stay_a_question_until_it_is_answered(tmp_path, classes, channels):
    numbers = labels() * 255
    plain(tmp_path, np.repeat(numbers[..., None], 3, axis=2) if channels == 3 else numbers, classes)
    proposal, _, found = proposed(tmp_path)
    assert {fault.kind for fault in found.stops} == {"binary"}
    assert len(found.stops) == 3
    assert proposal.text.count("QUESTION") >= 2
    found = uncommented(tmp_path, lambda line: "number: 255" in line)
    assert not found.stops
    assert found.dataset.labels.file_numbers == (0, 255)
    assert found.dataset.labels.names == ("background", "object" if classes is None else "tumor")
    (tmp_path / "dataset.yaml").unlink()
    proposed(tmp_path)
    found = uncommented(tmp_path, lambda line: "ignore: [255]" in line)
    assert not found.stops
    assert found.dataset.labels.ignored == (255,)


def yolo(root: Path) -> Path:
    """Two pictures of which half is a road."""
    for split in ("train", "val"):
        picture(root / "images" / split / "a.png")
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "a.txt").write_text("0 0 0.5 1 0.5 1 1 0 1\n")
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [road]\n")
    return root


def test_uncovered_pixels_stay_a_question_until_it_is_answered(tmp_path):
    proposal, values, found = proposed(yolo(tmp_path))
    assert values["classes"] == [{"number": 0, "name": "road"}]
    assert "50.0 % of the pixels are covered by nothing" in proposal.text
    assert {fault.kind for fault in found.stops} == {"uncovered"}
    found = uncommented(tmp_path, lambda line: "background" in line)
    assert not found.stops
    assert found.dataset.labels.names == ("road", "background")
    assert found.tallies["train"].pixels.tolist() == [384, 384, 0]
    (tmp_path / "dataset.yaml").unlink()
    proposed(tmp_path)
    found = uncommented(tmp_path, lambda line: "uncovered: ignore" in line)
    assert not found.stops
    assert found.tallies["train"].pixels.tolist() == [384, 384]


def test_list_files_of_a_data_yaml_stay_there(tmp_path):
    yolo(tmp_path)
    (tmp_path / "train.txt").write_text("images/train/a.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: images/val\nnames: [road]\n")
    _, values, _ = proposed(tmp_path)
    assert set(values) == {"form", "classes"}
    found = uncommented(tmp_path, lambda line: "uncovered: ignore" in line)
    assert not found.stops
    assert len(found.dataset.splits["train"]) == 1


# ---------------------------------------------------------------- colours


def coloured(root: Path) -> Path:
    """Sky over road with a row of lake."""
    return plain(root, np.array([SKY, ROAD, LAKE], np.uint8)[masks(2)])


def test_colours_without_names(tmp_path):
    proposal, values, found = proposed(coloured(tmp_path))
    assert values["form"] == "color"
    assert [entry["color"] for entry in values["classes"]] == [list(ROAD), list(SKY), list(LAKE)]
    assert [entry["name"] for entry in values["classes"]] == ["color_1", "color_2", "color_3"]
    assert "# 50.0 % of the pixels" in proposal.text
    assert "# 4.2 % of the pixels" in proposal.text
    assert not found.stops


def test_colours_that_the_class_file_lacks_are_asked_about(tmp_path):
    coloured(tmp_path)
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nroad,128,64,128\nsky,70,130,180\n")
    _, values, found = proposed(tmp_path)
    assert [entry["name"] for entry in values["classes"]] == ["road", "sky"]
    assert {fault.kind for fault in found.stops} == {"colors"}
    assert not uncommented(tmp_path, lambda line: "color_1" in line).stops


def test_rare_colours_are_soft_edges(tmp_path):
    colors = np.array([SKY, ROAD], np.uint8)[labels()].repeat(8, axis=0).repeat(8, axis=1)
    colors[0, :70] = np.arange(210).reshape(70, 3)
    for i in range(2):
        picture(tmp_path / f"images/train/{i}.png")
        mask(tmp_path / f"masks/train/{i}.png", colors)
    proposal, values, _ = proposed(tmp_path)
    assert len(values["classes"]) == 2
    assert any("70 rare colours" in sentence for sentence in proposal.look_at)


def test_photographs_for_masks_are_refused(tmp_path):
    for i in range(2):
        picture(tmp_path / f"images/train/{i}.png")
        noise = np.random.default_rng(i).integers(0, 256, (90, 90, 3), np.uint8)
        mask(tmp_path / f"masks/train/{i}.png", noise)
    with pytest.raises(InputError, match="more than 4096 colours each"):
        propose(tmp_path)
    for i in range(2):
        mask(tmp_path / f"masks/train/{i}.png", np.arange(8000).reshape(80, 100).astype(np.uint8))
    with pytest.raises(InputError, match="256 different values"):
        propose(tmp_path)


# ---------------------------------------------------------------- folders that are not recognised


@pytest.mark.parametrize(
    ("image", "numbers", "train", "val"),
    [
        (
            "{split}/photos/{stem}.jpg",
            "{split}/gt/{stem}.png",
            "train/photos + train/gt",
            "val/photos + val/gt",
        ),
        (
            "a/{split}_img/{stem}.png",
            "a/{split}_ann/{stem}.png",
            "a/train_img + a/train_ann",
            "a/val_img + a/val_ann",
        ),
        ("x/{split}/{stem}.png", "y/{split}/{stem}.png", "x/train + y/train", "x/val + y/val"),
        ("pics/{stem}.jpg", "segm/{stem}.tif", "pics + segm", None),
        ("p/q/{stem}.jpg", "p/q masks/{stem}.png", "p/q + p/q masks", None),
        ("all/{stem}.jpg", "all/{stem}.png", "list", None),
        ("{stem}.jpg", "{stem}_mask.png", "list", None),
        ("{split}/{stem}.png", "{split}/{stem}_label.png", "list", "list"),
        ("in/image_{stem}.jpg", "out/mask_{stem}.png", "list", None),
        ("{split}/a b/{stem}.png", "{split}/gt/{stem}-gt.png", "list", "list"),
    ],
)
def test_folders_of_many_shapes(tmp_path, image, numbers, train, val):
    stems = {"train": ["001", "002", "003"], "val": ["101", "102"]}
    for split, those in stems.items():
        for stem in those:
            picture(tmp_path / image.format(split=split, stem=stem))
            mask(tmp_path / numbers.format(split=split, stem=stem), labels())
    _, values, found = proposed(tmp_path)
    assert not found.stops
    expected = stems if val else {"train": [*stems["train"], *stems["val"]]}
    assert set(found.dataset.splits) == set(expected)
    for split, those in expected.items():
        pairs = {(p.image, p.mask.path) for p in found.dataset.splits[split]}
        for stem in those:
            own = split if val else ("train" if stem in stems["train"] else "val")
            one, other = (tmp_path / text.format(split=own, stem=stem) for text in (image, numbers))
            assert (one, other) in pairs
        assert len(pairs) == len(those)
        said = train if split == "train" else val
        if said == "list":
            assert list(values[split]) == ["list"]
        else:
            images, masks_ = said.split(" + ")
            assert values[split] == {"images": images, "masks": masks_}


def test_folders_that_hold_files_and_folders_are_one(tmp_path):
    for below in ("", "ulm/"):
        for i in range(2):
            picture(tmp_path / f"photos/{below}{i}.jpg")
            mask(tmp_path / f"labelled/{below}{i}.png", labels())
    _, values, found = proposed(tmp_path)
    assert values["train"] == {"images": "photos", "masks": "labelled"}
    assert len(found.dataset.splits["train"]) == 4


def test_folders_within_folders_are_one(tmp_path):
    for city in ("bonn", "ulm"):
        for i in range(2):
            picture(tmp_path / f"photos/{city}/{city}{i}.jpg")
            mask(tmp_path / f"labelled/{city}/{city}{i}.png", labels())
    _, values, found = proposed(tmp_path)
    assert values["train"] == {"images": "photos", "masks": "labelled"}
    assert not found.stops
    assert len(found.dataset.splits["train"]) == 4


def test_documents_in_folders_of_other_names(tmp_path):
    for i in range(3):
        picture(tmp_path / f"flat/{i}.png")
        shape = {"label": "road", "shape_type": "rectangle", "points": [[0, 0], [32, 24]]}
        values = {"shapes": [shape], "imageHeight": 24, "imageWidth": 32}
        (tmp_path / f"flat/{i}.json").write_text(json.dumps(values))
    _, said, found = proposed(tmp_path)
    assert (said["form"], said["train"]) == ("labelme", {"images": "flat", "masks": "flat"})
    assert not found.stops
    assert found.dataset.labels.names == ("road",)


def test_a_coco_document_in_a_folder_of_another_name(tmp_path):
    for i in range(3):
        picture(tmp_path / f"pictures/{i}.png")
    shape = {"segmentation": [[0, 0, 32, 0, 32, 24, 0, 24]], "category_id": 4}
    document = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 24, "width": 32} for i in range(3)],
        "annotations": [{"id": i, "image_id": i, **shape} for i in range(3)],
        "categories": [{"id": 4, "name": "road"}],
    }
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "result.json").write_text(json.dumps(document))
    (tmp_path / "export" / "other.json").write_text('{"images": 3}')
    _, said, found = proposed(tmp_path)
    assert said["train"] == {"images": "pictures", "masks": "export/result.json"}
    assert said["classes"] == [{"number": 4, "name": "road"}]
    assert not found.stops


def test_nothing_like_a_data_set(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match="no data set recognised"):
        propose(tmp_path)
    with pytest.raises(InputError, match=r"no data set|cannot list"):
        propose(tmp_path / "missing")
    picture(tmp_path / "photos" / "a.jpg")
    with pytest.raises(InputError, match="no data set recognised"):
        propose(tmp_path)


# ---------------------------------------------------------------- files


def test_nothing_is_overwritten(tmp_path, capsys):
    plain(tmp_path, labels())
    (tmp_path / "dataset.yaml").write_text("classes: [a, b]\n")
    assert main(["check", str(tmp_path), "--write-yaml"]) == 2
    assert "there already" in capsys.readouterr().err
    assert (tmp_path / "dataset.yaml").read_text() == "classes: [a, b]\n"
    other = tmp_path / "other.yaml"
    assert main(["check", str(tmp_path), "--write-yaml", str(other)]) == 2
    assert not other.exists()
    (tmp_path / "dataset.yaml").rename(tmp_path / "kept.yaml")
    assert main(["check", str(tmp_path), "--write-yaml", str(tmp_path / "kept.yaml")]) == 2
    assert (tmp_path / "kept.yaml").read_text() == "classes: [a, b]\n"


def test_command_line_says_what_to_look_at(tmp_path, capsys):
    root = plain(tmp_path / "my data", labels())
    assert main(["check", str(root), "--write-yaml"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"wrote {root / 'dataset.yaml'}\n")
    assert "the names, such as class_0" in said
    assert said.endswith(f"  sceneparse check '{root}'\n")
    assert main(["check", str(root)]) == 0
    assert main(["check", str(root), "--write-yaml", "--json", str(tmp_path / "x.json")]) == 2
    assert "--json has no effect with --write-yaml" in capsys.readouterr().err


def test_file_in_another_place(tmp_path, capsys, monkeypatch):
    root = tmp_path / "data"
    for stem in ("1", "2"):
        picture(root / f"{stem}.jpg")
        mask(root / f"{stem}_mask.png", labels())
    file = tmp_path / "said" / "mine.yaml"
    file.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["check", "data", "--write-yaml", "said/mine.yaml"]) == 0
    assert sorted(path.name for path in file.parent.iterdir()) == ["mine.yaml", "mine_train.txt"]
    assert not (root / "dataset.yaml").exists()
    monkeypatch.chdir("/")
    found = check(open_dataset(file, keep_faults=True))
    assert len(found.dataset.splits["train"]) == 2
    assert not found.stops


def test_unreadable_masks_are_left_out_and_said(tmp_path):
    plain(tmp_path, labels())
    (tmp_path / "masks/train/a.png").write_bytes(b"")
    assert any("masks that cannot be read: 1" in sentence for sentence in propose(tmp_path).look_at)
    for path in (tmp_path / "masks").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the masks can be read"):
        propose(tmp_path)


def test_names_of_files_that_are_no_text(tmp_path, capsys):
    """File systems hold any bytes."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    try:
        picture(tmp_path / "images" / "train" / f"{name}.png")
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    mask(tmp_path / "masks" / "train" / f"{name}.png", masks(7))
    assert main(["check", str(tmp_path), "--write-yaml"]) == 0
    out = tmp_path / "found.json"
    assert main(["check", str(tmp_path), "--json", str(out), "--sheet", str(tmp_path / "s.png")]) == 0
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    (tmp_path / "dataset.yaml").unlink()
    assert main(["check", str(tmp_path), "--json", str(out)]) == 2
    assert name in json.loads(out.read_text())["faults"][0]["files"][0]
    picture(tmp_path / "other" / f"{name}.jpg")
    mask(tmp_path / "other" / f"{name}_mask.png", labels())
    with pytest.raises(InputError, match="cannot stand in a list"):
        propose(tmp_path / "other")


# ---------------------------------------------------------------- text


NAMES = (
    *("sky", "traffic light", "no", "1", "1e3", "null", "~", "a: b", "a #b", "grüner Baum", "", " x", "x "),
    *("[a]", "{a}", "'", '"', "\\", "a,b", "*a", "&a", "!a", "%a", "@a", "`a", "\t", "line\nbreak", "東京"),
    *("\U0001f697", "yes", "2001-01-01", "0x1f", "=", "<<", "-", "- a", "? a", "on", ".5", "1:30", "a" * 300),
    *("\x7f", "\x85", "\u2028", "\ufeff", "a  b" * 50, "\udce9"),
)


@pytest.mark.parametrize("text", NAMES)
def test_names_are_read_back(text):
    line = Line(f"classes: [{{name: {quoted(text)}}}, {quoted(text)}]", "comment: [x]")
    assert yaml.safe_load(yaml_text([line])) == {"classes": [{"name": text}, text]}


def test_plain_names_stay_plain():
    assert [quoted(text) for text in ("sky", "traffic light", "tv/monitor", "grüner Baum")] == [
        "sky",
        "traffic light",
        "tv/monitor",
        "grüner Baum",
    ]
