"""A run that was stopped or killed ends as the one that never was: to the bit."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from boxes import draw_data

from sceneparse.cli import main
from sceneparse.config import read_config
from sceneparse.errors import InputError
from sceneparse.lock import process_lock
from sceneparse.settings import override
from sceneparse.training import checkpoint as checkpoint_module
from sceneparse.training import loop as loop_module
from sceneparse.training import outputs, run_lock
from sceneparse.training.checkpoint import load_checkpoint
from sceneparse.training.learner import Learner
from sceneparse.training.run import train
from sceneparse.training.run_lock import LOCK

TIMING = ("images_per_second", "data_wait", "seconds")


@pytest.fixture(autouse=True)
def quick_curves(monkeypatch):
    """Drawing takes longer than the steps, and curves hold what metrics.csv holds."""
    monkeypatch.setattr(outputs, "write_curves", lambda run: None)


def tensors(value, name=""):
    """Every tensor of a nested value, by its place."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: tensor for part, v in items for key, tensor in tensors(v, f"{name}/{part}").items()}


def without_timing(history):
    return [{key: value for key, value in row.items() if key not in TIMING} for row in history]


def table(path):
    """A table of the run folder without the columns that measure time."""
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [i for i, name in enumerate(lines[0]) if name not in TIMING]
    return [[line[i] for i in kept] for line in lines]


def assert_same_run(run, unbroken):
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (load_checkpoint(folder / "checkpoints" / name) for folder in (run, unbroken))
        for part in ("model", "average", "optimizer"):
            left, right = tensors(getattr(ours, part)), tensors(getattr(theirs, part))
            assert left.keys() == right.keys()
            assert left
            different = [key for key in left if not torch.equal(left[key], right[key])]
            assert not different, (name, part, different[:3])
        assert without_timing(ours.progress.history) == without_timing(theirs.progress.history)
        assert ours.progress.step == theirs.progress.step
        assert (ours.progress.loss_sum, ours.progress.best_step) == (
            theirs.progress.loss_sum,
            theirs.progress.best_step,
        )
    for name in ("metrics.csv", "losses.csv"):
        assert table(run / name) == table(unbroken / name)
    for name in ("evaluation.json", "warnings.json", "model/model.safetensors", "model/config.json"):
        assert (run / name).read_bytes() == (unbroken / name).read_bytes(), name
    for path in (unbroken / "samples").iterdir():
        assert (run / "samples" / path.name).read_bytes() == path.read_bytes()
    assert not list(run.rglob("*.tmp"))


# ---------------------------------------------------------------------- stopped by a signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_rest_is_bit_equal(config, unbroken, tmp_path, said, monkeypatch, number):
    at_step = random.Random(int(number)).randrange(1, 9)
    step_of = Learner.step

    def signalled(self, parts, step):
        if step == at_step:
            os.kill(os.getpid(), number)
        return step_of(self, parts, step)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", signalled)
        result = train(config, tmp_path / "run", console=said)
    assert (result.step, result.stopped_by) == (at_step + 1, number)
    assert signal.getsignal(number) is before
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").progress.step == at_step + 1
    result = train(config, tmp_path / "run", resume=True, console=said)
    assert (result.step, result.stopped_by) == (10, None)
    assert_same_run(tmp_path / "run", unbroken)


def test_a_signal_in_an_evaluation_repeats_it(config, unbroken, tmp_path, said, monkeypatch):
    validate = loop_module.validate

    def signalled(*arguments, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return validate(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module, "validate", signalled)
        result = train(config, tmp_path / "run", console=said)
    assert (result.step, result.stopped_by) == (4, signal.SIGTERM)
    train(config, tmp_path / "run", resume=True, console=said)
    assert_same_run(tmp_path / "run", unbroken)


# ---------------------------------------------------------------------- killed at a chosen point


class Killed(BaseException):
    """Stands for kill -9 where only what is on the disk counts: nothing catches it and nothing cleans up."""


def killed_at_call(patch, owner, name, call):
    """Die at the ``call``-th (from 1) call of ``owner.name``, before it does anything."""
    original, calls = getattr(owner, name), []

    def dies(*arguments, **named):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **named)

    patch.setattr(owner, name, dies)


LAST_BEST = 0
"""Stands for the number of evaluations that were better than all before: roundings differ by machine."""


def best_evaluations(run: Path) -> int:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        scores = [float(row["mean_iou"]) for row in csv.DictReader(file)]
    return sum(score > max(scores[:i], default=-1) for i, score in enumerate(scores))


