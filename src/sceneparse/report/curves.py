"""Loss, scores and learning rate over the steps of a run: ``curves.png`` and the page's charts."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sceneparse.files import write_atomically
from sceneparse.report.run_folder import Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

DRAWN_POINTS = 1200
"""Of a longer line the extremes of each stretch are drawn: no spike is lost, files stay small."""


class Ink(NamedTuple):
    """Colours of the charts, all different: in the page each is replaced by a CSS variable of its name."""

    text: str = "#1d2430"
    muted: str = "#68707d"
    grid: str = "#e4e6ea"
    train: str = "#2f6fb3"
    val: str = "#c8502b"
    iou: str = "#1c7f68"
    accuracy: str = "#8a6d1f"
    rate: str = "#6a5a94"
    alarm: str = "#c01f2e"


INK = Ink()


def write_curves(run: Path) -> Path:
    """Draw ``RUN/curves.png`` from ``metrics.csv`` and ``losses.csv``; what is not logged yet is left empty.

    Args:
        run: a run folder.

    Returns:
        The picture's path.

    Raises:
        InputError: ``run`` is no run folder, or the picture cannot be written.
    """
    contents = read_run(run)
    path = contents.path / "curves.png"
    picture = curves_png(contents)
    write_atomically(path, lambda file: file.write(picture))
    return path


def curves_png(run: Run) -> bytes:
    """The three charts side by side, on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.1, wspace=0.03)
    figure = Figure(figsize=(13.5, 4.1), dpi=130, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    for axes, draw in zip(figure.subplots(1, 3), CHARTS.values(), strict=True):
        draw(axes, run)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def chart_svg(name: str, run: Run) -> str:
    """One of :data:`CHARTS` as an ``<svg>`` element: text stays text, colours are ``var(--chart-NAME)``."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.3, 3.2), dpi=72, layout="constrained")
    FigureCanvasSVG(figure)
    CHARTS[name](figure.subplots(), run)
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for role, color in INK._asdict().items():
        svg = svg.replace(color, f"var(--chart-{role})")
    # Several drawings share the page's one name space of ids.
    for mark in ('id="', "url(#", 'href="#'):
        svg = svg.replace(mark, f"{mark}{name}-")
    return svg


def best_step(run: Run) -> int | None:
    """Step of the best checkpoint: what the evaluation says, otherwise the highest mean IoU logged."""
    if run.evaluation and isinstance(run.evaluation.get("step"), int):
        return int(run.evaluation["step"])
    iou = _column(run.metrics, "mean_iou")
    if not np.isfinite(iou).any():
        return None
    return int(run.metrics["step"][np.nanargmax(iou)])


def _loss_chart(axes: Axes, run: Run) -> None:
    _frame(axes, run, "Loss")
    step, loss = run.losses["step"], _column(run.losses, "loss")
    if not len(step):
        step, loss = run.metrics["step"], _column(run.metrics, "train_loss")
    val = _column(run.metrics, "val_loss")
    bold = loss
    if len(loss) >= 40:
        window = _window(len(loss))
        bold = moving_mean(loss, window)
        axes.plot(*thinned(step, loss), color=INK.train, lw=0.7, alpha=0.25)
        label = f"training, mean of {window} steps" if _every_step(step) else f"training, mean of {window}"
        axes.plot(*thinned(step, bold), color=INK.train, lw=2, label=label)
    elif len(loss):
        axes.plot(step, loss, color=INK.train, lw=1.6, marker=_marker(loss), ms=4, label="training")
    if np.isfinite(val).any():
        axes.plot(
            run.metrics["step"], val, color=INK.val, lw=1.8, marker=_marker(val), ms=4, label="validation"
        )
    broken = step[~np.isfinite(loss)]
    if len(broken):
        axes.axvline(broken[0], color=INK.alarm, lw=1.2, ls=":", label=f"not finite, step {broken[0]:,.0f}")
    _limit_loss(axes, loss, bold, val)
    best = best_step(run)
    if best is not None:
        axes.axvline(best, ymax=0.7, color=INK.iou, lw=0.9, ls=(0, (4, 4)), alpha=0.7, zorder=1)
    _finish(axes, legend="best")


def _score_chart(axes: Axes, run: Run) -> None:
    _frame(axes, run, "Scores on validation")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    step = run.metrics["step"]
    for column, color, label in (
        ("pixel_accuracy", INK.accuracy, "pixel accuracy"),
        ("mean_iou", INK.iou, "mean IoU"),
    ):
        values = _column(run.metrics, column)
        if np.isfinite(values).any():
            width = 2.2 if column == "mean_iou" else 1.4
            axes.plot(step, values, color=color, lw=width, marker=_marker(values), ms=4, label=label)
    best = best_step(run)
    if best is not None and best in step:
        value = float(_column(run.metrics, "mean_iou")[step == best][0])
        if math.isfinite(value):
            axes.plot([best], [value], "o", ms=9, mfc="none", mec=INK.iou, mew=1.8)
            place = best / axes.get_xlim()[1]
            # Below a high score, where a rising curve leaves room; above a low one.
            axes.annotate(
                f"best {100 * value:.2f} %\nstep {best:,}",
                (best, value),
                xytext=(0, -26 if value > 0.45 else 12),
                textcoords="offset points",
                ha="right" if place > 0.8 else "left" if place < 0.2 else "center",
                va="top" if value > 0.45 else "bottom",
                color=INK.iou,
                fontsize=9.5,
                fontweight="bold",
            )
    low = bool(np.nanmax(_column(run.metrics, "mean_iou"), initial=0) < 0.45)
    _finish(axes, legend="upper left" if low else "lower right")


def _rate_chart(axes: Axes, run: Run) -> None:
    _frame(axes, run, "Learning rate")
    step, rate = run.losses["step"], _column(run.losses, "lr")
    if not np.isfinite(rate).any():
        step, rate = run.metrics["step"], _column(run.metrics, "lr")
    if np.isfinite(rate).any():
        axes.plot(*thinned(step, rate), color=INK.rate, lw=1.8, marker=_marker(rate) if len(rate) < 3 else "")
        axes.set_ylim(0, 1.08 * max(float(np.nanmax(rate)), 1e-12))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}".replace("e-0", "e-"))
    _finish(axes, legend=None)


CHARTS: dict[str, Callable[[Axes, Run], None]] = {
    "loss": _loss_chart,
    "scores": _score_chart,
    "rate": _rate_chart,
}


def moving_mean(values: Floats, window: int) -> Floats:
    """Mean of the finite values within ``window // 2`` places to either side; nan where there are none."""
    half = window // 2
    finite = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(finite)])
    place = np.arange(len(values))
    low, high = np.maximum(place - half, 0), np.minimum(place + half + 1, len(values))
    number = count[high] - count[low]
    return np.divide(total[high] - total[low], number, out=np.full(len(values), np.nan), where=number > 0)


