"""Puts a waldo dataset in the place of LeRobot's inside `lerobot-train`; all that is made from it is made by LeRobot.

LeRobot's factory is left as it is (offsets from the policy, ImageNet's statistics, the split for evaluation); what it
finds under the names of its dataset and sampler is ours. Tested with LeRobot 0.6.1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

import lerobot.datasets.factory as factory
import numpy as np
from accelerate import PartialState
from lerobot.datasets.sampler import EpisodeAwareSampler

from waldo.datasets.reading.shuffle import block_order, cut_blocks
from waldo.datasets.reading.windows import Windows
from waldo.train.data.store_dataset import StoreDataset
from waldo.train.data.store_meta import store_metadata
from waldo.train.data.store_source import StoreSource

LOG = logging.getLogger("waldo.train")


class StoreSampler(EpisodeAwareSampler):
    """LeRobot's sampler with the order of a block shuffle; resumes as LeRobot's does."""

    def __init__(self, *args: Any, order: Callable[..., Any], ahead: Callable[[list[int]], None] | None, **kw: Any):
        """Take LeRobot's arguments, what makes an epoch's order, and what hears of the batches to come."""
        super().__init__(*args, **kw)
        self._order, self._ahead = order, ahead

    def _iter_epoch(self, epoch: int, start: int) -> Iterator[int]:
        if not self.shuffle:
            yield from super()._iter_epoch(epoch, start)
            return
        lengths = np.diff(self._cum_lengths, prepend=0)
        rows = self._order(self._starts, self._starts + lengths, seed=self.seed, epoch=epoch)[start:].tolist()
        items = rows if self._absolute_to_relative is None else [self._absolute_to_relative[row] for row in rows]
        yield from items if self._ahead is None else _announced(items, self._ahead)


def _announced(items: Sequence[int], ahead: Callable[[list[int]], None], step: int = 8) -> Iterator[int]:
    """Yield items; `ahead` hears of each step of them when the step before it begins."""
    for at in range(0, len(items), step):
        ahead(list(items[at + step : at + 2 * step]))
        yield from items[at : at + step]


def use_store(lerobot_train: Any, source: StoreSource) -> Callable[[Any], Any]:
    """Return what makes the training and the evaluation dataset in place of `make_train_eval_datasets`."""

    def make(config: Any) -> Any:
        readers = max(1, config.num_workers) * PartialState().num_processes
        decoded = source.images and source.options.cache is None
        block = source.options.shuffle == "block" or (source.options.shuffle == "auto" and decoded)
        cache_bytes = source.options.memory_mb * 10**6 // readers if block else 0
        windows = source.windows(cache_bytes)
        for index, why in windows.skipped.items():
            LOG.warning("episode %d is left out: %s", index, why)
        metadata = store_metadata(windows)
        names = cast("dict[str, Any]", vars(factory))
        names["LeRobotDatasetMetadata"] = lambda *args, **kw: metadata
        names["LeRobotDataset"] = partial(_dataset, windows=windows, metadata=metadata)
        training, evaluation = cast("tuple[Any, Any]", factory.make_train_eval_datasets(config))
        if block:
            order = partial(
                store_order, windows=windows, batch=config.batch_size, readers=readers, cache_bytes=cache_bytes
            )
            ahead = training.prefetch if config.num_workers == 0 and readers == 1 else None
            vars(lerobot_train)["EpisodeAwareSampler"] = partial(StoreSampler, order=order, ahead=ahead)
        return training, evaluation

    return make


def _dataset(
    repo_id: str,
    *,
    windows: Windows,
    metadata: Any,
    episodes: Sequence[int] | None = None,
    delta_timestamps: Mapping[str, Sequence[float]] | None = None,
    image_transforms: Any = None,
    **options: Any,
) -> StoreDataset:
    """Stand in for LeRobotDataset's constructor, as its factory calls it."""
    moved = windows.with_deltas(delta_timestamps or {})
    return StoreDataset(
        moved,
        metadata,
        episodes=episodes,
        image_transforms=image_transforms,
        return_uint8=bool(options.get("return_uint8", False)),
    )


def store_order(
    starts: Any, stops: Any, *, windows: Windows, batch: int, readers: int, cache_bytes: int, seed: int, epoch: int
) -> Any:
    """Return an epoch's order of rows; as many groups are open as each reader's `cache_bytes` hold."""
    window = readers * max(1, cache_bytes // max(1, windows.group_nbytes))
    blocks = cut_blocks(starts, stops, windows.groups)
    return block_order(blocks, window=window, batch=batch, lanes=readers, seed=seed, epoch=epoch)
