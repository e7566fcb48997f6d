"""Label maps of the CamVid data beside the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sceneparse.labels import camvid

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "camvid" / "trainannot"


def camvid_labels(count: int) -> tuple[dict[str, NDArray[np.uint8]], dict[int, str]]:
    """Image name to (H, W) label map, ``count`` of them spread over the training split, and the names of all
    numbers in them: the 11 classes and void."""
    paths = sorted(FOLDER.glob("*.png"))
    if not paths:
        pytest.skip(f"no CamVid label maps in {FOLDER}")
    paths = paths[:: max(1, len(paths) // count)][:count]
    labels = camvid()
    names = dict(zip(labels.file_numbers, labels.names, strict=True)) | {11: "void"}
    return {f"{path.stem}.jpg": np.array(Image.open(path)) for path in paths}, names
