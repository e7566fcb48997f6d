"""The command line: pages, exit codes, and the whole path from a folder of images to numbers and pictures."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_data import train_arguments

import sceneparse
from sceneparse import cli, cli_arguments, cli_verbs
from sceneparse.cli import main
from sceneparse.data.decode import read_mask
from sceneparse.errors import InputError
from sceneparse.labels import LABEL_SETS
from sceneparse.models import HEADS
from sceneparse.recipes import DEFAULT_RECIPE, RECIPES

VERBS = ["demo", "check", "download", "convert", "train", "evaluate", "score", "predict", "report"]
VERBS += ["models", "env"]
SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "ade20k-sample"


def page(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_verbs():
    assert [verb.name for verb in cli_verbs.VERBS] == VERBS


def test_top_page(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = page(capsys)
    for verb in cli_verbs.VERBS:
        assert re.search(rf"^    {verb.name} +{re.escape(verb.summary)}$", said, re.M), "one line a verb"
    assert "sceneparse demo" in said


@pytest.mark.parametrize("verb", VERBS)
def test_page_of_a_verb(verb, capsys, monkeypatch):
    """Says what it does, explains every argument, shows an example that parses; fits a terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    said = page(capsys, verb)
    assert max(map(len, said.splitlines())) <= 82
    parser = cli.build_parser()[1][verb]
    for action in parser._actions:
        assert action.help, action
    examples = re.findall(
        rf"^ *(sceneparse {verb}(?:.*\\\n)?.*?)(?:  +\S.*)?$", said.partition("example")[2], re.M
    )
    assert examples
    for example in examples:
        words = [word.strip("'") for word in example.replace("\\\n", " ").split()]
        assert cli.parse(words[1:]).verb == verb


def test_pages_name_what_there_is(capsys):
    said = page(capsys, "train")
    for name in (*RECIPES, *LABEL_SETS, *HEADS):
        assert re.search(rf"{name}\b", said), name
    shipped = cli_arguments.LABEL_SETS.replace(" or ", ", ").split(", ")
    assert shipped == list(LABEL_SETS)
    assert f"(default:{DEFAULT_RECIPE})" in "".join(said.split()), "wherever the line breaks"


def test_flags_of_the_contract():
    """Every flag that DESIGN.md names for the verbs of today."""
    pages = cli.build_parser()[1]
    for verb, flags in {
        "demo": "out",
        "check": "json sheet split label-set write-yaml",
        "download": "to",
        "train": "out recipe model init size batch-size steps epochs lr precision device devices seed "
        "workers resume deterministic set",
        "evaluate": "split out json",
        "score": "classes ignore absent json",
        "predict": "out tile scales flip",
    }.items():
        there = pages[verb].format_help()
        for flag in flags.split():
            assert f"--{flag}" in there, (verb, flag)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exprt", "unknown verb 'exprt'"),
        ("trian x --out y", "Did you mean 'train'"),
        ("serve x", f"one of: {', '.join(VERBS)}"),
        ("train x --out y --stpes 5", "unknown flag '--stpes'. Did you mean '--steps'"),
        ("train x --out y --step 5", "unknown flag '--step'. Did you mean '--steps'"),
        ("evaluate m d --jsn=f", "unknown flag '--jsn'. Did you mean '--json'"),
        ("evaluate m d e", "one argument too many: 'e'"),
        ("train x", "required: --out"),
        ("train x --out y --size big", "--size: 'big' is not HEIGHT,WIDTH"),
        ("train x --out y --size 0,5", "--size: '0,5' is not HEIGHT,WIDTH"),
        ("train x --out y --steps many", "--steps: invalid int value: 'many'"),
        ("train x --out y --steps 5 --epochs 5", "--epochs: not allowed with argument --steps"),
        ("train x --out y --set lr", "--set: 'lr' is not NAME=VALUE"),
        ("predict m p --out o --tile big", "--tile: 'big' is neither auto"),
        ("predict m p --out o --scales a,b", "--scales: 'a,b' is not a list"),
        ("score p l --absent nil", "--absent: invalid choice: 'nil'"),
    ],
)
def test_wrong_command_lines(line, said, capsys):
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 2, "what, and what to do"


def test_no_verb_prints_the_page(capsys):
    assert main([]) == 2
    assert "predict" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sceneparse {sceneparse.__version__}\n"


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "sceneparse", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"sceneparse {sceneparse.__version__}\n")


def patched(monkeypatch, call):
    verb = cli_verbs.Verb("env", "", "", "", lambda parser: None, call)
    monkeypatch.setattr(cli, "VERBS", (verb,))


