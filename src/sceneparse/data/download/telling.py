"""What a person sees while large files come and go: lines, and a bar where there is a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress import TransferSpeedColumn as SpeedColumn

_SECONDS_BETWEEN_LINES = 20
"""In a log file, where a bar cannot be drawn."""

Update = Callable[[int, int | None], None]
"""Called with bytes done, and bytes in all where that is known."""


class Teller:
    """Tells on a console, or nobody.

    Args:
        console: where to; None says nothing.
    """

    def __init__(self, console: Console | None) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """A line as it is: names may hold what rich would read as markup."""
        if self.console is not None:
            self.console.out(text, highlight=False)

    @contextmanager
    def bar(self, doing: str) -> Iterator[Update]:
        """A bar of bytes; yields the function that moves it."""
        if self.console is None or not self.console.is_terminal:
            yield self._lines(doing)
            return
        columns = (TextColumn(doing), BarColumn(), DownloadColumn(), SpeedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task("", total=None)

            def update(done: int, total: int | None) -> None:
                bar.update(task, completed=done, total=total)

            yield update

    def _lines(self, doing: str) -> Update:
        told = time.monotonic()

        def update(done: int, total: int | None) -> None:
            nonlocal told
            if time.monotonic() - told >= _SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                self.say(f"{doing}: {decimal(done)}" + (f" of {decimal(total)}" if total else ""))

        return update
