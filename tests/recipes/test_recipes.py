"""Every recipe is a complete configuration that says where it comes from."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from sceneparse import api
from sceneparse.cli import parse
from sceneparse.cli_verbs import VERBS
from sceneparse.config import RunConfig
from sceneparse.errors import InputError
from sceneparse.models import ModelOptions, build_model
from sceneparse.models.smp import PREFIX, smp_version
from sceneparse.recipes import DEFAULT_RECIPE, HEADER_FIELDS, RECIPES, header, recipe
from sceneparse.settings import from_plain
from sceneparse.training.optim import parameter_groups

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", RECIPES)
def test_is_complete_and_survives_the_run_folder(name):
    config = recipe(name)
    assert config.recipe == name
    assert config.steps > 0 or config.epochs
    assert from_plain(RunConfig, config.to_dict()) == config


@pytest.mark.parametrize("name", RECIPES)
def test_header_says_paper_score_cost_and_a_command_that_takes_it(name):
    said = header(name)
    assert tuple(said) == HEADER_FIELDS
    assert all(said.values())
    command = said["Command"].split()
    assert command[0] == "sceneparse"
    options = parse(command[1:])
    if command[1] == "train":
        assert (options.recipe or DEFAULT_RECIPE) == name
    else:
        assert (command[1], name) == ("demo", "scenes-demo")


@pytest.mark.parametrize("name", RECIPES)
def test_header_says_a_score_or_that_there_is_none_and_hours(name):
    """In its first sentence, which the table in docs/training.md shows."""
    expected, hours = (re.split(r"\.\s", header(name)[field])[0] for field in ("Expected", "Hours"))
    assert re.search(r"\b(0\.\d{2,}|\d{2}\.\d)\b", expected) or expected.startswith("not measured"), expected
    assert re.search(r"\d", hours), hours


def test_the_help_of_train_names_every_recipe_and_no_other():
    (train,) = (verb for verb in VERBS if verb.name == "train")
    listed = train.examples.partition("recipes:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (\S+)  ", listed, re.MULTILINE) == list(RECIPES)


def test_the_table_in_the_docs_is_that_of_the_headers(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    path = ROOT / "benchmarks" / "recipes_table.py"
    spec = importlib.util.spec_from_file_location("recipes_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert module.page(text) == text, "run python benchmarks/recipes_table.py"
    assert all(f"| `{name}` |" in text for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_its_model_can_be_built(name):
    config = recipe(name)
    if config.model.name.startswith(PREFIX) and smp_version() is None:
        pytest.skip("segmentation-models-pytorch is not installed: pip install it")
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


def test_another_network_leaves_the_recipes_options_behind(tmp_path):
    """They are for the recipe's own network: another would refuse them."""

    def options(name, **settings):
        settings = {key.replace("__", "."): value for key, value in settings.items()}
        return api._config("data", tmp_path / "run", name, settings, False).model.options

    assert recipe("ade20k-modern").model.options.smp
    assert recipe("scenes-demo").model.options != ModelOptions()
    assert options("ade20k-modern", model__name="fcn8s-resnet18") == ModelOptions()
    assert options("ade20k-modern", model__name="smp/fpn-resnet18") == ModelOptions()
    assert options("scenes-demo", model__name="smp/fpn-resnet18") == ModelOptions()
    assert options("scenes-demo", model__name="fcn8s-resnet18") == recipe("scenes-demo").model.options
    same = recipe("ade20k-modern").model
    assert options("ade20k-modern", model__name=same.name) == same.options


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError, match="camvid-best"):
        recipe("camvid-bset")
    with pytest.raises(InputError, match="camvid-best"):
        header("camvid-bset")
