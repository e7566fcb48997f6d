"""The model card says what it is given, all of it; what ships is compared and drawn as the card says."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.preprocess import ResizePolicy
from sceneparse.deploy.bundle import Bundle
from sceneparse.evaluation.confusion import numbers_json
from sceneparse.evaluation.outputs import write_evaluation
from sceneparse.evaluation.reading import Reading, costliest_confusions
from sceneparse.labels import camvid
from sceneparse.normalization import IMAGENET
from sceneparse.recipes import recipe
from sceneparse.report.findings import read_findings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    from finished_run import FinishedRun
    from model_card import LICENCE, Facts, Picture, card
    from ship import PICTURES, PICTURES_BYTES, changed_share, costly_confusions, write_pictures
finally:
    sys.path.pop(0)


@pytest.fixture(scope="module")
def facts() -> Facts:
    """Of two random pictures and a network that was never trained."""
    rng = np.random.default_rng(0)
    reading = Reading(11, 11)
    for name in ("one", "two"):
        truth = rng.integers(0, 12, (40, 50))
        prediction = rng.integers(0, 11, (40, 50)) if name == "one" else (truth + 1) % 11  # other mistakes
        reading.add(reading.count(name, truth, prediction, rng.random((40, 50), np.float32)))
    matrix = reading.matrix()
    labels = camvid()
    numbers = numbers_json(matrix, labels, images=2, split="val")
    train = {"images": 7, "pixels": [100] * 11, "containing": [5] * 11}
    findings = read_findings(reading.numbers() | {"train": train}, 11)
    assert findings is not None
    bundle = Bundle(
        architecture={"name": "fcn4s-fused-hgnetv2_b0"},
        labels=labels,
        resize=ResizePolicy(mode="short-side", size=360),
        normalization=IMAGENET,
        licence=LICENCE,
        scores={"step": 1234, "mean_iou": numbers["mean_iou"]},
    )
    run = FinishedRun(
        folder=Path("run"),
        config=replace(recipe("camvid-small"), steps=4321),
        facts={
            "hardware": {"gpus": [], "instructions": "AVX2"},
            "threads": 2,
            "versions": {"torch": "9.8", "timm": "7.6", "sceneparse": "5.4"},
        },
        rows=({"seconds": 600.0, "images": 3000.0},),
    )
    return Facts(
        name="camvid-small",
        bundle=bundle,
        numbers=numbers,
        views={"the mirrored picture": 0.1234},
        parameters=3_210_000,
        weight_bytes=6_540_000,
        changed=0.00012,
        mean_iou_before=0.4567,
        findings=findings,
        confusions=costliest_confusions(matrix, matrix, 3),
        run=run,
        quality=None,
        pictures=[Picture(path=f"../{m.name}.jpg", mistake=m) for m in findings.worst],
    )


def test_the_card_says_everything(facts):
    said = card(facts)
    for row in facts.numbers["per_class"]:
        assert f"| {row['name']} | {row['iou']:.3f} | {row['accuracy']:.3f} | " in said
    for text in (
        *(
            f"**Mean IoU {facts.numbers['mean_iou']:.3f}",
            "the mirrored picture: 0.123",
            "3.21 million",
            "6.5 MB",
        ),
        *(
            "0.012% of val's pixels",
            "0.4567",
            "step 1234",
            "4,321 steps",
            "10 min, 2 threads, in one go",
            "5.0 images a second",
        ),
        *("2 cores, AVX2", "torch 9.8", "sceneparse train DATA --out RUN --recipe camvid-small", "5 of 7"),
        *("within 3 pixels", "Calibration", f"The weights are {LICENCE}", "short side of 360 pixels"),
        *(
            "safety",
            "Night, rain",
            "following people",
            "`docs/images/camvid-small`",
            "test* was not used",
            "](../one.jpg)",
            "](../two.jpg)",
        ),
    ):
        assert text in said, text
    assert "None" not in said
    assert not re.search(r"\bnan\b", said)
    assert "seeds" not in said, "there is no result file of several"


def test_the_card_with_several_seeds(facts):
    views = {
        "single": {"mean_iou": {"mean": 0.7771, "sd": 0.0042, "n": 3}, "ms": {"best": 51.4, "median": 63.2}}
    }
    seeds = [{"seed": n, "training_minutes": 60.0 + n, "threads": [1] * n} for n in (1, 2)]
    seeds.append({"seed": facts.run.config.seed, "training_minutes": 10.0, "threads": [2]})
    quality = {"views": views, "machine": "2 cores, AVX2", "seeds": seeds}
    said = card(replace(facts, quality=quality))
    assert "The others: seed 1: 61 min, 1 thread, in one go; seed 2: 62 min, 1 thread, resumed once." in said
    assert "with 3 seeds: mean IoU 0.777, standard deviation 0.004." in said
    assert "takes 51 ms on 2 cores, AVX2" in said, "the least, as docs/results.md has it"


def test_changed_labels_are_counted(tmp_path):
    for folder, value in (("one", 3), ("other", 4)):
        (tmp_path / folder).mkdir()
        for name, size in (("a", (4, 5)), ("b", (2, 10))):
            labels = np.zeros(size, np.uint8)
            labels[0, 0] = value if name == "a" else 0
            Image.fromarray(labels).save(tmp_path / folder / f"{name}.png")
    assert changed_share(tmp_path / "one", tmp_path / "other") == 1 / 40


def test_confusions_of_an_evaluation(facts, tmp_path):
    matrix = np.zeros((11, 12), np.int64)
    np.fill_diagonal(matrix, 100)
    matrix[2, 5] = 60
    write_evaluation(tmp_path, numbers_json(matrix, camvid(), images=1, split="val"), matrix)
    (pair,) = costly_confusions(tmp_path)
    assert (pair["truth"], pair["prediction"], pair["pixels"]) == (2, 5, 60)
    # IoU of 2: 100/160, of 5: 100/160; both would be 1.
    assert pair["gain"] == pytest.approx(2 * (60 / 160) / 11)


def test_pictures_are_few_and_small(facts, tmp_path):
    rng = np.random.default_rng(1)
    worst = [replace(facts.findings.worst[0], name=f"image {i}") for i in range(PICTURES + 1)]
    (tmp_path / "worst").mkdir()
    for mistake in worst:
        noise = rng.integers(0, 256, (60, 80, 3), np.uint8)
        Image.fromarray(noise).resize((720, 540)).save(tmp_path / "worst" / f"{mistake.name}.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "of before.jpg").write_bytes(b"")
    card_folder = tmp_path / "package" / "camvid-small"
    found = write_pictures(worst, tmp_path / "worst", tmp_path / "images", card_folder)
    files = sorted((tmp_path / "images").iterdir())
    assert [path.name for path in files] == [f"image {i}.jpg" for i in range(PICTURES)]
    assert sum(path.stat().st_size for path in files) <= PICTURES_BYTES
    card_folder.mkdir(parents=True)
    assert all((card_folder / picture.path).resolve() in files for picture in found)
