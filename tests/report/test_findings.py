"""The page's sections made from a reading, against the numbers that they are made from."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_html import Page, per_cent

from sceneparse.evaluation.confusion import confusion_matrix, numbers_json
from sceneparse.evaluation.reading import Reading
from sceneparse.labels import label_set, label_set_from_names
from sceneparse.report import mistakes, training_part, write_report
from sceneparse.report.classes import read_classes
from sceneparse.report.findings import read_findings
from sceneparse.report.next_steps import next_steps
from sceneparse.report.run_folder import Run
from sceneparse.report.setup import read_setup

IGNORED = 255
ANCHORS = {"worst", "boundaries", "calibration"}


EMPTY_RUN = Run(
    path=Path("a"),
    config={},
    environment={},
    metrics={},
    losses={},
    evaluation=None,
    reading={},
    baseline=[],
    warnings=[],
    samples=[],
    first_batch=[],
    overlays=[],
)


@pytest.fixture(autouse=True)
def no_charts(monkeypatch):
    monkeypatch.setattr(training_part, "chart_svg", lambda *_: "")


def images(classes, count=3, seed=0, size=(60, 80)):
    """Blocks of classes; every prediction is wrong in a tenth of its blocks, and surer than it should be."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        shape = (size[0] // 20, size[1] // 20)
        truth = rng.integers(0, classes, shape)
        guess = np.where(rng.random(shape) < 0.3, rng.integers(0, classes, shape), truth)
        truth, guess = (a.repeat(20, 0).repeat(20, 1).astype(np.uint8) for a in (truth, guess))
        truth[rng.random(truth.shape) < 0.05] = IGNORED
        yield f"i{number}", truth, guess, np.full(truth.shape, 0.97, np.float32)


