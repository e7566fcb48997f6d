"""The built-in scenes: reproducible, labelled with known numbers, readable by the ordinary data path."""

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from sceneparse.data.dataset import open_dataset
from sceneparse.data.scenes import draw_scene, scene_seeds, scenes_label_set, write_scenes
from sceneparse.errors import InputError
from sceneparse.labels import ade20k

SIZE_HW = (48, 64)


def digest(seed, size_hw=SIZE_HW):
    image, mask = draw_scene(seed, size_hw)
    return hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest()


def files_under(root):
    return {p.relative_to(root).as_posix(): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes") / "built in – ü"
    write_scenes(root, train=6, val=3, size_hw=SIZE_HW)
    return root


def test_same_seed_same_bytes_in_another_process():
    code = (
        "import hashlib; from sceneparse.data.scenes import draw_scene\n"
        "for seed in (0, 5, 9):\n"
        f"    image, mask = draw_scene(seed, {SIZE_HW})\n"
        "    print(hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest())\n"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.split() == [digest(seed) for seed in (0, 5, 9)]


def test_different_seeds_give_different_scenes():
    assert len({digest(seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("size_hw", [(48, 64), (37, 53), (64, 48), (16, 16)])
def test_shapes_and_types_at_any_size(size_hw):
    for seed in range(12):
        image, mask = draw_scene(seed, size_hw)
        assert image.shape == (*size_hw, 3)
        assert mask.shape == size_hw
        assert image.dtype == mask.dtype == np.uint8


def test_every_pixel_has_a_number_of_the_label_set_and_few_are_unlabelled():
    labels = scenes_label_set()
    known = set(labels.file_numbers) | set(labels.ignored)
    masks = [draw_scene(seed, SIZE_HW)[1] for seed in range(60)]
    assert set(np.unique(masks)) <= known
    assert (np.array(masks) == 0).mean() < 0.01


def test_label_set_is_a_part_of_ade20k():
    labels, full = scenes_label_set(), ade20k()
    assert labels.ignored == (0,)
    for number, name, color in zip(labels.file_numbers, labels.names, labels.palette, strict=True):
        at = full.file_numbers.index(number)
        assert (name, color) == (full.names[at], full.palette[at])


def test_every_class_appears_often_enough_in_train_and_val():
    """At least one picture in twelve: in the demo's 640 and 100 scenes that is never none."""
    numbers = scenes_label_set().file_numbers
    for split in ("train", "val"):
        found = np.zeros(256, int)
        for seed in scene_seeds(0, split, 100):
            found[np.unique(draw_scene(seed, SIZE_HW)[1])] += 1
        rare = {n: found[n] for n in numbers if found[n] < 8}
        assert not rare, f"{split}: scenes holding the class, of 100: {rare}"


def test_train_and_val_seeds_are_disjoint_for_all_data_set_seeds():
    ranges = [scene_seeds(seed, split, 1 << 20) for seed in range(4) for split in ("train", "val")]
    for a, b in itertools.pairwise(ranges):
        assert a.stop <= b.start


def test_written_files_are_the_drawn_scenes(written):
    seed = scene_seeds(0, "val", 3)[2]
    image, mask = draw_scene(seed, SIZE_HW)
    np.testing.assert_array_equal(np.asarray(Image.open(written / "images/val/scene-000002.png")), image)
    with Image.open(written / "masks/val/scene-000002.png") as file:
        assert file.mode == "P"
        np.testing.assert_array_equal(np.asarray(file), mask)
        labels = scenes_label_set()
        at = labels.file_numbers.index(int(mask.max()))
        assert tuple(file.getpalette()[3 * int(mask.max()) :][:3]) == labels.palette[at]


def test_the_ordinary_data_path_reads_them(written):
    for path in (written, written / "dataset.yaml"):
        dataset = open_dataset(path)
        assert {split: len(pairs) for split, pairs in dataset.splits.items()} == {"train": 6, "val": 3}
        assert dataset.labels == scenes_label_set()


def test_writing_again_touches_nothing_and_a_damaged_folder_is_drawn_again(tmp_path):
    write_scenes(tmp_path, train=2, val=1, size_hw=(16, 24))
    before = files_under(tmp_path)
    assert len(before) == 2 * 3 + 2
    write_scenes(tmp_path, train=2, val=1, size_hw=(16, 24))
    assert files_under(tmp_path) == before
    (tmp_path / "masks/train/scene-000001.png").unlink()
    write_scenes(tmp_path, train=2, val=1, size_hw=(16, 24))
    assert files_under(tmp_path).keys() == before.keys()


def test_other_settings_replace_the_scenes_and_leave_none_behind(tmp_path):
    write_scenes(tmp_path, train=3, val=2, size_hw=(16, 24))
    write_scenes(tmp_path, train=2, val=1, size_hw=(24, 16))
    images = sorted((tmp_path / "images/train").iterdir())
    assert [p.name for p in images] == ["scene-000000.png", "scene-000001.png"]
    assert all(Image.open(p).size == (16, 24) for p in images)


def test_two_processes_draw_the_same_files_as_one(tmp_path, written):
    done = []
    write_scenes(tmp_path, train=6, val=3, size_hw=SIZE_HW, workers=2, on_scene=done.append)
    assert done == list(range(1, 10))
    for path in files_under(written):
        assert (tmp_path / path).read_bytes() == (written / path).read_bytes(), path


def test_foreign_files_are_kept_and_named(tmp_path):
    photo = tmp_path / "images/train/holiday.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holiday\.jpg"):
        write_scenes(tmp_path, train=1, val=1, size_hw=(16, 24))
    assert photo.read_bytes() == b"mine"


def test_impossible_settings_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="train is 0"):
        write_scenes(tmp_path, train=0, val=1)
    with pytest.raises(InputError, match="height is 8"):
        write_scenes(tmp_path, train=1, val=1, size_hw=(8, 64))
