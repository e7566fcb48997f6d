"""One process at a time trains in a run folder: two would overwrite each other's checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from sceneparse.errors import InputError
from sceneparse.lock import process_lock
from sceneparse.training.progress import say

LOCK = ".lock"
"""An empty file in the run folder."""

PATIENCE_SECONDS = 15.0
"""Loader processes of a killed training hold its lock until they notice that it is gone."""


@contextmanager
def run_lock(run: Path, console: Console) -> Iterator[None]:
    """Hold the folder of a run. A file system without locks keeps nobody out.

    Args:
        run: an existing folder.
        console: where to say that it is waited for.

    Raises:
        InputError: another process trains there, or the folder cannot be written to.
    """

    def waiting() -> None:
        say(console, f"another process is training in {run}: waiting")

    with ExitStack() as held:
        try:
            held.enter_context(process_lock(run / LOCK, waiting=waiting, most_seconds=PATIENCE_SECONDS))
        except TimeoutError:
            raise InputError(
                "another process is training in this folder",
                where=run,
                fix="wait until it ends; or stop it, and go on with --resume",
            ) from None
        except OSError as error:
            raise InputError(
                f"the run folder cannot be written to: {error.strerror}",
                where=run,
                fix="change its permissions, or choose another --out",
            ) from None
        yield
