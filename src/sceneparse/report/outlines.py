"""Two sections: scores at the boundaries of classes, and how sure the network is against how often right."""

from __future__ import annotations

from sceneparse.evaluation.calibration import Calibration
from sceneparse.report.classes import Classes
from sceneparse.report.findings import BandScores, Findings
from sceneparse.report.markup import chip, percent, text

BOUNDARY_NOTE = (
    "How well outlines are drawn: scores over the pixels within some distance of a boundary between classes "
    "in the label. Most pixels lie far inside, and hide it in the scores over all."
)

CALIBRATION_NOTE = (
    "Whether it is right as often as it is sure. Pixels are grouped by confidence, the probability that the "
    "network gives its own answer; bars on the diagonal would be perfect."
)


def boundary_section(classes: Classes | None, findings: Findings | None) -> str:
    """A chart, a table by width, and one by class; nothing without pixels."""
    if classes is None or findings is None or not findings.true[:-1].any():
        return ""
    rows = [
        (f"within {width}\u00a0px", findings.within(slice(0, n + 1)))
        for n, width in enumerate(findings.widths)
    ]
    every, inside = findings.within(slice(None)), findings.within(slice(len(findings.widths), None))
    lines = "".join(
        f"<tr><th scope=row>{name}</th><td class=num>{percent(found.share, 1)}</td>"
        f"<td class=num>{percent(found.accuracy, 1)}</td><td class=num>{percent(found.mean_iou, 1)}</td></tr>"
        for name, found in (
            *rows,
            ("all\u00a0pixels", every),
            (f"beyond {findings.widths[-1]}\u00a0px", inside),
        )
    )
    table = (
        '<div class="scroll"><table aria-label="scores by distance from a boundary"><thead><tr>'
        "<th scope=col>distance</th><th scope=col class=num>share of pixels</th>"
        "<th scope=col class=num>pixel accuracy</th><th scope=col class=num>mean IoU</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )
    note = (
        "<small>Mean IoU over the classes in label or prediction there: far inside, small classes are hardly "
        "found, and mistakes for them weigh as much as those of large ones.</small>"
    )
    chart = f'<figure class="card plot">{_band_chart(findings, [found for _, found in rows], every)}</figure>'
    return f'<div class="columns">{chart}<div>{table}{note}{_by_class(classes, findings)}</div></div>'


def _by_class(classes: Classes, findings: Findings) -> str:
    near, far = findings.within(slice(0, 2)), findings.within(slice(2, None))
    width = findings.widths[1]
    lines = ""
    for i in classes.by_size:
        total = int(near.pixels[i] + far.pixels[i])
        if total:
            name = f"{chip(classes.colors[i])}{text(classes.names[i])}"
            cells = (
                percent(near.pixels[i] / total, 0),
                percent(near.iou[i], 1),
                percent(far.iou[i], 1),
            )
            numbers = "".join(f"<td class=num>{cell}</td>" for cell in cells)
            lines += f"<tr><th scope=row>{name}</th>{numbers}</tr>"
    return (
        f"<details><summary>By class, nearer and farther than {width} pixels</summary>"
        '<div class="scroll tall"><table aria-label="classes by distance from a boundary"><thead><tr>'
        "<th scope=col>class</th><th scope=col class=num>part of it near</th>"
        "<th scope=col class=num>IoU near</th><th scope=col class=num>IoU far</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div></details>"
    )


def _band_chart(findings: Findings, bands: list[BandScores], every: BandScores) -> str:
    """Both scores against the width, and over all pixels as dashed lines."""
    left, top, width, height = 44, 26, 340, 200
    widest = findings.widths[-1]
    parts = [_grid(left, top, width, height)]
    for value in findings.widths:
        at = left + width * value / widest
        parts.append(f'<text x="{at:.0f}" y="{top + height + 18}" class="mid">{value}</text>')
    parts.append(
        f'<text x="{left + width / 2:.0f}" y="{top + height + 36}" class="mid">pixels from a boundary</text>'
    )
    for name, color, key in (("pixel accuracy", "accuracy", "accuracy"), ("mean IoU", "iou", "mean_iou")):
        ink = f"var(--chart-{color})"
        places = [
            (left + width * across / widest, top + height * (1 - score))
            for across, score in zip(findings.widths, (getattr(b, key) for b in bands), strict=True)
            if score is not None
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{ink}" stroke-width="2.2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{ink}"/>' for x, y in places]
        whole = getattr(every, key)
        if whole is not None:
            y = top + height * (1 - whole)
            parts.append(
                f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="{ink}" '
                'stroke-dasharray="5 5" opacity=".75"/>'
            )
        legend = left if key == "accuracy" else left + 130
        parts.append(f'<text x="{legend}" y="14" style="fill:{ink}" class="key">● {name}</text>')
    parts.append(f'<text x="{left + 230}" y="14">- - all pixels</text>')
    return _svg(parts, left + width + 16, top + height + 46, "scores within some pixels of a boundary")


# ---------------------------------------------------------------------- calibration


def calibration_section(findings: Findings | None) -> str:
    """The reliability diagram, the error, and what they say; nothing where confidence is not known."""
    found = findings.calibration if findings else None
    if found is None or not found.pixels.any():
        return ""
    total = int(found.pixels.sum())
    right, sure = float(found.right.sum() / total), float(found.confidence.sum() / total)
    if abs(found.overconfidence) < 0.005:
        verdict = "On average it is as sure as it is right."
    else:
        kind = "overconfident" if found.overconfidence > 0 else "underconfident"
        verdict = f"It is {kind} by {100 * abs(found.overconfidence):.1f} points on average."
    top = found.pixels[-1] / total
    figures = "".join(
        f'<div><span class="label">{name}</span><span class="value">{value}</span></div>'
        for name, value in (
            ("expected calibration error", percent(found.expected_error)),
            ("mean confidence", percent(sure, 1)),
            ("pixel accuracy", percent(right, 1)),
        )
    )
    in_top = f"{percent(float(top), 0)} of the pixels are in the highest bin"
    if found.pixels[-1]:
        in_top += f", of which {percent(float(found.right[-1] / found.pixels[-1]), 1)} are right"
    words = f"<p><b>{verdict}</b> {in_top}.</p>"
    note = (
        "<small>Expected calibration error: over all pixels the mean difference between the confidence of "
        f"their bin and the part of it that is right, {len(found.pixels)} bins.</small>"
    )
    return (
        f'<div class="columns"><figure class="card plot">{_reliability(found)}</figure>'
        f'<div><div class="card tiles">{figures}</div>{words}{note}</div></div>'
    )


def _reliability(found: Calibration) -> str:
    left, top, side, below = 44, 12, 260, 56
    bins, total = len(found.pixels), int(found.pixels.sum())
    parts = [_grid(left, top, side, side)]
    step = side / bins
    for m in range(bins):
        if not found.pixels[m]:
            continue
        x, right = left + m * step, float(found.right[m] / found.pixels[m])
        sure = float(found.confidence[m] / found.pixels[m])
        words = (
            f"confidence {percent(sure, 1)}: {percent(right, 1)} right, "
            f"{percent(found.pixels[m] / total, 1)} of the pixels"
        )
        low, high = sorted((right, sure))
        parts.append(
            f"<g><title>{words}</title>"
            f'<rect x="{x + 1:.1f}" y="{top + side * (1 - right):.1f}" width="{step - 2:.1f}" '
            f'height="{side * right:.1f}" fill="var(--chart-iou)" opacity=".8"/>'
            f'<rect x="{x + 1:.1f}" y="{top + side * (1 - high):.1f}" width="{step - 2:.1f}" '
            f'height="{side * (high - low):.1f}" fill="var(--chart-val)" opacity=".45"/></g>'
        )
        share = found.pixels[m] / found.pixels.max()
        parts.append(
            f'<rect x="{x + 1:.1f}" y="{top + side + 26 + below * (1 - share):.1f}" width="{step - 2:.1f}" '
            f'height="{max(below * share, 0.6):.1f}" fill="var(--chart-muted)" opacity=".55"/>'
        )
    parts.append(
        f'<line x1="{left}" y1="{top + side}" x2="{left + side}" y2="{top}" stroke="var(--chart-text)" '
        'stroke-dasharray="4 4"/>'
    )
    for part in (0, 0.5, 1):
        where = f'x="{left + side * part:.0f}" y="{top + side + 17}"'
        parts.append(f'<text {where} class="mid">{100 * part:.0f} %</text>')
    base = top + side + 26 + below
    parts.append(f'<text x="{left + side / 2:.0f}" y="{base + 18}" class="mid">confidence</text>')
    beside = left + side + 12
    parts.append(f'<text x="{beside}" y="{top + 10}" style="fill:var(--chart-iou)">■ right</text>')
    parts.append(f'<text x="{beside}" y="{top + 28}" style="fill:var(--chart-val)">■ difference</text>')
    parts.append(f'<text x="{beside}" y="{base - 4}">share of pixels</text>')
    return _svg(parts, left + side + 118, base + 26, "part that is right against confidence")


def _grid(left: int, top: int, width: int, height: int) -> str:
    lines = ""
    for part in (0, 0.25, 0.5, 0.75, 1):
        y = top + height * (1 - part)
        lines += (
            f'<line x1="{left}" x2="{left + width}" y1="{y:.0f}" y2="{y:.0f}" stroke="var(--chart-grid)"/>'
            f'<text x="{left - 7}" y="{y + 4:.0f}" class="end">{100 * part:.0f}&nbsp;%</text>'
        )
    return lines


def _svg(parts: list[str], width: float, height: float, words: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{words}">{"".join(parts)}</svg>'
    )
