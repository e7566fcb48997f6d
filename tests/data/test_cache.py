"""The pixel cache against what Pillow makes of the same files, and against what happens to files."""

import dataclasses
import errno
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sceneparse.data import cache as cache_module
from sceneparse.data import cache_build, pixelfile
from sceneparse.data.cache import PixelCache
from sceneparse.data.dataset import open_dataset
from sceneparse.data.preprocess import ResizePolicy
from sceneparse.data.threads import mapped_in_order
from sceneparse.errors import InputError
from sceneparse.lock import process_lock

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SHORT_12 = ResizePolicy(mode="short-side", size=12)
SIZES = [(20, 30), (31, 17), (24, 24), (12, 50), (40, 21)]


@pytest.fixture
def folder(tmp_path):
    """A plain data set of five images of five sizes, classes 0..2 and 255 ignored."""
    root = tmp_path / "data set"
    rng = np.random.default_rng(3)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        for i, (height, width) in enumerate(SIZES):
            image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            image.save(root / f"images/{split}/{i}.png")
            mask = rng.choice(np.array([0, 1, 2, 255], np.uint8), (height, width))
            Image.fromarray(mask).save(root / f"masks/{split}/{i}.png")
    (root / "dataset.yaml").write_text(
        "train: {images: images/train, masks: masks/train}\n"
        "val: {images: images/val, masks: masks/val}\n"
        "classes: {2: two, 0: zero, 1: one}\nignore: [255]\n"
    )
    return root


@pytest.fixture
def writes(monkeypatch):
    """Counts how often a cache is made."""
    made = []
    original = cache_build._write

    def counted(temporary, job):
        made.append(job.path)
        original(temporary, job)

    monkeypatch.setattr(cache_build, "_write", counted)
    return made


def opened(folder, *, split="train", policy=SHORT_12, mask_size="image", **options):
    options = {"folder": folder.parent / "cache", "workers": 2, "progress": False} | options
    return PixelCache.open(open_dataset(folder), split, policy, mask_size=mask_size, **options)


def files(folder):
    return sorted(p.name for p in (folder.parent / "cache").iterdir() if p.suffix != ".lock")


def expected_sample(folder, i, mask_size, split="train"):
    """By Pillow and a hand-written table: file numbers 2, 0, 1 are training indices 0, 1, 2."""
    with (
        Image.open(folder / f"images/{split}/{i}.png") as image,
        Image.open(folder / f"masks/{split}/{i}.png") as mask,
    ):
        scale = 12 / min(image.size)
        size = tuple(int(np.floor(side * scale + 0.5)) for side in image.size)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        numbers = np.asarray(mask)
        if mask_size == "image":
            rows, columns = (
                np.floor((np.arange(n) + 0.5) * old / n).astype(int)
                for n, old in zip(size[::-1], numbers.shape, strict=True)
            )
            numbers = numbers[rows][:, columns]
    table = {2: 0, 0: 1, 1: 2, 255: 255}
    return pixels, np.vectorize(table.get)(numbers)


# ---------------------------------------------------------------- contents


@pytest.mark.parametrize("mask_size", ["image", "own"])
def test_contents_are_what_pillow_makes_of_the_files(folder, mask_size):
    cache = opened(folder, mask_size=mask_size)
    assert len(cache) == 5
    for i, (height, width) in enumerate(SIZES):
        image, mask = cache[i]
        expected_image, expected_mask = expected_sample(folder, i, mask_size)
        assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)
        assert (image == expected_image).all()
        assert (mask == expected_mask).all()
        assert min(image.shape[:2]) == 12
        assert mask.shape == ((height, width) if mask_size == "own" else image.shape[:2])
        assert tuple(cache.image_sizes[i]) == image.shape[:2]
        assert tuple(cache.mask_sizes[i]) == mask.shape
        assert cache.pair(i).stem == str(i)


def test_views_are_read_only_and_share_the_file(folder):
    image, mask = opened(folder)[0]
    for array in (image, mask):
        assert not array.flags.owndata
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1


