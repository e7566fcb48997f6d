"""What ``evaluate --out`` writes beside its numbers."""

import json

import numpy as np
from PIL import Image

from sceneparse.data.dataset import open_dataset
from sceneparse.evaluation.confusion import confusion_matrix, scores
from sceneparse.evaluation.reading import mean_iou_gains
from sceneparse.labels import label_set_from_names
from sceneparse.report.evaluated import write_reading_of_labels

NAMES = ("ground", "wall", "roof")


def draw(folder, count=3):
    """Masks of three stripes, and label files in which the wall is lower or higher."""
    for kind in ("images/val", "masks/val", "images/train", "masks/train", "out/labels"):
        (folder / kind).mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    for number in range(count):
        mask = np.repeat(np.uint8([2, 1, 0]), 16)[:, None].repeat(40, 1)
        guess = np.roll(mask, 3 * number, 0)
        image = np.stack([60 * mask] * 3, -1)
        for kind in ("val", "train"):
            Image.fromarray(image).save(folder / "images" / kind / f"s{number}.png")
            Image.fromarray(mask).save(folder / "masks" / kind / f"s{number}.png")
        Image.fromarray(guess).save(folder / "out" / "labels" / f"s{number}.png")
        yield mask, guess


def test_from_label_files_with_classes_in_another_order(tmp_path):
    pairs = list(draw(tmp_path))
    dataset = open_dataset(tmp_path)
    order = [1, 2, 0]
    labels = label_set_from_names(NAMES)
    labels = type(labels)(
        names=tuple(NAMES[i] for i in order),
        file_numbers=tuple(order),
        palette=labels.palette,
    )
    out = tmp_path / "out"
    (out / "reading.json").write_text("{half")
    write_reading_of_labels(out, dataset.split("val"), dataset.labels, labels, "val")
    numbers = json.loads((out / "reading.json").read_text(encoding="utf-8"))
    position = np.argsort(order)
    matrices = [confusion_matrix(position[g], position[m], 3, 255) for m, g in pairs]
    whole = sum(matrices)
    bands = numbers["boundaries"]
    assert np.array(bands["true"]).sum(0).tolist() == whole.sum(1).tolist()
    assert np.array(bands["right"]).sum(0).tolist() == whole.diagonal().tolist()
    assert numbers["calibration"] is None
    assert numbers["regions"] == []
    worst = numbers["worst"][0]
    assert worst["name"] == "s2"
    right = matrices[2].diagonal()
    missed, false = matrices[2].sum(1) - right, matrices[2].sum(0)[:3] - right
    assert worst["gain"] == mean_iou_gains(whole, missed[None], false[None])[0]
    assert worst["wrong"] == matrices[2].sum() - right.sum()
    assert scores(matrices[2]).mean_iou == worst["mean_iou"]
    assert {path.name for path in (out / "worst").iterdir()} == {f"{w['name']}.png" for w in numbers["worst"]}


def test_pictures_of_an_earlier_reading_are_removed(tmp_path):
    list(draw(tmp_path))
    dataset = open_dataset(tmp_path)
    labels, out = dataset.labels, tmp_path / "out"
    write_reading_of_labels(out, dataset.split("val"), labels, labels, "val")
    (out / "worst" / "mine.png").write_bytes(b"of the user")
    (out / "labels" / "s2.png").write_bytes((tmp_path / "masks" / "val" / "s2.png").read_bytes())
    write_reading_of_labels(out, dataset.split("val"), labels, labels, "val")
    assert {path.name for path in (out / "worst").iterdir()} == {"s1.png", "mine.png"}
