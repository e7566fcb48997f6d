"""Loss and labels of bilinearly upsampled scores, by the fastest code that works on the machine at hand.

On the processor the C code, on a GPU Triton; PyTorch where the one has no compiler or the other does not run.

Shapes: B batch, K classes, h,w scores, H,W labels.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from sceneparse.kernels import bands, compiled
from sceneparse.kernels.compiler import kernels
from sceneparse.kernels.target import Gradients, Target


def loss(
    scores: Tensor,
    target: Target,
    covered_hw: tuple[int, int],
    *,
    with_gradient: bool,
    align_corners: bool = False,
) -> Gradients:
    """Sum of the cross-entropies of upsampled scores.

    Args:
        scores: float32 (B, K, h, w), any device and strides.
        target: labels (B, H, W).
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.
        with_gradient: also that of the scores.

    Raises:
        InputError: a label is no class (on the CPU; the loss is not a number on a GPU).
    """
    if compiled.can_take(scores):
        found = compiled.loss(
            scores, target, covered_hw, with_gradient=with_gradient, align_corners=align_corners
        )
        if found is not None:
            return found
    elif _triton_takes(scores):
        from sceneparse.kernels import gpu

        return gpu.loss(scores, target, covered_hw, with_gradient=with_gradient, align_corners=align_corners)
    with torch.autocast(scores.device.type, enabled=False):
        return bands.loss(
            scores, target, covered_hw, with_gradient=with_gradient, align_corners=align_corners
        )


def labels(
    scores: Tensor, size_hw: tuple[int, int], covered_hw: tuple[int, int], *, align_corners: bool = False
) -> Tensor:
    """Arg-max of upsampled scores.

    Args:
        scores: float32 (B, K, h, w), any device and strides.
        size_hw: H, W.
        covered_hw: size that the scores cover; the labels lie at its upper left.
        align_corners: as ``F.interpolate`` has it.

    Returns:
        (B, H, W), uint8 for K <= 256, otherwise int32.
    """
    if compiled.can_take(scores):
        return compiled.labels(scores, size_hw, covered_hw, align_corners=align_corners)
    if _triton_takes(scores):
        from sceneparse.kernels import gpu

        return gpu.labels(scores, size_hw, covered_hw, align_corners=align_corners)
    with torch.autocast(scores.device.type, enabled=False):
        return bands.labels(scores, size_hw, covered_hw, align_corners=align_corners)


def describe() -> dict[str, str]:
    """Who computes, by kind of device, in words; compiles what is not compiled yet."""
    said = {"cpu": kernels().said}
    if torch.cuda.is_available():
        trouble = _triton_trouble(torch.device("cuda"))
        said["gpu"] = "Triton" if trouble is None else f"PyTorch ({trouble})"
    return said


def _triton_takes(scores: Tensor) -> bool:
    return scores.is_cuda and scores.numel() > 0 and _triton_trouble(scores.device) is None


@cache
def _triton_trouble(device: torch.device) -> str | None:
    """What is wrong with Triton on this GPU, found out by a small loss; None: nothing.

    It needs a compiler on the machine, and a GPU it knows: a kernel is never worth a failed run.
    """
    try:
        from sceneparse.kernels import gpu

        scores = torch.arange(24.0, device=device).view(1, 2, 3, 4).sin()
        target = Target(torch.zeros(1, 9, 9, dtype=torch.uint8, device=device), 255, None, 0.0)
        ours, plain = (way.loss(scores, target, (9, 9), with_gradient=True) for way in (gpu, bands))
        assert ours.scores is not None
        assert plain.scores is not None
        torch.testing.assert_close(ours.total, plain.total, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(ours.scores, plain.scores, rtol=1e-3, atol=1e-3)
    except Exception as error:  # whatever it is, PyTorch takes over
        return next(iter(str(error).splitlines()), type(error).__name__)[:200]
    return None
