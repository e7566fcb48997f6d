"""--batch-size auto: the largest batch that fits, with memory that is pretended."""

from dataclasses import replace

import pytest
import torch

from sceneparse.cli import parse
from sceneparse.config import read_config
from sceneparse.data.dataset import open_dataset
from sceneparse.errors import InputError
from sceneparse.memory import keep_freed_memory
from sceneparse.training import batch_size, outputs
from sceneparse.training.batch_size import by_growth, by_trial, fitting_batch_size
from sceneparse.training.run import train

GIB = 2**30


class Gpu:
    """Holds ``fixed + each * n`` bytes; full above ``size`` samples."""

    def __init__(self, *, each=0, fixed=0, size=1 << 30):
        self.each, self.fixed, self.size, self.tried = each, fixed, size, []

    def __call__(self, samples):
        self.tried.append(samples)
        if samples > self.size:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.fixed + self.each * samples


def test_gpu_grows_until_memory_is_full():
    gpu = Gpu(size=11)
    assert by_trial(gpu, start=1, most=1000, budget=GIB).batch_size == 8
    assert gpu.tried == [1, 2, 4, 8, 16]


def test_gpu_stays_below_its_share():
    choice = by_trial(Gpu(each=GIB, fixed=GIB), start=1, most=1000, budget=6 * GIB)
    assert choice.batch_size == 4
    assert choice.why == "4 take 5.0 GiB; 8 take 9.0 of 6.0 GiB"


def test_gpu_takes_no_more_than_there_are():
    gpu = Gpu()
    assert by_trial(gpu, start=1, most=5, budget=GIB).batch_size == 4
    assert gpu.tried == [1, 2, 4]


def test_nothing_fits():
    for full in (Gpu(size=0), Gpu(each=2 * GIB)):
        with pytest.raises(InputError, match=r"not even a batch of 1 fits in the 1.0 GiB") as caught:
            by_trial(full, start=1, most=10, budget=GIB)
        assert "smaller --size" in str(caught.value)
    with pytest.raises(InputError, match="not even a batch of 1"):
        by_growth(Gpu(each=2 * GIB), start=1, most=10, budget=GIB)


def test_other_errors_are_not_taken_for_a_full_memory():
    def broken(samples):
        raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes"):
        by_trial(broken, start=1, most=10, budget=GIB)


@pytest.mark.parametrize(("budget", "expected"), [(3, 2), (4.9, 2), (5, 4), (8.9, 4), (9, 8), (100, 32)])
def test_processor_reckons_from_two_steps(budget, expected):
    cpu = Gpu(each=GIB, fixed=GIB)
    assert by_growth(cpu, start=1, most=32, budget=int(budget * GIB)).batch_size == expected
    assert cpu.tried == [1, 2]


def test_real_steps_hold_more_with_more_samples(config, monkeypatch):
    """At 256 x 256 a sample of the small network takes megabytes; what was freed before does not count."""
    keep_freed_memory()
    torch.ones(1 << 28)  # a GiB
    labels = open_dataset(config.data.path).labels
    large = replace(config, augmentation=replace(config.augmentation, crop=(256, 256)))
    step = batch_size._Step(large, labels)
    one, four = step.peak_on_cpu(1), step.peak_on_cpu(4)
    assert four - one > 3 * 256 * 256 * 4 * 8, "at the least eight maps of the size of the picture"
    monkeypatch.setattr(batch_size, "memory_bytes", lambda: 1 << 50)
    assert fitting_batch_size(large, labels, samples=100).batch_size == 32
    monkeypatch.setattr(batch_size, "memory_bytes", lambda: one)
    with pytest.raises(InputError, match="not even a batch of 1"):
        fitting_batch_size(large, labels, samples=100)
    monkeypatch.setattr(batch_size, "memory_bytes", lambda: None)
    with pytest.raises(InputError, match="give --batch-size a number"):
        fitting_batch_size(large, labels, samples=100)


def test_one_cell_of_the_coarsest_stride_needs_two_samples(config):
    """Batch norm has nothing to average over in a batch of one."""
    labels = open_dataset(config.data.path).labels
    small = replace(config, augmentation=replace(config.augmentation, crop=(32, 32), early=0.0))
    assert fitting_batch_size(small, labels, samples=6).batch_size == 4


def test_the_run_keeps_the_number(no_steps, tmp_path, said, monkeypatch):
    """It is in config.yaml, the length follows from it, and resuming does not measure again."""
    monkeypatch.setattr(outputs, "write_curves", lambda run: None)
    monkeypatch.setattr(batch_size, "memory_bytes", lambda: 1 << 50)
    run, auto = tmp_path / "run", replace(no_steps, batch_size=0, steps=0, epochs=1)
    train(auto, run, console=said)
    kept = read_config(run / "config.yaml")
    assert (kept.batch_size, kept.steps) == (8, 1), "eight training images"
    assert "--batch-size auto: 8 (a sample takes" in said.file.getvalue()
    monkeypatch.delattr(batch_size, "fitting_batch_size")
    assert train(replace(auto, steps=2, epochs=None), run, resume=True, console=said).step == 2
    assert read_config(run / "config.yaml").batch_size == 8


def test_a_folder_in_use_is_refused_before_anything_is_measured(no_steps, tmp_path, said):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="not empty"):
        train(replace(no_steps, batch_size=0), tmp_path, console=said)
    assert not said.file.getvalue()


def test_command_line():
    options = ["train", "data", "--out", "run", "--batch-size"]
    assert parse([*options, "auto"]).batch_size == 0
    assert parse([*options, "3"]).batch_size == 3
    for wrong in ("0", "-1", "many"):
        with pytest.raises(InputError, match=f"'{wrong}' is neither auto nor a number of images"):
            parse([*options, wrong])
