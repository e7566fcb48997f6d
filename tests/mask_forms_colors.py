"""Writers of masks as colours and as a file for each class, with their class files: what tools would have
written for given label maps. Pillow writes the pictures.

H, W: height and width of a label map, pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Labels = NDArray[np.integer]
Color = tuple[int, int, int]

CAMVID_NAMES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign symbol", "fence", "car", "pedestrian"),
    *("bicyclist", "void"),
)
CAMVID_COLORS: tuple[Color, ...] = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
    *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192), (0, 0, 0)),
)
"""CamVid's classes by number, with their usual colours."""


def write_color(path: Path, labels: Labels, colors: Mapping[int, Color], *, alpha: int | None = None) -> None:
    """A label map as an RGB picture, or RGBA with one alpha everywhere."""
    table = np.zeros((max(colors) + 1, 3), np.uint8)
    for number, color in colors.items():
        table[number] = color
    pixels = table[labels]
    if alpha is not None:
        pixels = np.dstack([pixels, np.full(labels.shape, alpha, np.uint8)])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_labelmap(path: Path, names: Sequence[str], colors: Sequence[Color]) -> None:
    """CVAT's ``labelmap.txt``: numbers are lines."""
    lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(names, colors, strict=True)]
    path.write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n", encoding="utf-8")


def write_class_dict(path: Path, names: Sequence[str], colors: Sequence[Color]) -> None:
    """``class_dict.csv`` as it comes with CamVid on Kaggle: numbers are lines."""
    lines = [f"{name},{r},{g},{b}" for name, (r, g, b) in zip(names, colors, strict=True)]
    path.write_text("name,r,g,b\n" + "\n".join(lines), encoding="utf-8")


def write_roboflow_classes(path: Path, names: Mapping[int, str]) -> None:
    """Roboflow's ``_classes.csv``, which says the number of each class."""
    lines = [f"{number}, {name}" for number, name in names.items()]
    path.write_text("Pixel Value, Class\n" + "\n".join(lines), encoding="utf-8")


def write_per_class(
    folder: Path, stem: str, labels: Labels, names: Mapping[int, str], *, pattern: str = "{stem}/{name}.png"
) -> None:
    """A file for each class that a label map holds: 255 where it is, 0 elsewhere.

    ``pattern``: path of a file below ``folder``, with ``{stem}`` and ``{name}``.
    """
    for number in np.unique(labels).tolist():
        path = folder / pattern.format(stem=stem, name=names[number])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(labels == number, 255, 0).astype(np.uint8)).save(path)


def write_label_studio(
    folder: Path,
    masks: Mapping[str, Labels],
    names: Mapping[int, str],
    *,
    minimal: bool = False,
    tag: str = "tag",
    first_task: int = 1,
) -> None:
    """Label Studio's "Brush labels to PNG" for each region, and the JSON or JSON-MIN export beside them.

    A class in two rows or more is written as two regions, as somebody does who draws it in two strokes.
    ``masks``: file name of the image (``x.jpg``) to label map. Names of files are put together as
    label-studio-sdk does it (converter/brush.py), and so are the documents (guide/export).
    """
    folder.mkdir(parents=True, exist_ok=True)
    tasks = []
    for task, (image, labels) in enumerate(masks.items(), first_task):
        annotation = 100 + task
        address = f"/data/upload/3/{task:08x}-{image}"
        results = []
        for number in np.unique(labels).tolist():
            inside = labels == number
            half = len(labels) // 2
            strokes = [inside.copy(), inside.copy()]
            strokes[0][half:] = False
            strokes[1][:half] = False
            for i, stroke in enumerate(stroke for stroke in strokes if stroke.any()):
                name = f"{tag}-{names[number]}-{i}".replace("/", "-").replace("\\", "-")
                file = f"task-{task}-annotation-{annotation}-by-me@example.org-{name}.png"
                Image.fromarray(np.where(stroke, 255, 0).astype(np.uint8)).save(folder / file)
                results.append({"format": "rle", "rle": [0, 1, 1, 2, 3], "brushlabels": [names[number]]})
        if minimal:
            entry = {"image": address, "id": task, tag: results, "annotator": 1, "annotation_id": annotation}
        else:
            regions = [
                {"from_name": tag, "to_name": "image", "type": "brushlabels", "id": f"r{i}", "value": value}
                | {"original_width": labels.shape[1], "original_height": labels.shape[0]}
                for i, value in enumerate(results)
            ]
            annotations = [{"id": annotation, "completed_by": 1, "result": regions, "was_cancelled": False}]
            entry = {"id": task, "annotations": annotations, "data": {"image": address}, "project": 3}
            entry["file_upload"] = address.rpartition("/")[2]
        tasks.append(entry)
    name = f"project-3-at-2026-01-02-03-04-{'5b8d7102' if minimal else 'a1b2c3d4'}.json"
    (folder / name).write_text(json.dumps(tasks), encoding="utf-8")
