"""From pixels to class indices: the one path of validation, ``evaluate`` and ``predict``.

Shapes: B batch, K classes, H,W the network's input, any size for the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sceneparse.normalization import Normalization


@torch.no_grad()
def averaged_logits(
    model: Callable[[Tensor], Tensor], images: Tensor, scales: Sequence[float] = (1.0,), flip: bool = False
) -> Tensor:
    """Logits, averaged as probabilities over scaled and mirrored copies of the images.

    Args:
        model: (B, 3, H, W) normalized images to (B, K, H, W) logits.
        images: normalized (B, 3, H, W).
        scales: factors on the size of the images.
        flip: also mirror left and right.

    Returns:
        (B, K, H, W): the network's own logits for one scale without flip, otherwise the logarithm of the mean
        of the softmax probabilities, always finite.
    """
    if tuple(scales) == (1.0,) and not flip:
        return model(images)
    size_hw = images.shape[2:]
    total: Tensor | None = None
    for scale in scales:
        scaled_hw = [max(1, round(side * scale)) for side in size_hw]
        scaled = images
        if scaled_hw != list(size_hw):
            scaled = F.interpolate(
                images, size=scaled_hw, mode="bilinear", align_corners=False, antialias=scale < 1
            )
        for mirrored in (False, True) if flip else (False,):
            logits = model(scaled.flip(3) if mirrored else scaled)
            logits = logits.flip(3) if mirrored else logits
            if logits.shape[2:] != size_hw:
                logits = F.interpolate(logits.float(), size=size_hw, mode="bilinear", align_corners=False)
            share = logits.float().softmax(1)
            total = share if total is None else total.add_(share)
    assert total is not None, "at least one scale"
    mean = total.div_(len(scales) * (2 if flip else 1))
    # A probability that underflows to 0 must not become -inf: interpolating between two of them gives nan,
    # and nan wins every arg-max.
    return mean.clamp_(min=torch.finfo(mean.dtype).tiny).log_()


def normalized(images: Tensor, normalization: Normalization, device: torch.device) -> Tensor:
    """uint8 (B, 3, H, W) on any device to float32 on ``device`` in channels-last memory."""
    pixels = images.to(device, non_blocking=True)
    return normalization(pixels).contiguous(memory_format=torch.channels_last)
