"""Command lines to copy: to repeat a run, to go on with it, to use its model."""

from __future__ import annotations

import re
import shlex
from typing import Any

from sceneparse.report.markup import code_block
from sceneparse.report.run_folder import Run


def commands_section(run: Run) -> str:
    """Each with its purpose."""
    lines = _of_evaluation(run.evaluated) if run.evaluated is not None else _of_run(run)
    return "".join(f'<span class="label">{name}</span>{code_block(line)}' for name, line in lines)


def _of_evaluation(evaluated: dict[str, Any]) -> list[tuple[str, str]]:
    model, command = evaluated.get("model"), evaluated.get("command")
    lines = [("Evaluate it again", str(command))] if command else []
    if model:
        lines.append(
            (
                "Predict on your own photos",
                f"sceneparse predict {shlex.quote(str(model))} photo.jpg --out predictions",
            )
        )
    return lines


def _of_run(run: Run) -> list[tuple[str, str]]:
    again, folder, path = _again(run), shlex.quote(str(run.path)), _data(run)
    lines = []
    if again:
        lines.append(("Repeat this run", again))
    resume = resumed_run(run)
    if resume:
        lines.append(("Resume it where it stopped", resume))
    lines.append(("Predict on your own photos", f"sceneparse predict {folder} photo.jpg --out predictions"))
    if path:
        lines.append(("Score it again", f"sceneparse evaluate {folder} {shlex.quote(path)}"))
    return lines


def resumed_run(run: Run, steps: int | None = None) -> str | None:
    """The command that goes on with a run, for ``steps`` in all; None where another verb has trained it."""
    again, path = _again(run), _data(run)
    if _is_train(again):
        line = again if steps is None else _without(again, *LENGTHS)
    elif path and not again:
        line = f"sceneparse train {shlex.quote(path)} --out {shlex.quote(str(run.path))}"
    else:
        return None
    return f"{line} --resume" + ("" if steps is None else f" --steps {steps}")


def longer_run(run: Run, steps: int) -> str | None:
    """The command for the same run of ``steps`` in all, in a folder of its own; None where none is known."""
    again = _again(run)
    if not _is_train(again):
        return None
    folder = shlex.quote(f"{run.path}-longer")
    return f"{_without(again, '--out', *LENGTHS)} --out {folder} --steps {steps}"


LENGTHS = ("--steps", "--epochs")


def _without(line: str, *flags: str) -> str:
    """A command line without some flags and their values, also as settings."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote without its pair: shown as it is
        return line
    settings = tuple(f"{flag.removeprefix('--')}=" for flag in flags)
    kept: list[str] = []
    left_out = False
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if left_out:
            left_out = False
        elif word in flags or (word == "--set" and following.startswith(settings)):
            left_out = True
        elif not word.startswith(tuple(f"{flag}=" for flag in flags)):
            kept.append(word)
    return shlex.join(kept)


def _again(run: Run) -> str:
    """The command that started the run; empty where it is not known."""
    command = str(run.environment.get("command") or "").strip()
    return re.sub(r"\s--resume(?=\s|$)", "", command)


def _is_train(command: str) -> bool:
    return re.match(r"\S*sceneparse(\.exe)? train\s", command) is not None


def _data(run: Run) -> str | None:
    data = run.environment.get("data")
    path = data.get("path") if isinstance(data, dict) else None
    return str(path) if path else None
