"""Runs become result files: quality.py and ablations.py on made-up run folders, without any training."""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_data import write_data

import sceneparse
from sceneparse.data.dataset import open_dataset
from sceneparse.data.decode import read_image
from sceneparse.lock import process_lock
from sceneparse.recipes import recipe
from sceneparse.settings import differences, override

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    import ablations
    import finished_run
    import provenance
    import quality
    import step_costs
    from ablation_variants import BASE, STUDIES, Study, Variant
    from random_model import write_random_model
finally:
    sys.path.pop(0)

STUDY = Study(
    title="made up",
    recipe="camvid-small",
    base="the recipe",
    samples=5000,
    variants={"no-flip": Variant(what="not mirrored", settings={"augmentation.flip": "false"})},
)


def write_run(folder, config, iou, *, seconds=120.0, steps=None, commit="abc"):
    """A run folder with two evaluations, the first of them the better one."""
    folder.mkdir(parents=True)
    config.write(folder / "config.yaml")
    facts = {
        "hardware": {"gpus": [], "cores": 2, "instructions": "AVX2"},
        "threads": 1,
        "git": {"commit": commit, "changed": False},
        "versions": {"python": "3.11"},
    }
    (folder / "environment.json").write_text(json.dumps(facts), encoding="utf-8")
    steps = config.steps if steps is None else steps
    with (folder / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "images", "mean_iou", "pixel_accuracy", "seconds"])
        writer.writerow([steps // 2, steps * 4, iou + 0.01, 0.9, seconds / 2])
        writer.writerow([steps, steps * 8, iou, 0.9, seconds])
    return folder


# ------------------------------------------------------------------ runs


def test_spread_is_that_of_a_sample():
    found = finished_run.spread([1.0, 2.0, 6.0])
    assert found == {"mean": 3.0, "sd": pytest.approx(np.std([1, 2, 6], ddof=1)), "n": 3}
    assert finished_run.spread([4.0]) == {"mean": 4.0, "sd": None, "n": 1}


def test_command_names_what_differs_from_the_recipe_and_no_path_of_the_machine():
    config = recipe("camvid-small")
    made = replace(
        config,
        data=replace(config.data, path="/home/someone/camvid", cache="/home/someone/cache"),
        augmentation=replace(config.augmentation, scale=(1.0, 1.5)),
        device="cpu",
        precision="32",
        workers=2,
        seed=7,
    )
    assert shlex.split(finished_run.training_command(made)) == [
        *("sceneparse", "train", "DATA", "--out", "RUN", "--recipe", "camvid-small"),
        *("--set", "augmentation.scale=[1.0,1.5]"),
    ]


def test_command_gives_the_settings_again():
    config = recipe("camvid-small")
    made = replace(
        config,
        augmentation=replace(config.augmentation, crop=(128, 160), flip=False),
        model=replace(config.model, name="fcn8s-vgg19_bn", init="imagenet"),
        optimizer=replace(config.optimizer, ema=0.5),
    )
    words = shlex.split(finished_run.training_command(made))
    settings = dict(word.split("=", 1) for before, word in pairwise(words) if before == "--set")
    assert override(config, settings) == made


def test_a_run_with_steps_left_is_not_finished(tmp_path):
    config = recipe("camvid-small")
    assert finished_run.finished_run(tmp_path) is None
    assert finished_run.finished_run(write_run(tmp_path / "a", config, 0.5, steps=2000)) is None
    run = finished_run.finished_run(write_run(tmp_path / "b", config, 0.5, seconds=100.0))
    assert run.training_seconds == 100.0
    assert run.images_per_second == pytest.approx(config.steps * 8 / 100)
    assert run.machine == "1 core, AVX2"


def test_what_a_run_cost_says_threads_and_every_time_it_was_resumed(tmp_path):
    folder = write_run(tmp_path / "run", recipe("camvid-small"), 0.5, seconds=63 * 60.0)
    run = finished_run.finished_run(folder)
    assert run.cost == "63 min, 1 thread, in one go"
    facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    before = {"threads": 1}  # such runs did not say their commit
    facts["resumed"] = [before, {"threads": 2, "git": {"commit": "def", "changed": True}}]
    run = replace(run, facts=facts)
    assert run.cost == "63 min, 1 and 2 threads, resumed twice"
    assert run.machine == "2 cores, AVX2"
    assert run.commits == ["abc", "not known", "def, changed"]
    assert provenance.cost_said(9.6, [2, 2, 2, 2]) == "10 min, 2 threads, resumed 3 times"


# ------------------------------------------------------------------ quality


def test_runs_are_grouped_by_recipe_in_the_order_of_seeds(tmp_path):
    small, best = recipe("camvid-small"), recipe("camvid-best")
    folders = [
        write_run(tmp_path / "a", replace(small, seed=2), 0.5),
        write_run(tmp_path / "b", best, 0.6),
        write_run(tmp_path / "c", replace(small, seed=1), 0.4),
    ]
    found = quality.groups(folders)
    assert {name: [run.config.seed for run in runs] for name, runs in found.items()} == {
        "camvid-small": [1, 2],
        "camvid-best": [0],
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "same seed"),
        ({"seed": 1, "batch_size": 4}, "more than their seed"),
    ],
)
def test_runs_that_are_no_seeds_of_one_recipe_are_refused(tmp_path, change, said):
    config = recipe("camvid-small")
    folders = [
        write_run(tmp_path / "a", config, 0.5),
        write_run(tmp_path / "b", replace(config, **change), 0.5),
    ]
    with pytest.raises(SystemExit, match=said):
        quality.groups(folders)


