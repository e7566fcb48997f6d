"""Known data sets, brought from where they are published.

:mod:`known_sets` says what there is, :mod:`obtain` goes from a name to a folder, :mod:`fetch` brings one file
into a :mod:`part_file` over :mod:`http`, :mod:`unpack` makes it a folder.
"""

from sceneparse.data.download.known_sets import KNOWN_SETS, KnownSet
from sceneparse.data.download.obtain import download

__all__ = ["KNOWN_SETS", "KnownSet", "download"]
