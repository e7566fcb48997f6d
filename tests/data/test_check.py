"""check(): everything that is wrong, in one pass; what is there, counted as numpy counts it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from faulty_data import EXPECTED, SIZE, labels, mask, pair, picture, write_faulty
from PIL import Image

from sceneparse.cli import main
from sceneparse.data.check import Checked, check
from sceneparse.data.dataset import open_dataset
from sceneparse.data.faults import ERRORS, WARNINGS, WHY, Fault
from sceneparse.data.tally import Tally, faults_between
from sceneparse.data.values import MOST_KEPT
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet

CAMVID = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "camvid"


def checked(root: Path, **options: object) -> Checked:
    return check(open_dataset(root, keep_faults=True), **options)  # type: ignore[arg-type]


def of_kind(found: Checked, kind: str) -> list[Fault]:
    return [fault for fault in found.faults if fault.kind == kind]


def small(root: Path, said: str, masks: dict[str, np.ndarray]) -> Path:
    """A data set of the masks named ``SPLIT/STEM``, and what its dataset.yaml says."""
    for name, numbers in masks.items():
        split, stem = name.split("/")
        pair(root, split, stem, numbers)
    (root / "dataset.yaml").write_text(said, encoding="utf-8")
    return root


def tree(root: Path) -> dict[str, tuple[str, int]]:
    """Every file below a folder: its contents and the time it was written."""
    return {
        str(path.relative_to(root)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


# ---------------------------------------------------------------- one of each fault


def test_every_fault_is_found_in_one_pass(tmp_path):
    found = checked(write_faulty(tmp_path))
    named = {
        kind: sorted(str(f.files[0].relative_to(tmp_path)) for f in of_kind(found, kind) if f.files)
        for kind in EXPECTED
    }
    either = named.pop("same-stem")
    wanted = {kind: sorted(files) for kind, files in EXPECTED.items() if kind != "same-stem"}
    assert named == wanted
    assert len(either) == 1
    assert either[0] in EXPECTED["same-stem"]
    assert {fault.kind for fault in found.faults} == set(EXPECTED)
    assert [fault.what.split()[0] for fault in of_kind(found, "never-trained")] == ["car"]
    assert [fault.what.split()[0] for fault in of_kind(found, "no-pixels")] == ["boat"]
    for fault in found.faults:
        assert fault.fix
        assert fault.stops == (fault.kind in ERRORS)
    turned = next(fault for fault in of_kind(found, "size") if "stored" in fault.files[0].name)
    assert "stored" in turned.fix
    assert "EXIF" in turned.what
    eleven = next(fault for fault in of_kind(found, "values") if fault.files[0].stem == "eleven")
    assert eleven.values == ((11, 10),)
    stops = [fault.stops for fault in found.faults]
    assert stops == sorted(stops, reverse=True), "what stops comes first"


def test_command_line_lists_them_all_and_writes_nothing(tmp_path, capsys):
    root = write_faulty(tmp_path / "data")
    before = tree(tmp_path)
    assert main(["check", str(root)]) == 2
    said = capsys.readouterr().out
    assert tree(tmp_path) == before
    for kind, files in EXPECTED.items():
        assert (ERRORS.get(kind) or WARNINGS[kind]) in said
        for name in files if kind != "same-stem" else ():
            assert str(root / name) in said
    assert "--skip-bad" in said


def test_json_has_every_fault_though_faults_stop(tmp_path):
    root = write_faulty(tmp_path / "data")
    assert main(["check", str(root), "--json", str(tmp_path / "new" / "found.json")]) == 2
    values = json.loads((tmp_path / "new" / "found.json").read_text(encoding="utf-8"))
    again = checked(root)
    assert [Fault.from_dict(entry) for entry in values["faults"]] == list(again.faults)
    assert values["sound"] is False
    assert values["dataset"] == {"name": "data", "root": str(root), "layout": "plain", "form": "index"}
    assert sum(entry["faults"] for entry in values["counts"]) == len(again.faults)
    assert values["splits"]["train"]["pairs"] == len(again.dataset.splits["train"])
    assert values["ignored"] == [200]
    assert set(values["meaning"]) == {"0", "255"}
    assert values["version"]
    assert values["seconds"] >= 0


def test_every_kind_has_a_reason():
    assert set(WHY) == {*ERRORS, *WARNINGS}


def test_skip_bad_leaves_sound_pairs(tmp_path):
    found = checked(write_faulty(tmp_path))
    kept = {split: [stem for stem, _ in tally.images] for split, tally in found.tallies.items()}
    assert kept == {
        "train": ["ignored", "same here", "sound 0", "sound 1", "sound 2", "turned"],
        "val": ["car", "same there", "sound 0", "sound 1", "sound 2", "twice"],
    }


# ---------------------------------------------------------------- counts


def test_counts_are_those_of_numpy(tmp_path):
    rng = np.random.default_rng(1)
    masks = {
        f"{split}/{i}": rng.choice([0, 3, 7, 9], SIZE, p=[0.5, 0.3, 0.1, 0.1]).astype(np.uint8)
        for split in ("train", "val", "test")
        for i in range(4)
    }
    masks["val/0"][:] = 3
    found = checked(small(tmp_path, "classes: {7: b, 0: a, 3: c}\nignore: [9]\n", masks))
    assert not found.faults
    for split in ("train", "val", "test"):
        own = [numbers for name, numbers in masks.items() if name.startswith(split)]
        pixels = [sum(int((m == n).sum()) for m in own) for n in (7, 0, 3, 9)]
        assert found.tallies[split].pixels.tolist() == pixels
        assert found.tallies[split].containing.tolist() == [
            sum(bool((m == n).any()) for m in own) for n in (7, 0, 3)
        ]
        assert found.numbers[split][[7, 0, 3, 9]].tolist() == pixels
        assert found.sizes[split] == {SIZE: 4}
    values = found.to_dict()["classes"][0]
    assert (values["number"], values["name"]) == (7, "b")
    assert values["splits"]["val"]["share"] == found.tallies["val"].pixels[0] / (4 * SIZE[0] * SIZE[1])


def test_camvid_is_counted_as_numpy_counts_it():
    if not CAMVID.is_dir():
        pytest.skip(f"no camvid in {CAMVID.parent}")
    found = checked(CAMVID)
    assert found.faults == ()
    for split, count in (("train", 367), ("val", 101)):
        pixels, containing = np.zeros(12, np.int64), np.zeros(12, np.int64)
        for path in sorted((CAMVID / f"{split}annot").iterdir()):
            with Image.open(path) as image:
                own = np.bincount(np.asarray(image).ravel(), minlength=12)
            pixels += own
            containing += own > 0
        assert found.tallies[split].pixels.tolist() == pixels.tolist()
        assert found.tallies[split].containing.tolist() == containing[:11].tolist()
        assert len(found.tallies[split].images) == count
        assert found.sizes[split] == {(360, 480): count}


def test_one_split_alone(tmp_path):
    root = write_faulty(tmp_path)
    found = checked(root, splits=["val"])
    assert list(found.tallies) == ["val"]
    assert {fault.split for fault in found.faults} <= {"val", None}
    assert {"unreadable", "same-stem"} == {fault.kind for fault in found.stops}
    with pytest.raises(InputError, match=r"no split 'vall'.*Did you mean 'val'"):
        checked(root, splits=["vall"])


# ---------------------------------------------------------------- what values tell


def fix_of(root: Path, said: str, *masks: np.ndarray) -> tuple[str, str]:
    """Kind and fix of the one fault that all faulty masks have."""
    found = checked(small(root, said, {f"train/{i}": numbers for i, numbers in enumerate(masks)}))
    told = {(fault.kind, fault.fix) for fault in found.stops}
    assert len(told) == 1, told
    return told.pop()


def numbers(*values: int) -> np.ndarray:
    """A mask with a row of each value."""
    return np.resize(np.repeat(np.array(values, np.int64), SIZE[1]), SIZE).astype(
        np.uint8 if max(values) < 256 else np.uint16
    )


def test_numbering_from_one_is_told(tmp_path):
    kind, fix = fix_of(tmp_path, "classes: [sky, road, car]\n", numbers(1, 2), numbers(2, 3), numbers(1, 3))
    assert kind == "values"
    assert "`classes: {1: sky, 2: road, 3: car}`" in fix


def test_a_zero_more_is_told(tmp_path):
    kind, fix = fix_of(tmp_path, "classes: [sky, road, car]\n", numbers(0, 1, 3), numbers(2, 3))
    assert kind == "values"
    assert "`classes: {1: sky, 2: road, 3: car}` and `ignore: [0]`" in fix


def test_255_among_classes_is_a_border(tmp_path):
    said = "classes: [sky, road]\n"
    kind, fix = fix_of(tmp_path, said, numbers(0, 1, 255), numbers(0, 255), numbers(255))
    assert (kind, "`ignore: [255]`" in fix) == ("values", True)


def test_0_and_255_are_asked_about(tmp_path):
    kind, fix = fix_of(tmp_path / "two", "classes: [background, tumor]\n", numbers(0, 255), numbers(255))
    assert kind == "binary"
    assert "`classes: {0: background, 255: tumor}`" in fix
    assert "`ignore: [255]`" in fix
    kind, fix = fix_of(tmp_path / "one", "classes: [tumor]\n", numbers(0, 255))
    assert "`classes: {0: background, 255: tumor}`" in fix
    _, fix = fix_of(tmp_path / "no", "classes: ['no', 'yes']\n", numbers(0, 255))
    assert '`classes: {0: "no", 255: "yes"}`' in fix, "as YAML reads it"
    found = checked(
        small(tmp_path / "said", "classes: {0: rest, 255: tumor}\n", {"train/a": numbers(0, 255)})
    )
    assert not found.stops
    found = checked(small(tmp_path / "not", "classes: [rest]\nignore: [255]\n", {"train/a": numbers(0, 255)}))
    assert not found.stops


def test_soft_edges_are_told(tmp_path):
    soft = np.linspace(0, 255, SIZE[0] * SIZE[1]).astype(np.uint8).reshape(SIZE)
    kind, fix = fix_of(tmp_path / "all", "classes: [sky, road]\n", soft)
    assert (kind, "antialiased" in fix) == ("values", True)
    _, fix = fix_of(
        tmp_path / "some", "classes: [sky, road]\n", numbers(*range(0, 250, 11)), numbers(0, 1, 77)
    )
    assert "antialiased" in fix
    _, fix = fix_of(tmp_path / "more classes", "classes: [sky, road]\n", numbers(*range(20)))
    assert "antialiased" not in fix


def test_stretched_values_are_told(tmp_path):
    _, fix = fix_of(tmp_path, "classes: [a, b, c, d]\n", numbers(0, 85, 255), numbers(0, 170))
    assert "`classes: {0: a, 85: b, 170: c, ...}`" in fix


def test_thousands_of_values_are_not_kept(tmp_path):
    noise = np.arange(256 * 256, dtype=np.uint16).reshape(256, 256)
    root = small(tmp_path, "classes: [sky, road]\n", {"train/a": labels()})
    picture(root / "images/train/b.png")
    Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(root / "images/train/b.png")
    mask(root / "masks/train/b.png", noise)
    (fault,) = checked(root).stops
    assert len(fault.values) == MOST_KEPT
    assert "objects" in fault.fix
    assert len(fault.what) < 1000


def test_a_mask_of_other_size_with_strange_values_has_two_faults(tmp_path):
    root = small(tmp_path, "classes: [sky, road]\n", {"train/a": labels()})
    mask(root / "masks/train/a.png", np.full((5, 6), 9, np.uint8))
    assert sorted(fault.kind for fault in checked(root).stops) == ["size", "values"]


def test_unreadable_image_does_not_hide_its_mask(tmp_path):
    root = small(tmp_path, "classes: [sky, road]\n", {"train/a": numbers(0, 9)})
    (root / "images/train/a.png").write_bytes(b"")
    assert sorted(fault.kind for fault in checked(root).stops) == ["empty-file", "values"]


# ---------------------------------------------------------------- meanings


@pytest.mark.parametrize(
    ("said", "zero", "white"),
    [
        (
            "classes: [sky, road]\n",
            "sky, a class that counts (50.0 % of the pixels)",
            "not in the class list",
        ),
        ("classes: [sky, road]\nignore: [255]\n", "sky, a class", "ignored: without effect"),
        ("classes: [sky, road, x]\nignore: [sky]\n", "sky, ignored: without effect", "no mask holds it"),
        ("classes: [sky, road]\nmerge: {all: [road, sky]}\n", "sky, which counts as all", "no mask holds"),
    ],
)
def test_what_0_and_255_mean(tmp_path, said, zero, white):
    meanings = checked(small(tmp_path, said, {"train/a": labels()})).meanings
    assert zero in meanings["0"]
    assert white in meanings["255"]


def test_what_black_and_white_mean(tmp_path):
    colors = np.array([[0, 0, 0], [128, 64, 128]], np.uint8)[labels()]
    said = "classes: [{name: void, color: [0, 0, 0]}, {name: road, color: [128, 64, 128]}]\nignore: [void]\n"
    meanings = checked(small(tmp_path, said, {"train/a": colors})).meanings
    assert meanings["black (0, 0, 0)"].startswith("void, ignored")
    assert meanings["white (255, 255, 255)"] == "the colour of no class"


# ---------------------------------------------------------------- between splits


def test_a_thousand_copies_of_one_picture_are_a_thousand_faults(tmp_path):
    """And not the product of both splits' numbers."""
    root = tmp_path
    pair(root, "train", "0", labels(), seed=1)
    pair(root, "val", "0", labels(), seed=1)
    for split, count in (("train", 300), ("val", 200)):
        for kind in ("images", "masks"):
            for i in range(1, count):
                os.link(root / f"{kind}/{split}/0.png", root / f"{kind}/{split}/{i}.png")
    (root / "classes.txt").write_text("sky\nroad\n")
    found = of_kind(checked(root), "duplicate")
    assert len(found) == 300
    assert {fault.split for fault in found} == {"train"}


