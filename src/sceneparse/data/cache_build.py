"""Making a pixel cache: decode and resize in threads, write in order, put in place as one step, once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.decode import read_image, read_mask
from sceneparse.data.lock import process_lock
from sceneparse.data.pairs import MOST_NAMED, Pair
from sceneparse.data.pixelfile import DamagedFileError, PixelFile, PixelFileWriter
from sceneparse.data.preprocess import ResizePolicy, resize_image, resize_mask
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Sample = tuple[NDArray[np.uint8], NDArray[np.integer]]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class CacheJob:
    """What goes into a cache file, and how to make it; the settings are those of ``PixelCache.open``.

    ``header``: what an existing file must say to be taken instead of making one.
    """

    path: Path
    pairs: tuple[Pair, ...]
    labels: LabelSet
    policy: ResizePolicy
    mask_size: str
    header: dict[str, Any]
    workers: int
    progress: bool
    verify: bool


def open_if_valid(job: CacheJob) -> PixelFile | None:
    """The cache file, or None if it is not there, damaged, foreign, or of other sources.

    Raises:
        InputError: it is there and cannot be read.
    """
    try:
        file = PixelFile(job.path)
        if any(file.header.get(key) != value for key, value in job.header.items()):
            return None
        if job.verify:
            file.verify()
    except (FileNotFoundError, DamagedFileError):
        return None
    except OSError as error:
        raise _cannot_write(job.path, error) from None
    return file


def _prepare(pair: Pair, policy: ResizePolicy, labels: LabelSet, mask_size: str) -> Sample | list[InputError]:
    """Decode and resize one pair; runs in the worker threads. All its faults, if it has any."""
    faults = []
    try:
        image = read_image(pair.image)
    except InputError as error:
        faults.append(error)
    try:
        mask = labels.to_index(read_mask(pair.mask), path=pair.mask)
    except InputError as error:
        faults.append(error)
    if faults:
        return faults
    if mask.shape != image.shape[:2]:
        turned = mask.shape == image.shape[1::-1]
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape
        return [
            InputError(
                f"the mask is {mask_width} x {mask_height} pixels and its image {width} x {height}",
                where=f"{pair.mask} and {pair.image}",
                fix="the image is turned upright by its EXIF data, the mask is not: turn the mask"
                if turned
                else "export the mask at the size of its image",
            )
        ]
    size_hw = policy.target_size(*image.shape[:2])
    return resize_image(image, size_hw), resize_mask(mask, size_hw) if mask_size == "image" else mask


def make_once(job: CacheJob) -> PixelFile:
    """Make the cache file, unless another process does: then wait and take that one.

    Raises:
        InputError: faults in the source files; the file cannot be written.
    """

    def waiting() -> None:
        if job.progress:
            print("waiting for another process that makes the pixel cache", file=sys.stderr)

    path = job.path
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with process_lock(path.with_suffix(".lock"), waiting=waiting) as locked:
            file = open_if_valid(job)
            if file is not None:
                return file
            if locked:  # then whoever wrote these was killed
                for left in path.parent.glob(f"{path.name}.*.tmp"):
                    left.unlink(missing_ok=True)
            try:
                _write(temporary, job)
                os.replace(temporary, path)
                _sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
            return PixelFile(path)
    except OSError as error:
        raise _cannot_write(path, error) from None


def _write(temporary: Path, job: CacheJob) -> None:
    faults: list[InputError] = []
    checksum = hashlib.sha256(json.dumps(job.header["contents"], sort_keys=True).encode())
    prepare = partial(_prepare, policy=job.policy, labels=job.labels, mask_size=job.mask_size)
    with (
        contextlib.closing(PixelFileWriter(temporary)) as writer,
        _bar(len(job.pairs), job.progress) as advance,
    ):
        with contextlib.closing(_mapped_in_order(prepare, job.pairs, job.workers)) as results:
            for pair, result in zip(job.pairs, results, strict=True):
                if isinstance(result, list):
                    faults += result
                elif not faults:  # after the first fault the rest is only looked through
                    facts = writer.append(*result)
                    checksum.update(f"{pair.stem}\0{facts}\n".encode("utf-8", "surrogatepass"))
                advance()
        if faults:
            raise _one_error(faults)
        writer.finish({**job.header, "fingerprint": checksum.hexdigest()})


def _mapped_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int
) -> Generator[_Result]:
    """``map`` in threads, at most ``2 * workers`` results ahead of the reader: memory stays bounded."""
    executor = ThreadPoolExecutor(workers, thread_name_prefix="decode")
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


@contextlib.contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[], None]]:
    if not shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("making the pixel cache"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def _one_error(faults: list[InputError]) -> InputError:
    if len(faults) == 1:
        return faults[0]
    told = "\n".join(str(fault) for fault in faults[:MOST_NAMED])
    more = len(faults) - MOST_NAMED
    return InputError(
        f"{len(faults)} faults in the data:\n{told}" + (f"\nand {more} more" if more > 0 else ""),
        fix="correct or remove these files; nothing was written",
    )


def _cannot_write(path: Path, error: OSError) -> InputError:
    if error.errno in _DISK_FULL:
        return InputError(
            f"the disk is full: the pixel cache could not be written ({error.strerror})",
            where=path.parent,
            fix="free some space (older *.pixels files there can go) or choose another cache folder",
        )
    return InputError(
        f"cannot read or write the pixel cache: {error.strerror or error}",
        where=path,
        fix="check access to the folder, or choose another cache folder",
    )


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where folders can be synced (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
