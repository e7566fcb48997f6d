"""Text and JSON documents from anybody: read whole, and nothing in them is believed."""

from __future__ import annotations

import json
import os
import reprlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sceneparse.data.classes import MAX_NAME
from sceneparse.data.image_file import MAX_PIXELS
from sceneparse.errors import InputError

_GET_AGAIN = "export or copy it again"


def read_bytes(path: Path, *, most: int) -> bytes:
    """A file's contents.

    Args:
        path: the file.
        most: bytes that it may have at most.

    Raises:
        InputError: not there, not a file, not readable, or larger.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise InputError("not a file", where=path, fix="name the annotation file")
        if status.st_size > most:
            raise InputError(
                f"a document of {status.st_size} bytes; at most {most} are read",
                where=path,
                fix="split it up",
            )
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read the file: {reason}", where=path, fix="check path and access") from None


def read_json(
    path: Path, *, most: int, object_hook: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """The object that a JSON file holds.

    Args:
        path: the file; UTF-8, or UTF-16 and UTF-32 as JSON allows them.
        most: bytes that it may have at most.
        object_hook: called with each object as soon as it is read; what it returns stands in its place.

    Raises:
        InputError: cannot be read, not JSON, or no object at the top.
    """
    data = read_bytes(path, most=most)
    if not data.strip():
        raise InputError(f"the file is empty ({len(data)} bytes)", where=path, fix=_GET_AGAIN)
    try:
        values = json.loads(data, object_hook=object_hook)
    except RecursionError:
        raise InputError("JSON nested too deeply", where=path, fix=_GET_AGAIN) from None
    except MemoryError:
        raise InputError("not enough memory for the document", where=path, fix="split it up") from None
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", where=path, fix=_GET_AGAIN) from None
    if not isinstance(values, dict):
        raise InputError(
            f"expected a JSON object with names and values; got {shown(values)}", where=path, fix=_GET_AGAIN
        )
    return values


def shown(value: object) -> str:
    """A value for a message: short, however long or deep it is."""
    return reprlib.repr(value)


def is_name(value: object) -> bool:
    """Whether a value is text that can be a name: not blank or endless, no halves of characters."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def picture_size(
    height: object, width: object, size_hw: tuple[int, int], *, path: Path, picture: str
) -> tuple[int, int]:
    """(H, W) in pixels as a document says it; ``size_hw`` where it leaves one out.

    Raises:
        InputError: not two whole numbers, or more pixels than a picture may have.
    """
    if height is None or width is None:
        return size_hw
    good = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (height, width))
    if not good or height * width > MAX_PIXELS:  # type: ignore[operator]
        raise InputError(
            f"{picture}: height {shown(height)} and width {shown(width)} are no size of a picture",
            where=path,
            fix=f"write whole numbers of pixels, at most {MAX_PIXELS} pixels in all",
        )
    return height, width  # type: ignore[return-value]
