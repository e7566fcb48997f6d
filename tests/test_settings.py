"""Settings: refused where wrong, the same after a round trip."""

import dataclasses

import pytest

from sceneparse.config import (
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    read_config,
)
from sceneparse.data.augment import Augmentation
from sceneparse.errors import InputError
from sceneparse.models import ModelOptions
from sceneparse.recipes import RECIPES, recipe
from sceneparse.settings import differences, from_plain, override, to_plain

EVERYTHING = RunConfig(
    recipe="x",
    data=DataConfig(
        path="Bilder #2: groß",
        label_set="camvid",
        resize="squash",
        short_side=99,
        cache="c",
        skip_bad=True,
    ),
    augmentation=Augmentation(
        crop=(31, 57), scale=(0.75, 1.5), flip=False, photometric=0.25, early=0.25, early_size=0.75
    ),
    model=ModelConfig(
        name="fcn16s-resnet50", options=ModelOptions(upsampling="bilinear", dropout=0.25), init="imagenet"
    ),
    optimizer=OptimizerConfig(
        name="muon",
        lr=1e-5,
        momentum=0.5,
        weight_decay=1e-4,
        bias_lr_factor=2.0,
        others_lr_factor=0.5,
        schedule="poly",
        warmup=0.25,
        clip_norm=2.0,
        ema=0.5,
    ),
    loss=LossConfig(class_weights="enet", label_smoothing=0.125, logit_adjustment=True),
    batch_size=3,
    accumulate=2,
    steps=77,
    epochs=2.5,
    eval_every=7,
    eval_batch_size=5,
    checkpoint_minutes=0.5,
    samples=2,
    precision="bf16",
    device="cuda",
    devices=3,
    workers=2,
    seed=12,
    deterministic=True,
)


def leaves(value, name=""):
    if not dataclasses.is_dataclass(value):
        return {name: value}
    return {
        key: leaf
        for field in dataclasses.fields(value)
        for key, leaf in leaves(getattr(value, field.name), f"{name}.{field.name}".strip(".")).items()
    }


def test_every_setting_survives_the_file(tmp_path):
    path = tmp_path / "config.yaml"
    EVERYTHING.write(path)
    assert read_config(path) == EVERYTHING
    default = leaves(RunConfig())
    same = [name for name, value in leaves(EVERYTHING).items() if default[name] == value]
    # These have one meaningful value beside the default network's; all others differ from their defaults.
    assert same == [
        "model.options.pooling",
        "model.options.padding",
        "model.options.at_once",
        "model.options.smp",
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_survive_the_file(name, tmp_path):
    recipe(name).write(tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == recipe(name)
    assert recipe(name).recipe == name


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("optimizr.lr", "optimizer"),
        ("batchsize", "batch_size"),
        ("model.options.drop_out", "dropout"),
        ("loss.class_weight", "class_weights"),
    ],
)
def test_unknown_setting_names_the_nearest(setting, nearest):
    with pytest.raises(InputError, match=f"unknown setting .* Did you mean '{nearest}'"):
        override(RunConfig(), {setting: "1"})


def test_unknown_setting_in_the_file_names_the_nearest(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("optimizer:\n  lrr: 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"'optimizer\.lrr'\. Did you mean 'lr'"):
        read_config(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("optimizer.lr", "1e-3", 1e-3),  # YAML reads this as text
        ("optimizer.lr", "1", 1.0),
        ("steps", "12", 12),
        ("epochs", "null", None),
        ("deterministic", "true", True),
        ("augmentation.crop", "[8, 9]", (8, 9)),
        ("precision", "16", "16"),  # YAML reads this as a number
        ("data.path", "2024", "2024"),
        ("data.path", "my data #2: all", "my data #2: all"),
        ("data.path", '"quoted"', "quoted"),
        ("data.label_set", "null", None),
        ("model.init", "null", None),
        ("model.options.dropout", "0", 0.0),
    ],
)
def test_override(name, text, value):
    assert leaves(override(EVERYTHING, {name: text}))[name] == value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", "many", "takes int"),
        ("steps", "1.5", "takes int"),
        ("steps", "true", "takes int"),
        ("steps", "-1", "at least 0"),
        ("batch_size", "-1", "at least 0"),
        ("optimizer.lr", "0", "positive"),
        ("optimizer.lr", ".nan", "positive"),
        ("optimizer.name", "adamm", "Did you mean 'adam'"),
        ("optimizer.ema", "1", "below 1"),
        ("optimizer.lr.x", "1", "has no parts"),
        ("optimizer", "3", "names with values"),
        ("deterministic", "1", "takes bool"),
        ("device", "cuda:", "device"),
        ("device", "0", "device"),
        ("device", "tpu", "device"),
        ("precision", "fp16", "precision"),
        ("loss.class_weights", "enett", "Did you mean 'enet'"),
        ("augmentation.crop", "[8]", "crop"),
        ("data.resize", "stretch", "data.resize"),
        ("epochs", "0", "positive"),
        ("seed", "[", "cannot read the value"),
    ],
)
def test_wrong_values(name, value, message):
    with pytest.raises(InputError, match=message):
        override(RunConfig(), {name: value})


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "steps: x"])
def test_damaged_file(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_config(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_config(tmp_path / "config.yaml")


def test_differences_by_dotted_name():
    new = override(EVERYTHING, {"optimizer.lr": "2", "steps": "5"})
    assert differences(EVERYTHING, new) == {"optimizer.lr": (1e-5, 2.0), "steps": (77, 5)}


def test_plain_values_are_plain():
    assert from_plain(RunConfig, to_plain(EVERYTHING)) == EVERYTHING
    assert to_plain(EVERYTHING)["augmentation"]["crop"] == [31, 57]


def test_arguments_of_another_package_survive_the_file(tmp_path):
    settings = {"model.name": "smp/fpn-resnet18", "model.options.smp": "{decoder_pyramid_channels: 64}"}
    config = override(RunConfig(), settings)
    assert config.model.options.smp == {"decoder_pyramid_channels": 64}
    config.write(tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
