"""A network for prediction alone: other code for its scores, the same way from them to logits and labels.

Shapes: B batch, C channels of the scores, K classes, H,W image, h,w scores.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sceneparse.models import Network
from sceneparse.models.upsample import Upsampling

_GEOMETRY, _KERNEL = "geometry.json", "kernel.safetensors"

_SIZES = ((1, 1), (33, 65), (64, 96))


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """How images meet scores in a network.

    Args:
        multiple: images are padded, right and below, to multiples of it.
        align_corners: see :class:`~sceneparse.models.upsample.Upsampling`.
        offset: likewise.
        groups: likewise.
    """

    multiple: int
    align_corners: bool
    offset: int
    groups: int

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size to which images of ``size_hw`` are padded."""
        height, width = size_hw
        return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple


class Rewritten(nn.Module):
    """Normalized images (B, 3, H, W) to logits (B, K, H, W), for any H, W >= 1, by way of :meth:`scores`.

    Args:
        body: padded images to scores (B, C, h, w); a module, or any function.
        geometry: of the network it stands for.
        kernel: of its last upsampling where that is learned, see
            :class:`~sceneparse.models.upsample.Upsampling`.
        takes_several: whether several threads may well compute a picture each; otherwise they wait.
    """

    kernel: Tensor | None

    def __init__(
        self,
        body: Callable[[Tensor], Tensor],
        geometry: Geometry,
        kernel: Tensor | None,
        *,
        takes_several: bool = True,
    ) -> None:
        super().__init__()
        self.takes_several = takes_several
        self.body = body
        self.geometry = geometry
        self.register_buffer("kernel", None if kernel is None else kernel.detach())

    def save(self, folder: Path) -> None:
        """Write all but the body into ``folder``."""
        (folder / _GEOMETRY).write_text(json.dumps(asdict(self.geometry)) + "\n", encoding="utf-8")
        if self.kernel is not None:
            save_file({"kernel": self.kernel.contiguous()}, folder / _KERNEL)

    @classmethod
    def load(cls, body: Callable[[Tensor], Tensor], folder: Path) -> Rewritten:
        """What :meth:`save` wrote into ``folder``, around the body of a runtime with threads of its own."""
        geometry = Geometry(**json.loads((folder / _GEOMETRY).read_text(encoding="utf-8")))
        learned = (folder / _KERNEL).is_file()
        kernel = load_file(folder / _KERNEL)["kernel"] if learned else None
        return cls(body, geometry, kernel, takes_several=False).eval()

    def scores(self, images: Tensor) -> Tensor:
        """What the last upsampling starts from: (B, C, h, w)."""
        height, width = images.shape[2:]
        padded_h, padded_w = self.geometry.padded((height, width))
        if (padded_h, padded_w) != (height, width):
            # Zero is the mean colour of normalized images.
            images = F.pad(images, (0, padded_w - width, 0, padded_h - height))
        return self.body(images)

    def upsampling(self, size_hw: tuple[int, int]) -> Upsampling:
        """How the logits of images of ``size_hw`` come from their scores."""
        return _upsampling(self.geometry, self.kernel, size_hw)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W)."""
        scores, (height, width) = self.scores(images), images.shape[2:]
        if self.kernel is None:
            size_hw = self.geometry.padded((height, width))
            logits = F.interpolate(
                scores, size_hw, mode="bilinear", align_corners=self.geometry.align_corners
            )
            return logits[..., :height, :width]
        offset, factor = self.geometry.offset, self.kernel.shape[2] // 2
        kernel = self.kernel.to(scores.dtype)
        logits = F.conv_transpose2d(scores, kernel, stride=factor, groups=self.geometry.groups)
        return logits[..., offset : offset + height, offset : offset + width]


def geometry_of(network: Network) -> Geometry | None:
    """The geometry of a network; None where it has another kind."""
    found = network.upsampling((1, 1))
    multiple = network.padded_size_hw((1, 1))
    geometry = Geometry(
        multiple=multiple[0],
        align_corners=found.align_corners,
        offset=found.offset,
        groups=found.groups,
    )
    for size_hw in _SIZES:
        wanted = network.upsampling(size_hw)
        ours = _upsampling(geometry, wanted.kernel, size_hw)
        if network.padded_size_hw(size_hw) != geometry.padded(size_hw) or ours != wanted:
            return None
    return geometry


def _upsampling(geometry: Geometry, kernel: Tensor | None, size_hw: tuple[int, int]) -> Upsampling:
    if kernel is None:
        return Upsampling(padded_size_hw=geometry.padded(size_hw), align_corners=geometry.align_corners)
    return Upsampling(kernel=kernel, offset=geometry.offset, groups=geometry.groups)