def test_more_than_255_classes_take_16_bits(folder):
    text = (folder / "dataset.yaml").read_text().split("classes")[0]
    (folder / "dataset.yaml").write_text(text + f"classes: {[f'c{i}' for i in range(300)]}")
    wide = np.random.default_rng(0).integers(0, 300, SIZES[1], dtype=np.uint16)
    Image.fromarray(wide).save(folder / "masks/train/1.png")
    cache = opened(folder, policy=ResizePolicy())
    assert cache[1][1].dtype == np.uint16
    assert (cache[1][1] == wide).all()


def test_real_camvid(tmp_path):
    if not (SHARED / "camvid").is_dir():
        pytest.skip(f"no camvid in {SHARED}")
    dataset = open_dataset(SHARED / "camvid")
    dataset = dataclasses.replace(dataset, splits={"val": dataset.split("val")[::25]})
    cache = PixelCache.open(
        dataset, "val", ResizePolicy(), mask_size="own", folder=tmp_path, workers=2, progress=False
    )
    for i in range(len(cache)):
        with Image.open(cache.pair(i).image) as image, Image.open(cache.pair(i).mask.path) as mask:
            assert (cache[i][0] == np.asarray(image)).all()
            numbers = np.asarray(mask)
        assert (cache[i][1] == np.where(numbers == 11, 255, numbers)).all()  # void is ignored


# ---------------------------------------------------------------- made once, made anew


def test_made_once_and_anew_when_anything_changes(folder, writes, monkeypatch):
    opened(folder)
    opened(folder)
    assert len(writes) == 1
    source = folder / "images/train/3.png"
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 1000))
    opened(folder)
    assert len(writes) == 2  # a source file was written
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / "train/0.png", folder / kind / "train/new.png")
    assert len(opened(folder)) == 6
    assert len(writes) == 3  # a source file more
    assert len(files(folder)) == 1  # all of them in one place
    opened(folder, policy=ResizePolicy(mode="short-side", size=13))
    opened(folder, mask_size="own")
    opened(folder, split="val")
    assert len(writes) == 6
    opened(folder)
    assert len(writes) == 6  # the settings do not drive each other out
    text = (folder / "dataset.yaml").read_text()
    (folder / "dataset.yaml").write_text(text.replace("two", "deux"))
    opened(folder)
    assert len(writes) == 6  # a name is not in the pixels
    (folder / "dataset.yaml").write_text(text.replace("{2: two, 0: zero", "{0: zero, 2: two"))
    assert (opened(folder)[0][1] != 1).any()
    assert len(writes) == 7
    monkeypatch.setattr(cache_module, "_PIXELS_VERSION", 99)
    opened(folder)
    assert len(writes) == 8


def test_fingerprint_is_of_the_pixels_and_not_of_place_or_time(folder, tmp_path):
    first = opened(folder).fingerprint
    assert len(first) == 64
    int(first, 16)
    elsewhere = tmp_path / "else" / "where"
    shutil.copytree(folder, elsewhere, copy_function=shutil.copyfile)
    assert opened(elsewhere).fingerprint == first
    mask = np.asarray(Image.open(elsewhere / "masks/train/2.png")).copy()
    mask[0, 0] = (mask[0, 0] + 1) % 3
    Image.fromarray(mask).save(elsewhere / "masks/train/2.png")
    assert (
        opened(elsewhere, policy=ResizePolicy()).fingerprint
        != opened(folder, policy=ResizePolicy()).fingerprint
    )


# ---------------------------------------------------------------- damage


def the_file(folder):
    (name,) = files(folder)
    return folder.parent / "cache" / name