def test_quality_of_a_run_is_what_its_labels_say(tmp_path):
    data = write_data(tmp_path / "data")
    dataset = open_dataset(data)
    folder = write_run(tmp_path / "run", recipe("camvid-small"), 0.5)
    write_random_model(folder / "model", "fcn8s-test_resnet", dataset.labels)
    options = argparse.Namespace(
        data=data,
        split="val",
        absent="skip",
        views=["single", "flip"],
        device="cpu",
        engine="auto",
        seconds=0,
    )
    figures = quality.figures_of([finished_run.finished_run(folder)], options)

    predictor, labels = sceneparse.load(folder, device="cpu"), dataset.labels
    for view, flip in (("single", False), ("flip", True)):
        right, union = np.zeros(3), np.zeros(3)
        for pair in dataset.split("val"):
            image = read_image(pair.image)
            truth = labels.to_index(pair.mask.read(image.shape[:2]))
            guess = np.where(truth == labels.ignore_index, 99, predictor.predict_index(image, flip=flip))
            for k in range(3):
                right[k] += ((guess == k) & (truth == k)).sum()
                union[k] += ((guess == k) | (truth == k)).sum()
        expected = (right / union)[union > 0].mean()
        assert figures["views"][view]["mean_iou"]["mean"] == pytest.approx(expected, abs=1e-9)
    assert figures["views"]["flip"]["ms"]["best"] > 0
    assert figures["images"] == 4
    assert figures["picture_hw"] == (48, 64)
    (seed,) = figures["seeds"]
    assert seed["best_step"] == recipe("camvid-small").steps // 2
    assert seed["mean_iou_of_last_step"] == 0.5
    assert "boundary_mean_iou" not in seed  # nobody has read this run
    json.dumps(figures)


# ------------------------------------------------------------------ ablations


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_differs_from_the_base_by_its_own_settings(name):
    study = STUDIES[name]
    base, _ = ablations.config_of(study, Variant(what="", settings={}), 400, 0)
    assert base.steps == 400 // base.images_per_step
    for variant in study.variants.values():
        config, _ = ablations.config_of(study, variant, 400, 0)
        changed = set(differences(base, config)) - {"steps", "eval_every"}
        assert changed == set(variant.settings), f"{variant.what}: the base has some of this already"
        assert config.steps == round(400 * variant.pictures) // config.images_per_step


def test_pictures_in_the_same_time_are_reckoned_from_both_kinds_of_views():
    small = replace(recipe("camvid-small"), batch_size=10)
    assert small.augmentation.early == 0.5
    whole = replace(small, augmentation=replace(small.augmentation, early=0.0))
    seconds = {(BASE, "whole views"): 3.0, (BASE, "small views"): 1.0, ("whole", "whole views"): 4.0}
    rows = step_costs.rows_of({BASE: small, "whole": whole}, seconds)
    assert rows["whole"]["pictures_in_the_same_time"] == 0.5  # 0.2 s a picture against 0.4
    assert rows[BASE]["pictures_in_the_same_time"] == 1
    assert rows[BASE]["views"]["small views"] == {
        "crop": [160, 192],
        "share_of_steps": 0.5,
        "step_s": 1.0,
        "images_per_s": 10.0,
    }
    assert list(rows["whole"]["views"]) == ["whole views"]


