"""A run from its settings to a complete folder, and what it refuses."""

import csv
import io
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from boxes import CLASSES, draw_data
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file

from sceneparse.config import read_config
from sceneparse.data.augment import Augmentation
from sceneparse.deploy.bundle import load_model
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import confusion_matrix, scores
from sceneparse.labels import LabelSet
from sceneparse.normalization import IMAGENET
from sceneparse.prediction.inference import normalized
from sceneparse.settings import override
from sceneparse.training import loop as loop_module
from sceneparse.training.checkpoint import load_checkpoint
from sceneparse.training.learner import Learner
from sceneparse.training.loss import upsampled_cross_entropy
from sceneparse.training.optim import learning_rate
from sceneparse.training.run import make_network, train
from sceneparse.training.validation import collapse_warning


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_under(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- the folder


def test_run_folder_is_complete(unbroken):
    found = {name for name in files_under(unbroken) if not name.startswith("tensorboard")}
    assert found == {
        ".lock",
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "losses.csv",
        "warnings.json",
        "curves.png",
        "evaluation.json",
        "samples/batch.png",
        "samples/step_0000004.png",
        "samples/step_0000008.png",
        "samples/step_0000010.png",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "model/model.safetensors",
        "model/config.json",
    }
    for picture in (unbroken / "curves.png", unbroken / "samples" / "step_0000010.png"):
        with Image.open(picture) as image:
            image.load()


def test_tables(unbroken, config):
    metrics = rows(unbroken / "metrics.csv")
    assert [row["step"] for row in metrics] == ["4", "8", "10"]
    assert [row["images"] for row in metrics] == ["8", "16", "20"]
    assert [row["epoch"] for row in metrics] == ["1", "2", "2.5"]
    losses = rows(unbroken / "losses.csv")
    assert [row["step"] for row in losses] == [str(step) for step in range(1, 11)]
    for row in losses:
        wanted = learning_rate(config.optimizer, int(row["step"]) - 1, 10)
        assert float(row["lr"]) == pytest.approx(wanted, rel=1e-5)
    mean = np.mean([float(row["loss"]) for row in losses[4:8]])
    assert float(metrics[1]["train_loss"]) == pytest.approx(mean, rel=1e-4)


def test_settings_and_facts(unbroken, config, data):
    assert read_config(unbroken / "config.yaml") == config
    facts = json.loads((unbroken / "environment.json").read_text(encoding="utf-8"))
    assert facts["data"]["train_images"] == 8
    assert facts["data"]["path"] == str(data.resolve())
    assert len(facts["data"]["train_fingerprint"]) == 64
    assert facts["versions"]["torch"] == torch.__version__.partition("+")[0]


def test_the_bundle_scores_what_the_run_says(unbroken, data):
    """Recomputed from the files, with torch's own interpolation, for the weights in ``model/``."""
    network, bundle = load_model(unbroken)
    assert bundle.labels.names == CLASSES
    matrix, total, pixels = 0, 0.0, 0
    for path in sorted((data / "images" / "val").iterdir()):
        image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
        mask = np.array(Image.open(data / "masks" / "val" / path.name))
        with torch.no_grad():
            logits = network(IMAGENET(image))
        matrix = matrix + confusion_matrix(logits.argmax(1)[0].numpy(), mask, 3, 255)
        target = torch.from_numpy(mask).long()[None]
        total += torch.nn.functional.cross_entropy(logits, target, reduction="sum").item()
        pixels += mask.size
    said = json.loads((unbroken / "evaluation.json").read_text(encoding="utf-8"))
    assert said["mean_iou"] == pytest.approx(scores(matrix).mean_iou, abs=1e-3)
    assert said["val_loss"] == pytest.approx(total / pixels, rel=1e-4)
    assert bundle.scores["mean_iou"] == said["mean_iou"]
    best = max(rows(unbroken / "metrics.csv"), key=lambda row: float(row["mean_iou"]))
    assert said["step"] == int(best["step"])
    assert said["mean_iou"] == pytest.approx(float(best["mean_iou"]), rel=1e-5)


def test_the_bundle_holds_the_averaged_weights(unbroken):
    best = load_checkpoint(unbroken / "checkpoints" / "best.ckpt")
    state = load_file(unbroken / "model" / "model.safetensors")
    assert best.average is not None
    assert all(torch.equal(state[name], tensor) for name, tensor in best.average.items())
    assert any(not torch.equal(state[name], tensor) for name, tensor in best.model.items())


def test_tensorboard(unbroken):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(unbroken / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 11))
    assert [event.step for event in events.Scalars("val/mean_iou")] == [4, 8, 10]


