"""The bundles that come with the package: found by their name, without a network.

Each is a folder ``shipped/NAME`` of the package: a bundle, and its model card ``README.md``. Nothing is ever
written there: an installed package may belong to somebody else.
"""

from __future__ import annotations

from pathlib import Path

from sceneparse.errors import InputError, nearest

DEFAULT_SHIPPED = "camvid-small"
"""What predicts where no model is named."""

SHIPPED = Path(__file__).parents[1] / "shipped"

CARD = "README.md"


def shipped_names() -> list[str]:
    """Names of the bundles that are there, the default first."""
    names = sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))
    return sorted(names, key=lambda name: name != DEFAULT_SHIPPED)


def shipped_folder(name: str = DEFAULT_SHIPPED) -> Path:
    """The folder of a shipped bundle.

    Raises:
        InputError: there is none of this name.
    """
    names = shipped_names()
    if name not in names:
        raise InputError(
            f"no model called {name!r} comes with this installation.{nearest(name, names)}",
            where=SHIPPED,
            fix="name a run folder or a bundle folder; see: sceneparse models",
        )
    return SHIPPED / name


def is_shipped(folder: Path) -> bool:
    """Whether a folder belongs to the package."""
    return folder.resolve().is_relative_to(SHIPPED.resolve())
