import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_run import make_run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is only looked at."""
    return make_run(tmp_path_factory.mktemp("finished") / "a")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "runs" / "a"))


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., Path]:
    return lambda name, **options: make_run(tmp_path / name, **options)
