"""Two folders of label files: the development kit's numbers, pairing, and every fault named."""

import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.errors import InputError
from sceneparse.evaluation.score import read_classes, score_folders
from sceneparse.labels import ade20k, ade20k_tutorial, camvid, label_set_from_names

ADE = Path(__file__).parents[3] / "shared/data/ade20k-sample"


def write(folder, **masks):
    for name, mask in masks.items():
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(mask, np.uint8)).save(path)


def kit_scores(predictions, labels):
    """The MIT development kit's rule, restated: predictions at unlabelled pixels become 0, with no area."""
    intersection, union, correct, labelled = np.zeros(150), np.zeros(150), 0, 0
    for prediction, label in zip(predictions, labels, strict=True):
        prediction = np.where(label > 0, prediction, 0)
        for number in range(1, 151):
            guess, truth = prediction == number, label == number
            intersection[number - 1] += (guess & truth).sum()
            union[number - 1] += (guess | truth).sum()
        correct += ((prediction == label) & (label > 0)).sum()
        labelled += (label > 0).sum()
    return (intersection / np.maximum(union, 1)).mean(), correct / labelled


@pytest.mark.skipif(not ADE.is_dir(), reason="the ADE20K sample is not beside the repository")
def test_ade20k_sample_scores_what_the_development_kit_says():
    numbers, matrix = score_folders(
        ADE / "predictions", ADE / "annotations/validation", labels=ade20k(), absent="zero"
    )
    assert f"{numbers['mean_iou']:.4f}" == "0.1000"
    assert f"{100 * numbers['pixel_accuracy']:.2f} %" == "100.00 %"
    assert numbers["benchmark_score"] == pytest.approx(0.55)
    assert (numbers["images"], numbers["split"], numbers["classes_present"]) == (3, "validation", 15)
    assert matrix.sum() == numbers["pixels"]


@pytest.mark.parametrize("seed", range(3))
def test_wrong_predictions_and_zeros_score_what_the_development_kit_says(tmp_path, seed):
    rng = np.random.default_rng(seed)
    labels = [rng.integers(0, 40, (20, 30)) for _ in range(3)]
    predictions = [np.where(rng.random(x.shape) < 0.5, x, rng.integers(0, 151, x.shape)) for x in labels]
    predictions[0][:10] = 0
    write(tmp_path / "pred", **{str(i): x for i, x in enumerate(predictions)})
    write(tmp_path / "true", **{str(i): x for i, x in enumerate(labels)})
    numbers, _ = score_folders(tmp_path / "pred", tmp_path / "true", labels=ade20k(), absent="zero")
    mean_iou, pixel_accuracy = kit_scores(predictions, labels)
    assert numbers["mean_iou"] == pytest.approx(mean_iou, abs=1e-12)
    assert numbers["pixel_accuracy"] == pytest.approx(pixel_accuracy, abs=1e-12)


def test_zero_is_a_class_only_where_the_label_set_says_so(tmp_path):
    write(tmp_path / "pred", a=[[0, 1, 1, 1]])
    write(tmp_path / "true", a=[[0, 0, 1, 1]])
    ignored, _ = score_folders(tmp_path / "pred", tmp_path / "true", labels=ade20k())
    assert (ignored["mean_iou"], ignored["pixels"]) == (1.0, 2)
    scored, _ = score_folders(tmp_path / "pred", tmp_path / "true", labels=ade20k_tutorial())
    assert scored["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scored["pixels"] == 4


def test_without_classes_the_numbers_found_are_the_classes(tmp_path):
    write(tmp_path / "pred", a=[[3, 3, 7, 255]])
    write(tmp_path / "true", a=[[3, 7, 7, 255]])
    numbers, _ = score_folders(tmp_path / "pred", tmp_path / "true", ignore=[255])
    assert [(c["id"], c["name"], c["iou"]) for c in numbers["per_class"]] == [(3, "3", 0.5), (7, "7", 0.5)]
    everything, _ = score_folders(tmp_path / "pred", tmp_path / "true")
    assert [c["id"] for c in everything["per_class"]] == [3, 7, 255]


def test_an_ignored_class_is_out_as_truth_and_no_class_as_prediction(tmp_path):
    write(tmp_path / "pred", a=[[0, 1, 2, 0]])
    write(tmp_path / "true", a=[[0, 1, 1, 2]])
    labels = label_set_from_names(["a", "b", "c"])
    numbers, matrix = score_folders(tmp_path / "pred", tmp_path / "true", labels=labels, ignore=[2])
    assert [c["name"] for c in numbers["per_class"]] == ["a", "b"]
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 1]]
    with pytest.raises(InputError, match="every class is ignored"):
        score_folders(tmp_path / "pred", tmp_path / "true", labels=labels, ignore=[0, 1, 2])
    with pytest.raises(InputError, match="outside 0"):
        score_folders(tmp_path / "pred", tmp_path / "true", ignore=[-1])


