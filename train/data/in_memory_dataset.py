"""A LeRobot dataset whose numbers are held in memory, for training without images.

LeRobot reads each item through Hugging Face `datasets`: about 4 ms an item, 0.26 s a batch of 64, which is more than an
update of a small policy takes. Here a whole batch is one index into tensors; the items are the same
(`tests/train/data/test_in_memory_dataset.py` compares them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

MIN_STD = 1e-3
"""Least standard deviation that inputs are divided by, so that a value that never changed cannot blow up [own unit]."""


class MemoryDataset(LeRobotDataset):
    """A LeRobotDataset that answers from tensors; make one with `hold_in_memory`."""

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
        """Return items as LeRobot's reader would: windows clamped to the episode, with `<key>_is_pad`."""
        rows = torch.as_tensor(list(indices))
        batch = {key: column[rows] for key, column in self.columns.items()}
        deltas: dict[str, list[int]] = self._ensure_reader().delta_indices or {}
        for key, offsets in deltas.items():
            if key not in self.columns:
                continue
            wanted = rows[:, None] + torch.as_tensor(offsets)
            first, last = self.first[rows][:, None], self.last[rows][:, None]
            batch[key] = self.columns[key][wanted.clamp(first, last)]
            batch[f"{key}_is_pad"] = (wanted < first) | (wanted > last)
        task_of = batch["task_index"].tolist()
        return [
            {**{key: value[i] for key, value in batch.items()}, "task": self.tasks[t]} for i, t in enumerate(task_of)
        ]


def hold_in_memory(dataset: LeRobotDataset) -> MemoryDataset:
    """Turn a dataset into one that holds its numbers, without cameras, in memory."""
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


def keep_std_away_from_zero(stats: dict[str, dict[str, Any]]) -> None:
    """Raise the standard deviations of the actions' and observations' statistics to MIN_STD, in place."""
    for key, values in stats.items():
        if key == "action" or (key.startswith("observation.") and ".images." not in key):
            values["std"] = values["std"].clip(min=MIN_STD)
