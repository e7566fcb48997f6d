"""Scenes as a folder the ordinary data path reads: ``{images,masks}/{train,val}`` and ``dataset.yaml``."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

import sceneparse.data.scenes.drawing as drawing
from sceneparse.data.scenes.classes import scenes_label_set
from sceneparse.errors import InputError
from sceneparse.files import write_text

SPLITS = ("train", "val")

_SEEDS_PER_SPLIT = 1 << 20
_OURS = re.compile(r"scene-\d{6}\.png")


def scene_seeds(seed: int, split: str, count: int) -> range:
    """Seeds of a split's scenes. Train and validation of any two data set seeds have none in common.

    Args:
        seed: of the whole data set, >= 0.
        split: "train" or "val".
        count: number of scenes, up to 2**20.
    """
    assert count <= _SEEDS_PER_SPLIT
    first = (seed * len(SPLITS) + SPLITS.index(split)) * _SEEDS_PER_SPLIT
    return range(first, first + count)


def write_scenes(
    root: str | Path,
    *,
    train: int,
    val: int,
    size_hw: tuple[int, int] = drawing.DEFAULT_SIZE_HW,
    seed: int = 0,
    workers: int = 1,
    on_scene: Callable[[int], None] | None = None,
) -> Path:
    """Draws scenes into a folder in the plain layout; does nothing if the same scenes are already there.

    Args:
        root: folder, made if missing.
        train: number of training scenes.
        val: number of validation scenes, from other seeds.
        size_hw: height and width in pixels.
        seed: another number, another data set.
        workers: processes that draw; more than one are started afresh ("spawn"), so a script that calls this
            needs the usual ``if __name__ == "__main__":``.
        on_scene: called with the number of scenes done, for a progress line.

    Returns:
        The path of ``dataset.yaml``.

    Raises:
        InputError: a count or size is not positive, or the folder holds files this function did not write.
    """
    _check(train=train, val=val, size_hw=size_hw, workers=workers)
    root = Path(root)
    wanted = {
        "drawing_version": drawing.DRAWING_VERSION,
        "train": train,
        "val": val,
        "size_hw": list(size_hw),
        "seed": seed,
        "numpy": np.__version__,
        "pillow": Image.__version__,
    }
    if _is_there(root, wanted):
        return root / "dataset.yaml"
    _clear(root)
    jobs = [
        (root, split, number, scene_seed, size_hw)
        for split, count in (("train", train), ("val", val))
        for number, scene_seed in enumerate(scene_seeds(seed, split, count))
    ]
    for done, _ in enumerate(_drawn(jobs, workers), start=1):
        if on_scene is not None:
            on_scene(done)
    write_text(root / "dataset.yaml", _yaml())
    # Last: its presence says that all the rest is complete.
    write_text(_marker(root), json.dumps(wanted, indent=1) + "\n")
    return root / "dataset.yaml"


def _check(*, train: int, val: int, size_hw: tuple[int, int], workers: int) -> None:
    for name, value, least in (
        ("train", train, 1),
        ("val", val, 1),
        ("workers", workers, 1),
        ("height", size_hw[0], 16),
        ("width", size_hw[1], 16),
    ):
        if value < least:
            raise InputError(f"{name} is {value}: expected at least {least}", where="built-in scenes")


def _drawn(jobs: list[tuple[Any, ...]], workers: int) -> Iterator[None]:
    """Draws and writes every job, here or in other processes; yields once a scene."""
    if workers == 1:
        yield from map(_write_scene, jobs)
        return
    context = multiprocessing.get_context(
        "spawn"
    )  # forking a process that has run PyTorch's threads can hang
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_write_scene, jobs, chunksize=16)


def _write_scene(job: tuple[Path, str, int, int, tuple[int, int]]) -> None:
    root, split, number, seed, size_hw = job
    image, mask = drawing.draw_scene(seed, size_hw)
    name = f"scene-{number:06d}.png"
    Image.fromarray(image).save(root / "images" / split / name, compress_level=1)
    index = Image.fromarray(mask)
    index.putpalette(scenes_label_set().file_palette())
    index.save(root / "masks" / split / name, compress_level=1)


def _folders(root: Path) -> list[Path]:
    return [root / kind / split for kind in ("images", "masks") for split in SPLITS]


def _marker(root: Path) -> Path:
    return root / "scenes.json"


def _is_there(root: Path, wanted: dict[str, Any]) -> bool:
    """Whether the folder holds exactly these scenes."""
    try:
        found = json.loads(_marker(root).read_text(encoding="utf-8"))
        counts = [
            sum(1 for entry in os.scandir(folder) if _OURS.fullmatch(entry.name)) for folder in _folders(root)
        ]
    except (OSError, ValueError):
        return False
    return (
        found == wanted
        and counts == [wanted["train"], wanted["val"]] * 2
        and (root / "dataset.yaml").is_file()
    )


def _clear(root: Path) -> None:
    """Makes the folders; removes scenes of other settings or of a run that was cut off, and nothing else."""
    _marker(root).unlink(missing_ok=True)
    for folder in _folders(root):
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(folder.iterdir())
        foreign = [file for file in files if not _OURS.fullmatch(file.name)]
        if foreign:
            raise InputError(
                f"{len(foreign)} files here are not built-in scenes, first {foreign[0].name!r}",
                where=folder,
                fix="name another folder for the scenes",
            )
        for file in files:
            file.unlink()


def _yaml() -> str:
    values: dict[str, Any] = {
        split: {"images": f"images/{split}", "masks": f"masks/{split}"} for split in SPLITS
    }
    labels = scenes_label_set().to_dict()
    head = "# Built-in scenes of sceneparse: drawn by a procedure, numbers and colours of ADE20K.\n"
    return head + yaml.safe_dump(
        values | labels, sort_keys=False, default_flow_style=None, allow_unicode=True
    )
