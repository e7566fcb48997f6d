"""Command lines to copy: to repeat a run, to go on with it, to use its model."""

from __future__ import annotations

import re
import shlex

from sceneparse.report.markup import text
from sceneparse.report.run_folder import Run


def commands_section(run: Run) -> str:
    """Each with its purpose."""
    command = str(run.environment.get("command") or "").strip()
    again = re.sub(r"\s--resume(?=\s|$)", "", command)
    folder = shlex.quote(str(run.path))
    data = run.environment.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    lines = []
    if again:
        lines.append(("Repeat this run", again))
    if re.match(r"\S*sceneparse(\.exe)? train\s", again):
        lines.append(("Resume it where it stopped", f"{again} --resume"))
    elif path and not again:
        resume = f"sceneparse train {shlex.quote(str(path))} --out {folder} --resume"
        lines.append(("Resume it where it stopped", resume))
    lines.append(("Predict on your own photos", f"sceneparse predict {folder} photo.jpg --out predictions"))
    if path:
        lines.append(("Score it again", f"sceneparse evaluate {folder} {shlex.quote(str(path))}"))
    return "".join(
        f'<span class="label">{name}</span><div class="code"><pre><code>{text(line)}</code></pre>'
        "<button type=button>copy</button></div>"
        for name, line in lines
    )
