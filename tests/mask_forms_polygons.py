"""Writers of masks as polygons and documents: what labelling tools would have written for given label maps.

H, W: height and width of a label map, pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy import ndimage

Labels = NDArray[np.integer]
Ring = NDArray[np.int64]


def traced(labels: Labels) -> list[tuple[int, list[Ring]]]:
    """A (H, W) label map as regions: (number, rings), to be painted one over the other in this order.

    A region is what is connected by sides; its one ring is its outer boundary along the edges of pixels,
    (N, 2) corners x, y. Rings that enclose more come first, so that what lies in a hole is painted over it.
    """
    regions = []
    for number in np.unique(labels):
        parts, _ = ndimage.label(labels == number)
        for part, box in enumerate(ndimage.find_objects(parts), start=1):
            ring = outer_ring(parts[box] == part) + np.array([box[1].start, box[0].start])
            x, y = ring.T
            area = abs(int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) // 2
            regions.append((area, int(number), ring))
    regions.sort(key=lambda region: -region[0])
    return [(number, [ring]) for _, number, ring in regions]


# Way (x, y) to the pixels ahead on its right and left, as (row, column) from the corner between four pixels.
_AHEAD = {
    (1, 0): ((0, 0), (-1, 0)),
    (0, 1): ((0, -1), (0, 0)),
    (-1, 0): ((-1, -1), (0, -1)),
    (0, -1): ((-1, 0), (-1, -1)),
}


def outer_ring(inside: NDArray[np.bool_]) -> Ring:
    """Corners of the outer boundary of a region connected by sides, walked with the region to the right."""
    cells = np.pad(inside, 1).tolist()
    y, x = (int(n) + 1 for n in np.argwhere(inside)[0])
    start = (x, y, 1, 0)
    dx, dy = 1, 0
    corners = [(x, y)]
    while True:
        x, y = x + dx, y + dy
        right, left = (cells[y + row][x + column] for row, column in _AHEAD[dx, dy])
        if not right:
            dx, dy = -dy, dx
        elif left:
            dx, dy = dy, -dx
        else:
            continue
        if (x, y, dx, dy) == start:
            break
        corners.append((x, y))
    return np.array(corners, np.int64) - 1


def write_coco(path: Path, masks: Mapping[str, Labels], names: Mapping[int, str]) -> None:
    """A COCO document of polygons: file name to label map, and the names of all numbers in them."""
    shapes = {
        name: [(number, [ring.reshape(-1).tolist() for ring in rings]) for number, rings in traced(labels)]
        for name, labels in masks.items()
    }
    _write_coco(path, masks, names, shapes)


def write_coco_rle(
    path: Path, masks: Mapping[str, Labels], names: Mapping[int, str], *, compressed: bool
) -> None:
    """The same as run lengths, by pycocotools or by hand; one annotation for each number in a picture."""
    encode = _compressed if compressed else _uncompressed
    shapes = {
        name: [(int(number), encode(labels == number)) for number in np.unique(labels)]
        for name, labels in masks.items()
    }
    _write_coco(path, masks, names, shapes)


def _compressed(inside: NDArray[np.bool_]) -> object:
    encoded = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode()}


def _uncompressed(inside: NDArray[np.bool_]) -> object:
    flat = inside.T.reshape(-1)
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
    return {"size": list(inside.shape), "counts": [0, *counts] if flat[0] else counts}


def _write_coco(
    path: Path, masks: Mapping[str, Labels], names: Mapping[int, str], shapes: Mapping[str, list]
) -> None:
    images = [
        {"id": i, "file_name": name, "height": labels.shape[0], "width": labels.shape[1]}
        for i, (name, labels) in enumerate(masks.items(), start=1)
    ]
    annotations = [
        {
            "image_id": image["id"],
            "category_id": number,
            "segmentation": shape,
            "iscrowd": int(type(shape) is dict),
        }
        for image in images
        for number, shape in shapes[image["file_name"]]
    ]
    for i, annotation in enumerate(annotations, start=1):
        annotation["id"] = i
    categories = [{"id": number, "name": name, "supercategory": ""} for number, name in names.items()]
    document = {"info": {}, "images": images, "categories": categories, "annotations": annotations}
    path.write_text(json.dumps(document), encoding="utf-8")


def write_labelme(path: Path, labels: Labels, names: Mapping[int, str]) -> None:
    """A LabelMe document of polygons."""
    shapes = [
        {
            "label": names[number],
            "points": ring.astype(float).tolist(),
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for number, rings in traced(labels)
        for ring in rings
    ]
    document = {
        "version": "5.8.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": labels.shape[0],
        "imageWidth": labels.shape[1],
    }
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")


def write_yolo(path: Path, labels: Labels, *, digits: int = 6) -> None:
    """A YOLO text of polygons, as shares of width and height with so many decimals."""
    size = np.array(labels.shape[::-1])
    lines = [
        " ".join([str(number), *(f"{share:.{digits}f}" for share in (ring / size).reshape(-1))])
        for number, rings in traced(labels)
        for ring in rings
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
