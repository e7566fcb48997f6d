"""The two splits of a run, checked before anything is trained."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sceneparse.config import RunConfig
from sceneparse.data.cache import PixelCache
from sceneparse.data.check import check
from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.data.faults import Fault, FaultsError, counted
from sceneparse.data.tally import faults_between
from sceneparse.data.threads import decoding_threads
from sceneparse.files import user_cache
from sceneparse.training.progress import say

MOST_WARNINGS = 5


def open_splits(config: RunConfig, console: Console) -> tuple[Dataset, PixelCache, PixelCache]:
    """Open a data set and its pixel caches; what ``sceneparse check`` finds is found here too, in one pass.

    Args:
        config: its data settings count.
        console: is told what was left out, and the warnings; a quiet one shows no progress either.

    Returns:
        The data set, the cache of "train" with masks at the size of the images, and that of "val" with masks
        at their own size.

    Raises:
        FaultsError: what is wrong with the data, all of it, unless bad files are left out.
        InputError: no such data, or a split is missing.
    """
    dataset = open_dataset(config.data.path, label_set=config.data.label_set, keep_faults=True)
    say(console, f"{dataset.name}: {dataset.labels.num_classes} classes; {dataset.labels.describe()}")
    dataset.split("val")  # say that it is missing before the training split is read
    unpaired = [fault for fault in dataset.faults if fault.split in ("train", "val", None)]
    if unpaired and not config.data.skip_bad:
        raise _all_faults(dataset, console)
    try:
        train, val = (
            open_cache(config, dataset, "train", console),
            open_cache(config, dataset, "val", console),
        )
    except FaultsError:
        raise _all_faults(dataset, console) from None
    between = faults_between({"train": train.tally, "val": val.tally}, dataset.labels)
    faults = [*unpaired, *train.tally.faults, *val.tally.faults, *between]
    stops = [fault for fault in faults if fault.stops]
    if stops and not config.data.skip_bad:
        raise FaultsError(stops, where=dataset.root)
    _say_faults(console, stops, [fault for fault in faults if not fault.stops])
    twins = {fault.stem for fault in between if fault.kind == "duplicate" and fault.stem is not None}
    return dataset, train.without(twins) if twins else train, val


def open_cache(config: RunConfig, dataset: Dataset, split: str, console: Console) -> PixelCache:
    """The pixel cache of "train", with masks at the size of the images, or of "val", at their own.

    Raises:
        FaultsError, InputError: as :meth:`PixelCache.open`.
    """
    return PixelCache.open(
        dataset,
        split,
        config.data.policy,
        mask_size="image" if split == "train" else "own",
        folder=cache_folder(config),
        workers=decoding_threads(),
        progress=not console.quiet,
        skip_bad=config.data.skip_bad,
    )


def _all_faults(dataset: Dataset, console: Console) -> FaultsError:
    """Everything that stops a training, as ``sceneparse check`` says it: a cache knows its split only."""
    checked = check(dataset, splits=("train", "val"), progress=not console.quiet)
    return FaultsError(checked.stops, where=dataset.root)


def _say_faults(console: Console, left_out: list[Fault], warnings: list[Fault]) -> None:
    if left_out:
        say(console, f"left out because of --skip-bad: {counted(left_out)}", style="yellow")
    for fault in warnings[:MOST_WARNINGS]:
        say(console, f"warning: {fault.what}", style="yellow")
    if len(warnings) > MOST_WARNINGS:
        more = counted(warnings[MOST_WARNINGS:])
        say(console, f"and more warnings: {more}; `sceneparse check` lists them", style="yellow")


def cache_folder(config: RunConfig) -> Path:
    """Folder of the pixel cache: the setting, or the user's cache folder."""
    return user_cache() if config.data.cache is None else Path(config.data.cache)
