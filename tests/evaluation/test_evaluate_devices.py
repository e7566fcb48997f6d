"""evaluate() by several threads and processes: the numbers and files of one."""

from __future__ import annotations

import filecmp
import io
import json
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console
from test_evaluate import Perfect, rgb, tiny
from torchrun import under_torchrun

import sceneparse
from sceneparse.cli import main
from sceneparse.data.dataset import open_dataset
from sceneparse.errors import InputError
from sceneparse.evaluation.evaluate import ROUND, evaluate
from sceneparse.launch import launch


@pytest.fixture(scope="module")
def one(scene_run, scene_data, tmp_path_factory):
    """What one process on one thread says and writes."""
    folder = tmp_path_factory.mktemp("one")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    numbers = sceneparse.evaluate(scene_run, scene_data, device="cpu", out=folder)
    torch.set_num_threads(before)
    return numbers, folder


def assert_same_files(folder, expected):
    names = sorted(str(p.relative_to(expected)) for p in expected.rglob("*") if p.is_file())
    assert len(names) > 4
    assert names == sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    equal, *_ = filecmp.cmpfiles(expected, folder, names, shallow=False)
    assert sorted(equal) == names


@pytest.mark.parametrize("threads", [2, 3])
def test_threads(one, scene_run, scene_data, tmp_path, threads):
    numbers, folder = one
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert sceneparse.evaluate(scene_run, scene_data, device="cpu", out=tmp_path) == numbers
    finally:
        torch.set_num_threads(before)
    assert_same_files(tmp_path, folder)


def test_two_processes(one, scene_run, scene_data, tmp_path, capfd):
    numbers, folder = one
    line = ["evaluate", str(scene_run), str(scene_data), "--device", "cpu", "--devices", "2"]
    assert main([*line, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "numbers.json")]) == 0
    assert json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8")) == numbers
    assert_same_files(tmp_path / "out", folder)
    assert capfd.readouterr().out.count("as fractions: ") == 1


def test_torchrun(one, scene_run, scene_data, tmp_path):
    numbers, folder = one
    line = ["evaluate", str(scene_run), str(scene_data), "--device", "cpu"]
    codes, said = under_torchrun(
        tmp_path, [*line, "--out", str(tmp_path / "out"), "--json", str(tmp_path / "numbers.json")]
    )
    assert codes == [0, 0], said
    assert "as fractions: " in said[0]
    assert said[1] == ""
    assert json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8")) == numbers
    assert_same_files(tmp_path / "out", folder)
    codes, said = under_torchrun(tmp_path, [*line, "--label-set", "none"])
    assert codes == [2, 2]
    assert said[0].count("error: ") == 1
    assert said[1] == ""


PICTURES = ROUND + 7


def wrong_pictures(root):
    """A round and a bit for each of two processes; three masks hold numbers that are no class."""
    rng = np.random.default_rng(0)
    guesses = {f"{n:03}": rng.integers(0, 2, (2, 3)) for n in range(2 * PICTURES)}
    truths = {name: rng.integers(0, 2, (2, 3)) for name in guesses}
    for number, name in enumerate(("019", "020", f"{2 * PICTURES - 1:03}")):
        truths[name][0, 0] = 200 + number
    tiny(root, {0: "a", 1: "b"}, {name: rgb(guess) for name, guess in guesses.items()}, truths)


class Disk:
    """Where label files go, until it is full."""

    def __init__(self, pictures):
        self.left = pictures

    def __call__(self, stem, index):
        self.left -= 1
        if self.left < 0:
            raise InputError("the disk is full", where=stem)


def perfect(root, skip_bad, pictures, group, console):
    dataset = open_dataset(root)
    return evaluate(
        Perfect(dataset.labels),
        dataset,
        skip_bad=skip_bad,
        console=console,
        each=Disk(pictures),
        group=group,
    )


def by(devices, work):
    console = Console(file=io.StringIO(), width=200)
    result = launch(work, devices, console, preload=("sceneparse.api",))
    return result, console.file.getvalue()


def test_wrong_files_are_named_as_by_one_process(tmp_path):
    """Of the shares of both processes, in the order of the files, once."""
    wrong_pictures(tmp_path)
    said = []
    for devices in (1, 2):
        with pytest.raises(InputError, match="3 faults in the data") as caught:
            by(devices, partial(perfect, tmp_path, False, 1000))
        said.append(str(caught.value))
    assert said[0].index("200 (1 pixel)") < said[0].index("201 (1 pixel)") < said[0].index("202 (1 pixel)")
    assert said[0] == said[1]


def test_wrong_files_are_left_out_as_by_one_process(tmp_path):
    """Also where there are more processes than images."""
    wrong_pictures(tmp_path / "many")
    tiny(tmp_path / "few", {0: "a", 1: "b"}, {"x": rgb([[0, 1]])}, {"x": [[0, 0]]})
    for root, images, left_out in (("many", 2 * PICTURES - 3, 1), ("few", 1, 0)):
        (numbers, matrix), told = by(1, partial(perfect, tmp_path / root, True, 1000))
        assert numbers["images"] == images
        assert told.count("left out because of --skip-bad: 3 x mask values") == left_out
        (theirs, added), said = by(2, partial(perfect, tmp_path / root, True, 1000))
        assert theirs == numbers
        np.testing.assert_array_equal(added, matrix)
        assert said.count("left out") == left_out


def test_what_fails_in_one_process_ends_all(tmp_path):
    wrong_pictures(tmp_path)
    with pytest.raises(InputError, match="the disk is full"):
        by(2, partial(perfect, tmp_path, True, 3))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"devices": 0}, "devices is 0"),
        ({"devices": 2, "device": "cuda:1"}, "device 'cuda:1' is one GPU, and 2 devices"),
        ({"devices": 999, "device": "cpu"}, "999 devices were asked for; this machine has"),
    ],
)
def test_devices_that_are_not_there(scene_run, scene_data, options, said):
    with pytest.raises(InputError, match=said):
        sceneparse.evaluate(scene_run, scene_data, **options)


def test_a_predictor_is_of_one_process(scene_run, scene_data):
    predictor = sceneparse.load(scene_run, device="cpu")
    with pytest.raises(InputError, match="a Predictor is of one process"):
        sceneparse.evaluate(predictor, scene_data, devices=2)
