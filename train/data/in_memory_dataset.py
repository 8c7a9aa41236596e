"""A LeRobot dataset that keeps its numeric columns in memory, for training without images.

LeRobot reads each item through Hugging Face `datasets`: about 4 ms per item and 0.26 s per batch of 64, more than the
update of a small policy takes. Here a whole batch is one index into tensors. The items are equal to LeRobot's
(`tests/train/data/test_in_memory_dataset.py` compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from waldo.datasets import schema

MIN_STD = 1e-3
"""Minimum standard deviation for normalization, since constant values have none [unit of the value]."""


class MemoryDataset(LeRobotDataset):
    """A LeRobotDataset that reads from tensors; create one with `load_into_memory`."""

    columns: dict[str, torch.Tensor]
    tasks: list[str]
    first: torch.Tensor
    last: torch.Tensor

    def __getitem__(self, idx: int | slice) -> Any:
        """Return one item, or a list of them for a slice."""
        if isinstance(idx, slice):
            return self.__getitems__(list(range(*idx.indices(len(self)))))
        return self.__getitems__([idx])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Return the items that LeRobot's reader returns: windows clamped to the episode, with `<key>_is_pad`."""
        rows = torch.as_tensor(list(indices))
        batch = {key: column[rows] for key, column in self.columns.items()}
        deltas: dict[str, list[int]] = self._ensure_reader().delta_indices or {}
        for key, offsets in deltas.items():
            if key not in self.columns:
                continue
            positions = rows[:, None] + torch.as_tensor(offsets)
            first, last = self.first[rows][:, None], self.last[rows][:, None]
            batch[key] = self.columns[key][positions.clamp(first, last)]
            batch[f"{key}_is_pad"] = (positions < first) | (positions > last)
        task_of = batch["task_index"].tolist()
        return [
            {**{key: value[i] for key, value in batch.items()}, "task": self.tasks[t]} for i, t in enumerate(task_of)
        ]


def load_into_memory(dataset: LeRobotDataset) -> MemoryDataset:
    """Load the numeric columns of a dataset, without cameras, and change its class in place."""
    cameras = set(dataset.meta.camera_keys)
    table = dataset.hf_dataset.select_columns([k for k in dataset.hf_dataset.column_names if k not in cameras])
    parts = [table[start : start + 5000] for start in range(0, len(table), 5000)]
    columns = {
        key: torch.cat([torch.stack(list(part[key])) for part in parts])
        for key in table.column_names
        if isinstance(parts[0][key][0], torch.Tensor)
    }
    episode = columns["episode_index"]
    _, place, counts = torch.unique_consecutive(episode, return_inverse=True, return_counts=True)
    ends = counts.cumsum(0)
    dataset.__class__ = MemoryDataset
    assert isinstance(dataset, MemoryDataset)
    dataset.columns, dataset.first, dataset.last = columns, (ends - counts)[place], ends[place] - 1
    dataset.tasks = [str(text) for text in cast("Any", dataset.meta.tasks).index]
    return dataset


def raise_std(stats: dict[str, dict[str, Any]]) -> None:
    """Raise the standard deviations in the statistics of actions and observations to at least MIN_STD, in place."""
    for key, values in stats.items():
        if key == schema.ACTION or (key.startswith("observation.") and not key.startswith(schema.OBSERVATION_IMAGES)):
            values["std"] = values["std"].clip(min=MIN_STD)
