"""From pixels to class indices: the one path of validation, ``evaluate`` and ``predict``.

Shapes: B batch, K classes, H,W the network's input, any size for the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sceneparse.models import Network
from sceneparse.models.upsample import Upsampling, upsampled_argmax, upsampled_confidence
from sceneparse.normalization import Normalization
from sceneparse.prediction.rewritten import Rewritten


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
        (B, K, H, W): the logarithm of the mean of the softmax probabilities, always finite.
    """
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


@torch.no_grad()
def scores_for(
    model: Callable[[Tensor], Tensor], images: Tensor, size_hw: tuple[int, int]
) -> tuple[Tensor, Upsampling]:
    """The least that determines the logits of ``images`` at ``size_hw``, and the way to them.

    Logits of the images' own size come straight from a network's scores. Another size is interpolated from
    the logits of the images' size.

    Args:
        model: (B, 3, H, W) normalized images to (B, K, H, W) logits, in evaluation mode.
        images: normalized (B, 3, H, W).
        size_hw: of the labels.
    """
    if isinstance(model, (Network, Rewritten)) and tuple(images.shape[2:]) == size_hw:
        return model.scores(images), model.upsampling(size_hw)
    return model(images), Upsampling()


@torch.no_grad()
def predicted(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    size_hw: tuple[int, int],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Tensor:
    """Class of every pixel; arguments as in :func:`averaged_logits` and :func:`scores_for`.

    Returns:
        (B, H, W) training indices: uint8 for K <= 256, otherwise int32.
    """
    scores, upsampling = _scores(model, images, size_hw, scales, flip)
    return upsampled_argmax(scores, size_hw, upsampling=upsampling)


@torch.no_grad()
def predicted_with_confidence(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    size_hw: tuple[int, int],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> tuple[Tensor, Tensor]:
    """What :func:`predicted` gives, and the probability of each pixel's class.

    Returns:
        (B, H, W) training indices, and float32 (B, H, W), 1/K..1.
    """
    scores, upsampling = _scores(model, images, size_hw, scales, flip)
    labels = upsampled_argmax(scores, size_hw, upsampling=upsampling)
    return labels, upsampled_confidence(scores, size_hw, upsampling=upsampling)


def _scores(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    size_hw: tuple[int, int],
    scales: Sequence[float],
    flip: bool,
) -> tuple[Tensor, Upsampling]:
    if tuple(scales) == (1.0,) and not flip:
        return scores_for(model, images, size_hw)
    return averaged_logits(model, images, scales, flip), Upsampling()


def normalized(images: Tensor, normalization: Normalization, device: torch.device) -> Tensor:
    """uint8 (B, 3, H, W) on any device to float32 on ``device`` in channels-last memory."""
    pixels = images.to(device, non_blocking=True)
    return normalization(pixels).contiguous(memory_format=torch.channels_last)
