"""check(): every image and mask of a data set looked at once, in parallel.

H, W: height and width of an upright picture, pixels. K: number of classes.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.dataset import Dataset
from sceneparse.data.faults import Fault, title
from sceneparse.data.inspect import Inspection, inspect_pair
from sceneparse.data.pairs import Pair
from sceneparse.data.tally import Tally, faults_between
from sceneparse.data.threads import decoding_threads, mapped_in_order, progress_bar
from sceneparse.data.values import meanings, values_error
from sceneparse.errors import InputError, nearest
from sceneparse.labels import MAX_FILE_NUMBER


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a data set holds, and what is wrong with it.

    Args:
        dataset: as opened with ``keep_faults``.
        tallies: what the sound pairs of each split that was looked at hold.
        numbers: split to int64 (65536,): pixels of each source number in all masks that could be read, sound
            or not.
        sizes: split to (H, W) to how many images have it, of all that could be read.
        faults: everything that is wrong, those that stop first, then by kind, split and name.
        seconds: that it took.
    """

    dataset: Dataset
    tallies: dict[str, Tally]
    numbers: dict[str, NDArray[np.int64]]
    sizes: dict[str, Counter[tuple[int, int]]]
    faults: tuple[Fault, ...]
    seconds: float

    @property
    def stops(self) -> tuple[Fault, ...]:
        """The faults that stop a training."""
        return tuple(fault for fault in self.faults if fault.stops)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The faults that stop nothing."""
        return tuple(fault for fault in self.faults if not fault.stops)

    @property
    def meanings(self) -> dict[str, str]:
        """What 0 and 255 mean here, in words."""
        numbers = sum(self.numbers.values(), np.zeros(MAX_FILE_NUMBER + 1, np.int64))
        return meanings(self.dataset.source, self.dataset.labels, self.dataset.form, numbers)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        dataset, labels = self.dataset, self.dataset.labels
        classes = [
            {
                "number": number,
                "name": name,
                "color": list(color),
                "splits": {split: _class_values(tally, i) for split, tally in self.tallies.items()},
            }
            for i, (number, name, color) in enumerate(
                zip(labels.file_numbers, labels.names, labels.palette, strict=True)
            )
        ]
        kinds = Counter(fault.kind for fault in self.faults)
        return {
            "dataset": {
                "name": dataset.name,
                "root": str(dataset.root),
                "layout": dataset.layout,
                "form": dataset.form,
            },
            "sound": not self.stops,
            "splits": {split: self._split_values(split) for split in self.tallies},
            "classes": classes,
            "ignored": list(labels.ignored),
            "merged": [{"number": number, "counts_as": into} for number, into in labels.merged],
            "meaning": self.meanings,
            "counts": [
                {"kind": kind, "title": title(kind), "faults": number} for kind, number in kinds.most_common()
            ],
            "faults": [fault.to_dict() for fault in self.faults],
            "seconds": round(self.seconds, 3),
        }

    def _split_values(self, split: str) -> dict[str, Any]:
        tally = self.tallies[split]
        return {
            "pairs": len(self.dataset.splits[split]),
            "sound_pairs": len(tally.images),
            "pixels": int(tally.pixels.sum()),
            "ignored_pixels": int(tally.pixels[-1]),
            "sizes": [
                {"height": height, "width": width, "images": images}
                for (height, width), images in sorted(self.sizes[split].items())
            ],
            "values": [
                {"value": int(value), "pixels": int(self.numbers[split][value])}
                for value in np.flatnonzero(self.numbers[split])
            ],
        }


def _class_values(tally: Tally, i: int) -> dict[str, Any]:
    pixels, total = int(tally.pixels[i]), int(tally.pixels.sum())
    return {
        "pixels": pixels,
        "share": pixels / total if total else None,
        "images": int(tally.containing[i]),
    }


def check(
    dataset: Dataset,
    *,
    splits: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Checked:
    """Decode every image and mask once, and find everything that is wrong.

    Args:
        dataset: opened with ``keep_faults=True``.
        splits: which; all that are there by default.
        workers: threads; by default as many as keep every core at work.
        progress: show a bar on standard error.

    Raises:
        InputError: the data set does not have a split.
    """
    began = time.monotonic()
    names = _chosen(dataset, splits)
    tallies = {name: Tally.empty(dataset.labels.num_classes) for name in names}
    numbers = {name: np.zeros(MAX_FILE_NUMBER + 1, np.int64) for name in names}
    sizes: dict[str, Counter[tuple[int, int]]] = {name: Counter() for name in names}
    work = [(name, pair) for name in names for pair in dataset.splits[name]]

    def inspect(item: tuple[str, Pair]) -> Inspection:
        # (1, 1): a JPEG may be decoded at any scale; its whole file is gone through all the same.
        return inspect_pair(
            item[1], dataset.labels, split=item[0], target=lambda *_: (1, 1), keep_pixels=False
        )

    with (
        progress_bar("checking", len(work), shown=progress) as advance,
        contextlib.closing(mapped_in_order(inspect, work, workers or decoding_threads())) as inspections,
    ):
        for (name, pair), inspection in zip(work, inspections, strict=True):
            tallies[name].add(pair, inspection)
            if inspection.values is not None:
                values, counts = inspection.values
                numbers[name][values] += counts
            if inspection.size_hw is not None:
                sizes[name][inspection.size_hw] += 1
            advance()
    faults = [fault for fault in dataset.faults if fault.split in (*names, None)]
    faults += [fault for tally in tallies.values() for fault in tally.faults]
    faults = _explained(faults, numbers, dataset)
    faults += faults_between(tallies, dataset.labels)
    order = {name: position for position, name in enumerate(dataset.splits)}
    faults.sort(key=lambda f: (not f.stops, f.kind, order.get(f.split or "", -1), f.stem or ""))
    return Checked(
        dataset=dataset,
        tallies=tallies,
        numbers=numbers,
        sizes=sizes,
        faults=tuple(faults),
        seconds=time.monotonic() - began,
    )


def _chosen(dataset: Dataset, splits: Sequence[str] | None) -> list[str]:
    for name in splits or ():
        if name not in dataset.splits:
            raise InputError(
                f"the data set has no split {name!r}.{nearest(name, dataset.splits)}",
                where=dataset.root,
                fix=f"choose from: {', '.join(dataset.splits)}",
            )
    return [name for name in dataset.splits if splits is None or name in splits]


def _explained(
    faults: Sequence[Fault], numbers: Mapping[str, NDArray[np.int64]], dataset: Dataset
) -> list[Fault]:
    """Faults of values, told in view of all masks: a mask of 0 and 255 alone asks what 255 is; among masks
    that hold classes, its 255 is one more value outside the list."""
    seen = np.flatnonzero(sum(numbers.values(), np.zeros(MAX_FILE_NUMBER + 1, np.int64)))
    told: dict[tuple[int | str, ...], tuple[str, str]] = {}  # thousands of masks may have the same fault
    explained = []
    for fault in faults:
        if fault.kind in ("binary", "values") and fault.values and dataset.form == "index":
            strange = tuple(value for value, _ in fault.values)
            if strange not in told or told[strange][0] != fault.kind:
                found = [(int(value), pixels) for value, pixels in fault.values]
                error = values_error(found, seen, dataset.labels)
                told[strange] = error.kind, error.fix or fault.fix
                if error.kind != fault.kind:
                    fault = replace(fault, what=error.what)
            fault = replace(fault, kind=told[strange][0], fix=told[strange][1])
        explained.append(fault)
    return explained