def test_epochs_go_before_steps(config, tmp_path, said):
    short = replace(config, steps=99, epochs=0.5, eval_every=0, samples=0)
    train(short, tmp_path / "run", console=said)
    written = read_config(tmp_path / "run" / "config.yaml")
    assert (written.steps, written.epochs, written.eval_every) == (2, None, 2)  # 8 samples, batch 2


def test_a_folder_with_spaces_and_other_letters(config, tmp_path, said):
    data = draw_data(tmp_path / "Städte & [Züge] #1")
    names = list((data / "images" / "train").iterdir())
    for kind in ("images", "masks"):
        (data / kind / "train" / names[0].name).rename(data / kind / "train" / "日本 é.png")
    here = replace(config, data=replace(config.data, path=str(data), cache=str(tmp_path / "Löffel é")))
    out = tmp_path / "läufe 1" / "run [x]"
    result = train(replace(here, steps=1), out, console=said)
    assert result.step == 1
    assert "[blue] things" in said.file.getvalue()
    train(replace(here, steps=2), out, resume=True, console=said)
    assert f"resuming at step 1 of 2 from {out}" in said.file.getvalue()


# ---------------------------------------------------------------------- refusals


def test_a_used_folder_is_refused(config, unbroken, tmp_path):
    with pytest.raises(InputError, match="there is a run in this folder already"):
        train(config, unbroken)
    (tmp_path / "thing").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        train(config, tmp_path)
    with pytest.raises(InputError, match="is a file"):
        train(config, tmp_path / "thing")


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("steps", "0", "no length"),
        ("precision", "16", "for GPUs"),
        ("device", "cuda:99", "sees .* GPU"),
        ("model.name", "fcn8s-vgg20", "unknown backbone"),
        ("model.init", "missing.pth", "missing.pth"),
    ],
)
def test_wrong_settings_leave_nothing_behind(config, tmp_path, said, setting, value, message):
    with pytest.raises(InputError, match=message):
        train(override(config, {setting: value}), tmp_path / "run", console=said)
    assert not (tmp_path / "run").exists()


def test_a_parent_that_is_a_file(no_steps, tmp_path, said):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be made"):
        train(no_steps, tmp_path / "file" / "run", console=said)


# ---------------------------------------------------------------------- what goes wrong on the way


def poisoned(monkeypatch, at_step, value=math.nan):
    """From step number ``at_step`` (from 0) on, the loss is ``value``."""
    gradient = Learner._gradient

    def wrong(self, parts, step):
        loss = gradient(self, parts, step)
        return loss * value if step >= at_step else loss

    monkeypatch.setattr(Learner, "_gradient", wrong)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_non_finite_loss_stops_the_run(config, tmp_path, said, monkeypatch, value):
    poisoned(monkeypatch, 6, value)
    with pytest.raises(InputError, match=r"the loss of step 7 is (nan|inf)") as caught:
        train(config, tmp_path / "run", console=said)
    message = str(caught.value)
    # Step 7 of batches of 2 over 8 samples: the fifth and sixth of the second epoch.
    assert message.count("images/train/s") == 2
    assert "last.ckpt is the last good checkpoint" in message
    kept = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert kept.progress.step == 4
    assert all(torch.isfinite(t).all() for t in kept.model.values())

    monkeypatch.undo()  # what the message advises
    calmer = override(config, {"optimizer.lr": "1e-4", "optimizer.clip_norm": "1"})
    assert train(calmer, tmp_path / "run", resume=True, console=said).step == 10
    assert "setting optimizer.lr is now 0.0001, was 0.003" in said.file.getvalue()


def test_weights_that_are_not_finite_are_never_saved(config, tmp_path, said, monkeypatch):
    """The loss of the step that breaks them is still finite, and the run would evaluate next."""
    step_of = Learner.step

    def breaks(self, parts, step):
        loss = step_of(self, parts, step)
        if step == 7:
            next(self.network.parameters()).data[0] = math.inf
        return loss

    monkeypatch.setattr(Learner, "step", breaks)
    with pytest.raises(InputError, match="the weights after step 8 are not finite"):
        train(config, tmp_path / "run", console=said)
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").progress.step == 4


def test_collapse_is_warned_about(config, tmp_path, said):
    train(replace(config, steps=1, samples=0), tmp_path / "run", console=said)
    assert "warning: the prediction has collapsed" in said.file.getvalue()
    written = json.loads((tmp_path / "run" / "warnings.json").read_text(encoding="utf-8"))
    assert "'ground'" in written["warnings"][0]


