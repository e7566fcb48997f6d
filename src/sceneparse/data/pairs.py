"""Which mask belongs to which image: files by stem, and the pairs of two sets of stems."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.data.faults import Fault
from sceneparse.data.masks.source import MaskSource
from sceneparse.errors import InputError

SAME_NAME = "an image and its mask have the same name, suffix aside: add, rename or remove the file"


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask. ``stem``: path below the folder, with ``/``, without suffix, NFC."""

    stem: str
    image: Path
    mask: MaskSource


def pair_up(
    images: Mapping[str, str],
    masks: Mapping[str, MaskSource],
    faults: list[Fault],
    *,
    split: str | None = None,
    mask_fix: str = SAME_NAME,
) -> tuple[Pair, ...]:
    """Pairs by stem, sorted by it; what has no partner is added to ``faults``.

    Args:
        images: stem to path.
        masks: stem to mask.
        faults: the list to add to.
        split: named in the faults.
        mask_fix: what to do about an image without a mask.
    """
    for stem in sorted(images.keys() - masks.keys()):
        path = Path(images[stem])
        what = f"the image {path.name} has no mask"
        faults.append(
            Fault(kind="missing-mask", what=what, fix=mask_fix, files=(path,), split=split, stem=stem)
        )
    for stem in sorted(masks.keys() - images.keys()):
        path = masks[stem].path
        what = f"the mask {path.name} ({stem}) has no image"
        faults.append(
            Fault(kind="missing-image", what=what, fix=SAME_NAME, files=(path,), split=split, stem=stem)
        )
    return tuple(Pair(stem, Path(images[stem]), masks[stem]) for stem in sorted(images.keys() & masks.keys()))


def files_by_stem(
    folder: Path,
    faults: list[Fault],
    *,
    split: str | None = None,
    skipped: Path | None = None,
    suffixes: frozenset[str] = IMAGE_SUFFIXES,
    ending: str = "",
) -> dict[str, str]:
    """Stem to path of every file of a kind in a folder and the folders below it.

    Hidden files do not count. Names are compared in Unicode normal form C, since macOS may write the two
    halves of an ``é`` apart. No file is opened or asked for its status.

    Args:
        folder: where to look.
        faults: files of one stem are added to it.
        split: named in the faults.
        skipped: a folder below that is not searched.
        suffixes: file name endings that count, in lower case.
        ending: what names have before the suffix; files without it do not count, and stems go without it.

    Raises:
        InputError: the folder does not exist, is a file, cannot be read, or holds no such file.
    """
    found: dict[str, str] = {}
    others: Counter[str] = Counter()
    avoid = "" if skipped is None else os.path.normpath(skipped)
    for stem, suffix, path in _walk(str(folder), "", avoid, set()):
        if suffix not in suffixes or not stem.endswith(ending):
            others[suffix or "no suffix"] += 1
            continue
        stem = stem.removesuffix(ending)
        if stem in found:
            files = (Path(path), Path(found[stem]))
            what = f"{files[0].name} and {files[1].name} have the same stem: which one is meant?"
            fix = "rename or remove one of them"
            faults.append(Fault(kind="same-stem", what=what, fix=fix, files=files, split=split, stem=stem))
        else:
            found[stem] = path
    if not found:
        seen = ", ".join(f"{count} x {suffix}" for suffix, count in others.most_common(5))
        kind = "pictures" if suffixes is IMAGE_SUFFIXES else f"{' or '.join(sorted(suffixes))} files"
        kind += f" whose names end in {ending}" if ending else ""
        raise InputError(
            f"no {kind} in the folder; it holds {seen or 'nothing'}",
            where=folder,
            fix=f"put files there that end in one of: {' '.join(sorted(suffixes))}",
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
        if _is_dir(entry):
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
        yield stem_of(below + stem), dot + suffix.lower(), entry.path


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: a file that cannot be read
        return False


def stem_of(text: str) -> str:
    """A stem as it is compared: Unicode normal form C."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