def test_steps_whose_cost_is_measured_are_those_of_training():
    config = recipe("camvid-small")
    config = replace(
        config,
        model=replace(config.model, name="fcn8s-test_resnet"),
        augmentation=replace(config.augmentation, crop=(64, 64)),
        batch_size=2,
    )
    steps = step_costs.steps_of(config)
    assert set(steps) == {"whole views", "small views"}
    assert all(float(step()) > 0 for step in steps.values())


def test_folder_changes_with_settings_and_budget_and_not_with_the_machine(tmp_path):
    def name(study=STUDY, samples=400, variant=BASE):
        (planned,) = ablations.plan(study, [variant], [3], samples, tmp_path)
        return planned.folder.name

    assert name().startswith("base-seed3-")
    assert name(replace(STUDY, settings={"device": "cpu", "workers": "1"})) == name()
    names = [
        name(),
        name(samples=800),
        name(variant="no-flip"),
        name(replace(STUDY, settings={"batch_size": "4"})),
    ]
    assert len({text.rpartition("-")[2] for text in names}) == 4


def test_command_of_a_run_is_one_that_the_command_line_takes(tmp_path):
    from sceneparse.cli import parse

    (planned,) = ablations.plan(STUDY, ["no-flip"], [3], 400, tmp_path)
    parse(planned.command(STUDY, "DATA", "RUN"))
    assert planned.settings["augmentation.flip"] == "false"
    assert planned.settings["steps"] == "50"


def test_finished_runs_are_left_alone_and_stopped_ones_go_on(tmp_path, monkeypatch):
    called = []

    def run(command, **_):
        called.append(command[command.index("train") :])
        return argparse.Namespace(returncode=2)

    monkeypatch.setattr(ablations.subprocess, "run", run)
    options = argparse.Namespace(threads=1, device="cpu")
    planned = ablations.plan(STUDY, [BASE, "no-flip"], [0, 1], 400, tmp_path)
    finished, stopped, new, _ = planned
    write_run(finished.folder, finished.config, 0.5)
    write_run(stopped.folder, stopped.config, 0.5, steps=10)
    said = [ablations.make(one, STUDY, Path("data"), options) for one in (finished, stopped, new)]
    assert [text.split(": ")[1][:5] for text in said] == ["there", "ended", "ended"]
    assert called[0] == ["train", "data", "--out", str(stopped.folder), "--resume", "--device", "cpu"]
    assert called[1][:6] == ["train", "data", "--out", str(new.folder), "--recipe", "camvid-small"]
    assert len(called) == 2


def test_a_run_of_another_process_is_left_to_it(tmp_path, monkeypatch):
    """Where that one was killed and its training goes on, train itself refuses: it holds the run folder."""
    (planned,) = ablations.plan(STUDY, [BASE], [0], 400, tmp_path)
    called = []

    def run(command, **_):
        called.append(command)
        return argparse.Namespace(returncode=2)

    monkeypatch.setattr(ablations.subprocess, "run", run)
    options = argparse.Namespace(threads=1, device="cpu")
    with process_lock(planned.folder.with_suffix(".lock")):
        said = ablations.make(planned, STUDY, Path("data"), options)
    assert said.endswith("another process is at it")
    assert not called
    assert "ended with 2" in ablations.make(planned, STUDY, Path("data"), options)


