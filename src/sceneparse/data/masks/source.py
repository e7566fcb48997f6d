"""What every form of mask gives: the source number of each pixel.

H, W: height and width of the upright picture, pixels. A *source number* is what stands for a class in a mask;
:class:`sceneparse.data.classes.SourceClasses` says which class it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.decode import read_mask
from sceneparse.data.faults import DataError


class MaskSource(Protocol):
    """The mask of one picture, in whatever form it is kept."""

    @property
    def path(self) -> Path:
        """The file that errors name."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the mask depends on: caches are made anew when one of them changes."""
        ...

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """The source numbers, upright.

        Args:
            size_hw: height and width of the upright picture, pixels: the size of a mask whose form has no
                size of its own. Other forms return their own size, and the caller compares.

        Returns:
            (H, W) uint8 or uint16, contiguous.

        Raises:
            InputError: the mask cannot be read; names the file.
        """
        ...


def uncovered_error(left: int, of: int, path: Path, *, picture: str = "") -> DataError:
    """The question what pixels are that no polygon and no class file covers.

    Args:
        left: number of such pixels, at least 1.
        of: number of all.
        path: the mask.
        picture: which of the document's pictures, with ``: `` behind it.
    """
    share = "all" if left == of else f"{left / of:.1%}"
    return DataError(
        f"{picture}{share} of the pixels are covered by nothing: are they a class of their own or ignored?",
        kind="uncovered",
        where=path,
        fix="say it in dataset.yaml, `uncovered: ignore` or `uncovered: NAME` (a class called background "
        "takes them by itself)",
    )


@dataclass(frozen=True, slots=True)
class IndexMask:
    """A picture file whose pixels are class numbers: grey or palette, 8 or 16 bit."""

    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The file itself."""
        return (self.path,)

    def read(self, size_hw: tuple[int, int]) -> NDArray[np.integer]:
        """As :func:`sceneparse.data.decode.read_mask`; its size is that of the file."""
        return read_mask(self.path)
