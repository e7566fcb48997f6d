"""What can be named, from what there is; nothing is fetched."""

import json
import socket

import pytest

from sceneparse import catalogue as catalogue_module
from sceneparse import cli_models_verb
from sceneparse.catalogue import cached_repositories, catalogue
from sceneparse.cli import main
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy import shipped
from sceneparse.deploy.bundle import Bundle, write_bundle
from sceneparse.deploy.shipped import DEFAULT_SHIPPED
from sceneparse.labels import camvid
from sceneparse.models import HEADS, build_model, smp
from sceneparse.normalization import IMAGENET
from sceneparse.recipes import RECIPES


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of the hub with two sets of weights, one repository without, and no network."""
    from huggingface_hub import constants

    def unreachable(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for name, file in (
        ("timm--test_resnet.r160_in1k", "model.safetensors"),
        ("smp-hub--dpt-large-ade20k", "model.safetensors"),
        ("smp-hub--mit_b0.imagenet", "config.json"),
    ):
        folder = tmp_path / f"models--{name}" / "snapshots" / "abc"
        folder.mkdir(parents=True)
        (folder / file).write_bytes(b"")


def named(entries, kind):
    return {entry.name: entry for entry in entries if entry.kind == kind}


def test_what_there_is():
    entries = catalogue()
    assert named(entries, "recipe").keys() == RECIPES.keys()
    assert named(entries, "head").keys() == {f"{head}-BACKBONE" for head in HEADS}
    backbones = named(entries, "backbone")
    assert len(backbones) > 1000
    assert backbones["test_resnet"].weights == "here"
    assert backbones["resnet50"].weights == "network"
    assert backbones["convnextv2_small"].weights == "none"
    assert backbones["vgg19_bn"].about == "this package's own, after the paper"
    checkpoints = named(entries, "checkpoint")
    assert checkpoints["smp-hub/dpt-large-ade20k"].weights == "here"
    assert checkpoints["smp-hub/segformer-b5-640x640-ade-160k"].weights == "network"
    assert cached_repositories() == {"timm/test_resnet.r160_in1k", "smp-hub/dpt-large-ade20k"}


def test_architectures_and_encoders_of_smp():
    pytest.importorskip("segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed")
    entries = catalogue("SMP")
    assert {"smp/unet-ENCODER", "smp/segformer-ENCODER"} <= named(entries, "architecture").keys()
    assert named(entries, "encoder")["mit_b0"].weights == "network"
    assert not named(entries, "recipe")


def test_without_smp_its_names_are_left_out_and_how_to_get_them_is_said(monkeypatch, capsys):
    monkeypatch.setattr(catalogue_module, "smp_version", lambda: None)
    monkeypatch.setattr(smp, "smp_version", lambda: None)
    assert not named(catalogue(), "architecture")
    assert main(["models", "fcn8s-tutorial"]) == 0
    assert "segmentation_models.pytorch: not installed; pip install" in capsys.readouterr().out


def test_the_verb(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["models", "--json", str(tmp_path / "models.json")]) == 0
    said = capsys.readouterr().out
    for text in ("camvid-small ", "fcn4s-fused-BACKBONE", "resnetv2 ", "weights here: test_resnet"):
        assert text in said, text
    assert "\xa0" not in said
    assert len(said.splitlines()) < 120, "it can be read"
    listed = json.loads((tmp_path / "models.json").read_text())["models"]
    assert listed == [entry.to_dict() for entry in catalogue()]


def test_shipped_models_come_first(monkeypatch, tmp_path, capsys):
    network = build_model("fcn32s-test_resnet", 11)
    bundle = Bundle(
        architecture=network.architecture,
        labels=camvid(),
        resize=ResizePolicy(),
        normalization=IMAGENET,
        scores={"mean_iou": 0.7654, "split": "val"},
    )
    for name in ("a-later-one", DEFAULT_SHIPPED):
        write_bundle(tmp_path / "shipped" / name, bundle, network.state_dict(), half=True)
    monkeypatch.setattr(shipped, "SHIPPED", tmp_path / "shipped")
    first, second, *others = catalogue()
    assert (first.name, first.kind, first.weights) == (DEFAULT_SHIPPED, "shipped", "here")
    assert "where no model is named" in first.about
    assert (second.name, second.kind) == ("a-later-one", "shipped")
    assert "where no model is named" not in second.about
    assert "shipped" not in {entry.kind for entry in others}
    size = (tmp_path / "shipped" / "a-later-one" / "model.safetensors").stat().st_size
    assert second.about == f"fcn32s-test_resnet, 11 classes, val mean IoU 0.765, {size / 1e6:.1f} MB"
    assert main(["models", "camvid-small"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Models that come with sceneparse")
    assert said[1].startswith("  camvid-small  fcn32s-test_resnet")
    assert said[1].endswith("; weights here")


def test_a_word(capsys):
    assert main(["models", "test_resn"]) == 0
    assert "test_resnet  timm; weights here" in capsys.readouterr().out
    assert main(["models", "mobilevit"]) == 0
    assert "mobilevitv2_050" in capsys.readouterr().out
    assert main(["models", "no-such"]) == 2
    assert "nothing is called 'no-such'" in capsys.readouterr().err


def test_families_name_their_members(capsys, monkeypatch):
    monkeypatch.setattr(cli_models_verb, "_FEW", 2)
    assert main(["models", "mobilevit"]) == 0
    said = capsys.readouterr().out
    assert "  mobilevit: mobilevit_s, mobilevit_xs" in said
    assert "weights here: of none" in said
