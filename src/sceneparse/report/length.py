"""Whether a run ended while its score was still rising, and the command that goes on from there."""

from __future__ import annotations

import numpy as np

from sceneparse.report.commands import longer_run, resumed_run
from sceneparse.report.markup import code_block, count, text
from sceneparse.report.run_folder import Run

RISE = 0.01
"""Gain of mean IoU over the last quarter of a run from which it is said; less may be chance."""


def train_longer(run: Run) -> list[str]:
    """A sentence, if the last evaluation of a finished run is its best and the score was still rising.

    Rising: the gain over the best of the first three quarters of the steps is more than :data:`RISE`, and
    more than the score has fallen from one evaluation to the next in the second half of them.
    """
    planned, iou = run.steps_planned, run.metrics.get("mean_iou")
    if planned is None or iou is None or run.steps_done < planned:
        return []
    known = np.isfinite(iou)
    steps, iou = run.metrics["step"][known], iou[known]
    if len(iou) < 2 or iou[-1] < iou.max():
        return []
    early = max(int((steps <= 0.75 * planned).sum()), 1)
    before = int(iou[:early].argmax())
    gain, falls = float(iou[-1] - iou[before]), -np.diff(iou[len(iou) // 2 :])
    if gain <= max(RISE, float(falls.max(initial=0))):
        return []
    rising = (
        f"The mean IoU was still rising when the run ended, by <b>{100 * gain:.1f}\u00a0points</b> "
        f"since step {count(float(steps[before]))}"
    )
    schedule, more = str(run.config.get("optimizer.schedule")), 2 * planned
    if schedule == "constant":
        return [f"{rising}: <em>go on for as long again</em>{_line(resumed_run(run, more))}"]
    reason = f", as its learning rate has come down to 0 ({text(schedule)})" if schedule != "None" else ""
    return [f"{rising}: <em>train anew with more steps</em>{reason}{_line(longer_run(run, more))}"]


def _line(command: str | None) -> str:
    return f":{code_block(command)}" if command else "."
