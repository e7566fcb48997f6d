"""Fetching one large zip file over HTTP from servers that stop, stall, forget or lie.

What has come is kept in a part file, and every attempt goes on where the last one ended, in this process or
in a later one. Lengths that servers give are hints; only the checksum decides that the file is whole.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from http.client import HTTPException, HTTPResponse
from typing import IO
from urllib.error import HTTPError, URLError

from rich.filesize import decimal

from sceneparse.data.download import http
from sceneparse.data.download.part_file import CHUNK_BYTES, PartFile
from sceneparse.data.download.telling import Teller, Update
from sceneparse.errors import InputError

_PROGRESS_BYTES = 2**16
"""An attempt that got further by less counts as failed: else a server could keep us busy for ever."""
_LONGEST_WAIT_SECONDS = 30.0
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE_REFUSED = 416
_ZIP_BEGINS = b"PK\3\4"


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait, and how often.

    Args:
        timeout_seconds: a connection over which nothing comes for so long is given up.
        tries: attempts in a row that get no further.
        wait_seconds: before the next try; twice as long after each one that got no further.
    """

    timeout_seconds: float = 30.0
    tries: int = 6
    wait_seconds: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A zip file on a server.

    Args:
        url: its address, http or https.
        sha1: of its bytes, in hexadecimal.
        most_bytes: what is larger cannot be it.
        by_hand: what a person can do where this program fails; ends its messages.
    """

    url: str
    sha1: str
    most_bytes: int
    by_hand: str


class _End(Enum):
    """How an answer ended."""

    ALL = "the server says that this was everything"
    MORE = "as it should, and there is more to ask for"
    LOST = "early"


class Fetch:
    """One file on its way; :meth:`run` brings it.

    Args:
        remote: what to fetch.
        part: where what has come is kept.
        announce: called once before anything is written, with the bytes in all (None where the server does
            not say) and the bytes that are here already; may refuse with an InputError.
        teller: tells the person who waits.
        patience: timeouts and tries.
    """

    def __init__(
        self,
        remote: Remote,
        part: PartFile,
        *,
        announce: Callable[[int | None, int], None],
        teller: Teller,
        patience: Patience,
    ) -> None:
        self.remote = remote
        self.part = part
        self._announce: Callable[[int | None, int], None] | None = announce
        self._teller = teller
        self._patience = patience
        self._ranges = True
        self._furthest = 0
        self._failures = 0

    def run(self) -> None:
        """Bring the file; the part file is then all of it.

        Raises:
            InputError: it cannot be had, is another file, or cannot be written. Where trying again later
                makes sense, what has come stays for it.
        """
        if self.part.path.exists():
            with self._teller.bar("reading what is here already") as update:
                self.part.take_up(self.remote.url, update=update)
        self._furthest = self.part.have
        with self._teller.bar("downloading") as update:
            while not self._is_whole():
                try:
                    end, reason = self._receive(update), "the connection ended early"
                except (OSError, HTTPException) as error:
                    end, reason = self._fault(error)
                if self._is_whole():
                    break
                if end is _End.ALL:
                    self._refuse_bytes()
                elif end is _End.LOST:
                    self._wait(reason)

    def _is_whole(self) -> bool:
        return self.part.sha1 == self.remote.sha1

    # ------------------------------------------------------------------ answers

    def _receive(self, update: Update) -> _End:
        """Ask for what is missing and keep what comes."""
        start = self.part.have if self._ranges else 0
        try:
            response = http.request(
                self.remote.url,
                start=start,
                validator=self.part.validator,
                timeout_seconds=self._patience.timeout_seconds,
            )
        except http.BadAddressError as error:
            raise self._failed(
                f"the address, or one that the server sent us on to, is not valid ({error})"
            ) from error
        with response:
            if response.status == 200:
                return self._take_all(response, update)
            if response.status == 206 and start:
                return self._take_rest(response, update)
            raise self._failed(f"the server answered {http.status_words(response.status)}")

    def _take_all(self, response: HTTPResponse, update: Update) -> _End:
        """The file from its first byte, whether it was asked for or not."""
        length = http.content_length(response)
        self._refuse_size(length)
        first = b""
        while len(first) < len(_ZIP_BEGINS) and (more := response.read1(CHUNK_BYTES)):
            first += more
        if not first.startswith(_ZIP_BEGINS):
            if len(first) < len(_ZIP_BEGINS) and len(first) != length:
                return _End.LOST
            # What is here already stays: a page that asks to log in to a network answers with 200 too.
            kind = response.headers.get("Content-Type", "")
            found = f"{first[:24]!r}... of type {kind!r}" if first else "nothing"
            raise self._failed(
                f"the server sent {found}, which is no zip file; must one log in to this network first?"
            )
        if self.part.have:
            self._start_again("the server sends the file from its beginning, or it has changed")
        self._tell_size(length)
        self.part.remember(self.remote.url, http.validator_of(response.headers))
        return self._take(response, first, end=length, total=length, update=update)

    def _take_rest(self, response: HTTPResponse, update: Update) -> _End:
        """The file from the byte that was asked for."""
        span = http.content_range(response.headers)
        if span is None or span[0] != self.part.have:
            self._ranges = False
            self._start_again("the server sent another part of the file than was asked for")
            return _End.MORE
        validator = http.validator_of(response.headers)
        if None not in (validator, self.part.validator) and validator != self.part.validator:
            self._start_again("the file on the server has changed")
            return _End.MORE
        _, end, total = span
        self._refuse_size(total)
        self._tell_size(total)
        if self.part.validator is None:
            self.part.remember(self.remote.url, validator)
        return self._take(response, b"", end=end, total=total, update=update)

    def _take(
        self, response: HTTPResponse, chunk: bytes, *, end: int | None, total: int | None, update: Update
    ) -> _End:
        """Keep ``chunk`` and the body after it: up to ``end`` where that is known, else to its close."""
        before = self.part.have
        with self.part.growing() as file:
            self._append(file, chunk[:end])
            while end is None or self.part.have < end:
                update(self.part.have, total)
                left = CHUNK_BYTES if end is None else end - self.part.have
                chunk = response.read1(min(CHUNK_BYTES, left))
                if not chunk:  # a chunked body that is cut raises instead
                    return _End.ALL if end is None and response.chunked else _End.LOST
                self._append(file, chunk)
        if end == total:
            return _End.ALL
        return _End.MORE if self.part.have >= before + _PROGRESS_BYTES else _End.LOST

    def _append(self, file: IO[bytes], chunk: bytes) -> None:
        if self.part.have + len(chunk) > self.remote.most_bytes:
            file.close()
            self.part.discard()
            raise self._failed(
                f"the server sends more than {decimal(self.remote.most_bytes)}, so it is another file"
            )
        self.part.append(file, chunk)

    def _refuse_size(self, total: int | None) -> None:
        if total is not None and total > self.remote.most_bytes:
            raise self._failed(
                f"the server offers {decimal(total)}, and more than {decimal(self.remote.most_bytes)} cannot "
                "be the right file"
            )

    def _tell_size(self, total: int | None) -> None:
        announce, self._announce = self._announce, None
        if announce is not None:
            announce(total, self.part.have)

    def _start_again(self, reason: str) -> None:
        self._teller.say(f"{reason}: starting again from the beginning")
        self.part.discard()

    # ------------------------------------------------------------------ faults

    def _fault(self, error: OSError | HTTPException) -> tuple[_End, str]:
        """How to go on after an error of the network.

        Raises:
            InputError: trying again would give the same.
        """
        if isinstance(error, HTTPError):
            error.close()
            reason = f"the server answered {http.status_words(error.code)}"
            if error.code == _RANGE_REFUSED and self.part.have and self._ranges:
                size = http.size_when_refused(error.headers)
                if size is not None and size <= self.part.have:
                    return _End.ALL, reason
                self._ranges = False
                return _End.MORE, reason
            if error.code not in _WORTH_ANOTHER_TRY:
                raise self._failed(reason) from error
            return _End.LOST, reason
        cause = error.reason if isinstance(error, URLError) else error
        reason = http.fault_words(cause, timeout_seconds=self._patience.timeout_seconds)
        hopeless: tuple[type, ...] = (str, ssl.SSLCertVerificationError)  # urllib's own refusals are text
        if self._announce is not None:  # nothing was ever answered; a network that was there may come back
            hopeless += (socket.gaierror, ConnectionRefusedError)
        if isinstance(cause, hopeless):
            raise self._failed(reason) from error
        return _End.LOST, reason

    def _wait(self, reason: str) -> None:
        """Before another try.

        Raises:
            InputError: there have been enough.
        """
        further = self.part.have >= self._furthest + _PROGRESS_BYTES
        self._failures = 0 if further else self._failures + 1
        self._furthest = max(self._furthest, self.part.have)
        if self._failures >= self._patience.tries:
            raise self._failed(f"{reason}; {self._failures} tries got no further")
        seconds = min(_LONGEST_WAIT_SECONDS, self._patience.wait_seconds * 2**self._failures)
        self._teller.say(f"{reason}, with {decimal(self.part.have)} here: trying again in {seconds:g} s")
        time.sleep(seconds)

    def _refuse_bytes(self) -> None:
        """Everything is here and it is not the file.

        Raises:
            InputError: unless it began in an earlier process, perhaps with another file.
        """
        if not self.part.begun_here:
            self._start_again("with what was here already it is not the right file")
            return
        found = f"SHA-1 {self.part.sha1} ({self.part.have:,} bytes)"
        self.part.discard()
        raise InputError(
            f"the server has another file: {found}, expected {self.remote.sha1}; it was removed",
            where=f"{self.remote.url} (to {self.part.path})",
            fix=f"name a mirror with --url; or by hand: {self.remote.by_hand}",
        )

    def _failed(self, reason: str) -> InputError:
        have = self.part.have
        kept = f"{decimal(have)} stay here, and the same command goes on from there; " if have else ""
        proxy = "; a proxy is set (http_proxy, https_proxy)" if http.behind_proxy(self.remote.url) else ""
        return InputError(
            f"the download failed: {reason}{proxy}",
            where=f"{self.remote.url} (to {self.part.path})",
            fix=f"{kept}try again later, or name a mirror with --url; or by hand: {self.remote.by_hand}",
        )
