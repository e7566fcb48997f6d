"""Networks of segmentation_models.pytorch train, evaluate, ship and resume as this package's own."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from sceneparse import api
from sceneparse.config import ModelConfig
from sceneparse.data.augment import Augmentation
from sceneparse.data.dataset import open_dataset
from sceneparse.data.scenes import write_scenes
from sceneparse.deploy.bundle import Bundle, load_model, read_bundle, write_bundle
from sceneparse.errors import InputError
from sceneparse.models import ModelOptions, build_model
from sceneparse.normalization import IMAGENET
from sceneparse.prediction.predictor import load
from sceneparse.recipes import recipe
from sceneparse.training.checkpoint import load_checkpoint
from sceneparse.training.learner import Learner
from sceneparse.training.run import make_network, train

smp = pytest.importorskip(
    "segmentation_models_pytorch", reason="segmentation-models-pytorch is not installed: pip install it"
)

NARROW = ModelOptions(smp={"decoder_segmentation_channels": 32})


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, train=8, val=2, seed=0)
    return root


@pytest.fixture
def settings(config, scenes):
    return replace(
        config,
        data=replace(config.data, path=str(scenes)),
        augmentation=Augmentation(crop=(64, 64)),
        model=ModelConfig(name="smp/segformer-mit_b0", options=NARROW),
        steps=20,
        eval_every=10,
    )


def test_twenty_steps_and_resume_on_the_built_in_scenes(settings, tmp_path, said, monkeypatch):
    """With its stochastic depth, bit for bit; the bundle predicts."""
    whole = train(settings, tmp_path / "whole", console=said)
    losses = np.loadtxt(tmp_path / "whole" / "losses.csv", delimiter=",", skiprows=1, usecols=1)
    assert losses[10:].mean() < losses[:5].mean() - 0.1, losses
    step_of = Learner.step

    def signalled(self, parts, step):
        if step == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return step_of(self, parts, step)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", signalled)
        assert train(settings, tmp_path / "run", console=said).step == 13
    assert train(settings, tmp_path / "run", resume=True, console=said).step == whole.step == 20
    ours, theirs = (
        load_checkpoint(tmp_path / r / "checkpoints" / "last.ckpt").model for r in ("run", "whole")
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    network, bundle = load_model(tmp_path / "run")
    assert bundle.architecture["name"] == "smp/segformer-mit_b0"
    picture = np.zeros((45, 70, 3), np.uint8)
    assert load(tmp_path / "run", device="cpu")(picture).labels.shape == (45, 70)
    assert network.decoder.mlp_stage[0].linear.out_features == 32


def test_a_run_starts_from_a_checkpoint_with_a_new_head(settings, tmp_path, said):
    """And with the widths of the checkpoint, which smp's defaults are not."""
    torch.manual_seed(5)
    model = smp.create_model(
        "segformer", "mit_b0", encoder_weights=None, classes=150, decoder_segmentation_channels=24
    )
    model.save_pretrained(tmp_path / "checkpoint")
    start = ModelConfig(name="smp/Segformer-mit_b0", init=str(tmp_path / "checkpoint"))
    none = replace(settings.optimizer, lr=1e-12, ema=0.0, weight_decay=0.0)
    train(replace(settings, model=start, optimizer=none, steps=1), tmp_path / "run", console=said)
    bundle, state = read_bundle(tmp_path / "run")
    classes = bundle.labels.num_classes
    assert state["segmentation_head.0.weight"].shape == (classes, 24, 1, 1)
    for name, parameter in (
        *model.encoder.named_parameters("encoder"),
        *model.decoder.named_parameters("decoder"),
    ):
        torch.testing.assert_close(state[name], parameter.detach(), atol=1e-6, rtol=0)
    assert bundle.normalization == IMAGENET
    # And from that run, whose settings travel the same way.
    again = replace(
        settings, model=ModelConfig(name="smp/segformer-mit_b0", init=str(tmp_path / "run")), steps=1
    )
    train(again, tmp_path / "again", console=said)


def test_a_head_of_the_same_classes_is_kept(settings, scenes, tmp_path, said):
    labels = open_dataset(scenes).labels
    first, _ = make_network(settings, labels, said)
    bundle = Bundle(
        architecture=first.architecture,
        labels=labels,
        resize=settings.data.policy,
        normalization=IMAGENET,
    )
    write_bundle(tmp_path / "bundle", bundle, first.state_dict())
    model = replace(settings.model, init=str(tmp_path / "bundle"))
    second, _ = make_network(replace(settings, model=model, seed=99), labels, said)
    assert torch.equal(first.segmentation_head[0].weight, second.segmentation_head[0].weight)


def test_a_recipes_options_are_for_its_own_head(tmp_path, scenes):
    wanted = {"model.name": "smp/fpn-tu-test_resnet", "steps": 1}
    config = api._config(scenes, tmp_path / "run", "scenes-demo", wanted, False)
    assert recipe("scenes-demo").model.options != ModelOptions()
    assert config.model.options == ModelOptions()
    build_model(config.model.name, 3, config.model.options)
    config = api._config(
        scenes, tmp_path / "run", None, wanted | {"model.options.smp": {"decoder_dropout": 0.0}}, False
    )
    assert config.model.options.smp == {"decoder_dropout": 0.0}


def test_a_batch_of_one_that_comes_down_to_one_cell(settings, tmp_path, said):
    model = ModelConfig(name="smp/upernet-tu-test_resnet", options=ModelOptions(smp={"decoder_channels": 16}))
    with pytest.raises(InputError, match="nothing to average over"):
        train(replace(settings, model=model, batch_size=1, steps=1), tmp_path / "run", console=said)
