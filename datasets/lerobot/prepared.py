"""Episodes of the store prepared for a LeRobot dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.lerobot.clips import Clip, make_clip
from waldo.datasets.lerobot.statistics import Statistics, camera_statistics, column_statistics
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import Rows, make_rows


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


def prepare_episode(episode: Episode, config: RowConfig, scratch: Path) -> PreparedEpisode:
    """Return an episode's rows, statistics and clips.

    Args:
        episode: The episode.
        config: How it is resampled.
        scratch: Folder for frames that cannot be copied and are encoded again. Files of an interrupted export are
            reused.

    Raises:
        UnfitEpisodeError: If the episode cannot be resampled.
    """
    rows = make_rows(episode, config)
    statistics = {key: column_statistics(column.values) for key, column in rows.columns.items()}
    clips: dict[str, Clip] = {}
    for number, (camera, frames) in enumerate(rows.frames.items()):
        statistics[schema.feature_key(camera)] = camera_statistics(episode, camera)
        spool = scratch / f"{episode.index:06d}-{number}.mp4"
        clips[camera] = make_clip(episode, camera, frames, Fraction(config.fps), spool)
    return PreparedEpisode(task=episode.task or "unknown", rows=rows, clips=clips, statistics=statistics)
