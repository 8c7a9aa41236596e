"""A waldo dataset as the map-style dataset that LeRobot's training takes, straight from the store, with no export.

Items are those of a `LeRobotDataset` over an export of the same episodes: the same keys, shapes, dtypes and numbers,
and pictures that are the store's own, decoded. `meta` is LeRobot's own class, so policies, processors and samplers are
made from it by LeRobot's code. The dataset can be forked and pickled: a worker opens what it needs itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info
from torch.utils.data._utils.collate import default_collate, default_collate_fn_map

from waldo.datasets.reading.windows import Windows
from waldo.errors import InvalidValueError
from waldo.train.data.shared_batches import pool


class StoreDataset(Dataset[dict[str, Any]]):
    """Windows of a store as tensors. Give `metadata` from `store_metadata`; it stays out of the workers."""

    def __init__(
        self,
        windows: Windows,
        metadata: Any = None,
        *,
        episodes: Sequence[int] | None = None,
        image_transforms: Callable[[torch.Tensor], torch.Tensor] | None = None,
        return_uint8: bool = True,
    ) -> None:
        """Take the windows and what LeRobot knows of them.

        `episodes` are places in `windows.spans` (None: all), as LeRobot's `episodes`. Pictures are uint8 0..255 or,
        with `return_uint8=False`, float32 0..1; `image_transforms` sees each camera's tensor, (3, H, W) or
        (offsets, 3, H, W).
        """
        self.windows, self.meta = windows, metadata
        self.episodes = None if episodes is None else sorted(episodes)
        for episode in self.episodes or ():
            if not 0 <= episode < len(windows.spans):
                raise InvalidValueError("episode", episode, f"0 to {len(windows.spans) - 1}")
        spans = windows.spans if self.episodes is None else [windows.spans[e] for e in self.episodes]
        self._rows = None if self.episodes is None else np.concatenate([np.arange(s.first, s.stop) for s in spans])
        self._transform, self._uint8 = image_transforms, return_uint8

    def __getstate__(self) -> dict[str, Any]:
        """Leave LeRobot's metadata out: a worker has no use for it."""
        return {**self.__dict__, "meta": None}

    def __len__(self) -> int:
        """Return how many rows the chosen episodes have."""
        return len(self.windows) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one item."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return a batch's items, read in one go; a DataLoader calls this and collates them without a copy."""
        batch = self.batch(indices)
        texts = {key for key, values in batch.items() if isinstance(values, list)}
        items = [_Item({key: values[place] for key, values in batch.items()}) for place in range(len(indices))]
        if self._transform is None and not texts - {"task"}:
            for place, item in enumerate(items):
                item.batch, item.place = batch, place
            return list(items)
        return [self._transformed(dict(item)) for item in items]

    def batch(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return items as one batch: tensors whose first axis is the item, and lists of words."""
        rows = self.rows(indices)
        pictures = {key: _empty(self.windows.image_shape(key, len(rows))) for key in self.windows.cameras}
        found = self.windows.batch(rows, {key: tensor.numpy() for key, tensor in pictures.items()})
        tensors = {
            key: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
            for key, values in found.items()
            if key not in pictures
        }
        if not self._uint8:
            pictures = {key: tensor / 255.0 for key, tensor in pictures.items()}
        return {**pictures, **tensors}

    def prefetch(self, indices: Sequence[int]) -> None:
        """Begin to decode what a later batch of these items needs; needs the windows' cache to hold it."""
        self.windows.prefetch(self.rows(indices))

    def rows(self, indices: Sequence[int]) -> Any:
        """Return the rows of the windows that items stand for, int64 (items,)."""
        wanted = np.asarray(indices, np.int64)
        if len(wanted) and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"items {wanted.min()} to {wanted.max()} of {len(self)}")
        wanted = wanted % len(self)
        return wanted if self._rows is None else self._rows[wanted]

    @property
    def fps(self) -> int:
        """Rows a second."""
        return self.windows.fps

    @property
    def num_frames(self) -> int:
        """Rows of the chosen episodes."""
        return len(self)

    @property
    def num_episodes(self) -> int:
        """Episodes that were chosen."""
        return len(self.windows.spans if self.episodes is None else self.episodes)

    @property
    def features(self) -> dict[str, Any]:
        """LeRobot's description of the columns."""
        return self.meta.features

    @property
    def absolute_to_relative_idx(self) -> dict[int, int] | None:
        """Row of the windows -> item, where only some episodes were chosen; None where they are the same."""
        return None if self._rows is None else {row: item for item, row in enumerate(self._rows.tolist())}

    def _transformed(self, item: dict[str, Any]) -> dict[str, Any]:
        """Apply the transform to each camera."""
        if self._transform is not None:
            item |= {key: self._transform(item[key]) for key in self.windows.cameras}
        return item


class _Item(dict[str, Any]):
    """An item that remembers the batch it is a view of."""

    batch: Mapping[str, Any] | None = None
    place: int = -1

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as a plain dict, without the rest of the batch."""
        return (dict, (dict(self),))


def _collate(items: Sequence[_Item], *, collate_fn_map: Mapping[Any, Any] | None = None) -> dict[str, Any]:
    """Return the batch that the items are views of; where they are of several, copy as torch would."""
    whole = items[0].batch
    if whole is not None and len(items) == len(whole["task"]):
        if all(item.batch is whole and item.place == place for place, item in enumerate(items)):
            return dict(whole)
    copied: Any = default_collate([dict(item) for item in items])
    return copied


# torch's way to collate a type of one's own.
default_collate_fn_map[_Item] = _collate


def _empty(shape: Sequence[int]) -> torch.Tensor:
    """Return a uint8 tensor that is not filled; in a DataLoader's worker its memory is shared with the parent."""
    if get_worker_info() is None:
        return torch.empty(tuple(shape), dtype=torch.uint8)
    if (pooled := pool().tensor(shape)) is not None:
        return pooled
    storage: Any = torch.UntypedStorage._new_shared(int(np.prod(shape)))  # pyright: ignore[reportPrivateUsage]
    return torch.empty(0, dtype=torch.uint8).set_(storage).reshape(tuple(shape))
