"""Unpacking: whole or not at all, whatever the zip file holds."""

from __future__ import annotations

import io
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiny_set import FILES, ZIP, known_set, require_whole, zip_of

from sceneparse.data.download.telling import Teller
from sceneparse.data.download.unpack import unpack
from sceneparse.errors import InputError


def unpacked(data: bytes, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    archive = folder.parent / "archive.zip"
    archive.write_bytes(data)
    unpack(archive, folder, known_set("", data), teller=Teller(None))


HOSTILE_NAMES = [
    *("../out", "Tiny/../../out", "..", "/tmp/out", "Tiny//out", "Tiny/./out", "~/out", "Tiny/a\\..\\out"),
    *("C:/out", "Tiny/C:out", "Tiny/a:stream", "Tiny/nul", "Tiny/COM1.png", "Tiny/aux .png"),
    *("Tiny/a.", "Tiny/a ", "Tiny/a\x07", "Tiny/a\n", "Tiny/ä"),
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_that_lead_out(name, tmp_path):
    info = zipfile.ZipInfo("x")
    info.filename = name  # as it is, unlike the constructor
    packed = io.BytesIO(ZIP)
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr(info, b"out")
    with pytest.raises(InputError, match="which could lead out of the folder"):
        unpacked(packed.getvalue(), tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []
    assert {p.name for p in tmp_path.iterdir()} == {"archive.zip", "to"}


def with_entry(name: str, content: bytes, **facts: int) -> bytes:
    info = zipfile.ZipInfo(name)
    for fact, value in facts.items():
        setattr(info, fact, value)
    packed = io.BytesIO(ZIP)
    with zipfile.ZipFile(packed, "a") as file:
        file.writestr(info, content)
    return packed.getvalue()


def bomb() -> bytes:
    return with_entry("Tiny/bomb", bytes(50_000_000), compress_type=zipfile.ZIP_DEFLATED)


def damaged() -> bytes:
    """One bit of a picture: only its checksum can tell."""
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as file:
        for name, content in FILES.items():
            file.writestr(name, content)
    data = bytearray(stored.getvalue())
    data[data.index(FILES["Tiny/images/2.jpg"]) + 77_777] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (with_entry("Tiny/link", b"/etc", external_attr=(stat.S_IFLNK | 0o777) << 16), "a link or a device"),
        (with_entry("Tiny/pipe", b"", external_attr=(stat.S_IFIFO | 0o644) << 16), "a link or a device"),
        (with_entry("Tiny/x", bytes(99), compress_type=zipfile.ZIP_BZIP2), "packed in an unusual way"),
        (bomb(), "would become 50.7 MB"),
        (damaged(), "Bad CRC-32 for file 'Tiny/images/2.jpg'"),
        (ZIP[:-30], "it is damaged"),
        (b"", "it is damaged"),
        (ZIP[: len(ZIP) // 2], "it is damaged"),
        (zip_of({"Other/a": b"a"}), "it holds no folder Tiny"),
        (zip_of({k: v for k, v in FILES.items() if "3.png" not in k}), r"it holds 3 of 4 masks/\*.png"),
        (with_entry("Tiny/masks/0.png/a", b""), "cannot unpack: "),
    ],
)
def test_zip_files_that_are_refused(data, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        unpacked(data, tmp_path / "to")
    assert caught.value.where
    assert list((tmp_path / "to").iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice(tmp_path):
    with pytest.raises(InputError, match="File exists"):
        unpacked(with_entry("Tiny/masks/0.png", b"b"), tmp_path / "to")


@pytest.mark.parametrize(("more", "said"), [(5, "shorter than said"), (-5, "Bad CRC-32")])
def test_another_size_than_said(more, said, tmp_path):
    data = bytearray(ZIP)
    at = data.rindex(b"PK\1\2") + 24
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + more).to_bytes(4, "little")
    with pytest.raises(InputError, match=said):
        unpacked(bytes(data), tmp_path / "to")


def test_encrypted(tmp_path):
    data = bytearray(ZIP)
    at = data.rindex(b"PK\1\2")
    data[at + 8] |= 1
    with pytest.raises(InputError, match="is encrypted or packed"):
        unpacked(bytes(data), tmp_path / "to")


def test_what_lies_beside_the_folder_is_left_out(tmp_path):
    unpacked(with_entry("__MACOSX/Tiny/._a", b"x"), tmp_path / "to")
    require_whole(tmp_path / "to")


def test_damaged_anywhere(tmp_path):
    """A zip file with bytes changed at random is read or refused, whatever its checksum."""
    rng = np.random.default_rng(3)
    small = zip_of({name: content[:60] for name, content in FILES.items()})
    read = 0
    for _ in range(150):
        data = np.frombuffer(small, np.uint8).copy()
        places = rng.integers(0, len(data), rng.integers(1, 6))
        data[places] = rng.integers(0, 256, len(places))
        folder = tmp_path / "to"
        try:
            unpacked(data.tobytes(), folder)
            read += 1
        except InputError:
            assert list(folder.iterdir()) == []
        shutil.rmtree(folder)
    assert 0 < read < 75


def test_no_space(tmp_path, monkeypatch):
    little = shutil._ntuple_diskusage(10**9, 10**9, 10**5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: little)
    with pytest.raises(InputError, match=r"unpacked, it takes 716\.9 kB; 100\.0 kB are free"):
        unpacked(ZIP, tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []
