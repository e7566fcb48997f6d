"""docs/results.md, docs/ablations.md and the README's rows are those of the result files of recipes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
try:
    import quality_tables
    from published import PUBLISHED
finally:
    sys.path.pop(0)

HARDWARE = {"gpus": [], "cores": 2, "instructions": "AVX2"}


def spread(mean, sd, n=3):
    return {"mean": mean, "sd": sd, "n": n}


def view(iou, ms, scales=(1.0,), flip=False):
    return {
        "mean_iou": spread(iou, 0.0042),
        "pixel_accuracy": spread(0.931, 0.001),
        "ms": {"best": ms, "median": ms + 3},
        "scales": list(scales),
        "flip": flip,
    }


def seed(number, iou):
    names = PUBLISHED["camvid"][-1].per_class or next(r.per_class for r in PUBLISHED["camvid"] if r.per_class)
    return {
        "seed": number,
        "views": {
            "single": {
                "mean_iou": iou,
                "per_class": dict.fromkeys(names, 0.5) | {"pole": 0.25 + number / 100},
                "pixels": dict.fromkeys(names, 100),
            }
        },
        "boundary_mean_iou": {"3": 0.4, "5": 0.45, "10": 0.5, "20": 0.6 + number / 10},
        "best_step": 2400,
        "evaluations": 7,
        "mean_iou_of_last_step": iou - 0.01,
        "training_minutes": 44.0,
        "threads": [1, 2],
        "machine": "2 cores, AVX2",
    }


def quality(split="val", **changed):
    return {
        "recipe": "camvid-small",
        "network": "fcn4s-fused-hgnetv2_b0",
        "start": "random",
        "data": "camvid",
        "split": split,
        "absent_rule": "skip",
        "parameters_million": 2.007,
        "steps": 2600,
        "training_minutes": spread(44.0, 1.0),
        "images_per_second": spread(7.8, 0.1),
        "views": {
            "single": view(0.7512, 41),
            "flip": view(0.7622, 80, flip=True),
            "multi-scale": view(0.7732, 260, (0.75, 1.0, 1.25), True),
        },
        "picture_hw": [360, 480],
        "engine": "packed, float32",
        "threads": 2,
        "seeds": [seed(0, 0.7512), seed(1, 0.7472), seed(2, 0.7552)],
    } | changed


def heads():
    def row(what, settings, iou, difference):
        return {
            "what": what,
            "settings": settings,
            "pictures": 1.0,
            "mean_iou": spread(iou, 0.004),
            "pixel_accuracy": spread(0.9, 0.001),
            "difference": difference,
            "minutes": spread(10.0, 0.1),
            "machines": ["1 core, AVX2"],
        }

    return {
        "title": "Heads over hgnetv2_b0",
        "about": "The head alone differs.",
        "recipe": "camvid-small",
        "settings": {"model.name": "fcn8s-hgnetv2_b0"},
        "samples": 5000,
        "split": "val",
        "rows": {
            "base": row("FCN-8s, the paper's head", {}, 0.5, None),
            "longer": row("FCN-8s, as many minutes", {}, 0.51, spread(0.01, None, 1)) | {"pictures": 1.5},
            "fused": row("fused", {"model.name": "fcn4s-fused-x"}, 0.553, spread(0.053, 0.0061)),
        },
    }


def write_record(root, what, figures, command="sceneparse train DATA --out RUN --recipe camvid-small"):
    record = {
        "what": what,
        "date": "2999-01-01",
        "command": command,
        "figures": figures,
        "environment": {"hardware": HARDWARE},
    }
    path = root / "benchmarks" / "results" / f"{what}_made-up_2999-01-01.json"
    path.write_text(json.dumps(record), encoding="utf-8")


def write_tables(root, *arguments):
    return subprocess.run(
        [sys.executable, root / "benchmarks" / "results_table.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copied(tmp_path):
    """The scripts, results and pages alone, without any of recipes."""
    for folder in ("benchmarks", "docs"):
        shutil.copytree(
            ROOT / folder,
            tmp_path / folder,
            ignore=shutil.ignore_patterns("__pycache__", "images", "quality-*", "ablations-*"),
        )
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    assert write_tables(tmp_path).returncode == 0
    return tmp_path


def tables_of(page):
    """Rows of cells, the header first, of every table of a page."""
    tables, rows = [], []
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            tables.append(rows)
            rows = []
    return tables


def test_a_new_result_makes_the_pages_stale_until_they_are_written(copied):
    page, readme = copied / "docs" / "results.md", copied / "README.md"
    assert "None of ours is measured yet" in page.read_text(encoding="utf-8")
    write_record(copied, "quality-camvid-small", quality())
    done = write_tables(copied, "--check")
    assert done.returncode == 1
    assert done.stdout.split() == ["stale:", "README.md", "stale:", "docs/results.md"]

    assert write_tables(copied).returncode == 0
    assert write_tables(copied, "--check").returncode == 0
    lines = readme.read_text(encoding="utf-8").splitlines()
    (row,) = (line for line in lines if line.startswith("| CamVid") and "camvid-small" in line)
    assert "CamVid **val** (void ignored)" in row
    assert "mean IoU 0.751 ± 0.004 (3 seeds)" in row
    assert "2.0 M parameters, trained 44 min, 7.8 img/s, 2 cores, AVX2" in row
    assert "flip, sizes 0.75, 1, 1.25: 0.773 at 260 ms" in row
    assert "; published on val: 0.732 for FCN-8s VGG16 (ImageNet), 0.664 for ESPNet, its published" in row
    assert "; on test, another scale: 0.677 for FC-HarDNet84 (random), 0.601 for SegNet" in row


def test_published_figures_beside_ours_are_those_of_its_split():
    on_val, on_test = quality_tables.published_beside("camvid", "test")[::-1]
    assert on_test.startswith("published on test: 0.677 for FC-HarDNet84 (random), ")
    assert on_val.startswith("on val, another scale: 0.732 for FCN-8s VGG16 (ImageNet), ")
    (ade,) = quality_tables.published_beside("ade20k", "val")
    assert "0.521 for UPerNet ConvNeXt-B, crop 640 (ImageNet-22k)" in ade  # what ade20k-modern is to reach
    assert quality_tables.published_beside("scenes", "val") == []


def test_ours_stand_by_their_score_and_val_and_test_never_in_one_column(copied):
    write_record(copied, "quality-camvid-small", quality())
    write_tables(copied)
    tables = [rows for rows in tables_of(copied / "docs" / "results.md") if rows[0][0] == "network"]
    val, test = (
        next(rows for rows in tables if f"mean IoU, {split}" in rows[0]) for split in ("val", "test")
    )
    assert val is not test
    names = [row[0] for row in val[2:]]
    assert names[:2] == ["**`camvid-small`**: fcn4s-fused-hgnetv2_b0", "FCN-8s VGG16"]
    assert not any("camvid-small" in cell for row in test for cell in row)
    published = {split: [r for r in PUBLISHED["camvid"] if r.split == split] for split in ("val", "test")}
    assert [len(val), len(test)] == [3 + len(published["val"]), 2 + len(published["test"])]
    ours = dict(zip(val[0], val[2], strict=True))
    assert ours["mean IoU, val"] == "**0.751 ± 0.004** (3 seeds)"
    assert ours["one picture"] == "41 ms, 2 cores, AVX2"
    assert ours["training"] == "44 min, 7.8 img/s, 2 cores, AVX2"


def test_a_result_on_another_split_stands_with_that_split(copied):
    figures = quality(split="test", views={"single": view(0.641, 41)})
    write_record(copied, "quality-camvid-small-test", figures)
    write_tables(copied)
    tables = [rows for rows in tables_of(copied / "docs" / "results.md") if rows[0][0] == "network"]
    where = [rows[0][2] for rows in tables if any("camvid-small" in row[0] for row in rows)]
    assert where == ["mean IoU, test"]


def test_classes_seeds_and_boundaries_are_means_over_seeds(copied):
    write_record(copied, "quality-camvid-small", quality())
    write_tables(copied)
    tables = tables_of(copied / "docs" / "results.md")
    classes = next(rows for rows in tables if rows[0][0] == "class")
    pole = dict(zip(classes[0], next(row for row in classes if row[0] == "pole"), strict=True))
    assert pole["`camvid-small`, val"] == "0.260"  # of 0.25, 0.26 and 0.27
    assert pole["FC-DenseNet103, test"] == "0.378"
    assert pole["share of val"] == "9.1%"
    near = next(rows for rows in tables if "within 3 px" in rows[0])[2]
    assert near[1:6] == ["0.400", "0.450", "0.500", "0.700", "0.751"]
    seeds = next(rows for rows in tables if rows[0][1] == "seed")
    assert [row[2] for row in seeds[2:]] == ["0.7512", "0.7472", "0.7552"]
    assert seeds[2][4:6] == ["0.7412", "44 min, 1 and 2 threads, resumed once"]


def test_ablations_say_the_difference_in_points(copied):
    write_record(copied, "ablations-heads", heads(), "python benchmarks/ablations.py heads --seeds 0,1,2")
    write_tables(copied)
    (rows,) = tables_of(copied / "docs" / "ablations.md")
    assert [row[2] for row in rows[2:]] == ["", "+1.0 (1 seed)", "+5.3 ± 0.6"]
    assert rows[2][6] == "`model.name=fcn8s-hgnetv2_b0`"
    assert rows[3][0] == "FCN-8s, as many minutes, 1.5 times the pictures"
    assert "The head alone differs." in (copied / "docs" / "ablations.md").read_text(encoding="utf-8")
    readme = (copied / "README.md").read_text(encoding="utf-8")
    assert "FCN-8s, as many minutes +1.0 (1 seed); fused +5.3 ± 0.6 (3 seeds)" in readme


def test_small_views_are_compared_with_whole_ones(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results_table

    views = {"whole views": {"images_per_s": 6.0}, "small views": {"images_per_s": 13.2}}
    said = results_table.ROWS["step_costs-camvid-small"][1]({"rows": {"base": {"views": views}}})
    assert said == "2.2x as many pictures a second as whole ones (6.0)"


def test_rows_name_the_network_that_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results_table

    record = {"command": "", "environment": {"hardware": HARDWARE}}
    train = {"network": "small", "images_per_s_of_steps": 9, "share_waiting_for_data": 0}
    predict = {"network": "small", "ms_a_photo": 1, "start_up_s": 1}
    evaluation = {"network": "other", "ratio": 3, "ours_s": 1, "images": 101}
    found = {"end_to_end": {"train": train, "predict": predict}, "evaluate": evaluation}
    monkeypatch.setattr(
        results_table, "newest", lambda what: record | {"figures": found[what]} if what in found else None
    )
    said = results_table.table()
    assert "| evaluation of CamVid val, `other` | 3.0x" in said
    assert "| `train` and `predict` as whole processes, `small`, CamVid | train 9.0" in said
    predict["network"] = "another"  # --model
    assert "processes, `small` and `another`, CamVid" in results_table.table()
    found["end_to_end"] = {"network": "of before", "train": {**train}, "predict": {**predict}}
    assert "processes, `of before`, CamVid" in results_table.table()


def test_one_seed_has_no_spread():
    assert quality_tables.spread(spread(0.5, None, 1)) == "0.500"
    assert quality_tables.spread(spread(-0.012, 0.003), factor=100, digits=1, sign="+") == "-1.2 ± 0.3"


def test_published_classes_give_the_published_mean():
    """A slip of the pen in one of the figures would show."""
    rows = [row for rows in PUBLISHED.values() for row in rows]
    assert sum(bool(row.per_class) for row in rows) == 3
    for row in rows:
        least, most = row.mean_iou if isinstance(row.mean_iou, tuple) else (row.mean_iou, row.mean_iou)
        assert 0 < least <= most < 1
        assert row.source
        if row.per_class:
            mean = sum(row.per_class.values()) / len(row.per_class)
            assert mean == pytest.approx(row.mean_iou, abs=0.0006), row.network
