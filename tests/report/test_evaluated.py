"""What ``evaluate --out`` writes beside its numbers."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from test_html import Page, per_cent

from sceneparse import api
from sceneparse.cli import main
from sceneparse.data.dataset import open_dataset
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.errors import InputError
from sceneparse.evaluation.confusion import confusion_matrix, scores
from sceneparse.evaluation.evaluate import evaluate
from sceneparse.evaluation.outputs import write_evaluation
from sceneparse.evaluation.reading import Reading, mean_iou_gains
from sceneparse.labels import LabelSet, label_set_from_names
from sceneparse.report.evaluated import write_evaluated

NAMES = ("ground", "wall", "roof")
SURE = 0.95


class Rolled:
    """Finds the stripes too low, the further the later the image, and is always as sure."""

    resize = ResizePolicy()
    takes_several = True

    def __init__(self, labels, step=5):
        self.labels = labels
        self.step = step

    def picture_bytes(self, size_hw, *, scales=(1.0,), flip=False):
        return 0

    def predict_with_confidence(self, image, *, scales=(1.0,), flip=False):
        """The images hold sixty times the file number, and the image's number in their first column."""
        numbers = image.pixels[:, 1, 1] // 60
        index = np.array([self.labels.file_numbers.index(n) for n in numbers], np.uint8)
        index = np.roll(index, self.step * int(image.pixels[0, 0, 0]))
        return index[:, None].repeat(40, 1), np.full((48, 40), SURE, np.float32)


def draw(folder, count=3):
    """Images and masks of three stripes; gives the masks and what :class:`Rolled` makes of them."""
    for kind in ("images/val", "masks/val", "images/train", "masks/train"):
        (folder / kind).mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    drawn = []
    for number in range(count):
        mask = np.repeat(np.uint8([2, 1, 0]), 16)[:, None].repeat(40, 1)
        image = np.stack([60 * mask] * 3, -1)
        image[:, 0] = number
        for kind in ("val", "train"):
            Image.fromarray(image).save(folder / "images" / kind / f"s{number}.png")
            Image.fromarray(mask).save(folder / "masks" / kind / f"s{number}.png")
        drawn.append((mask, np.roll(mask, 5 * number, 0)))
    return drawn


def turned(order=(1, 2, 0)):
    """The classes as a model may list them."""
    return LabelSet(
        names=tuple(NAMES[i] for i in order),
        file_numbers=tuple(order),
        palette=label_set_from_names(NAMES).palette,
    )


