"""A waldo dataset as a map-style dataset for LeRobot's training, read from the store without an export.

Items are equal to those of a `LeRobotDataset` over an export of the same episodes: the same keys, shapes, dtypes and
values, and the store's own frames, decoded. `meta` is an instance of LeRobot's class, from which LeRobot's code makes
policies, processors and samplers. The dataset can be forked and pickled: a worker opens its own files.
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
    """Windows of a store as tensors."""

    def __init__(
        self,
        windows: Windows,
        metadata: Any = None,
        *,
        episodes: Sequence[int] | None = None,
        image_transforms: Callable[[torch.Tensor], torch.Tensor] | None = None,
        return_uint8: bool = True,
    ) -> None:
        """Select episodes of the windows.

        Args:
            windows: The windows.
            metadata: LeRobot's metadata from `store_metadata`; it is not copied to workers.
            episodes: Indices into `windows.spans`, like LeRobot's `episodes`; None: all.
            image_transforms: Applied to the tensor of each camera, (3, H, W) or (offsets, 3, H, W).
            return_uint8: Whether images are uint8 0..255 or float32 0..1.
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
        """Return the state without LeRobot's metadata, which a worker does not need."""
        return {**self.__dict__, "meta": None}

    def __len__(self) -> int:
        """Return the number of rows of the selected episodes."""
        return len(self.windows) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one item."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the items of a batch, read together; a DataLoader collates them without a copy."""
        batch = self.batch(indices)
        texts = {key for key, values in batch.items() if isinstance(values, list)}
        items = [_Item({key: values[row] for key, values in batch.items()}) for row in range(len(indices))]
        if self._transform is None and not texts - {"task"}:
            for row, item in enumerate(items):
                item.batch, item.row = batch, row
            return list(items)
        return [self._transformed(dict(item)) for item in items]

    def batch(self, indices: Sequence[int]) -> dict[str, Any]:
        """Return items as one batch: tensors with items along the first axis, and lists of texts."""
        rows = self.rows(indices)
        images = {key: _empty(self.windows.image_shape(key, len(rows))) for key in self.windows.cameras}
        found = self.windows.batch(rows, {key: tensor.numpy() for key, tensor in images.items()})
        tensors = {
            key: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
            for key, values in found.items()
            if key not in images
        }
        if not self._uint8:
            images = {key: tensor / 255.0 for key, tensor in images.items()}
        return {**images, **tensors}

    def prefetch(self, indices: Sequence[int]) -> None:
        """Start decoding the frames of a later batch; the cache of the windows must be large enough for it."""
        self.windows.prefetch(self.rows(indices))

    def rows(self, indices: Sequence[int]) -> Any:
        """Return the rows of the windows for items, int64 (items,)."""
        items = np.asarray(indices, np.int64)
        if len(items) and not (-len(self) <= items.min() and items.max() < len(self)):
            raise IndexError(f"items {items.min()} to {items.max()} of {len(self)}")
        items = items % len(self)
        return items if self._rows is None else self._rows[items]

    @property
    def fps(self) -> int:
        """Rows per second."""
        return self.windows.fps

    @property
    def num_frames(self) -> int:
        """Number of rows of the selected episodes."""
        return len(self)

    @property
    def num_episodes(self) -> int:
        """Number of selected episodes."""
        return len(self.windows.spans if self.episodes is None else self.episodes)

    @property
    def features(self) -> dict[str, Any]:
        """LeRobot's description of the columns."""
        return self.meta.features

    @property
    def absolute_to_relative_idx(self) -> dict[int, int] | None:
        """Row of the windows -> item; None if all episodes are selected and both are equal."""
        return None if self._rows is None else {row: item for item, row in enumerate(self._rows.tolist())}

    def _transformed(self, item: dict[str, Any]) -> dict[str, Any]:
        """Apply the transform to each camera."""
        if self._transform is not None:
            item |= {key: self._transform(item[key]) for key in self.windows.cameras}
        return item


class _Item(dict[str, Any]):
    """An item with a reference to the batch that it is a view of."""

    batch: Mapping[str, Any] | None = None
    row: int = -1

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a plain dict, without the rest of the batch."""
        return (dict, (dict(self),))


def _collate(items: Sequence[_Item], *, collate_fn_map: Mapping[Any, Any] | None = None) -> dict[str, Any]:
    """Return the batch that the items are views of; copy like torch if they belong to several batches."""
    whole = items[0].batch
    if whole is not None and len(items) == len(whole["task"]):
        if all(item.batch is whole and item.row == row for row, item in enumerate(items)):
            return dict(whole)
    copied: Any = default_collate([dict(item) for item in items])
    return copied


# torch's registry of collate functions for custom types.
default_collate_fn_map[_Item] = _collate


def _empty(shape: Sequence[int]) -> torch.Tensor:
    """Return an uninitialized uint8 tensor; in a DataLoader's worker its memory is shared with the parent."""
    if get_worker_info() is None:
        return torch.empty(tuple(shape), dtype=torch.uint8)
    if (pooled := pool().tensor(shape)) is not None:
        return pooled
    storage: Any = torch.UntypedStorage._new_shared(int(np.prod(shape)))  # noqa: SLF001
    return torch.empty(0, dtype=torch.uint8).set_(storage).reshape(tuple(shape))
