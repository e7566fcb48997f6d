import io
import time

import numpy as np
import pytest
from fake_run import METRICS, write_csv
from matplotlib.figure import Figure
from PIL import Image

from sceneparse.errors import InputError
from sceneparse.report import curves, write_curves
from sceneparse.report.run_folder import read_run


def drawn(run) -> np.ndarray:
    path = write_curves(run)
    assert path == run / "curves.png"
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB")).astype(int)


def has(picture: np.ndarray, color: str) -> bool:
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((abs(picture - wanted).max(-1) <= 2).sum() > 20)


def test_every_line_of_a_run_is_drawn(run):
    picture = drawn(run)
    ink = curves.INK
    assert all(has(picture, c) for c in (ink.train, ink.val, ink.iou, ink.accuracy, ink.rate))
    assert not has(picture, ink.alarm)


def test_charts_name_axes_lines_and_the_best_evaluation(run):
    contents = read_run(run)
    loss, scores, rate = (curves.chart_svg(name, contents) for name in curves.CHARTS)
    for words in (">Loss<", ">training step<", ">validation<", ">training, mean of 167 steps<"):
        assert words in loss
    best = contents.evaluation["mean_iou"]
    for words in (">mean IoU<", ">pixel accuracy<", f"best {100 * best:.2f} %", "step 4,500"):
        assert words in scores
    assert ">Learning rate<" in rate
    assert "#2f6fb3" not in loss
    assert "var(--chart-train)" in loss


def test_best_without_an_evaluation_file_is_the_highest_mean_iou(run):
    (run / "evaluation.json").unlink()
    assert curves.best_step(read_run(run)) == 4500
    (run / "metrics.csv").unlink()
    assert curves.best_step(read_run(run)) is None


def test_one_row(run):
    write_csv(run / "metrics.csv", METRICS, [[20, 1, 80, 2.0, 1.9, 0.1, 0.4, 0.1, 0.3, 1e-4, 5, 0.1, 9]])
    write_csv(run / "losses.csv", ["step", "loss", "lr"], [[20, 2.0, 1e-4]])
    (run / "evaluation.json").unlink()
    picture = drawn(run)
    ink = curves.INK
    assert all(has(picture, c) for c in (ink.train, ink.val, ink.iou, ink.rate))


def test_nothing_logged_yet(run):
    for name in ("metrics.csv", "losses.csv"):
        (run / name).write_text("")
    (run / "evaluation.json").unlink()
    assert not has(drawn(run), curves.INK.train)
    assert "nothing logged yet" in curves.chart_svg("loss", read_run(run))


def test_losses_that_are_not_finite_leave_a_gap_and_a_mark(run):
    rows = [[s, "nan" if s == 70 else "inf" if s == 71 else 2 - s / 100, 1e-4] for s in range(1, 101)]
    write_csv(run / "losses.csv", ["step", "loss", "lr"], rows)
    write_csv(run / "metrics.csv", METRICS, [[n * 10] + ["nan"] * 12 for n in range(1, 5)])
    (run / "evaluation.json").unlink()
    assert has(drawn(run), curves.INK.alarm)
    assert "not finite, step 70" in curves.chart_svg("loss", read_run(run))


def test_one_spike_does_not_flatten_the_curve(run):
    rows = [[s, 1e6 if s == 50 else 1.0, 1e-4] for s in range(1, 3001)]
    write_csv(run / "losses.csv", ["step", "loss", "lr"], rows)
    axes = Figure().subplots()
    curves.CHARTS["loss"](axes, read_run(run))
    # The mean around the spike is 1e4; every other training loss is 1, validation starts at 1.2.
    assert 1.2 < axes.get_ylim()[1] < 3


def test_a_hundred_thousand_rows_are_quick_and_small(run):
    steps = np.arange(1, 100_001)
    loss = 1 + np.random.default_rng(0).random(100_000)
    write_csv(run / "losses.csv", ["step", "loss", "lr"], zip(steps, loss, loss, strict=True))
    start = time.process_time()
    svg = curves.chart_svg("loss", read_run(run))
    assert time.process_time() - start < 5  # 0.6 s measured; per-row drawing takes far longer
    assert len(svg) < 200_000


def test_moving_mean_against_the_definition():
    values = np.array([1.0, 5.0, np.nan, 2.0, np.inf, 8.0, np.nan, np.nan, np.nan])
    expected = [3.0, 3.0, 3.5, 2.0, 5.0, 8.0, 8.0, np.nan, np.nan]
    np.testing.assert_allclose(curves.moving_mean(values, 3), expected)


def test_thinning_keeps_the_extremes_and_the_order():
    rng = np.random.default_rng(0)
    x, y = np.arange(50_000.0), rng.normal(size=50_000)
    y[[777, 40_001]], y[100:300] = (99, -99), np.nan
    tx, ty = curves.thinned(x, y, 1000)
    assert len(tx) <= 1000
    assert (np.diff(tx) > 0).all()
    assert {99.0, -99.0} <= set(ty)
    np.testing.assert_array_equal(y[tx.astype(int)], ty)


def test_rows_written_again_after_a_resume_count_once(run):
    text = "step,loss,lr\n1,5,1\n2,4,1\n3,9,1\n2,3,1\n3,2,1\n4,1,1\n5,7"  # the last line was cut by a kill
    (run / "losses.csv").write_text(text)
    losses = read_run(run).losses
    np.testing.assert_array_equal(losses["step"], [1, 2, 3, 4])
    np.testing.assert_array_equal(losses["loss"], [5, 3, 2, 1])


def test_not_a_run_folder(tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        write_curves(tmp_path)
