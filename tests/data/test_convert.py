"""convert: what is written, what is refused, and what is left when it is killed or the disk is full."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from all_forms import ALL_FORMS, jpeg, small_truth, write_said
from PIL import Image

from sceneparse.cli import main
from sceneparse.data import convert as module
from sceneparse.data.convert import convert
from sceneparse.data.dataset import open_dataset
from sceneparse.data.faults import FaultsError
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet, distinct_colors


@pytest.fixture
def data(tmp_path) -> Path:
    """A sound data set in the plain layout, with void ignored."""
    ALL_FORMS["index 8 bit"](tmp_path / "my data", small_truth())
    return tmp_path / "my data"


def opened(folder):
    return open_dataset(folder, keep_faults=True)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def put_pair(root: Path, split: str, stem: str, pixels: np.ndarray, mask: np.ndarray, **options) -> None:
    for folder in ("images", "masks"):
        (root / folder / split / stem).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(root / f"images/{split}/{stem}.png", **options)
    Image.fromarray(mask).save(root / f"masks/{split}/{stem}.png")


GREY = np.full((4, 6, 3), 90, np.uint8)


# ---------------------------------------------------------------------- what is written


def test_command_line(data, tmp_path, capsys):
    out = tmp_path / "new folder" / "plain"
    assert main(["convert", str(data), str(out)]) == 0
    printed = capsys.readouterr().out
    assert "4 train, 2 val; 5 classes; 255 = ignored; 0 sky" in printed
    assert printed.rstrip().endswith(f"sceneparse train '{out}' --out runs/plain")
    said = (out / "dataset.yaml").read_text(encoding="utf-8")
    assert f"# with: sceneparse convert '{data}' '{out}'\n" in said
    assert yaml.safe_load(said)["classes"][1] == {"number": 1, "name": "grüner Baum", "color": [0, 128, 0]}
    assert sorted(p.name for p in out.parent.iterdir()) == ["plain"]
    again = opened(out)
    assert (again.layout, again.form, again.faults) == ("yaml", "index", ())
    assert again.labels.file_numbers == tuple(range(5))


def test_converting_what_was_converted_changes_nothing(data, tmp_path):
    convert(opened(data), tmp_path / "a")
    convert(opened(tmp_path / "a"), tmp_path / "b", workers=1)
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert first.pop("dataset.yaml") != second.pop("dataset.yaml")  # they say where they are from
    assert first == second


def test_merges_ignored_names_weights_and_strange_names(tmp_path):
    mask = np.arange(24, dtype=np.uint8).reshape(4, 6) % 6
    names = ["yes", "1: a, {b} # c", "née\tx", "void", 'it\'s "so"', "null"]
    for split in ("train", "val", "test"):
        put_pair(tmp_path / "in", split, "a", GREY + {"train": 0, "val": 1, "test": 2}[split], mask)
    weights = {"both": 2.5, names[1]: 0}
    merge = {"both": [names[0], names[5]]}
    write_said(tmp_path / "in", classes=names, ignore=["void"], merge=merge, class_weights=weights)
    dataset = opened(tmp_path / "in")
    result = convert(dataset, tmp_path / "out")
    assert result.counts == {"train": 1, "val": 1, "test": 1}
    again = opened(tmp_path / "out")
    assert again.labels.names == ("both", names[1], names[2], names[4]) == dataset.labels.names
    assert again.labels.palette == dataset.labels.palette
    assert again.class_weights == dataset.class_weights == (2.5, 0.0, 1.0, 1.0)
    assert again.labels == result.labels
    expected = np.array([0, 1, 2, 255, 3, 0], np.uint8)[mask]
    for split in result.counts:
        image = Image.open(tmp_path / f"out/masks/{split}/a.png")
        assert image.mode == "P"
        assert np.array_equal(np.array(image), expected)
    colors = np.array(image.getpalette()).reshape(-1, 3)
    assert colors[0].tolist() == list(distinct_colors(1)[0])
    assert colors[255].tolist() == [224, 224, 192]


@pytest.mark.parametrize("count", [255, 256, 1001])
def test_many_classes(tmp_path, count):
    mask = np.arange(1, count + 2, dtype=np.uint16).reshape(1, -1) * 7
    pixels = np.full((1, count + 1, 3), 9, np.uint8)
    put_pair(tmp_path / "in", "train", "a", pixels, mask)
    classes = {7 * (i + 1): f"class, {i}" for i in range(count)}
    write_said(tmp_path / "in", classes=classes, ignore=[7 * (count + 1)])
    convert(opened(tmp_path / "in"), tmp_path / "out")
    image = Image.open(tmp_path / "out/masks/train/a.png")
    ignored = 255 if count == 255 else 65535
    assert image.mode == ("P" if count == 255 else "I;16")
    assert np.array(image).tolist() == [[*range(count), ignored]]
    again = opened(tmp_path / "out")
    assert (again.labels.names, again.labels.ignored) == (tuple(classes.values()), (ignored,))
    assert again.labels.palette == distinct_colors(count)
    (pair,) = again.splits["train"]
    assert again.labels.to_index(pair.mask.read((1, 1))).tolist() == [[*range(count), ignored]]


def test_a_turned_photo_stays_as_it_is_and_its_mask_is_upright(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (5, 8, 3), np.uint8)
    upright_mask = np.arange(40, dtype=np.uint8).reshape(8, 5) % 2
    (tmp_path / "in/images/train").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "in/images/train/a.JPG", "JPEG", exif=exif)
    (tmp_path / "in/masks/train").mkdir(parents=True)
    Image.fromarray(upright_mask).save(tmp_path / "in/masks/train/a.png")
    (tmp_path / "in/classes.txt").write_text("sky\nroad")
    result = convert(opened(tmp_path / "in"), tmp_path / "out")
    image = Path("images/train/a.JPG")
    assert (tmp_path / "out" / image).read_bytes() == (tmp_path / "in" / image).read_bytes()
    assert np.array_equal(np.array(Image.open(tmp_path / "out/masks/train/a.png")), upright_mask)
    assert [fault.kind for fault in result.warnings] == ["turned"]


def test_nested_names_and_undivided_data(tmp_path, capsys):
    mask = np.ones((4, 6), np.uint8)
    for folder, file in (("images", Image.fromarray(GREY)), ("masks", Image.fromarray(mask))):
        for stem in ("ulm/1", "ulm/v1.2", "berlin/ä 1"):
            path = tmp_path / "in" / folder / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            file.save(path)
    (tmp_path / "in/classes.txt").write_text("sky\nroad")
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    assert "no validation split" in capsys.readouterr().out
    stems = ["berlin/ä 1", "ulm/1", "ulm/v1.2"]
    assert [pair.stem for pair in opened(tmp_path / "out").splits["train"]] == stems
    assert sorted(tree(tmp_path / "out")) == sorted(
        ["dataset.yaml", *(f"{folder}/train/{stem}.png" for folder in ("images", "masks") for stem in stems)]
    )


def test_several_roots_keep_their_folders(tmp_path):
    for root in ("a", "b"):
        put_pair(tmp_path / root, "train", "x", GREY, np.ones((4, 6), np.uint8))
    folders = {key: [f"a/{key}/train", f"b/{key}/train"] for key in ("images", "masks")}
    write_said(tmp_path, train=folders, classes=["sky", "road"])
    convert(opened(tmp_path), tmp_path / "out")
    pairs = opened(tmp_path / "out").splits["train"]
    assert [pair.stem for pair in pairs] == ["a/images/train/x", "b/images/train/x"]


# ---------------------------------------------------------------------- faults


def spoil(data: Path) -> None:
    (data / "images/train/b.jpg").write_bytes(b"")
    (data / "masks/train/c.v1.png").unlink()
    Image.fromarray(np.full((31, 47), 77, np.uint8)).save(data / "masks/val/b_3.png")


def test_faults_are_all_named_and_nothing_is_written(data, tmp_path, capsys):
    spoil(data)
    before = sorted(tmp_path.rglob("*"))
    assert main(["convert", str(data), str(tmp_path / "new/out")]) == 2
    error = capsys.readouterr().err
    for name in ("b.jpg", "c.v1.jpg", "b_3.png", "77"):
        assert name in error
    assert "3 faults" in error
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_copied_in_vain(data, tmp_path, monkeypatch):
    (data / "masks/val/d.png").unlink()
    monkeypatch.setattr(module.shutil, "copyfile", lambda *_: pytest.fail("there is a fault already"))
    with pytest.raises(FaultsError, match="1 fault"):
        convert(opened(data), tmp_path / "out")


def test_a_command_cannot_write_more_than_a_comment(data, tmp_path):
    convert(opened(data), tmp_path / "out", command="a\nclasses: [x]\x85b\u2028c\ud800")
    assert "# with: a?classes: [x]?b?c?\n" in (tmp_path / "out/dataset.yaml").read_text(encoding="utf-8")
    assert opened(tmp_path / "out").labels.num_classes == 5


def test_bad_files_are_left_out_and_counted(data, tmp_path, capsys):
    spoil(data)
    assert main(["convert", str(data), str(tmp_path / "out"), "--skip-bad"]) == 0
    printed = capsys.readouterr().out
    assert "2 train, 1 val" in printed
    assert "left out because of --skip-bad:" in printed
    assert "1 x image without a mask" in printed
    again = opened(tmp_path / "out")
    assert {split: [p.stem for p in pairs] for split, pairs in again.splits.items()} == {
        "train": ["b 2", "größe 1"],
        "val": ["d"],
    }
    assert again.faults == ()
    assert len(tree(tmp_path / "out")) == 7


def test_a_picture_of_both_splits_is_left_out_of_train(data, tmp_path):
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        name = f"{folder}/train/twin.{suffix}"
        (data / name).write_bytes((data / f"{folder}/val/d.{suffix}").read_bytes())
    with pytest.raises(FaultsError, match="same picture in two splits"):
        convert(opened(data), tmp_path / "out")
    result = convert(opened(data), tmp_path / "out", skip_bad=True)
    assert result.counts == {"train": 4, "val": 2}
    assert [fault.kind for fault in result.left_out] == ["duplicate"]
    names = tree(tmp_path / "out")
    assert "images/val/d.jpg" in names
    assert not [name for name in names if "twin" in name]


def test_a_split_without_a_sound_pair(data, tmp_path):
    for path in (data / "images/val").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(FaultsError, match="2 faults"):
        convert(opened(data), tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


def test_names_that_a_folder_would_hide(tmp_path):
    for name in (".a.png", "b.picture"):
        (tmp_path / name).write_bytes(jpeg(GREY))
        Image.fromarray(np.ones((4, 6), np.uint8)).save(tmp_path / "mask.png")
        (tmp_path / "train.txt").write_text(f"{name}\tmask.png\n")
        write_said(tmp_path, train={"list": "train.txt"}, classes=["sky", "road"])
        with pytest.raises(InputError, match="would not be found"):
            convert(opened(tmp_path), tmp_path / "out")


def test_names_that_a_disk_cannot_tell_apart(data, tmp_path, monkeypatch):
    """As on Windows and macOS: here two pictures are sent to one place."""
    places = module._places
    monkeypatch.setattr(
        module, "_places", lambda pair, split, place: (places(pair, split, place)[0], place / "m")
    )
    with pytest.raises(InputError, match="cannot tell from"):
        convert(opened(data), tmp_path / "out", workers=1)


# ---------------------------------------------------------------------- the folder


def test_places_that_are_taken(data, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    (tmp_path / "empty").mkdir()
    before = tree(tmp_path)
    for place in (data, tmp_path / "full", tmp_path / "full/file", tmp_path / "full/file/below", Path("/")):
        with pytest.raises(InputError) as error:
            convert(opened(data), place)
        assert error.value.fix
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_mount", lambda self: self.name == "empty")
        with pytest.raises(InputError, match="cannot be replaced"):
            convert(opened(data), tmp_path / "empty")
    monkeypatch.chdir(tmp_path / "empty")
    with pytest.raises(InputError, match="cannot be replaced"):
        convert(opened(data), ".")
    assert tree(tmp_path) == before
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(InputError):
            convert(opened(data), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert convert(opened(data), "empty").folder == Path("empty")
    assert len(tree(tmp_path / "empty")) == 13


def test_a_link_to_a_folder(data, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    try:
        (tmp_path / "link").symlink_to("elsewhere", target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    convert(opened(data), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere/dataset.yaml").is_file()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses(data, tmp_path, monkeypatch, number):
    written = []

    def refuse(source, target):
        written.append(target)
        if len(written) == 4:
            raise OSError(number, os.strerror(number), str(target))
        Path(target).write_bytes(b"")

    monkeypatch.setattr(module.shutil, "copyfile", refuse)
    with pytest.raises(
        InputError, match="the disk is full" if number == errno.ENOSPC else "Permission denied"
    ):
        convert(opened(data), tmp_path / "deep/out", workers=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my data"]


def test_a_second_process_is_refused(data, tmp_path):
    with module._appearing(tmp_path / "out") as place:
        (place / "half").touch()
        with pytest.raises(InputError, match="another process"):
            convert(opened(data), tmp_path / "out")
        assert (place / "half").is_file()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["half"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_half_way(data, tmp_path):
    """The second picture is never finished: the process waits in it until it is killed."""
    code = """
import os, shutil, sys, time
from sceneparse.data import convert as module
from sceneparse.data.dataset import open_dataset
copy = shutil.copyfile
def slow(source, target):
    if "size" in str(target) or "b" in str(target.name):
        os.write(1, b"waiting\\n")
        time.sleep(60)
    copy(source, target)
module.shutil.copyfile = slow
module.convert(open_dataset(sys.argv[1], keep_faults=True), sys.argv[2], workers=2)
"""
    command = [sys.executable, "-c", code, str(data), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"waiting\n"
        time.sleep(0.1)
        process.kill()
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir() if p != data] == [".out.tmp"]
    assert any(p.suffix == ".png" for p in (tmp_path / ".out.tmp").rglob("*"))
    convert(opened(data), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my data", "out"]
    assert len(tree(tmp_path / "out")) == 13


def test_the_palette_of_a_mask_shows_the_classes():
    labels = LabelSet(names=("a", "b"), file_numbers=(0, 1), palette=((1, 2, 3), (4, 5, 6)), ignored=(255,))
    image = module.mask_image(np.array([[0, 1, 255]], np.uint8), labels)
    assert np.array(image.convert("RGB")).tolist() == [[[1, 2, 3], [4, 5, 6], [224, 224, 192]]]
