"""One HTTP request, and what its answer means: Python's own client, without its readiness to trust."""

from __future__ import annotations

import io
import re
import socket
import ssl
from email.message import Message
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, InvalidURL
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    getproxies,
    proxy_bypass,
)

from sceneparse import __version__

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_CONTENT_RANGE_OF_NOTHING = re.compile(r"bytes \*/(\d{1,18})")
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")


class BadAddressError(Exception):
    """The address, or one that the server sent us on to, is none."""


def request(url: str, *, start: int, validator: str | None, timeout_seconds: float) -> HTTPResponse:
    """Ask for a file.

    Args:
        url: http or https.
        start: first byte wanted; 0 asks for all.
        validator: ask for the rest only if the file is still of this version, else for all of it.
        timeout_seconds: of every wait for something to come.

    Raises:
        HTTPError: the answer is an error, or a redirection that is not followed.
        OSError, HTTPException: no connection, or no answer.
        BadAddressError: as it says.
    """
    headers = {"User-Agent": f"sceneparse/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if validator is not None:
            headers["If-Range"] = validator
    try:
        response = _opener().open(Request(url, headers=headers), timeout=timeout_seconds)
    except (ValueError, InvalidURL) as error:
        raise BadAddressError(str(error)) from error
    assert isinstance(response, HTTPResponse)
    return response


class _Redirects(HTTPRedirectHandler):
    """Follows without reading the body of the redirection: it could be endless."""

    def http_error_302(self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any) -> Any:
        fp.close()
        return super().http_error_302(req, io.BytesIO(), code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _opener() -> OpenerDirector:
    """HTTP and HTTPS through the proxies of the environment, and nothing else."""
    opener = OpenerDirector()
    for handler in (
        *(ProxyHandler(), HTTPHandler(), HTTPSHandler()),
        *(_Redirects(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()),
    ):
        opener.add_handler(handler)
    return opener


def behind_proxy(url: str) -> bool:
    """Whether the environment sends requests to this address through a proxy."""
    parts = urlsplit(url)
    return parts.scheme in getproxies() and not proxy_bypass(parts.hostname or "")


def content_length(response: HTTPResponse) -> int | None:
    """Bytes that the server says will follow; None where it does not, or says nonsense."""
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if not response.chunked and _CONTENT_LENGTH.fullmatch(text) else None


def content_range(headers: Message) -> tuple[int, int, int | None] | None:
    """First byte, byte after the last, and size of the whole file (None where not said) of a part answer;
    None where they make no sense."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        return None
    start, end = int(match[1]), int(match[2]) + 1
    total = None if match[3] == "*" else int(match[3])
    return (start, end, total) if start < end and (total is None or end <= total) else None


def size_when_refused(headers: Message) -> int | None:
    """Size of the whole file, where a server says that it ends before the byte that was asked for."""
    match = _CONTENT_RANGE_OF_NOTHING.fullmatch(headers.get("Content-Range", "").strip())
    return int(match[1]) if match else None


def validator_of(headers: Message) -> str | None:
    """What names the version of a file: a strong tag, or else when it was changed."""
    tag = headers.get("ETag", "")
    return usable_validator(tag if tag.startswith('"') else headers.get("Last-Modified"))


def usable_validator(value: Any) -> str | None:
    """A validator that can be sent back in a header, or None."""
    if isinstance(value, str) and 0 < len(value) < 1000 and value.isascii() and value.isprintable():
        return value
    return None


def status_words(code: int) -> str:
    """The number and the standard's words for it: the server's own words could hold anything."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def fault_words(cause: Any, *, timeout_seconds: float) -> str:
    """What went wrong on the way, for people. ``cause`` is an error, or the reason that urllib gives."""
    if isinstance(cause, TimeoutError):
        return f"nothing came for {timeout_seconds:g} seconds"
    if isinstance(cause, socket.gaierror):
        return f"the name of the server cannot be resolved ({cause.strerror})"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of the server is not accepted ({cause.verify_message})"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror[:1].lower() + cause.strerror[1:]
    if isinstance(cause, HTTPException):
        return f"the connection broke ({type(cause).__name__})"
    return f"no connection ({str(cause)!r})"
