"""Whether a network is as often right as it is sure: the reliability diagram and its error.

Confidence is the softmax probability of the predicted class. Pixels are put into bins of equal width by their
confidence; in each, the share that is right is compared with the mean confidence [Guo, Pleiss, Sun,
Weinberger, ICML 2017, section 2].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""As in the paper."""


@dataclass
class Calibration:
    """Counts by confidence; bin m of M holds confidences in ``(m/M, (m+1)/M]``, the first 0 too.

    Args:
        pixels: int64 (M,).
        confidence: float64 (M,) sum of the confidences.
        right: int64 (M,) pixels whose prediction is right.
    """

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    confidence: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    right: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> None:
        """Count pixels.

        Args:
            confidence: 0..1, any shape.
            right: the same shape.
        """
        bins = len(self.pixels)
        place = np.clip(np.ceil(confidence.reshape(-1) * bins).astype(np.intp) - 1, 0, bins - 1)
        self.pixels += np.bincount(place, minlength=bins)
        self.confidence += np.bincount(place, confidence.reshape(-1), minlength=bins)
        self.right += np.bincount(place[right.reshape(-1)], minlength=bins)

    def __iadd__(self, other: Calibration) -> Calibration:
        """Add what another has counted."""
        self.pixels += other.pixels
        self.confidence += other.confidence
        self.right += other.right
        return self

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean over pixels of |share right - mean confidence| of their bin."""
        total = int(self.pixels.sum())
        return float(np.abs(self.right - self.confidence).sum()) / total if total else math.nan

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus share right, over all pixels: above 0 where it is too sure."""
        total = int(self.pixels.sum())
        return float(self.confidence.sum() - self.right.sum()) / total if total else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "pixels": self.pixels.tolist(),
            "confidence": self.confidence.tolist(),
            "right": self.right.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: it is not what :meth:`to_dict` gives.
        """
        found = cls(
            pixels=np.array(values["pixels"], np.int64),
            confidence=np.array(values["confidence"], np.float64),
            right=np.array(values["right"], np.int64),
        )
        if not found.pixels.shape == found.confidence.shape == found.right.shape or found.pixels.ndim != 1:
            raise ValueError("lengths differ")
        return found
