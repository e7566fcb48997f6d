"""Engines that take long to make, made once for a model on a machine and found again beside its bundle.

An artefact is a folder ``engine-KIND-MACHINE-KEY`` with a manifest of its files. The key says all that it
depends on: where anything of it changes, the artefact has another name and the old one goes. Loading it is
running it, so it is used only if nobody but this user could have written it and every file is as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import sceneparse.kernels
import sceneparse.models
from sceneparse.deploy.bundle import CONFIG, WEIGHTS
from sceneparse.deploy.shipped import is_shipped
from sceneparse.files import user_cache
from sceneparse.kernels import compiler
from sceneparse.lock import process_lock

MANIFEST = "engine.json"

_CODE = tuple(Path(module.__file__ or "").parent for module in (sceneparse.models, sceneparse.kernels))
_PACKAGES = ("sceneparse", "torch", "timm")


class Shelf:
    """Where the artefacts of one kind for one model are.

    Args:
        bundle: folder of the model.
        kind: of engine.
        packages: further packages whose version an artefact depends on.
    """

    def __init__(self, bundle: Path, kind: str, *, packages: tuple[str, ...] = ()) -> None:
        self.bundle, self.kind, self.packages = bundle, kind, packages
        cache = user_cache() / "engines" / _digest(str(bundle.resolve()).encode())
        # A bundle may lie in a folder that this user cannot write to. Nothing is written into the package.
        self.places = (cache,) if is_shipped(bundle) else (bundle, cache)

    def find(self) -> Path | None:
        """The artefact; None where there is none that is whole and safe to load."""
        # The key costs reading the weights: only where there is something that it could fit.
        if not any(self._all(place) for place in self.places):
            return None
        name = self._name()
        for place in self.places:
            found = place / name
            if found.is_dir() and _is_ours(found) and _is_whole(found):
                return found
        return None

    def make(self, write: Callable[[Path], object]) -> Path | None:
        """The artefact, made now if need be.

        Args:
            write: puts its files into an empty folder, in a minute or so.

        Returns:
            None while another process is making it.

        Raises:
            OSError: there is no place that can hold it.
        """
        with _alone(self.places[-1].with_suffix(".lock")) as alone:
            if not alone:
                return None
            found = self.find()
            if found is not None:
                return found
            with tempfile.TemporaryDirectory(prefix="sceneparse-engine-") as scratch:
                made = Path(scratch) / "engine"
                made.mkdir()
                write(made)
                files = {path.name: _digest_of(path) for path in made.iterdir()}
                (made / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
                return self._keep(made)

    def _keep(self, made: Path) -> Path:
        name, refused = self._name(), OSError("no place")
        for place in self.places:
            try:
                place.mkdir(parents=True, exist_ok=True)
                return _copy(made, place, name, stale=self._all(place))
            except OSError as error:
                refused = error
        raise refused

    def _all(self, place: Path) -> list[Path]:
        """Artefacts of this kind for this machine, whatever their key."""
        return list(place.glob(f"engine-{self.kind}-{_machine()}-*"))

    def _name(self) -> str:
        parts = (
            _digest_of(self.bundle / WEIGHTS),
            (self.bundle / CONFIG).read_bytes(),
            [(package, metadata.version(package)) for package in (*_PACKAGES, *self.packages)],
            [_digest_of(path) for path in _sources()],
            compiler.kernels().said,
        )
        return f"engine-{self.kind}-{_machine()}-{_digest(repr(parts).encode())}"


def _sources() -> Iterator[Path]:
    for folder in (*_CODE, Path(__file__).parent):
        yield from sorted(path for path in folder.iterdir() if path.suffix in (".py", ".c", ".h"))


def _machine() -> str:
    """A home folder may be shared by machines: each keeps its own."""
    return _digest(compiler.processor().encode())[:8]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _copy(made: Path, place: Path, name: str, *, stale: list[Path]) -> Path:
    with tempfile.TemporaryDirectory(dir=place, prefix=".engine-making-") as scratch:
        whole = Path(scratch) / name
        shutil.copytree(made, whole)
        for path in (whole, *whole.iterdir()):
            path.chmod(0o755 if path is whole else 0o644)
        for old in stale:
            shutil.rmtree(old, ignore_errors=True)
        whole.rename(place / name)
    return place / name


def _is_whole(artefact: Path) -> bool:
    """Whether every file is what the manifest says: damaged code can do anything."""
    try:
        files: dict[str, Any] = json.loads((artefact / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all(_digest_of(artefact / name) == digest for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_ours(artefact: Path) -> bool:
    return os.name != "posix" or all(compiler.is_ours(path) for path in (artefact, *artefact.iterdir()))


class _Busy(Exception):
    pass


def _give_up() -> None:
    raise _Busy


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """True where no other process of this user is here; also where that cannot be known."""
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
    entered = False
    try:
        with process_lock(lock, waiting=_give_up):
            entered = True
            yield True
    except _Busy:
        yield False
    except OSError:
        if entered:
            raise
        yield True  # no folder for a lock
