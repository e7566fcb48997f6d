"""A network compiled ahead of time by PyTorch's Inductor (AOTInductor), for pictures of any size.

Shapes: B batch (1), C channels of the scores, H,W padded image, h,w scores.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor, nn

# The compiled code calls their operators.
from sceneparse.kernels import fourier, winograd  # noqa: F401
from sceneparse.prediction.folding import TRACING

FILE, OPERATORS = "network.so", "network.json"


@torch.no_grad()
def write_compiled(body: nn.Module, size_hw: tuple[int, int], folder: Path) -> None:
    """Compile ``body``, padded images (1, 3, H, W) to scores, into ``folder``: half a minute and more.

    Raises:
        Exception: of whatever kind, where there is no compiler or the network is not for it.
    """
    if compiler() is None:
        raise RuntimeError("no C++ compiler found")
    body.requires_grad_(False)
    image = torch.zeros(1, 3, *size_hw).contiguous(memory_format=torch.channels_last)
    any_size = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    package = folder / "network.pt2"
    with TRACING, _quiet():
        exported = torch.export.export(body, (image,), dynamic_shapes=(any_size,), strict=False)
        torch._inductor.aoti_compile_and_package(
            exported,
            package_path=str(package),
            # Constants laid out when compiling; threads as many as there are when running.
            inductor_configs={"freezing": True, "cpp.dynamic_threads": True},
        )
    _unpack(package, folder)
    package.unlink()
    body_of(folder)(image)  # what it made works here


def _unpack(package: Path, folder: Path) -> None:
    """The library, and what it has to know of our operators, beside it under the same name.

    PyTorch's loader of packages would unpack all of it for each process, into a folder that stays.
    """
    with zipfile.ZipFile(package) as whole:
        (library,) = (name for name in whole.namelist() if name.endswith(".so"))
        (folder / FILE).write_bytes(whole.read(library))
        operators = library.removesuffix(".so") + ".json"
        if operators in whole.namelist():
            (folder / OPERATORS).write_bytes(whole.read(operators))


def body_of(folder: Path) -> Callable[[Tensor], Tensor]:
    """The function that was compiled into ``folder``.

    Raises:
        Exception: of whatever kind, where it cannot be loaded.
    """
    # The importers of torch._inductor do the same, after a second of importing the compiler.
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(folder / FILE), 1)
    # A run holds the interpreter, and gives it back inside our operators: a second thread in it would hold it
    # for ever.
    one_at_a_time = Lock()

    def body(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with one_at_a_time:
            return torch.cat([runner.run([image])[0] for image in images.split(1)])

    return body


def compiler() -> str | None:
    """The compiler that would be called; None where there is none."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without remarks on GPUs that are not there, and the like."""
    loggers = [logging.getLogger(name) for name in ("torch.utils", "torch._inductor", "torch.export")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
