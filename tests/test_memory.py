"""Too little memory is told from other errors, in one place."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest
import torch

from sceneparse import memory
from sceneparse.errors import InputError
from sceneparse.memory import full_memory_named, is_out_of_memory, memory_bytes


def raised(call) -> BaseException:
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        call()
    return caught.value


def test_real_errors_of_the_libraries():
    assert is_out_of_memory(raised(lambda: torch.empty(1 << 50)))
    assert is_out_of_memory(raised(lambda: np.empty(1 << 55)))
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    assert not is_out_of_memory(raised(lambda: torch.ones(2, 3) @ torch.ones(2, 3)))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_named_or_passed_on():
    with (
        pytest.raises(InputError, match="too much") as caught,
        full_memory_named(lambda: InputError("too much")),
    ):
        raise MemoryError
    assert isinstance(caught.value.__cause__, MemoryError)
    with pytest.raises(RuntimeError, match="sizes"), full_memory_named(lambda: InputError("too much")):
        raise RuntimeError("sizes do not match")


def test_a_container_has_less_than_the_machine(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(limit), str(tmp_path / "missing")))
    whole = memory_bytes()
    assert whole is None or whole > 1 << 20
    limit.write_text("max\n")
    assert memory_bytes() == whole
    limit.write_text("1048576\n")
    assert memory_bytes() == 1048576


def test_freed_memory_is_used_again():
    """In a process of its own: 64 MiB are 16384 pages, which the system gives only once."""
    if not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("only the C library of Linux (glibc) is told to keep memory")
    code = """
import resource, torch
from sceneparse.memory import keep_freed_memory
keep_freed_memory()
for turn in range(30):  # the first of them find places for what is small and stays
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1000
