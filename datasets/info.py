"""What a dataset holds, as plain values: episodes, outcomes, tasks, streams, size, loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.errors import WaldoError


def episode_info(episode: Episode) -> dict[str, Any]:
    """Return what is to be said of one episode; seconds and bytes."""
    streams = {
        name: {"rate_hz": stream.rate_hz, "count": episode.count(name), "lost": episode.lost(name)}
        for name, stream in episode.streams.items()
    }
    return {
        "index": episode.index,
        "outcome": episode.outcome,
        "reason": episode.reason,
        "task": episode.task,
        "duration_s": episode.duration_s,
        "bytes": episode.nbytes,
        "lost": sum(stream["lost"] for stream in streams.values()),
        "streams": streams,
    }


def dataset_info(dataset: Dataset, advance: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Return what is to be said of a dataset; `advance` is called after each episode."""
    episodes: list[dict[str, Any]] = []
    unreadable: dict[int, str] = {}
    found = dataset.episodes
    for position, index in enumerate(dataset.indices):
        try:
            episodes.append(episode_info(found[position]))
        except WaldoError as error:
            unreadable[index] = str(error)
        advance()
    streams: dict[str, dict[str, Any]] = {}
    for episode in episodes:
        for name, stream in episode["streams"].items():
            total = streams.setdefault(name, {"rates_hz": [], "count": 0, "lost": 0, "episodes": 0})
            total["rates_hz"] = sorted({*total["rates_hz"], stream["rate_hz"]})
            for key, value in (("count", stream["count"]), ("lost", stream["lost"]), ("episodes", 1)):
                total[key] += value
    return {
        "path": str(dataset.path),
        "robot": dataset.robot,
        "episodes": episodes,
        "duration_s": sum(episode["duration_s"] for episode in episodes),
        "bytes": sum(episode["bytes"] for episode in episodes),
        "lost": sum(episode["lost"] for episode in episodes),
        "outcomes": dict(Counter(episode["outcome"] for episode in episodes)),
        "reasons": dict(Counter(episode["reason"] for episode in episodes)),
        "tasks": dict(Counter(episode["task"] for episode in episodes)),
        "streams": streams,
        "cut": [path.name for path in dataset.cut],
        "unreadable": unreadable,
    }
