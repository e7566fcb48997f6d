"""What a run ran on: versions, hardware, state of the source. ``sceneparse env`` prints it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("sceneparse", "torch", "torchvision", "timm", "segmentation-models-pytorch"),
    *("lightning", "torchmetrics", "numpy", "pillow"),
)


def version(package: str) -> str | None:
    """Of a package, by its name for pip; None where it is not installed. Nothing is imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Version of Python and of the packages a result depends on."""
    found = {package: version(package) or "not installed" for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def hardware() -> dict[str, Any]:
    """Processor, cores that may be used, memory, GPUs."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": cores,
        "memory_gib": _memory_gib(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def git_state() -> dict[str, Any] | None:
    """Commit of the source this package runs from; None when it is installed from a package."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ("git", "-C", str(here), *arguments), capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        if not git("ls-files", "--", Path(__file__).name):
            return None  # some other project's repository around the place of installation
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def describe() -> dict[str, Any]:
    """All of it, as plain values."""
    from sceneparse.kernels import bilinear

    return {
        "versions": versions(),
        "hardware": hardware(),
        "kernels": bilinear.describe(),
        "git": git_state(),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
