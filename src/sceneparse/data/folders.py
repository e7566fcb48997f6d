"""Data in no known layout: which files are images, and which the masks that belong to them.

Nothing here is certain. What is found goes into a proposal that a person looks at, never into a training.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from sceneparse.data.dataset_file import SPLITS, SplitFiles
from sceneparse.data.decode import IMAGE_SUFFIXES, read_mask_pixels
from sceneparse.data.masks.coco_document import CocoDocument
from sceneparse.errors import InputError

MOST_FOLDERS = 2000
"""Folders that are looked into; a data set has its images higher up."""

MOST_COLORS = 64
"""A picture of more colours than this is no mask."""

_PEEKED = 3  # files of a folder that are opened to see whether they are masks
_PEEKED_SIDE = 256  # pixels of them that are looked at, along each side
_MOST_DOCUMENTS = 100
_LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".jp2", ".j2k", ".avif", ".gif"})
_MASK_WORD = re.compile(
    r"mask|label|annot|ground.?truth|segment|(?<![a-z])(gt|anns?|lbl|segs?|targets?|l)(?![a-z])",
    re.IGNORECASE,
)
_IMAGE_WORD = re.compile(
    r"image|img|photo|picture|jpe?g|frame|(?<![a-z])(rgb|raw|inputs?)(?![a-z])", re.IGNORECASE
)
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """Splits that were found, and the form of their masks; None: pictures of numbers or colours."""

    splits: dict[str, SplitFiles]
    form: str | None


@dataclass
class _Folder:
    """A folder and the names of its files by stem: pictures, JSON documents, texts."""

    path: Path
    pictures: dict[str, list[str]] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Match:
    """Two folders that belong together; ``pairs`` where the names of the files differ."""

    images: Path
    masks: Path
    form: str | None = None
    count: int
    pairs: tuple[tuple[Path, Path], ...] = ()


def find_splits(root: Path) -> Found | None:
    """Folders of images and of masks below a folder; None where there are none.

    Two folders belong together where at least half of the images have a mask of the same name; where names
    differ by a word such as ``_mask``, the pairs are listed. A folder whose path says ``val`` or ``test`` is
    that split; everything else is "train".

    Raises:
        InputError: the folder cannot be listed.
    """
    folders = list(_folders(root))
    matches = _matches(root, folders)
    if not matches:
        return None
    counts: Counter[str | None] = Counter()
    for match in matches:
        counts[match.form] += match.count
    form = counts.most_common(1)[0][0]
    splits: dict[str, SplitFiles] = {}
    for split in SPLITS:
        those = [m for m in matches if m.form == form and _split_of(m, root) == split]
        if those:
            splits[split] = _split_files(those)
    return Found(splits=splits, form=form)


def _split_files(matches: Sequence[_Match]) -> SplitFiles:
    if any(match.pairs for match in matches):
        pairs = [pair for match in matches for pair in match.pairs or _same_names(match)]
        return SplitFiles(pairs=tuple(sorted(pairs)))
    joined = dict.fromkeys(_joined(match.images, match.masks) for match in matches)
    whole = [(images, masks) for images, masks in joined if _alone(images, masks, joined)]
    return SplitFiles(images=tuple(i for i, _ in whole), masks=tuple(m for _, m in whole))


def _same_names(match: _Match) -> Iterator[tuple[Path, Path]]:
    masks = {path.stem: path for path in sorted(match.masks.iterdir()) if _is_picture(path.name)}
    for path in sorted(match.images.iterdir()):
        if _is_picture(path.name) and path.stem in masks:
            yield path, masks[path.stem]


def _joined(images: Path, masks: Path) -> tuple[Path, Path]:
    """``photos/a/b`` and ``labels/a/b`` are one pair of folders: ``photos`` and ``labels``."""
    while images.name == masks.name and images.parent != masks.parent and _split_word(images.name) is None:
        images, masks = images.parent, masks.parent
    return images, masks


def _alone(images: Path, masks: Path, others: dict[tuple[Path, Path], None]) -> bool:
    """Whether no other pair of folders holds this one: folders below are searched, too."""
    return not any(
        (images, masks) != other and images.is_relative_to(other[0]) and masks.is_relative_to(other[1])
        for other in others
    )


# ---------------------------------------------------------------------- files


def _folders(root: Path) -> Iterator[_Folder]:
    """Folders with files, from the top down; hidden ones are left out."""
    seen = 0
    try:
        os.scandir(root).close()
    except OSError as error:
        raise InputError(
            f"cannot list the folder: {error.strerror}", where=root, fix="check access"
        ) from None
    for path, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        seen += 1
        if seen > MOST_FOLDERS:
            return
        folder = _Folder(Path(path))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if name.startswith("."):
                continue
            if suffix.lower() in IMAGE_SUFFIXES:
                folder.pictures.setdefault(stem, []).append(name)
            elif suffix.lower() == ".json":
                folder.documents[stem] = name
            elif suffix.lower() == ".txt":
                folder.texts[stem] = name
        if folder.pictures or folder.documents or folder.texts:
            yield folder


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES and not name.startswith(".")


def _split_of(match: _Match, root: Path) -> str:
    """The split that the path of the images, or of the COCO document, names; the last word counts."""
    path = match.masks if match.form == "coco" else match.images
    found = [word for part in path.relative_to(root).parts if (word := _split_word(part)) is not None]
    return found[-1] if found else "train"


def _split_word(name: str) -> str | None:
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for split, known in _SPLIT_WORDS.items() if set(known) & set(words)), None)


# ---------------------------------------------------------------------- what belongs together


def _matches(root: Path, folders: Sequence[_Folder]) -> list[_Match]:
    pictures = [folder for folder in folders if folder.pictures]
    masks = {id(folder): _holds_masks(folder, root) for folder in pictures}
    matches = list(_coco(root, folders))
    for images in pictures:
        candidates = [match for other in folders if (match := _documents(images, other)) is not None]
        if not masks[id(images)]:
            partners = [other for other in pictures if other is not images and masks[id(other)]]
            candidates += [match for other in partners if (match := _pictures(images, other)) is not None]
        within = _within(images)
        candidates += [] if within is None else [within]
        if candidates:
            matches.append(max(candidates, key=lambda match: (match.count, _near(match))))
    return matches


def _near(match: _Match) -> int:
    """How many folders two paths share: of equal partners the nearer one is meant."""
    return len(os.path.commonpath([match.images, match.masks]))


def _pictures(images: _Folder, masks: _Folder) -> _Match | None:
    """Masks that are pictures in another folder, of the same names or of names that differ by a word."""
    both = images.pictures.keys() & masks.pictures.keys()
    if 2 * len(both) >= len(images.pictures):
        return _Match(images=images.path, masks=masks.path, count=len(both))
    keys = [_by_key(folder) for folder in (images, masks)]
    common = sorted(keys[0].keys() & keys[1].keys())
    if not common or 2 * len(common) < len(images.pictures):
        return None
    pairs = tuple((images.path / keys[0][key], masks.path / keys[1][key]) for key in common)
    return _Match(images=images.path, masks=masks.path, count=len(pairs), pairs=pairs)


def _within(folder: _Folder) -> _Match | None:
    """Masks beside their images: ``x.jpg`` and ``x.png``, or ``x.png`` and ``x_mask.png``."""
    groups: dict[str, list[str]] = {}
    for stem, names in folder.pictures.items():
        for name in names:
            groups.setdefault(_key(stem), []).append(name)
    pairs = []
    for names in groups.values():
        image = [name for name in names if not _MASK_WORD.search(os.path.splitext(name)[0])]
        mask = [name for name in names if name not in image]
        if len(image) == 2 and not mask:
            mask = [name for name in image if os.path.splitext(name)[1].lower() not in _LOSSY]
            image = [name for name in image if name not in mask]
        if len(image) == len(mask) == 1 and os.path.splitext(mask[0])[1].lower() not in _LOSSY:
            pairs.append((folder.path / image[0], folder.path / mask[0]))
    if not pairs or 2 * len(pairs) < len(groups):
        return None
    return _Match(images=folder.path, masks=folder.path, count=len(pairs), pairs=tuple(sorted(pairs)))


def _documents(images: _Folder, other: _Folder) -> _Match | None:
    """LabelMe documents or YOLO texts of the same names as the images."""
    for form, files in (("labelme", other.documents), ("yolo", other.texts)):
        both = images.pictures.keys() & files.keys()
        if both and 2 * len(both) >= len(images.pictures):
            first = other.path / files[min(both)]
            if _begins_like(first, form):
                return _Match(images=images.path, masks=other.path, form=form, count=len(both))
    return None


def _begins_like(path: Path, form: str) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(2**16).decode("utf-8", "replace")
    except OSError:
        return False
    if form == "labelme":
        return '"shapes"' in head
    if form == "coco":
        return any(f'"{key}"' in head for key in ("images", "annotations", "categories"))
    words = head.split("\n")[0].split()
    return len(words) >= 7 and all(re.fullmatch(r"[-+.\deE]+", word) for word in words)


def _by_key(folder: _Folder) -> dict[str, str]:
    """Key of a name to the name; keys of several names are left out."""
    names: dict[str, list[str]] = {}
    for stem, those in folder.pictures.items():
        names.setdefault(_key(stem), []).extend(those)
    return {key: those[0] for key, those in names.items() if len(those) == 1}


def _key(stem: str) -> str:
    """A stem without the words that say image or mask: ``image_001`` and ``001-mask`` have one key."""
    words = re.split(r"[_\-. ]+", stem)
    kept = [word for word in words if not (_MASK_WORD.fullmatch(word) or _IMAGE_WORD.fullmatch(word))]
    return "_".join(kept or words)


def _holds_masks(folder: _Folder, root: Path) -> bool:
    """By the folder's name, or else by some of its files."""
    for part in reversed(folder.path.relative_to(root).parts):
        if _MASK_WORD.search(part):
            return True
        if _IMAGE_WORD.search(part):
            return False
    names = [name for those in folder.pictures.values() for name in those]
    peeked = names[:: max(1, len(names) // _PEEKED)][:_PEEKED]
    return all(_looks_like_mask(folder.path / name) for name in peeked)


def _looks_like_mask(path: Path) -> bool:
    """Whether a picture has few colours and a format that keeps them."""
    try:
        pixels = read_mask_pixels(path)
    except InputError:
        return False
    if pixels.has_palette or pixels.values.dtype != np.uint8:
        return True
    step = -(-max(pixels.values.shape[:2]) // _PEEKED_SIDE)
    some = np.ascontiguousarray(pixels.values[::step, ::step])
    return Image.fromarray(some).getcolors(MOST_COLORS) is not None


def _coco(root: Path, folders: Sequence[_Folder]) -> Iterator[_Match]:
    """COCO documents, each with the folder that has most of its pictures."""
    documents = [folder.path / name for folder in folders for name in folder.documents.values()]
    for path in documents[:_MOST_DOCUMENTS]:
        if not _begins_like(path, "coco"):
            continue
        try:
            pictures = CocoDocument(path).content().pictures.values()
        except InputError:  # captions, boxes, results
            continue
        stems = {
            os.path.splitext(picture.file_name.replace("\\", "/").split("/")[-1])[0] for picture in pictures
        }
        count, images = max(
            ((len(stems & folder.pictures.keys()), folder.path) for folder in folders),
            key=lambda found: found[0],
        )
        if count:
            yield _Match(images=images, masks=path, form="coco", count=count)
