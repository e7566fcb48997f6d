"""Writing files so that a kill or a full disk never leaves half of one."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sceneparse.errors import InputError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under ``path`` whole, or not at all; what was there stays until then.

    Raises:
        InputError: the disk is full or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        refused = _refusal(error)
        if refused is not None:
            raise InputError(
                f"cannot save: {os.strerror(refused.errno or 0)}; what was saved before is intact",
                where=path,
                fix="free some space or choose another folder, then repeat the command (train: with --resume)",
            ) from error
        raise


def _refusal(error: BaseException) -> OSError | None:
    """The system's refusal to write behind an error; torch.save hides it in the context of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and (seen.errno in NO_SPACE or isinstance(seen, PermissionError)):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` on an :func:`atomic_file`."""
    with atomic_file(path) as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """A UTF-8 text file, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written in ``folder``."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            path.unlink()