def thinned(x: Floats, y: Floats, points: int = DRAWN_POINTS) -> tuple[Floats, Floats]:
    """The smallest and the largest finite value of each of ``points // 2`` stretches, in their order."""
    if len(x) <= points:
        return x, y
    keep: list[int] = []
    for stretch in np.array_split(np.arange(len(x)), points // 2):
        finite = stretch[np.isfinite(y[stretch])]
        if len(finite):
            keep += sorted({int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])})
    return x[keep], y[keep]


def _column(series: dict[str, Floats], name: str) -> Floats:
    """Infinite values become nan: they are drawn as a gap and never set a scale."""
    values = series.get(name, np.full(len(series["step"]), np.nan))
    return np.where(np.isfinite(values), values, np.nan)


def _window(count: int) -> int:
    return 2 * (min(max(count // 30, 5), 1001) // 2) + 1


def _every_step(step: Floats) -> bool:
    return len(step) > 1 and bool((np.diff(step) == 1).all())


def _marker(values: Floats) -> str:
    return "o" if np.isfinite(values).sum() <= 30 else ""


def _limit_loss(axes: Axes, loss: Floats, bold: Floats, val: Floats) -> None:
    """Room for both bold lines; but a few batches far above the rest must not flatten everything else."""
    bold, val, raw = (values[np.isfinite(values)] for values in (bold, val, loss))
    needed = [float(values.max()) for values in (val,) if len(values)]
    if len(raw):
        usual, highest = float(np.quantile(raw, 0.995)), float(bold.max())
        needed += [usual, highest if highest <= 3 * usual else 0.0]
    if needed:
        lowest = min([0.0] + [float(values.min()) for values in (raw, val) if len(values)])
        axes.set_ylim(lowest, max(needed) + 0.08 * (max(needed) - lowest) + 1e-9)


def _frame(axes: Axes, run: Run, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK.text, pad=10)
    axes.set_xlabel("training step", color=INK.muted, fontsize=10)
    axes.tick_params(colors=INK.muted, labelsize=9.5, length=0, pad=5)
    axes.grid(axis="y", color=INK.grid, lw=0.9)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(INK.muted)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlim(0, max(run.steps_done, 1) * 1.03)


def _finish(axes: Axes, *, legend: Literal["best", "upper left", "lower right"] | None) -> None:
    """Legend where lines usually are not; a word where nothing is drawn yet."""
    if not axes.lines:
        axes.text(0.5, 0.5, "nothing logged yet", ha="center", color=INK.muted, transform=axes.transAxes)
        axes.set_yticks([])
        return
    if legend:
        axes.legend(loc=legend, frameon=False, fontsize=9.5, labelcolor=INK.muted, handlelength=1.5)
