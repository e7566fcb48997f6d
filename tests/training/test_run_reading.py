"""The extra pass over the validation split when a run is finished."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from rich.console import Console

from sceneparse import api
from sceneparse.data.decode import read_image
from sceneparse.deploy.bundle import load_model
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import scores
from sceneparse.report import mistakes, training_part
from sceneparse.training import reading as reading_module
from sceneparse.training.reading import update_reading


class Killed(BaseException):
    """Stands for kill -9 where only what is on the disk counts."""


@pytest.fixture
def run(unbroken, tmp_path):
    return shutil.copytree(unbroken, tmp_path / "run")


@pytest.fixture(scope="module")
def finished(unbroken, tmp_path_factory):
    """A run with its reading; only looked at."""
    run = shutil.copytree(unbroken, tmp_path_factory.mktemp("read") / "run")
    update_reading(run, Console(quiet=True))
    return run


def numbers_of(run):
    return json.loads((run / "reading.json").read_text(encoding="utf-8"))


def files_of(run):
    found = sorted(path for kind in ("worst", "regions") for path in (run / kind).glob("*.png"))
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in found}


def test_the_scores_are_those_of_the_run(finished):
    numbers, evaluation = numbers_of(finished), json.loads((finished / "evaluation.json").read_text())
    bands = numbers["boundaries"]
    matrix = np.array(evaluation["confusion_matrix"])
    assert np.array(bands["true"]).sum(0).tolist() == matrix.sum(1).tolist()
    assert np.array(bands["predicted"]).sum(0).tolist() == matrix.sum(0)[:-1].tolist()
    assert np.array(bands["right"]).sum(0).tolist() == matrix.diagonal().tolist()
    assert numbers["images"] == 3
    assert sum(numbers["calibration"]["pixels"]) == evaluation["pixels"]
    assert scores(matrix).mean_iou == evaluation["mean_iou"]


def test_what_the_training_split_holds(finished, data):
    masks = [read_image(path)[..., 0] for path in sorted((data / "masks" / "train").iterdir())]
    train = numbers_of(finished)["train"]
    assert train["images"] == 8
    assert train["pixels"] == [sum(int((mask == n).sum()) for mask in masks) for n in range(3)]
    assert train["containing"] == [sum(bool((mask == n).any()) for mask in masks) for n in range(3)]


def test_how_many_pictures_were_shrunk(finished, run):
    assert numbers_of(finished)["shrunk"] == 0
    settings = (run / "config.yaml").read_text(encoding="utf-8")
    smaller = settings.replace("resize: none", "resize: short-side").replace(
        "short_side: 256", "short_side: 16"
    )
    assert smaller != settings
    (run / "config.yaml").write_text(smaller, encoding="utf-8")
    update_reading(run, Console(quiet=True))
    assert numbers_of(run)["shrunk"] == numbers_of(run)["images"] == 3


def test_confidence_is_the_softmax_of_the_network(finished, data):
    network, bundle = load_model(finished)
    confidence = 0.0
    for path in sorted((data / "images" / "val").iterdir()):
        image = torch.from_numpy(read_image(path)).permute(2, 0, 1)[None]
        with torch.no_grad():
            logits = network(bundle.normalization(image))
        confidence += F.softmax(logits, 1).amax(1).double().sum().item()
    assert sum(numbers_of(finished)["calibration"]["confidence"]) == pytest.approx(confidence, rel=1e-4)


def test_pictures_of_all_that_is_named(finished):
    numbers = numbers_of(finished)
    assert numbers["worst"]
    expected = {f"{kind}/{item['name']}.png" for kind in ("worst", "regions") for item in numbers[kind]}
    assert set(files_of(finished)) == expected


@pytest.mark.parametrize("point", ["reading.add", "save_png", "write_text"])
def test_killed_and_done_again(run, finished, said, monkeypatch, point):
    with monkeypatch.context() as patch:
        owner = reading_module.Reading if point == "reading.add" else mistakes
        name = point.rpartition(".")[2]
        original, calls = getattr(owner, name), []

        def dies(*arguments, **named):
            calls.append(1)
            if len(calls) == (2 if point == "reading.add" else 1):
                raise Killed
            return original(*arguments, **named)

        patch.setattr(owner, name, dies)
        with pytest.raises(Killed):
            update_reading(run, said)
    assert not (run / "reading.json").exists()
    update_reading(run, said)
    assert numbers_of(run) == numbers_of(finished)
    assert files_of(run) == files_of(finished)


def test_a_current_reading_is_left_alone_and_an_old_one_made_anew(finished, tmp_path, said, monkeypatch):
    run = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(reading_module, "read_config", lambda path: pytest.fail("done again"))
    update_reading(run, said)
    monkeypatch.undo()
    config = run / "model" / "config.json"
    config.write_text(config.read_text().replace('"step": ', '"step": 1'))  # another evaluation's weights
    update_reading(run, said)
    assert numbers_of(run)["model"] != numbers_of(finished)["model"]
    assert {**numbers_of(run), "model": 0} == {**numbers_of(finished), "model": 0}


def test_a_run_without_a_model_has_none(tmp_path, said):
    (tmp_path / "config.yaml").write_text("")
    update_reading(tmp_path, said)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_other_masks_than_the_run_was_evaluated_on_are_refused(run, said):
    path = run / "evaluation.json"
    path.write_text(path.read_text().replace('"pixels": ', '"pixels": 1'))
    with pytest.raises(InputError, match="masks have changed"):
        update_reading(run, said)


def move_data(run, path, *, known):
    """Settings that lead to ``path``, and facts that say where it really is."""
    config, facts = run / "config.yaml", run / "environment.json"
    lines = config.read_text().splitlines()
    lines = [f"  path: {path}" if line.startswith("  path:") else line for line in lines]
    config.write_text("\n".join(lines))
    there = json.loads(facts.read_text())
    there["data"]["path"] = str(known)
    facts.write_text(json.dumps(there))


def test_a_relative_path_from_another_folder(run, finished, data, said, tmp_path, monkeypatch):
    monkeypatch.setenv("SCENEPARSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    move_data(run, "somewhere/data", known=data)
    update_reading(run, said)
    assert numbers_of(run) == numbers_of(finished)
    assert not (tmp_path / "somewhere").exists()


@pytest.mark.usefixtures("no_curves")
def test_report_goes_on_after_ctrl_c(run, said, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(reading_module.Reading, "add", interrupted)
    page = api.report(run, console=said)
    assert "left out" in said.file.getvalue()
    assert 'id="worst"' not in page.read_text(encoding="utf-8")
    assert not (run / "reading.json").exists()


@pytest.fixture
def no_curves(monkeypatch):
    """Drawing takes most of the time and has its own tests."""
    monkeypatch.setattr(api, "write_curves", lambda run: None)
    monkeypatch.setattr(training_part, "chart_svg", lambda *_: "")


@pytest.mark.usefixtures("no_curves")
def test_report_goes_on_without_the_data(run, said):
    move_data(run, "/nowhere", known="/nowhere")
    page = api.report(run, console=said)
    assert "no worst images, boundaries and calibration" in said.file.getvalue()
    assert "/nowhere" in said.file.getvalue()
    assert 'id="worst"' not in page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("no_curves")
def test_report_reads_a_run_that_has_no_reading(run, said):
    page = api.report(run, console=said).read_text(encoding="utf-8")
    assert "reading the result: 3 validation images" in said.file.getvalue()
    for anchor in ("worst", "boundaries", "calibration"):
        assert f'id="{anchor}"' in page


@pytest.mark.usefixtures("no_curves")
def test_train_writes_it_at_the_end_and_resume_if_it_was_killed_before(run, finished, data):
    """A run is killed after its last step; the command that goes on has only this left to do."""
    api.train(data, run, resume=True)
    assert numbers_of(run) == numbers_of(finished)
    assert 'id="worst"' in (run / "report.html").read_text(encoding="utf-8")
