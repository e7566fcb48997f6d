"""Photos, folders and globs to label files, overlays and a table of shares."""

from __future__ import annotations

import csv
import glob
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path, PurePath

import torch
from rich.console import Console
from rich.progress import Progress

from sceneparse.data.decode import IMAGE_SUFFIXES, image_size
from sceneparse.data.threads import PictureThreads
from sceneparse.deploy.bundle import Bundle, find_bundle
from sceneparse.deploy.shipped import is_shipped, shipped_folder
from sceneparse.errors import InputError
from sceneparse.outputs import output_folder
from sceneparse.prediction.predictor import Predictor, check_options, load
from sceneparse.prediction.segmentation import Segmentation, ShareRow, save_png, save_shares_csv

OVERLAY_BYTES = 40
"""What drawing an overlay holds, bytes per pixel: picture, colours and their mixture are float32. That of a
huge picture is drawn smaller, but such a picture is large anyhow."""


def find_inputs(inputs: Sequence[str], *, out: Path | None = None) -> dict[PurePath, Path]:
    """Photos by the name their results get (a path without suffix, below the output folder).

    Args:
        inputs: files, folders and globs. Folders are searched with their subfolders, whose names are kept;
            hidden files are left out. Of what a glob matches pictures count, by their file name endings, and
            names begin after its last folder without a wildcard.
        out: folder of results: what lies below its ``labels/`` and ``overlays/`` is no photo.

    Raises:
        InputError: nothing found, or two photos would get one name.
    """
    found: dict[PurePath, Path] = {}
    for text in inputs:
        for name, path in _expand(text, out):
            if found.setdefault(name, path).resolve() != path.resolve():
                raise InputError(
                    f"the results of two photos would both be called {name.as_posix()}.png",
                    where=f"{found[name]} and {path}",
                    fix="rename one, or predict them into different folders",
                )
    return found


def _expand(text: str, out: Path | None) -> Iterator[tuple[PurePath, Path]]:
    path = Path(text)
    if path.is_dir():
        photos = [p for p in sorted(path.rglob("*")) if _is_photo(p, path, out)]
        if not photos:
            raise InputError(
                "no photos in this folder",
                where=path,
                fix=f"pictures end in one of: {' '.join(sorted(IMAGE_SUFFIXES))}",
            )
        root = path
    elif path.exists():
        yield PurePath(path.stem), path
        return
    else:
        root = Path(*_before_wildcards(path))
        photos = [p for p in map(Path, sorted(glob.glob(text, recursive=True))) if _is_photo(p, root, out)]
        if not photos:
            raise InputError(
                "no photos match" if glob.has_magic(text) else "no such file or folder",
                where=text,
                fix="check the path",
            )
    for photo in photos:
        yield photo.relative_to(root).with_suffix(""), photo


def _before_wildcards(pattern: Path) -> Iterator[str]:
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            return
        yield part


def _is_photo(path: Path, root: Path, out: Path | None) -> bool:
    return (
        path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and not (out is not None and any(_lies_in(path, out / results) for results in ("labels", "overlays")))
        and path.is_file()
    )


def _lies_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def predict_files(
    model: str | Path | None,
    inputs: Sequence[str],
    out: Path,
    *,
    tile: str | int = "auto",
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    device: str = "auto",
    engine: str = "auto",
) -> int:
    """Write ``labels/``, ``overlays/`` and ``shares.csv`` for every photo, and print a line for each.

    A photo that cannot be read is named and left out, the others go on. ``shares.csv`` keeps the lines of
    other photos that were predicted into the folder before, and is written also when the work is cut short.
    Without a model it is the shipped one; a line on standard error says which model it is.

    Returns:
        0, or 2 when photos were left out.

    Raises:
        InputError: no model, no photos, wrong options, or a full disk.
    """
    check_options(tile, scales)
    photos = find_inputs(inputs, out=out)
    predictor = load(model, device=device, engine=engine)
    print(_said(model, predictor.bundle), file=sys.stderr, flush=True)
    output_folder(out)
    table = out / "shares.csv"
    kept = [row for row in _read_shares(table) if PurePath(row.file) not in photos]
    rows: dict[PurePath, list[ShareRow]] = {}

    def save_table() -> None:
        save_shares_csv(table, [*kept, *(row for name in photos for row in rows.get(name, ()))])

    try:
        failed = _predict_each(predictor, photos, out, rows, tile, scales, flip)
    except BaseException:
        with suppress(InputError):  # what cut the work short is said, not that the table failed too
            save_table()
        raise
    save_table()
    print(
        f"{len(photos) - len(failed)} of {len(photos)} photos: {out / 'overlays'}, {out / 'labels'}, {table}"
    )
    for problem in failed:
        print(f"error: {problem}", file=sys.stderr)
    return 2 if failed else 0


