"""A data set of eight small pictures, and runs of a tiny network on it."""

import io
from dataclasses import replace

import pytest
from boxes import draw_data
from rich.console import Console

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions
from sceneparse.training.run import train


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="session")
def config(data, tmp_path_factory):
    """Ten steps, evaluated at 4, 8 and 10, with dropout, averaging and augmentation: all that is random;
    three of them on small views.
    """
    return RunConfig(
        recipe="test",
        data=DataConfig(path=str(data), resize="none", cache=str(tmp_path_factory.mktemp("cache"))),
        augmentation=Augmentation(crop=(64, 64), early=0.3, early_size=0.5),
        model=ModelConfig(
            name="fcn8s-test_efficientnet", options=ModelOptions(upsampling="bilinear", dropout=0.3)
        ),
        optimizer=OptimizerConfig(
            name="muon", lr=3e-3, weight_decay=0.01, schedule="poly", warmup=0.2, clip_norm=5.0, ema=0.9
        ),
        batch_size=2,
        steps=10,
        eval_every=4,
        samples=2,
        device="cpu",
        precision="32",
        workers=0,
        seed=3,
        deterministic=True,
    )


@pytest.fixture
def said():
    """A console, and what was printed on it."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="session")
def unbroken(config, tmp_path_factory):
    """The run that is never stopped; only looked at."""
    out = tmp_path_factory.mktemp("runs") / "unbroken"
    train(config, out, console=Console(file=io.StringIO()))
    return out


@pytest.fixture
def no_steps(config):
    """One step with as little beside as can be."""
    return replace(config, steps=1, eval_every=1, samples=0)
