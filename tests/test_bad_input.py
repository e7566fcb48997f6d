"""Bad input: one error that says what, where and what to do, exit 2, no traceback, nothing saved lost."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import train_arguments, write_data

from sceneparse.cli import main
from sceneparse.labels import LABEL_SETS
from sceneparse.models import HEADS
from sceneparse.recipes import RECIPES


@pytest.fixture
def data(tmp_path) -> Path:
    """A data set that may be spoilt."""
    return write_data(tmp_path / "my data")


def error_of(capsys, arguments: list[str], *said: str | Path) -> str:
    """The one error of a command line that must fail as a user's mistake."""
    capsys.readouterr()
    assert main(arguments) == 2
    printed = capsys.readouterr()
    error = printed.err[printed.err.index("error: ") :]
    assert printed.err.count("error: ") == 1
    assert "Traceback" not in printed.err
    for text in said:
        assert str(text) in error, error
    assert "fix:" in error, error
    return error


def train_error(capsys, data, tmp_path, *said: str | Path, more: tuple[str, ...] = ()) -> None:
    """Training fails before anything is in the run folder."""
    run = tmp_path / "run"
    error_of(capsys, train_arguments(data, run, *more), *said)
    assert not run.exists() or not any(p.is_file() for p in run.rglob("*"))


def evaluate_error(capsys, run, data, *said: str | Path, more: tuple[str, ...] = ()) -> None:
    error_of(capsys, ["evaluate", str(run), str(data), "--device", "cpu", *more], *said)


def predict_error(capsys, run, inputs, out, *said: str | Path, more: tuple[str, ...] = ()) -> None:
    line = ["predict", str(run), str(inputs), "--out", str(out), "--device", "cpu", *more]
    error_of(capsys, line, *said)


# ---------------------------------------------------------------------- data


def test_missing_partners(data, scene_run, tmp_path, capsys):
    image, mask = data / "photos" / "a" / "train 3.png", data / "labels" / "b" / "größe 2.png"
    image.unlink()
    mask.unlink()
    said = ("train 3.png", "größe 2.png", "1 x image without a mask", "1 x mask without an image")
    train_error(capsys, data, tmp_path, *said)
    evaluate_error(capsys, scene_run, data, "größe 2.png", "1 x image without a mask")


def spoil_mask(data: Path, split: str, name: str) -> Path:
    path = data / "labels" / split / f"{name}.png"
    mask = np.asarray(Image.open(path)).copy()
    mask[5, :4] = 99
    Image.fromarray(mask).save(path)
    return path


def test_mask_value_outside_the_class_list(data, scene_run, tmp_path, capsys):
    in_train, in_val = spoil_mask(data, "a", "train 3"), spoil_mask(data, "b", "größe 2")
    train_error(capsys, data, tmp_path, in_train, "99 (4 pixels)")
    evaluate_error(capsys, scene_run, data, in_val, "99 (4 pixels)", "3 sky")


