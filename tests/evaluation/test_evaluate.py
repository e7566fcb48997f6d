"""evaluate(): the same numbers as validation gave, and as the saved label files give."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import sceneparse
from sceneparse.cli import main
from sceneparse.data.dataset import open_dataset
from sceneparse.data.decode import read_mask
from sceneparse.data.faults import FaultsError
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.errors import InputError
from sceneparse.evaluation.evaluate import evaluate
from sceneparse.evaluation.score import score_folders
from sceneparse.labels import label_set_from_names

RUNS = ["scene_run", "resized_run"]
KEYS = (
    *("images", "pixels", "pixel_accuracy", "mean_accuracy", "mean_iou", "frequency_weighted_iou"),
    *("benchmark_score", "classes_present", "absent_rule", "split", "per_class"),
)


def best_validation(run) -> float:
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        return max(float(row["mean_iou"]) for row in csv.DictReader(file))


@pytest.mark.parametrize("which", RUNS)
def test_equals_validation_at_the_best_step(which, request, scene_data):
    run = request.getfixturevalue(which)
    numbers = sceneparse.evaluate(run, scene_data, device="cpu")
    assert tuple(numbers) == KEYS
    assert numbers["mean_iou"] > 0.5, "a network that knows nothing would prove nothing"
    assert numbers["mean_iou"] == pytest.approx(best_validation(run), abs=1e-4)
    kept = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    for ours, theirs in zip(numbers["per_class"], kept["per_class"], strict=True):
        assert ours["id"] == theirs["id"]
        assert ours["pixels"] == theirs["pixels"]
        assert ours["iou"] == pytest.approx(theirs["iou"], abs=1e-4)


@pytest.fixture
def two_threads():
    """On more threads than photos, predict would take all for each, and round otherwise than evaluate."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("which", RUNS)
@pytest.mark.parametrize("options", [[], ["--flip", "--scales", "0.75,1"]])
def test_equals_the_score_of_the_label_files_of_predict(
    which, options, request, scene_data, tmp_path, two_threads, capsys
):
    run = request.getfixturevalue(which)
    predict = ["predict", str(run), str(scene_data / "photos" / "b"), "--out", str(tmp_path / "out")]
    assert main([*predict, "--device", "cpu", *options]) == 0
    numbers, _ = score_folders(
        tmp_path / "out" / "labels", scene_data / "labels" / "b", labels=open_dataset(scene_data).labels
    )
    file = tmp_path / "numbers.json"
    evaluation = ["evaluate", str(run), str(scene_data), "--json", str(file), "--out", str(tmp_path / "eval")]
    assert main([*evaluation, "--device", "cpu", *options]) == 0
    expected = json.loads(file.read_text(encoding="utf-8"))
    assert numbers["mean_iou"] == pytest.approx(expected["mean_iou"], abs=1e-4)
    assert numbers["per_class"] == expected["per_class"], "same pixels, same arithmetic"
    assert json.loads((tmp_path / "eval" / "numbers.json").read_text(encoding="utf-8")) == expected
    assert 'id="curves"' not in (page := (tmp_path / "eval" / "report.html").read_text(encoding="utf-8"))
    assert f"Mean IoU {100 * expected['mean_iou']:.2f}" in page
    assert f"report: {tmp_path / 'eval' / 'report.html'}\n" in capsys.readouterr().out
    for path in (tmp_path / "out" / "labels").glob("*.png"):
        np.testing.assert_array_equal(read_mask(path), read_mask(tmp_path / "eval" / "labels" / path.name))
    with open(tmp_path / "eval" / "confusion.csv", encoding="utf-8", newline="") as table:
        heading, *rows = list(csv.reader(table))
    assert heading == ["truth / prediction", "sky", "ground", "house", "no class"]
    assert sum(int(cell) for row in rows for cell in row[1:]) == expected["pixels"]


class Perfect:
    """Knows the truth: reads it out of the picture, which holds training indices."""

    resize = ResizePolicy()
    takes_several = True

    def __init__(self, labels):
        self.labels = labels

    def picture_bytes(self, size_hw, *, scales=(1.0,), flip=False):
        return 0

    def predict_index(self, image, *, scales=(1.0,), flip=False):
        return image.pixels[..., 0]


