"""One data set in every form: the same index masks, byte for byte, however they were kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from all_forms import ALL_FORMS, Truth, camvid_truth, small_truth
from PIL import Image

from sceneparse.data.cache import PixelCache
from sceneparse.data.check import check
from sceneparse.data.convert import convert
from sceneparse.data.dataset import Dataset, open_dataset
from sceneparse.data.preprocess import ResizePolicy

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid"


@pytest.fixture(scope="module")
def small() -> Truth:
    return small_truth()


@pytest.fixture(scope="module")
def street() -> Truth:
    """Two training pairs of CamVid and one of validation, at their own size."""
    if not CAMVID.is_dir():
        pytest.skip(f"no CamVid in {CAMVID}")
    return camvid_truth(CAMVID, train=2, val=1)


def written(truth: Truth, form: str, folder: Path) -> Dataset:
    ALL_FORMS[form](folder, truth)
    return open_dataset(folder, keep_faults=True)


def converted(truth: Truth, folder: Path) -> dict[str, bytes]:
    """What a plain folder of the truth must hold but for ``dataset.yaml``: Pillow writes it here."""
    count = len(truth.names)
    palette = np.zeros((256, 3), np.uint8)
    palette[:count] = truth.colors[:count]
    palette[255] = (224, 224, 192)
    files = {}
    for split, stem, _ in truth.each():
        image = Image.fromarray(truth.index(split, stem))
        image.putpalette(palette.tobytes())
        image.save(folder / "expected.png")
        files[f"masks/{split}/{stem}.png"] = (folder / "expected.png").read_bytes()
        files[f"images/{split}/{stem}.jpg"] = truth.splits[split][stem][0]
    return files


def compare(truth: Truth, form: str, folder: Path) -> Dataset:
    """Read and converted, a form gives the truth."""
    dataset = written(truth, form, folder / "form")
    assert (dataset.labels.names, dataset.faults) == (truth.names, ())
    for split, pictures in truth.splits.items():
        assert [pair.stem for pair in dataset.splits[split]] == sorted(pictures)
        for pair in dataset.splits[split]:
            numbers = pair.mask.read(pictures[pair.stem][1].shape)
            index = dataset.labels.to_index(numbers, path=pair.mask.path)
            assert index.dtype == np.uint8
            assert index.tobytes() == truth.index(split, pair.stem).tobytes()
    convert(dataset, folder / "plain")
    files = {
        p.relative_to(folder / "plain").as_posix(): p for p in (folder / "plain").rglob("*") if p.is_file()
    }
    del files["dataset.yaml"]
    expected = converted(truth, folder)
    assert files.keys() == expected.keys()
    assert [name for name, path in files.items() if path.read_bytes() != expected[name]] == []
    return dataset


@pytest.mark.parametrize("form", ALL_FORMS)
def test_small_data(small, form, tmp_path):
    checked = check(compare(small, form, tmp_path))
    assert checked.faults == ()
    for split, pictures in small.splits.items():
        every = np.concatenate([labels.ravel() for _, labels in pictures.values()])
        pixels = np.bincount(every, minlength=len(small.names) + 1)
        assert checked.tallies[split].pixels.tolist() == pixels.tolist()


@pytest.mark.parametrize("form", ALL_FORMS)
def test_camvid(street, form, tmp_path):
    compare(street, form, tmp_path)


@pytest.mark.parametrize("form", ["palette", "CVAT labelmap.txt", "per region", "COCO polygons", "YOLO"])
def test_pixel_caches_hold_the_same(small, form, tmp_path):
    dataset = written(small, form, tmp_path / "form")
    options = {"folder": tmp_path, "workers": 1, "progress": False}
    cache = PixelCache.open(dataset, "train", ResizePolicy(), mask_size="image", **options)
    assert [pair.stem for pair in cache.pairs] == sorted(small.splits["train"])
    for i, pair in enumerate(cache.pairs):
        assert cache[i][1].tobytes() == small.index("train", pair.stem).tobytes()
