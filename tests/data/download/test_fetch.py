"""Fetching from servers that drop, stall, forget and lie."""

from __future__ import annotations

import hashlib
import io
import socket
import ssl
import threading
import time
from dataclasses import replace
from urllib.error import URLError

import pytest
from bad_server import BadServer, Manner, serving
from rich.console import Console
from tiny_set import KB, QUICK, ZIP, get, known_set, part_of, refused, require_whole

from sceneparse.data.download import http
from sceneparse.data.download.obtain import obtain
from sceneparse.errors import InputError


@pytest.mark.parametrize("reset", [False, True])
def test_dropped_connections(reset, server, tmp_path):
    """Each attempt goes on where the last one ended; more drops than tries, as all get further."""
    drop = Manner(drop_after=100 * KB, reset=reset)
    said = get(server, tmp_path, drop, drop, drop, drop, drop, drop, Manner())
    starts = server.starts()
    assert starts[0] == 0
    assert starts == sorted(starts)
    if not reset:  # a reset may throw away what was on the way
        assert starts == [i * 100 * KB for i in range(7)]
    assert said.count("trying again") == 6
    assert {asked.get("if-range") for asked in server.asked[1:]} == {f'"{hashlib.sha1(ZIP).hexdigest()}"'}


def test_dropped_without_ranges(server, tmp_path):
    """Starts again from the beginning, and says it."""
    drop = Manner(drop_after=300 * KB, ranges=False)
    said = get(server, tmp_path, drop, Manner(ranges=False))
    assert "starting again from the beginning" in said
    assert server.sent == [300 * KB, len(ZIP)]


def test_never_further(server, tmp_path):
    """Bounded tries; what came stays, and the next run goes on from there."""
    error = refused(server, tmp_path, Manner(drop_after=100 * KB), Manner(drop_after=10))
    assert "the connection ended early; 4 tries got no further" in error.what
    assert "stay here, and the same command goes on from there" in str(error.fix)
    assert len(server.asked) == 5
    kept = part_of(tmp_path)
    assert 100 * KB < len(kept) < 101 * KB
    assert ZIP.startswith(kept)
    get(server, tmp_path)
    assert server.starts()[5:] == [len(kept)]
    assert server.sent[5] == len(ZIP) - len(kept)


def test_a_server_without_ranges_that_always_drops_is_given_up(server, tmp_path):
    refused(server, tmp_path, Manner(drop_after=300 * KB, ranges=False))
    assert len(server.asked) == 5, "the first one got further than nothing"


@pytest.mark.parametrize("stall_after", [0, 100 * KB])
def test_stalls(stall_after, server, tmp_path):
    began = time.monotonic()
    said = get(server, tmp_path, Manner(stall_after=stall_after), Manner())
    assert "nothing came for 0.4 seconds" in said
    assert 0.4 < time.monotonic() - began < 3
    assert server.starts() == [0, stall_after]


