"""LeRobot's metadata of a waldo dataset: an instance of LeRobot's own class, without files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.datasets import LeRobotDatasetMetadata
from lerobot.datasets.aggregate import aggregate_stats

from waldo.datasets.episode import Episode
from waldo.datasets.lerobot.statistics import Statistics, camera_statistics, column_quantiles, column_statistics
from waldo.datasets.reading.windows import Span, Windows
from waldo.datasets.video.histograms import image_statistics
from waldo.train.data.store_source import describe


def store_metadata(
    windows: Windows, advance: Callable[[int, int], None] = lambda done, total: None
) -> LeRobotDatasetMetadata:
    """Return the metadata that an export of these windows would have: features, tasks, episodes and statistics.

    Args:
        windows: The windows.
        advance: Progress callback, in episodes.
    """
    import pandas as pd

    import datasets

    with tempfile.TemporaryDirectory() as folder:
        # LeRobot's class requires a folder; its files are not read again.
        meta: Any = LeRobotDatasetMetadata.create(
            f"local/{windows.path.name}",
            windows.fps,
            describe(windows.names, windows.shapes),
            robot_type=windows.robot,
            root=Path(folder) / "meta-only",
            use_videos=bool(windows.cameras),
        )
    meta.root = windows.path
    meta.tasks = pd.DataFrame({"task_index": range(len(windows.tasks))}, index=pd.Index(windows.tasks, name="task"))
    statistics: list[dict[str, Any]] = []
    for done, span in enumerate(windows.spans):
        statistics.append(_statistics(windows, span, meta.features))
        advance(done + 1, len(windows.spans))
    meta.stats = aggregate_stats(statistics)
    for key, found in _quantiles(windows, meta.features).items():
        meta.stats[key].update(found)
    meta.episodes = datasets.Dataset.from_dict(
        {
            "episode_index": list(range(len(windows.spans))),
            "tasks": [[span.task] for span in windows.spans],
            "length": [span.stop - span.first for span in windows.spans],
            "dataset_from_index": [span.first for span in windows.spans],
            "dataset_to_index": [span.stop for span in windows.spans],
        }
    )
    meta.info.total_episodes, meta.info.total_frames = len(windows.spans), len(windows)
    meta.info.total_tasks, meta.info.splits = len(windows.tasks), {"train": f"0:{len(windows.spans)}"}
    return meta


def _quantiles(windows: Windows, features: Mapping[str, Any]) -> dict[str, Statistics]:
    """Return the quantiles over all episodes, as in an export: LeRobot averages those of the episodes."""
    found = {
        key: column_quantiles(np.asarray(windows.columns[key]))
        for key, feature in features.items()
        if feature["dtype"] != "video"
    }
    for key, name in windows.cameras.items():
        counts = np.sum([Episode(span.path).histogram(name) for span in windows.spans], axis=0)
        pixels = image_statistics(counts)
        found[key] = {q: value.reshape(3, 1, 1) for q, value in pixels.items() if q.startswith("q")}
    return found


def _statistics(windows: Windows, span: Span, features: Mapping[str, Any]) -> dict[str, Any]:
    """Return LeRobot's statistics of one episode; those of its images were computed while recording."""
    numbers = {key: feature for key, feature in features.items() if feature["dtype"] != "video"}
    rows = {key: np.asarray(windows.columns[key][span.first : span.stop]) for key in numbers}
    episode = Episode(span.path)
    images = {key: camera_statistics(episode, name) for key, name in windows.cameras.items()}
    return {**{key: column_statistics(values) for key, values in rows.items()}, **images}
