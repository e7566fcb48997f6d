"""Which classes are right and what they are taken for: class table, confusion matrix, worst pairs.

K classes. The matrix is (K, K+1): rows truth, columns prediction, last column "no class".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.labels import distinct_colors
from sceneparse.report.findings import TrainingShare
from sceneparse.report.markup import chip, count, number, percent, rgb, text

SHOWN_CLASSES = 25
"""Rows and columns of the matrix; of more classes the largest are shown and the rest is one column."""

SHOWN_PAIRS = 10
WORST = 5
NO_CLASS = "no class"


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The per-class part of ``evaluation.json``.

    Attributes:
        names: K names.
        ids: K numbers in label files.
        iou: K fractions, None where absent.
        accuracy: K fractions, None where a class has no truth.
        pixels: (K,) true pixels.
        colors: K colours.
        matrix: (K, K+1) counts, or None where the file has none of that shape.
    """

    names: list[str]
    ids: list[Any]
    iou: list[float | None]
    accuracy: list[float | None]
    pixels: NDArray[np.int64]
    colors: list[Any]
    matrix: NDArray[np.int64] | None

    @property
    def count(self) -> int:
        """K."""
        return len(self.names)

    @property
    def true(self) -> int:
        """How many classes have a true pixel."""
        return int((self.pixels > 0).sum())

    @property
    def share(self) -> NDArray[np.float64]:
        """(K,) part of all true pixels."""
        return self.pixels / max(int(self.pixels.sum()), 1)

    @property
    def by_size(self) -> list[int]:
        """Class indices, most true pixels first."""
        return [int(i) for i in np.argsort(-self.pixels, kind="stable")]

    @property
    def worst(self) -> list[int]:
        """The classes of lowest IoU, lowest first; at most a third of all that have one."""
        scored = [i for i, iou in enumerate(self.iou) if iou is not None]
        return sorted(scored, key=lambda i: self.iou[i] or 0.0)[: min(WORST, len(scored) // 3)]


def read_classes(evaluation: dict[str, Any]) -> Classes | None:
    """None where the evaluation lists no classes."""
    rows = [row for row in evaluation.get("per_class") or [] if isinstance(row, dict)]
    if not rows:
        return None
    matrix = None
    try:
        counts = np.array(evaluation.get("confusion_matrix"), dtype=np.int64)
        if counts.shape == (len(rows), len(rows) + 1) and counts.min() >= 0:
            matrix = counts
    except (TypeError, ValueError):
        pass  # Ragged or not numbers: the page says that there is no matrix.
    palette = evaluation.get("palette") or []
    usable = len(palette) == len(rows) and all(_is_color(color) for color in palette)
    return Classes(
        names=[str(row.get("name", row.get("id", i))) for i, row in enumerate(rows)],
        ids=[row.get("id", i) for i, row in enumerate(rows)],
        iou=[number(row.get("iou")) for row in rows],
        accuracy=[number(row.get("accuracy")) for row in rows],
        pixels=np.array([int(number(row.get("pixels")) or 0) for row in rows], np.int64),
        colors=palette if usable else list(distinct_colors(len(rows))),
        matrix=matrix,
    )


def _is_color(color: Any) -> bool:
    return isinstance(color, list | tuple) and len(color) == 3 and all(number(c) is not None for c in color)


def share_bars(classes: Classes) -> str:
    """Two stacked bars in the classes' colours: how the labels and how the predictions divide the pixels."""
    if classes.matrix is None or not classes.matrix.sum():
        return ""
    truth, guess = classes.matrix.sum(1), classes.matrix[:, :-1].sum(0)
    bars = []
    for title, pixels in (("labels", truth), ("predictions", guess)):
        parts = "".join(
            f'<i style="flex:{pixels[i] / max(pixels.sum(), 1):.5f};background:{rgb(classes.colors[i])}" '
            f'title="{text(classes.names[i])}: {percent(pixels[i] / truth.sum(), 1)} of {title}"></i>'
            for i in classes.by_size
            if pixels[i]
        )
        bars.append(f'<span>{title}</span><div class="share">{parts}</div>')
    return f'<div class="shares">{"".join(bars)}</div>'


def spread(classes: Classes) -> str:
    """A mark in its colour for each class on a scale of IoU from 0 to 100 %: far apart or close together."""
    marks = "".join(
        f'<i style="left:{100 * iou:.1f}%;background:{rgb(classes.colors[i])}" '
        f'title="{text(classes.names[i])} {percent(iou)}"></i>'
        for i, iou in enumerate(classes.iou)
        if iou is not None
    )
    ends = "<span>0</span><span>IoU of each class</span><span>100\u00a0%</span>"
    return f'<div class="spread"><div>{marks}</div><p>{ends}</p></div>' if marks else ""


def class_table(classes: Classes, train: TrainingShare | None = None) -> str:
    """One row a class, largest first; columns sort on a click.

    Args:
        classes: the scores.
        train: what the training split holds; two more columns where it is known.
    """
    worst = set(classes.worst)
    rows = "".join(_class_row(classes, i, train, weak=i in worst) for i in classes.by_size)
    trained = (("share in training", "num"), ("training images", "num")) if train else ()
    heads = "".join(
        f'<th scope=col data-sort="{kind}" class="{kind}"><button type=button>{title}</button></th>'
        for title, kind in (
            ("number", "num"),
            ("class", "str"),
            ("IoU", "num wide"),
            ("accuracy", "num"),
            ("share of pixels", "num"),
            *trained,
            ("most often taken for", "str"),
        )
    )
    size = "scroll tall" if classes.count > SHOWN_CLASSES else "scroll"
    return (
        f'<div class="{size}"><table class="classes sortable" aria-label="scores by class">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _class_row(classes: Classes, i: int, train: TrainingShare | None, *, weak: bool) -> str:
    iou, accuracy, share = classes.iou[i], classes.accuracy[i], float(classes.share[i])
    kind = "absent" if iou is None else "weak" if weak else ""
    if iou is None:
        score = '<td class="num wide" data-v="-1"><span class="tag">absent</span></td>'
    else:
        score = (
            f'<td class="num wide" data-v="{iou!r}" title="{iou!r}"><span class="meter"><span class="bar">'
            f'<i style="width:{100 * iou:.1f}%"></i></span><span>{percent(iou)}</span></span></td>'
        )
    return (
        f'<tr class="{kind}"><td class="num id" data-v="{text(classes.ids[i])}">{text(classes.ids[i])}</td>'
        f"<th scope=row>{chip(classes.colors[i])}{text(classes.names[i])}</th>{score}"
        f'<td class="num" data-v="{-1 if accuracy is None else accuracy!r}">{percent(accuracy)}</td>'
        f'<td class="num" data-v="{share!r}" title="{count(int(classes.pixels[i]))} pixels">'
        f"{percent(share)}</td>{_in_training(train, i) if train else ''}"
        f'<td class="taken">{_taken_for(classes, i)}</td></tr>'
    )


def _in_training(train: TrainingShare, i: int) -> str:
    """What there is to learn from: share of the pixels, and images."""
    pixels, images = int(train.pixels[i]), int(train.containing[i])
    share = pixels / max(int(train.pixels.sum()), 1)
    return (
        f'<td class="num" data-v="{share!r}" title="{count(pixels)} pixels">{percent(share)}</td>'
        f'<td class="num" data-v="{images}" title="of {count(train.images)}">{count(images)}</td>'
    )


def _taken_for(classes: Classes, i: int) -> str:
    if classes.matrix is None or not classes.matrix[i].sum():
        return ""
    wrong = classes.matrix[i].copy()
    wrong[i] = 0
    j = int(wrong.argmax())
    return (
        f"{_name(classes, j)} <small>{percent(wrong[j] / classes.matrix[i].sum(), 1)}</small>"
        if wrong[j]
        else ""
    )


def weakest(classes: Classes) -> str:
    """The worst classes in one sentence."""
    named = ", ".join(
        f"<b>{text(classes.names[i])}</b> {percent(classes.iou[i], 1)}"
        f" <small>({percent(classes.share[i], 1)} of pixels)</small>"
        for i in classes.worst
    )
    return f"Lowest IoU: {named}." if named else ""


def confusion_table(classes: Classes) -> str:
    """Rows are truth in per cent of the row; hits and mistakes have a hue of their own."""
    if classes.matrix is None:
        return ""
    shown = [i for i in classes.by_size if classes.matrix[i].sum()][:SHOWN_CLASSES]
    if not shown:
        return ""
    part = classes.matrix / np.maximum(classes.matrix.sum(1, keepdims=True), 1)
    columns = [(_name(classes, j), part[:, j], chip(classes.colors[j])) for j in shown]
    rest = [j for j in range(classes.count) if j not in shown]
    if rest and part[np.ix_(shown, rest)].any():
        columns.append(("1 other" if len(rest) == 1 else f"{len(rest)} others", part[:, rest].sum(1), ""))
    if part[shown, -1].any():
        columns.append((NO_CLASS, part[:, -1], ""))
    head = "".join(f"<th scope=col><span>{mark}{name}</span></th>" for name, _, mark in columns)
    body = ""
    for place, i in enumerate(shown):
        cells = "".join(
            _cell(values[i], column == place, f"{_name(classes, i)} → {name}")
            for column, (name, values, _) in enumerate(columns)
        )
        body += f"<tr><th scope=row>{_name(classes, i)}{chip(classes.colors[i])}</th>{cells}</tr>"
    return (
        '<div class="scroll"><table class="matrix" aria-label="confusion matrix in per cent of the row">'
        f'<thead><tr><td class="corner"><span>truth ↓</span> <span>predicted →</span></td>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: float, hit: bool, title: str) -> str:
    kind = "hit" if hit else "miss"
    if value <= 0:
        return f'<td class="{kind}"></td>'
    # Square root: mistakes of a few per cent are what one looks for, and would be invisible.
    strength = (value if hit else value**0.5) * 0.9
    strong = " strong" if strength > 0.8 else ""
    shown = f"{100 * value:.0f}" if value >= 0.005 else "·"
    words = f"{title}: {percent(value)}"
    return f'<td class="{kind}{strong}" style="--v:{strength:.2f}" title="{words}">{shown}</td>'


def worst_pairs(classes: Classes) -> str:
    """The mistakes that cost the most pixels: X taken for Y, in per cent of X and of all pixels."""
    if classes.matrix is None:
        return ""
    wrong = classes.matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = [int(n) for n in np.argsort(-wrong, axis=None, kind="stable")[:SHOWN_PAIRS]]
    total, lines = max(int(classes.matrix.sum()), 1), ""
    for i, j in (divmod(n, wrong.shape[1]) for n in order):
        if not wrong[i, j]:
            break
        part = wrong[i, j] / classes.matrix[i].sum()
        other = chip(classes.colors[j]) if j < classes.count else ""
        lines += (
            f"<li><span><b>{chip(classes.colors[i])}{_name(classes, i)}</b> taken for "
            f"<b>{other}{_name(classes, j)}</b></span><span>{percent(part, 1)} of {_name(classes, i)}</span>"
            f'<span class="bar"><i style="width:{100 * part:.1f}%"></i></span>'
            f"<small>{percent(wrong[i, j] / total)} of all pixels</small></li>"
        )
    return f'<ol class="mistakes">{lines}</ol>' if lines else "<p>No pixel is wrong.</p>"


def _name(classes: Classes, j: int) -> str:
    return text(classes.names[j]) if j < classes.count else NO_CLASS
