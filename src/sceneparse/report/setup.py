"""What a run's settings say of what could be done otherwise: its head, its resize, its scales."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sceneparse.errors import InputError
from sceneparse.models.build import HEADS, split_name
from sceneparse.models.encoder import is_vgg
from sceneparse.models.resnet import NETWORKS
from sceneparse.report.run_folder import Run


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Of a run; None where the settings do not say it, or there is nothing to change.

    Attributes:
        stride: the finest of the head.
        finer: a model whose head goes further, in words.
        resize: how pictures are shrunk that are larger, in words; None where they keep their size.
        scale: the largest factor on training pictures.
    """

    stride: int | None
    finer: str | None
    resize: str | None
    scale: float | None


def read_setup(run: Run) -> Setup | None:
    """None where the folder holds no settings."""
    if not run.config:
        return None
    stride, finer = _head(str(run.config.get("model.name")))
    scale = run.config.get("augmentation.scale")
    return Setup(
        stride=stride,
        finer=finer,
        resize=_resize(run.config),
        scale=float(scale[1]) if isinstance(scale, list) and len(scale) == 2 else None,
    )


def _head(name: str) -> tuple[int | None, str | None]:
    """Finest stride of a model's head, and the model of half that; networks of smp have no such choice."""
    try:
        family, backbone = split_name(name)
    except InputError:
        return None, None
    stride, kind = min(HEADS[family]), family.partition("-")[2]
    heads = [head for head in HEADS if min(HEADS[head]) == stride // 2]
    if not heads:
        return stride, None
    head = next((head for head in heads if head.partition("-")[2] == kind), heads[-1])
    if stride > 4 or is_vgg(backbone) or backbone in NETWORKS:
        return stride, f"{head}-{backbone}"
    # Many backbones of timm begin at stride 4.
    return stride, f"{head} on a backbone that has stride {stride // 2}"


def _resize(config: dict[str, Any]) -> str | None:
    mode, side = config.get("data.resize"), config.get("data.short_side")
    return {
        "short-side": f"shrunk to a short side of {side} pixels",
        "squash": f"squashed to {side} x {side} pixels",
    }.get(str(mode))
