"""A full memory in a run: one error that names what filled it and what helps, and a run that goes on."""

from dataclasses import replace

import pytest
import torch

from sceneparse.errors import InputError
from sceneparse.training import loop as loop_module
from sceneparse.training import outputs
from sceneparse.training.full_memory import full_in_training
from sceneparse.training.learner import Learner
from sceneparse.training.run import train


@pytest.fixture(autouse=True)
def quick_curves(monkeypatch):
    monkeypatch.setattr(outputs, "write_curves", lambda run: None)


def full_at_call(monkeypatch, owner, name, number, error):
    """From call ``number`` on memory is full."""
    real, calls = getattr(owner, name), []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) >= number:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_training(config, tmp_path, said, monkeypatch, error):
    config = replace(config, batch_size=4)
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_at_call(patch, Learner, "step", 6, error)
        with pytest.raises(InputError) as caught:
            train(config, run, console=said)
    assert (
        caught.value.what == "the memory of 'cpu' is full in step 6: batch size 4, crop 64 x 64, precision 32"
    )
    for part in (
        f"{run / 'checkpoints' / 'last.ckpt'} is kept: go on with --resume and ",
        "--batch-size 2 --set accumulate=2 (the same samples a step) or --precision bf16",
        "start a new run with a smaller --size",
    ):
        assert part in caught.value.fix
    helped = replace(config, batch_size=2, accumulate=2)
    assert train(helped, run, resume=True, console=said).step == config.steps
    assert "resuming at step 4 of 10" in said.file.getvalue()


def test_evaluation_saves_what_was_learned(config, tmp_path, said, monkeypatch):
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        full_at_call(patch, loop_module, "validate", 1, torch.OutOfMemoryError("CUDA out of memory"))
        with pytest.raises(
            InputError, match="full in the evaluation after step 4: evaluation batch size 4"
        ) as caught:
            train(config, run, console=said)
    assert "last.ckpt is kept: go on with --resume and --set eval_batch_size=1" in caught.value.fix
    assert train(replace(config, eval_batch_size=1), run, resume=True, console=said).step == config.steps
    assert "resuming at step 4 of 10" in said.file.getvalue()


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "helps"),
    [
        (8, 1, "--batch-size 4 --set accumulate=2"),
        (3, 1, "--batch-size 1 --set accumulate=3"),
        (6, 2, "--batch-size 3 --set accumulate=4"),
    ],
)
def test_the_batch_is_cut_into_equal_parts(config, tmp_path, batch_size, accumulate, helps):
    error = full_in_training(replace(config, batch_size=batch_size, accumulate=accumulate), tmp_path, 1)
    assert f"nothing was saved before it: go on with --resume and {helps} (" in error.fix


def test_nothing_left_to_cut(config, tmp_path):
    error = full_in_training(replace(config, batch_size=1, precision="bf16"), tmp_path, 1)
    assert "--resume" not in error.fix
    assert "smaller --size or --model" in error.fix
