"""Small pieces of HTML. Every text from a run passes through :func:`text` exactly once."""

from __future__ import annotations

import html
import math
from typing import Any


def text(value: Any) -> str:
    """Escaped for element content and quoted attributes."""
    return html.escape(str(value), quote=True)


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def percent(value: Any, digits: int = 2) -> str:
    """A fraction in per cent with a no-break space, as everywhere in sceneparse; "–" for no value."""
    fraction = number(value)
    return "–" if fraction is None else f"{100 * fraction:.{digits}f}\u00a0%"


def count(value: Any) -> str:
    """A whole number with thousands separated."""
    whole = number(value)
    return "–" if whole is None else f"{whole:,.0f}"


def short(value: Any) -> str:
    """A number of four digits."""
    return "–" if number(value) is None else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def chip(color: Any) -> str:
    """A small square of a class's colour."""
    return f'<i class="chip" style="background:{rgb(color)}"></i>'


def rgb(color: Any) -> str:
    """``#rrggbb`` of three numbers 0..255."""
    return "#" + "".join(f"{min(max(int(c), 0), 255):02x}" for c in color)


def code_block(line: str) -> str:
    """A command line, with a button that copies it."""
    return f'<div class="code"><pre><code>{text(line)}</code></pre><button type=button>copy</button></div>'


def section(anchor: str, title: str, body: str, note: str = "") -> str:
    """A titled section; nothing when it has no body. ``note`` is HTML."""
    if not body:
        return ""
    lead = f'<p class="lead">{note}</p>' if note else ""
    return f'<section id="{anchor}"><h2>{title}</h2>{lead}{body}</section>'


def table(rows: list[tuple[str, str]], name: str) -> str:
    """Two columns, name and value; ``name`` is for screen readers."""
    lines = "".join(f"<tr><th scope=row>{text(key)}</th><td>{text(value)}</td></tr>" for key, value in rows)
    return f'<div class="scroll"><table class="pairs" aria-label="{text(name)}">{lines}</table></div>'