POINTS = {
    # What each evaluation writes, in its order; LAST_BEST where only one better than all before writes it.
    "bundle": (outputs, "write_bundle", LAST_BEST),
    "between the bundle and its numbers": (outputs, "numbers_json", LAST_BEST),
    "tables": (outputs, "write_tables", 2),
    "pictures": (outputs, "write_curves", 3),
    "first checkpoint": (checkpoint_module, "atomic_file", 1),
    "between best and last": (checkpoint_module, "link_or_copy", 1),
    "between best and last, later": (checkpoint_module, "link_or_copy", LAST_BEST),
    "a checkpoint": (checkpoint_module, "atomic_file", 3),
    "a step": (Learner, "step", 7),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_two_writes(config, unbroken, tmp_path, said, monkeypatch, point):
    with monkeypatch.context() as patch:
        owner, name, call = POINTS[point]
        killed_at_call(patch, owner, name, call or best_evaluations(unbroken))
        with pytest.raises(Killed):
            train(config, tmp_path / "run", console=said)
    result = train(config, tmp_path / "run", resume=True, console=said)
    assert result.step == 10
    assert_same_run(tmp_path / "run", unbroken)


def test_killed_before_the_folder_is_complete(config, unbroken, tmp_path, said, monkeypatch):
    with monkeypatch.context() as patch:
        killed_at_call(patch, Path, "mkdir", 2)  # after config.yaml, before checkpoints/
        with pytest.raises(Killed):
            train(config, tmp_path / "run", console=said)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", LOCK}
    train(config, tmp_path / "run", resume=True, console=said)
    assert_same_run(tmp_path / "run", unbroken)


def test_killed_while_the_first_file_is_written(no_steps, tmp_path, said):
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.yaml.1234.tmp").write_text("half of i")
    (run / LOCK).touch()
    assert train(no_steps, run, console=said).step == 1
    assert {path.name for path in run.glob(".*")} == {LOCK}


# ---------------------------------------------------------------------- two at once


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(run_lock, "PATIENCE_SECONDS", 0.2)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("impatient")
def test_a_run_that_another_process_trains_is_left_to_it(config, unbroken, tmp_path, said):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    before = contents(run)
    with process_lock(run / LOCK):
        with pytest.raises(InputError, match="another process is training in this folder") as caught:
            train(replace(config, steps=12), run, resume=True, console=said)
        assert Path(caught.value.where) == run
        assert contents(run) == before
    assert f"another process is training in {run}: waiting" in said.file.getvalue()
    assert train(replace(config, steps=12), run, resume=True, console=said).step == 12


def test_a_training_that_ends_soon_is_waited_for(config, unbroken, tmp_path, said):
    """Like the loader processes of one that was killed."""
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    script = (
        "import sys, time; from pathlib import Path; from sceneparse.lock import process_lock\n"
        "with process_lock(Path(sys.argv[1])): print(flush=True); time.sleep(1)"
    )
    command = [sys.executable, "-c", script, str(run / LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert train(replace(config, steps=11), run, resume=True, console=said).step == 11
    assert "waiting" in said.file.getvalue()


def test_a_run_folder_that_cannot_be_written_to(config, unbroken, tmp_path, said):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    (run / LOCK).unlink()
    (run / LOCK).mkdir()  # root may write everywhere
    with pytest.raises(InputError, match="the run folder cannot be written to"):
        train(config, run, resume=True, console=said)


@pytest.mark.usefixtures("impatient")
def test_two_new_runs_in_one_folder(no_steps, tmp_path, said, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    with process_lock(run / LOCK), pytest.raises(InputError, match="another process is training"):
        train(no_steps, run, console=said)
    assert [path.name for path in run.iterdir()] == [LOCK]

    def meanwhile(*arguments, make=loop_module.Loop):
        no_steps.write(run / "config.yaml")
        return make(*arguments)

    monkeypatch.setattr(loop_module, "Loop", meanwhile)
    with pytest.raises(InputError, match="there is a run in this folder already"):
        train(no_steps, run, console=said)


# ---------------------------------------------------------------------- what may change


def test_more_steps(config, unbroken, tmp_path, said):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    result = train(replace(config, steps=12, eval_every=0), run, resume=True, console=said)
    assert result.step == 12
    assert read_config(run / "config.yaml").steps == 12
    assert [row[0] for row in table(run / "metrics.csv")] == ["step", "4", "8", "10", "12"]
    assert [int(row[0]) for row in table(run / "losses.csv")[1:]] == list(range(1, 13))
    facts = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    (resumed,) = facts["resumed"]
    assert resumed["threads"] == facts["threads"]
    assert set(resumed["git"] or {}) == set(facts["git"] or {})  # somebody may commit in between


def test_fewer_steps_than_done(config, unbroken, tmp_path, said):
    shutil.copytree(unbroken, tmp_path / "run")
    with pytest.raises(InputError, match="has done 10 steps already"):
        train(replace(config, steps=9), tmp_path / "run", resume=True, console=said)


def test_a_finished_run_is_left_as_it_is(config, unbroken, tmp_path, said):
    shutil.copytree(unbroken, tmp_path / "run")
    result = train(config, tmp_path / "run", resume=True, console=said)
    assert (result.step, result.stopped_by) == (10, None)
    assert_same_run(tmp_path / "run", unbroken)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("seed", "4"),
        ("batch_size", "3"),
        ("model.name", "fcn8s-test_resnet"),
        ("optimizer.name", "sgd"),
        ("augmentation.crop", "[8, 8]"),
    ],
)
def test_other_settings_are_refused(config, unbroken, said, setting, value):
    with pytest.raises(InputError, match=f"goes on with the run as it is: {setting} was .* is now"):
        train(override(config, {setting: value}), unbroken, resume=True, console=said)


def test_a_config_file_changed_by_hand_is_noticed(config, unbroken, tmp_path, said):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    changed = override(config, {"seed": "5"})
    changed.write(run / "config.yaml")
    with pytest.raises(InputError, match="seed was 3, is now 5"):
        train(changed, run, resume=True, console=said)


def test_a_batch_may_be_cut_into_parts(no_steps, tmp_path, said):
    """The way out of a full memory: the same pictures a step."""
    large = replace(no_steps, batch_size=4)
    train(large, tmp_path / "run", console=said)
    smaller = replace(large, batch_size=2, accumulate=2, steps=2)
    assert train(smaller, tmp_path / "run", resume=True, console=said).step == 2


def test_changed_data_is_refused(config, tmp_path, said):
    data, run = draw_data(tmp_path / "data"), tmp_path / "run"
    here = override(config, {"data.path": str(data), "steps": "1", "samples": "0"})
    train(here, run, console=said)
    image = data / "images" / "train" / "s0.png"
    image.write_bytes((data / "images" / "train" / "s1.png").read_bytes())
    with pytest.raises(InputError, match="the train images or masks have changed"):
        train(replace(here, steps=2), run, resume=True, console=said)


def test_what_the_run_started_from_need_not_be_there_any_more(config, unbroken, tmp_path, said):
    first, run = tmp_path / "first", tmp_path / "run"
    shutil.copytree(unbroken, first)
    here = override(config, {"model.init": str(first), "steps": "1", "samples": "0"})
    train(here, run, console=said)
    shutil.rmtree(first)
    assert train(replace(here, steps=2), run, resume=True, console=said).step == 2


def test_no_run_to_resume(config, tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        train(config, tmp_path / "run", resume=True)


def test_a_damaged_checkpoint_can_be_replaced_by_the_best(config, unbroken, tmp_path, said):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    last, best = (run / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"copy best.ckpt over last.ckpt"):
        train(config, run, resume=True, console=said)
    shutil.copy(best, last)
    train(config, run, resume=True, console=said)
    assert_same_run(run, unbroken)


def test_another_number_of_threads_is_said(config, unbroken, tmp_path, said):
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    facts = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    (run / "environment.json").write_text(json.dumps(facts | {"threads": 99}), encoding="utf-8")
    train(config, run, resume=True, console=said)
    assert "this run began elsewhere (then / now: threads 99 /" in said.file.getvalue()


def test_tensorboard_shows_each_step_once_after_a_kill(config, tmp_path, said, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        killed_at_call(patch, Learner, "step", 7)
        with pytest.raises(Killed):
            train(config, run, console=said)
    train(config, run, resume=True, console=said)
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 11))


# ---------------------------------------------------------------------- the real thing, from outside


def command(config, run, *more):
    settings = {
        "data.resize": config.data.resize,
        "data.cache": config.data.cache,
        "model.options.upsampling": config.model.options.upsampling,
        "model.options.dropout": config.model.options.dropout,
        "optimizer.name": config.optimizer.name,
        "optimizer.weight_decay": config.optimizer.weight_decay,
        "optimizer.schedule": config.optimizer.schedule,
        "optimizer.warmup": config.optimizer.warmup,
        "optimizer.clip_norm": config.optimizer.clip_norm,
        "optimizer.ema": config.optimizer.ema,
        "eval_every": config.eval_every,
        "samples": config.samples,
        "checkpoint_minutes": config.checkpoint_minutes,
    }
    height, width = config.augmentation.crop
    new = [
        *("--model", config.model.name, "--size", f"{height},{width}", "--lr", str(config.optimizer.lr)),
        *("--batch-size", str(config.batch_size), "--steps", str(config.steps), "--seed", str(config.seed)),
        *("--device", "cpu", "--deterministic"),
        *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
    ]
    start = [sys.executable, "-m", "sceneparse", "train", config.data.path, "--out", str(run)]
    return [*start, *(more or new)]


def started(config, run, *more, workers=0):
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONUNBUFFERED": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    line = [*command(config, run, *more), "--workers", str(workers)]
    return subprocess.Popen(line, env=environment, text=True, start_new_session=True, **pipes)


def wait_for(process, happened, *, seconds=300):
    ends = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(0.003)  # a save takes longer than that


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_sigterm_to_the_whole_group_as_timeout_and_schedulers_send_it(config, tmp_path):
    long = replace(config, steps=100_000, eval_every=100_000, samples=0, checkpoint_minutes=0.0)
    run = tmp_path / "run"
    process = started(long, run, workers=2)
    wait_for(process, (run / "checkpoints" / "last.ckpt").is_file)
    os.killpg(process.pid, signal.SIGTERM)  # reaches the workers too
    said = "".join(process.communicate(timeout=120))
    assert process.returncode == 143, said
    assert "stopped at step" in said
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):  # nobody is left
        os.killpg(process.pid, 0)


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_ctrl_c_then_kill_9_in_a_save(config, tmp_path):
    saving = replace(config, steps=14, eval_every=7, samples=0, checkpoint_minutes=0.0)  # at every step
    run, whole = tmp_path / "run", tmp_path / "whole"
    checkpoints = run / "checkpoints"

    process = started(saving, run)
    wait_for(process, (checkpoints / "last.ckpt").is_file)
    process.send_signal(signal.SIGINT)
    said = "".join(process.communicate(timeout=300))
    assert process.returncode == 130, said
    assert "stopped at step" in said
    assert f"sceneparse train {config.data.path} --out {run} --resume" in said
    assert "Traceback" not in said

    process = started(saving, run, "--resume")
    wait_for(
        process, lambda: any(name.endswith(".tmp") for name in os.listdir(checkpoints))
    )  # half a checkpoint is on the disk
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    assert main(command(saving, run, "--resume")[3:]) == 0
    train(read_config(run / "config.yaml"), whole)
    assert_same_run(run, whole)


def test_sigterm_ends_the_command_with_143(config, tmp_path, monkeypatch, capsys):
    step_of = Learner.step

    def signalled(self, parts, step):
        os.kill(os.getpid(), signal.SIGTERM)
        return step_of(self, parts, step)

    monkeypatch.setattr(Learner, "step", signalled)
    assert main(command(config, tmp_path / "run")[3:]) == 143
    said = "".join(capsys.readouterr())
    assert "stopped at step 1 of 10" in said
    assert "--resume" in said


def test_a_full_disk_during_a_save(config, unbroken, tmp_path, monkeypatch, capsys):
    """The system refuses to let the file grow past 1 MB, in the middle of the checkpoint."""
    resource = pytest.importorskip("resource", reason="no limits on the size of files on this system")
    run = tmp_path / "run"
    shutil.copytree(unbroken, run)
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    assert len(before) > 1_000_000
    small = (10**6, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    save = loop_module.save_checkpoint

    def save_on_a_full_disk(*arguments, **named):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, small)
        try:
            save(*arguments, **named)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(loop_module, "save_checkpoint", save_on_a_full_disk)
    assert main(command(config, run, "--resume", "--steps", "20")[3:]) == 2
    said = capsys.readouterr().err
    assert said.count("error: cannot save: File too large") == 1, said
    assert "what was saved before is intact" in said
    assert "add --resume" in said
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before
    assert load_checkpoint(run / "checkpoints" / "last.ckpt").progress.step == 10
    assert not list(run.rglob(".*.tmp"))
