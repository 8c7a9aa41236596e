"""Episodes of the store prepared for a LeRobot dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from waldo.datasets.episode import SUBTASK_MARKS, Episode
from waldo.datasets.lerobot.clips import Clip, make_clip
from waldo.datasets.lerobot.statistics import Statistics, camera_statistics, column_statistics
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import Rows, make_rows
from waldo.datasets.video.histograms import Histogram

FACTS = ("operator", "seed", "session", "scene", SUBTASK_MARKS)
"""Attributes of an episode that are exported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEpisode:
    """An episode ready to be written: its rows, its statistics and the location of its encoded frames."""

    task: str
    """The instruction; "unknown" if the episode has none."""
    rows: Rows
    """The rows."""
    clips: Mapping[str, Clip]
    """Camera stream -> encoded frames of the rows."""
    statistics: Mapping[str, Statistics]
    """LeRobot key -> statistics."""
    histograms: Mapping[str, Histogram]
    """LeRobot key of a camera -> how often each value occurs in each channel, (3, 256)."""
    facts: Mapping[str, Any]
    """What is known of the episode beside its rows, for `meta/waldo.json`."""


def prepare_episode(
    episode: Episode, config: RowConfig, keys: Mapping[str, str], dtypes: Mapping[str, np.dtype[Any]], scratch: Path
) -> PreparedEpisode:
    """Return an episode's rows, statistics and clips.

    Args:
        episode: The episode.
        config: How it is resampled.
        keys: Camera stream, or stream and field of a column that is not waldo's own -> LeRobot key.
        dtypes: LeRobot key -> type of the column, where it is not that of the rows.
        scratch: Folder for frames that cannot be copied and are encoded again. Files of an interrupted export are
            reused.

    Raises:
        UnfitEpisodeError: If the episode cannot be resampled, or a type does not fit its values.
    """
    rows = make_rows(episode, config)
    columns = {keys.get(f"{one.stream}/{one.field}", key): one for key, one in rows.columns.items()}
    rows = replace(rows, columns=columns).with_types(episode.index, dtypes)
    statistics = {key: column_statistics(column.values) for key, column in rows.columns.items()}
    clips: dict[str, Clip] = {}
    histograms: dict[str, Histogram] = {}
    for number, (camera, frames) in enumerate(rows.frames.items()):
        statistics[keys[camera]] = camera_statistics(episode, camera)
        histograms[keys[camera]] = episode.histogram(camera)
        spool = scratch / f"{episode.index:06d}-{number}.mp4"
        clips[camera] = make_clip(episode, camera, frames, Fraction(config.fps), spool)
    facts = {key: episode.attributes[key] for key in FACTS if episode.attributes.get(key) not in (None, "")}
    return PreparedEpisode(
        task=episode.task or "unknown",
        rows=rows,
        clips=clips,
        statistics=statistics,
        histograms=histograms,
        facts={"outcome": episode.outcome, **facts, **_subtasks(episode, rows)},
    )


def _subtasks(episode: Episode, rows: Rows) -> dict[str, Any]:
    """Return the subtasks, with their starts after the first row [s]."""
    shift_s = (int(rows.instants_ns[0]) - episode.span_ns[0]) / 1e9
    marks = [{"start_s": max(0.0, round(one.start_s - shift_s, 6)), "text": one.text} for one in episode.subtasks]
    return {SUBTASK_MARKS: marks} if marks else {}
