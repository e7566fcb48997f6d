"""check(): every image and mask of a data set looked at once, in parallel."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from sceneparse.data.dataset import Dataset
from sceneparse.data.faults import Fault
from sceneparse.data.inspect import Inspection, inspect_pair
from sceneparse.data.pairs import Pair
from sceneparse.data.tally import Tally, faults_between
from sceneparse.data.threads import all_cores, mapped_in_order, progress_bar


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a data set holds, and what is wrong with it.

    Args:
        dataset: as opened with ``keep_faults``.
        tallies: what each split holds.
        faults: everything that is wrong, those that stop first, then by split and name.
    """

    dataset: Dataset
    tallies: dict[str, Tally]
    faults: tuple[Fault, ...]

    @property
    def stops(self) -> tuple[Fault, ...]:
        """The faults that stop a training."""
        return tuple(fault for fault in self.faults if fault.stops)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """The faults that stop nothing."""
        return tuple(fault for fault in self.faults if not fault.stops)


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
        workers: threads; one a core by default.
        progress: show a bar on standard error.
    """
    names = [name for name in dataset.splits if splits is None or name in splits]
    tallies = {name: Tally.empty(dataset.labels.num_classes) for name in names}
    work = [(name, pair) for name in names for pair in dataset.splits[name]]

    def inspect(item: tuple[str, Pair]) -> Inspection:
        # (1, 1): a JPEG may be decoded at any scale; its whole file is gone through all the same.
        inspection = inspect_pair(item[1], dataset.labels, split=item[0], target=lambda *_: (1, 1))
        return inspection.without_pixels()

    with (
        progress_bar("checking", len(work), shown=progress) as advance,
        contextlib.closing(mapped_in_order(inspect, work, workers or all_cores())) as inspections,
    ):
        for (name, pair), inspection in zip(work, inspections, strict=True):
            tallies[name].add(pair, inspection)
            advance()
    faults = [fault for fault in dataset.faults if splits is None or fault.split in (*names, None)]
    faults += [fault for tally in tallies.values() for fault in tally.faults]
    faults += faults_between(tallies, dataset.labels)
    order = {name: position for position, name in enumerate(dataset.splits)}
    faults.sort(key=lambda f: (not f.stops, order.get(f.split or "", -1), f.kind, f.stem or ""))
    return Checked(dataset=dataset, tallies=tallies, faults=tuple(faults))
