"""Review of recorded episodes: what is in them, an image at an instant, and the operator's changes.

It opens the dataset by itself: episodes are read, and edits appended, beside the recorder that holds its lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.edits import Subtask
from waldo.datasets.episode import Episode
from waldo.datasets.streams import ScalarStream
from waldo.datasets.video.images import encode_jpeg
from waldo.errors import InvalidValueError, UnknownNameError, count

LISTED = 50
"""Number of episodes in the list, the last ones."""
POINTS = 400
"""Number of points of a curve."""
MAX_INDEX = 999_999_999
"""Largest index of an episode that a page may name."""
MAX_TEXT = 500
"""Longest instruction of a page [characters]."""
CHANGES = ("outcome", "task", "deleted", "subtasks")
"""What can be changed of an episode."""


class EpisodeReview:
    """Reads and edits the episodes of a dataset; its methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Review the dataset in a folder."""
        self._folder = folder
        self._lock = threading.Lock()
        self._open: Episode | None = None

    def recent(self) -> list[dict[str, Any]]:
        """Return the last episodes, the newest one first, deleted ones included."""
        dataset = Dataset.open(self._folder)
        entries = {entry.episode: (entry, False) for entry in dataset.catalog}
        entries |= {entry.episode: (entry, True) for entry in dataset.deleted}
        return [
            {
                "episode": index,
                "task": entry.task,
                "outcome": entry.outcome,
                "reason": entry.reason,
                "duration_s": entry.duration_s,
                "lost": entry.lost,
                "deleted": deleted,
            }
            for index, (entry, deleted) in sorted(entries.items(), reverse=True)[:LISTED]
        ]

    def episode(self, index: int) -> dict[str, Any]:
        """Return what a page shows of an episode; times are relative to its first stamp [s].

        Raises:
            WaldoError: If there is no such episode, or it is not finalized yet.
        """
        with self._lock:
            episode = self._episode(index, fresh=True)
            first_ns = episode.span_ns[0]
            return {
                "episode": index,
                "task": episode.task,
                "outcome": episode.outcome,
                "duration_s": episode.duration_s,
                "deleted": index in Dataset.open(self._folder).edits.deleted,
                "cameras": [schema.camera_name(name) for name in episode.cameras],
                "subtasks": [{"start_s": one.start_s, "text": one.text} for one in episode.subtasks],
                "events": [
                    {
                        "at_s": (int(event["at_ns"]) - first_ns) / 1e9,
                        "kind": event["kind"],
                        "text": event["text"],
                        "level": event.get("level", ""),
                    }
                    for event in episode.events
                ],
                "curves": _curves(episode),
            }

    def jpeg(self, index: int, camera: str, at_s: float) -> bytes:
        """Return the image that a camera showed at a time after the first stamp [s].

        Raises:
            WaldoError: If there is no such episode, camera or image.
        """
        with self._lock:
            episode = self._episode(index)
            name = schema.CAMERA_PREFIX + camera
            episode.camera(name)
            stamps = episode.time_ns(name)
            if not len(stamps) or not np.isfinite(at_s):
                raise InvalidValueError(f"time of {camera}", at_s, "a time at which it has an image")
            at = int(np.searchsorted(stamps, episode.span_ns[0] + int(np.clip(at_s, 0, 1e6) * 1e9), side="right")) - 1
            return encode_jpeg(episode.frames(name, [max(at, 0)])[0])

    def edit(self, index: int, change: Mapping[str, Any]) -> str:
        """Change an episode; return a confirmation for the operator.

        Args:
            index: Index of the episode.
            change: One of `outcome`: "success", "failure" or "unknown"; `task`: the instruction; `deleted`: whether
                the episode is excluded; `subtasks`: a list of {"start_s": time [s], "text": subtask}.

        Raises:
            WaldoError: If the change is not possible.
        """
        with self._lock:
            dataset = Dataset.open(self._folder)
            if len(change) != 1:
                raise InvalidValueError("change", list(change), f"one of {', '.join(CHANGES)}")
            ((key, value),) = change.items()
            match key:
                case "outcome":
                    dataset.relabel([index], outcome=value)
                    return f"episode {index} is labeled {value}"
                case "task":
                    dataset.relabel([index], task=_text(value))
                    return f"the instruction of episode {index} is {_text(value)}"
                case "deleted" if value is True:
                    dataset.delete([index])
                    return f"episode {index} is deleted; it can be restored"
                case "deleted" if value is False:
                    dataset.restore([index])
                    return f"episode {index} is restored"
                case "subtasks" if isinstance(value, list):
                    marks = [_subtask(one) for one in value]
                    dataset.set_subtasks(index, marks)
                    return f"episode {index} has {count(len(marks), 'subtask')}"
            raise UnknownNameError("change", key, CHANGES)

    def _episode(self, index: int, *, fresh: bool = False) -> Episode:
        if fresh or self._open is None or self._open.index != index:
            self._open = Dataset.open(self._folder).stored_episode(index)
        return self._open


def _text(value: object) -> str:
    """Return the text of a page, at most 500 characters."""
    text = str(value)[:MAX_TEXT]
    if not text.isprintable():  # lone surrogates, which cannot be stored, are not printable either
        raise InvalidValueError("text", text, "printable characters")
    return text


def _subtask(value: Any) -> Subtask:
    if not isinstance(value, dict) or not isinstance(value.get("start_s"), int | float):
        raise InvalidValueError("subtask", value, "start_s and text")
    return Subtask(start_s=float(value["start_s"]), text=_text(value.get("text", "")))


def _curves(episode: Episode) -> dict[str, Any]:
    """Return the positions of the joints over time, at most `POINTS` of each, with null for what is unknown."""
    stream = episode.streams.get(schema.STATE)
    if not isinstance(stream, ScalarStream) or not episode.count(schema.STATE):
        return {"time_s": [], "series": []}
    stamps = episode.time_ns(schema.STATE)
    chosen = np.unique(np.linspace(0, len(stamps) - 1, POINTS).round().astype(int))
    position = episode.values(schema.STATE, "position")[chosen].astype(float)
    labels = episode.field(schema.STATE, "position").labels
    series = [
        {
            "name": label,
            "values": [None if not np.isfinite(value) else round(value, 4) for value in position[:, column]],
        }
        for column, label in enumerate(labels)
    ]
    return {"time_s": ((stamps[chosen] - episode.span_ns[0]) / 1e9).round(4).tolist(), "series": series}
