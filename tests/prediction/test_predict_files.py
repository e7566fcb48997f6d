"""predict: photos, folders and globs to files."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

import numpy as np
import pytest
import torch
from PIL import Image

from sceneparse.cli import main
from sceneparse.data.decode import read_mask
from sceneparse.errors import InputError
from sceneparse.prediction.files import find_inputs


@pytest.fixture
def photos(scene_data, tmp_path):
    """Four photos, one in a folder below, one hidden, and a text file."""
    folder = tmp_path / "my photos"
    (folder / "below").mkdir(parents=True)
    source = scene_data / "photos" / "b"
    shutil.copy(source / "größe 0.png", folder / "größe.png")
    shutil.copy(source / "größe 1.png", folder / "b.v2.PNG")
    shutil.copy(source / "größe 2.png", folder / "below" / "c.png")
    shutil.copy(source / "größe 3.png", folder / ".hidden.png")
    (folder / "notes.txt").write_text("no photo")
    return folder


def names(found) -> list[str]:
    return [name.as_posix() for name in found]


def test_find_inputs(photos):
    assert names(find_inputs([str(photos)])) == ["b.v2", "below/c", "größe"]
    assert names(find_inputs([str(photos / "*")])) == ["b.v2", "größe"]
    assert names(find_inputs([str(photos / "**" / "*.png")])) == ["below/c", "größe"]
    assert names(find_inputs([str(photos / "below" / "*.png"), str(photos / "größe.png")])) == ["c", "größe"]
    assert names(find_inputs([str(photos), str(photos / "größe.png")])) == ["b.v2", "below/c", "größe"]
    (photos / "below").rename(photos / "labels")
    assert names(find_inputs([str(photos)], out=photos)) == ["b.v2", "größe"]
    assert find_inputs([str(photos / ".hidden.png")]) == {PurePath(".hidden"): photos / ".hidden.png"}


def test_file_name_that_looks_like_a_glob(photos):
    (photos / "größe.png").rename(photos / "a[1].png")
    assert names(find_inputs([str(photos / "a[1].png")])) == ["a[1]"]


def test_nothing_found(photos):
    (photos / "empty").mkdir()
    for text, said in (
        (photos / "empty", "no photos in this folder"),
        (photos / "*.jpg", "no photos match"),
        (photos / "gone.jpg", "no such file or folder"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            find_inputs([str(text)])
        assert str(text) in str(caught.value)


def test_two_photos_of_one_name(photos):
    shutil.copy(photos / "größe.png", photos / "größe.jpg")
    with pytest.raises(InputError, match=r"both be called größe\.png") as caught:
        find_inputs([str(photos)])
    assert "größe.jpg" in str(caught.value)


def shares(out) -> list[dict]:
    with open(out / "shares.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_folder_with_a_bad_photo(photos, scene_run, tmp_path, capsys):
    (photos / "a broken.jpg").write_bytes((photos / "größe.png").read_bytes()[:900])
    out = tmp_path / "out"
    assert main(["predict", str(scene_run), str(photos), "--out", str(out), "--device", "cpu"]) == 2
    said = capsys.readouterr()
    assert "a broken.jpg" in said.err
    assert said.err.count("error:") == 1
    assert "Traceback" not in said.err
    assert "3 of 4 photos" in said.out
    for name, size in (("größe", (64, 48)), ("b.v2", (72, 40)), ("below/c", (47, 65))):
        with Image.open(out / "labels" / f"{name}.png") as picture:
            assert (picture.size, picture.mode) == (size, "P")
        assert (out / "overlays" / f"{name}.png").is_file()
    assert not (out / "labels" / "a broken.png").exists()
    rows = shares(out)
    assert {row["file"] for row in rows} == {"größe", "b.v2", "below/c"}
    labels = read_mask(out / "labels" / "größe.png")
    for row in rows:
        if row["file"] == "größe":
            assert int(row["pixels"]) == (labels == int(row["class_number"])).sum()
            assert float(row["share"]) == pytest.approx(int(row["pixels"]) / labels.size, abs=1e-6)
    # The photo is repaired and done alone: what was there stays, its own lines are not doubled.
    shutil.copy(photos / "größe.png", photos / "a broken.jpg")
    for _ in range(2):
        again = ["predict", str(scene_run), str(photos / "a broken.jpg"), "--out", str(out)]
        assert main([*again, "--device", "cpu"]) == 0
    assert {row["file"] for row in shares(out)} == {"größe", "b.v2", "below/c", "a broken"}
    assert len({(row["file"], row["class_number"]) for row in shares(out)}) == len(shares(out))


def test_threads_write_and_say_the_same(photos, scene_run, tmp_path, capsys):
    """Photos are done several at a time where there are more of them than threads; a bad one among them."""
    for number in range(4):
        shutil.copy(photos / "größe.png", photos / f"another {number}.png")
    (photos / "broken.png").write_bytes(b"no picture")
    said, tables = [], []
    before = torch.get_num_threads()
    for threads in (1, 3):
        out = tmp_path / "out"
        torch.set_num_threads(threads)
        try:
            assert main(["predict", str(scene_run), str(photos), "--out", str(out), "--device", "cpu"]) == 2
        finally:
            torch.set_num_threads(before)
        said.append(capsys.readouterr().out)
        tables.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()})
        shutil.rmtree(out)
    assert "7 of 8 photos" in said[0]
    assert said[0] == said[1]
    assert len(tables[0]) == 2 * 7 + 1
    assert tables[0] == tables[1]


def test_results_inside_the_input_folder_are_no_photos(photos, scene_run):
    arguments = ["predict", str(scene_run), str(photos), "--out", str(photos / "out"), "--device", "cpu"]
    assert main(arguments) == 0
    first = sorted((photos / "out").rglob("*.png"))
    assert main(arguments) == 0
    assert sorted((photos / "out").rglob("*.png")) == first


def test_a_table_of_something_else_is_not_overwritten(photos, scene_run, tmp_path, capsys):
    (tmp_path / "shares.csv").write_text("ticker,price\nX,3\n")
    assert main(["predict", str(scene_run), str(photos), "--out", str(tmp_path), "--device", "cpu"]) == 2
    assert "shares.csv" in capsys.readouterr().err
    assert (tmp_path / "shares.csv").read_text() == "ticker,price\nX,3\n"
    assert not (tmp_path / "labels").exists()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    resource = pytest.importorskip("resource", reason="no limit on the size of files on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield  # Python ignores the signal that comes with it
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk(scene_run, tmp_path, capsys):
    """A limit on the size of files stands for a full disk: small photos pass, then a large one does not."""
    rng = np.random.default_rng(0)
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    Image.fromarray(np.full((30, 30, 3), 90, np.uint8)).save(folder / "a.png")
    Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8)).save(folder / "b.png")
    arguments = ["predict", str(scene_run), str(folder), "--out", str(out), "--device", "cpu"]
    with largest_file(100_000):
        assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert "b.png" in said
    assert read_mask(out / "labels" / "a.png").shape == (30, 30)
    assert {row["file"] for row in shares(out)} == {"a"}, "what was done is in the table"
    assert not [p for p in out.rglob("*") if p.name.startswith(".")], "nothing half written is left"