def cut_off(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_truncated_image(data, scene_run, tmp_path, capsys):
    in_train, in_val = cut_off(data / "photos/a/train 3.png"), cut_off(data / "photos/b/größe 2.png")
    train_error(capsys, data, tmp_path, in_train, "damaged or cut off")
    evaluate_error(capsys, scene_run, data, in_val, "damaged or cut off")
    predict_error(capsys, scene_run, in_val, tmp_path / "out", in_val, "damaged or cut off")


def test_image_and_mask_of_different_sizes(data, scene_run, tmp_path, capsys):
    for split, name in (("a", "train 3"), ("b", "größe 2")):
        path = data / "labels" / split / f"{name}.png"
        Image.open(path).resize((30, 20), Image.Resampling.NEAREST).save(path)
    train_error(capsys, data, tmp_path, "train 3", "30 x 20", "64 x 48")
    evaluate_error(capsys, scene_run, data, "größe 2.png", "30 x 20", "47 x 65")


def test_all_faults_of_both_splits_at_once_and_training_without_them(data, tmp_path, capsys):
    """A value in train, a missing mask and a cut-off image in val, and a picture of val in train."""
    spoil_mask(data, "a", "train 1")
    (data / "labels/b/größe 0.png").unlink()
    cut_off(data / "photos/b/größe 2.png")
    for kind in ("photos", "labels"):
        shutil.copy(data / kind / "b/größe 1.png", data / kind / "a/again.png")
    said = (
        "4 faults",
        "99 (4 pixels)",
        "größe 0.png",
        "damaged or cut off",
        "again.png of train is the same",
    )
    train_error(capsys, data, tmp_path, *said)
    run = tmp_path / "run"
    assert not run.exists()
    assert main(train_arguments(data, run, "--skip-bad")) == 0
    printed = " ".join(capsys.readouterr().err.split())
    assert "left out because of --skip-bad" in printed
    assert printed.count("1 x ") == 4
    environment = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    assert environment["data"]["train_images"] == 7, "eight and the copy, without the copy and the bad mask"
    assert environment["data"]["val_images"] == 2
    assert "skip_bad: true" in (run / "config.yaml").read_text(encoding="utf-8")
    evaluate_error(capsys, run, data, "größe 0.png", "damaged or cut off")
    assert main(["evaluate", str(run), str(data), "--device", "cpu", "--skip-bad"]) == 0


def test_data_that_is_not_there(scene_run, tmp_path, capsys):
    gone, empty = tmp_path / "gone", tmp_path / "empty"
    empty.mkdir()
    for data, said in ((gone, "does not exist"), (empty, "no data set recognised")):
        train_error(capsys, data, tmp_path, data, said)
        evaluate_error(capsys, scene_run, data, data, said)


def test_misspelt_key_in_dataset_yaml(data, tmp_path, capsys):
    file = data / "dataset.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("ignore:", "ignroe:"), encoding="utf-8")
    train_error(capsys, data, tmp_path, file, "'ignroe'", "Did you mean 'ignore'")


def test_unknown_or_missing_split(data, scene_run, tmp_path, capsys):
    evaluate_error(
        capsys, scene_run, data, "unknown split 'vall'. Did you mean 'val'", more=("--split", "vall")
    )
    file = data / "dataset.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(line for line in lines if not line.startswith("val:")), encoding="utf-8")
    evaluate_error(capsys, scene_run, data, "no split 'val'", data)
    train_error(capsys, data, tmp_path, "no split 'val'", data)


# ---------------------------------------------------------------------- settings and weights


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--recipe", "camvid-smal"], ("'camvid-smal'. Did you mean 'camvid-small'", *RECIPES)),
        (["--model", "fcn9s-vgg19"], ("unknown model 'fcn9s-vgg19'", "Did you mean", *HEADS)),
        (["--model", "fcn8s-resnet18x"], ("resnet18x", "Did you mean")),
        (["--set", "optimizer.learning=1"], ("unknown setting 'optimizer.learning'", "optimizer")),
        (["--set", "optimiser.lr=1"], ("unknown setting 'optimiser'. Did you mean 'optimizer'",)),
        (["--set", "batch_size=big"], ("'batch_size' takes int; got 'big'",)),
        (["--label-set", "camvidd"], ("unknown label set 'camvidd'. Did you mean 'camvid'", *LABEL_SETS)),
        (["--precision", "fp16"], ("'precision' is 'fp16'", "bf16")),
        (["--device", "tpu"], ("'device' is 'tpu'", "cuda")),
        (["--batch-size", "0"], ("neither auto nor a number of images", "at least 1")),
        (["--lr", "-1"], ("'optimizer.lr' is -1",)),
        (["--steps", "0"], ("no length", "--steps")),
    ],
)
def test_wrong_settings(more, said, scene_data, tmp_path, capsys):
    capsys.readouterr()
    run = tmp_path / "run"
    assert main(train_arguments(scene_data, run, *more)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.count("error: ") == 1
    for text in said:
        assert text in error
    assert not run.exists()


def test_weights_that_do_not_fit(scene_data, scene_run, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, other)
    text = tmp_path / "text.pth"
    text.write_text("these are no weights")
    for init, said in (
        (other, "the file nothing"),
        (text, "text.pth"),
        (tmp_path / "gone.mat", "gone.mat"),
        (tmp_path, "no model here"),
    ):
        train_error(capsys, scene_data, tmp_path, said, more=("--init", str(init)))
    train_error(  # a run of another network: its layers do not fit, and both shapes are said
        capsys,
        scene_data,
        tmp_path,
        "(64, 3, 3, 3)",
        more=("--init", str(scene_run), "--model", "fcn8s-vgg11"),
    )


# ---------------------------------------------------------------------- models and runs


def test_model_that_is_not_there(scene_data, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    gone, photos = tmp_path / "gone", scene_data / "photos" / "b"
    evaluate_error(capsys, gone, scene_data, gone, "no such model")
    predict_error(capsys, gone, photos, tmp_path / "out", gone, "neither a model nor photos")
    evaluate_error(capsys, empty, scene_data, empty, "no model here")
    predict_error(capsys, empty, photos, tmp_path / "out", empty, "no photos in this folder")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_damaged_bundle(name, scene_run, scene_data, tmp_path, capsys):
    bundle = tmp_path / "model"
    shutil.copytree(scene_run / "model", bundle)
    cut_off(bundle / name)
    evaluate_error(capsys, bundle, scene_data, bundle / name, "cannot be read")


def test_report_without_a_run(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    error_of(capsys, ["report", str(tmp_path / "gone")], tmp_path / "gone", "run folder")
    error_of(capsys, ["report", str(tmp_path / "empty")], tmp_path / "empty", "run folder")


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}


def test_run_folder_in_use(scene_run, scene_data, tmp_path, capsys):
    """Nothing of a run that is there is touched, by a new run or by a resumption that would change it."""
    before = contents(scene_run)
    error_of(capsys, train_arguments(scene_data, scene_run), "a run in this folder already", "--resume")
    error_of(
        capsys, train_arguments(scene_data, scene_run, "--resume", "--seed", "1"), "seed was 0, is now 1"
    )
    assert contents(scene_run) == before
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "diary.txt").write_text("dear diary")
    error_of(capsys, train_arguments(scene_data, strange), strange, "not empty")
    error_of(capsys, train_arguments(scene_data, strange / "diary.txt"), "is a file")
    error_of(capsys, train_arguments(scene_data, tmp_path / "new", "--resume"), "no run to resume")
    assert [p.name for p in strange.iterdir()] == ["diary.txt"]


def test_classes_of_another_data_set(scene_run, data, capsys):
    file = data / "dataset.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("200: house", "200: barn"), encoding="utf-8")
    evaluate_error(capsys, scene_run, data, "number 200 is 'house' in the model and 'barn' in the data set")


# ---------------------------------------------------------------------- predict and score


def test_input_that_is_no_photo(scene_run, tmp_path, capsys):
    out, text = tmp_path / "out", tmp_path / "notes.txt"
    text.write_text("no picture")
    predict_error(capsys, scene_run, text, out, text, "not an image")
    predict_error(capsys, scene_run, tmp_path / "gone.jpg", out, "gone.jpg", "no such file")
    predict_error(capsys, scene_run, tmp_path / "*.jpg", out, "*.jpg", "no photos match")


def test_wrong_options_of_predict(scene_run, scene_data, tmp_path, capsys):
    photos = scene_data / "photos" / "b"
    for more, said in (
        (("--tile", "5"), "tile is 5"),
        (("--scales", "0"), "scales"),
        (("--device", "x"), "'x'"),
    ):
        line = ["predict", str(scene_run), str(photos), "--out", str(tmp_path / "out"), *more]
        error_of(capsys, line, said)
    assert not (tmp_path / "out").exists()


def test_out_is_a_file(scene_run, scene_data, tmp_path, capsys):
    out = tmp_path / "out"
    out.write_text("precious")
    said = (out, "a file is where the folder for the results should be")
    predict_error(capsys, scene_run, scene_data / "photos" / "b", out, *said)
    evaluate_error(capsys, scene_run, scene_data, *said, more=("--out", str(out)))
    evaluate_error(
        capsys, scene_run, scene_data, tmp_path, "a folder is where", more=("--json", str(tmp_path))
    )
    assert out.read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permission on Windows")
def test_folder_that_cannot_be_written_to(scene_run, scene_data, tmp_path, capsys):
    if os.geteuid() == 0:
        out = Path("/proc/sceneparse")  # root may write anywhere but here
        if not out.parent.is_dir():
            pytest.skip("root may write anywhere on this system")
    else:
        (tmp_path / "locked").mkdir(mode=0o555)
        out = tmp_path / "locked" / "out"
    predict_error(capsys, scene_run, scene_data / "photos" / "b", out, out, "cannot be written to")


def test_score_folders(scene_data, tmp_path, capsys):
    labels, mine = scene_data / "labels" / "b", tmp_path / "mine"
    error_of(capsys, ["score", str(tmp_path / "gone"), str(labels)], tmp_path / "gone", "does not exist")
    error_of(capsys, ["score", str(labels), str(tmp_path / "gone")], tmp_path / "gone", "does not exist")
    mine.mkdir()
    error_of(capsys, ["score", str(mine), str(labels)], mine, "no pictures")
    shutil.copytree(labels, mine, dirs_exist_ok=True)
    (mine / "größe 1.png").unlink()
    error_of(capsys, ["score", str(mine), str(labels)], "label without prediction", "größe 1.png")
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(mine / "größe 1.png")
    error_of(capsys, ["score", str(mine), str(labels)], "größe 1", "6x5", "72x40")
    error_of(capsys, ["score", str(labels), str(labels), "--classes", "camvidd"], "camvidd", "'camvid'")
    error_of(
        capsys, ["score", str(labels), str(labels), "--classes", "camvid"], "200", "outside the class list"
    )