def evaluated(data, labels, out, **options):
    """What api.evaluate does with a model in a folder, without one; gives the numbers of the reading."""
    dataset, reading = open_dataset(data), Reading(labels.num_classes, labels.ignore_index)

    def save(stem, index):
        (out / "labels").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels.to_file(index)).save(out / "labels" / f"{stem}.png")

    numbers, matrix = evaluate(Rolled(labels, **options), dataset, each=save, reading=reading)
    write_evaluation(out, numbers, matrix)
    facts = {"model": "runs/m", "network": "fcn8s-vgg19", "data": str(data), "command": "sceneparse evaluate"}
    write_evaluated(out, reading, facts, dataset.split("val"), dataset.labels, labels)
    return json.loads((out / "reading.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An evaluation by a model that lists the classes in another order; only looked at."""
    folder = tmp_path_factory.mktemp("evaluated")
    pairs = draw(folder)
    out = folder / "out"
    out.mkdir()
    (out / "reading.json").write_text("{half")
    return pairs, out, evaluated(folder, turned(), out)


def test_reading_of_classes_in_another_order(whole):
    pairs, out, numbers = whole
    position = np.argsort(turned().file_numbers)
    matrices = [confusion_matrix(position[g], position[m], 3, 255) for m, g in pairs]
    total = sum(matrices)
    bands = numbers["boundaries"]
    assert np.array(bands["true"]).sum(0).tolist() == total.sum(1).tolist()
    assert np.array(bands["right"]).sum(0).tolist() == total.diagonal().tolist()
    worst = numbers["worst"][0]
    assert worst["name"] == "s2"
    right = matrices[2].diagonal()
    missed, false = matrices[2].sum(1) - right, matrices[2].sum(0)[:3] - right
    assert worst["gain"] == mean_iou_gains(total, missed[None], false[None])[0]
    assert worst["wrong"] == matrices[2].sum() - right.sum()
    assert scores(matrices[2]).mean_iou == worst["mean_iou"]
    assert {path.name for path in (out / "worst").iterdir()} == {f"{w['name']}.png" for w in numbers["worst"]}


def test_calibration_and_regions(whole):
    pairs, out, numbers = whole
    pixels = 3 * 48 * 40
    assert sum(numbers["calibration"]["pixels"]) == pixels
    assert sum(numbers["calibration"]["confidence"]) == pytest.approx(SURE * pixels)
    assert sum(numbers["calibration"]["right"]) == sum(int((m == g).sum()) for m, g in pairs)
    names = {region["name"] for region in numbers["regions"]}
    assert names  # ten rows off, of which some are five pixels from a boundary
    assert {path.stem for path in (out / "regions").iterdir()} == names


def test_page_of_an_evaluation(whole):
    pairs, out, _ = whole
    page = Page(out / "report.html")
    assert {"next", "classes", "confusion", "worst", "regions", "boundaries", "calibration"} <= set(page.ids)
    assert not {"curves", "panels", "batch", "settings", "environment"} & set(page.ids)
    numbers = json.loads((out / "numbers.json").read_text(encoding="utf-8"))
    rows = {row[1]: row for row in page.tables["scores by class"][1:]}
    for item in numbers["per_class"]:
        assert rows[item["name"]][2:5] == [
            *(per_cent(item[key]) for key in ("iou", "accuracy")),
            per_cent(item["pixels"] / numbers["pixels"]),
        ]
    head, *matrix = page.tables["confusion matrix in per cent of the row"]
    truth, guess = (np.concatenate(those) for those in zip(*pairs, strict=True))
    for row in matrix:
        for name, shown in zip(head[1:], row[1:], strict=True):
            of = truth == NAMES.index(row[0])
            part = 100 * (of & (guess == NAMES.index(name))).sum() / of.sum()
            assert shown == ("" if part == 0 else f"{part:.0f}")
    palette = label_set_from_names(NAMES).palette
    colour = "#" + "".join(f"{c:02x}" for c in palette[turned().names.index("roof")])
    assert f'style="background:{colour}"></i>roof' in (out / "report.html").read_text(encoding="utf-8")
    assert "fcn8s-vgg19 on " in page.text
    assert "sceneparse predict runs/m photo.jpg" in page.text
    assert "Training" not in page.text


def test_report_writes_the_page_of_an_evaluation_again(whole, tmp_path, capsys):
    out = shutil.copytree(whole[1], tmp_path / "out")
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert capsys.readouterr().out.strip() == str(out / "report.html")
    assert (out / "report.html").read_bytes() == before
    assert not (out / "curves.png").exists()
    (out / "reading.json").write_text("{half")
    assert "Mean IoU" in Page(api.report(out)).text


def test_a_run_is_not_overwritten(run):
    before = (run / "evaluation.json").read_bytes()
    with pytest.raises(InputError, match="this is a run") as error:
        api.evaluate("no model", "no data", out=run)
    assert error.value.where == run
    assert not (run / "numbers.json").exists()
    assert (run / "evaluation.json").read_bytes() == before


def test_pictures_of_an_earlier_reading_are_removed(tmp_path):
    draw(tmp_path)
    labels, out = label_set_from_names(NAMES), tmp_path / "out"
    assert evaluated(tmp_path, labels, out)["worst"]
    (out / "worst" / "mine.png").write_bytes(b"of the user")
    assert evaluated(tmp_path, labels, out, step=0)["worst"] == []
    assert {path.name for path in (out / "worst").iterdir()} == {"mine.png"}
    assert "worst" not in Page(out / "report.html").ids
    assert "No pixel is wrong." in Page(out / "report.html").text


def test_labels_on_the_disk_of_another_machine(tmp_path):
    """Named without a picture."""
    draw(tmp_path)
    labels, out = label_set_from_names(NAMES), tmp_path / "out"
    dataset, reading = open_dataset(tmp_path), Reading(3, labels.ignore_index)
    numbers, matrix = evaluate(Rolled(labels), dataset, reading=reading)
    write_evaluation(out, numbers, matrix)
    page = Page(write_evaluated(out, reading, {}, dataset.split("val"), dataset.labels, labels))
    assert "s2" in page.text
    assert not (out / "worst").exists()
