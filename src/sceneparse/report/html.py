"""``report.html``: one file that shows a run or an evaluation, needs no network and nothing beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sceneparse.evaluation.confusion import ABSENT_RULES
from sceneparse.files import write_text
from sceneparse.report.classes import (
    SHOWN_CLASSES,
    Classes,
    class_table,
    confusion_table,
    read_classes,
    share_bars,
    spread,
    weakest,
    worst_pairs,
)
from sceneparse.report.commands import commands_section
from sceneparse.report.findings import Findings, read_findings
from sceneparse.report.length import train_longer
from sceneparse.report.markup import count, duration, number, percent, section, short, table, text
from sceneparse.report.next_steps import next_steps
from sceneparse.report.outlines import (
    BOUNDARY_NOTE,
    CALIBRATION_NOTE,
    boundary_section,
    calibration_section,
)
from sceneparse.report.pictures import encode_all
from sceneparse.report.run_folder import Run, flatten, read_run
from sceneparse.report.setup import read_setup
from sceneparse.report.style import SCRIPT, STYLE
from sceneparse.report.training_part import (
    GALLERY,
    batch,
    curves_section,
    earlier_panels,
    gallery,
    gallery_note,
    panel,
)
from sceneparse.report.worst import REGIONS_NOTE, WORST_NOTE, mistakes_section

EARLIER_PANELS = 8

RULES = (
    "<b>How the numbers are made.</b> One confusion matrix counts every pixel of the split at the label's "
    "own size; pixels whose label is an ignored value are in no cell. A class's IoU is its rightly found "
    "pixels divided by the pixels that are the class in the label, in the prediction, or in both; the mean "
    "IoU is the mean over classes, not over images. A class that is predicted but never true has IoU 0. "
    "{absent} Accuracy of a class is the part of its true pixels that was found; the frequency weighted IoU "
    "weights classes by their true pixels; the benchmark score is the mean of pixel accuracy and mean IoU."
)


def write_report(run: Path) -> Path:
    """Write ``RUN/report.html`` from what the run folder holds now.

    A run without evaluation, or stopped half-way, gives a page that says so and shows what is there. That of
    an evaluation has the sections that need no training.

    Args:
        run: a run folder, or that of an evaluation.

    Returns:
        The page's path.

    Raises:
        InputError: ``run`` is no run folder, or the page cannot be written.
    """
    contents = read_run(run)
    path = contents.path / "report.html"
    write_text(path, page(contents))
    return path


def page(run: Run) -> str:
    """The whole document."""
    classes = read_classes(run.evaluation or {})
    findings = read_findings(run.reading, classes.count) if classes else None
    worst, regions = (findings.worst, findings.regions) if findings else ([], [])
    earlier = _spread(run.samples[:-1], EARLIER_PANELS)
    latest, before, predicted, mistakes = encode_all(
        run.samples[-1][1] if run.samples else None,
        [*run.first_batch, *(path for _, path in earlier)],
        run.overlays[:GALLERY],
        [
            run.path / kind / f"{m.name}.png"
            for kind, all in (("worst", worst), ("regions", regions))
            for m in all
        ],
    )
    fed = before.pop(0) if run.first_batch else None
    trained = run.evaluated is None
    advice = next_steps(classes, findings, read_setup(run), train_longer(run))
    parts = (
        ("next", "What to do next", "", advice),
        ("classes", "Classes", weakest(classes) if classes else "", _classes(run, classes, findings)),
        ("confusion", "Confusion", _matrix_note(classes), _confusion(classes)),
        ("worst", "Worst images", WORST_NOTE, mistakes_section(classes, worst, mistakes[: len(worst)])),
        (
            "regions",
            "Sure and wrong",
            REGIONS_NOTE,
            mistakes_section(classes, regions, mistakes[len(worst) :]),
        ),
        ("boundaries", "Boundaries", BOUNDARY_NOTE, boundary_section(classes, findings)),
        ("calibration", "Calibration", CALIBRATION_NOTE, calibration_section(findings)),
        ("curves", "Training", "", curves_section(run) if trained else ""),
        ("panels", "Panels", "The same validation images after every evaluation.", panel(run, latest)),
        ("batch", "First batch", "What the network was fed, after augmentation.", batch(fed)),
        ("predictions", "Predictions", gallery_note(run), gallery(run, predicted)),
        ("repeat", "Repeat and go on" if trained else "Go on", "", commands_section(run)),
        ("settings", "Settings", "", _settings(run) if trained else ""),
        ("environment", "Environment", "", _environment(run) if trained else ""),
    )
    bodies = {anchor: body for anchor, _, _, body in parts}
    bodies["panels"] += earlier_panels(run, list(zip((step for step, _ in earlier), before, strict=True)))
    linked = ((anchor, name) for anchor, name, *_ in parts if bodies[anchor])
    links = "".join(f'<li><a href="#{anchor}">{name}</a></li>' for anchor, name in linked)
    sections = "\n".join(section(anchor, name, bodies[anchor], note) for anchor, name, note, _ in parts)
    title = " on ".join(text(name) for name in (run.model_name, run.data_name) if name) or (
        "Training run" if trained else "Evaluation"
    )
    started = str(run.environment.get("started", "")).replace("T", " ")[:16]
    origin = ("sceneparse run", run.path.resolve().name, started)
    if run.evaluated is not None:
        origin = ("sceneparse evaluation", str(run.evaluated.get("model") or ""), "")
    eyebrow = " · ".join(text(part) for part in origin if part)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<title>{title}</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>'
        f'<header><p class="eyebrow">{eyebrow}</p><h1>{title}</h1>{_verdict(run)}{_notes(run)}'
        f"{_figures(run, classes)}</header>\n<nav><ul>{links}</ul></nav>\n<main>{sections}</main>\n"
        "<footer>Everything on this page is in this one file. Written by <code>sceneparse report</code> "
        f"from the {'run' if trained else 'evaluation'} folder.</footer>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _verdict(run: Run) -> str:
    planned = f" of {count(run.steps_planned)}" if run.steps_planned else ""
    numbers = run.evaluation
    if numbers is None:
        return (
            f'<p class="verdict">No evaluation yet: training is at step {count(run.steps_done)}{planned}. '
            "Scores, classes and panels appear after the first evaluation.</p>"
        )
    split = str(numbers.get("split", ""))
    split = {"val": "validation", "train": "training"}.get(split, split)
    words = (
        f"<b>Mean IoU {percent(numbers.get('mean_iou'))}</b> and pixel accuracy "
        f"{percent(numbers.get('pixel_accuracy'))} on {count(numbers.get('images'))} {text(split)} "
        f"{'image' if numbers.get('images') == 1 else 'images'}"
    )
    if numbers.get("step") is not None:
        words += f", with the weights of step {count(numbers['step'])}{planned}"
    words += "."
    for other in run.baseline:
        words += (
            f" For comparison, {text(other.get('name', 'baseline'))}: mean IoU "
            f"{percent(other.get('mean_iou'))}, pixel accuracy {percent(other.get('pixel_accuracy'))}."
        )
    return f'<p class="verdict">{words}</p>'


def _notes(run: Run) -> str:
    notes = [*run.warnings, *run.problems]
    planned = run.steps_planned
    if planned and 0 < run.steps_done < planned:
        notes.append(
            f"Not finished: step {run.steps_done:,} of {planned:,}. What is shown is the state so far; "
            "the command to resume is below."
        )
    return f'<ul class="notes">{"".join(f"<li>{text(n)}</li>" for n in notes)}</ul>' if notes else ""


def _figures(run: Run, classes: Classes | None) -> str:
    """The mean IoU, large, beside the baseline and over the classes; then the other scores and the cost."""
    numbers = run.evaluation
    if numbers is None:
        return ""
    bars = [("this network", numbers.get("mean_iou"), "ours")] if run.baseline else []
    bars += [(str(b.get("name", "baseline")), b.get("mean_iou"), "other") for b in run.baseline]
    scale = "".join(
        f'<li class="{kind}"><span>{text(name)}</span><span>{percent(value)}</span><span class="bar">'
        f'<i style="width:{100 * (number(value) or 0):.1f}%"></i></span></li>'
        for name, value, kind in bars
    )
    present = count(numbers.get("classes_present")) + (f" of {classes.count}" if classes else "")
    tiles = [
        ("pixel accuracy", percent(numbers.get("pixel_accuracy"))),
        ("mean accuracy", percent(numbers.get("mean_accuracy"))),
        ("frequency weighted IoU", percent(numbers.get("frequency_weighted_iou"))),
        ("benchmark score", percent(numbers.get("benchmark_score"))),
        ("validation loss", short(numbers.get("val_loss"))),
        ("classes present", present),
        ("images scored", count(numbers.get("images"))),
        ("pixels scored", count(numbers.get("pixels"))),
        *_cost(run),
    ]
    cells = "".join(
        f'<div><span class="label">{name}</span><span class="value">{value}</span></div>'
        for name, value in tiles
        if value != "–"
    )
    return (
        f'<div class="figures"><div class="card hero"><div><div class="label">{_mean_over(numbers, classes)}'
        f'</div><div class="value">{percent(numbers.get("mean_iou"))}</div></div>'
        f"{f'<ul class=scale>{scale}</ul>' if scale else ''}{spread(classes) if classes else ''}</div>"
        f'<div class="card tiles">{cells}</div></div>'
    )


def _mean_over(numbers: dict[str, Any], classes: Classes | None) -> str:
    """What the mean IoU is a mean over, in words."""
    if classes is None:
        return "mean IoU"
    present = numbers.get("classes_present")
    if present == classes.count:
        return f"mean IoU over {classes.count} classes"
    if numbers.get("absent_rule") == "zero":
        return f"mean IoU over {classes.count} classes; absent ones count 0"
    return f"mean IoU over {count(present)} of {classes.count} classes; absent ones are left out"


def _cost(run: Run) -> list[tuple[str, str]]:
    """Time and speed up to the last evaluation."""
    last = {name: number(float(values[-1])) for name, values in run.metrics.items() if len(values)}
    seconds, speed = last.get("seconds"), last.get("images_per_second")
    return [
        ("training time", "–" if seconds is None else duration(seconds)),
        ("images a second", "–" if speed is None else f"{speed:,.1f}"),
    ]


def _spread(items: list[Any], most: int) -> list[Any]:
    """At most ``most`` of the items, evenly spread, with the first and the last."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _classes(run: Run, classes: Classes | None, findings: Findings | None) -> str:
    if classes is None:
        return ""
    rule = ABSENT_RULES.get(str((run.evaluation or {}).get("absent_rule")), "")
    absent = f"{rule[:1].upper()}{rule[1:]}." if rule else ""
    rules = RULES.format(absent=text(absent))
    table = class_table(classes, findings.train if findings else None)
    return f'{share_bars(classes)}{table}<p class="rules">{rules}</p>'