def test_pairs_in_subfolders_across_endings_and_unicode_forms(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "Straße é") for form in ("NFC", "NFD"))
    (tmp_path / "pred/b c").mkdir(parents=True)
    (tmp_path / "true/b c").mkdir(parents=True)
    Image.fromarray(np.uint8([[1, 2]])).save(tmp_path / f"pred/b c/{composed}.TIF")
    Image.fromarray(np.uint16([[1, 300]])).save(tmp_path / f"true/b c/{decomposed}.png")
    write(tmp_path / "pred", **{"x.y": [[1]]})
    write(tmp_path / "true", **{"x.y": [[1]]})
    (tmp_path / "true/.hidden.png").write_bytes(b"")
    (tmp_path / "true/notes.txt").write_text("not a label")
    numbers, _ = score_folders(tmp_path / "pred", tmp_path / "true")
    assert (numbers["images"], numbers["pixels"]) == (2, 3)
    assert [c["id"] for c in numbers["per_class"]] == [1, 2, 300]


def test_every_file_without_partner_is_named_the_first_twenty(tmp_path):
    write(tmp_path / "pred", both=[[0]], extra=[[0]])
    write(tmp_path / "true", both=[[0]], **{f"alone{i:02}": [[0]] for i in range(23)})
    with pytest.raises(InputError) as caught:
        score_folders(tmp_path / "pred", tmp_path / "true")
    message = str(caught.value)
    assert "24 files do not pair up" in message
    assert "alone00.png" in message
    assert "alone19.png" in message
    assert "alone20.png" not in message
    assert "and 4 more" in message
    for i in range(23):
        (tmp_path / f"true/alone{i:02}.png").unlink()
    with pytest.raises(InputError, match=r"prediction without label: .*extra\.png"):
        score_folders(tmp_path / "pred", tmp_path / "true")


def test_every_wrong_file_is_named_in_one_pass(tmp_path):
    write(tmp_path / "pred", good=[[0]], size=[[0, 0]], value=[[0]], torn=[[0]])
    write(tmp_path / "true", good=[[0]], size=[[0], [0]], value=[[77]], torn=[[0]])
    (tmp_path / "pred/torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError) as caught:
        score_folders(tmp_path / "pred", tmp_path / "true", labels=camvid())
    message = str(caught.value)
    assert "3 of 4 pairs" in message
    assert "size: prediction is 2x1 pixels, label is 1x2" in message
    assert "77 (1 pixels)" in message
    assert "value.png" in message
    assert "torn.png" in message
    assert "good" not in message


def test_folders_that_are_missing_empty_or_ambiguous(tmp_path):
    write(tmp_path / "a", x=[[0]])
    with pytest.raises(InputError, match="does not exist"):
        score_folders(tmp_path / "a", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures in the folder"):
        score_folders(tmp_path / "a", tmp_path / "empty")
    Image.fromarray(np.uint8([[1, 2]])).save(tmp_path / "a/x.tif")
    with pytest.raises(InputError, match="the same name twice"):
        score_folders(tmp_path / "a", tmp_path / "a")


def test_classes_by_name_text_table_and_yaml(tmp_path):
    assert read_classes("ade20k") == ade20k()
    text = tmp_path / "names.txt"
    text.write_text("sky\nbüilding\n", encoding="utf-8")
    assert read_classes(text) == label_set_from_names(["sky", "büilding"])
    table = tmp_path / "classes.csv"
    table.write_text("\ufeffIdx,Ratio,Name\n3,0.1,sky\n1,0.2,wall;side\n", encoding="utf-8")
    assert read_classes(table).file_numbers == (3, 1)
    assert read_classes(table).names == ("sky", "wall;side")
    table.write_text("name,number,red,green,blue\nsky,7,1,2,3\n")
    assert read_classes(table).palette == ((1, 2, 3),)
    description = tmp_path / "dataset.yaml"
    description.write_text("val: {images: a, masks: b}\nclasses: {4: sky}\nignore: [255]\n")
    assert read_classes(description).file_numbers == (4,)
    assert read_classes(description).ignored == (255,)


@pytest.mark.skipif(not ADE.is_dir(), reason="the ADE20K sample is not beside the repository")
def test_the_benchmarks_own_table_gives_the_benchmarks_classes():
    assert read_classes(ADE / "objectInfo150.csv").file_numbers == ade20k().file_numbers


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "the columns a, b"),
        ("", "table is empty"),
        ("number,name\nx,sky\n", "no whole number"),
        ("number,name\n1,wall\n1,sky\n", "given twice: 1"),
        ("number,name\n", "class list is empty"),
        ("number,name,r,g,b\n1,sky,1,2\n", "line 2 has 4 columns"),
        (b"number,name\n1,\xff\n", "UTF-8"),
    ],
)
def test_a_wrong_class_table_is_named(tmp_path, content, message):
    table = tmp_path / "classes.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        read_classes(table)
    assert "classes.csv" in str(caught.value)


def test_an_unknown_class_list_names_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'ade20k'"):
        read_classes("ade20")


def test_progress_goes_to_stderr_and_leaves_stdout_alone(tmp_path, monkeypatch):
    write(tmp_path / "a", x=[[0]])
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    score_folders(tmp_path / "a", tmp_path / "a", progress=True)
    assert out.getvalue() == ""
