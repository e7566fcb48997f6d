"""A small data set, and a network trained on it through the command line, for the tests of the whole path."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_data import train_arguments, write_data


@pytest.fixture(scope="session")
def scene_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set; not to be changed."""
    return write_data(tmp_path_factory.mktemp("scene data"))


@pytest.fixture(scope="session")
def scene_run(scene_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a network trained on it at the images' own size; not to be changed."""
    from sceneparse.cli import main

    run = tmp_path_factory.mktemp("runs") / "run"
    assert main(train_arguments(scene_data, run)) == 0
    return run


@pytest.fixture(scope="session")
def resized_run(scene_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with pictures brought to a short side of 40 pixels; not to be changed."""
    from sceneparse.cli import main

    run = tmp_path_factory.mktemp("resized runs") / "run"
    more = ("--set", "data.resize=short-side", "--set", "data.short_side=40", "--size", "40,40")
    assert main(train_arguments(scene_data, run, *more)) == 0
    return run
