"""The demo from end to end with few scenes and steps; its promise is measured by benchmarks/demo.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import sceneparse.demo as demo
from sceneparse.cli import main
from sceneparse.recipes.scenes_demo import scenes_demo


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "TRAIN_SCENES", 8)
    monkeypatch.setattr(demo, "VAL_SCENES", 4)
    monkeypatch.setattr(demo, "SCENES_SIZE_HW", (64, 96))
    monkeypatch.setattr(demo, "PHOTOS", 2)
    config = scenes_demo()
    config = replace(
        config,
        augmentation=replace(config.augmentation, crop=(64, 96)),
        batch_size=2,
        steps=4,
        eval_every=2,
        eval_batch_size=2,
        samples=1,
    )
    monkeypatch.setattr(demo, "scenes_demo", lambda: config)


def test_everything_is_there_and_a_second_call_goes_on(small, tmp_path, capsys):
    out = tmp_path / "demo with spaces ü"
    assert main(["demo", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert str(out / "report.html") in said.out.replace("\n", "")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "colour only" in page
    evaluation = json.loads((out / "run" / "evaluation.json").read_text(encoding="utf-8"))
    baseline = json.loads((out / "run" / "baseline.json").read_text(encoding="utf-8"))
    assert evaluation["images"] == 4
    assert 0 <= baseline[0]["mean_iou"] <= 1
    assert len(list((out / "run" / "predictions" / "overlays").glob("*.png"))) == 2
    assert (out / "run" / "predictions" / "shares.csv").is_file()

    weights = (out / "run" / "model" / "model.safetensors").read_bytes()
    assert main(["demo", "--out", str(out)]) == 0
    assert (out / "run" / "model" / "model.safetensors").read_bytes() == weights


def test_a_folder_with_something_else_is_left_alone(small, tmp_path, capsys):
    folder = tmp_path / "demo" / "scenes" / "images" / "train"
    folder.mkdir(parents=True)
    (folder / "holiday.png").write_bytes(b"mine")
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "holiday.png" in capsys.readouterr().err
    assert (folder / "holiday.png").read_bytes() == b"mine"