def add_reading(run, labels, samples, **more):
    """``evaluation.json``, ``reading.json`` and pictures of these samples; the numbers of the reading."""
    samples = list(samples)
    reading = Reading(labels.num_classes, IGNORED)
    matrix = np.zeros((labels.num_classes, labels.num_classes + 1), np.int64)
    for name, truth, guess, *confidence in samples:
        reading.add(reading.count(name, truth, guess, *confidence))
        matrix += confusion_matrix(guess, truth, labels.num_classes, IGNORED)
    evaluation = numbers_json(matrix, labels, images=len(samples), split="val")
    evaluation |= {"confusion_matrix": matrix.tolist(), "palette": [list(c) for c in labels.palette]}
    (run / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    numbers = {**reading.numbers(), **more}
    (run / "reading.json").write_text(json.dumps(numbers), encoding="utf-8")
    for kind in ("worst", "regions"):
        (run / kind).mkdir(exist_ok=True)
        for item in numbers[kind]:
            Image.new("RGB", (40, 30)).save(run / kind / f"{item['name']}.png")
    return numbers


def page_of(run):
    return Page(write_report(run))


def test_sections_hold_the_numbers_of_the_reading(run):
    numbers = add_reading(run, label_set("camvid"), images(11))
    page = page_of(run)
    assert set(page.ids) >= ANCHORS | {"regions", "next"}
    for item in numbers["worst"]:
        assert item["name"] in page.text
        assert f"costs {100 * item['gain']:.2f} points" in page.text
        accuracy = per_cent(1 - item["wrong"] / item["pixels"], 1).replace("\u00a0", " ")
        assert f"pixel accuracy {accuracy} · its own mean IoU {100 * item['mean_iou']:.1f} %" in page.text
    true, right = (np.array(numbers["boundaries"][key]) for key in ("true", "right"))
    rows = page.tables["scores by distance from a boundary"]
    for n, (name, share, accuracy, _) in enumerate(rows[1:5], 1):
        assert name.replace("\u00a0", " ") == f"within {(3, 5, 10, 20)[n - 1]} px"
        assert share == per_cent(true[:n].sum() / true.sum(), 1)
        assert accuracy == per_cent(right[:n].sum() / true[:n].sum(), 1)
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert rows[5][2:] == [per_cent(evaluation["pixel_accuracy"], 1), per_cent(evaluation["mean_iou"], 1)]
    accuracy = right.sum() / true.sum()
    assert f"overconfident by {100 * (0.97 - accuracy):.1f} points" in page.text
    assert per_cent(0.97 - accuracy).replace("\u00a0", " ") in page.text  # all in one bin
    assert (
        f"100 % of the pixels are in the highest bin, of which {100 * accuracy:.1f} % are right" in page.text
    )


def test_what_is_wrong_comes_before_how_it_was_trained(run):
    add_reading(run, label_set("camvid"), images(11))
    page = page_of(run)
    wrong = ["next", "classes", "confusion", "worst", "regions", "boundaries", "calibration"]
    places = [page.ids.index(name) for name in (*wrong, "curves", "panels", "repeat", "settings")]
    assert places == sorted(places)
    links = [address for address in page.addresses if address in {f"#{name}" for name in page.ids}]
    assert links[:7] == [f"#{name}" for name in wrong]


def test_class_table_says_what_the_training_split_holds(run):
    labels = label_set("camvid")
    train = {"images": 40, "pixels": [1000 * n for n in range(11)], "containing": list(range(30, 41))}
    add_reading(run, labels, images(11))
    assert "training images" not in page_of(run).tables["scores by class"][0]
    add_reading(run, labels, images(11), train=train)
    head, *rows = page_of(run).tables["scores by class"]
    assert head[4:7] == ["share of pixels", "share in training", "training images"]
    for row in rows:
        n = labels.names.index(row[1])
        assert row[5:7] == [per_cent(n / 55), str(30 + n)]


def test_pictures_are_in_the_page(run):
    before = page_of(run)
    numbers = add_reading(run, label_set("camvid"), images(11))
    added = len(numbers["worst"]) + len(numbers["regions"])
    assert added >= 3
    after = page_of(run)
    assert sum(a.startswith("data:image/") for a in after.addresses) == added + sum(
        a.startswith("data:image/") for a in before.addresses
    )
    (run / "worst" / f"{numbers['worst'][0]['name']}.png").unlink()
    assert numbers["worst"][0]["name"] in page_of(run).text


@pytest.mark.parametrize("classes", [1, 2, 150])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_classes_and_images(new_run, classes, count):
    run = new_run("a", evaluations=1, steps=20)
    labels = label_set_from_names([f"class {n}" for n in range(classes)])
    add_reading(run, labels, images(classes, count))
    page = page_of(run)
    assert len(page.ids) == len(set(page.ids))
    assert ("calibration" in page.ids) == (count > 0)
    assert "nan" not in page.text.lower().split()


def test_every_pixel_ignored(new_run):
    run = new_run("a", evaluations=1, steps=20)
    nothing = np.full((40, 40), IGNORED, np.uint8)
    add_reading(
        run, label_set("camvid"), [("a", nothing, np.zeros_like(nothing), np.ones((40, 40), np.float32))]
    )
    assert not ANCHORS & set(page_of(run).ids)


def test_all_right_says_nothing(new_run):
    run = new_run("a", evaluations=1, steps=20)
    right = [(name, truth, truth, np.ones(truth.shape, np.float32)) for name, truth, *_ in images(11)]
    add_reading(run, label_set("camvid"), right)
    page = page_of(run)
    assert not {"next", "worst", "regions"} & set(page.ids)
    assert "On average it is as sure as it is right." in page.text


def test_a_run_without_a_reading(run):
    assert not ANCHORS & set(page_of(run).ids)


@pytest.mark.parametrize(
    "change",
    [
        "{half",
        "[]",
        {"worst": None},
        {"boundaries": {"widths": [3], "true": [[1]], "predicted": [[1]], "right": [[1]]}},
        {"calibration": {"pixels": [1, 2], "confidence": [1], "right": [0]}},
        {"worst": [{"name": "a"}]},
        {"regions": [{"name": "a", "truth": 99, "prediction": 0, "pixels": 1, "share": 1, "confidence": 1}]},
    ],
    ids=str,
)
def test_a_damaged_reading_is_not_shown(run, change):
    numbers = add_reading(run, label_set("camvid"), images(11))
    text = change if isinstance(change, str) else json.dumps({**numbers, **change})
    (run / "reading.json").write_text(text)
    assert not ANCHORS & set(page_of(run).ids)


def test_the_reading_of_earlier_weights_is_not_shown(run):
    (run / "model").mkdir()
    (run / "model" / "config.json").write_text("{}")
    add_reading(run, label_set("camvid"), images(11), model="of earlier ones")
    assert not ANCHORS & set(page_of(run).ids)
    add_reading(run, label_set("camvid"), images(11), model=mistakes.digest_of_model(run))
    assert set(page_of(run).ids) >= ANCHORS


def test_names_are_escaped(run):
    samples = list(images(11, 1))
    add_reading(run, label_set("camvid"), samples)
    numbers = json.loads((run / "reading.json").read_text())
    for kind in ("worst", "regions"):
        for item in numbers[kind]:
            item["name"] = "<script>alert(1)</script>&\"'"
    (run / "reading.json").write_text(json.dumps(numbers))
    page = page_of(run)
    assert "<script>alert(1)</script>&\"'" in page.text
    assert "<script>alert" not in (run / "report.html").read_text(encoding="utf-8")


# ---------------------------------------------------------------------- sentences


def advice(matrix, *, true=None, train=None, confidence=None, config=None, shrunk=None):
    """What is said of a matrix (K, K+1); ``true``: (5, K) pixels by band, by default all far inside.

    ``config``: settings of the run by dotted name; None where no run is known.
    """
    matrix = np.array(matrix)
    labels = label_set_from_names([f"c{n}" for n in range(len(matrix))])
    evaluation = numbers_json(matrix, labels, images=9, split="val")
    classes = read_classes({**evaluation, "confusion_matrix": matrix.tolist()})
    far = np.zeros((5, len(matrix)), int)
    far[-1] = matrix.sum(1)
    true = far if true is None else np.array(true)
    right = np.floor(true * (matrix.diagonal() / np.maximum(matrix.sum(1), 1))).astype(int)
    findings = {
        "images": 9,
        "images_with_regions": 0,
        "boundaries": {"widths": [3, 5, 10, 20], "true": true, "predicted": true, "right": right},
        "calibration": confidence,
        "worst": [],
        "regions": [],
        "train": train,
        "shrunk": shrunk,
    }
    setup = read_setup(replace(EMPTY_RUN, config=config or {}))
    said = next_steps(classes, read_findings(findings, len(matrix)), setup)
    return said.replace("\u00a0", " ").replace("<em>", "").replace("</em>", "").replace("<b>", "")


GOOD = [[90, 2, 8, 0], [2, 950, 0, 0], [0, 0, 970, 0]]


def test_classes_that_are_well_found_are_not_weak():
    assert "Weakest" not in advice(GOOD)


def test_a_confused_class():
    said = advice([[40, 60, 0, 0], [10, 990, 0, 0], [0, 0, 900, 0]])
    assert "IoU 36.4 %" in said
    assert "60 % of it is taken for" in said
    assert "20 % of what is called so is" in said
    assert "rare" not in said
    assert "thin," not in said


TRAIN = {"images": 100, "pixels": [50, 5000, 5000], "containing": [4, 100, 100]}
WEAK = [[40, 60, 0, 0], [10, 990, 0, 0], [0, 0, 900, 0]]


def test_a_rare_class():
    said = advice(WEAK, train=TRAIN)
    assert "IoU 36.4 %, in 4 of 100 training images, 0.50 % of their pixels: rare: collect more" in said
    said = advice(WEAK, train={**TRAIN, "containing": [40, 100, 100]})
    assert "in 40 of 100 training images, 0.50 % of their pixels: few pixels; 60 % of it is taken" in said
    assert "collect" not in said
    said = advice(WEAK, train={**TRAIN, "pixels": [900, 5000, 5000], "containing": [40, 100, 100]})
    assert "in 40 of 100 training images, 8.26 % of their pixels: 60 % of it is taken" in said
    said = advice(WEAK, train={**TRAIN, "pixels": [0, 5000, 5000]})
    assert "IoU 36.4 %: not in the training split at all" in said


def test_how_often_a_weak_class_is_trained_on_is_always_said():
    """Also where nothing else stands out."""
    spread = np.full((12, 13), 5)
    spread[:, -1] = 0
    np.fill_diagonal(spread, [30, *[400] * 11])
    train = {"images": 90, "pixels": [500] * 12, "containing": [70] * 12}
    said = advice(spread, train=train)
    assert "in 70 of 90 training images, 8.33 % of their pixels: nothing stands out" in said
    assert "training images" not in advice(spread)


THIN = [[80, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [20, 1000, 900]]


def test_a_thin_class():
    said = advice(WEAK, true=THIN)
    assert "thin, 80 % of it within 3 pixels of a boundary;" in said
    assert "thin," not in advice(WEAK, true=[[40, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [60, 1000, 900]])


FINEST = {"model.name": "fcn2s-fused-slimresnet20", "data.resize": "none"}
LARGER = "which is thin: collect pictures from closer by, or train on crops scaled up"


@pytest.mark.parametrize(
    ("config", "shrunk", "words"),
    [
        (
            None,
            None,
            "which is thin: pictures from closer by may help, or a network of finer stride",
        ),
        (FINEST, 0, LARGER),
        ({**FINEST, "augmentation.scale": [0.6, 1.7]}, 0, f"{LARGER} by more than 1.7"),
        (
            {**FINEST, "model.name": "fcn8s-fused-vgg16"},
            0,
            "train with a head of finer stride, fcn4s-fused-vgg16 (now stride 8).",
        ),
        (
            {**FINEST, "model.name": "fcn8s-wide-vgg19"},
            0,
            "train with a head of finer stride, fcn4s-fused-vgg19 (now stride 8).",
        ),
        (
            {**FINEST, "model.name": "fcn4s-convnext_tiny"},
            0,
            "stride, fcn2s-fused on a backbone that has stride 2 (now stride 4).",
        ),
        ({**FINEST, "model.name": "smp/unet-resnet18"}, 0, LARGER),
        (
            {**FINEST, "data.resize": "short-side", "data.short_side": 256},
            7,
            "train with pictures at their own size, --set data.resize=none (now shrunk to a short side",
        ),
        (
            {**FINEST, "data.resize": "short-side", "data.short_side": 256},
            None,  # a reading of an earlier version
            "train with pictures at their own size, --set data.resize=none (now shrunk to a short side",
        ),
        ({**FINEST, "data.resize": "short-side", "data.short_side": 256}, 0, LARGER),
        (
            {"model.name": "fcn8s-vgg19", "data.resize": "squash", "data.short_side": 224},
            9,
            "finer stride, fcn4s-vgg19 (now stride 8), or pictures at their own size, --set data.resize=none "
            "(now squashed to 224 x 224 pixels).",
        ),
    ],
)
def test_only_what_can_be_done_for_a_thin_class(config, shrunk, words):
    said = advice(WEAK, true=THIN, config=config, shrunk=shrunk)
    assert words in said
    if config is not None and config["data.resize"] == "none":
        assert "data.resize" not in said
    if config == FINEST:
        assert "stride" not in said


def test_thin_classes_are_advised_together():
    matrix = np.diag([40, 40, 40, *[900] * 6])
    matrix[0, 8] = matrix[1, 8] = matrix[2, 8] = 60
    true = np.zeros((5, 9), int)
    true[0, :3], true[4, 3:] = 100, matrix.sum(1)[3:]
    said = advice(np.hstack([matrix, np.zeros((9, 1), int)]), true=true)
    said = re.sub(r"<i [^>]*></i>", "", said)
    assert "For c0, c1 and c2, which are thin: pictures from closer by" in said
    assert said.count("closer by") == 1


def test_where_the_mistakes_are():
    near = [[100, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1000, 900]]
    assert "86 % of the wrong pixels lie within 5 pixels" in advice(WEAK, true=near)
    assert "mostly outlines" in advice(WEAK, true=near)
    everywhere = [[100, 1000, 900], [0] * 3, [0] * 3, [0] * 3, [0] * 3]
    assert "wrong pixels lie" not in advice(WEAK, true=everywhere)
    assert "0 % of the wrong pixels lie within 5 pixels" in advice(WEAK)
    assert "mostly things" in advice(WEAK)


def test_the_costliest_confusion():
    corrected = (100 / 110 + 990 / 1000 + 1) / 3 - (40 / 110 + 990 / 1060 + 1) / 3
    assert f"the mean IoU would be {100 * corrected:.1f} points" in advice(WEAK)
    assert "What costs most" not in advice([[9990, 10, 0], [10, 9990, 0]])


@pytest.mark.parametrize(("sure", "words"), [(0.99, "Too sure"), (0.8, "Less sure"), (0.905, "")])
def test_how_sure(sure, words):
    """One bin of 1,000 pixels of which 900 are right."""
    said = advice(GOOD, confidence={"pixels": [1000], "confidence": [1000 * sure], "right": [900]})
    assert (words in said) if words else "How sure" not in said
    if words:
        assert f"{100 * sure:.1f} % sure on average, right in 90.0 %" in said


def test_sure_in_the_wrong_places():
    both = {"pixels": [500, 500], "confidence": [250.0, 450.0], "right": [300, 400]}
    assert "differ by 10.0 points on average" in advice(GOOD, confidence=both)