def test_same_size_and_other_contents_are_no_duplicates(tmp_path):
    root = small(tmp_path, "classes: [sky, road]\n", {"train/a": labels(), "val/a": labels()})
    sizes = {(root / f"images/{split}/a.png").stat().st_size for split in ("train", "val")}
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(root / "images/train/a.png")
    Image.fromarray(np.ones((*SIZE, 3), np.uint8)).save(root / "images/val/a.png")
    assert sizes
    assert not checked(root).faults


def test_classes_are_not_judged_where_nothing_is_sound(tmp_path):
    masks = {"train/a": numbers(0, 255), "val/a": numbers(0, 255)}
    found = checked(small(tmp_path, "classes: [background, tumor]\n", masks))
    assert {fault.kind for fault in found.faults} == {"binary"}


def test_equal_digests_of_other_files_are_no_duplicates(tmp_path):
    tallies = {}
    for split in ("train", "val"):
        path = tmp_path / f"{split}.png"
        path.write_text(split)
        tallies[split] = Tally.empty(1)
        tallies[split].images, tallies[split].digests = [("a", path)], [(5, 1234)]
        tallies[split].pixels[0] = 1
    one = LabelSet(names=("a",), file_numbers=(0,), palette=((0, 0, 0),))
    assert faults_between(tallies, one) == []
    (tmp_path / "val.png").write_text("train")
    assert [fault.kind for fault in faults_between(tallies, one)] == ["duplicate"]
    (tmp_path / "val.png").unlink()
    assert faults_between(tallies, one) == []


