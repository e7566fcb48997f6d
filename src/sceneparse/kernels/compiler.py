"""The C code, compiled on first use for the processor at hand by the compiler at hand, and kept.

Without a compiler, or where anything about it fails, there is none and PyTorch does the work: a kernel is
never worth a failed run.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sceneparse.files import user_cache

SOURCES = tuple(
    Path(__file__).with_name(f"{name}.c")
    for name in (
        "loss",
        "labels",
        "transposed",
        "transposed3",
        "pieces",
        "winograd",
        "winograd_gradient",
        "fourier",
        "fourier_gradient",
    )
)
HEADERS = tuple(
    Path(__file__).with_name(name)
    for name in (
        "vectors.h",
        "exponential.h",
        "products.h",
        "filtering.h",
        "bilinear.h",
        "threads.h",
        "winograd.h",
        "fourier.h",
    )
)

FLAGS = ("-std=gnu11", "-O3", "-shared", "-fPIC", "-pthread")

FOR_THIS_PROCESSOR = ("-march=native", "-mcpu=native", None)
"""The first that the compiler takes."""

SECONDS = 120.0
"""A compiler that takes longer is stuck: it needs five."""

_TRY = "import ctypes, sys; sys.exit(ctypes.CDLL(sys.argv[1]).sceneparse_self_test())"


class Kernels(NamedTuple):
    """What there is.

    Args:
        library: the compiled code; None: PyTorch does the work.
        said: the same in words, for ``sceneparse env``.
    """

    library: ctypes.CDLL | None
    said: str


@cache
def kernels() -> Kernels:
    """The compiled code, compiled now if need be (some seconds, once on a machine)."""
    compiler = _compiler()
    if compiler is None:
        return Kernels(None, "PyTorch (no C compiler found)")
    try:
        folder, key = user_cache() / "kernels", _key(compiler)
        kept = (path for path in folder.glob(f"kernels-{key}-*.so") if _is_whole(path))
        path = next(kept, None) or _compile(compiler, folder, key)
        if not is_ours(path):
            return Kernels(None, f"PyTorch ({path} could have been written by another user)")
        library = ctypes.CDLL(str(path))
        _declare(library)
        return Kernels(library, f"compiled by {compiler}")
    except (OSError, RuntimeError, AttributeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        return Kernels(None, f"PyTorch ({compiler} failed: {reason[:200]})")


@cache
def torch_threads() -> int | None:
    """Address of what gives work to PyTorch's own threads: ``GOMP_parallel`` of its OpenMP library.

    None: PyTorch is built with another one, and the C code starts threads of its own at each call.
    """
    import torch  # noqa: F401  (loads the library)

    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    except (AttributeError, OSError):
        return None


def _declare(library: ctypes.CDLL) -> None:
    """Tell what the functions take and give.

    Raises:
        AttributeError: one is not there.
    """
    address, number = ctypes.c_void_p, ctypes.c_int64
    library.sceneparse_pieces.argtypes = (address, number, address, address, number)
    for job in (
        library.sceneparse_conv3x3,
        library.sceneparse_conv3x3_weight_gradient,
        library.sceneparse_conv3x3_pack,
        library.sceneparse_fourier,
        library.sceneparse_fourier_maps,
        library.sceneparse_fourier_weights,
    ):
        job.argtypes = (address,)
    library.sceneparse_conv3x3_pack.restype = None
    library.sceneparse_conv3x3_packed.argtypes = (number, number)
    library.sceneparse_conv3x3_packed.restype = number


def _compiler() -> str | None:
    if os.name != "posix":
        return None
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def _compile(compiler: str, folder: Path, key: str) -> Path:
    """Compile, try it in a process of its own (it may crash), and put it in place whole.

    Raises:
        RuntimeError: it does not compile or does not work here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="making-") as scratch:
        made = Path(scratch) / "kernels.so"
        for processor in FOR_THIS_PROCESSOR:
            flags = [*FLAGS, processor] if processor else [*FLAGS]
            if not _run([compiler, *flags, *map(str, SOURCES), "-o", str(made), "-lm"]):
                break
        else:
            raise RuntimeError("it does not compile the kernels")
        if _run([sys.executable, "-c", _TRY, str(made)]):
            raise RuntimeError("what it made does not work on this machine")
        made.chmod(0o755)
        path = folder / f"kernels-{key}-{_digest(made.read_bytes())}.so"
        made.replace(path)
    return path


def _run(command: list[str]) -> int:
    try:
        return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it took longer than {SECONDS:g} s") from None


def _key(compiler: str) -> str:
    """Changes with the source, the compiler and the processor: a home folder may be shared by machines."""
    found = Path(compiler).resolve().stat()
    code = [path.read_bytes() for path in (*SOURCES, *HEADERS)]
    parts = (code, compiler, found.st_size, found.st_mtime_ns, FLAGS, processor())
    return _digest(repr(parts).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _is_whole(path: Path) -> bool:
    """Whether the file is what its name says: a damaged library kills the process that loads it."""
    return path.stem.endswith(f"-{_digest(path.read_bytes())}")


def processor() -> str:
    """What code for this processor depends on, in words of the system's."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    told = {"vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU part", "isa"}
    first = lines[: lines.index("")] if "" in lines else lines
    return "\n".join(line for line in first if line.partition(":")[0].strip() in told)


def is_ours(path: Path) -> bool:
    """Whether nobody but this user and the administrator could have written it: loading it is running it."""
    found = path.stat()
    return found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022