def test_never_an_answer(tmp_path):
    """A port where somebody listens and never speaks."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        silent = BadServer(ZIP, port=listening.getsockname()[1])
        error = refused(silent, tmp_path, patience=replace(QUICK, timeout_seconds=0.1, tries=2))
    assert "nothing came for 0.1 seconds; 2 tries got no further" in error.what


@pytest.mark.parametrize("length", [str(len(ZIP) + 1), str(len(ZIP) + 300 * KB), "none", "-7", "many", ""])
def test_lengths_too_large_absent_or_nonsense(length, server, tmp_path):
    """The checksum decides that all is here."""
    said = get(server, tmp_path, Manner(length=length))
    assert len(server.asked) == 1
    assert ("the server does not say" in said) == (not length.isdigit())


def test_length_too_small(server, tmp_path):
    error = refused(server, tmp_path, Manner(length=str(200 * KB)))
    assert "the server has another file" in error.what
    assert f"({200 * KB:,} bytes), expected {hashlib.sha1(ZIP).hexdigest()}" in error.what
    assert hashlib.sha1(ZIP[: 200 * KB]).hexdigest() in error.what
    assert part_of(tmp_path) == b""


@pytest.mark.parametrize("length", [str(len(ZIP) * 3), "9" * 18, "9" * 5000])
def test_absurd_lengths(length, server, tmp_path):
    if len(length) > 18:
        assert "does not say" in get(server, tmp_path, Manner(length=length))
    else:
        assert "cannot be the right file" in refused(server, tmp_path, Manner(length=length)).what
        assert part_of(tmp_path) == b""


def test_endless_body(server, tmp_path):
    """Does not fill the disk."""
    error = refused(server, tmp_path, Manner(body=ZIP + bytes(10**7), length="none"))
    assert "sends more than" in error.what
    assert part_of(tmp_path) == b""


def test_without_length_dropped(server, tmp_path):
    get(server, tmp_path, Manner(length="none", drop_after=300 * KB), Manner())
    assert server.starts() == [0, 300 * KB]


def test_chunks(server, tmp_path):
    get(server, tmp_path, Manner(chunked=True, drop_after=300 * KB), Manner(chunked=True))
    assert server.starts() == [0, 300 * KB]
    get(server, tmp_path / "a", *[Manner()] * 2, Manner(chunked=True, length="500"))
    assert len(server.asked) == 3, "with chunks, the length means nothing"


@pytest.mark.parametrize(
    "content_range", ["bytes 0-{end}/{total}", "bytes 5-{end}/{total}", "", "bytes x-y/z", "bytes {end}-1/2"]
)
def test_another_part_than_asked_for(content_range, server, tmp_path):
    said = get(server, tmp_path, Manner(drop_after=300 * KB), Manner(content_range=content_range), Manner())
    assert "another part of the file than was asked for: starting again" in said
    assert server.starts() == [0, 300 * KB, 0]


def test_part_answers_that_are_short(server, tmp_path):
    """As much as the server likes to send at a time: no fault, no waiting; without the size of it all too."""
    little = Manner(content_range=f"bytes {{start}}-{300 * KB - 1}/*")
    more = Manner(content_range=f"bytes {{start}}-{500 * KB - 1}/{{total}}")
    said = get(server, tmp_path, Manner(drop_after=100 * KB), little, more, Manner())
    assert server.starts() == [0, 100 * KB, 300 * KB, 500 * KB]
    assert said.count("trying again") == 1


def test_the_file_changes_between_requests(server, tmp_path):
    """By If-Range, and where the server does not know that, by the tag of its answer."""
    other = bytes(reversed(ZIP))
    for number, obeys in enumerate((True, False)):
        folder = tmp_path / str(number)
        old = Manner(body=b"PK\3\4" + other, drop_after=300 * KB)
        said = get(server, folder, *[Manner()] * len(server.asked), old, Manner(if_range=obeys), Manner())
        assert "starting again from the beginning" in said
    assert server.starts() == [0, 300 * KB, 0, 300 * KB, 0]


@pytest.mark.parametrize(
    ("later", "starts"), [(Manner(), [300 * KB]), (Manner(tag=None, if_range=False), [300 * KB, 0])]
)
def test_the_file_changed_between_runs(later, starts, server, tmp_path):
    """Noticed at the first answer, or by the checksum where the server has no tags."""
    old = b"PK\3\4" + bytes(500 * KB)
    refused(server, tmp_path, Manner(body=old, drop_after=300 * KB), Manner(status=404))
    assert part_of(tmp_path) == old[: 300 * KB]
    server.asked.clear()
    assert "starting again from the beginning" in get(server, tmp_path, later)
    assert server.starts() == starts


def test_a_mirror_goes_on(server, tmp_path):
    """Another address with other tags for the same bytes: nothing is thrown away."""
    refused(server, tmp_path, Manner(drop_after=300 * KB), Manner(status=403))
    with serving(ZIP) as mirror:
        mirror.manners = [Manner(tag='"another"')]
        told = io.StringIO()
        obtain(known_set(server.url), tmp_path, url=mirror.url, console=Console(file=told, width=300))
        assert mirror.starts() == [300 * KB]
        assert "300.0 kB are here" in told.getvalue()
        assert f"from:  {mirror.url}" in told.getvalue()
    require_whole(tmp_path)


@pytest.mark.parametrize("left", [ZIP + b"more", b"PK\3\4" + bytes(300 * KB), bytes(300 * KB), b"", ZIP * 3])
def test_strange_parts(left, server, tmp_path):
    """Longer than the file, of another file, no zip file at all: starts clean by itself."""
    (tmp_path / "Tiny.zip.part").write_bytes(left)
    (tmp_path / "Tiny.zip.part.json").write_text("[" * 100_000)
    get(server, tmp_path)
    assert server.starts()[-1] == 0


def test_a_whole_part_needs_no_network(server, tmp_path):
    (tmp_path / "Tiny.zip.part").write_bytes(ZIP)
    get(server, tmp_path)
    assert server.asked == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        "null",
        '{"url": 5}',
        '{"url": "URL", "validator": 7}',
        '{"url": "URL", "validator": "a\\nHost: b"}',
    ],
)
def test_strange_sidecars(said, server, tmp_path):
    (tmp_path / "Tiny.zip.part").write_bytes(ZIP[: 300 * KB])
    (tmp_path / "Tiny.zip.part.json").write_text(said.replace("URL", server.url))
    get(server, tmp_path)
    assert server.starts() == [300 * KB]
    assert "if-range" not in server.asked[0]


def test_wrong_bytes(server, tmp_path):
    """Removed, so that the next run starts clean."""
    wrong = b"PK\3\4" + bytes(200 * KB)
    error = refused(server, tmp_path, Manner(body=wrong))
    assert f"SHA-1 {hashlib.sha1(wrong).hexdigest()} (200,004 bytes)" in error.what
    assert f"expected {hashlib.sha1(ZIP).hexdigest()}" in error.what
    assert part_of(tmp_path) == b""
    server.asked.clear()
    get(server, tmp_path)
    assert server.starts() == [0]


@pytest.mark.parametrize(
    "body", [b"<html>Please log in</html>", b"no", b"", b"\x1f\x8b" + bytes(99), b"\x1b[31m!"]
)
def test_something_that_is_no_zip_file(body, server, tmp_path):
    """Also in the middle: what had come stays."""
    page = Manner(body=body, content_type="text/html; \x1b", ranges=False)
    error = refused(server, tmp_path, page)
    assert "which is no zip file" in error.what
    assert "\x1b" not in str(error), "nothing that a terminal would obey"
    server.asked.clear()
    refused(server, tmp_path, Manner(drop_after=300 * KB), page)
    assert part_of(tmp_path) == ZIP[: 300 * KB]
    server.asked.clear()
    get(server, tmp_path)
    assert server.starts() == [300 * KB]


@pytest.mark.parametrize(
    ("status", "asked"),
    [(404, 1), (403, 1), (407, 1), (410, 1), (204, 1), (206, 1), (416, 1), (500, 4), (503, 4)],
)
def test_errors_of_the_server(status, asked, server, tmp_path):
    error = refused(server, tmp_path, Manner(status=status, length="0", body=b""))
    assert f"the server answered {status} " in error.what
    assert len(server.asked) == asked
    assert part_of(tmp_path) == b""


def test_busy_then_well(server, tmp_path):
    busy = Manner(status=503, body=b"busy")
    assert "503 Service Unavailable" in get(server, tmp_path, busy, busy, Manner())


@pytest.mark.parametrize("said", ["", "bytes */*", f"bytes */{10**9}"])
def test_parts_refused_without_reason(said, server, tmp_path):
    """The whole file is asked for then, and where that is refused too, it is over."""
    no = Manner(status=416, body=b"", content_range=said)
    assert "from its beginning" in get(server, tmp_path / "a", Manner(drop_after=300 * KB), no, Manner())
    assert server.starts() == [0, 300 * KB, 0]
    server.asked.clear()
    assert "416" in refused(server, tmp_path / "b", Manner(drop_after=300 * KB), no).what
    assert len(server.asked) == 3


def test_versions_by_date(server, tmp_path):
    """A weak tag says that a file means the same, not that its bytes are the same."""
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    weak = Manner(tag='W/"1"', if_range=False)
    for number, (modified, sent) in enumerate([(date, date), (None, None)]):
        manner = replace(weak, modified=modified)
        server.asked.clear()
        get(server, tmp_path / str(number), replace(manner, drop_after=300 * KB), manner)
        assert server.asked[1].get("if-range") == sent


def test_redirections(server, tmp_path):
    """The request for a part goes with it."""
    with serving(b"") as first:
        first.manners = [Manner(status=302, location=server.url)]
        server.manners = [Manner(drop_after=300 * KB), Manner()]
        obtain(known_set(first.url), tmp_path, patience=QUICK)
        assert server.starts() == [0, 300 * KB]
        assert len(first.asked) == 2
    require_whole(tmp_path)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "302 Found"),
        ("ftp://127.0.0.1/Tiny.zip", "302 Found"),
        ("/Tiny.zip", "302 Found"),
        ("http://[", "not valid"),
        (None, "302 Found"),
    ],
)
def test_redirections_to_nowhere(location, said, server, tmp_path):
    assert said in refused(server, tmp_path, Manner(status=302, location=location)).what


def test_endless_redirection(server, tmp_path):
    """Its body is not read."""
    there = f"http://127.0.0.1:{server.port}/other"
    said = get(server, tmp_path, Manner(status=301, location=there, length="none", stall_after=0), Manner())
    assert len(server.asked) == 2
    assert "trying again" not in said


def test_no_network(tmp_path, monkeypatch, server):
    def nobody(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    error = refused(server, tmp_path)
    assert "the name of the server cannot be resolved" in error.what
    assert server.asked == []


def test_refused_connection_and_proxies(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    nobody = BadServer(ZIP, port=port)
    assert "connection refused" in refused(nobody, tmp_path).what
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    elsewhere = known_set("http://data.example/Tiny.zip")
    with pytest.raises(InputError, match="connection refused; a proxy is set"):
        obtain(elsewhere, tmp_path, patience=QUICK)


def test_the_network_goes_and_comes_back(server, tmp_path, monkeypatch):
    """What would be hopeless at the start is waited for in the middle."""
    refusal, unknown = ConnectionRefusedError(111, "Connection refused"), socket.gaierror(-2, "unknown")
    faults = iter([None, refusal, unknown, None])
    request = http.request

    def sometimes(*arguments, **options):
        fault = next(faults)
        if fault is not None:
            raise URLError(fault)
        return request(*arguments, **options)

    monkeypatch.setattr(http, "request", sometimes)
    said = get(server, tmp_path, Manner(drop_after=300 * KB), Manner())
    assert "connection refused, with 300.0 kB here: trying again" in said
    assert server.starts() == [0, 300 * KB]


def test_a_certificate_is_not_asked_for_twice(server, tmp_path, monkeypatch):
    tried = []

    def expired(*_, **__):
        tried.append(1)
        error = ssl.SSLCertVerificationError(1, "certificate verify failed")
        error.verify_message = "certificate has expired"
        raise URLError(error)

    monkeypatch.setattr(http, "request", expired)
    assert "not accepted (certificate has expired)" in refused(server, tmp_path).what
    assert len(tried) == 1


@pytest.mark.parametrize(
    "garbage", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200, b"\0" * 99999]
)
def test_no_web_server(garbage, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(garbage)

        threading.Thread(target=answer, daemon=True).start()
        strange = BadServer(ZIP, port=listening.getsockname()[1])
        assert "4 tries got no further" in refused(strange, tmp_path).what
        listening.shutdown(socket.SHUT_RDWR)
