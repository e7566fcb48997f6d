"""A file is there whole or not at all, whatever happens while it is written."""

import errno
import os

import pytest

from sceneparse import files
from sceneparse.errors import InputError
from sceneparse.files import leftovers, link_or_copy, remove_leftovers, write_atomically, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_is_utf8(tmp_path):
    write_text(tmp_path / "übung.txt", "grün\n")
    assert (tmp_path / "übung.txt").read_bytes() == "grün\n".encode()
    assert names(tmp_path) == ["übung.txt"]


def fails_with(error):
    def write(file):
        file.write(b"new")
        raise error

    return write


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt()])
def test_an_error_on_the_way_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(type(error)):
        write_atomically(path, fails_with(error))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EROFS])
def test_a_refusing_disk_is_said_once_and_leaves_the_old_file(tmp_path, number):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(InputError, match="what was saved before is intact") as caught:
        write_atomically(path, fails_with(OSError(number, os.strerror(number))))
    assert os.strerror(number) in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_a_refusal_behind_another_error_is_found(tmp_path):
    error = RuntimeError("writer failed")
    error.__context__ = OSError(errno.ENOSPC, "full")
    with pytest.raises(InputError, match="cannot save"):
        write_atomically(tmp_path / "file", fails_with(error))


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(InputError, match="cannot save"):
        write_text(tmp_path / "gone" / "file", "x")


def test_a_missing_file_of_somebody_else_is_not_a_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "file", lambda _: (tmp_path / "other").read_text())


def test_link_is_the_same_file_and_replaces(tmp_path):
    source, name = tmp_path / "source", tmp_path / "name"
    write_text(source, "new")
    write_text(name, "old")
    link_or_copy(source, name)
    assert name.read_text() == "new"
    assert os.path.samefile(source, name)
    write_text(source, "newer")  # replaces the name, not the contents
    assert name.read_text() == "new"
    assert names(tmp_path) == ["name", "source"]


def test_copy_where_there_are_no_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(files.os, "link", no_links)
    source, name = tmp_path / "source", tmp_path / "name"
    write_text(source, "new")
    link_or_copy(source, name)
    assert name.read_text() == "new"
    assert not os.path.samefile(source, name)


def test_leftovers_go_and_nothing_else(tmp_path):
    for name in (".a.ckpt.123.tmp", "a.ckpt", "b.tmp", ".hidden"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in leftovers(tmp_path)] == [".a.ckpt.123.tmp"]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".hidden", "a.ckpt", "b.tmp"]


def test_windows_waits_for_a_file_that_is_open_elsewhere(tmp_path, monkeypatch):
    replace, attempts = os.replace, []

    def busy_twice(source, target):
        attempts.append(target)
        if len(attempts) < 3:
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(files.sys, "platform", "win32")
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    monkeypatch.setattr(files.os, "replace", busy_twice)
    write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").read_text() == "x"
    assert len(attempts) == 3