def tiny(root, classes, pictures, masks, ignore=()):
    for folder, arrays in (("images", pictures), ("masks", masks)):
        (root / folder).mkdir(parents=True)
        for name, array in arrays.items():
            Image.fromarray(np.asarray(array, np.uint8)).save(root / folder / f"{name}.png")
    said = {"val": {"images": "images", "masks": "masks"}, "classes": classes, "ignore": list(ignore)}
    (root / "dataset.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
    return open_dataset(root)


def rgb(index):
    return np.repeat(np.asarray(index, np.uint8)[..., None], 3, 2)


def test_by_hand(tmp_path):
    """Two pictures of 2x2: the matrix and the scores written down."""
    dataset = tiny(
        tmp_path,
        {5: "a", 9: "b"},
        {"x": rgb([[0, 0], [1, 1]]), "y": rgb([[0, 1], [0, 1]])},
        {"x": [[5, 5], [5, 9]], "y": [[9, 9], [77, 77]]},
        ignore=[77],
    )
    seen = {}
    numbers, matrix = evaluate(Perfect(dataset.labels), dataset, each=seen.__setitem__)
    np.testing.assert_array_equal(matrix, [[2, 1, 0], [1, 2, 0]])
    assert numbers["pixels"] == 6
    assert numbers["images"] == 2
    assert numbers["mean_iou"] == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert numbers["pixel_accuracy"] == pytest.approx(4 / 6)
    np.testing.assert_array_equal(seen["x"], [[0, 0], [1, 1]])


def test_classes_in_another_order(tmp_path):
    """The model lists the classes as b, a: its indices, not the data set's, are what predictions mean."""
    dataset = tiny(tmp_path, {5: "a", 9: "b"}, {"x": rgb([[1, 1, 0]])}, {"x": [[5, 5, 9]]})
    ours = dataset.labels
    turned = replace(
        ours, names=ours.names[::-1], file_numbers=ours.file_numbers[::-1], palette=ours.palette[::-1]
    )
    numbers, matrix = evaluate(Perfect(turned), dataset)
    assert numbers["mean_iou"] == 1
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [0, 2, 0]])


def test_absent_rule_and_split(tmp_path):
    dataset = tiny(tmp_path, {0: "a", 1: "b", 2: "c", 3: "d"}, {"x": rgb([[0, 1]])}, {"x": [[0, 1]]})
    assert evaluate(Perfect(dataset.labels), dataset)[0]["mean_iou"] == 1
    assert evaluate(Perfect(dataset.labels), dataset, absent="zero")[0]["mean_iou"] == 0.5
    for wrong, said in (({"split": "vall"}, "Did you mean 'val'"), ({"split": "train"}, "no split 'train'")):
        with pytest.raises(InputError, match=said):
            evaluate(Perfect(dataset.labels), dataset, **wrong)
    with pytest.raises(InputError, match="Did you mean 'zero'"):
        evaluate(Perfect(dataset.labels), dataset, absent="zeros")


def test_other_classes_are_named(tmp_path):
    dataset = tiny(tmp_path, {0: "a", 1: "b"}, {"x": rgb([[0, 1]])}, {"x": [[0, 1]]})
    with pytest.raises(InputError, match="number 1 is 'car' in the model and 'b' in the data set") as caught:
        evaluate(Perfect(label_set_from_names(["a", "car"])), dataset)
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(InputError, match="number 2 is 'c' in the model and no class in the data set"):
        evaluate(Perfect(label_set_from_names(["a", "b", "c"])), dataset)


def test_all_wrong_files_are_named_at_once(tmp_path):
    good = rgb([[0, 1]])
    dataset = tiny(
        tmp_path,
        {0: "a", 1: "b"},
        dict.fromkeys(("1", "2", "3", "4"), good),
        {"1": [[0, 1]], "2": [[0, 8]], "3": [[0, 1], [0, 1]], "4": [[0, 1]]},
    )
    (tmp_path / "images" / "4.png").write_bytes(b"")
    predicted = []

    class Counting(Perfect):
        def predict_index(self, image, *, scales=(1.0,), flip=False):
            predicted.append(image)
            return super().predict_index(image)

    with pytest.raises(FaultsError, match="3 faults in the data") as caught:
        evaluate(Counting(dataset.labels), dataset)
    # With several threads the second file may be found wrong before the first is predicted.
    assert len(predicted) <= 1, "nothing is predicted after the first wrong file"
    for said in ("8 (1 pixel)", "mask is 2 x 2", "its image 2 x 1", "is empty", "2.png", "3.png", "4.png"):
        assert said in str(caught.value)
    numbers, _ = evaluate(Counting(dataset.labels), dataset, skip_bad=True)
    assert numbers["images"] == 1
    assert numbers["mean_iou"] == 1


def test_options_without_effect(scene_run, scene_data):
    predictor = sceneparse.load(scene_run, device="cpu")
    dataset = open_dataset(scene_data)
    with pytest.raises(InputError, match="device has no effect"):
        sceneparse.evaluate(predictor, dataset, device="cpu")
    with pytest.raises(InputError, match="label_set has no effect"):
        sceneparse.evaluate(predictor, dataset, label_set="camvid")
    assert sceneparse.evaluate(predictor, dataset) == sceneparse.evaluate(scene_run, scene_data, device="cpu")
