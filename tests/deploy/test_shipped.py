"""Bundles that come with the package: found by name without a network; nothing is written beside them."""

import json
import re
import shutil
import socket
import tomllib
from pathlib import Path

import pytest
import torch
from rich.console import Console

import sceneparse
from sceneparse.cli import main
from sceneparse.deploy import shipped
from sceneparse.deploy.bundle import (
    CONFIG,
    WEIGHTS,
    find_bundle,
    is_model_name,
    load_model,
    read_bundle,
    read_configuration,
)
from sceneparse.errors import InputError
from sceneparse.kernels import compiler
from sceneparse.models.hub import CHECKPOINTS
from sceneparse.prediction.artefact import Shelf
from sceneparse.recipes import recipe
from sceneparse.settings import override
from sceneparse.training.run import make_network

MOST_BYTES = 10_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def stand_in(scene_run, monkeypatch, tmp_path):
    """A package with a network of the tests' own as camvid-small, and an empty cache and working folder."""
    # The compiled kernels stay: making them anew takes seconds.
    kept = compiler.kernels()
    monkeypatch.setattr(compiler, "kernels", lambda: kept)
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "package" / "shipped")
    monkeypatch.setenv("SCENEPARSE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "package" / "shipped" / "camvid-small"
    shutil.copytree(scene_run / "model", folder, ignore=shutil.ignore_patterns("engine-*"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


@pytest.fixture
def unreachable(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_found_by_name(stand_in, unreachable):
    assert find_bundle("camvid-small") == stand_in
    assert is_model_name("camvid-small")
    assert not is_model_name("camvid-smal")
    assert is_model_name(f"{CHECKPOINTS}any")
    assert load_model("camvid-small")[1].labels.names == ("sky", "ground", "house")
    with pytest.raises(InputError, match=r"no such model\. Did you mean 'camvid-small'"):
        find_bundle("camvid-smal")


def test_what_is_here_comes_first_if_it_is_a_model(stand_in, scene_run):
    here = Path("camvid-small")
    here.mkdir()
    assert find_bundle("camvid-small") == stand_in, "a folder of something else is not in the way"
    (here / "config.yaml").write_text("{}")
    with pytest.raises(InputError, match="this run has no model yet"):
        find_bundle("camvid-small")
    shutil.copytree(scene_run / "model", here / "model")
    assert find_bundle("camvid-small") == here / "model"
    assert shipped.shipped_folder() == stand_in, "what is the default stays the default"


def test_load_without_a_name(stand_in, scene_data, unreachable):
    photo = next((scene_data / "photos" / "b").glob("*.png"))
    result = sceneparse.load(device="cpu")(photo)
    again = sceneparse.load(stand_in, device="cpu", engine="eager")(photo)
    assert (result.labels == again.labels).mean() > 0.99


def test_predict_without_a_model(stand_in, scene_data, unreachable, tmp_path, capsys):
    photo = next((scene_data / "photos" / "b").glob("*.png"))
    assert main(["predict", str(photo), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(
        "model: camvid-small, which comes with sceneparse (fcn8s-test_resnet, 3 classes"
    )
    assert "1 of 1 photos" in said.out
    by_default = Path("predictions", "labels", f"{photo.stem}.png").read_bytes()
    assert main(["predict", "camvid-small", str(photo), "--out", "named", "--device", "cpu"]) == 0
    assert Path("named", "labels", f"{photo.stem}.png").read_bytes() == by_default
    assert main(["predict", str(stand_in), str(photo), "--out", "named", "--device", "cpu"]) == 0
    assert capsys.readouterr().err.count("model: camvid-small, which comes with sceneparse") == 2


def test_a_run_starts_from_it(stand_in, unreachable, capsys):
    start = {"model.name": "fcn8s-test_resnet", "model.init": "camvid-small"}
    config = override(recipe("fcn8s-tutorial"), start)
    network, _ = make_network(config, read_configuration(stand_in).labels, Console(stderr=True))
    _, state = read_bundle(stand_in)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    said = capsys.readouterr().err
    assert "weights from camvid-small" in said


def test_a_slip_in_the_name_that_a_run_starts_from(stand_in):
    start = {"model.name": "fcn8s-test_resnet", "model.init": "camvid-smal"}
    config = override(recipe("fcn8s-tutorial"), start)
    with pytest.raises(InputError, match=r"no such file or folder\. Did you mean 'camvid-small'") as refused:
        make_network(config, read_configuration(stand_in).labels, Console(quiet=True))
    assert "imagenet, camvid-small" in refused.value.fix


@pytest.mark.parametrize("ours", [True, False])
def test_nothing_is_written_into_the_package(stand_in, tmp_path, ours):
    folder = stand_in if ours else shutil.copytree(stand_in, tmp_path / "bundle")
    before = sorted(stand_in.rglob("*"))
    predictor = sceneparse.load(folder, device="cpu")
    assert predictor.engine.startswith("packed")
    made = list((tmp_path / "cache").rglob("engine-folded-*"))
    assert len(made) == ours, "what is made once is in the user's cache"
    assert len(list(folder.glob("engine-folded-*"))) == (not ours)
    assert sorted(stand_in.rglob("*")) == before
    assert Shelf(folder, "folded").find() is not None


def test_none_there(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path)
    assert shipped.shipped_names() == []
    with pytest.raises(InputError, match="no model called 'camvid-small' comes with this installation"):
        sceneparse.load()


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, shipped.CARD])
def test_the_wheel_takes_it_along(file):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["sceneparse"]
    path = Path("shipped", "camvid-small", file)
    assert any(path.match(pattern) for pattern in patterns)
    made = Path("shipped", "camvid-small", "engine-x", file)
    assert not any(made.match(pattern) for pattern in patterns)


def test_the_card_goes_with_the_licences():
    """Of the two licences it is the card that says what the weights' own allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    card = Path("src", "sceneparse", "shipped", "camvid-small", shipped.CARD)
    assert any(card.match(pattern) for pattern in project["license-files"])


def test_the_bundle_that_ships(unreachable):
    """It loads, is small, has its licence, its scores and its card."""
    names = shipped.shipped_names()
    if not names:
        pytest.skip(f"no bundle lies in {shipped.SHIPPED}: python benchmarks/ship.py RUN puts one there")
    assert names[0] == shipped.DEFAULT_SHIPPED
    for name in names:
        folder = shipped.shipped_folder(name)
        assert {path.name for path in folder.iterdir()} == {CONFIG, WEIGHTS, shipped.CARD}
        assert (folder / WEIGHTS).stat().st_size <= MOST_BYTES
        network, bundle = load_model(name)
        _, state = read_bundle(name)
        assert all(t.dtype in (torch.float32, torch.int64) for t in state.values())
        with torch.no_grad():
            logits = network(torch.zeros(1, 3, 45, 60))
        assert logits.shape == (1, bundle.labels.num_classes, 45, 60)
        assert torch.isfinite(logits).all()
        assert "research" in bundle.licence
        assert bundle.scores["split"] == "val"
        card = (folder / shipped.CARD).read_text(encoding="utf-8")
        for picture in re.findall(r"!\[.*?\]\((.*?)\)", card):
            assert (folder / picture).is_file(), picture
        assert f"{bundle.scores['mean_iou']:.3f}" in card
        assert bundle.licence in card
        for class_name in bundle.labels.names:
            assert class_name in card, class_name
        assert json.loads((folder / CONFIG).read_text(encoding="utf-8"))["format"] == "sceneparse-bundle"
