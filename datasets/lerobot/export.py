"""Export to a LeRobot dataset v3.0, which an unmodified `LeRobotDataset` and `lerobot-train` read. Offline.

Frames are copied as recorded bytes wherever a run of rows is a run of frames. An interrupted export resumes: frames
that it encoded and video files that it wrote are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.source_keys import original_dtypes, original_keys
from waldo.datasets.lerobot.dataset_card import StreamSummary, stream_summaries
from waldo.datasets.lerobot.prepared import PreparedEpisode, prepare_episode
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import other_columns, own_keys
from waldo.datasets.streams import DepthStream

if TYPE_CHECKING:
    from waldo.datasets.lerobot.writer import LeRobotWriter

FORMAT = "lerobot"
"""Name of the format in the attribute `source` of imported episodes."""


@dataclass(frozen=True, kw_only=True)
class LeRobotTarget:
    """A `Target` that writes a LeRobot dataset."""

    rows: RowConfig
    """How episodes are resampled, with resolved cameras."""
    license: str
    """License for the dataset card; may be empty."""
    notes: tuple[str, ...]
    """Information that a LeRobot dataset cannot store, one sentence each."""
    streams: tuple[StreamSummary, ...]
    """The recorded streams, for the dataset card."""
    keys: Mapping[str, str]
    """Camera stream, or stream and field of a column that is not waldo's own -> key."""
    dtypes: Mapping[str, np.dtype[Any]]
    """Key of a column that is not waldo's own -> its type in the LeRobot dataset that it was imported from."""
    one_file_per_episode: bool = False
    """Whether each episode has its own Parquet file and MP4 per camera."""
    resumable = True

    @classmethod
    def open(
        cls, first: Episode, config: RowConfig, license: str = "", *, one_file_per_episode: bool = False
    ) -> LeRobotTarget:
        """Return a target for episodes like `first`."""
        rows = config.resolve(first)
        keys, dtypes = _keys(first, rows), original_dtypes(first, FORMAT)
        return cls(
            rows=rows,
            license=license,
            notes=_notes(first, rows),
            streams=stream_summaries(first),
            keys=keys,
            dtypes={keys[origin]: dtype for origin, dtype in dtypes.items() if origin in keys},
            one_file_per_episode=one_file_per_episode,
        )

    def prepare(self, episode: Episode, scratch: Path) -> PreparedEpisode:
        """Return an episode's rows, statistics and clips."""
        return prepare_episode(episode, self.rows, self.keys, self.dtypes, scratch)

    def writer(self, dataset: Dataset, path: Path) -> LeRobotWriter:
        """Return the writer of a LeRobot dataset in the folder `path`."""
        from waldo.datasets.lerobot.writer import LeRobotWriter

        return LeRobotWriter(
            dataset,
            path,
            fps=self.rows.fps,
            license=self.license,
            notes=self.notes,
            streams=self.streams,
            keys=self.keys,
            one_file_per_episode=self.one_file_per_episode,
        )


def _keys(episode: Episode, config: RowConfig) -> Mapping[str, str]:
    """Return destination -> key: those of the LeRobot dataset that the episode was imported from, if any."""
    derived = {camera: schema.feature_key(camera) for camera in config.cameras or ()}
    derived |= {f"{stream}/{field}": key for key, (stream, field) in other_columns(episode, config).items()}
    return original_keys(episode, FORMAT, derived, own_keys(episode) | schema.RESERVED_KEYS)


def _notes(episode: Episode, config: RowConfig) -> tuple[str, ...]:
    """Return the information of an episode that a LeRobot dataset cannot store."""
    notes = ["Streams are resampled to one rate; native rates, receipt and publication times stay in the recording."]
    depth = [name for name, stream in episode.streams.items() if isinstance(stream, DepthStream)]
    if depth:
        notes.append(f"Depth images ({', '.join(depth)}) are not exported.")
    notes += [
        f"{name} was recorded as JPEG and is encoded again as H.264."
        for name in config.cameras or ()
        if episode.camera(name).codec == "jpeg"
    ]
    return tuple(notes)
