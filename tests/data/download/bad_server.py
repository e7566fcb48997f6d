"""An HTTP server for one file that behaves as badly as it is told."""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one request is answered; well by default.

    Args:
        status: 200 answers with the file, or the part asked for.
        location: of a redirection.
        body: instead of the file.
        content_type: of the answer.
        drop_after: bytes of the body, after which the connection is cut.
        reset: cut it hard, in the way of a crash.
        stall_after: bytes of the body, after which nothing comes until the server is released.
        length: what Content-Length says; "true", "none", or any text.
        chunked: send in chunks.
        ranges: answer requests for a part with that part.
        if_range: obey If-Range.
        content_range: what Content-Range says instead of the truth; {start}, {end}, {total}.
        tag: the ETag, {sha1} being of the file.
        modified: the time of its last change.
    """

    status: int = 200
    location: str | None = None
    body: bytes | None = None
    content_type: str = "application/zip"
    drop_after: int | None = None
    reset: bool = False
    stall_after: int | None = None
    length: str = "true"
    chunked: bool = False
    ranges: bool = True
    if_range: bool = True
    content_range: str = "bytes {start}-{end}/{total}"
    tag: str | None = '"{sha1}"'
    modified: str | None = None


@dataclass
class BadServer:
    """What it serves, how, and what it was asked.

    Args:
        data: the file.
        manners: one a request; the last one stays.
        asked: the headers of every request.
        sent: bytes of bodies sent, a request.
        release: ends every stall.
    """

    data: bytes
    manners: list[Manner] = field(default_factory=lambda: [Manner()])
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/Tiny.zip"

    def starts(self) -> list[int]:
        """First byte asked for by every request."""
        return [int(asked.get("range", "bytes=0-")[6:-1]) for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    state: BadServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        state = self.state
        manner = state.manners[min(len(state.asked), len(state.manners) - 1)]
        state.asked.append({name.lower(): value for name, value in self.headers.items()})
        state.sent.append(0)
        number = len(state.sent) - 1
        body = state.data if manner.body is None else manner.body
        total, start, status = len(body), 0, manner.status
        tag = None if manner.tag is None else manner.tag.format(sha1=hashlib.sha1(body).hexdigest())
        asked = self.headers.get("Range")
        fits = self.headers.get("If-Range") in (None, tag) or not manner.if_range
        if asked and manner.ranges and status == 200 and fits:
            start = int(asked[6:-1])
            status = 206 if start < total else 416
        self.send_response(status)
        if status == 206:
            self.send_header(
                "Content-Range", manner.content_range.format(start=start, end=total - 1, total=total)
            )
        elif manner.status == 416:
            self.send_header("Content-Range", manner.content_range)
        elif status == 416:
            self.send_header("Content-Range", f"bytes */{total}")
            body = b""
        body = body[start:]
        if manner.location is not None:
            self.send_header("Location", manner.location)
        length = {"true": None if manner.chunked else str(len(body)), "none": None}.get(
            manner.length, manner.length
        )
        if length is not None:
            self.send_header("Content-Length", length)
        if manner.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        if tag is not None:
            self.send_header("ETag", tag)
        if manner.modified is not None:
            self.send_header("Last-Modified", manner.modified)
        self.send_header("Content-Type", manner.content_type)
        self.end_headers()
        self._send(body, manner, number)

    protocol_version = "HTTP/1.1"

    def _send(self, body: bytes, manner: Manner, number: int) -> None:
        self.close_connection = True
        sent = 0
        stops = sorted({len(body), *(s for s in (manner.drop_after, manner.stall_after) if s is not None)})
        for stop in stops:
            piece = body[sent:stop]
            for at in range(0, len(piece), 65536):
                block = piece[at : at + 65536]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block) if manner.chunked else block)
                self.state.sent[number] += len(block)
            sent = min(stop, len(body))
            self.wfile.flush()
            if stop == manner.stall_after:
                self.state.release.wait(20)
                return
            if stop == manner.drop_after:
                if manner.reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                return
        if manner.chunked:
            self.wfile.write(b"0\r\n\r\n")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def serving(data: bytes) -> Iterator[BadServer]:
    """A server on this machine, on a port of its own."""
    state = BadServer(data)
    with _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state})) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.release.set()
            server.shutdown()
            thread.join(5)
