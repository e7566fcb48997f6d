"""A data set of eight small pictures, and runs of a tiny network on it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from sceneparse.config import DataConfig, ModelConfig, OptimizerConfig, RunConfig
from sceneparse.data.augment import Augmentation
from sceneparse.models import ModelOptions
from sceneparse.training.run import train

CLASSES = ("ground", "red things", "[blue] things")
"""The brackets would vanish if messages were read as markup."""


def draw_data(root, *, train=8, val=3, seed=0):
    """Plain layout, pictures 48x64: a red and a blue box on a noisy ground, classes 0, 1, 2."""
    rng = np.random.default_rng(seed)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for number in range(count):
            image = rng.integers(60, 120, (48, 64, 3), dtype=np.uint8)
            mask = np.zeros((48, 64), np.uint8)
            for label, channel in ((1, 0), (2, 2)):
                top, left = rng.integers(0, 24), rng.integers(0, 40)
                image[top : top + 20, left : left + 20, channel] += 120
                mask[top : top + 20, left : left + 20] = label
            Image.fromarray(image).save(root / "images" / split / f"s{number}.png")
            Image.fromarray(mask).save(root / "masks" / split / f"s{number}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data") / "boxes")


@pytest.fixture(scope="session")
def config(data, tmp_path_factory):
    """Ten steps, evaluated at 4, 8 and 10, with dropout, averaging and augmentation: all that is random."""
    return RunConfig(
        recipe="test",
        data=DataConfig(path=str(data), resize="none", cache=str(tmp_path_factory.mktemp("cache"))),
        augmentation=Augmentation(crop=(32, 32)),
        model=ModelConfig(
            name="fcn8s-test_efficientnet", options=ModelOptions(upsampling="bilinear", dropout=0.3)
        ),
        optimizer=OptimizerConfig(
            name="adamw", lr=3e-3, weight_decay=0.01, schedule="poly", warmup=0.2, clip_norm=5.0, ema=0.9
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
