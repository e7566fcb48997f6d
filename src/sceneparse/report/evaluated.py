"""The reading of an evaluation, from the label files that it has written.

Label files hold no confidence, so there is no calibration and no region where the network is sure and wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sceneparse.data.decode import read_image, read_mask
from sceneparse.data.pairs import Pair
from sceneparse.data.threads import decoding_threads, mapped_in_order
from sceneparse.evaluation.reading import Counted, Reading
from sceneparse.labels import LabelSet
from sceneparse.prediction.render import Triple
from sceneparse.report.mistakes import write_reading


def write_reading_of_labels(
    folder: Path, pairs: Sequence[Pair], theirs: LabelSet, labels: LabelSet, split: str
) -> None:
    """Write ``reading.json`` and the pictures of the worst images beside ``labels/``.

    Args:
        folder: with ``labels/STEM.png`` for each pair.
        pairs: those that were evaluated.
        theirs: classes of the data set.
        labels: the same classes in the order of the model.
        split: said in the numbers.

    Raises:
        InputError: a file cannot be read, or the disk is full.
    """
    index_of_theirs = np.full(theirs.ignore_index + 1, labels.ignore_index, labels.index_dtype)
    index_of_theirs[: theirs.num_classes] = [labels.file_numbers.index(n) for n in theirs.file_numbers]
    reading = Reading(labels.num_classes, labels.ignore_index)

    def both(pair: Pair) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Truth and prediction (H, W) in training indices of the model."""
        prediction = labels.to_index(read_mask(folder / "labels" / f"{pair.stem}.png"))
        size_hw = (prediction.shape[0], prediction.shape[1])
        return index_of_theirs[theirs.to_index(pair.mask.read(size_hw), path=pair.mask.path)], prediction

    def counted(pair: Pair) -> Counted:
        return reading.count(pair.stem, *both(pair))

    with closing(mapped_in_order(counted, pairs, decoding_threads())) as ahead:
        for found in ahead:
            reading.add(found)
    by_name = {pair.stem: pair for pair in pairs}

    def sample(name: str) -> Triple:
        truth, prediction = both(by_name[name])
        image = read_image(by_name[name].image)
        return Triple(image=image, label=truth, prediction=prediction, name=name)

    write_reading(folder, {"split": split, **reading.numbers()}, labels, sample)
