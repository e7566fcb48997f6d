"""PixelCache: the decoded, resized pixels of one split, made once and then read as fast as memory goes.

Images become uint8 RGB after the resize policy, masks training indices. What is in a cache depends on the
source files, the policy, the mask size and the class numbers; it is made anew when any of them changes.
Where, and how the file looks inside: :mod:`sceneparse.data.pixelfile`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.cache_build import CacheJob, Sample, make_once, open_if_valid, refuse_bad
from sceneparse.data.dataset import Dataset
from sceneparse.data.pairs import Pair
from sceneparse.data.pixelfile import DamagedFileError, PixelFile, spoil
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.data.tally import Tally
from sceneparse.errors import InputError

_PIXELS_VERSION = 2
"""Raise when decoding or resizing gives other pixels than before: old caches are then made anew."""


class PixelCache:
    """Samples of one split as read-only views of a memory-mapped file; made by :meth:`open`.

    ``cache[i]`` is (image uint8 (H, W, 3), mask uint8|uint16 (h, w) of training indices). Pickling it takes
    the file along by name only, so that DataLoader workers share one copy in memory.

    Attributes:
        path: the cache file.
        pairs: the source files, in the order of the samples.
        rows: number of each sample in the file.
        tally: what the pairs of the split hold, and their faults.
    """

    def __init__(
        self, path: Path, pairs: tuple[Pair, ...], rows: tuple[int, ...], tally: Tally, file: PixelFile
    ) -> None:
        assert len(pairs) == len(rows)
        self.path = path
        self.pairs = pairs
        self.rows = rows
        self.tally = tally
        self._file = file

    @classmethod
    def open(
        cls,
        dataset: Dataset,
        split: str,
        policy: ResizePolicy,
        *,
        mask_size: str,
        folder: Path,
        workers: int,
        progress: bool,
        verify: bool = False,
        skip_bad: bool = False,
    ) -> PixelCache:
        """Open the cache of a split, making it first if there is none that fits.

        Several processes may do this at once: one makes the file, the others wait for it. A process killed
        on the way leaves a temporary file, which the next one removes. Memory: a few samples per worker.

        Args:
            dataset: from :func:`~sceneparse.data.dataset.open_dataset`.
            split: "train" or "val".
            policy: how images are resized.
            mask_size: "image" resizes masks with their images; "own" keeps each mask's own size.
            folder: where the cache file goes; made if need be. Splits and settings have files of their own.
            workers: threads that decode (decoding runs outside Python's lock); at least one is used.
            progress: show a progress bar on standard error.
            verify: check every sample against its checksum now, instead of when it is first read.
            skip_bad: leave out pairs with a fault instead of raising.

        Raises:
            FaultsError: source files that cannot be read, masks of another size than their image or with
                values outside the class list: all of them. With ``skip_bad``: no pair is sound.
            InputError: no such split; full disk, in which case nothing is left behind and an older cache is
                untouched.
        """
        assert mask_size in ("image", "own"), mask_size
        pairs = dataset.split(split)
        contents = _contents(dataset, split, policy, mask_size)
        path = Path(folder) / f"{split}-{_digest([str(dataset.root.resolve()), contents])[:16]}.pixels"
        job = CacheJob(
            path=path,
            root=dataset.root,
            split=split,
            pairs=pairs,
            labels=dataset.labels,
            policy=policy,
            mask_size=mask_size,
            header={
                "contents": contents,
                "sources": _sources(pairs),
                "mask_dtype": dataset.labels.index_dtype.str,
            },
            workers=max(1, workers),
            progress=progress,
            verify=verify,
            skip_bad=skip_bad,
        )
        file = open_if_valid(job) or make_once(job)
        bad = set(file.header["tally"]["bad"])
        sound = tuple(pair for pair in pairs if pair.stem not in bad)
        tally = Tally.from_dict(file.header["tally"], [(pair.stem, pair.image) for pair in sound])
        refuse_bad(tally, job)
        return cls(path, sound, tuple(range(len(sound))), tally, file)

    def __len__(self) -> int:
        return len(self.pairs)

    def without(self, stems: Collection[str]) -> PixelCache:
        """The same cache without some samples; its tally still counts them."""
        kept = [i for i, pair in enumerate(self.pairs) if pair.stem not in stems]
        pairs, rows = tuple(self.pairs[i] for i in kept), tuple(self.rows[i] for i in kept)
        return PixelCache(self.path, pairs, rows, self.tally, self._file)

    def __getitem__(self, i: int) -> Sample:
        """Sample ``i``, its checksum compared when this process reads it first.

        Raises:
            InputError: the pixels in the file have changed; the file is made anew at the next start.
        """
        try:
            return self._file.sample(self.rows[i])
        except DamagedFileError as error:
            spoil(self.path)
            raise InputError(
                f"the pixel cache is damaged: {error} ({self.pairs[i].stem})",
                where=self.path,
                fix="start again: the cache is then made anew (and if this repeats, check the disk)",
            ) from None

    def pair(self, i: int) -> Pair:
        """Source files of sample ``i``."""
        return self.pairs[i]

    @property
    def image_sizes(self) -> NDArray[np.integer]:
        """(N, 2): H, W of every image in the cache, in pixels."""
        return self._file.index["image_size"][list(self.rows)]

    @property
    def mask_sizes(self) -> NDArray[np.integer]:
        """(N, 2): h, w of every mask in the cache, in pixels."""
        return self._file.index["mask_size"][list(self.rows)]

    @property
    def fingerprint(self) -> str:
        """Hex digest of stems, pixels and class numbers: the same on every machine with the same data."""
        return str(self._file.header["fingerprint"])

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "pairs": self.pairs, "rows": self.rows, "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        try:
            file = PixelFile(state["path"])
            same = file.header["fingerprint"] == state["fingerprint"]
        except (DamagedFileError, OSError):
            same = False
        if not same:
            raise InputError(
                "the pixel cache was replaced while it was in use",
                where=state["path"],
                fix="start again; do not change the images of a running training",
            )
        tally = Tally.from_dict(file.header["tally"], ())  # workers have no use for its paths
        self.__init__(state["path"], state["pairs"], state["rows"], tally, file)  # type: ignore[misc]


def _contents(dataset: Dataset, split: str, policy: ResizePolicy, mask_size: str) -> dict[str, Any]:
    """What decides the pixels, source files aside. Names and colours of classes do so only where masks hold
    names or colours."""
    labels, source = dataset.labels, dataset.source
    contents = {
        "pixels_version": _PIXELS_VERSION,
        "split": split,
        "policy": policy.to_dict(),
        "mask_size": mask_size,
        "file_numbers": list(labels.file_numbers),
        "ignored": list(labels.ignored),
        "merged": [list(pair) for pair in labels.merged],
        "form": dataset.form,
    }
    if dataset.form != "index":
        contents["source"] = [source.names, source.numbers, source.colors, source.uncovered]
    return contents


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _sources(pairs: Iterable[Pair]) -> str:
    """Digest of stem, suffix, length and time of change of every source file."""
    states: dict[str, str] = {}  # a document of a thousand masks is asked once
    lines = []
    for pair in pairs:
        for path in (pair.image, *pair.mask.files):
            text = str(path)
            if text not in states:
                states[text] = _state(text)
            lines.append(f"{pair.stem}\0{states[text]}")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def _state(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:  # named with its reason when it is read
        return "none"
    return f"{path.rpartition('.')[2]}\0{status.st_size}\0{status.st_mtime_ns}"
