"""Tally: what a split holds, added up pair by pair, and what is wrong between splits.

K: number of classes.
"""

from __future__ import annotations

import filecmp
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.faults import Fault
from sceneparse.data.inspect import Inspection
from sceneparse.data.pairs import Pair
from sceneparse.labels import LabelSet


@dataclass
class Tally:
    """What the sound pairs of a split hold.

    Args:
        pixels: int64 (K + 1,) pixels of each class, and ignored ones last.
        containing: int64 (K,) images with a pixel of each class.
        images: stem and path of every sound image.
        digests: (bytes, checksum) of its file.
        faults: of all pairs, sound or not.
        bad: stems of the pairs that are not sound.
    """

    pixels: NDArray[np.int64]
    containing: NDArray[np.int64]
    images: list[tuple[str, Path]] = field(default_factory=list)
    digests: list[tuple[int, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)

    @classmethod
    def empty(cls, num_classes: int) -> Tally:
        """Before the first pair."""
        return cls(pixels=np.zeros(num_classes + 1, np.int64), containing=np.zeros(num_classes, np.int64))

    def add(self, pair: Pair, inspection: Inspection) -> None:
        """Count one pair."""
        self.faults += inspection.faults
        if inspection.picture is None or inspection.counts is None:
            self.bad.append(pair.stem)
            return
        self.pixels += inspection.counts
        self.containing += inspection.counts[:-1] > 0
        self.images.append((pair.stem, pair.image))
        self.digests.append(inspection.picture.digest)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, but for paths, which the reader knows."""
        return {
            "pixels": self.pixels.tolist(),
            "containing": self.containing.tolist(),
            "digests": [list(digest) for digest in self.digests],
            "faults": [fault.to_dict() for fault in self.faults],
            "bad": self.bad,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], images: Sequence[tuple[str, Path]]) -> Tally:
        """Inverse of :meth:`to_dict`; ``images`` are the sound ones."""
        return cls(
            pixels=np.array(values["pixels"], np.int64),
            containing=np.array(values["containing"], np.int64),
            images=list(images),
            digests=[(size, checksum) for size, checksum in values["digests"]],
            faults=[Fault.from_dict(fault) for fault in values["faults"]],
            bad=list(values["bad"]),
        )


def faults_between(tallies: Mapping[str, Tally], labels: LabelSet) -> list[Fault]:
    """What is wrong with splits taken together: pictures in two of them, classes never trained.

    Nothing is said of classes where a split has no sound pair: its other faults say more.
    """
    sound = all(tally.images for tally in tallies.values())
    return [*_duplicates(tallies), *(_untrained(tallies, labels) if sound else [])]


def _duplicates(tallies: Mapping[str, Tally]) -> list[Fault]:
    """A fault for each picture of "train" that is in another split, too."""
    if "train" not in tallies:
        return []
    scored: dict[tuple[int, int], list[tuple[str, Path]]] = {}
    for split, tally in tallies.items():
        if split != "train":
            for digest, (_, path) in zip(tally.digests, tally.images, strict=True):
                scored.setdefault(digest, []).append((split, path))
    faults = []
    train = tallies["train"]
    for digest, (stem, path) in zip(train.digests, train.images, strict=True):
        candidates = scored.get(digest, [])[:_MOST_COMPARED]
        twin = next(((split, other) for split, other in candidates if _same(path, other)), None)
        if twin is None:
            continue
        split, other = twin
        what = f"{path.name} of train is the same file as {other.name} of {split}: a network would be "
        what += "scored on what it has learned"
        fix = "remove one of the two, with its mask"
        faults.append(
            Fault(kind="duplicate", what=what, fix=fix, files=(path, other), split="train", stem=stem)
        )
    return faults


_MOST_COMPARED = 8
"""Files of one digest are the same, but for accidents: comparing a few shows it."""


def _same(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:  # removed meanwhile
        return False


NO_PIXELS = " has no pixel in any split"
"""What is said of a class, after its name and number."""


def _untrained(tallies: Mapping[str, Tally], labels: LabelSet) -> list[Fault]:
    faults = []
    everywhere = sum(
        (tally.pixels[:-1] for tally in tallies.values()), np.zeros(labels.num_classes, np.int64)
    )
    for i, (number, name) in enumerate(zip(labels.file_numbers, labels.names, strict=True)):
        scored = [split for split, tally in tallies.items() if split != "train" and tally.pixels[i] > 0]
        if scored and "train" in tallies and tallies["train"].pixels[i] == 0:
            pixels = int(tallies[scored[0]].pixels[i])
            what = (
                f"{name} ({number}) has {pixels} pixels in {scored[0]} and none in train: its IoU will be 0"
            )
            fix = "put some of its pictures into train, or ignore or merge the class"
            faults.append(Fault(kind="never-trained", what=what, fix=fix, split=scored[0]))
        elif tallies and everywhere[i] == 0:
            what = f"{name} ({number}){NO_PIXELS}"
            fix = "fine if you expect it; otherwise look whether the masks hold another number for it"
            faults.append(Fault(kind="no-pixels", what=what, fix=fix))
    return faults