def matrix_scores(matrix):
    return scores(np.pad(np.array(matrix, np.int64), ((0, 0), (0, 1))))


def test_collapse_warning_by_hand():
    names = ("sky", "road")
    assert "97% of the pixels are predicted as 'road'" in collapse_warning(
        matrix_scores([[3, 47], [0, 50]]), names
    )
    assert collapse_warning(matrix_scores([[40, 10], [0, 50]]), names) is None
    assert collapse_warning(matrix_scores([[1, 1], [0, 98]]), names) is None  # nearly all of it is road
    assert collapse_warning(matrix_scores([[0, 0], [0, 0]]), names) is None


# ---------------------------------------------------------------------- what a step is


def learner(config, **settings):
    config = override(config, settings)
    labels = LabelSet(names=CLASSES, file_numbers=(0, 1, 2), palette=((0, 0, 0),) * 3)
    network, _ = make_network(config, labels, Console(file=io.StringIO()))
    for name, parameter in network.named_parameters():  # scores that start at 0 would hide the body
        if name.startswith("head."):
            torch.nn.init.normal_(parameter, std=0.1)
    return Learner(config, network, IMAGENET, ignore_index=255, class_weights=torch.tensor([1.0, 2.0, 5.0]))


def batch(count, seed=0, ignored=0.0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 3, (count, 32, 32), generator=generator, dtype=torch.uint8)
    mask[torch.rand(mask.shape, generator=generator) < ignored] = 255
    return {
        "image": torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
        "mask": mask,
        "index": torch.arange(count),
    }


def joined(parts):
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


PLAIN_SGD = {
    "model.name": "fcn8s-test_convnext",  # no batch norm: its statistics are those of a part
    "model.options.dropout": "0",
    "optimizer.name": "sgd",
    "optimizer.lr": "0.1",
    "optimizer.schedule": "constant",
    "optimizer.ema": "0",
}