def test_truncated_foreign_and_flipped_files_are_made_anew(folder, writes):
    opened(folder)
    path = the_file(folder)
    whole = path.read_bytes()
    damaged = {f"cut at {n}": whole[:n] for n in (0, 1, 63, 64, len(whole) // 2, len(whole) - 1)}
    damaged["longer"] = whole + b"\0"
    damaged["pickle"] = pickle.dumps({"images": [1, 2, 3]}) * 100
    damaged["zeros"] = bytes(len(whole))
    trailer = int.from_bytes(whole[16:24], "little")
    for position in [*range(0, 56, 5), trailer, trailer + 50, len(whole) - 1]:
        flipped = bytearray(whole)
        flipped[position] ^= 4
        damaged[f"flipped at {position}"] = bytes(flipped)
    for what, data in damaged.items():
        path.write_bytes(data)
        count = len(writes)
        assert len(opened(folder)) == 5
        assert len(writes) == count + 1, what
        assert path.read_bytes() == whole, what


def test_flipped_pixels_are_noticed_when_read_and_the_next_start_makes_them_anew(folder, writes):
    opened(folder)
    path = the_file(folder)
    whole = bytearray(path.read_bytes())
    whole[64 + 5] ^= 1  # a pixel of the first image
    path.write_bytes(whole)
    cache = opened(folder)
    assert len(writes) == 1
    cache[1]
    with pytest.raises(InputError, match="damaged") as caught:
        cache[0]
    assert "start again" in str(caught.value)
    assert opened(folder)[0][0].shape == (12, 18, 3)
    assert len(writes) == 2


def test_verify_reads_everything_at_once(folder, writes):
    opened(folder)
    path = the_file(folder)
    whole = bytearray(path.read_bytes())
    whole[64 + 5] ^= 1
    path.write_bytes(whole)
    cache = opened(folder, verify=True)
    assert len(writes) == 2
    cache[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_full_disk_while_writing_leaves_the_old_cache(folder, monkeypatch, number):
    opened(folder)
    before = the_file(folder).read_bytes()
    os.utime(folder / "images/train/0.png", ns=(1, 1))
    original, calls = pixelfile.PixelFileWriter._write, []

    def full(self, data):
        calls.append(1)
        if len(calls) > 4:
            raise OSError(number, os.strerror(number))
        return original(self, data)

    with monkeypatch.context() as patched:
        patched.setattr(pixelfile.PixelFileWriter, "_write", full)
        with pytest.raises(
            InputError, match="full" if number == errno.ENOSPC else "cannot read or write"
        ) as caught:
            opened(folder)
    assert str(folder.parent / "cache") in str(caught.value)
    assert the_file(folder).read_bytes() == before  # and it is the only file there
    assert len(opened(folder)) == 5


def test_a_real_limit_on_file_size(folder):
    resource = pytest.importorskip("resource", reason="no file size limit on this system")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(InputError, match="disk is full"):
            opened(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(folder) == []


def test_interrupt_leaves_nothing(folder, monkeypatch):
    calls = []

    def interrupted(self, image, mask):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return "facts"

    monkeypatch.setattr(pixelfile.PixelFileWriter, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        opened(folder)
    assert files(folder) == []


def test_cache_folder_that_cannot_be(folder):
    (folder.parent / "cache").write_text("a file")
    with pytest.raises(InputError, match="pixel cache"):
        opened(folder)


# ---------------------------------------------------------------- faults in the data


def test_all_faults_are_in_one_error_and_nothing_is_written(folder):
    (folder / "images/train/0.png").write_bytes(b"")
    Image.fromarray(np.full(SIZES[0], 9, np.uint8)).save(folder / "masks/train/0.png")
    whole = (folder / "images/train/1.png").read_bytes()
    (folder / "images/train/1.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full(SIZES[2], 77, np.uint8)).save(folder / "masks/train/2.png")
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(folder / "masks/train/3.png")
    Image.fromarray(np.zeros(SIZES[4][::-1], np.uint8)).save(folder / "masks/train/4.png")
    with pytest.raises(InputError) as caught:
        opened(folder)
    text = str(caught.value)
    assert "6 faults" in text
    for expected in (
        "empty (0 bytes)",
        "9 (600 pixels)",
        "cut off",
        f"77 ({24 * 24} pixels)",
        "6 x 5 pixels and its image 50 x 12",
    ):
        assert expected in text
    for i in range(5):
        assert str(Path(f"train/{i}.png")) in text
    assert files(folder) == []


def test_one_fault_is_told_as_it_is(folder):
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(folder / "masks/train/3.png")
    with pytest.raises(InputError, match="the mask is 6 x 5"):
        opened(folder)


def test_split_that_is_not_there_and_vanished_source(folder):
    dataset = open_dataset(folder)
    with pytest.raises(InputError, match="no split 'test'"):
        opened(folder, split="test")
    (folder / "images/train/3.png").unlink()
    with pytest.raises(InputError, match=r"3\.png"):
        PixelCache.open(
            dataset, "train", SHORT_12, mask_size="own", folder=folder.parent, workers=1, progress=False
        )


# ---------------------------------------------------------------- memory and handles


@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_a_few_results_are_held(workers):
    started, taken, ahead = [], 0, []

    def work(i):
        started.append(i)
        return i

    for result in mapped_in_order(work, range(50), workers):
        assert result == taken  # in order
        time.sleep(0.001)  # a slow reader
        taken += 1
        ahead.append(len(started) - taken)
    assert taken == 50
    assert max(ahead) <= 2 * workers


def test_pickled_handle_opens_the_same_file_and_no_other(folder):
    cache = opened(folder)
    data = pickle.dumps(cache)
    assert len(data) < 3000  # no pixels in it
    again = pickle.loads(data)
    assert (again[2][0] == cache[2][0]).all()
    assert again.pair(2) == cache.pair(2)
    assert again.fingerprint == cache.fingerprint
    Image.fromarray(np.zeros((*SIZES[2], 3), np.uint8)).save(folder / "images/train/2.png")
    opened(folder)
    with pytest.raises(InputError, match="replaced"):
        pickle.loads(data)
    if sys.platform != "win32":
        assert (cache[2][0] != 0).any()  # whoever had it open still reads the old pixels


def test_progress_bar_goes_to_standard_error(folder, capsys):
    opened(folder, progress=True)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- several processes

# Forked where that is possible: a spawned process imports torch first, seconds for each.
PROCESSES = multiprocessing.get_context("spawn" if sys.platform == "win32" else "fork")


def open_slowly(folder, log, seconds, go, answers):
    """In a process of its own: open the cache when told to; logs every time it has to be made."""
    write, prepare = cache_build._write, cache_build._prepare

    def logged(temporary, job):
        with open(log, "a") as file:
            file.write("made\n")
        write(temporary, job)

    def slow(*args, **options):
        time.sleep(seconds)
        return prepare(*args, **options)

    cache_build._write, cache_build._prepare = logged, slow
    go.wait(60)
    cache = opened(folder)
    answers.put((len(cache), int(cache[4][0].sum())))


def test_kill_while_making_then_several_processes_at_once(folder, tmp_path):
    """One process is killed (-9) on the way; of the three that then start together, one makes the file."""
    log, answers = tmp_path / "log", PROCESSES.Queue()
    first, then = PROCESSES.Event(), PROCESSES.Event()
    killed = PROCESSES.Process(target=open_slowly, args=(folder, log, 60, first, answers))
    others = [PROCESSES.Process(target=open_slowly, args=(folder, log, 0.1, then, answers)) for _ in range(3)]
    try:
        for process in (killed, *others):
            process.start()
        first.set()
        deadline = time.monotonic() + 60
        while not list((tmp_path / "cache").glob("*.tmp")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        killed.kill()
        killed.join()
        assert [name for name in files(folder) if name.endswith(".pixels")] == []
        then.set()
        expected = int(expected_sample(folder, 4, "image")[0].sum())
        assert [answers.get(timeout=60) for _ in others] == [(5, expected)] * 3
        assert log.read_text() == "made\n" * 2  # the killed one, and one of the three
        assert len(files(folder)) == 1  # what the killed one left is gone
    finally:
        for process in (killed, *others):
            process.kill()
            process.join()


def test_lock_excludes_and_is_given_back(tmp_path):
    told = []
    with process_lock(tmp_path / "lock") as held:
        assert held
        script = (
            "import sys; from pathlib import Path; from sceneparse.lock import process_lock\n"
            "with process_lock(Path(sys.argv[1]), waiting=lambda: print('waiting', flush=True)):\n"
            "    print('held', flush=True); sys.stdin.readline()"
        )
        other = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "lock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdout.readline() == "waiting\n"
    try:
        assert other.stdout.readline() == "held\n"
        other.kill()  # with the lock in its hands
        other.wait()
        with process_lock(tmp_path / "lock", waiting=lambda: told.append(1)):
            assert told == []
    finally:
        other.kill()
        other.wait()
