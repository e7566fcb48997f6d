"""A server for the tests of downloading, and the way to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bad_server import BadServer, serving
from tiny_set import ZIP


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine between the tests and their server."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[BadServer]:
    """One that behaves, until it is told otherwise."""
    with serving(ZIP) as server:
        yield server
