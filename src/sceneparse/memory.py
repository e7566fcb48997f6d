"""Too little memory: how to know it from other errors, and how much there is."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sceneparse.errors import InputError

_SAID = re.compile("out of memory|can't allocate memory|not enough memory|std::bad_alloc", re.IGNORECASE)

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container has, version 2 and 1."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full, of the processor or of a GPU.

    ``torch.OutOfMemoryError`` is a RuntimeError; for the processor PyTorch has no type of its own, only text.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _SAID.search(str(error)) is not None
    )


@contextmanager
def full_memory_named(explained: Callable[[], InputError]) -> Iterator[None]:
    """Raise what ``explained`` gives where memory is full; other errors pass as they are.

    Raises:
        InputError: the one explained.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise explained() from error


def memory_bytes() -> int | None:
    """Memory of this machine, or of the container where that is less; None where the system does not say."""
    found = []
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in _LIMITS:
        try:
            text = Path(limit).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text.isdecimal():  # "max" where there is none
            found.append(int(text))
    return min(found, default=None)


def keep_freed_memory() -> None:
    """Have this process keep the memory that it frees, for what it allocates next.

    The C library of Linux gives every large block back at once, and the system fills each page of the next
    one with zeros. A training step allocates and frees gigabytes: that is up to a third of its time on the
    CPU. Other systems decide for themselves.
    """
    mmap_max, trim_threshold = -4, -1  # M_MMAP_MAX, M_TRIM_THRESHOLD of malloc.h
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # others than glibc may have a mallopt of other numbers  # noqa: B018
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, -1)


def give_freed_memory_back() -> None:
    """Return to the system what this process has freed and kept: what it holds then is in use."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # GNU only; musl, macOS and Windows have none
