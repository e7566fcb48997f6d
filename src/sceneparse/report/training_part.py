"""The sections of a run that show how it went: curves, panels of the same images, the first batch."""

from __future__ import annotations

from sceneparse.report.curves import CHARTS, best_step, chart_svg
from sceneparse.report.markup import count, percent, short, text
from sceneparse.report.pictures import Encoded
from sceneparse.report.run_folder import Run

GALLERY = 8


def curves_section(run: Run) -> str:
    """Three charts, and a table of every evaluation."""
    charts = "".join(f'<figure class="card">{chart_svg(name, run)}</figure>' for name in CHARTS)
    body, rows = f'<div class="charts">{charts}</div>', run.metrics
    if not len(rows["step"]):
        return body
    best = best_step(run)
    shown = [name for name in rows if name != "step"]
    head = "".join(f"<th scope=col>{text(name.replace('_', ' '))}</th>" for name in ("step", *shown))
    lines = ""
    for i, step in enumerate(rows["step"]):
        cells = "".join(f"<td>{_logged(name, float(rows[name][i]))}</td>" for name in shown)
        kind = ' class="best"' if step == best else ""
        lines += f"<tr{kind}><th scope=row>{count(float(step))}</th>{cells}</tr>"
    return (
        f"{body}<details><summary>Every evaluation ({len(rows['step'])})</summary>"
        f'<div class="scroll tall"><table class="log"><thead><tr>{head}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div></details>"
    )


def _logged(name: str, value: float) -> str:
    if name == "images":
        return count(value)
    if name == "epoch":
        return f"{value:.2f}"
    return percent(value) if name.endswith(("_iou", "_accuracy")) or name == "data_wait" else short(value)


def panel(run: Run, latest: Encoded | None) -> str:
    """The validation images after the last evaluation."""
    if latest is None:
        return ""
    step = run.samples[-1][0]
    image = _image(latest, f"image, label, prediction at step {step}")
    return (
        f'<figure class="panel"><div class="scroll">{image}</div>'
        f"<figcaption>after step {count(step)}{_score_at(run, step)}</figcaption></figure>"
    )


def batch(picture: Encoded | None) -> str:
    """The first batch."""
    if picture is None:
        return ""
    image = _image(picture, "images of the first batch, each over the same image under its labels")
    return f'<figure class="panel"><div class="scroll">{image}</div></figure>'


def earlier_panels(run: Run, panels: list[tuple[int, Encoded | None]]) -> str:
    """Those of earlier evaluations, small and folded away."""
    strip = "".join(
        f"<figure><button type=button>{_image(image, f'panels at step {step}')}</button>"
        f"<figcaption>step {count(step)}{_score_at(run, step)}</figcaption></figure>"
        for step, image in reversed(panels)
        if image
    )
    if not strip:
        return ""
    return (
        f"<details><summary>Earlier evaluations ({len(panels)})</summary>"
        f'<small>click a picture to enlarge it</small><div class="strip">{strip}</div></details>'
    )


def _score_at(run: Run, step: int) -> str:
    values = run.metrics.get("mean_iou")
    at = run.metrics["step"] == step
    return f" · mean IoU {percent(float(values[at][0]), 1)}" if values is not None and at.any() else ""


def gallery(run: Run, pictures: list[Encoded | None]) -> str:
    """Pictures that were predicted into the run folder."""
    figures = "".join(
        f"<figure><button type=button>{_image(image, f'prediction for {path.stem}')}</button>"
        f"<figcaption>{text(path.stem)}</figcaption></figure>"
        for path, image in zip(run.overlays, pictures, strict=False)
        if image
    )
    return f'<div class="gallery">{figures}</div>' if figures else ""


def gallery_note(run: Run) -> str:
    """Which of them are shown."""
    shown, total = min(GALLERY, len(run.overlays)), len(run.overlays)
    which = f"The first {shown} of {total}" if total > shown else f"All {total}"
    return f"{which} in <code>predictions/overlays</code>; click a picture to enlarge it."


def _image(image: Encoded, words: str) -> str:
    return f'<img src="{image.src}" width="{image.width}" height="{image.height}" alt="{text(words)}">'