def test_what_is_finished_is_in_the_result_file_whenever_the_script_is_killed(tmp_path, monkeypatch):
    study = replace(STUDY, samples=400)
    made, most = [], 2

    def make(planned, *_):
        if len(made) == most:
            raise KeyboardInterrupt
        made.append(planned.folder.name)
        write_run(planned.folder, planned.config, 0.5)
        return "done"

    monkeypatch.setattr(ablations, "make", make)
    monkeypatch.setattr(ablations, "STUDIES", {"made-up": study})
    monkeypatch.setattr(provenance, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ablations.py", "made-up", "--out", str(tmp_path), *arguments])
        return ablations.main()

    def seeds():
        (path,) = (tmp_path / "results").glob("ablations-made-up_*.json")
        rows = json.loads(path.read_text(encoding="utf-8"))["figures"]["rows"]
        return {name: sorted(row["seeds"]) for name, row in rows.items()}

    with pytest.raises(KeyboardInterrupt):
        call("--seeds", "0,1")
    assert seeds() == {BASE: ["0"], "no-flip": ["0"]}
    most = 100
    assert call("--seeds", "2", "--only", BASE) == 0
    assert seeds() == {BASE: ["0", "2"], "no-flip": ["0"]}
    assert call("--only", "no-flip", BASE) == 0
    assert len(made) == len(set(made)) == 3, "what is finished is not made again"
    (path,) = (tmp_path / "results").iterdir()
    record = json.loads(path.read_text(encoding="utf-8"))
    again = "python benchmarks/ablations.py made-up --samples 400 --seeds"
    assert record["command"] == f"{again} 0,2 --only {BASE} && {again} 0 --only no-flip"
    assert record["figures"]["rows"][BASE]["difference"] is None
    assert record["figures"]["rows"]["no-flip"]["difference"]["n"] == 1

    assert call("--samples", "16") == 0  # a trial
    assert seeds() == {BASE: ["0", "2"], "no-flip": ["0"]}
    assert len(list((tmp_path / "results").glob("ablations-made-up-16_*.json"))) == 1


def test_a_run_of_the_recipe_itself_stands_for_the_row_with_its_settings(tmp_path):
    config = replace(recipe("camvid-small"), precision="32", device="cpu", seed=1)
    study = replace(STUDY, samples=config.steps * config.images_per_step)
    planned = ablations.plan(study, [BASE, "no-flip"], [0, 1], study.samples, tmp_path / "out")
    ablations.use(write_run(tmp_path / "run", config, 0.7), planned)
    rows = ablations.figures_of(study, planned, study.samples, "val")["rows"]
    assert {name: row["seeds"] for name, row in rows.items()} == {BASE: {"1": 0.7}}
    ablations.use(tmp_path / "run", planned)  # once more is no fault

    for change in ({"seed": 2}, {"steps": config.steps - 1}, {"batch_size": 4}):
        other = write_run(tmp_path / str(change), replace(config, **change), 0.7)
        with pytest.raises(SystemExit, match="no run of this study"):
            ablations.use(other, planned)
    with pytest.raises(SystemExit, match="no finished run"):
        ablations.use(tmp_path, planned)

    (begun,) = (one.folder for one in planned if one.variant == BASE and one.config.seed == 0)
    write_run(begun, replace(config, seed=0), 0.7, steps=10)
    with pytest.raises(SystemExit, match=f"remove {begun}"):
        ablations.use(write_run(tmp_path / "seed0", replace(config, seed=0), 0.7), planned)


def test_differences_are_of_runs_with_the_same_seed(tmp_path):
    planned = ablations.plan(STUDY, [BASE, "no-flip"], [0, 1, 2, 3], 400, tmp_path)
    scores = {
        (BASE, 0): 0.50,
        (BASE, 1): 0.60,
        (BASE, 3): 0.10,
        ("no-flip", 0): 0.53,
        ("no-flip", 1): 0.61,
        ("no-flip", 2): 0.9,
    }
    for one in planned:
        score = scores.get((one.variant, one.config.seed))
        if score is None:
            write_run(one.folder, one.config, 0.1, steps=1)  # was stopped
        else:
            write_run(one.folder, one.config, score)
    assert ablations.seeds_in(tmp_path) == {0, 1, 2, 3}
    rows = ablations.figures_of(STUDY, planned, 400, "val")["rows"]
    assert rows[BASE]["mean_iou"]["mean"] == pytest.approx(0.40)
    assert rows["no-flip"]["mean_iou"]["n"] == 3
    assert rows["no-flip"]["difference"] == {
        "mean": pytest.approx(0.02),
        "sd": pytest.approx(np.std([0.03, 0.01], ddof=1)),
        "n": 2,
    }
    assert rows["no-flip"]["minutes"]["mean"] == pytest.approx(2.0)


def test_a_sequence_that_is_held_out_is_in_no_training_list(tmp_path):
    from PIL import Image

    data = tmp_path / "camvid"
    for folder in ("train", "trainannot"):
        (data / folder).mkdir(parents=True)
        for name in ("0001TP_1", "0001TP_2", "0006R0_1", "0016E5_1"):
            picture = Image.new("L" if folder == "trainannot" else "RGB", (4, 3))
            picture.save(data / folder / f"{name}.png")
    dataset = open_dataset(ablations.without(data, "0001TP", tmp_path / "out"))
    stems = {split: [pair.stem for pair in dataset.split(split)] for split in ("train", "val")}
    assert stems == {"train": ["0006R0_1", "0016E5_1"], "val": ["0001TP_1", "0001TP_2"]}
    assert dataset.labels.num_classes == 11
    said = yaml.safe_load((tmp_path / "out" / "dataset.yaml").read_text(encoding="utf-8"))
    assert "test" not in said
    with pytest.raises(SystemExit, match="0 of 4 names"):
        ablations.without(data, "0099XX", tmp_path / "other")