def _said(model: str | Path | None, bundle: Bundle) -> str:
    """Which model it is, in a line."""
    folder = shipped_folder() if model is None else find_bundle(model)
    name = f"{folder.name}, which comes with sceneparse" if is_shipped(folder) else str(model)
    return f"model: {name} ({bundle.in_words()})"


def _predict_each(
    predictor: Predictor,
    photos: dict[PurePath, Path],
    out: Path,
    rows: dict[PurePath, list[ShareRow]],
    tile: str | int,
    scales: Sequence[float],
    flip: bool,
) -> list[InputError]:
    """Fill ``rows`` photo by photo; returns what was wrong with those left out."""
    failed: list[InputError] = []

    def work(name: PurePath) -> InputError | None:
        """One photo, from its file to the results; what is wrong with it."""
        done = 0.0

        def progress(share: float) -> None:
            nonlocal done
            bar.advance(task, share - done)
            done = share

        def predict() -> InputError | None:
            try:
                result = predictor(photos[name], tile=tile, scales=scales, flip=flip, progress=progress)
            except InputError as error:
                return error if error.where else InputError(error.what, where=photos[name], fix=error.fix)
            rows[name] = _save(result, out, name)
            return None

        # Reading and saving too: a huge photo must be gone before the next one is read.
        problem = threads.compute(predict, _size_bytes(predictor, photos[name], scales, flip))
        progress(1)
        return problem

    # Fewer photos than threads are done sooner by all threads, one after the other.
    several = predictor.takes_several and len(photos) >= torch.get_num_threads()
    # Standard output may go to a file while the bar is drawn in a terminal: then the bar must not take it.
    with (
        Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar,
        PictureThreads(several=several) as threads,
        closing(threads.map(work, photos)) as problems,
    ):
        task = bar.add_task("predicting", total=len(photos))
        for name, problem in zip(photos, problems, strict=True):
            if problem is not None:
                failed.append(problem)
                continue
            said = ", ".join(f"{row.class_name} {row.share:.0%}" for row in rows[name][:6])
            print(f"{photos[name]}: {said}{' ...' if len(rows[name]) > 6 else ''}", flush=True)
    return failed


def _size_bytes(predictor: Predictor, path: Path, scales: Sequence[float], flip: bool) -> int:
    """Estimate of the memory that a photo takes with its overlay; 0 where the predictor will refuse it."""
    try:
        height, width = image_size(path)
    except InputError:
        return 0
    return predictor.picture_bytes((height, width), scales=scales, flip=flip) + OVERLAY_BYTES * height * width


def _save(result: Segmentation, out: Path, name: PurePath) -> list[ShareRow]:
    result.save_labels(out / "labels" / f"{name}.png")
    save_png(result.overlay(), out / "overlays" / f"{name}.png")
    return result.share_rows(name.as_posix())


def _read_shares(path: Path) -> list[ShareRow]:
    """Lines of an earlier ``shares.csv``; none where there is no file.

    Raises:
        InputError: a file of this name that is something else.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            table = csv.reader(file)
            if next(table, None) == list(ShareRow._fields):
                return [ShareRow(row[0], int(row[1]), row[2], float(row[3]), int(row[4])) for row in table]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, IndexError, csv.Error):
        pass
    raise InputError(
        "not a table of shares as predict writes it; it would be overwritten",
        where=path,
        fix="move it, or choose another --out",
    )
