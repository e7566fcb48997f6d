"""From a name to a folder: what is said, what is left alone, zip files at hand, kills, the command line."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bad_server import BadServer, Manner
from rich.console import Console
from tiny_set import KB, QUICK, ZIP, get, known_set, part_of, require_whole

from sceneparse.cli import main
from sceneparse.data.download import KNOWN_SETS, download
from sceneparse.data.download.obtain import obtain
from sceneparse.errors import InputError


def test_the_table():
    known = KNOWN_SETS["ade20k"]
    assert known.archive_name == "ADEChallengeData2016.zip"
    assert known.url.endswith("/" + known.archive_name)
    assert len(known.sha1) == 40
    assert sum(known.files.values()) == 2 * (20210 + 2000)


def test_says_first_what_will_happen(server, tmp_path):
    said = get(server, tmp_path / "new" / "folder").splitlines()
    assert said[0] == "A tiny set"
    assert said[1] == f"  from:  {server.url}"
    assert said[2] == f"  size:  {len(ZIP) / 1000:.1f} kB"
    assert said[3].startswith(f"  to:    {tmp_path / 'new' / 'folder' / 'Tiny'} (takes 1.5 MB on the way, ")
    assert said[4] == "  terms: none"
    assert said[-1] == f"{tmp_path / 'new' / 'folder' / 'Tiny'} is complete: 4 images/*.jpg, 4 masks/*.png"
    assert server.starts() == [0]


def test_nothing_is_written_before_it_is_said(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(InputError, match=r"not enough space: 1\.5 MB needed, 1\.0 MB free"):
        get(server, tmp_path)
    assert part_of(tmp_path) == b""
    assert not (tmp_path / "Tiny").exists()


def test_second_time_does_nothing(server, tmp_path):
    get(server, tmp_path)
    before = (tmp_path / "Tiny").stat().st_mtime_ns
    said = get(server, tmp_path)
    assert len(server.asked) == 1, "no network"
    assert said.count("\n") == 1
    assert (tmp_path / "Tiny").stat().st_mtime_ns == before
    # Named itself, instead of the folder above.
    assert obtain(known_set(server.url), tmp_path / "Tiny") == tmp_path / "Tiny"
    assert not (tmp_path / "Tiny" / "Tiny").exists()


def test_what_is_there_and_not_whole_is_left_alone(server, tmp_path):
    get(server, tmp_path)
    (tmp_path / "Tiny" / "masks" / "2.png").unlink()
    with pytest.raises(InputError, match=r"not whole: 3 of 4 masks/\*\.png"):
        get(server, tmp_path)
    assert len(server.asked) == 1
    assert len(list((tmp_path / "Tiny").rglob("*.jpg"))) == 4
    shutil.rmtree(tmp_path / "Tiny")
    (tmp_path / "Tiny").write_text("a file")
    with pytest.raises(InputError, match="not whole: 0 of 4"):
        get(server, tmp_path)
    assert (tmp_path / "Tiny").read_text() == "a file"


@pytest.mark.parametrize(
    "url", ["ftp://a/b.zip", "http+x://a", "", "file://server/share/b.zip", "http://[::1", "ssh://a"]
)
def test_addresses_of_no_kind(url, tmp_path):
    with pytest.raises(InputError, match=r"is no address of a zip file|not valid"):
        obtain(known_set("http://127.0.0.1:9/"), tmp_path, url=url, patience=QUICK)


@pytest.mark.parametrize(
    "url",
    [
        "http://a b/c.zip",
        "http://a:port/c",
        "http://\x01/",
        "http://" + "a" * 70 + "/",
        "http:///c.zip",
        "http://ä/ö",
    ],
)
def test_addresses_that_are_wrong(url, tmp_path, monkeypatch):
    def nobody(host, *_, **__):
        host.encode("idna")
        raise socket.gaierror(-2, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(InputError, match="the download failed"):
        obtain(known_set("http://127.0.0.1:9/"), tmp_path, url=url, patience=QUICK)


@pytest.mark.parametrize("how", ["there", "path", "file", "keep"])
def test_a_zip_file_at_hand(how, server, tmp_path):
    """Without the network, and it stays."""
    folder, copy = tmp_path / "data", tmp_path / "a copy.zip"
    folder.mkdir()
    path = folder / "Tiny.zip" if how in ("there", "keep") else copy
    path.write_bytes(ZIP)
    url = {"path": str(copy), "file": copy.as_uri()}.get(how)
    said = get(server, folder, url=url, keep_archive=how == "keep")
    assert f"  from:  {path}\n" in said
    assert server.asked == []
    assert path.read_bytes() == ZIP


def test_keeping_the_zip_file(server, tmp_path):
    get(server, tmp_path, keep_archive=True)
    assert (tmp_path / "Tiny.zip").read_bytes() == ZIP
    shutil.rmtree(tmp_path / "Tiny")
    get(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("content", [b"", ZIP[:-1], ZIP + b"\0"])
def test_a_wrong_zip_file_at_hand(content, server, tmp_path):
    path = tmp_path / "Tiny.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"not the data set's zip file.*{len(content):,} bytes") as caught:
        get(server, tmp_path)
    assert caught.value.where == path
    assert path.read_bytes() == content
    assert server.asked == []


def test_no_zip_file_at_hand(server, tmp_path):
    for url in (tmp_path / "missing.zip", tmp_path, os.devnull):
        with pytest.raises(InputError, match="is where the zip file should be"):
            get(server, tmp_path, url=str(url))


def test_full_disk_while_unpacking(server, tmp_path, monkeypatch):
    """Named, nothing half there; the next run has the zip file already."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(InputError, match="cannot unpack: No space left on device"):
        get(server, tmp_path)
    monkeypatch.undo()
    assert part_of(tmp_path) == ZIP
    assert not list(tmp_path.glob(".*.unpacking"))
    get(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of this kind")
def test_full_disk_while_downloading(server, tmp_path):
    """A limit on the size of files stands for the disk."""
    with child(server, tmp_path, "full disk") as process:
        assert process.wait(20) == 2
    assert part_of(tmp_path) == ZIP[:400_000]
    get(server, tmp_path)
    assert server.starts() == [0, 400_000]


def test_command_line(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(KNOWN_SETS, "ade20k", known_set(server.url))
    folder = tmp_path / "my data"
    for _ in range(2):
        assert main(["download", "ade20k", "--to", str(folder)]) == 0
        said = capsys.readouterr()
        assert said.out == f"look at it next: sceneparse check '{folder / 'Tiny'}'\n"
    assert len(server.asked) == 1
    require_whole(folder)
    server.manners = [Manner(status=404)]
    assert main(["download", "ade20k", "--to", str(tmp_path / "b")]) == 2
    assert capsys.readouterr().err.startswith(
        "error: the download failed: the server answered 404 Not Found\n"
    )


def test_unknown_names():
    with pytest.raises(InputError, match=r"unknown data set 'ade20'. Did you mean 'ade20k'"):
        download("ade20", "x")


def test_python_door(server, tmp_path, monkeypatch):
    monkeypatch.setitem(KNOWN_SETS, "ade20k", known_set("http://127.0.0.1:9/"))
    assert download("ade20k", str(tmp_path), url=server.url, keep_archive=True) == tmp_path / "Tiny"
    require_whole(tmp_path)


def test_interrupted(server, tmp_path, monkeypatch, capsys):
    """Ctrl-C: what came stays, and that is said."""
    monkeypatch.setitem(KNOWN_SETS, "ade20k", known_set(server.url))

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    server.manners = [Manner(drop_after=300 * KB), Manner()]
    assert main(["download", "ade20k", "--to", str(tmp_path)]) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert "300.0 kB stay in" in said
    assert said.endswith("the same command goes on from there interrupted")
    monkeypatch.undo()
    get(server, tmp_path)
    assert server.starts() == [0, 300 * KB]


CHILD = """
import sys, time
from sceneparse.cli import main
from sceneparse.data.download import KNOWN_SETS, KnownSet, unpack
url, sha1, size, folder, fault = sys.argv[1:]
KNOWN_SETS["ade20k"] = KnownSet(title="t", url=url, sha1=sha1, archive_bytes=int(size), folder="Tiny",
    files={"images/*.jpg": 4, "masks/*.png": 4}, terms="none")
copy, calls = unpack.shutil.copyfileobj, []
def slow(*arguments):
    calls.append(1)
    if len(calls) > 3:
        print("unpacking", flush=True)
        time.sleep(30)
    copy(*arguments)
if fault == "hangs unpacking":
    unpack.shutil.copyfileobj = slow
if fault == "full disk":
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
sys.exit(main(["download", "ade20k", "--to", folder]))
"""


def child(server: BadServer, folder: Path, fault: str) -> subprocess.Popen[bytes]:
    known = known_set(server.url)
    arguments = (known.url, known.sha1, str(known.archive_bytes), str(folder), fault)
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def wait_for_part(folder: Path, size: int) -> None:
    until = time.monotonic() + 10
    while len(part_of(folder)) < size and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("came", [2 * KB, 400 * KB])
def test_killed_while_downloading(came, server, tmp_path):
    server.manners = [Manner(stall_after=came), Manner()]
    with child(server, tmp_path, "none") as process:
        wait_for_part(tmp_path, came)
        process.kill()
    assert not (tmp_path / "Tiny").exists()
    assert part_of(tmp_path) == ZIP[:came]
    told = io.StringIO()
    obtain(known_set(server.url), tmp_path, console=Console(file=told, width=300), patience=QUICK)
    require_whole(tmp_path)
    assert server.starts() == [0, came]
    assert server.sent == [came, len(ZIP) - came]
    assert f"{came / 1000:.1f} kB are here" in told.getvalue()


def test_killed_while_unpacking(server, tmp_path, monkeypatch):
    with child(server, tmp_path, "hangs unpacking") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"unpacking\n"
        assert len(list(tmp_path.glob(".Tiny.*.unpacking/Tiny/images/*"))) == 4
        process.kill()
    assert not (tmp_path / "Tiny").exists()
    little = shutil._ntuple_diskusage(10**9, 10**9, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: little)
    with pytest.raises(InputError, match="0 bytes are free"):
        get(server, tmp_path)
    assert not list(tmp_path.glob(".*.unpacking")), "gone before space is counted"
    monkeypatch.undo()
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_two_at_once(server, tmp_path):
    """The second waits for the first, and has nothing left to do."""
    server.manners = [Manner(stall_after=300 * KB), Manner()]
    with child(server, tmp_path, "none") as one:
        wait_for_part(tmp_path, 300 * KB)
        with child(server, tmp_path, "none") as other:
            assert other.stderr is not None
            assert b"another process is downloading" in other.stderr.readline()
            server.release.set()
            assert (one.wait(20), other.wait(20)) == (0, 0)
            assert b"is complete" in other.stderr.read()
    require_whole(tmp_path)
    assert len(server.asked) == 2


def test_no_torch():
    code = "import sceneparse.data.download, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