# ---------------------------------------------------------------- forms without a size of their own


def yolo(root: Path, names: str) -> Path:
    for stem in ("a", "b"):
        picture(root / "images" / "train" / f"{stem}.png")
        path = root / "labels" / "train" / f"{stem}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0 0.75 1 0.75 1 1 0 1\n")
    (root / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    (root / "images" / "train" / "a.png").write_bytes(b"")
    return root


def test_a_mask_without_a_size_is_not_judged_without_its_image(tmp_path):
    found = checked(yolo(tmp_path, "[road]"))
    assert [(fault.kind, fault.stem) for fault in found.stops] == [("empty-file", "a"), ("uncovered", "b")]


def test_a_mask_without_a_size_is_not_counted_without_its_image(tmp_path):
    found = checked(yolo(tmp_path, "[road, background]"))
    assert [(fault.kind, fault.stem) for fault in found.stops] == [("empty-file", "a")]
    assert found.numbers["train"].sum() == SIZE[0] * SIZE[1]


def test_the_file_among_several_is_named(tmp_path):
    picture(tmp_path / "images" / "train" / "a.png")
    for name in ("car", "road", "sky"):
        mask(
            tmp_path / "masks" / "train" / "a" / f"{name}.png", np.full(SIZE, 255 * (name == "sky"), np.uint8)
        )
    (tmp_path / "masks" / "train" / "a" / "road.png").write_bytes(b"")
    (fault,) = checked(tmp_path).stops
    assert fault.files == (tmp_path / "masks" / "train" / "a" / "road.png",)