def test_our_fault(monkeypatch, capsys):
    patched(monkeypatch, lambda options: {}["missing"])
    assert main(["env"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "KeyError: 'missing'" in said
    assert "our fault" in said
    assert "sceneparse env" in said


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            InputError("wrong", where="there", fix="right"),
            2,
            "error: wrong\n  where: there\n  fix:   right\n",
        ),
        (OSError(28, "No space left on device", "f"), 2, "error: No space left on device\n  where: f"),
        (PermissionError(13, "Permission denied", "f"), 2, "error: Permission denied\n  where: f"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(raised, code, said, monkeypatch, capsys):
    def call(options):
        raise raised

    patched(monkeypatch, call)
    assert main(["env"]) == code
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert "Traceback" not in error


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes of this kind")
def test_reader_that_has_had_enough():
    """``sceneparse --help | head -1`` and the like: no traceback."""
    code = (
        "import sys, time; from sceneparse import cli, cli_verbs\n"
        "def call(options):\n    time.sleep(0.5)\n    print('x' * 100_000)\n    return 0\n"
        "cli.VERBS = (cli_verbs.Verb('env', '', '', '', lambda parser: None, call),)\n"
        "sys.exit(cli.main(['env']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 141


def test_train_leaves_a_complete_run_folder(scene_run, scene_data):
    """DESIGN, "Run folder"."""
    for name in (
        *("config.yaml", "environment.json", "metrics.csv", "curves.png", "report.html"),
        *("checkpoints/last.ckpt", "checkpoints/best.ckpt", "model/model.safetensors", "model/config.json"),
    ):
        assert (scene_run / name).stat().st_size > 0, name
    assert list((scene_run / "samples").glob("*.png"))
    config = yaml.safe_load((scene_run / "config.yaml").read_text(encoding="utf-8"))
    assert config["model"]["name"] == "fcn8s-test_resnet"
    assert config["augmentation"]["crop"] == [48, 48]
    assert config["optimizer"]["lr"] == 0.01
    environment = json.loads((scene_run / "environment.json").read_text(encoding="utf-8"))
    assert environment["command"].startswith("sceneparse train ")
    assert "--size 48,48" in environment["command"]


def test_resume_to_more_steps(scene_run, scene_data, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(scene_run, run)
    assert main(["train", str(scene_data), "--out", str(run), "--resume", "--steps", "24"]) == 0
    assert f"{run}: 24 steps, best mean IoU" in capsys.readouterr().out
    # Another recipe would be another run.
    again = ["train", str(scene_data), "--out", str(run), "--resume", "--recipe", "camvid-small"]
    assert main(again) == 2
    assert "recipe" in capsys.readouterr().err


def test_python_train_and_settings(scene_data, tmp_path):
    """The same door: settings by dotted name; steps and epochs replace each other; a folder named 2024."""
    data = tmp_path / "2024"
    shutil.copytree(scene_data, data)
    settings = {
        **{"model.name": "fcn8s-test_resnet", "augmentation.crop": (40, 48), "epochs": 2, "workers": 0},
        **{"batch_size": 4, "data.cache": str(tmp_path / "cache"), "samples": 0, "data.short_side": 24},
        **{"precision": "32", "device": "cpu"},
    }
    result = sceneparse.train(data, tmp_path / "run", settings=settings)
    assert (result.step, result.steps) == (4, 4), "2 epochs of 8 images in batches of 4"
    assert result.stopped_by is None
    assert result.run == tmp_path / "run"
    assert (result.run / "report.html").is_file()
    with pytest.raises(InputError, match="steps and epochs are both given"):
        sceneparse.train(data, tmp_path / "new", settings={"steps": 3, "epochs": 2})


@pytest.mark.parametrize(
    ("flags", "short_side"),
    [([], 256), (["--size", "300,400"], 300), (["--size", "300,400", "--set", "data.short_side=280"], 280)],
)
def test_large_crops_enlarge_the_pictures(flags, short_side, monkeypatch, tmp_path):
    """A crop of 300 from pictures of 256 would be padding: the short side follows, unless it is given."""
    from sceneparse import api

    seen = []

    def stop_here(config, out, *, resume, command):
        seen.append(config)
        raise InputError("far enough")

    monkeypatch.setattr(api, "train_run", stop_here)
    assert main(["train", "data", "--out", str(tmp_path / "run"), *flags]) == 2
    assert seen[0].data.short_side == short_side


def test_flags_reach_the_settings(monkeypatch, tmp_path):
    from sceneparse import api

    seen = []

    def stop_here(config, out, *, resume, command):
        seen.append((config, command))
        raise InputError("far enough")

    monkeypatch.setattr(api, "train_run", stop_here)
    line = [
        *("train", "2024", "--out", "run", "--recipe", "camvid-small", "--model", "fcn16s-vgg11"),
        *("--init", "none.mat", "--size", "64x96", "--batch-size", "3", "--epochs", "1.5", "--lr", "1e-3"),
        *("--precision", "32", "--device", "cpu", "--devices", "2", "--seed", "7", "--workers", "2"),
        *("--label-set", "ade20k", "--deterministic", "--set", "optimizer.clip_norm=0.5"),
        *("--set", "model.options.upsampling=bilinear"),
        *("--set", "data.cache=1e3"),
    ]
    assert main(line) == 2
    config, command = seen[0]
    assert command == ("sceneparse", *line)
    assert (config.recipe, config.data.path, config.data.label_set) == ("camvid-small", "2024", "ade20k")
    assert (config.model.name, config.model.init) == ("fcn16s-vgg11", "none.mat")
    assert config.model.options.upsampling == "bilinear"
    assert config.augmentation.crop == (64, 96)
    assert (config.batch_size, config.steps, config.epochs) == (3, 0, 1.5)
    assert (config.optimizer.lr, config.optimizer.clip_norm) == (1e-3, 0.5)
    assert (config.precision, config.device, config.seed, config.workers) == ("32", "cpu", 7, 2)
    assert config.devices == 2
    assert config.deterministic is True
    assert config.data.cache == "1e3", "text stays text"


@pytest.mark.parametrize(
    ("flags", "needs"),
    [
        (["optimizer.momentum=0.5"], "optimizer.name=sgd or muon"),
        (["optimizer.momentum=0.5", "optimizer.name=muon"], None),
        (["optimizer.others_lr_factor=1"], "optimizer.name=muon"),
        (["optimizer.others_lr_factor=1", "optimizer.name=sgd"], "optimizer.name=muon"),
        (["augmentation.early_size=0.5"], "augmentation.early above 0"),
        (["augmentation.early_size=0.5", "augmentation.early=0.1"], None),
        (["data.short_side=100", "data.resize=none"], "data.resize=short-side"),
        (["data.short_side=100"], None),
        (["data.resize=none"], None),
    ],
)
def test_a_setting_without_effect_is_refused(flags, needs, monkeypatch, tmp_path, capsys):
    from sceneparse import api

    def stop_here(config, out, *, resume, command):
        raise InputError("far enough")

    monkeypatch.setattr(api, "train_run", stop_here)
    words = [word for flag in flags for word in ("--set", flag)]
    assert main(["train", "data", "--out", str(tmp_path / "run"), *words]) == 2
    said = capsys.readouterr().err
    if needs is None:
        assert "far enough" in said
    else:
        assert f"{flags[0].partition('=')[0]!r} has no effect here: it needs {needs}" in said


def test_evaluate_prints_the_numbers(scene_run, scene_data, tmp_path, capsys):
    file = tmp_path / "new folder" / "n.json"
    assert main(["evaluate", str(scene_run), str(scene_data), "--device", "cpu", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    numbers = json.loads(file.read_text(encoding="utf-8"))
    for name in ("sky", "ground", "house", f"mean IoU {numbers['mean_iou']:.4f}"):
        assert name in said
    assert main(["evaluate", str(scene_run / "model"), str(scene_data), "--split", "train"]) == 0


def test_score_gives_the_numbers_of_the_development_kit(tmp_path, capsys):
    """The kit's mean IoU of a perfect prediction of the three samples is 0.1000: 15 of 150 classes occur."""
    if not SAMPLE.is_dir():
        pytest.skip(f"the ADE20K sample is not at {SAMPLE}")
    file = tmp_path / "n.json"
    arguments = ["score", str(SAMPLE / "predictions"), str(SAMPLE / "annotations" / "validation")]
    assert main([*arguments, "--classes", "ade20k", "--absent", "zero", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "mean IoU 0.1000" in said
    assert "pixel accuracy 100.00 %" in said
    numbers = json.loads(file.read_text(encoding="utf-8"))
    assert numbers["mean_iou"] == pytest.approx(0.1, abs=1e-12)
    assert numbers["pixel_accuracy"] == 1
    assert numbers["classes_present"] == 15


def test_score_flags(scene_data, tmp_path, capsys):
    labels, file = scene_data / "labels" / "b", tmp_path / "n.json"
    line = ["score", str(labels), str(labels), "--ignore", "0", "7", "--json", str(file)]
    assert main(line) == 0
    numbers = json.loads(file.read_text(encoding="utf-8"))
    assert [row["id"] for row in numbers["per_class"]] == [3, 200]
    assert numbers["mean_iou"] == 1


def test_report_again(scene_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(scene_run, run)
    (run / "report.html").unlink()
    (run / "curves.png").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'report.html'}\n"
    assert (run / "report.html").stat().st_size > 1000
    assert (run / "curves.png").is_file()


def test_env(capsys):
    assert main(["env"]) == 0
    said = capsys.readouterr().out
    for name in ("python", "torch", "processor", "cores", "memory", "gpus"):
        assert re.search(rf"^\w+ {name}\w* +\S", said, re.M), name


def test_predict_in_a_terminal_that_knows_ascii_only(scene_run, scene_data, tmp_path, monkeypatch):
    """Names with ö and ß: nothing may fail because of what a terminal can show."""
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    photo = scene_data / "photos" / "b" / "größe 0.png"
    out = tmp_path / "läuft"
    assert main(["predict", str(scene_run), str(photo), "--out", str(out), "--device", "cpu"]) == 0
    assert np.isin(read_mask(out / "labels" / "größe 0.png"), (3, 7, 200)).all()


def test_train_arguments_parse(tmp_path):
    assert cli.parse(train_arguments(tmp_path, tmp_path / "run")).steps == 20


def test_nobody_reads_the_error():
    code = "import sys; from sceneparse.cli import main; sys.exit(main(['check', 'nowhere at all']))"
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=write, check=False)
    os.close(write)
    assert process.returncode == 2
