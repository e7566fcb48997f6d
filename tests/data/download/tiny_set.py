"""A data set of 0.7 MB, and what the tests of downloading do with it."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bad_server import BadServer, Manner
from rich.console import Console

from sceneparse.data.download import KnownSet
from sceneparse.data.download.fetch import Patience
from sceneparse.data.download.obtain import obtain
from sceneparse.errors import InputError

QUICK = Patience(timeout_seconds=0.4, tries=4, wait_seconds=0.001)
KB = 1000


def tiny_files() -> dict[str, bytes]:
    rng = np.random.default_rng(5)
    images = {f"Tiny/images/{i}.jpg": rng.bytes(150 * KB) for i in range(4)}
    masks = {f"Tiny/masks/{i}.png": rng.bytes(20 * KB) for i in range(4)}
    return images | masks | {"Tiny/names.txt": b"a\n" * 9}


def zip_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return packed.getvalue()


FILES = tiny_files()
ZIP = zip_of(FILES)


def known_set(url: str, data: bytes = ZIP) -> KnownSet:
    return KnownSet(
        title="A tiny set",
        url=url,
        sha1=hashlib.sha1(data).hexdigest(),
        archive_bytes=len(data),
        folder="Tiny",
        files={"images/*.jpg": 4, "masks/*.png": 4},
        terms="none",
    )


def get(server: BadServer, folder: Path, *manners: Manner, **options: object) -> str:
    """Download with these manners, check what arrived, and return what was said."""
    server.manners = list(manners) or [Manner()]
    told = io.StringIO()
    console = Console(file=told, width=500)
    options = {"patience": QUICK} | options
    found = obtain(known_set(server.url), folder, console=console, **options)  # type: ignore[arg-type]
    assert found == folder / "Tiny"
    require_whole(folder)
    return told.getvalue()


def require_whole(folder: Path) -> None:
    """The same bytes as went into the zip file, and nothing beside them but a zip file that was kept."""
    there = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in (folder / "Tiny").rglob("*")
        if path.is_file()
    }
    assert there == FILES
    assert {path.name for path in folder.iterdir()} - {"Tiny.zip"} == {"Tiny"}


def refused(server: BadServer, folder: Path, *manners: Manner, **options: object) -> InputError:
    """The error, which names address, place and what to do by hand."""
    with pytest.raises(InputError) as caught:
        get(server, folder, *manners, **options)
    error = caught.value
    assert server.url in str(error.where)
    assert str(folder / "Tiny.zip.part") in str(error.where)
    assert f"put the file at {folder / 'Tiny.zip'}" in str(error.fix)
    assert not (folder / "Tiny").exists()
    return error


def part_of(folder: Path) -> bytes:
    part = folder / "Tiny.zip.part"
    return part.read_bytes() if part.exists() else b""
