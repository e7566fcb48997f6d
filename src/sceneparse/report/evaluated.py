"""What ``evaluate --out`` leaves for eyes: the reading, pictures of what it names, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sceneparse.data.decode import read_image, read_mask
from sceneparse.data.pairs import Pair
from sceneparse.evaluation.reading import Reading
from sceneparse.labels import LabelSet
from sceneparse.prediction.render import Triple
from sceneparse.report.html import write_report
from sceneparse.report.mistakes import write_reading


def write_evaluated(
    folder: Path,
    reading: Reading,
    evaluated: dict[str, Any],
    pairs: Sequence[Pair],
    theirs: LabelSet,
    labels: LabelSet,
) -> Path:
    """Write ``reading.json``, ``worst/``, ``regions/`` and ``report.html`` beside the numbers.

    Args:
        folder: with ``numbers.json``, ``confusion.csv`` and ``labels/STEM.png``. Of several machines each may
            have written to a disk of its own: an image whose labels are not here is named without a picture.
        reading: of the split.
        evaluated: what was evaluated, see :class:`~sceneparse.report.run_folder.Run`; the palette is added.
        pairs: of the split.
        theirs: classes of the data set.
        labels: the same classes in the order of the model.

    Returns:
        The page's path.

    Raises:
        InputError: a file cannot be read, or the disk is full.
    """
    index_of_theirs = np.full(theirs.ignore_index + 1, labels.ignore_index, labels.index_dtype)
    index_of_theirs[: theirs.num_classes] = [labels.file_numbers.index(n) for n in theirs.file_numbers]
    by_name = {pair.stem: pair for pair in pairs}

    def sample(name: str) -> Triple | None:
        pair, file = by_name[name], folder / "labels" / f"{name}.png"
        if not file.is_file():
            return None
        prediction = labels.to_index(read_mask(file))
        size_hw = (prediction.shape[0], prediction.shape[1])
        truth = index_of_theirs[theirs.to_index(pair.mask.read(size_hw), path=pair.mask.path)]
        return Triple(image=read_image(pair.image), label=truth, prediction=prediction, name=name)

    facts = evaluated | {"palette": [list(color) for color in labels.palette]}
    write_reading(folder, {"evaluated": facts, **reading.numbers()}, labels, sample)
    return write_report(folder)
