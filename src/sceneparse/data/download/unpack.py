"""A zip file to a folder that appears whole or not at all, whatever the zip file holds."""

from __future__ import annotations

import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from rich.filesize import decimal

from sceneparse.data.download.known_sets import KnownSet
from sceneparse.data.download.telling import Teller
from sceneparse.errors import InputError

_CHUNK_BYTES = 2**20
_MOST_GROWTH = 10
"""Pictures are compressed already: a zip file of them that grows tenfold is a trap."""
_SLACK_BYTES = 2**20
"""Small files of text may shrink by more than that."""
_BLOCK_BYTES = 4096
"""A file takes whole blocks of the disk."""
_PLAIN_NAME = re.compile(r"[\w.()+ -]*[\w()+-]", re.ASCII)
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\..*)?", re.IGNORECASE)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(ValueError, LookupError, OverflowError, NotImplementedError, RuntimeError),
)
"""What zipfile raises on a damaged or strange file."""


def unpack(archive: Path, folder: Path, known: KnownSet, *, teller: Teller) -> None:
    """Unpack the data set's folder from its zip file into ``folder``, where it must not be yet.

    Before anything is written, everything is checked: names that lead out of the folder or that some system
    cannot have, links, devices, encryption, sizes. Each file is compared with its checksum. What lies
    beside the data set's folder in the zip file is left out.

    Raises:
        InputError: the zip file is damaged or not what it should be, or the disk is full. The data set's
            folder is not there then.
    """
    temporary = folder / f".{known.folder}.{os.getpid()}.unpacking"
    try:
        with zipfile.ZipFile(archive) as file:
            members = _members(file, archive, known.folder)
            _require_sizes(members, archive, folder)
            temporary.mkdir()
            _extract(file, members, temporary, teller)
        missing = known.missing(temporary / known.folder)
        if missing:
            raise _refused(archive, f"it holds {missing}")
        os.rename(temporary / known.folder, folder / known.folder)
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"cannot unpack: {error.strerror or error}",
            where=error.filename or archive,
            fix="free some space, correct the permissions or choose another folder, and run the same "
            "command again",
        ) from error
    except _DAMAGE as error:
        raise _refused(archive, f"it is damaged ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, known: KnownSet) -> None:
    """Delete what killed processes had unpacked."""
    for path in folder.glob(f".{known.folder}.*.unpacking"):
        shutil.rmtree(path, ignore_errors=True)


def _members(file: zipfile.ZipFile, archive: Path, top: str) -> list[zipfile.ZipInfo]:
    """Files below ``top``; every name in the zip file is checked."""
    members = []
    for info in file.infolist():
        name = info.filename
        parts = name.removesuffix("/").split("/")
        mode = stat.S_IFMT(info.external_attr >> 16)
        if not all(_PLAIN_NAME.fullmatch(part) and not _DEVICE.fullmatch(part) for part in parts):
            raise _refused(archive, f"it holds the name {name[:200]!r}, which could lead out of the folder")
        if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(archive, f"{name!r} in it is a link or a device, no file")
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise _refused(archive, f"{name!r} in it is encrypted or packed in an unusual way")
        if parts[0] == top and not info.is_dir():
            members.append(info)
    if not members:
        raise _refused(archive, f"it holds no folder {top}")
    return members


def _require_sizes(members: list[zipfile.ZipInfo], archive: Path, folder: Path) -> None:
    total = sum(info.file_size for info in members)
    packed = archive.stat().st_size
    if total > _MOST_GROWTH * packed + _SLACK_BYTES:
        raise _refused(archive, f"its {decimal(packed)} would become {decimal(total)}")
    on_disk = total + len(members) * _BLOCK_BYTES
    free = shutil.disk_usage(folder).free
    if on_disk > free:
        raise InputError(
            f"unpacked, it takes {decimal(on_disk)}; {decimal(free)} are free",
            where=folder,
            fix="free some space and run the same command again",
        )


def _extract(file: zipfile.ZipFile, members: list[zipfile.ZipInfo], temporary: Path, teller: Teller) -> None:
    total, done = sum(info.file_size for info in members), 0
    made: set[Path] = set()
    with teller.bar("unpacking") as update:
        for info in members:
            path = temporary / info.filename
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            # "x": no file twice, also where capital letters do not count.
            with file.open(info) as packed, path.open("xb") as written:
                shutil.copyfileobj(packed, written, _CHUNK_BYTES)
                if written.tell() != info.file_size:
                    raise zipfile.BadZipFile(f"{info.filename!r} is shorter than said")
            done += info.file_size
            update(done, total)


def _refused(archive: Path, what: str) -> InputError:
    return InputError(
        f"this zip file is not unpacked: {what}",
        where=archive,
        fix="nothing was unpacked; get the zip file again",
    )
