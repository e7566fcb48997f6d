"""Which mask belongs to which image: two folders, the same stems."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.errors import InputError

MOST_NAMED = 20
"""How many files an error names; it always counts them all."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask. ``stem``: path below the folder, with ``/``, without suffix, NFC."""

    stem: str
    image: Path
    mask: Path


@dataclass
class Mismatches:
    """What does not fit together, collected over all splits and raised at once."""

    images_without_mask: list[str] = field(default_factory=list)
    masks_without_image: list[str] = field(default_factory=list)
    same_stem: list[str] = field(default_factory=list)

    def raise_any(self, root: Path) -> None:
        """Raise one InputError that names everything collected, if there is anything."""
        parts = [
            f"{len(found)} {what}: {named(found)}"
            for what, found in (
                ("images without a mask", self.images_without_mask),
                ("masks without an image", self.masks_without_image),
                ("files with the same stem as another", self.same_stem),
            )
            if found
        ]
        if parts:
            raise InputError(
                "images and masks do not fit together\n  " + "\n  ".join(parts),
                where=root,
                fix="an image and its mask have the same name, suffix aside: add, rename or remove the files",
            )


def named(items: Iterable[str]) -> str:
    """The first :data:`MOST_NAMED` items, and how many more there are."""
    items = list(items)
    more = len(items) - MOST_NAMED
    return ", ".join(items[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def match_pairs(images: Path, masks: Path, mismatches: Mismatches) -> tuple[Pair, ...]:
    """Pairs of two folders by stem, sorted by it; what does not fit is added to ``mismatches``.

    Folders below are searched too: there the stem is the path below ``images`` and ``masks``. Hidden files
    and files that are no pictures do not count. Names are compared in Unicode normal form C, since macOS
    may write the two halves of an ``é`` apart.

    Raises:
        InputError: a folder does not exist, is a file, cannot be read, or holds no pictures.
    """
    image_of = _files_by_stem(images, masks, mismatches)
    mask_of = _files_by_stem(masks, images, mismatches)
    mismatches.images_without_mask += [str(image_of[s]) for s in sorted(image_of.keys() - mask_of.keys())]
    mismatches.masks_without_image += [str(mask_of[s]) for s in sorted(mask_of.keys() - image_of.keys())]
    both = sorted(image_of.keys() & mask_of.keys())
    return tuple(Pair(stem, Path(image_of[stem]), Path(mask_of[stem])) for stem in both)


def _files_by_stem(folder: Path, other: Path, mismatches: Mismatches) -> dict[str, str]:
    """Stem to path of every picture below ``folder``; ``other`` may lie in it and is not searched."""
    found: dict[str, str] = {}
    others: Counter[str] = Counter()
    for stem, suffix, path in _walk(str(folder), "", os.path.normpath(other), set()):
        if suffix not in IMAGE_SUFFIXES:
            others[suffix or "no suffix"] += 1
        elif stem in found:
            mismatches.same_stem.append(f"{path} (beside {os.path.basename(found[stem])})")
        else:
            found[stem] = path
    if not found:
        seen = ", ".join(f"{count} x {suffix}" for suffix, count in others.most_common(5))
        raise InputError(
            f"no pictures in the folder; it holds {seen or 'nothing'}",
            where=folder,
            fix=f"put files there that end in one of: {' '.join(sorted(IMAGE_SUFFIXES))}",
        )
    return found


def _walk(folder: str, below: str, skipped: str, seen_links: set[str]) -> Iterable[tuple[str, str, str]]:
    """(stem, suffix in lower case, path) of every file that is not hidden, without asking for its status."""
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        raise InputError(
            "the folder does not exist", where=folder, fix="create it, or correct its path"
        ) from None
    except NotADirectoryError:
        raise InputError("a file where a folder was expected", where=folder, fix="name a folder") from None
    except OSError as error:
        raise InputError(
            f"cannot list the folder: {error.strerror}", where=folder, fix="check access"
        ) from None
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            continue
        if entry.is_dir():
            if entry.is_symlink():  # a link to a folder above would go round for ever
                target = os.path.realpath(entry.path)
                if target in seen_links:
                    continue
                seen_links.add(target)
            if os.path.normpath(entry.path) != skipped:
                yield from _walk(entry.path, f"{below}{name}/", skipped, seen_links)
            continue
        stem, dot, suffix = name.rpartition(".")
        if not dot:
            stem, suffix = name, ""
        stem = below + stem
        if not stem.isascii():
            stem = unicodedata.normalize("NFC", stem)
        yield stem, dot + suffix.lower(), entry.path
