"""Writing files so that a kill or a full disk never leaves half of one."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sceneparse.errors import InputError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_GONE = (errno.ENOENT, errno.ENOTDIR)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears under ``path`` whole, or not at all; what was there stays until then.

    Raises:
        InputError: the disk is full, or the folder is gone or cannot be written to.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        refused = _refusal(error, path)
        if refused is not None:
            raise InputError(
                f"cannot save: {os.strerror(refused.errno or 0)}; what was saved before is intact",
                where=path,
                fix="free some space or choose another folder, then repeat the command (train: add --resume)",
            ) from error
        raise


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` on an :func:`atomic_file`."""
    with atomic_file(path) as file:
        write(file)


def write_text(path: Path, text: str) -> None:
    """A UTF-8 text file, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def read_text(path: Path, *, most: int) -> str:
    """A UTF-8 text file, with or without a byte order mark; line ends become ``\\n``.

    Args:
        path: the file.
        most: bytes that such a file may have at most.

    Raises:
        InputError: not there, not readable, larger, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read the file: {reason}", where=path, fix="check path and access") from None
    if len(data) > most:
        raise InputError(f"a text file of over {most} bytes", where=path, fix="name the right file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("not a text file in UTF-8", where=path, fix="save it as UTF-8 text") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def user_cache() -> Path:
    """Folder for what can be made again, of this package and user: ``SCENEPARSE_CACHE`` or the system's."""
    if "SCENEPARSE_CACHE" in os.environ:
        return Path(os.environ["SCENEPARSE_CACHE"])
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "sceneparse"


def make_parent(path: Path) -> None:
    """Make the folder of a file.

    Raises:
        InputError: a file is in its place, or it may not be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder cannot be made: {error.strerror}", where=path.parent, fix="choose another folder"
        ) from None


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file a second name, replacing what had it; a copy where the disk has no hard links.

    Raises:
        InputError: as :func:`atomic_file`.
    """
    temporary = _temporary(path)
    try:
        os.link(source, temporary)
    except OSError:
        with source.open("rb") as read, atomic_file(path) as write:
            shutil.copyfileobj(read, write)
        return
    _put_in_place(temporary, path)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half written in ``folder``."""
    for path in leftovers(folder):
        with suppress(OSError):
            path.unlink()


def leftovers(folder: Path) -> list[Path]:
    """Files that killed processes left half written in ``folder``."""
    return list(folder.glob(".*.tmp"))


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _put_in_place(temporary: Path, path: Path) -> None:
    # On Windows a file that is open elsewhere cannot be replaced: a virus scanner lets go after a moment.
    for wait_seconds in (0.05, 0.2, 0.5, 1.0) if sys.platform == "win32" else ():
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            time.sleep(wait_seconds)
    os.replace(temporary, path)
    if os.name == "posix":  # the new name survives a power cut only once its folder is on the disk
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _refusal(error: BaseException, path: Path) -> OSError | None:
    """The system's refusal to write behind an error; torch.save hides it in the context of its own."""
    expected = NO_SPACE + _NOT_ALLOWED + (() if path.parent.is_dir() else _GONE)
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in expected:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
