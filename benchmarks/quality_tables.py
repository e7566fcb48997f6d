"""Tables of how good the recipes are, from the newest result files of quality.py and ablations.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from provenance import RESULTS, cost_said, machine, newest
from published import MEASURED_HERE, PUBLISHED, Published

Figures = dict[str, Any]

NAMES = {"camvid": "CamVid", "ade20k": "ADE20K"}
"""Of data sets, by layout."""

RULES = {"camvid": "void ignored", "ade20k": "other objects ignored"}
"""By layout: what our scores leave out."""

MISSING = "None of ours is measured yet."

UNUSED = {("camvid", "test"): "None of ours: the test split is not used here."}
"""By layout and split: why there is nothing."""


class Result(NamedTuple):
    """A result file of quality.py or ablations.py."""

    what: str
    figures: Figures
    command: str
    machine: str


def results(kind: str) -> list[Result]:
    """The newest of every recipe or study, in the order of their names."""
    names = {json.loads(path.read_text(encoding="utf-8"))["what"] for path in RESULTS.glob(f"{kind}-*.json")}
    found = []
    for name in sorted(names):
        record = newest(name)
        assert record is not None
        figures, hardware = record["figures"], record["environment"]["hardware"]
        where = machine(hardware, figures.get("threads", hardware["cores"]))
        found.append(Result(name, figures, record["command"], where))
    return found


def spread(value: Figures, *, factor: float = 1, digits: int = 3, sign: str = "") -> str:
    """``0.750 ± 0.004``; a single value alone."""
    said = f"{value['mean'] * factor:{sign}.{digits}f}"
    return said if value["sd"] is None else f"{said} ± {value['sd'] * factor:.{digits}f}"


def counted(number: int, what: str) -> str:
    """``3 seeds``."""
    return f"{number} {what}{'s' * (number != 1)}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# ------------------------------------------------------------------ a data set: ours and published


def section(data: str) -> str:
    """The tables of a data set by its layout: each split apart, then what ours say besides."""
    ours = [result for result in results("quality") if result.figures["data"] == data]
    splits = dict.fromkeys(row.split for row in PUBLISHED[data])
    splits |= dict.fromkeys(result.figures["split"] for result in ours)
    parts = [_beside(data, split, [r for r in ours if r.figures["split"] == split]) for split in splits]
    if ours:
        parts += [_seeds(ours), _views(ours), _boundaries(ours), _classes(data, ours)]
    return "\n\n".join(part for part in parts if part)


def _beside(data: str, split: str, ours: Sequence[Result]) -> str:
    """One split: ours in bold between the published, the best first."""
    rows = [(result.figures["views"]["single"]["mean_iou"]["mean"], _our_row(result)) for result in ours]
    rows += [(_best(row), _their_row(row)) for row in PUBLISHED[data] if row.split == split]
    rows.sort(key=lambda row: -row[0])
    header = (
        *("network", "start", f"mean IoU, {split}", f"pixel accuracy, {split}", "parameters"),
        *("training", "one picture", "rule", "source or command"),
    )
    about = "Ours in bold: one scale, no flip." if ours else UNUSED.get((data, split), MISSING)
    return f"### {split}\n\n{about}\n\n{table(header, (row for _, row in rows))}"


def _our_row(result: Result) -> list[str]:
    f = result.figures
    single = f["views"]["single"]
    iou = f"**{spread(single['mean_iou'])}** ({counted(len(f['seeds']), 'seed')})"
    return [
        f"**`{f['recipe']}`**: {f['network']}",
        f["start"],
        iou,
        spread(single["pixel_accuracy"]),
        f"{f['parameters_million']:.1f} M",
        training(f),
        f"{single['ms']['best']:.0f} ms, {result.machine}",
        rule(f),
        f"`{result.command}`",
    ]


def rule(f: Figures) -> str:
    """What the scores leave out."""
    left_out = RULES.get(f["data"], "ignored pixels left out")
    return f"{left_out}, an absent class counts 0" if f["absent_rule"] == "zero" else left_out


def training(f: Figures) -> str:
    """``44 min, 7.8 img/s, 2 cores, AVX2``."""
    minutes, speed = f["training_minutes"]["mean"], f["images_per_second"]["mean"]
    long = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    machines = " or ".join(sorted({seed["machine"] for seed in f["seeds"]}))
    return f"{long}, {speed:,.{0 if speed >= 99.5 else 1}f} img/s, {machines}"


def _best(row: Published) -> float:
    return row.mean_iou[1] if isinstance(row.mean_iou, tuple) else row.mean_iou


def _iou(row: Published) -> str:
    values = row.mean_iou if isinstance(row.mean_iou, tuple) else (row.mean_iou,)
    return " to ".join(f"{value:.3f}" for value in values)


def _their_row(row: Published) -> list[str]:
    parameters = row.parameters_million
    return [
        row.network,
        row.start,
        _iou(row),
        "" if row.pixel_accuracy is None else f"{row.pixel_accuracy:.3f}",
        "" if parameters is None else f"{parameters:.{1 if parameters >= 1 else 2}f} M",
        "",
        "",
        row.rule,
        row.source,
    ]


def _seeds(ours: Sequence[Result]) -> str:
    rows = []
    for result in ours:
        f = result.figures
        for seed in f["seeds"]:
            rows.append(
                [
                    f"`{f['recipe']}`, {f['split']}",
                    str(seed["seed"]),
                    f"{seed['views']['single']['mean_iou']:.4f}",
                    f"{seed['best_step']} of {f['steps']}, the best of {seed['evaluations']} on val",
                    f"{seed['mean_iou_of_last_step']:.4f}",
                    cost_said(seed["training_minutes"], seed["threads"]),
                    seed["machine"],
                ]
            )
    header = (
        *("recipe", "seed", "mean IoU", "checkpoint of step", "mean IoU of the last step, val"),
        *("training", "trained on"),
    )
    return f"### Each seed\n\n{table(header, rows)}"


def view_said(view: Figures) -> str:
    """``flip, sizes 0.75, 1, 1.25``."""
    sizes = (
        "one scale" if len(view["scales"]) == 1 else f"sizes {', '.join(f'{s:g}' for s in view['scales'])}"
    )
    return f"flip, {sizes}" if view["flip"] else f"{sizes}, no flip"


def _views(ours: Sequence[Result]) -> str:
    rows = []
    for result in ours:
        f = result.figures
        for view in f["views"].values():
            rows.append(
                [
                    f"`{f['recipe']}`, {f['split']}",
                    view_said(view),
                    spread(view["mean_iou"]),
                    spread(view["pixel_accuracy"]),
                    f"{view['ms']['best']:.0f} ms (median {view['ms']['median']:.0f})",
                    f"{result.machine}; {f['engine']}",
                ]
            )
    header = ("recipe, split", "averaged over", "mean IoU", "pixel accuracy", "one picture", "measured on")
    sizes = dict.fromkeys(tuple(result.figures["picture_hw"]) for result in ours)
    said = " and ".join(f"{width}x{height}" for height, width in sizes)
    return (
        f"### With flip and several sizes, and what it costs\n\nPictures of {said}.\n\n{table(header, rows)}"
    )


def _boundaries(ours: Sequence[Result]) -> str:
    """Empty where no run has been read."""
    rows, widths = [], []
    for result in ours:
        f = result.figures
        read = [seed for seed in f["seeds"] if "boundary_mean_iou" in seed]
        if not read:
            continue
        widths = list(read[0]["boundary_mean_iou"])
        near = [_mean(seed["boundary_mean_iou"][width] for seed in read) for width in widths]
        sure = [seed["calibration_error"] for seed in read if "calibration_error" in seed]
        everywhere = f["views"]["single"]["mean_iou"]["mean"]
        rows.append(
            [
                f"`{f['recipe']}`, {f['split']}",
                *(f"{iou:.3f}" for iou in near),
                f"{everywhere:.3f}",
                f"{_mean(sure):.3f}" if sure else "",
            ]
        )
    if not rows:
        return ""
    header = ("recipe, split", *(f"within {w} px" for w in widths), "everywhere", "calibration error")
    return f"### Mean IoU at the boundaries of the labels\n\n{table(header, rows)}"


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _classes(data: str, ours: Sequence[Result]) -> str:
    """IoU of every class: ours, then published, each column with its split."""
    published = [row for row in PUBLISHED[data] if row.per_class]
    if not published:
        return ""  # 150 classes are in the result file
    columns = {
        f"`{r.figures['recipe']}`, {r.figures['split']}": [
            seed["views"]["single"]["per_class"] for seed in r.figures["seeds"]
        ]
        for r in ours
    }
    pixels = ours[0].figures["seeds"][0]["views"]["single"]["pixels"]
    rows = []
    for name, count in pixels.items():
        scores = [[seed[name] for seed in seeds if seed[name] is not None] for seeds in columns.values()]
        rows.append(
            [
                name,
                f"{count / sum(pixels.values()):.1%}",
                *(f"{_mean(found):.3f}" if found else "" for found in scores),
                *(f"{row.per_class[name]:.3f}" for row in published),
            ]
        )
    share = f"share of {ours[0].figures['split']}"
    header = ("class", share, *columns, *(f"{row.network}, {row.split}" for row in published))
    return f"### IoU of every class\n\n{table(header, rows)}"


# ------------------------------------------------------------------ ablations


def ablations() -> str:
    """docs/ablations.md: a table for each study."""
    return "\n\n".join(_study(result) for result in results("ablations")) or MISSING


def _study(result: Result) -> str:
    f = result.figures
    rows = [_variant(row, f["settings"]) for row in f["rows"].values()]
    machines = sorted({name for row in f["rows"].values() for name in row["machines"]})
    title = f"{f['title']}, {f['samples']:,} pictures" + ("" if f["split"] == "val" else f": {f['split']}")
    about = f"{f['about']}\n\n" if f.get("about") else ""
    about += (
        f"Recipe `{f['recipe']}`, trained on {'; '.join(machines)}. Scores "
        f"after the last step on {f['split']}, one scale, no flip.\nAgain: `{result.command}`"
    )
    header = ("change", "mean IoU", "difference, points", "pixel accuracy", "seeds", "minutes", "settings")
    return f"## {title}\n\n{about}\n\n{table(header, rows)}"


def _variant(row: Figures, common: Figures) -> list[str]:
    changed = " ".join(f"`{name}={text}`" for name, text in (row["settings"] or common).items())
    more = "" if row["pictures"] == 1 else f", {row['pictures']:g} times the pictures"
    return [
        f"{row['what']}{more}",
        spread(row["mean_iou"]),
        points(row),
        spread(row["pixel_accuracy"]),
        str(row["mean_iou"]["n"]),
        spread(row["minutes"], digits=1),
        changed,
    ]


def points(row: Figures) -> str:
    """The difference to the base in points of mean IoU, of how many seeds if not of all of the row's.

    Nothing for the base itself, and where no seed has both.
    """
    difference = row["difference"]
    if difference is None:
        return ""
    said = spread(difference, factor=100, digits=1, sign="+")
    if difference["n"] == row["mean_iou"]["n"]:
        return said
    return f"{said} ({counted(difference['n'], 'seed')})"


# ------------------------------------------------------------------ rows of the README


def published_beside(data: str, split: str) -> list[str]:
    """The best published figure of every start: of this split, then of others, said as such."""
    rows = PUBLISHED.get(data, ())
    said = [f"published on {split}: {_best_of_starts(rows, split)}"] if _on(rows, split) else []
    for other in dict.fromkeys(row.split for row in rows if row.split != split):
        said.append(f"on {other}, another scale: {_best_of_starts(rows, other)}")
    return said


def _on(rows: Iterable[Published], split: str) -> list[Published]:
    return [row for row in rows if row.split == split]


def _best_of_starts(rows: Iterable[Published], split: str) -> str:
    """``0.732 for FCN-8s VGG16 (ImageNet), ...``, the best first."""
    best: dict[str, Published] = {}
    for row in sorted(_on(rows, split), key=_best, reverse=True):
        best.setdefault(row.start, row)
    return ", ".join(f"{_iou(row)} for {row.network} ({_origin(row)})" for row in best.values())


def _origin(row: Published) -> str:
    return f"{row.start}, {row.source}" if row.source == MEASURED_HERE else row.start


def _compared(row: Figures) -> str:
    """``FCN-4s fused +5.3 ± 0.6 (3 seeds)``."""
    difference = row["difference"]
    said = spread(difference, factor=100, digits=1, sign="+")
    return f"{row['what']} {said} ({counted(difference['n'], 'seed')})"


def short_rows() -> list[tuple[str, str, str, str]]:
    """What, figure, hardware and command: a row for every recipe, and one for the heads."""
    rows = []
    for result in results("quality"):
        f = result.figures
        single = f["views"]["single"]
        seeds = counted(len(f["seeds"]), "seed")
        averaged = [
            f"{view_said(view)}: {view['mean_iou']['mean']:.3f} at {view['ms']['best']:.0f} ms"
            for name, view in f["views"].items()
            if name != "single"
        ]
        name = NAMES.get(f["data"], f["data"])
        title = f"{name} **{f['split']}** ({rule(f)}), `--recipe {f['recipe']}`, start {f['start']}"
        figure = (
            f"mean IoU {spread(single['mean_iou'])} ({seeds}), pixel accuracy "
            f"{spread(single['pixel_accuracy'])}, {single['ms']['best']:.0f} ms a picture; "
            f"{f['parameters_million']:.1f} M parameters, trained {training(f)}"
        )
        beside = published_beside(f["data"], f["split"])
        rows.append((title, "; ".join([figure, *averaged, *beside]), result.machine, result.command))
    for result in results("ablations"):
        f = result.figures
        if result.what != "ablations-heads":
            continue
        compared = [row for row in f["rows"].values() if row["difference"] is not None]
        if compared:
            said = "; ".join(_compared(row) for row in compared)
            figure = f"points of mean IoU, same seeds, {f['samples']:,} pictures a run: {said}"
            rows.append(
                (f"{f['title']}, against FCN-8s, {f['split']}", figure, result.machine, result.command)
            )
    return rows
