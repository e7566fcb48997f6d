"""Every recipe takes twenty steps on real or built-in data, is stopped half way and goes on.

What is made smaller: pictures, crops and batches, by settings; VGG has a few channels under its own name, and
what starts from ImageNet weights finds a file of random ones in the hub's cache.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hub_cache import put_in_cache, timms_vgg
from huggingface_hub import constants
from rich.console import Console

from sceneparse import api
from sceneparse.config import RunConfig
from sceneparse.data.scenes import write_scenes
from sceneparse.deploy.bundle import load_model
from sceneparse.models import encoder, smp
from sceneparse.models.vgg import BLOCKS, VGG
from sceneparse.prediction.predictor import load
from sceneparse.recipes import RECIPES, recipe
from sceneparse.training import outputs
from sceneparse.training.checkpoint import load_checkpoint
from sceneparse.training.learner import Learner
from sceneparse.training.run import config_for_resume, train

SHARED = Path(__file__).parents[3] / "shared" / "data"

STEPS, STOP = 20, 10

SMALLER = {
    "augmentation.crop": (64, 64),
    "batch_size": 4,
    "accumulate": 1,
    "steps": STEPS,
    "eval_every": STEPS,
    "eval_batch_size": 1,
    "samples": 0,
    "device": "cpu",
    "precision": "32",
    "workers": 0,
    "deterministic": True,
}

WITHOUT_PRETRAINED = {
    "smp/upernet-tu-convnext_base.fb_in22k": "smp/upernet-tu-test_convnext.r160_in1k",
}
"""Networks too large for a test, and the same at the size of one."""


def camvid_data(root: Path) -> Path:
    """Eight pictures and two to validate."""
    source = SHARED / "camvid"
    if not source.is_dir():
        pytest.skip(f"no CamVid in {SHARED}")
    for split, count in (("train", 8), ("val", 2)):
        for image in sorted((source / split).iterdir())[::20][:count]:
            for folder in (split, f"{split}annot"):
                (root / folder).mkdir(parents=True, exist_ok=True)
                shutil.copy(source / folder / image.name, root / folder)
    return root


def ade20k_data(root: Path) -> Path:
    """Of the three pictures of the sample two to learn from and one to validate."""
    source = SHARED / "ade20k-sample"
    if not source.is_dir():
        pytest.skip(f"no ADE20K sample in {SHARED}")
    for kind in ("images", "annotations"):
        for number, file in enumerate(sorted((source / kind / "validation").iterdir())):
            folder = root / kind / ("validation" if number == 2 else "training")
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder)
    return root


def scenes_data(root: Path) -> Path:
    write_scenes(root, train=8, val=2, size_hw=(64, 80))
    return root


@pytest.fixture(scope="module")
def data_of(tmp_path_factory):
    """From the name of a recipe to a few pictures of its data, made once."""
    made = {}

    def of(name):
        make = next((m for n, m in DATA.items() if name.startswith(n)), ade20k_data)
        if make not in made:
            made[make] = make(tmp_path_factory.mktemp("data"))
        return made[make]

    return of


DATA = {"camvid-": camvid_data, "scenes-": scenes_data}
"""Beginning of a recipe's name to its data; the others are ADE20K's, in which the tutorial began."""


@pytest.fixture
def small(monkeypatch, tmp_path):
    """VGG of a few channels, a cache with weights for it and for the smallest ConvNeXt; no curves."""
    narrow = partial(VGG, widths=(4, 6, 8, 10, 12), fc_width=16)
    monkeypatch.setattr(encoder, "VGG", narrow)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(outputs, "write_curves", lambda run: None)
    torch.manual_seed(0)
    vgg = {f"encoder.{n}": tensor for n, tensor in narrow(BLOCKS["vgg19"]).state_dict().items()}
    put_in_cache(tmp_path / "hub", "timm/vgg19.tv_in1k", timms_vgg(vgg, BLOCKS["vgg19"]))
    convnext = timm.create_model("test_convnext").state_dict()
    put_in_cache(tmp_path / "hub", "timm/test_convnext.r160_in1k", convnext)
    return tmp_path


def small_config(name: str, data: Path, cache: Path, **more: object) -> RunConfig:
    """The recipe as the command line would give it with these settings."""
    config = recipe(name)
    if config.model.name.startswith(smp.PREFIX) and smp.smp_version() is None:
        pytest.skip("segmentation-models-pytorch is not installed: pip install it")
    settings = {**SMALLER, "data.cache": str(cache), **more}
    if config.data.resize == "short-side":
        settings["data.short_side"] = 96
    if config.model.name in WITHOUT_PRETRAINED:
        settings["model.name"] = WITHOUT_PRETRAINED[config.model.name]
        settings["model.options.smp"] = config.model.options.smp | {"decoder_channels": 16}
    return api._config(data, "unused", name, settings, resume=False)


def stopped_before(step: int, patch: pytest.MonkeyPatch) -> None:
    """SIGTERM comes in the step before."""
    step_of = Learner.step

    def signalled(self, parts, number):
        if number == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_of(self, parts, number)

    patch.setattr(Learner, "step", signalled)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize("name", RECIPES)
def test_starts_takes_twenty_steps_and_resumes(name, data_of, small, monkeypatch):
    run, said = small / "run", Console(file=io.StringIO(), width=200)
    config = small_config(name, data_of(name), small / "cache")
    with monkeypatch.context() as patch:
        stopped_before(STOP, patch)
        result = train(config, run, console=said)
    assert (result.step, result.stopped_by) == (STOP, signal.SIGTERM)
    halfway = load_checkpoint(run / "checkpoints" / "last.ckpt")
    result = train(config_for_resume(run), run, resume=True, console=said)
    assert (result.step, result.stopped_by) == (STEPS, None)
    assert f"resuming at step {STOP} of {STEPS}" in said.file.getvalue()
    if recipe(name).model.init:
        assert "weights from" in said.file.getvalue()

    steps, losses = np.loadtxt(run / "losses.csv", delimiter=",", skiprows=1, usecols=(0, 1), unpack=True)
    assert steps.tolist() == list(range(1, STEPS + 1))
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < losses[0] - 0.005, losses  # far above rounding
    learned = load_checkpoint(run / "checkpoints" / "last.ckpt").model
    network, _ = load_model(run)
    still = [n for n, _ in network.named_parameters() if torch.equal(learned[n], halfway.model[n])]
    assert not still, still  # buffers change without learning
    labels = load(run, device="cpu")(np.full((40, 56, 3), 120, np.uint8)).labels
    assert labels.shape == (40, 56)


@pytest.mark.parametrize("model", ["smp/segformer-mit_b0", "smp/fpn-tu-test_resnet"])
def test_a_recipe_for_a_gpu_trains_a_network_of_smp(model, data_of, small):
    """With its own schedule; the recipe's options are for another network."""
    pytest.importorskip("segmentation_models_pytorch", reason="pip install segmentation-models-pytorch")
    more = {"model.name": model, "model.init": None, "steps": 2, "eval_every": 2, "batch_size": 2}
    config = small_config("ade20k-fcn8s-vgg19", data_of("ade20k-fcn8s-vgg19"), small / "cache", **more)
    assert config.optimizer == recipe("ade20k-fcn8s-vgg19").optimizer
    result = train(config, small / "run", console=Console(file=io.StringIO()))
    assert result.step == 2
    assert load(small / "run", device="cpu")(np.zeros((33, 47, 3), np.uint8)).labels.shape == (33, 47)
