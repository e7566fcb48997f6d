"""A lock between processes that the operating system gives back when its holder dies, however it dies."""

from __future__ import annotations

import errno
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def process_lock(
    path: Path,
    *,
    waiting: Callable[[], None] = lambda: None,
    most_seconds: float = math.inf,
    poll_seconds: float = 0.1,
) -> Iterator[bool]:
    """Hold an exclusive lock on the file ``path``, waiting for it as long as another process holds it.

    The file is made if need be and stays: removing it would let two processes lock two files of one name.

    Args:
        path: the lock file, in an existing folder.
        waiting: called once if another holder has to be waited for.
        most_seconds: to wait.
        poll_seconds: how often to ask; a blocking wait could not be interrupted on Windows.

    Yields:
        True; False on a file system without locks, where the body runs beside other holders.

    Raises:
        TimeoutError: another process held it all the time.
        OSError: the lock file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    began = time.monotonic()
    try:
        told = locked = False
        while not locked:
            try:
                _try_lock(descriptor)
                locked = True
                break
            except OSError as error:
                if error.errno not in _HELD:
                    break
            if not told:
                waiting()
                told = True
            if time.monotonic() - began >= most_seconds:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), str(path))
            time.sleep(poll_seconds)
        yield locked
    finally:
        os.close(descriptor)  # gives the lock back
