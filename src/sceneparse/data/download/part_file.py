"""What has come of a file so far: kept through kills, with the checksum of it and the version it is of."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sceneparse.data.download.http import usable_validator
from sceneparse.data.download.telling import Update
from sceneparse.errors import InputError
from sceneparse.files import write_text

CHUNK_BYTES = 2**18


class PartFile:
    """The beginning of a file, which grows. Every error of the disk becomes an InputError.

    Attributes:
        path: the file.
        have: bytes that are here.
        validator: what names the version of the remote file these bytes are of; None where nothing does.
        begun_here: every byte came in this process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.have = 0
        self.validator: str | None = None
        self.begun_here = True
        self._digest = hashlib.sha1(usedforsecurity=False)

    @property
    def sha1(self) -> str:
        """Of the bytes that are here, in hexadecimal."""
        return self._digest.hexdigest()

    def take_up(self, url: str, *, update: Update) -> None:
        """Go on with what an earlier process left."""
        with self._disk(), self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while chunk := file.read(CHUNK_BYTES):
                self._digest.update(chunk)
                self.have += len(chunk)
                update(self.have, size)
        self.begun_here = False
        try:
            said = json.loads(sidecar_of(self.path).read_text(encoding="utf-8"))
            if said["url"] == url:  # a mirror names the same bytes in another way
                self.validator = usable_validator(said["validator"])
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            pass  # without it nothing is lost but the early notice that the remote file changed

    def remember(self, url: str, validator: str | None) -> None:
        """Note which version of which file the bytes are of."""
        self.validator = validator
        with self._disk():
            write_text(sidecar_of(self.path), json.dumps({"url": url, "validator": validator}))

    @contextmanager
    def growing(self) -> Iterator[IO[bytes]]:
        """The file, open for :meth:`append`."""
        with self._disk():
            file = self.path.open("ab")
        try:
            yield file
        finally:
            with self._disk():
                file.close()

    def append(self, file: IO[bytes], chunk: bytes) -> None:
        """Keep what has come, also through a kill in the next moment."""
        with self._disk():
            file.write(chunk)
            file.flush()
        self._digest.update(chunk)
        self.have += len(chunk)

    def discard(self) -> None:
        """Begin again with nothing."""
        with self._disk():
            self.path.unlink(missing_ok=True)
            sidecar_of(self.path).unlink(missing_ok=True)
        self.have = 0
        self.validator = None
        self.begun_here = True
        self._digest = hashlib.sha1(usedforsecurity=False)

    @contextmanager
    def _disk(self) -> Iterator[None]:
        # An error of the disk must not be taken for one of the network, which is of the same kind.
        try:
            yield
        except OSError as error:
            raise InputError(
                f"cannot read or write the download: {error.strerror or error}",
                where=self.path,
                fix="free some space, correct the permissions or choose another folder, and run the same "
                "command again: what has come is kept",
            ) from error


def sidecar_of(path: Path) -> Path:
    """The small file beside a part file that says of which version of the remote file it is."""
    return path.with_name(f"{path.name}.json")
