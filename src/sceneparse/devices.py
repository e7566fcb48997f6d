"""How many devices may be asked for: what is said the same way for training and evaluation."""

from __future__ import annotations

import os

from sceneparse.errors import InputError


def refuse_numbered_gpu(device: str, devices: int) -> None:
    """One GPU by its number is not several.

    Raises:
        InputError: "cuda:N" and more than one device.
    """
    if ":" in device and devices > 1:
        raise InputError(
            f"device {device!r} is one GPU, and {devices} devices were asked for",
            fix="use --device cuda, and choose the GPUs with the variable CUDA_VISIBLE_DEVICES",
        )


def refuse_other_number(devices: int, processes: int) -> None:
    """Under torchrun its number of processes is that of the devices; 1 leaves it open.

    Raises:
        InputError: another number was asked for.
    """
    if devices not in (1, processes):
        raise InputError(
            f"{devices} devices were asked for, and torchrun has started {processes} processes",
            fix=f"start {devices} with torchrun; a run goes on with as many as it began with",
        )


def require_devices(device: str, devices: int) -> None:
    """Make sure that this machine has them.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N".
        devices: processes of this machine: each takes a GPU of its own, or a share of the processor.

    Raises:
        InputError: no such GPU, or fewer GPUs or processor cores than devices.
    """
    import torch

    on_gpu = device != "cpu" and torch.cuda.is_available()
    seen = torch.cuda.device_count() if on_gpu else 0
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= seen:
        raise InputError(
            f"device {device!r} was asked for and PyTorch sees {seen or 'no'} GPU",
            fix="use --device cpu, or install a driver and a PyTorch build for it",
        )
    if on_gpu and devices > seen:
        raise InputError(
            f"{devices} devices were asked for and PyTorch sees {seen} GPU",
            fix=f"use --devices {seen}, or --device cpu",
        )
    cores = os.cpu_count() or 1
    if not on_gpu and devices > max(2, cores):
        raise InputError(
            f"{devices} devices were asked for; this machine has {cores} cores and no GPU is used",
            fix=f"use --devices {max(2, cores)} or fewer",
        )
