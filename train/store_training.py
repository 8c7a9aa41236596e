"""A waldo dataset in place of LeRobot's own inside `lerobot-train`.

LeRobot's factory is unchanged (offsets from the policy, ImageNet statistics, the split for evaluation); its names of
the dataset and sampler classes are bound to the classes here. Tested with LeRobot 0.6.1.
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
    """LeRobot's sampler with the order of a block shuffle; can be resumed like LeRobot's."""

    def __init__(self, *args: Any, order: Callable[..., Any], prefetch: Callable[[list[int]], None] | None, **kw: Any):
        """Initialize the sampler.

        Args:
            args: Positional arguments of LeRobot's sampler.
            order: Returns the order of the rows in an epoch.
            prefetch: Called with the next items before they are needed; None: no prefetch.
            kw: Keyword arguments of LeRobot's sampler.
        """
        super().__init__(*args, **kw)
        self._order, self._prefetch = order, prefetch

    def _iter_epoch(self, epoch: int, start: int) -> Iterator[int]:
        if not self.shuffle:
            yield from super()._iter_epoch(epoch, start)
            return
        lengths = np.diff(self._cum_lengths, prepend=0)
        rows = self._order(self._starts, self._starts + lengths, seed=self.seed, epoch=epoch)[start:].tolist()
        items = rows if self._absolute_to_relative is None else [self._absolute_to_relative[row] for row in rows]
        yield from items if self._prefetch is None else _with_prefetch(items, self._prefetch)


def _with_prefetch(items: Sequence[int], prefetch: Callable[[list[int]], None], step: int = 8) -> Iterator[int]:
    """Yield items, calling `prefetch` with the next `step` items before each run of `step` items."""
    for at in range(0, len(items), step):
        prefetch(list(items[at + step : at + 2 * step]))
        yield from items[at : at + step]


def use_store(lerobot_train: Any, source: StoreSource) -> Callable[[Any], Any]:
    """Return a function that replaces LeRobot's `make_train_eval_datasets` and reads the waldo dataset `source`."""

    def make(config: Any) -> Any:
        readers = max(1, config.num_workers) * PartialState().num_processes
        decoded = source.images and source.options.cache is None
        block = source.options.shuffle == "block" or (source.options.shuffle == "auto" and decoded)
        cache_bytes = source.options.memory_mb * 10**6 // readers if block else 0
        windows = source.windows(cache_bytes)
        for index, reason in windows.skipped.items():
            LOG.warning("skipping episode %d: %s", index, reason)
        metadata = store_metadata(windows)
        names = vars(factory)
        names["LeRobotDatasetMetadata"] = lambda *args, **kw: metadata
        names["LeRobotDataset"] = partial(_dataset, windows=windows, metadata=metadata)
        training, evaluation = cast("tuple[Any, Any]", factory.make_train_eval_datasets(config))
        if block:
            order = partial(
                store_order, windows=windows, batch=config.batch_size, readers=readers, cache_bytes=cache_bytes
            )
            prefetch = training.prefetch if config.num_workers == 0 and readers == 1 else None
            vars(lerobot_train)["EpisodeAwareSampler"] = partial(StoreSampler, order=order, prefetch=prefetch)
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
    """Replace the constructor of LeRobotDataset, with the arguments that its factory passes."""
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
    """Return the order of rows in an epoch; the groups that are mixed fit into `cache_bytes` of each reader."""
    window = readers * max(1, cache_bytes // max(1, windows.group_nbytes))
    blocks = cut_blocks(starts, stops, windows.groups)
    return block_order(blocks, window=window, batch=batch, lanes=readers, seed=seed, epoch=epoch)
