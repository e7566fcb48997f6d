"""What to say when the memory is full in a run: what filled it, what helps, and how the run goes on."""

from __future__ import annotations

from pathlib import Path

from sceneparse.config import RunConfig
from sceneparse.errors import InputError


def full_in_training(config: RunConfig, run: Path, step: int) -> InputError:
    """The error for step ``step``, counted from 1; the settings it names may change on resume."""
    height, width = config.augmentation.crop
    helps = [_smaller_parts(config)] if config.batch_size > 1 else []
    helps += ["--precision bf16"] if config.precision == "32" else []
    return InputError(
        f"the memory of {config.device!r} is full in step {step}: batch size {config.batch_size}, "
        f"crop {height} x {width}, precision {config.precision}",
        where=run,
        fix=_advice(run, helps, "start a new run with a smaller --size or --model"),
    )


def full_in_evaluation(config: RunConfig, run: Path, step: int) -> InputError:
    """The error for the evaluation after ``step`` steps; likewise."""
    helps = ["--set eval_batch_size=1"] if config.eval_batch_size > 1 else []
    return InputError(
        f"the memory of {config.device!r} is full in the evaluation after step {step}: evaluation batch size "
        f"{config.eval_batch_size}, whole pictures, precision 32",
        where=run,
        fix=_advice(run, helps, "start a new run with a smaller --set data.short_side"),
    )


def _advice(run: Path, helps: list[str], otherwise: str) -> str:
    last = run / "checkpoints" / "last.ckpt"
    kept = f"{last} is kept" if last.is_file() else "nothing was saved before it"
    resume = [f"go on with --resume and {' or '.join(helps)}"] if helps else []
    return f"{kept}: {'; or '.join([*resume, otherwise])}"


def _smaller_parts(config: RunConfig) -> str:
    """The same samples a step, in more and smaller parts."""
    samples = config.batch_size * config.accumulate
    smaller = max(n for n in range(1, config.batch_size // 2 + 1) if samples % n == 0)
    return f"--batch-size {smaller} --set accumulate={samples // smaller} (the same samples a step)"
