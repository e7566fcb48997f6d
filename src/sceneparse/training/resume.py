"""Going on with a run: which settings may change, and what has to be as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sceneparse.config import RunConfig, read_config
from sceneparse.errors import InputError
from sceneparse.settings import differences

FREE_ON_RESUME = {
    "steps",
    "epochs",
    "eval_every",
    "eval_batch_size",
    "checkpoint_minutes",
    "samples",
    "workers",
    "device",
    "precision",
    "deterministic",
    "optimizer.lr",
    "optimizer.clip_norm",
    "data.path",
    "data.cache",
}
"""Settings that may change when a run goes on: its length, what is shown, where it runs, and what helps after
a non-finite loss. Any other would make it a run on other data or of another network."""


def config_for_resume(run: str | Path) -> RunConfig:
    """Settings of a run that is to go on.

    Raises:
        InputError: no run there.
    """
    path = Path(run) / "config.yaml"
    if not path.is_file():
        raise InputError(
            "no run to resume: there is no config.yaml", where=run, fix="train without --resume to start one"
        )
    return read_config(path)


def resumed_config(config: RunConfig, run: Path) -> RunConfig:
    """``config``, with what it leaves to data and machine as the run found it.

    Raises:
        InputError: no run there, or a setting differs that may not.
    """
    old = config_for_resume(run)
    found = {
        name: getattr(old, name)
        for name, open_value in (
            ("batch_size", 0),
            ("eval_every", 0),
            ("precision", "auto"),
            ("device", "auto"),
        )
        if getattr(config, name) == open_value
    }
    config = replace(config, **found)
    refuse_changes(old, config, run)
    return config


def refuse_changes(old: RunConfig, new: RunConfig, run: Path) -> None:
    """Raise if a setting differs that is not in :data:`FREE_ON_RESUME`.

    Raises:
        InputError: names each with both values.
    """
    free = FREE_ON_RESUME
    if old.batch_size * old.accumulate == new.batch_size * new.accumulate:
        free = free | {"batch_size", "accumulate"}  # the same images a step, cut otherwise
    refused = {name: v for name, v in differences(old, new).items() if name not in free}
    if refused:
        said = "; ".join(f"{name} was {a!r}, is now {b!r}" for name, (a, b) in refused.items())
        raise InputError(
            f"--resume goes on with the run as it is: {said}",
            where=run,
            fix="leave these settings out, or start a new run with --init and another --out",
        )


def changed_settings(old: RunConfig, new: RunConfig) -> list[str]:
    """One sentence for each setting that changes the weights to come."""
    telling = {"steps", "batch_size", "device", "precision", "optimizer.lr", "optimizer.clip_norm"}
    changed = differences(old, new).items()
    return [f"{name} is now {b!r}, was {a!r}" for name, (a, b) in changed if name in telling]


def resumed_environment(first: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """The facts of the first start, with this one added: when, how, with what, on how many threads.

    Raises:
        InputError: images or masks are not what they were.
    """
    for split in ("train", "val"):
        key = f"{split}_fingerprint"
        if first.get("data", {}).get(key, now["data"][key]) != now["data"][key]:
            raise InputError(
                f"the {split} images or masks have changed since this run began",
                where=run,
                fix="restore them, or start a new run",
            )
    here = {name: now[name] for name in ("started", "command", "threads", "versions", "git")}
    return {**first, "resumed": [*first.get("resumed", []), here]}


def not_bit_equal(first: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Why a deterministic run will not end with the very bits of the unbroken one; None where it will."""

    def facts(start: Mapping[str, Any]) -> dict[str, Any]:
        hardware = start.get("hardware", {})
        return {
            "threads": start.get("threads"),
            "processor": hardware.get("processor"),
            "GPUs": hardware.get("gpus"),
            **start.get("versions", {}),
        }

    before, here = facts(first), facts(now)
    said = [
        f"{name} {before.get(name)} / {value}" for name, value in here.items() if before.get(name) != value
    ]
    if not said:
        return None
    return f"this run began elsewhere (then / now: {', '.join(said)}): its last bits may differ from here on"


def require_length(step: int, steps: int, run: Path) -> None:
    """Raise when a run is to end before the step it has reached.

    Raises:
        InputError: says both.
    """
    if steps < step:
        raise InputError(
            f"the run has done {step} steps already, more than the {steps} asked for",
            where=run,
            fix=f"give --steps {step} or more",
        )
