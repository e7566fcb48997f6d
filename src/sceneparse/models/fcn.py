"""Fully convolutional networks: FCN-32s, 16s, 8s of the paper, 4s after the same pattern, and the tutorial's
wide decoder.

Long, Shelhamer and Darrell, *Fully Convolutional Networks for Semantic Segmentation*, CVPR 2015 (figure 3),
PAMI 2016.

Shapes: B batch, K classes, H,W image, h,w = H,W over the finest stride of the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from sceneparse.models.fused import FusedHead, stride_key
from sceneparse.models.network import Network
from sceneparse.models.upsample import Upsampling, bilinear_transposed_conv, mixing_transposed_conv

AT_ONCE_SCALES = {16: 0.01, 8: 0.0001}
"""Factors on pool4 and pool3 in the paper's FCN-8s trained at once (PAMI 2016, section 4.3): they bring the
raw activations of the pools to the scale of fc7's, which stage-wise training would learn."""


def _zero_score(channels: int, num_classes: int) -> nn.Conv2d:
    score = nn.Conv2d(channels, num_classes, 1)
    nn.init.zeros_(score.weight)
    assert score.bias is not None
    nn.init.zeros_(score.bias)
    return score


class FCNHead(nn.Module):
    """The paper's head: a 1x1 score at each stride; from the deepest, upsample and add; then upsample to the
    image.

    Args:
        channels: encoder channels by stride.
        num_classes: K.
        strides: strides to score, deepest first: (32,), (32, 16), (32, 16, 8) or (32, 16, 8, 4).
        dropout: probability on the deepest features.
        upsampling: ``"learned"`` or ``"bilinear"``, see :class:`~sceneparse.models.options.ModelOptions`.
        scales: factor on the features of a stride before their score; 1 where missing.
        origins: image row where cell 0 of the features of each stride begins; all 0 unless the geometry is
            the published networks'.

    The scores start at zero, as in the paper: the first logits are all equal, the first loss is log K
    whatever the scale of the backbone's features, and a pretrained backbone is not disturbed by a random
    head. It does not stop training from scratch, with Adam either: the score weights get a gradient at the
    first step and the backbone from the second on.
    """

    def __init__(
        self,
        channels: Mapping[int, int],
        num_classes: int,
        strides: Sequence[int],
        *,
        dropout: float,
        upsampling: str,
        scales: Mapping[int, float],
        origins: Mapping[int, int],
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.scales = dict(scales)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.ModuleDict({stride_key(s): _zero_score(channels[s], num_classes) for s in strides})
        self.up = nn.ModuleDict()
        # Nonzero origins are the published geometry: its transposed convolutions keep the border that they
        # reach beyond their input, so each moves the origin of the map back by half the stride it came from.
        keep_border = any(origins[s] for s in strides)
        origin = origins[strides[0]]
        self.skip_offset: dict[int, int] = {}
        for coarse, fine in pairwise((*strides, 1)):
            if upsampling == "learned":
                self.up[stride_key(coarse)] = bilinear_transposed_conv(
                    num_classes, coarse // fine, keep_border=keep_border
                )
            else:
                self.up[stride_key(coarse)] = nn.Upsample(
                    scale_factor=coarse // fine, mode="bilinear", align_corners=False
                )
            origin -= coarse // 2 if keep_border else 0
            if fine > 1:
                assert (origin - origins[fine]) % fine == 0, "maps do not align on whole cells"
                self.skip_offset[fine] = (origin - origins[fine]) // fine
        self.image_offset = -origin

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        """Features by stride to logits (B, K, H', W'); the image begins at ``image_offset``."""
        return self.last(self.scores(features))

    @property
    def last(self) -> nn.Module:
        """The layer from scores to logits."""
        return self.up[stride_key(self.strides[-1])]

    def scores(self, features: dict[int, Tensor]) -> Tensor:
        """The fused scores (B, K, h, w) at the finest stride, before the last upsampling."""
        deepest, *finer = self.strides
        fused = self.score[stride_key(deepest)](self.dropout(features[deepest]))
        for coarse, fine in zip(self.strides, finer, strict=False):
            fused = self.up[stride_key(coarse)](fused)
            skip = features[fine] * self.scales[fine] if fine in self.scales else features[fine]
            skip = self.score[stride_key(fine)](skip)
            fused = fused + _crop(skip, self.skip_offset[fine], fused.shape[-2:])
        return fused


class WideHead(nn.Module):
    """The tutorial's decoder: scores at stride 32, upsampled to the widths of the pools, raw pools added.

    [CNNTutorials, TensorFlow] fc7 -> K -> x2 to pool4's width + pool4 -> x2 to pool3's width + pool3 -> x8 to
    K.

    The upsampling starts as bilinear interpolation and a random mix of channels, since the widths differ. The
    last one starts a hundred times smaller, because the raw pools of pretrained weights are in the hundreds
    and would otherwise give logits in the hundreds.

    Args:
        channels: encoder channels at strides 8, 16, 32.
        num_classes: K.
        dropout: probability on the deepest features.
    """

    image_offset = 0

    def __init__(self, channels: Mapping[int, int], num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        score = nn.Conv2d(channels[32], num_classes, 1)
        nn.init.xavier_normal_(score.weight)
        self.score = nn.ModuleDict({stride_key(32): score})
        self.up = nn.ModuleDict(
            {
                stride_key(32): mixing_transposed_conv(num_classes, channels[16], 2),
                stride_key(16): mixing_transposed_conv(channels[16], channels[8], 2),
                stride_key(8): mixing_transposed_conv(channels[8], num_classes, 8, gain=0.01),
            }
        )

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        """Features by stride to logits (B, K, H, W)."""
        return self.last(self.scores(features))

    @property
    def last(self) -> nn.Module:
        """The layer from scores to logits."""
        return self.up[stride_key(8)]

    def scores(self, features: dict[int, Tensor]) -> Tensor:
        """What the last layer upsamples and scores: (B, C, h, w), C the channels of stride 8."""
        score = self.score[stride_key(32)](self.dropout(features[32]))
        fused = self.up[stride_key(32)](score) + features[16]
        return self.up[stride_key(16)](fused) + features[8]


Head = FCNHead | WideHead | FusedHead


class FCN(Network):
    """Encoder and head: (B, 3, H, W) normalized images to (B, K, H, W) logits, for any H, W >= 1.

    Attributes:
        encoder: features by stride.
        head: :class:`FCNHead`, :class:`WideHead` or :class:`~sceneparse.models.fused.FusedHead`.
    """

    head_prefix = "head."
    score_prefix = "head.score."
    head: Head

    def __init__(self, encoder: nn.Module, head: Head, num_classes: int) -> None:
        super().__init__(encoder, num_classes)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, K, H, W) for images (B, 3, H, W)."""
        features = self.encoder(self._padded(images))
        logits = self.head(features)
        return _crop(logits, self.head.image_offset, images.shape[-2:])

    def scores(self, images: Tensor) -> Tensor:
        """What the last upsampling starts from: (B, C, h, w) at the head's finest stride."""
        return self.head.scores(self.encoder(self._padded(images)))

    def upsampling(self, size_hw: tuple[int, int]) -> Upsampling:
        """How the logits of images of ``size_hw`` come from their :meth:`scores`: as in :meth:`forward`."""
        layer = self.head.last
        if not isinstance(layer, nn.ConvTranspose2d):
            return Upsampling(padded_size_hw=self.padded_size_hw(size_hw))
        padding = layer.padding[0]
        assert isinstance(padding, int)
        return Upsampling(kernel=layer.weight, offset=padding + self.head.image_offset, groups=layer.groups)

    def padded_size_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Size to which images of ``size_hw`` are padded, right and below, before the encoder."""
        pads_itself = self.head.image_offset > 0
        return size_hw if pads_itself else super().padded_size_hw(size_hw)


def _crop(x: Tensor, offset: int, size_hw: Sequence[int]) -> Tensor:
    """A view of ``size_hw`` rows and columns of (B, C, H, W) from ``offset`` on."""
    height, width = size_hw
    return x[..., offset : offset + height, offset : offset + width]
