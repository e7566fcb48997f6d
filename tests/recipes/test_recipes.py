"""Every recipe is a complete configuration that says where it comes from."""

from __future__ import annotations

import importlib

import pytest
import torch

from sceneparse.config import RunConfig
from sceneparse.errors import InputError
from sceneparse.models import build_model
from sceneparse.recipes import RECIPES, recipe
from sceneparse.settings import from_plain
from sceneparse.training.optim import parameter_groups


@pytest.mark.parametrize("name", RECIPES)
def test_is_complete_and_survives_the_run_folder(name):
    config = recipe(name)
    assert config.recipe == name
    assert config.steps > 0 or config.epochs
    assert from_plain(RunConfig, config.to_dict()) == config


@pytest.mark.parametrize("name", RECIPES)
def test_header_says_paper_score_cost_and_command(name):
    header = importlib.import_module(RECIPES[name].__module__).__doc__ or ""
    for field in ("Paper:", "Expected:", "Hardware:", "Hours:", "Command:"):
        assert field in header
    assert f"--recipe {name}" in header or name in ("fcn8s-tutorial", "scenes-demo")


@pytest.mark.parametrize("name", RECIPES)
def test_its_model_can_be_built(name):
    config = recipe(name)
    with torch.device("meta"):
        model = build_model(config.model.name, 7, config.model.options)
    assert model.num_classes == 7


def test_the_tutorials_and_the_papers_optimizers():
    tutorial, paper = recipe("fcn8s-tutorial"), recipe("fcn8s-paper")
    assert (tutorial.optimizer.name, tutorial.optimizer.lr, tutorial.batch_size) == ("adam", 1e-4, 3)
    assert tutorial.model.name == "fcn8s-vgg19"
    assert tutorial.augmentation.crop == (224, 224)
    assert (paper.optimizer.name, paper.optimizer.momentum) == ("sgd", 0.9)
    assert paper.batch_size * paper.accumulate == 20
    with torch.device("meta"):
        model = build_model(paper.model.name, 3, paper.model.options)
    weights, biases = parameter_groups(model, paper.optimizer)
    assert (biases["lr_factor"], biases["weight_decay"]) == (2.0, 0.0)
    assert weights["weight_decay"] == 5e-4
    assert all(p.ndim == 1 for p in biases["params"])


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="camvid-best"):
        recipe("camvid-bset")
