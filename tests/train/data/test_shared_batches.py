"""Reusable shared memory between a DataLoader's workers and their parent."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from waldo.train.data import shared_batches
from waldo.train.data.shared_batches import FREE, IN_USE, MAX_BLOCKS, Pool
from waldo.train.data.store_dataset import StoreDataset
from waldo.train.data.store_source import StoreOptions, StoreSource

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "memfd_create"), reason="needs Linux's memfd")

FRONT = "observation.images.front"


@pytest.fixture
def dataset(store: Path) -> StoreDataset:
    return StoreDataset(StoreSource(path=store, options=StoreOptions()).windows(0))


def loader(dataset: StoreDataset, context: str = "fork", **options: Any) -> Any:
    return DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=context, **options)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_batches_are_equal_to_those_of_one_process(dataset: StoreDataset, context: str) -> None:
    single = list(DataLoader(dataset, batch_size=4))
    workers = list(loader(dataset, context))
    assert len(single) == len(workers) > 10
    for a, b in zip(single, workers, strict=True):
        assert type(b[FRONT]) is torch.Tensor
        assert torch.equal(a[FRONT], b[FRONT])


def test_kept_batches_are_not_overwritten(dataset: StoreDataset) -> None:
    kept, copies = [], []
    for _ in range(3):
        for batch in loader(dataset):
            kept.append(batch[FRONT])
            copies.append(batch[FRONT].clone())
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_memory_is_reused_and_released(dataset: StoreDataset) -> None:
    shared_batches._received_blocks.clear()
    for _ in range(3):
        batches = 0
        for batch in loader(dataset, prefetch_factor=2):
            batches += 1
            del batch
    gc.collect()
    # Two cameras of two workers and the batches in flight, of the last epoch alone: far fewer than batches.
    assert 0 < len(shared_batches._received_blocks) <= 2 * 2 * 4 < 2 * batches


def test_a_part_of_a_batch_keeps_its_values(dataset: StoreDataset) -> None:
    part = None
    for batch in loader(dataset):
        part = batch[FRONT][1] if part is None else part
        last = batch
    assert part is not None
    first = next(iter(DataLoader(dataset, batch_size=4)))
    assert torch.equal(part, first[FRONT][1])
    assert last[FRONT].shape[1:] == (3, 48, 64)


def test_a_block_that_is_not_sent_is_freed() -> None:
    pool = Pool()
    tensor = pool.tensor((2, 3))
    assert tensor is not None
    block = tensor.block
    assert block is not None
    assert block.memory[0] == IN_USE
    view = tensor[1]
    del tensor
    assert block.memory[0] == IN_USE
    del view
    assert block.memory[0] == FREE
    again = pool.tensor((2, 3))
    assert again is not None
    assert again.block is block


def test_a_worker_has_a_maximum_number_of_blocks() -> None:
    pool = Pool()
    held = [pool.tensor((8,)) for _ in range(MAX_BLOCKS)]
    assert all(tensor is not None for tensor in held)
    assert pool.tensor((8,)) is None
    held.pop()
    assert pool.tensor((8,)) is not None


def test_a_tensor_of_the_pool_behaves_like_any_other() -> None:
    tensor = Pool().tensor((2, 2))
    assert tensor is not None
    tensor.fill_(7)
    assert type(tensor / 255.0) is torch.Tensor
    assert (tensor + 1).tolist() == [[8, 8], [8, 8]]
    assert tensor.numpy().tolist() == [[7, 7], [7, 7]]