def _confusion(classes: Classes | None) -> str:
    matrix = confusion_table(classes) if classes else ""
    if not classes or not matrix:
        return ""
    return (
        f'<div class="confusion{" many" if classes.true > 14 else ""}"><div>{matrix}</div>'
        f"<div><h3>What costs the most pixels</h3>{worst_pairs(classes)}</div></div>"
    )


def _matrix_note(classes: Classes | None) -> str:
    note = "What is taken for what: each row divides the pixels of one true class in per cent"
    if classes and classes.true > SHOWN_CLASSES:
        return f"{note}; the {SHOWN_CLASSES} largest of {classes.true} classes."
    return f"{note}; the largest class first."


def _settings(run: Run) -> str:
    rows = [(name, _value(value)) for name, value in run.config.items()]
    if not rows:
        return '<p class="lead">There is no config.yaml in the run folder.</p>'
    half = -(-len(rows) // 2) if len(rows) > 8 else len(rows)
    parts = "".join(table(part, "settings") for part in (rows[:half], rows[half:]) if part)
    return f'<div class="columns">{parts}</div>'


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


def _environment(run: Run) -> str:
    rest = {name: value for name, value in run.environment.items() if not isinstance(value, dict)}
    rest.pop("command", None)
    tables = ""
    for title, values in [*run.environment.items(), ("run", rest)]:
        if isinstance(values, dict) and values:
            rows = [(name, _value(value)) for name, value in flatten(values).items()]
            tables += f"<div><h3>{text(title)}</h3>{table(rows, title)}</div>"
    return f'<div class="columns">{tables}</div>' if tables else ""
