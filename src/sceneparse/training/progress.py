"""What a person sees while a run goes on: one line with speed, waiting, memory and time left."""

from __future__ import annotations

import sys
import time
from collections import deque

import torch
from rich.console import Console
from rich.live import Live
from rich.text import Text

WAIT_ADVICE = 0.2


def say(console: Console, text: str, *, style: str | None = None) -> None:
    """Print a line as it is: names of classes and files may hold what rich would read as markup."""
    console.print(Text(text, style or ""), highlight=False, soft_wrap=True)


def memory_gib(device: torch.device) -> float:
    """Peak memory of this process: on the GPU where it trains on one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**30 if sys.platform == "darwin" else 2**20)
    except ImportError:  # Windows
        return float("nan")


def duration(seconds: float) -> str:
    """``2h05m``, ``3m20s`` or ``12s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class ProgressLine:
    """The progress line: redrawn in a terminal, a plain line now and then elsewhere.

    Args:
        console: where to print.
        steps: of the whole run.
        images_per_step: images of one step.
        device: whose memory is shown.
    """

    def __init__(self, console: Console, *, steps: int, images_per_step: int, device: torch.device) -> None:
        self.console = console
        self.steps = steps
        self.images_per_step = images_per_step
        self.device = device
        self.window: deque[tuple[float, float]] = deque(maxlen=50)
        self.live = (
            Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        )
        self.printed = time.monotonic()
        self.advised = False

    def __enter__(self) -> ProgressLine:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, step: int, loss: float, seconds: float, waited: float) -> None:
        """After a step that took ``seconds``, of which ``waited`` for data."""
        self.window.append((seconds, waited))
        now = time.monotonic()
        if self.live is not None:
            self.live.update(Text(self._line(step, loss)))
        elif now - self.printed >= 20 or step == self.steps:
            say(self.console, self._line(step, loss))
            self.printed = now
        if not self.advised and len(self.window) == self.window.maxlen and self.data_wait > WAIT_ADVICE:
            self.advised = True
            say(
                self.console,
                f"{self.data_wait:.0%} of the time is spent waiting for data: more --workers would help",
            )

    @property
    def images_per_second(self) -> float:
        """Over the last steps."""
        seconds = sum(s for s, _ in self.window)
        return self.images_per_step * len(self.window) / seconds if seconds else 0.0

    @property
    def data_wait(self) -> float:
        """Share 0..1 of the last steps' time spent waiting for data."""
        seconds = sum(s for s, _ in self.window)
        return sum(w for _, w in self.window) / seconds if seconds else 0.0

    def _line(self, step: int, loss: float) -> str:
        seconds = sum(s for s, _ in self.window) / len(self.window)
        return (
            f"step {step}/{self.steps}  loss {loss:.3f}  {self.images_per_second:.1f} img/s  "
            f"data wait {self.data_wait:.0%}  {memory_gib(self.device):.1f} GiB  "
            f"{duration(seconds * (self.steps - step))} left"
        )
