"""Photos, folders and globs to label files, overlays and a table of shares."""

from __future__ import annotations

import glob
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from rich.console import Console
from rich.progress import track

from sceneparse.data.decode import IMAGE_SUFFIXES
from sceneparse.errors import InputError
from sceneparse.prediction.predictor import check_options, load
from sceneparse.prediction.segmentation import ShareRow, save_png, save_shares_csv


def find_inputs(inputs: Sequence[str]) -> dict[PurePath, Path]:
    """Photos by the name their results get (a path without suffix, below the output folder).

    Args:
        inputs: files, folders (searched with their subfolders, whose names are kept) and globs.

    Raises:
        InputError: nothing found, or two photos would get one name.
    """
    found: dict[PurePath, Path] = {}
    for text in inputs:
        for name, path in _expand(text):
            if found.setdefault(name, path) != path:
                raise InputError(
                    f"two photos would both be written as {name}.png: {found[name]} and {path}",
                    fix="rename one, or predict them into different folders",
                )
    return found


def _expand(text: str) -> Iterator[tuple[PurePath, Path]]:
    path = Path(text)
    if path.is_dir():
        photos = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not photos:
            raise InputError("no photos in this folder", where=path, fix="name a folder with images")
        for photo in photos:
            yield photo.relative_to(path).with_suffix(""), photo
    elif path.exists():
        yield PurePath(path.stem), path
    else:
        matches = sorted(glob.glob(text, recursive=True))
        if not matches:
            raise InputError(
                "no such file or folder, and no match as a glob", where=text, fix="check the path"
            )
        for match in matches:
            if Path(match).is_file():
                yield PurePath(Path(match).stem), Path(match)


def predict_files(
    model: str | Path,
    inputs: Sequence[str],
    out: Path,
    *,
    tile: str | int = "auto",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    device: str = "auto",
) -> int:
    """Write ``labels/``, ``overlays/`` and ``shares.csv`` for every photo.

    A photo that cannot be read is named and left out, the others go on.

    Returns:
        0, or 2 when photos were left out.

    Raises:
        InputError: no model, no photos, wrong options, or a full disk.
    """
    check_options(tile, scales)
    photos = find_inputs(inputs)
    predictor = load(model, device=device)
    rows: list[ShareRow] = []
    failed: list[InputError] = []
    console = Console(stderr=True)
    for name, path in track(photos.items(), "predicting", console=console, transient=True):
        try:
            result = predictor(path, tile=tile, scales=scales, flip=flip)
        except InputError as error:
            failed.append(error)
            continue
        result.save_labels(out / "labels" / f"{name}.png")
        save_png(result.overlay(), out / "overlays" / f"{name}.png")
        shares = result.share_rows(name.as_posix())
        rows.extend(shares)
        said = ", ".join(f"{row.class_name} {row.share:.0%}" for row in shares[:6])
        print(f"{path}: {said}{' ...' if len(shares) > 6 else ''}")
    save_shares_csv(out / "shares.csv", rows)
    print(f"{len(photos) - len(failed)} of {len(photos)} photos: {out / 'overlays'}, {out / 'labels'}")
    for error in failed:
        print(f"error: {error}", file=sys.stderr)
    return 2 if failed else 0