def test_accumulation_equals_the_big_batch(config):
    """Also where one part is nearly all ignored: every pixel weighs the same."""
    parts = [batch(2, seed=1, ignored=0.95), batch(2, seed=2)]
    in_parts, at_once = learner(config, **PLAIN_SGD), learner(config, **PLAIN_SGD)
    before = [p.detach().clone() for p in at_once.network.parameters()]
    first, second = in_parts.step(parts, 5), at_once.step([joined(parts)], 5)
    torch.testing.assert_close(first, second)
    moved = 0.0
    pairs = zip(in_parts.network.parameters(), at_once.network.parameters(), strict=True)
    for (a, b), old in zip(pairs, before, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        moved = max(moved, (b - old).abs().max().item())
    assert moved > 1e-3  # a thousand tolerances


def test_the_loss_of_a_step_is_that_of_its_batch(config):
    ours = learner(config, **PLAIN_SGD)
    data = batch(2, seed=3, ignored=0.3)
    with torch.no_grad():
        logits = ours.network(IMAGENET(data["image"]))
    wanted = upsampled_cross_entropy(logits, data["mask"], 255, ours.class_weights)
    torch.testing.assert_close(ours.step([data], 5), wanted)


def test_bfloat16_on_the_processor(config):
    full, half = learner(config), learner(config, precision="bf16")
    for step in range(2):
        data = batch(2, seed=step)
        a, b = full.step([data], step), half.step([data], step)
        assert b.dtype == torch.float32
        assert a.item() != b.item()
        assert a.item() == pytest.approx(b.item(), rel=0.1 if step == 0 else 0.5)
    assert all(p.dtype == torch.float32 for p in half.network.parameters())
    assert half.is_finite()


def test_an_operation_that_cannot_be_deterministic_is_explained(config, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("some_op does not have a deterministic implementation, but you set ...")

    monkeypatch.setattr(Learner, "_gradient", refuse)
    with pytest.raises(InputError, match="--deterministic cannot be kept here: some_op"):
        learner(config).step([batch(1)], 0)


@pytest.mark.parametrize("factor", [1, 3])
def test_class_weights_come_from_the_training_masks(config, tmp_path, said, data, factor):
    """The formula, times the factor that dataset.yaml gives the class in the middle."""
    if factor != 1:
        shutil.copytree(data, tmp_path / "data")
        data = tmp_path / "data"
        name = (data / "classes.txt").read_text().split("\n")[1]
        (data / "dataset.yaml").write_text(f"class_weights: {{{name}: {factor}}}\n")
    settings = {"loss.class_weights": "median-frequency", "steps": "1", "samples": "0"}
    weighted = override(config, settings | {"data.path": str(data)})
    seen = []
    make = loop_module.Learner

    def keep(*arguments, **named):
        seen.append(named["class_weights"])
        return make(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_module, "Learner", keep)
        train(weighted, tmp_path / "run", console=said)
    masks = [np.array(Image.open(path)) for path in (data / "masks" / "train").iterdir()]
    counts = np.bincount(np.concatenate([m.ravel() for m in masks]))
    assert (seen[0][0] / seen[0][1]).item() == pytest.approx(counts[1] / counts[0] / factor)
    assert (seen[0][2] / seen[0][1]).item() == pytest.approx(counts[1] / counts[2] / factor)


# ---------------------------------------------------------------------- starting from a run


def test_init_from_a_run_with_another_class_list(config, unbroken, tmp_path, said):
    other = draw_data(tmp_path / "other")
    (other / "classes.txt").write_text("floor\nred\nblue\nnever\n")
    start = override(config, {"data.path": str(other), "model.init": str(unbroken)})
    labels = LabelSet(
        names=("floor", "red", "blue", "never"), file_numbers=(0, 1, 2, 3), palette=((0, 0, 0),) * 4
    )
    network, normalization = make_network(start, labels, said)
    kept = load_file(unbroken / "model" / "model.safetensors")
    state = network.state_dict()
    body = [name for name in state if name.startswith("encoder.")]
    assert all(torch.equal(state[name], kept[name]) for name in body)
    fresh, _ = make_network(replace(start, model=replace(start.model, init=None)), labels, said)
    head = [name for name in state if name.startswith("head.")]
    assert all(torch.equal(state[name], fresh.state_dict()[name]) for name in head)
    assert normalization == IMAGENET
    assert "kept:" in said.file.getvalue()
    assert "made anew:" in said.file.getvalue()
    result = train(replace(start, steps=1, samples=0), tmp_path / "run", console=said)
    assert result.step == 1
    _, bundle = load_model(tmp_path / "run")
    assert bundle.labels.names == labels.names


def test_init_from_a_run_with_the_same_classes_keeps_all(config, unbroken, said):
    labels = LabelSet(names=CLASSES, file_numbers=(0, 1, 2), palette=((0, 0, 0),) * 3)
    network, _ = make_network(override(config, {"model.init": str(unbroken)}), labels, said)
    kept = load_file(unbroken / "model" / "model.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in network.state_dict().items())


def test_a_crop_larger_than_the_pictures(config, tmp_path, said):
    """Padding is ignored, never a class: the loss stays finite and a step is taken."""
    large = replace(config, augmentation=Augmentation(crop=(80, 96)), steps=1, samples=0)
    assert train(large, tmp_path / "run", console=said).step == 1
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["augmentation"]["crop"] == [80, 96]


def test_small_views_come_first(config, tmp_path, said, monkeypatch):
    seen, real = [], Learner.step

    def step(self, parts, number):
        seen.append((number, [tuple(part["image"].shape[2:]) for part in parts]))
        return real(self, parts, number)

    monkeypatch.setattr(Learner, "step", step)
    views = replace(config.augmentation, early=0.5)
    train(replace(config, steps=4, eval_every=4, augmentation=views), tmp_path / "run", console=said)
    assert seen == [(0, [(32, 32)]), (1, [(32, 32)]), (2, [(64, 64)]), (3, [(64, 64)])]


def test_adjusted_logits_are_those_of_the_weighted_loss(config):
    """Against PyTorch's loss of the network's own logits, and what its gradient does to a score's bias."""
    part = batch(2, seed=1)
    weights = torch.tensor([1.0, 2.0, 5.0])
    adjusted = learner(config, **PLAIN_SGD | {"loss.logit_adjustment": "true", "optimizer.clip_norm": "0"})
    plain = learner(config, **PLAIN_SGD | {"optimizer.clip_norm": "0"})
    images = normalized(part["image"], IMAGENET, torch.device("cpu"))
    with torch.no_grad():
        logits = adjusted.network.eval()(images) + weights.log()[:, None, None]
    expected = F.cross_entropy(logits, part["mask"].long(), weight=weights)
    torch.testing.assert_close(adjusted.step([part], 5), expected)
    assert abs(expected - plain.step([part], 5)) > 1e-3
    bias, of_plain = ((o.network.head.score["stride32"].bias.detach()) for o in (adjusted, plain))
    assert bias[2] - bias[0] < of_plain[2] - of_plain[0]  # the rare class is not told to be everywhere


def test_logits_of_learned_upsampling_cannot_be_adjusted(config):
    with pytest.raises(InputError, match="logit_adjustment"):
        learner(config, **{"loss.logit_adjustment": "true", "model.options.upsampling": "learned"})
