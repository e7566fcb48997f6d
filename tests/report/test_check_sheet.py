"""The contact sheet, looked at pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.cli import main
from sceneparse.data.check import check
from sceneparse.data.dataset import open_dataset
from sceneparse.report.check_sheet import COLUMNS, FAULTS, SAMPLES, TILE, check_sheet

SAID = "classes: [{number: 0, name: sky, color: [0, 0, 250]}, {number: 1, name: road, color: [250, 0, 0]}]\n"
SIZE = (150, 200)
"""Half of a tile: drawn at twice its size."""


def write(
    root: Path, split: str, stem: str, numbers: np.ndarray, *, grey: int = 100, size: tuple = SIZE
) -> None:
    for kind, pixels in (("images", np.full((*size, 3), grey, np.uint8)), ("masks", numbers)):
        path = root / kind / split / f"{stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (root / "dataset.yaml").write_text(SAID)


def left_right(left: int, right: int) -> np.ndarray:
    numbers = np.full(SIZE, left, np.uint8)
    numbers[:, SIZE[1] // 2 :] = right
    return numbers


def sheet(root: Path) -> np.ndarray:
    return np.asarray(check_sheet(check(open_dataset(root, keep_faults=True))))


def has(page: np.ndarray, color: tuple[int, int, int]) -> int:
    """How many pixels are of a colour, within 1."""
    return int((np.abs(page.astype(int) - color).max(-1) <= 1).sum())


def test_masks_lie_over_images(tmp_path):
    write(tmp_path, "train", "a", left_right(0, 1))
    page = sheet(tmp_path)
    half = TILE[0] * TILE[1] // 2
    assert page.shape[1] > COLUMNS * TILE[1]
    # Half of grey 100 and half of the class's colour, but for the line between the two.
    assert has(page, (50, 50, 175)) == half - TILE[0]
    assert has(page, (175, 50, 50)) == half
    rows, columns = np.nonzero(np.abs(page.astype(int) - (175, 50, 50)).max(-1) <= 1)
    blue = np.nonzero(np.abs(page.astype(int) - (50, 50, 175)).max(-1) <= 1)
    assert columns.min() > blue[1].max(), "left is left"
    assert has(page[rows.max() + 1 :], (0, 0, 250)) > 50, "the legend"
    assert has(page[rows.max() + 1 :], (250, 0, 0)) > 50


def test_pixels_of_no_class_are_magenta_and_show_the_image(tmp_path):
    write(tmp_path, "train", "a", left_right(0, 7))
    page = sheet(tmp_path)
    assert has(page, (177, 50, 150)) == TILE[0] * TILE[1] // 2


def test_samples_of_every_split_and_faults(tmp_path):
    for split, count in (("train", 3 * SAMPLES), ("val", 2)):
        for i in range(count):
            write(tmp_path, split, str(i), left_right(0, 1), grey=i + 200 * (split == "val"))
    sound = sheet(tmp_path).shape[0]
    for i in range(2 * FAULTS):
        write(tmp_path, "train", f"z{i}", left_right(0, 9))
    faulty = sheet(tmp_path).shape[0]
    row = TILE[0]
    assert 3 * row < sound < 3 * row + 400
    assert 3 * row < faulty - sound < 3 * row + 300, "12 faults in three rows"


def test_a_mask_of_another_size_stands_beside_its_image(tmp_path):
    write(tmp_path, "train", "a", np.ones((75, 100), np.uint8))
    page = sheet(tmp_path)
    assert has(page, (100, 100, 100)) == TILE[0] * TILE[1], "the image, without a mask over it"
    # The mask at the same scale, 150 x 200, and a patch of the legend.
    assert 150 * 200 <= has(page, (250, 0, 0)) < 150 * 200 + 400


@pytest.mark.parametrize("broken", [["images"], ["masks"], ["images", "masks"]])
def test_what_cannot_be_read_is_grey(tmp_path, broken):
    write(tmp_path, "train", "a", left_right(0, 1))
    write(tmp_path, "train", "b", left_right(0, 1))
    for folder in broken:
        (tmp_path / folder / "train" / "b.png").write_bytes(b"no picture")
    page = sheet(tmp_path)
    assert has(page, (225, 225, 230)) >= len(broken) * TILE[0] * TILE[1]


def test_merged_classes_are_shown_as_what_they_count_as(tmp_path):
    write(tmp_path, "train", "a", left_right(0, 1))
    (tmp_path / "dataset.yaml").write_text(SAID + "merge: {all: [sky, road]}\n")
    page = sheet(tmp_path)
    assert has(page, (50, 50, 175)) > 0.95 * TILE[0] * TILE[1]
    assert has(page, (175, 50, 50)) == 0


def test_tiny_and_long_pictures(tmp_path):
    write(tmp_path, "train", "dot", np.zeros((1, 1), np.uint8), size=(1, 1))
    write(tmp_path, "train", "strip", np.zeros((1, 3000), np.uint8), size=(1, 3000))
    write(tmp_path, "train", "tower", np.ones((2000, 3), np.uint8), size=(2000, 3))
    assert sheet(tmp_path).shape[1] < 1800


def test_command_line_writes_it_though_faults_stop(tmp_path, capsys):
    write(tmp_path, "train", "größe " * 30, left_right(0, 9))
    out = tmp_path / "new" / "sheet.png"
    assert main(["check", str(tmp_path), "--sheet", str(out)]) == 2
    with Image.open(out) as image:
        assert image.format == "PNG"
        assert image.width < 1800
    assert main(["check", str(tmp_path), "--sheet", str(tmp_path)]) == 2
    assert "a folder is where the file" in capsys.readouterr().err


def test_up_is_up(tmp_path):
    write(tmp_path, "train", "a", left_right(0, 0))
    pixels = np.full((*SIZE, 3), 20, np.uint8)
    pixels[: SIZE[0] // 2] = 220
    Image.fromarray(pixels).save(tmp_path / "images/train/a.png")
    page = sheet(tmp_path)
    bright, dark = (
        np.nonzero(np.abs(page.astype(int) - c).max(-1) <= 1)[0] for c in ((110, 110, 235), (10, 10, 135))
    )
    assert min(len(bright), len(dark)) > 0.95 * TILE[0] * TILE[1] / 2
    assert bright.max() < dark.min()


def test_image_and_mask_of_a_fault_stay_in_one_row(tmp_path):
    """Two tiles, one, and two again: the last two begin a new row."""
    for stem in ("a", "c"):
        write(tmp_path, "train", stem, np.ones((75, 100), np.uint8))
    write(tmp_path, "train", "b", left_right(0, 9))
    page = sheet(tmp_path)
    assert 2 * 150 * 200 <= has(page, (250, 0, 0)) < 2 * 150 * 200 + 400
