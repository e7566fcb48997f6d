"""Work on many files in threads: order, bounds, and who computes how."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
import torch

from sceneparse.data import threads as threads_module
from sceneparse.data.threads import PictureThreads, mapped_in_order


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    """2400 bytes: of a quarter each of three threads has 200."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads_module, "memory_bytes", lambda: 2400)


def test_in_order_and_bounded():
    begun, handed = [], 0
    for number in mapped_in_order(lambda n: begun.append(n) or n, range(40), 2):
        assert number == handed
        handed += 1
        assert len(begun) <= handed + 2 * 2
    assert handed == 40


def facts():
    return torch.get_num_threads(), threading.current_thread().name.partition("_")[0]


@pytest.mark.parametrize(
    ("several", "processes", "size", "expected"),
    [
        (True, 1, 200, (1, "decode")),
        (True, 1, 201, (3, "large")),
        (True, 3, 200, (1, "decode")),
        (True, 3, 201, (1, "large")),
        (False, 1, 0, (1, "decode")),
        (False, 1, 1, (3, "large")),
    ],
)
def test_small_and_large(three_threads, several, processes, size, expected):
    """Whether a picture is small does not depend on the number of processes."""
    with PictureThreads(several=several, processes=processes) as threads:
        work = threads.map(lambda n: (n, threads.compute(facts, size)), range(8))
        with closing(work):
            assert list(work) == [(n, expected) for n in range(8)]
    assert torch.get_num_threads() == 3


def test_large_ones_come_one_after_the_other(three_threads):
    inside, most = [], []

    def large():
        inside.append(None)
        most.append(len(inside))
        torch.rand(200, 200).inverse()
        inside.pop()

    with PictureThreads(several=True) as threads, closing(threads.map(lambda n: n, range(9))) as work:
        list(work)
        with closing(threads.map(lambda _: threads.compute(large, 10**6), range(9))) as work:
            list(work)
    assert most == [1] * 9


def test_number_of_threads_that_is_given_is_each_process_s_own(three_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with PictureThreads(several=True, processes=3) as threads:
        assert threads.compute(facts, 10**6) == (3, "large")


def test_an_error_ends_the_work_and_gives_the_threads_back(three_threads):
    def fails(number):
        if number == 3:
            raise ZeroDivisionError
        return number

    seen = []
    with (
        pytest.raises(ZeroDivisionError),
        PictureThreads(several=True) as threads,
        closing(threads.map(fails, range(1000))) as work,
    ):
        seen += work
    assert torch.get_num_threads() == 3
    assert not [t for t in threading.enumerate() if t.name.startswith(("decode", "large"))]
