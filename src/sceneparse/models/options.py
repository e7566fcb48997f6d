"""ModelOptions: what can be chosen about a network besides its name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sceneparse.errors import InputError, nearest

POOLINGS = ("max", "average", "source")
UPSAMPLINGS = ("learned", "bilinear")
PADDINGS = ("same", "reference")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Choices that a model name leaves open. The defaults are the paper's network at any image size.

    An option that would have no effect on the named model is an error when the model is built, not silently
    ignored.

    Args:
        pooling: VGG only. ``"max"``, ``"average"``, or ``"source"`` (the tutorial's: average for pools 1 to
            4, max for pool 5).
        dropout: probability 0..1 (1 excluded) before the score of the deepest features; VGG also has it
            between fc6 and fc7, as in the paper.
        upsampling: ``"learned"`` (transposed convolutions that start as bilinear interpolation) or
            ``"bilinear"`` (interpolation without parameters; a fraction of the cost when there are many
            classes).
        padding: ``"same"`` (every layer keeps its size; images are padded to a multiple of 32) or
            ``"reference"`` (VGG only: conv1_1 padded by 100, fc6 unpadded, maps cropped; the geometry of the
            published weights).
        at_once: FCN-8s only. Scales pool4 by 0.01 and pool3 by 0.0001, as the network that the paper's
            authors trained at once instead of in stages.
        smp: of ``smp/...`` models only: further arguments of the class in segmentation_models.pytorch, such
            as ``{"decoder_channels": 512}``. The other options have no effect on these models.

    Raises:
        InputError: a value is not one of those above.
    """

    pooling: str = "max"
    dropout: float = 0.5
    upsampling: str = "learned"
    padding: str = "same"
    at_once: bool = False
    smp: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, known in (("pooling", POOLINGS), ("upsampling", UPSAMPLINGS), ("padding", PADDINGS)):
            value = getattr(self, name)
            if value not in known:
                raise InputError(
                    f"unknown {name} {value!r}.{nearest(str(value), known)}",
                    where=f"model option {name}",
                    fix=f"use one of: {', '.join(known)}",
                )
        if (
            isinstance(self.dropout, bool)
            or not isinstance(self.dropout, (int, float))
            or not 0 <= self.dropout < 1
        ):
            raise InputError(
                f"dropout is {self.dropout!r}, expected a number from 0 to below 1",
                where="model option dropout",
            )
        if not isinstance(self.at_once, bool):
            raise InputError(
                f"at_once is {self.at_once!r}, expected true or false", where="model option at_once"
            )
        if not isinstance(self.smp, dict):
            raise InputError(f"smp is {self.smp!r}, expected names with values", where="model option smp")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelOptions:
        """Inverse of :meth:`to_dict`. Raises InputError on an unknown key, naming the nearest known one."""
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise InputError(
                    f"unknown model option {key!r}.{nearest(key, known)}",
                    fix=f"known options: {', '.join(known)}",
                )
        return cls(**values)
