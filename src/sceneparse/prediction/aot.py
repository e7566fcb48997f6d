"""A network compiled ahead of time by PyTorch's Inductor (AOTInductor), for pictures of any size.

Shapes: B batch (1), C channels of the scores, H,W padded image, h,w scores.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor, nn

from sceneparse.kernels import winograd

FILE = "network.pt2"


@torch.no_grad()
def write_compiled(body: nn.Module, size_hw: tuple[int, int], folder: Path) -> None:
    """Compile ``body``, padded images (1, 3, H, W) to scores, into ``folder``: half a minute and more.

    Raises:
        Exception: of whatever kind, where there is no compiler or the network is not for it.
    """
    if compiler() is None:
        raise RuntimeError("no C++ compiler found")
    body.to(memory_format=torch.channels_last).requires_grad_(False)
    image = torch.zeros(1, 3, *size_hw).contiguous(memory_format=torch.channels_last)
    any_size = torch.export.Dim.DYNAMIC
    _be_quiet()
    exported = torch.export.export(body, (image,), dynamic_shapes=({2: any_size, 3: any_size},), strict=False)
    torch._inductor.aoti_compile_and_package(
        exported,
        package_path=str(folder / FILE),
        # Constants laid out when compiling; threads as many as there are when running.
        inductor_configs={"freezing": True, "cpp.dynamic_threads": True},
    )
    body_of(folder)(image)  # what it made works here


def body_of(folder: Path) -> Callable[[Tensor], Tensor]:
    """The function that was compiled into ``folder``.

    Raises:
        Exception: of whatever kind, where it cannot be loaded.
    """
    assert winograd.conv3x3 is not None  # the compiled code calls the operators of this module
    # torch._inductor.aoti_load_package is the same, after a second of importing the compiler.
    # Its run holds the interpreter, and gives it back inside our operators: a second thread in it would hold
    # it for ever.
    one_at_a_time = Lock()
    loader = torch._C._aoti.AOTIModelPackageLoader(str(folder / FILE), "model", False, 1, -1)

    def body(images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        with one_at_a_time:
            return torch.cat([loader.run([image])[0] for image in images.split(1)])

    return body


def compiler() -> str | None:
    """The compiler that would be called; None where there is none."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def _be_quiet() -> None:
    """Without remarks on GPUs that are not there, and the like."""
    for name in ("torch.utils.cpp_extension", "torch._inductor", "torch.export"):
        logging.getLogger(name).setLevel(logging.ERROR)
