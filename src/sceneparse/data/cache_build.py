"""Making a pixel cache: decode and resize in threads, write in order, put in place as one step, once."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.faults import FaultsError
from sceneparse.data.inspect import Inspection, inspect_pair
from sceneparse.data.pairs import Pair
from sceneparse.data.pixelfile import DamagedFileError, PixelFile, PixelFileWriter
from sceneparse.data.preprocess import ResizePolicy, prepare_picture, resize_mask
from sceneparse.data.tally import Tally
from sceneparse.data.threads import mapped_in_order, progress_bar
from sceneparse.errors import InputError
from sceneparse.labels import LabelSet
from sceneparse.lock import process_lock

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Sample = tuple[NDArray[np.uint8], NDArray[np.integer]]


@dataclass(frozen=True, kw_only=True)
class CacheJob:
    """What goes into a cache file, and how to make it; the settings are those of ``PixelCache.open``.

    ``header``: what an existing file must say to be taken instead of making one.
    """

    path: Path
    root: Path
    split: str
    pairs: tuple[Pair, ...]
    labels: LabelSet
    policy: ResizePolicy
    mask_size: str
    header: dict[str, Any]
    workers: int
    progress: bool
    verify: bool
    skip_bad: bool


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


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One pair as it goes into the cache; no sample where a fault stops it."""

    sample: Sample | None
    facts: Inspection


def _prepare(pair: Pair, *, split: str, policy: ResizePolicy, labels: LabelSet, mask_size: str) -> _Prepared:
    """Decode, look through and resize one pair; runs in the worker threads."""
    found = inspect_pair(pair, labels, split=split, target=policy.target_size)
    facts = found.without_pixels()
    if found.picture is None or found.numbers is None:
        return _Prepared(None, facts)
    image, mask = prepare_picture(found.picture, policy), found.numbers
    if mask_size == "image":
        mask = resize_mask(mask, image.shape[:2])
    return _Prepared((image, labels.to_index(mask, path=pair.mask.path)), facts)


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
    tally = Tally.empty(job.labels.num_classes)
    checksum = hashlib.sha256(json.dumps(job.header["contents"], sort_keys=True).encode())
    prepare = partial(
        _prepare, split=job.split, policy=job.policy, labels=job.labels, mask_size=job.mask_size
    )
    with (
        contextlib.closing(PixelFileWriter(temporary)) as writer,
        progress_bar(f"making the pixel cache of {job.split}", len(job.pairs), shown=job.progress) as advance,
        contextlib.closing(mapped_in_order(prepare, job.pairs, job.workers)) as results,
    ):
        for pair, prepared in zip(job.pairs, results, strict=True):
            tally.add(pair, prepared.facts)
            # Where bad pairs are not left out, the rest is only looked through after the first of them.
            if prepared.sample is not None and (job.skip_bad or not tally.bad):
                facts = writer.append(*prepared.sample)
                checksum.update(f"{pair.stem}\0{facts}\n".encode("utf-8", "surrogatepass"))
            advance()
        refuse_bad(tally, job)
        writer.finish({**job.header, "tally": tally.to_dict(), "fingerprint": checksum.hexdigest()})


def refuse_bad(tally: Tally, job: CacheJob) -> None:
    """Raise the faults of a split, unless bad pairs are left out and some are sound.

    Raises:
        FaultsError: names them.
    """
    if tally.bad and (not job.skip_bad or len(tally.bad) == len(job.pairs)):
        raise FaultsError([fault for fault in tally.faults if fault.stops], where=job.root)


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
