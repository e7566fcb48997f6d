"""Two processes do what one does with the same global batch; Gloo on the processor."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from test_resume import assert_same_run, table
from torchrun import under_torchrun

from sceneparse.cli import main
from sceneparse.config import OptimizerConfig
from sceneparse.errors import InputError
from sceneparse.group import Group
from sceneparse.launch import launch
from sceneparse.models import ModelOptions
from sceneparse.training import run as run_module
from sceneparse.training.checkpoint import load_checkpoint
from sceneparse.training.devices import average_statistics
from sceneparse.training.prepared import RunResult
from sceneparse.training.run import train

QUIET = Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="session")
def pair(config):
    """Two processes, all that is random and batch norm included."""
    return replace(config, devices=2, steps=6, eval_every=3)


@pytest.fixture(scope="session")
def unbroken_pair(pair, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "pair"
    console = Console(file=io.StringIO(), width=200)
    train(pair, out, console=console)
    (out / "said.txt").write_text(console.file.getvalue(), encoding="utf-8")
    return out


def weights(run):
    state = load_checkpoint(run / "checkpoints" / "last.ckpt").model
    return torch.cat([t.flatten() for t in state.values() if t.is_floating_point()])


def test_the_steps_of_one_process_with_the_same_global_batch(config, tmp_path):
    """Without dropout and batch norm, which are each process's own. Masks of unequal weight: the loss is the
    mean over the pixels of both, not of two means.
    """
    config = replace(
        config,
        model=replace(
            config.model, name="fcn8s-test_convnext", options=ModelOptions(upsampling="learned", dropout=0.0)
        ),
        # SGD: Adam's first steps show the gradient's signs only.
        optimizer=OptimizerConfig(name="sgd", lr=0.05, clip_norm=1.0, ema=0.9),
        loss=replace(config.loss, class_weights="enet"),
        accumulate=2,
        steps=3,
        eval_every=3,
    )
    train(replace(config, batch_size=4), tmp_path / "one", console=QUIET)
    train(replace(config, batch_size=2, devices=2), tmp_path / "two", console=QUIET)
    one, two = (np.array(table(tmp_path / name / "losses.csv")[1:], float) for name in ("one", "two"))
    np.testing.assert_allclose(two, one, rtol=2e-5)
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-4, atol=2e-6)
    matrices = [
        json.loads((tmp_path / name / "evaluation.json").read_text(encoding="utf-8"))["confusion_matrix"]
        for name in ("one", "two")
    ]
    assert matrices[0] == matrices[1]
    for name in ("batch.png", "step_0000003.png"):
        assert (tmp_path / "two" / "samples" / name).is_file()
    header, row = table(tmp_path / "two" / "metrics.csv")
    assert row[header.index("images")] == "24"


def test_process_0_speaks(unbroken_pair):
    said = (unbroken_pair / "said.txt").read_text(encoding="utf-8")
    assert said.count("3 classes") == 1
    assert said.count("step 3  train loss") == 1
    assert "broadcast_buffers" not in said


def test_dropout_differs_between_processes():
    from sceneparse.training.learner import _seed

    assert len({_seed(3, step, part, rank) for step in (0, 1) for part in (0, 1) for rank in (0, 1)}) == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_is_bit_equal(pair, unbroken_pair, tmp_path, number):
    """SIGTERM comes to the parent alone, Ctrl-C to all; both processes end at the same step."""
    console = Console(file=_Signalling("step 3  train loss", number), width=200)
    before = signal.getsignal(number)
    result = train(pair, tmp_path / "run", console=console)
    assert signal.getsignal(number) is before
    progress = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").progress
    assert progress.step == result.step
    # On a busy machine the signal may come as late as in the last evaluation, which is then still to be made.
    is_done = progress.step == 6 and progress.history[-1]["step"] == 6
    assert result.stopped_by == (None if is_done else number)
    with pytest.raises(InputError, match="devices was 2, is now 1"):
        train(replace(pair, devices=1), tmp_path / "run", resume=True, console=QUIET)
    result = train(pair, tmp_path / "run", resume=True, console=QUIET)
    assert (result.step, result.stopped_by) == (6, None)
    assert_same_run(tmp_path / "run", unbroken_pair)


def tell_each_other(group, console):
    """Batch norm on the processor: running statistics of both become their mean."""
    norm = torch.nn.BatchNorm2d(3)
    norm.running_mean.fill_(group.rank)
    norm.running_var.copy_(torch.tensor([1.0, 2.0, 3.0]) * (group.rank + 1))
    average_statistics(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), norm), "cpu", group)
    assert norm.running_mean.tolist() == [0.5, 0.5, 0.5]
    assert norm.running_var.tolist() == [1.5, 3.0, 4.5]
    assert (group.highest(group.rank * 7), group.gathered(str(group.rank))) == (7, ["0", "1"])
    console.print("first")
    return RunResult(run=Path("x"), step=1, steps=1, mean_iou=0.5, best_step=1, stopped_by=None)


def test_what_processes_tell_each_other():
    console = Console(file=io.StringIO(), width=200)
    assert launch(tell_each_other, 2, console).run == Path("x")
    assert console.file.getvalue() == "first\n"


def crash(what, group, console):
    """Process 1 fails while process 0 waits for it."""
    if group.rank == 0:
        time.sleep(60)
    if what == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "wrong":
        raise InputError("no good", where="here", fix="another")
    raise ZeroDivisionError("ours")


@pytest.mark.parametrize(
    ("what", "kind", "said"),
    [
        ("killed", InputError, "process 1 of 2 was ended by signal 9"),
        ("wrong", InputError, "no good\n  where: here\n  fix:   another"),
        ("ours", RuntimeError, "process 1 of 2 failed:(.|\n)*ZeroDivisionError: ours"),
    ],
)
def test_one_failure_ends_all(what, kind, said):
    began = time.monotonic()
    with pytest.raises(kind, match=said):
        launch(partial(crash, what), 2, QUIET)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "arguments", [("--init", "none.pth"), ("--label-set", "none"), ("--batch-size", "1")]
)
def test_wrong_input_is_said_once(data, config, tmp_path, capsys, arguments):
    line = ["train", str(data), "--out", str(tmp_path / "run"), "--devices", "2", "--device", "cpu"]
    line += ["--model", config.model.name, "--set", "data.resize=none", *arguments]
    assert main([*line, "--set", f"data.cache={config.data.cache}", "--steps", "1", "--size", "32,32"]) == 2
    assert capsys.readouterr().err.count("error: ") == 1


def test_torchrun(data, config, tmp_path):
    """Nothing else is started, and process 0 alone speaks."""
    line = ["train", str(data), "--device", "cpu", "--model", config.model.name, "--size", "32,32"]
    line += ["--set", "data.resize=none", "--set", f"data.cache={config.data.cache}", "--batch-size", "2"]
    line += ["--set", "samples=0", "--steps", "2"]
    codes, said = under_torchrun(tmp_path, [*line, "--out", str(tmp_path / "run")])
    assert codes == [0, 0], said
    assert "2 steps, best mean IoU" in said[0]
    assert said[0].count("step 2  train loss") == 1
    assert said[1] == ""
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt").config["devices"] == 2
    codes, said = under_torchrun(tmp_path, [*line, "--out", str(tmp_path / "run")])
    assert codes == [2, 2]
    assert "error: there is a run in this folder already" in said[0]
    assert said[1] == ""


def test_torchrun_and_another_number(config, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "torchrun_group", lambda: Group(size=1))
    with pytest.raises(InputError, match="2 devices were asked for, and torchrun has started 1 process"):
        train(replace(config, devices=2), tmp_path / "run", console=QUIET)


def test_more_devices_than_gpus(config, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=r"3 devices were asked for and PyTorch sees 2 GPU"):
        train(replace(config, device="cuda", devices=3), tmp_path / "run", console=QUIET)
    assert not (tmp_path / "run").exists()


def test_more_devices_than_cores(config, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    with pytest.raises(InputError, match="5 devices were asked for; this machine has 4 cores"):
        train(replace(config, devices=5), tmp_path / "run", console=QUIET)


def test_one_gpu_by_number_is_not_several(config):
    with pytest.raises(InputError, match="device 'cuda:1' is one GPU, and 2 devices"):
        replace(config, device="cuda:1", devices=2)


class _Signalling(io.StringIO):
    """Sends a signal when a text is printed."""

    def __init__(self, text, number):
        super().__init__()
        self.text = text
        self.number = number

    def write(self, text):
        if self.text in text:
            children = multiprocessing.active_children() if self.number == signal.SIGINT else ()
            for process in (os.getpid(), *(child.pid for child in children)):
                os.kill(process, self.number)
        return super().write(text)
