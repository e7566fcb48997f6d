"""The compiled kernels: made once, shared, replaced when anything changes, and never a reason to fail."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from sceneparse.kernels import compiler
from sceneparse.kernels.compiler import kernels

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is compiled on this system")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache; what the process has loaded before and after is left alone."""
    monkeypatch.setenv("SCENEPARSE_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, "FLAGS", ("-std=gnu11", "-O0", "-shared", "-fPIC"))  # seconds faster
    kernels.cache_clear()
    yield tmp_path / "kernels"
    kernels.cache_clear()


@pytest.fixture
def needs_compiler():
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("no C compiler on this machine")


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("needs_compiler")
def test_compiled_once_and_found_again(folder, monkeypatch):
    assert kernels().library is not None
    assert kernels().said.startswith("compiled by /")
    (made,) = folder.iterdir()
    assert not stat.S_IMODE(made.stat().st_mode) & 0o022
    kernels.cache_clear()
    monkeypatch.setattr(compiler, "_compile", lambda *_: pytest.fail("compiled again"))
    assert kernels().library is not None


@pytest.mark.usefixtures("needs_compiler")
def test_other_source_is_another_file(folder, tmp_path, monkeypatch):
    assert kernels().library is not None
    other = tmp_path / "bilinear.h"
    other.write_text(compiler.HEADERS[0].read_text() + "\n")
    monkeypatch.setattr(compiler, "HEADERS", (other, *compiler.HEADERS[1:]))
    kernels.cache_clear()
    assert kernels().library is not None
    assert len(list(folder.iterdir())) == 2


def test_without_a_compiler(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CC", raising=False)
    assert kernels() == (None, "PyTorch (no C compiler found)")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 1", "does not compile"),
        ('for a; do last=$prev; prev=$a; done; echo no library > "$last"', "does not work on this machine"),
        ("exit 0", "does not work on this machine"),
    ],
    ids=["fails", "makes no library", "makes nothing"],
)
def test_a_compiler_that_does_not_do_its_work(folder, tmp_path, monkeypatch, body, said):
    monkeypatch.setenv("CC", script(tmp_path / "badcc", body))
    found = kernels()
    assert found.library is None
    assert said in found.said
    assert str(tmp_path / "badcc") in found.said
    assert not list(folder.iterdir())


def test_a_compiler_that_hangs(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CC", script(tmp_path / "slowcc", "exec sleep 60"))
    monkeypatch.setattr(compiler, "SECONDS", 0.1)
    assert "took longer than 0.1 s" in kernels().said


@pytest.mark.usefixtures("needs_compiler")
def test_code_that_crashes_is_not_kept(folder, tmp_path, monkeypatch):
    crashing = tmp_path / "crash.c"
    crashing.write_text("int sceneparse_self_test(void) { return *(volatile int *)0; }\n")
    monkeypatch.setattr(compiler, "SOURCES", (crashing,))
    assert "does not work on this machine" in kernels().said
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("needs_compiler")
def test_a_library_others_can_write_is_not_loaded(folder):
    assert kernels().library is not None
    (made,) = folder.iterdir()
    made.chmod(0o777)
    kernels.cache_clear()
    assert "another user" in kernels().said


@pytest.mark.usefixtures("needs_compiler")
def test_a_damaged_library_is_made_again(folder):
    assert kernels().library is not None
    (made,) = folder.iterdir()
    whole = made.read_bytes()
    made.unlink()  # this process has it loaded: cutting the file itself would kill it
    made.write_bytes(whole[: len(whole) // 2])
    kernels.cache_clear()
    assert kernels().library is not None
    assert made.read_bytes() == whole


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCENEPARSE_CACHE", str(tmp_path / "file"))
    kernels.cache_clear()
    try:
        assert kernels().library is None
    finally:
        kernels.cache_clear()


@pytest.mark.usefixtures("needs_compiler")
def test_two_processes_at_once(folder):
    code = "from sceneparse.kernels.compiler import kernels; assert kernels().library, kernels().said"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(list(folder.iterdir())) == 1


@pytest.mark.usefixtures("needs_compiler")
@pytest.mark.parametrize("lanes", ["4", "16"])
def test_other_vector_widths_give_the_same_loss(folder, lanes, monkeypatch):
    """As on processors with longer and shorter registers."""
    import torch
    import torch.nn.functional as F

    from sceneparse.training.loss import upsampled_cross_entropy

    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, f"-DLANES={lanes}"))
    assert kernels().library is not None
    logits = torch.randn(2, 21, 5, 7, generator=torch.Generator().manual_seed(0)) * 9
    labels = torch.randint(0, 21, (2, 40, 53), generator=torch.Generator().manual_seed(1))
    logits.requires_grad_()
    found = upsampled_cross_entropy(logits, labels)
    wanted = F.cross_entropy(F.interpolate(logits, (40, 53), mode="bilinear"), labels)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    (found,), (wanted,) = torch.autograd.grad(found, logits), torch.autograd.grad(wanted, logits)
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
