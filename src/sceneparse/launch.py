"""Work in several processes of this machine: started here, watched, and ended together.

The process that was called does none of the work: it passes on what process 0 prints, sends signals on, and
when one process fails it ends the others, which would wait for it forever.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from sceneparse.errors import InputError
from sceneparse.group import Group

_Result = TypeVar("_Result")

Work = Callable[[Group, Console], _Result]
"""What each process does; can be pickled."""

SLACK_SECONDS = 1.0
"""After the first failure: for the cause to arrive, where that failure was only its consequence."""


def launch(
    work: Work[_Result],
    devices: int,
    console: Console,
    *,
    preload: Sequence[str] = (),
    stop: Callable[[], bool] | None = None,
    when_killed: str = "a smaller number of --devices",
) -> _Result:
    """Do ``work`` in ``devices`` new processes, as a group.

    Args:
        work: must end in every process, or be ended by the failure of one.
        devices: number of processes.
        console: gets what process 0 prints.
        preload: modules that the work needs, imported once for all processes where the platform can.
        stop: asked again and again; from the first True on, the processes get SIGTERM, which is for work that
            listens to it. Without it Ctrl-C ends them.
        when_killed: what helps where the system has ended a process, as it does when memory is full.

    Returns:
        What process 0 returned.

    Raises:
        InputError: the first that a process raised, or a process was killed.
        RuntimeError: another error of a process, with its traceback.
    """
    with tempfile.TemporaryDirectory(prefix="sceneparse-", ignore_cleanup_errors=True) as folder:
        watch: _Watch[_Result] = _Watch(console, when_killed)
        try:
            watch.start(work, devices, Path(folder) / "meeting", preload)
            return watch.until_done(stop)
        finally:
            watch.end()


class _Watch(Generic[_Result]):
    """The processes of a run as their parent sees them."""

    def __init__(self, console: Console, when_killed: str) -> None:
        self.console = console
        self.when_killed = when_killed
        self.processes: list[BaseProcess] = []
        self.lines: list[Connection] = []
        self.results: list[_Result] = []
        self.errors: list[Exception] = []

    def start(self, work: Work[_Result], devices: int, meeting: Path, preload: Sequence[str]) -> None:
        """Start them; what they import is imported once where the platform can."""
        server = "forkserver" in multiprocessing.get_all_start_methods()
        context: ForkServerContext | SpawnContext
        context = multiprocessing.get_context("forkserver" if server else "spawn")  # type: ignore[assignment]
        if server:
            context.set_forkserver_preload(list(preload))
        screen = (self.console.width, self.console.is_terminal)
        for rank in range(devices):
            ours, theirs = context.Pipe(duplex=False)
            group = Group(rank=rank, size=devices, local_rank=rank, local_size=devices)
            # Not daemons: these may not have workers of their own, which load the data.
            process = context.Process(target=_process, args=(work, group, meeting, theirs, screen))
            process.start()
            theirs.close()
            self.processes.append(process)
            self.lines.append(ours)

    def until_done(self, stop: Callable[[], bool] | None) -> _Result:
        """Wait for all; raises what ended them."""
        deadline = None
        while any(process.is_alive() for process in self.processes) or self._read(0):
            wait([*self.lines, *(p.sentinel for p in self.processes if p.is_alive())], 0.2)
            self._read(0)
            if stop is not None and stop() and os.name == "posix":
                # Again and again: not before the first step do they listen. On Windows this would be the end
                # of them, and Ctrl-C reaches them without us.
                for process in self.processes:
                    process.terminate()
            failed = self.errors or any(process.exitcode for process in self.processes)
            if failed:
                deadline = deadline or time.monotonic() + SLACK_SECONDS
                if time.monotonic() > deadline or any(isinstance(e, InputError) for e in self.errors):
                    raise self._cause()
        if not self.results:
            raise self._cause()
        return self.results[0]

    def _read(self, timeout: float) -> bool:
        """Take in what was sent; whether there was anything."""
        found = False
        for line in wait(self.lines, timeout):
            assert isinstance(line, Connection)
            try:
                while line.poll():
                    self._take(*line.recv())
                    found = True
            except (EOFError, ConnectionResetError):
                self.lines.remove(line)
                line.close()
        return found

    def _take(self, kind: str, value: Any) -> None:
        if kind == "text":
            self.console.file.write(value)
            self.console.file.flush()
        elif kind == "error":
            self.errors.append(value)
        else:
            self.results.append(value)

    def _cause(self) -> BaseException:
        """Of several failures the one that the others followed from."""
        ours = [error for error in self.errors if isinstance(error, InputError | OSError)]
        if ours:
            return ours[0]
        codes = [process.exitcode or 0 for process in self.processes]
        killed = [(rank, -code) for rank, code in enumerate(codes) if code < 0]
        if killed:
            rank, number = killed[0]
            return InputError(
                f"process {rank} of {len(self.processes)} was ended by signal {number}"
                + (", as systems do when memory is full" if number == 9 else ""),
                fix=self.when_killed,
            )
        if self.errors:
            return self.errors[0]
        return RuntimeError(
            f"the processes ended with {codes} before they began. They import the main module: a "
            'script has its calls under `if __name__ == "__main__":`'
        )

    def end(self) -> None:
        """Leave none behind."""
        for process in self.processes:
            if process.is_alive():
                process.kill()
        for process in self.processes:
            process.join()
        for line in self.lines:
            line.close()


class _Sent:
    """A file for a console: what is written goes to the parent."""

    encoding = "utf-8"

    def __init__(self, line: Connection) -> None:
        self._line = line

    def write(self, text: str) -> int:
        self._line.send(("text", text))
        return len(text)

    def flush(self) -> None:
        pass


def _process(
    work: Work[Any], group: Group, meeting: Path, line: Connection, screen: tuple[int, bool]
) -> None:
    """One process of the group; its result, or its error, is sent and not raised."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the work may listen, before and after it nobody does
    width, is_terminal = screen
    console = Console(quiet=True)
    if group.is_first:
        console = Console(file=_Sent(line), width=width, force_terminal=is_terminal)  # type: ignore[arg-type]
    else:
        warnings.simplefilter("ignore")  # process 0 has the same
    with group.joined(meeting):
        try:
            result = work(group, console)
        except Exception as error:
            line.send(("error", _sendable(error, group)))
            line.close()
            os._exit(1)  # at once: leaving the group can take as long as the others take
        except KeyboardInterrupt:
            os._exit(1)
    if group.is_first:
        line.send(("result", result))


def _sendable(error: Exception, group: Group) -> Exception:
    if isinstance(error, InputError):
        return InputError(error.what, where=error.where, fix=error.fix)
    if isinstance(error, OSError):
        try:
            pickle.dumps(error)
            return error
        except Exception:  # whatever an error holds that cannot be sent
            pass
    return RuntimeError(f"process {group.rank} of {group.size} failed:\n{traceback.format_exc()}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
