"""Whether a run is told that it ended too soon, and with which command."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from sceneparse.cli import build_parser
from sceneparse.report import training_part, write_report
from sceneparse.report.length import train_longer
from sceneparse.report.run_folder import Run


def run_of(scores, *, planned=100, schedule="poly", command="", data=None, config=None):
    """A run evaluated at even steps up to the last that was planned."""
    step = np.linspace(0, 100, len(scores) + 1)[1:]
    return Run(
        path=Path("runs/a"),
        config={"steps": planned, "optimizer.schedule": schedule} if config is None else config,
        environment={"command": command, "data": {"path": data}},
        metrics={"step": step, "mean_iou": np.array(scores, float)},
        losses={"step": np.array([])},
        evaluation={},
        reading={},
        baseline=[],
        warnings=[],
        samples=[],
        first_batch=[],
        overlays=[],
    )


@pytest.mark.parametrize(
    ("scores", "points", "since"),
    [
        ([0.168, 0.187], "1.9", "50"),
        ([0.3, 0.5, 0.6, 0.62], "2.0", "75"),
        ([0.1, 0.2, 0.3, 0.31, 0.32, 0.33, 0.34, 0.35, 0.38, 0.4], "6.0", "70"),
        ([np.nan, 0.2, 0.3, 0.4], "10.0", "75"),
        ([0.5, 0.3, 0.51, 0.52, 0.53, 0.56], "4.0", "67"),  # an early fall is none
    ],
)
def test_a_score_that_still_rises(scores, points, since):
    (said,) = train_longer(run_of(scores))
    assert f"rising when the run ended, by <b>{points}\u00a0points</b> since step {since}" in said


@pytest.mark.parametrize(
    "scores",
    [
        [0.5],
        [],
        [0.3, 0.6, 0.59],  # the best is not the last
        [0.3, 0.6, 0.61, 0.615],  # less than a point
        [0.3, 0.6, 0.56, 0.64, 0.6, 0.66],  # it has fallen by more
        [np.nan, np.nan],
    ],
)
def test_one_that_does_not(scores):
    assert train_longer(run_of(scores)) == []


def test_a_run_that_was_stopped_is_not_meant():
    assert train_longer(run_of([0.3, 0.5], planned=200)) == []
    assert train_longer(run_of([0.3, 0.5], config={})) == []


COMMAND = "sceneparse train 'my data' --set steps=100 --out runs/a --epochs 3 --seed 1 --resume"


def command_in(said):
    return said.partition("<code>")[2].partition("</code>")[0].replace("&#x27;", "'")


def test_a_schedule_that_has_ended_needs_a_new_run():
    (said,) = train_longer(run_of([0.1, 0.2], command=COMMAND))
    assert "train anew with more steps</em>, as its learning rate has come down to 0 (poly)" in said
    assert command_in(said) == "sceneparse train 'my data' --seed 1 --out runs/a-longer --steps 200"
    (said,) = train_longer(run_of([0.1, 0.2], data="d"))  # from Python: no command is known
    assert said.endswith("(poly).")


def test_a_constant_rate_goes_on():
    (said,) = train_longer(run_of([0.1, 0.2], schedule="constant", command=COMMAND))
    line = command_in(said)
    assert line == "sceneparse train 'my data' --out runs/a --seed 1 --resume --steps 200"
    assert "learning rate" not in said
    build_parser()[0].parse_args(line.replace("'my data'", "data").split()[1:])
    (said,) = train_longer(run_of([0.1, 0.2], schedule="constant", data="d"))
    assert command_in(said) == "sceneparse train d --out runs/a --resume --steps 200"
    (said,) = train_longer(run_of([0.1, 0.2], schedule="constant", command="sceneparse demo", data="d"))
    assert said.endswith("go on for as long again</em>.")


def test_it_is_the_first_thing_on_the_page(run, monkeypatch):
    monkeypatch.setattr(training_part, "chart_svg", lambda *_: "")
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["optimizer"]["schedule"] = "constant"
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    rows = (run / "metrics.csv").read_text().splitlines()
    assert "Train longer" not in write_report(run).read_text(encoding="utf-8")
    last = rows[-1].split(",")
    last[5] = "0.99"
    (run / "metrics.csv").write_text("\n".join([*rows[:-2], ",".join(last)]))
    page = write_report(run).read_text(encoding="utf-8")
    assert page.index("<dt>Train longer</dt>") < page.index("<dt>Weakest classes</dt>")
    assert "--resume --steps 10000</code>" in page
