"""Draw the plots of docs/speed.md and write its table from the newest result files.

python benchmarks/speed_plots.py          (--check: exit 1 if they are not up to date)
"""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path
from typing import Any

from speed_figures import PLOTS, Bar, Panel, Plot, table

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "speed.md"
FOLDER = ROOT / "docs" / "images" / "speed"
BEGIN, END = "<!-- table: written by benchmarks/speed_plots.py -->", "<!-- end of table -->"

DRAWING = 3
"""Raised when a change of the drawing makes other pictures of the same figures."""

INK = {"ink": "#010101", "muted": "#020202", "ours": "#030303", "plain": "#040404", "other": "#050505"}
"""What stands for a colour while drawing; the file names the colours for light and dark."""

STYLE = """<style>
svg{--card:#ffffff;--ink:#1b2029;--muted:#646b77;--ours:#17705b;--plain:#c8502b;--other:#9aa2ad}
@media (prefers-color-scheme:dark){
svg{--card:#161a1f;--ink:#e7e9ec;--muted:#9aa2ad;--ours:#3fa98c;--plain:#e2764c;--other:#68717d}}
text{font-variant-numeric:tabular-nums}
</style>
<rect width="100%" height="100%" rx="8" style="fill:var(--card)"/>"""

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

WIDTH, BAR, HEAD, FOOT = 7.9, 0.27, 0.42, 0.16
"""Inches: of the picture, of a bar with its gap, of a panel's title, below a panel."""

NAMES, NUMBERS = 0.38, 0.25
"""Shares of the width left of the bars and right of the longest."""

KINDS = {"ours": "sceneparse", "plain": "plain PyTorch", "other": "others"}


def digest(plot: Plot) -> str:
    """Of all that is drawn."""
    return hashlib.sha256(repr((DRAWING, INK, STYLE, plot)).encode()).hexdigest()[:16]


def svg_of(plot: Plot) -> str:
    """An SVG that is light or dark as the reader's screen; its text stays text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    heights = [HEAD + BAR * len(panel.bars) + FOOT + (BAR if panel.mark else 0) for panel in plot.panels]
    kinds = [kind for kind in KINDS if any(bar.kind == kind for panel in plot.panels for bar in panel.bars)]
    legend = BAR if len(kinds) > 1 else 0.0
    height = sum(heights) + legend + FOOT
    settings = {"svg.fonttype": "none", "svg.hashsalt": plot.title, "font.size": 10}
    file = io.StringIO()
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), dpi=72)
        FigureCanvasSVG(figure)
        for place, kind in enumerate(kinds if legend else ()):
            x, y = 0.02 + 0.19 * place, (height - 0.32) / height
            figure.text(x, y, "■", color=INK[kind], size=13, va="center_baseline")
            figure.text(x + 0.028, y, KINDS[kind], color=INK["muted"], va="center_baseline")
        top = height - FOOT - legend
        for panel, tall in zip(plot.panels, heights, strict=True):
            rows = BAR * (len(panel.bars) + bool(panel.mark))
            box = (NAMES, (top - HEAD - rows) / height, 1 - NAMES - NUMBERS, rows / height)
            figure.text(
                0.02, (top - 0.26) / height, panel.title, color=INK["ink"], weight="bold", va="baseline"
            )
            _draw(figure.add_axes(box), panel, log=plot.log)
            top -= tall
        metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    return _finished(file.getvalue(), plot)


def _draw(axes: Any, panel: Panel, *, log: bool) -> None:
    start = 1.0 if log else 0.0
    if log:
        axes.set_xscale("log")
    marks = [bar.target for bar in panel.bars if bar.target] + ([panel.mark[0]] if panel.mark else [])
    axes.set_xlim(start, max([bar.value for bar in panel.bars] + marks))
    axes.set_ylim(len(panel.bars) - 0.5 + bool(panel.mark), -0.5)
    axes.set_axis_off()
    for place, bar in enumerate(panel.bars):
        _draw_bar(axes, place, bar, start, panel.mark[0] if panel.mark else 0.0)
    if panel.mark:
        at, words = panel.mark
        axes.plot(
            [at, at], [-0.5, len(panel.bars) - 0.2], color=INK["ink"], lw=1, ls=(0, (3, 3)), clip_on=False
        )
        axes.annotate(
            words, (at, len(panel.bars) + 0.02), (4, 0), textcoords="offset points", va="center", size=9,
            color=INK["muted"], annotation_clip=False,
        )  # fmt: skip


def _draw_bar(axes: Any, place: int, bar: Bar, start: float, mark: float) -> None:
    axes.barh(place, bar.value - start, 0.66, left=start, color=INK[bar.kind], clip_on=False)
    if bar.target is not None:
        axes.plot([bar.target] * 2, [place - 0.45, place + 0.45], color=INK["ink"], lw=2, clip_on=False)
    end = max(bar.value, bar.target or 0, mark)  # no line through the words
    for at, words, side, gap, color in (
        (start, bar.name, "right", -8, INK["ink"]),
        (end, bar.said, "left", 7, INK["muted"] if bar.kind != "ours" else INK["ink"]),
    ):
        axes.annotate(
            words, (at, place), (gap, 0), textcoords="offset points", ha=side, va="center_baseline",
            color=color, annotation_clip=False,
        )  # fmt: skip


def _finished(svg: str, plot: Plot) -> str:
    svg = svg[svg.index("<svg") :].replace("'DejaVu Sans'", FONT).replace("DejaVu Sans", FONT)
    for role, color in INK.items():
        svg = svg.replace(color, f"var(--{role})")
    inside = svg.index(">") + 1
    said = f"<title>{plot.title}</title>\n<desc>figures {digest(plot)}</desc>\n{STYLE}\n"
    lines = f"{svg[:inside]}\n{said}{svg[inside:]}".splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def page_with_table(text: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale: dict[Path, Any] = {}
    text = PAGE.read_text(encoding="utf-8")
    if page_with_table(text) != text:
        stale[PAGE] = lambda: page_with_table(text)
    for name, make in PLOTS.items():
        plot, path = make(), FOLDER / f"{name}.svg"
        drawn = path.read_text(encoding="utf-8") if path.is_file() else ""
        if plot is not None and f"<desc>figures {digest(plot)}</desc>" not in drawn:
            stale[path] = lambda plot=plot: svg_of(plot)
    for path, content in stale.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content(), encoding="utf-8")
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
