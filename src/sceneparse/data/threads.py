"""Work on many files: in threads, in order, with bounded memory and a progress bar.

Threads and not processes: decoding runs outside Python's lock, and threads start at once on every platform.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from sceneparse.memory import memory_bytes

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MOST_THREADS = 4
"""Threads that decode ahead of a network that computes on all cores, or on a GPU."""

SHARE_OF_MEMORY = 0.25
"""What pictures may take together that are computed at a time."""

LEAST_MEMORY = 4 * 2**30
"""Bytes of memory that are taken for granted where the system does not say."""


def decoding_threads() -> int:
    """Threads that keep every core at work that this process may use.

    One more than cores: while a thread waits for Python's lock, another decodes.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def mapped_in_order(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int,
    *,
    begin: Callable[[], object] | None = None,
) -> Generator[_Result]:
    """``map`` in threads, at most ``2 * workers`` results ahead of the reader: memory stays bounded.

    Each thread calls ``begin`` first.
    """
    executor = ThreadPoolExecutor(workers, thread_name_prefix="decode", initializer=begin)
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)


class PictureThreads:
    """Threads that take a picture each from the file to the result, and how they share the processor.

    PyTorch's threads wait for each other after every layer; with a small network that costs a third of the
    time, and many times the time where another program has one of the cores. Small pictures are therefore
    computed several at a time, each on one thread: nobody waits, the numbers are the same however many
    threads there are, and decoding and counting are spread over the cores too. Large pictures would not fit
    in memory together, and are computed one after the other on all threads.

    A context manager: leaves PyTorch's number of threads as it was.

    Args:
        several: whether pictures may be computed at the same time; not so on a GPU.
        processes: of this machine that do the same and share it.
    """

    def __init__(self, *, several: bool, processes: int = 1) -> None:
        import torch

        self._before = torch.get_num_threads()
        # Who sets the variable has thought of every process.
        shared = 1 if "OMP_NUM_THREADS" in os.environ else processes
        self._all = max(1, self._before // shared)
        memory = memory_bytes() or LEAST_MEMORY
        self._bytes = int(memory * SHARE_OF_MEMORY) // (self._all * processes) if several else 0
        self._workers = self._all if several else min(MOST_THREADS, decoding_threads())
        self._alone = ThreadPoolExecutor(
            1, thread_name_prefix="large", initializer=partial(torch.set_num_threads, self._all)
        )

    def __enter__(self) -> PictureThreads:
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        self._alone.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Generator[_Result]:
        """Results in order; ``function`` calls :meth:`compute` for what PyTorch does."""
        import torch

        return mapped_in_order(function, items, self._workers, begin=partial(torch.set_num_threads, 1))

    def compute(self, work: Callable[[], _Result], size_bytes: int) -> _Result:
        """Do ``work`` here, or after other large pictures where this one is large.

        Args:
            work: the computation of one picture.
            size_bytes: estimate of the memory that it takes.
        """
        return work() if size_bytes <= self._bytes else self._alone.submit(work).result()


@contextlib.contextmanager
def progress_bar(what: str, total: int, *, shown: bool) -> Iterator[Callable[[], None]]:
    """A bar on standard error; gives the function that moves it on by one."""
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
