"""Checkpoints come back as they were, run no code, and are refused where they are not ours."""

import pickle

import pytest
import torch

from sceneparse.errors import InputError
from sceneparse.training.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint


def checkpoint(step=3):
    rows = [{"step": 2, "mean_iou": 0.1 + 0.2, "val_loss": float("nan")}]
    weight = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    return Checkpoint(
        config={"steps": 5, "data": {"path": "größe"}},
        progress=Progress(step=step, history=rows, best_iou=0.3, best_step=2, loss_sum=1 / 3, loss_count=1),
        model={"weight": weight},
        average=None,
        optimizer={"state": {0: {"exp_avg": weight + 1}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        scaler={},
        normalization={"mean": [1.0, 2.0, 3.0]},
    )


def test_round_trip(tmp_path):
    saved = checkpoint()
    save_checkpoint(tmp_path / "best.ckpt", saved, also=tmp_path / "last.ckpt")
    for name in ("best.ckpt", "last.ckpt"):
        loaded = load_checkpoint(tmp_path / name)
        assert repr(loaded.progress) == repr(saved.progress)  # nan is not equal to itself
        assert torch.equal(loaded.model["weight"], saved.model["weight"])
        assert loaded.model["weight"].stride() == saved.model["weight"].stride()
        assert torch.equal(loaded.optimizer["state"][0]["exp_avg"], saved.optimizer["state"][0]["exp_avg"])
        assert loaded.config == saved.config


def test_the_file_can_be_replaced_while_its_tensors_are_in_use(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, checkpoint(step=1))
    loaded = load_checkpoint(path)
    wanted = loaded.model["weight"].clone()
    size = path.stat().st_size
    path.write_bytes(bytes(size))  # a memory map would see this
    assert torch.equal(loaded.model["weight"], wanted)


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_the_file_is_not_run(tmp_path, write):
    path, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    write({"version": 1, "model": Payload(trace)}, path)
    with pytest.raises(InputError, match="cannot be read") as caught:
        load_checkpoint(path)
    assert not trace.exists()
    assert "weights_only" not in str(caught.value)  # torch's advice is to run the code


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_file(tmp_path, keep):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, checkpoint())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(path)


@pytest.mark.parametrize("values", [{"state_dict": {}}, [1, 2], {"version": 99}, {"version": 1}])
def test_a_file_of_another_program(tmp_path, values):
    path = tmp_path / "last.ckpt"
    torch.save(values, path)
    with pytest.raises(InputError, match="not of version"):
        load_checkpoint(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="no checkpoint"):
        load_checkpoint(tmp_path / "last.ckpt")
