"""The data sets that ``sceneparse download`` knows: where they are, and how to tell that they came whole."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class KnownSet:
    """A data set that is published as one zip file.

    Args:
        title: what it is, for people.
        url: where its publisher has the zip file.
        sha1: of the zip file, in hexadecimal.
        archive_bytes: size of the zip file, about: for servers that do not say it, and to refuse what is
            far larger.
        folder: the top folder in the zip file, which becomes the data set.
        files: how many files each pattern below ``folder`` finds when nothing is missing.
        terms: on what conditions it may be used.
    """

    title: str
    url: str
    sha1: str
    archive_bytes: int
    folder: str
    files: Mapping[str, int]
    terms: str

    @property
    def archive_name(self) -> str:
        """Name of the zip file on this machine."""
        return f"{self.folder}.zip"

    def missing(self, root: Path) -> str:
        """What of the data set is not in the folder ``root``, in words; empty where it is whole."""
        there = {pattern: len(glob.glob(pattern, root_dir=root)) for pattern in self.files}
        return ", ".join(
            f"{there[pattern]:,} of {expected:,} {pattern}"
            for pattern, expected in self.files.items()
            if there[pattern] < expected
        )


KNOWN_SETS = {
    "ade20k": KnownSet(
        title="MIT Scene Parsing (ADE20K, 150 classes), 20,210 training and 2,000 validation images",
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
        # As in GluonCV's ADE20K script (scripts/datasets/ade20k.py); the publisher gives none. Not yet
        # compared with the publisher's server by us.
        sha1="219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
        archive_bytes=970_000_000,
        folder="ADEChallengeData2016",
        files={
            "images/training/*.jpg": 20210,
            "annotations/training/*.png": 20210,
            "images/validation/*.jpg": 2000,
            "annotations/validation/*.png": 2000,
        },
        terms="non-commercial research and education only; the pictures belong to their photographers: "
        "https://groups.csail.mit.edu/vision/datasets/ADE20K/terms/",
    ),
}
