"""The page is parsed with html.parser and compared with the JSON it was made from."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sceneparse.errors import InputError
from sceneparse.report import html, pictures, training_part, write_report

VOID = {"meta", "link", "img", "br", "hr", "input", "use", "path"}


class Page(HTMLParser):
    """Checks nesting; keeps every address the page names, the text of each table's rows and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open
        self.text = re.sub(r"\s+", " ", "".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        names = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
        self.addresses += [values[name] or "" for name in names if name in values]
        self.ids += [values["id"] or ""] if "id" in values else []
        if tag == "table":
            self.rows = self.tables.setdefault(values.get("aria-label") or "", [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)
        if {"td", "th"} & set(self.open) and self.rows:
            self.rows[-1][-1] += data


def report(run: Path) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path)


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    """The page of a finished run."""
    return report(finished)


@pytest.fixture
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time and has its own tests."""
    monkeypatch.setattr(training_part, "chart_svg", lambda *_: "")


def per_cent(fraction: float | None, digits: int = 2) -> str:
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}\u00a0%"


def edit(path: Path, **changes: object) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**value, **changes}), encoding="utf-8")


def test_page_loads_nothing_from_elsewhere(page, finished):
    assert any(address.startswith("data:image/") for address in page.addresses)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    text = (finished / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"@import|url\((?!#)|<iframe|<object|fetch\(|XMLHttpRequest", text)
    # SVG's name spaces are names, not addresses; nothing else may look like one.
    assert set(re.findall(r"https?://[^\"'<> ]*", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_ids_are_unique_and_every_link_has_its_target(page):
    assert len(page.ids) == len(set(page.ids))
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)


def test_key_figures_are_those_of_the_json(page, finished):
    numbers = json.loads((finished / "evaluation.json").read_text())
    for key in ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "benchmark_score"):
        assert per_cent(numbers[key]).replace("\u00a0", " ") in page.text
    assert f"Mean IoU {per_cent(numbers['mean_iou'])}".replace("\u00a0", " ") in page.text
    assert "on 101 validation images, with the weights of step 4,500 of 5,000" in page.text
    assert f"{numbers['pixels']:,}" in page.text
    assert "mean IoU over 10 of 11 classes; absent ones are left out" in page.text


def test_class_table_has_every_class_with_its_numbers(page, finished):
    numbers = json.loads((finished / "evaluation.json").read_text())
    rows = {row[1]: row for row in page.tables["scores by class"][1:]}
    assert len(rows) == 11
    for item in numbers["per_class"]:
        number, _, iou, accuracy, share, _ = rows[item["name"]]
        assert number == str(item["id"])
        assert iou == ("absent" if item["iou"] is None else per_cent(item["iou"]))
        assert accuracy == per_cent(item["accuracy"])
        assert share == per_cent(item["pixels"] / numbers["pixels"])
    assert rows["bicyclist"][2] == "absent"


def test_worst_classes_are_named(page, finished):
    numbers = json.loads((finished / "evaluation.json").read_text())
    scored = sorted((i for i in numbers["per_class"] if i["iou"] is not None), key=lambda i: i["iou"])
    lead = page.text[page.text.index("Lowest IoU") :][:250]
    assert [item["name"] for item in scored[:3]] == re.findall(r"([a-z][a-z ]*?) \d+\.\d % \(", lead)


def test_confusion_matrix_rows_are_in_per_cent_of_the_truth(page, finished):
    numbers = json.loads((finished / "evaluation.json").read_text())
    names = [item["name"] for item in numbers["per_class"]]
    matrix = np.array(numbers["confusion_matrix"])
    head, *rows = page.tables["confusion matrix in per cent of the row"]
    assert len(rows) == 10  # bicyclist is absent
    for row in rows:
        truth = names.index(row[0])
        for name, shown in zip(head[1:], row[1:], strict=True):
            part = 100 * matrix[truth, names.index(name)] / matrix[truth].sum()
            assert shown == ("" if part == 0 else "·" if part < 0.5 else f"{part:.0f}"), (row[0], name)


@pytest.mark.usefixtures("no_charts")
def test_worst_pair_comes_first_with_its_share(run):
    matrix = np.zeros((11, 12), int)
    matrix[0, 0], matrix[0, 1], matrix[3, 4], matrix[5, 11] = 60, 40, 30, 20
    edit(run / "evaluation.json", confusion_matrix=matrix.tolist())
    page = report(run)
    pairs = page.text[page.text.index("What costs the most pixels") :]
    assert "sky taken for building40.0 % of sky26.67 % of all pixels" in pairs
    assert "road taken for pavement100.0 % of road20.00 % of all pixels" in pairs
    assert "tree taken for no class100.0 % of tree13.33 % of all pixels" in pairs
    assert pairs.count("taken for") == 3
    assert pairs.index("sky taken") < pairs.index("road taken") < pairs.index("tree taken")
    assert page.tables["confusion matrix in per cent of the row"][0][-1] == "no class"


@pytest.mark.usefixtures("no_charts")
def test_many_classes_show_the_largest_and_sum_the_rest(new_run):
    run = new_run("ade", classes="ade20k", evaluations=2, steps=50)
    page, numbers = report(run), json.loads((run / "evaluation.json").read_text())
    head, *rows = page.tables["confusion matrix in per cent of the row"]
    largest = sorted(numbers["per_class"], key=lambda item: -item["pixels"])[:25]
    assert [row[0] for row in rows] == [item["name"] for item in largest]
    assert head[-1] == "125 others"
    index = [numbers["per_class"].index(item) for item in largest]
    first = np.array(numbers["confusion_matrix"])[index[0]]
    others = 100 * (first.sum() - first[index].sum()) / first.sum()
    assert rows[0][-1] == f"{others:.0f}"
    assert len(page.tables["scores by class"]) == 151


@pytest.mark.usefixtures("no_charts")
def test_rule_for_absent_classes_is_stated(run):
    assert "A class with neither truth nor prediction is left out of the means." in report(run).text
    edit(run / "evaluation.json", absent_rule="zero")
    page = report(run)
    assert "counts 0 in the means (MIT Scene Parsing rule)." in page.text
    assert "mean IoU over 11 classes; absent ones count 0" in page.text


@pytest.mark.usefixtures("no_charts")
def test_baseline_stands_beside_ours(run):
    baseline = [{"name": "colour only", "mean_iou": 0.2134, "pixel_accuracy": 0.5512}]
    (run / "baseline.json").write_text(json.dumps(baseline))
    page = report(run)
    assert "For comparison, colour only: mean IoU 21.34 %, pixel accuracy 55.12 %." in page.text
    assert "this network" in page.text


@pytest.mark.usefixtures("no_charts")
def test_text_of_the_run_is_escaped(run):
    evil = "<b>&\"'</b><script>alert(1)</script> Straße 木"
    numbers = json.loads((run / "evaluation.json").read_text())
    numbers["per_class"][0]["name"] = evil
    edit(run / "evaluation.json", per_class=numbers["per_class"], split=evil)
    edit(run / "environment.json", command=f"sceneparse train {evil}", started=evil, versions={evil: evil})
    (run / "warnings.json").write_text(json.dumps({"warnings": [evil]}))
    (run / "baseline.json").write_text(json.dumps([{"name": evil, "mean_iou": 0.5}]))
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"name": evil}, evil: evil, "steps": 9}))
    (run / "metrics.csv").write_text(f'step,"{evil.replace(chr(34), chr(34) * 2)}"\n3,1\n')
    plain = (run / "predictions" / "overlays" / "straße 0.png").read_bytes()
    (run / "predictions" / "overlays" / "<i>&木.png").write_bytes(plain)
    page = report(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<i>&木" not in text
    assert '<b>&"' not in text
    assert evil in page.text
    assert [row[1] for row in page.tables["scores by class"]].count(evil) == 1
    assert text.count("<script>") == 1


def test_settings_and_environment_are_shown_as_they_are(page):
    settings = dict(row for row in page.tables["settings"])
    assert settings["augmentation.scale"] == "0.5, 2.0"
    assert settings["model.options.dropout"] == "0.5"
    assert settings["loss.class_weights"] == "none"
    assert settings["augmentation.flip"] == "yes"
    assert len(settings) == 21
    assert ["torch", "2.15.0"] in page.tables["versions"]
    assert ["fingerprint", "9f2c11d0"] in page.tables["data"]


@pytest.mark.usefixtures("no_charts")
def test_commands_repeat_resume_and_predict(run):
    page = report(run)
    repeat = "sceneparse train /data/camvid --out runs/a --model fcn8s-vgg19"
    assert page.text.count(f"{repeat}copy") == 1
    assert page.text.count(f"{repeat} --resumecopy") == 1
    assert f"sceneparse predict {run} photo.jpg" in page.text


@pytest.mark.usefixtures("no_charts")
def test_demo_is_not_told_to_resume(run):
    edit(run / "environment.json", command="sceneparse demo --out demo")
    page = report(run)
    assert "sceneparse demo --out demo" in page.text
    assert "--resume" not in page.text


@pytest.mark.usefixtures("no_charts")
def test_run_without_evaluation_says_so(new_run):
    run = new_run("killed", evaluated=False, steps=30)
    page = report(run)
    assert "No evaluation yet: training is at step 30 of 5,000." in page.text
    assert "Not finished: step 30 of 5,000." in page.text
    assert "sceneparse train" in page.text
    assert "panels" not in page.ids
    assert "classes" not in page.ids


def test_finished_run_has_no_notes(page):
    assert "Not finished" not in page.text


@pytest.mark.usefixtures("no_charts")
def test_damaged_files_are_named_and_the_rest_is_shown(run):
    text = (run / "evaluation.json").read_text()
    (run / "evaluation.json").write_text(text[: len(text) // 2])
    (run / "config.yaml").write_text("a: [1")
    (run / "environment.json").write_text("[]")
    (run / "samples" / "step_0009999.png").write_bytes(b"\x89PNG not a picture")
    page = report(run)
    for name in ("evaluation.json", "config.yaml"):
        assert f"{name} could not be read" in page.text
    assert "environment.json holds list, expected dict" in page.text
    assert "No evaluation yet" in page.text
    assert "Every evaluation (10)" in page.text


@pytest.mark.usefixtures("no_charts")
@pytest.mark.parametrize(
    "changes",
    [
        {"confusion_matrix": None, "palette": None, "step": None, "val_loss": None},
        {"confusion_matrix": [[1, 2], [3]], "palette": [[0, 0]]},
        {"confusion_matrix": np.zeros((11, 12), int).tolist(), "pixels": 0, "mean_iou": None},
        {"per_class": [], "confusion_matrix": []},
        {"per_class": [{"name": "only"}], "confusion_matrix": [[3, 0]], "palette": [[300, -4, 2.5]]},
    ],
)
def test_incomplete_evaluations_still_give_a_page(run, changes):
    edit(run / "evaluation.json", **changes)
    assert "Mean IoU" in report(run).text


def test_empty_tables_and_missing_files(tmp_path):
    (tmp_path / "config.yaml").write_text("")
    (tmp_path / "metrics.csv").write_text("")
    page = report(tmp_path)
    assert "No evaluation yet: training is at step 0." in page.text
    assert "nothing logged yet" in page.text


@pytest.mark.usefixtures("no_charts")
def test_not_finite_numbers_are_a_dash(run):
    text = (run / "evaluation.json").read_text().replace('"val_loss": 0.4321', '"val_loss": NaN')
    (run / "evaluation.json").write_text(text)
    page = report(run)
    assert not re.search(r"\bnan\b|\bNaN\b|\binf\b", page.text)


def test_what_is_no_run_folder_is_refused(tmp_path):
    for path, words in ((tmp_path, "holds none of"), (tmp_path / "no", "nothing")):
        with pytest.raises(InputError, match=words) as error:
            write_report(path)
        assert error.value.where == path
        assert error.value.fix
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="a file"):
        write_report(tmp_path / "file")


@pytest.mark.usefixtures("no_charts")
def test_writing_is_atomic_and_leaves_nothing_behind(run, monkeypatch):
    write_report(run)
    before = (run / "report.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not [path for path in run.iterdir() if path.name.endswith(".tmp")]


@pytest.mark.usefixtures("no_charts")
def test_panels_latest_large_and_earlier_small(run):
    page = html.page(html.read_run(run))
    widths = [int(w) for w in re.findall(r'<img [^>]*width="(\d+)"', page)]
    assert widths == [120] * 9 + [80] * 3  # the fixture's own: nothing is enlarged
    steps = re.findall(r"<figcaption>(?:after )?step ([\d,]+)", page)
    assert steps[0] == "5,000"
    assert steps[1] == "4,500"
    assert steps[-1] == "500"
    assert len(steps) == 9


def test_pictures_shrink_until_they_fit(run, monkeypatch):
    paths = sorted((run / "samples").iterdir())[:2]
    rng = np.random.default_rng(0)
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (20, 1200, 3), np.uint8)).save(path)
    latest, *found = pictures.encode_all(None, paths, paths, paths)
    assert latest is None
    assert [picture.width for part in found for picture in part if picture] == [900] * 2 + [760] * 2 + [
        1200
    ] * 2
    needed = sum(len(picture.data) for part in found for picture in part if picture)
    monkeypatch.setattr(pictures, "MAX_BYTES", needed - 1)
    _, *found = pictures.encode_all(None, paths, paths, paths)
    assert [picture.width for part in found for picture in part if picture] == [640] * 2 + [560] * 2 + [
        1100
    ] * 2
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    _, *found = pictures.encode_all(None, paths, paths, paths)
    assert [picture.width for part in found for picture in part if picture] == [480] * 2 + [420] * 2 + [
        800
    ] * 2
