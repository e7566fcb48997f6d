"""Too little memory is told from other errors, in one place."""

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
