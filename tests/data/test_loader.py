"""The order of samples is a function of seed and step; workers, ranks and resumption do not change it."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from sceneparse.data.augment import Augmentation
from sceneparse.data.loader import (
    EvalDataset,
    StepSampler,
    TrainDataset,
    collate,
    default_workers,
    eval_batches,
    make_loader,
)
from sceneparse.errors import InputError


class Store:
    """A cache in memory: samples with the sizes given, read-only as views of a memory map are."""

    def __init__(self, image_sizes, mask_sizes=None, dtype=np.uint8):
        rng = np.random.default_rng(0)
        self.image_sizes = np.array(image_sizes).reshape(-1, 2)
        self.mask_sizes = self.image_sizes if mask_sizes is None else np.array(mask_sizes).reshape(-1, 2)
        self.samples = []
        for (h, w), mask_size in zip(self.image_sizes, self.mask_sizes, strict=True):
            image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
            mask = rng.integers(0, 9, mask_size).astype(dtype)
            image.flags.writeable = mask.flags.writeable = False
            self.samples.append((image, mask))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def sampler(num_samples=10, batch_size=4, seed=7, steps=30, **rest):
    return StepSampler(num_samples=num_samples, batch_size=batch_size, seed=seed, steps=steps, **rest)


def train_set(dtype=np.uint8):
    store = Store([(20, 30), (25, 18), (30, 30), (16, 40), (12, 12)], dtype=dtype)
    ignore_index = int(np.iinfo(dtype).max)
    return TrainDataset(store, Augmentation(crop=(16, 24)), seed=3, ignore_index=ignore_index)


def assert_same_batches(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            assert a[key].dtype == b[key].dtype
            assert a[key].stride() == b[key].stride()
            assert torch.equal(a[key], b[key])


@pytest.mark.parametrize("num_samples", [1, 3, 4, 10, 37])
@pytest.mark.parametrize("start", [0, 1, 7, 29, 30])
def test_resuming_goes_on_with_the_same_batches(num_samples, start):
    unbroken = list(sampler(num_samples))
    resumed = sampler(num_samples, start_step=start)
    assert len(resumed) == 30 - start
    assert list(resumed) == unbroken[start:]
    assert list(resumed) == unbroken[start:]  # iterating does not use it up


@pytest.mark.parametrize(("num_samples", "batch_size"), [(10, 4), (3, 8), (1, 5), (7, 7)])
def test_every_epoch_sees_each_sample_once(num_samples, batch_size):
    batches = list(sampler(num_samples, batch_size, steps=5 * num_samples))
    assert {len(batch) for batch in batches} == {batch_size}
    seen = [item for batch in batches for item in batch]
    assert [epoch for epoch, _ in seen] == [i // num_samples for i in range(len(seen))]
    assert all(count == 1 for count in Counter(seen).values())
    assert {index for _, index in seen} == set(range(num_samples))


def test_epochs_and_seeds_are_shuffled_differently():
    orders = [
        [i for _, i in next(iter(sampler(40, 40, seed=seed, start_step=e)))]
        for seed in (1, 2)
        for e in (0, 1)
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert all(order != sorted(order) for order in orders)


def test_order_is_uniform():
    """Every sample is first about equally often; 4 sigma of a binomial."""
    firsts = Counter(batch[0][1] for batch in sampler(5, 5, steps=2000))
    assert all(abs(firsts[i] - 400) < 4 * (2000 * 0.2 * 0.8) ** 0.5 for i in range(5))


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_global_batch_of_one_process(world_size):
    alone = list(sampler(11, 2 * world_size, start_step=2))
    ranks = [
        list(sampler(11, 2, start_step=2, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    for step, batch in enumerate(alone):
        for rank in range(world_size):
            assert ranks[rank][step] == batch[rank::world_size]


def test_late_start_is_immediate():
    assert next(iter(sampler(20_000, 8, steps=10**9 + 1, start_step=10**9)))[0][0] == 8 * 10**9 // 20_000


def test_finished_run_has_no_batches():
    assert len(sampler(steps=5, start_step=9)) == 0
    assert list(sampler(steps=5, start_step=9)) == []


@pytest.mark.parametrize("values", [{"num_samples": 0}, {"batch_size": 0}])
def test_wrong_sampler_is_refused(values):
    with pytest.raises(InputError):
        sampler(**values)


def test_batches_are_the_same_with_and_without_workers():
    """Also: torch's generator neither decides what is loaded nor is moved by loading."""
    dataset = train_set()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    here = list(make_loader(dataset, sampler(5, 4, steps=12)))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    resumed = list(make_loader(dataset, sampler(5, 4, steps=12, start_step=5), workers=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert_same_batches(here[5:], resumed)


def test_workers_can_be_spawned():
    """As on Windows and macOS."""
    dataset = train_set()
    here = list(make_loader(dataset, sampler(5, 3, steps=3)))
    assert_same_batches(
        here, list(make_loader(dataset, sampler(5, 3, steps=3), workers=1, start_method="spawn"))
    )


@pytest.mark.parametrize(("dtype", "mask_dtype"), [(np.uint8, torch.uint8), (np.uint16, torch.int32)])
def test_batch(dtype, mask_dtype):
    dataset = train_set(dtype)
    items = [(0, 1), (4, 1), (2, 3)]
    batch = collate([dataset[item] for item in items])
    assert batch["image"].shape == (3, 3, 16, 24)
    assert batch["image"].dtype == torch.uint8
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["mask"].shape == (3, 16, 24)
    assert batch["mask"].dtype == mask_dtype
    assert set(batch["mask"].unique().tolist()) <= {*range(9), int(np.iinfo(dtype).max)}
    assert batch["index"].tolist() == [1, 1, 3]
    for row, item in enumerate(items):
        assert torch.equal(batch["image"][row], dataset[item][0])
    assert not torch.equal(batch["image"][0], batch["image"][1])  # the epoch changes the view


def test_dataset_survives_pickling():
    dataset = pickle.loads(pickle.dumps(train_set()))
    assert torch.equal(dataset[2, 3][0], train_set()[2, 3][0])


def test_without_augmentation_samples_are_as_cached():
    store = Store([(6, 7)] * 3)
    dataset = TrainDataset(store, None, seed=0, ignore_index=255)
    image, mask, index = dataset[5, 2]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), store[2][0])
    np.testing.assert_array_equal(mask.numpy(), store[2][1])
    assert index == 2
    with pytest.raises(InputError, match="different sizes"):
        TrainDataset(Store([(6, 7), (7, 6)]), None, seed=0, ignore_index=255)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_evaluation_takes_every_sample_once(batch_size, world_size):
    image_sizes = [(6, 8), (6, 8), (8, 6), (6, 8), (6, 8), (8, 6), (6, 8), (5, 5)]
    mask_sizes = [(6, 8), (6, 8), (8, 6), (12, 16), (6, 8), (8, 6), (6, 8), (50, 50)]
    store = Store(image_sizes, mask_sizes)
    dataset = EvalDataset(store)
    seen = []
    for rank in range(world_size):
        batches = eval_batches(store, batch_size, (rank, world_size))
        assert all(1 <= len(batch) <= batch_size for batch in batches)
        for batch in make_loader(dataset, batches):  # stacking fails where sizes differ
            for image, mask, index in zip(
                batch["image"], batch["mask"], batch["index"].tolist(), strict=True
            ):
                np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), store[index][0])
                np.testing.assert_array_equal(mask.numpy(), store[index][1])
                seen.append(index)
    assert sorted(seen) == list(range(8))


def test_evaluation_batches_are_full_where_sizes_allow():
    assert eval_batches(Store([(4, 4)] * 5), 2) == [[0, 1], [2, 3], [4]]
    assert eval_batches(Store([(4, 4), (5, 5)] * 3), 2) == [[0, 2], [4], [1, 3], [5]]
    assert eval_batches(Store([]), 2) == []


def test_default_workers():
    assert default_workers(on_gpu=False) == 0
    assert 1 <= default_workers(on_gpu=True) <= 16
