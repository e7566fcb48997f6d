"""From the name of a known data set to its folder, whatever happens on the way."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rich.console import Console
from rich.filesize import decimal

from sceneparse.data.download.fetch import Fetch, Patience, Remote
from sceneparse.data.download.known_sets import KNOWN_SETS, KnownSet
from sceneparse.data.download.part_file import CHUNK_BYTES, PartFile, sidecar_of
from sceneparse.data.download.telling import Teller
from sceneparse.data.download.unpack import remove_leftovers, unpack
from sceneparse.errors import InputError, nearest
from sceneparse.lock import process_lock
from sceneparse.outputs import output_folder

_MOST_GROWTH_OF_ARCHIVE = 2
"""A file more than so many times as large as the zip file should be is another file."""
_UNPACKED_SHARE = 1.2
"""Space for the unpacked files, as a share of the zip file: pictures do not shrink, blocks are not filled."""


def download(
    name: str,
    folder: str | Path,
    *,
    url: str | None = None,
    console: Console | None = None,
    keep_archive: bool = False,
) -> Path:
    """Download and unpack a data set, or go on with it where an earlier call ended.

    Does nothing where the data set is there already. A zip file that a person put into ``folder`` is used
    without the network, and stays.

    Args:
        name: key of :data:`~sceneparse.data.download.known_sets.KNOWN_SETS`.
        folder: where the data set's own folder appears.
        url: a mirror of its zip file: ``http:``, ``https:``, ``file:`` or a path. The bytes must be the same.
        console: where addresses, sizes, terms and progress are told; None tells nothing.
        keep_archive: leave the downloaded zip file in ``folder``.

    Returns:
        The data set's folder.

    Raises:
        InputError: unknown name; no network, a server or a zip file that is wrong, no space: what was
            downloaded stays unless it is wrong, and the message says what to do by hand.
    """
    known = KNOWN_SETS.get(name)
    if known is None:
        raise InputError(
            f"unknown data set {name!r}.{nearest(name, KNOWN_SETS)}", fix=f"one of: {', '.join(KNOWN_SETS)}"
        )
    return obtain(known, Path(folder), url=url, console=console, keep_archive=keep_archive)


def obtain(
    known: KnownSet,
    folder: Path,
    *,
    url: str | None = None,
    console: Console | None = None,
    keep_archive: bool = False,
    patience: Patience | None = None,
) -> Path:
    """:func:`download` of a data set that need not be in the table, with timeouts to choose."""
    teller = Teller(console)
    local = _local_path(url) if url is not None else None
    place = _Place(known, folder, teller)
    there = place.find()
    if there is not None:
        return there
    output_folder(folder)
    with process_lock(place.lock, waiting=place.say_waiting) as locked:
        there = place.find()
        if there is not None:
            return there
        if locked:
            remove_leftovers(folder, known)
        remote = Remote(
            url=url or known.url,
            sha1=known.sha1,
            most_bytes=_MOST_GROWTH_OF_ARCHIVE * known.archive_bytes,
            by_hand=f"open {known.url} in a browser, put the file at {place.archive}, and run the same "
            "command again",
        )
        try:
            archive = place.from_disk(local) or place.from_network(remote, patience or Patience())
            if keep_archive and archive == place.part:
                archive = place.keep_archive()
            unpack(archive, folder, known, teller=teller)
        except KeyboardInterrupt:
            place.say_kept()
            raise
        place.find()
    return place.target


class _Place:
    """The folder that a data set comes to, and the names in it."""

    def __init__(self, known: KnownSet, folder: Path, teller: Teller) -> None:
        self.known = known
        self.folder = folder
        self.teller = teller
        self.target = folder / known.folder
        self.archive = folder / known.archive_name
        self.part = folder / f"{known.archive_name}.part"
        self.lock = folder / f".{known.folder}.lock"

    def find(self) -> Path | None:
        """The data set, if it is there; leftovers of making it are removed then.

        Raises:
            InputError: its folder is there and something is missing in it.
        """
        named_itself = os.path.basename(os.path.abspath(self.folder)) == self.known.folder
        if named_itself and not self.known.missing(self.folder):  # instead of the folder above
            return self._there(self.folder)
        if not os.path.lexists(self.target):
            return None
        missing = self.known.missing(self.target)
        if missing:
            raise InputError(
                f"the folder is there but not whole: {missing}",
                where=self.target,
                fix="remove it or give it another name, and run the same command again; nothing was changed",
            )
        with suppress(OSError):
            for path in (self.part, sidecar_of(self.part), self.lock):
                path.unlink(missing_ok=True)
            remove_leftovers(self.folder, self.known)
        return self._there(self.target)

    def _there(self, folder: Path) -> Path:
        counts = ", ".join(f"{count:,} {pattern}" for pattern, count in self.known.files.items())
        self.teller.say(f"{folder} is complete: {counts}")
        return folder

    def from_disk(self, named: Path | None) -> Path | None:
        """A zip file that need not be downloaded, compared with its checksum."""
        path = named or self.archive
        if named is None and not os.path.lexists(path):
            return None
        if not path.is_file():
            raise InputError(
                f"{'no file' if path.exists() else 'nothing'} is where the zip file should be",
                where=path,
                fix="check the path",
            )
        size = path.stat().st_size
        self._announce(str(path), size, size)
        sha1 = self._sha1(path)
        if sha1 != self.known.sha1:
            raise InputError(
                f"this is not the data set's zip file, or not all of it: SHA-1 {sha1} ({size:,} bytes), "
                f"expected {self.known.sha1}",
                where=path,
                fix=f"replace it by {self.known.url}; or remove it, leave --url out, and run the command "
                "again to download it here",
            )
        return path

    def _sha1(self, path: Path) -> str:
        digest, done = hashlib.sha1(usedforsecurity=False), 0
        try:
            with path.open("rb") as file, self.teller.bar("comparing with the checksum") as update:
                size = os.fstat(file.fileno()).st_size
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
                    done += len(chunk)
                    update(done, size)
        except OSError as error:
            raise InputError(
                f"cannot read the zip file: {error.strerror or error}", where=path, fix="check access to it"
            ) from error
        return digest.hexdigest()

    def from_network(self, remote: Remote, patience: Patience) -> Path:
        """The part file, whole."""
        part = PartFile(self.part)
        fetch = Fetch(
            remote,
            part,
            announce=lambda total, have: self._announce(remote.url, total, have),
            teller=self.teller,
            patience=patience,
        )
        fetch.run()
        self.teller.say(f"downloaded: {decimal(part.have)}, SHA-1 as expected")
        return self.part

    def keep_archive(self) -> Path:
        """Give the downloaded zip file its own name: then it is never removed."""
        os.replace(self.part, self.archive)
        return self.archive

    def _announce(self, source: str, total: int | None, have: int) -> None:
        """Say what is about to happen, and refuse where the space for it is missing."""
        size = self.known.archive_bytes if total is None else total
        needed = size + int(_UNPACKED_SHARE * size) - have
        free = shutil.disk_usage(self.folder).free
        said = f"about {decimal(size)}, the server does not say" if total is None else decimal(size)
        here = f", of which {decimal(have)} are here" if 0 < have < size else ""
        for line in (
            self.known.title,
            f"  from:  {source}",
            f"  size:  {said}{here}",
            f"  to:    {self.target} (takes {decimal(needed)} on the way, {decimal(free)} are free)",
            f"  terms: {self.known.terms}",
        ):
            self.teller.say(line)
        if needed > free:
            raise InputError(
                f"not enough space: {decimal(needed)} needed, {decimal(free)} free",
                where=self.folder,
                fix="free some space, or name a folder on another disk with --to",
            )

    def say_waiting(self) -> None:
        """While another process holds the lock."""
        self.teller.say(f"another process is downloading to {self.folder}: waiting for it")

    def say_kept(self) -> None:
        """After Ctrl-C."""
        if self.part.is_file():
            size = decimal(self.part.stat().st_size)
            self.teller.say(f"{size} stay in {self.part}: the same command goes on from there")


def _local_path(url: str) -> Path | None:
    """The file that ``--url`` names, or None where it is on a server.

    Raises:
        InputError: neither.
    """
    try:
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
    except ValueError:
        scheme = "?"
    if scheme in ("http", "https"):
        return None
    if scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(url2pathname(parts.path))
    if url and "://" not in url:  # C:\\data.zip too
        return Path(url)
    raise InputError(
        f"{url!r} is no address of a zip file",
        where="--url",
        fix="an address that begins with http://, https:// or file://, or a path",
    )
