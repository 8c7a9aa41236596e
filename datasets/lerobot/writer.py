"""Writer of a LeRobot dataset v3.0: rows as Parquet, frames as MP4, and the metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo import __version__
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.formats.target import ExportStats
from waldo.datasets.lerobot import layout
from waldo.datasets.lerobot.clips import Clip
from waldo.datasets.lerobot.data_files import DataFiles, EpisodeTable
from waldo.datasets.lerobot.dataset_card import StreamSummary, dataset_card
from waldo.datasets.lerobot.prepared import PreparedEpisode
from waldo.datasets.lerobot.statistics import RunningStatistics, Statistics, column_statistics
from waldo.datasets.lerobot.video_files import VideoFiles
from waldo.datasets.reading.rows import Rows, require_layout
from waldo.datasets.video.histograms import image_statistics
from waldo.typing import Progress


class LeRobotWriter:
    """Write a LeRobot dataset episode by episode. The first episode determines the columns."""

    def __init__(
        self,
        dataset: Dataset,
        path: Path,
        *,
        fps: int,
        license: str = "",
        notes: Sequence[str] = (),
        streams: Sequence[StreamSummary] = (),
        keys: Mapping[str, str],
        one_file_per_episode: bool = False,
    ) -> None:
        """Create the folder `path`, or reuse the one of an interrupted export.

        Args:
            dataset: The dataset that is exported.
            path: Folder of the LeRobot dataset.
            fps: Rows per second.
            license: License for the dataset card.
            notes: Information that a LeRobot dataset cannot store, one sentence each.
            streams: The recorded streams, for the dataset card.
            keys: Camera stream -> LeRobot key.
            one_file_per_episode: Whether each episode has its own Parquet file and MP4 per camera.
        """
        self._dataset, self._root, self._fps = dataset, path, fps
        self._license, self._notes, self._streams = license, notes, streams
        self._keys = keys
        self._features: dict[str, Any] = {}
        self._layout: Mapping[str, object] = {}
        self._units: dict[str, str] = {}
        self._videos: dict[str, VideoFiles] = {}
        self._tasks: dict[str, int] = {}
        self._data: DataFiles | None = None
        self._table = EpisodeTable(path)
        self._statistics: dict[str, RunningStatistics] = {}
        self._data_bytes, self._video_bytes = layout.DATA_MB * layout.MB, layout.VIDEO_MB * layout.MB
        if one_file_per_episode:
            self._data_bytes = self._video_bytes = 0
        self._rows = 0
        self._frame_error_s: dict[str, float] = {}
        self._indices: list[int] = []
        self._facts: list[Mapping[str, Any]] = []
        self._histograms: dict[str, NDArray[Any]] = {}
        (path / "meta").mkdir(parents=True, exist_ok=True)

    def add(self, index: int, prepared: PreparedEpisode) -> None:
        """Append an episode; raise UnfitEpisodeError if it has other columns than the first one."""
        rows = prepared.rows
        if self._data is None:
            self._data = self._start(rows)
        require_layout(index, rows.layout, self._layout)
        number, count, first = len(self._indices), len(rows), self._rows
        task = self._tasks.setdefault(prepared.task, len(self._tasks))
        own = layout.index_columns(count, fps=self._fps, episode=number, first=first, task=task)
        own[schema.SUCCESS] = (np.arange(count) == count - 1) & (prepared.facts["outcome"] == "success")
        chunk, file = self._data.add({key: column.values for key, column in rows.columns.items()} | own)
        entry: dict[str, Any] = {
            "episode_index": number,
            "tasks": [prepared.task],
            "length": count,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": first,
            "dataset_to_index": first + count,
        }
        for camera, clip in prepared.clips.items():
            entry |= self._add_clip(camera, clip)
            self._frame_error_s[camera] = max(self._frame_error_s.get(camera, 0.0), rows.frame_error_s[camera])
        statistics = dict(prepared.statistics) | {key: column_statistics(values) for key, values in own.items()}
        self._table.add(entry, statistics)
        for key, found in statistics.items():
            self._statistics.setdefault(key, RunningStatistics()).add(found)
        self._indices.append(index)
        origin = {"episode_index": number, "stored_index": index, "rows": count, "task": prepared.task}
        self._facts.append(origin | dict(prepared.facts))
        for key, counts in prepared.histograms.items():
            self._histograms[key] = self._histograms.get(key, 0) + counts
        self._rows += count

    def finish(self, progress: Progress) -> ExportStats:
        """Write the videos and the metadata."""
        self.close()
        for videos in self._videos.values():
            videos.write()
        layout.write_tasks(self._root, list(self._tasks))
        found = {key: {**running.value, **self._quantiles(key)} for key, running in self._statistics.items()}
        layout.write_statistics(self._root, found)
        layout.write_origin(self._root, self._origin())
        layout.write_info(self._root, self._info())
        stats = ExportStats(
            rows=self._rows,
            frames_copied=sum(videos.copied for videos in self._videos.values()),
            frames_encoded=sum(videos.encoded for videos in self._videos.values()),
            frame_error_ms={schema.camera_name(camera): s * 1e3 for camera, s in self._frame_error_s.items()},
            notes=self._notes,
        )
        exported = set(self._indices)
        entries = [entry for entry in self._dataset.catalog if entry.episode in exported]
        card = dataset_card(
            name=self._root.name,
            robot=self._dataset.robot,
            license=self._license,
            fps=self._fps,
            rows=self._rows,
            entries=entries,
            streams=self._streams,
            notes=self._notes,
        )
        (self._root / "README.md").write_text(card)
        return stats

    def close(self) -> None:
        """Close the open Parquet files."""
        self._table.close()
        if self._data is not None:
            self._data.close()

    def _start(self, rows: Rows) -> DataFiles:
        """Derive the features from the first episode and start its files."""
        self._layout = rows.layout
        self._units = {key: column.unit for key, column in rows.columns.items()}
        self._features = {key: layout.number_feature(one.names, one.values.dtype) for key, one in rows.columns.items()}
        for camera, (height, width) in rows.frame_sizes.items():
            key = self._keys[camera]
            self._features[key] = layout.video_feature(height, width, self._fps)
            path = partial(self._video_path, key)
            self._videos[camera] = VideoFiles(path, Fraction(self._fps), self._video_bytes)
        self._features |= {schema.SUCCESS: layout.flag_feature()} | layout.index_features()
        return DataFiles(self._root, layout.schema(self._features), self._data_bytes)

    def _video_path(self, key: str, number: int) -> Path:
        chunk, file = divmod(number, layout.CHUNK_FILES)
        return self._root / layout.VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file)

    def _add_clip(self, camera: str, clip: Clip) -> dict[str, Any]:
        """Append a clip to the camera's video files; return the columns of its position."""
        number, start = self._videos[camera].add(clip)
        chunk, file = divmod(number, layout.CHUNK_FILES)
        position = {"chunk_index": chunk, "file_index": file, "from_timestamp": start / self._fps}
        position["to_timestamp"] = (start + clip.rows) / self._fps
        return {f"videos/{self._keys[camera]}/{name}": value for name, value in position.items()}

    def _quantiles(self, key: str) -> Statistics:
        """Return the quantiles of a column over all rows; of a camera, over the pixels that were counted."""
        if key in self._histograms:
            pixels = image_statistics(self._histograms[key])
            return {name: value.reshape(3, 1, 1) for name, value in pixels.items() if name.startswith("q")}
        assert self._data is not None
        return self._data.quantiles(key)

    def _origin(self) -> dict[str, Any]:
        """Return the contents of `meta/waldo.json`."""
        return {
            "dataset": self._dataset.path.name,
            "robot": self._dataset.robot,
            "software": f"waldo {__version__}",
            "units": self._units,
            "episodes": self._facts,
        }

    def _info(self) -> dict[str, Any]:
        """Return the contents of `meta/info.json`."""
        return {
            "codebase_version": "v3.0",
            "fps": self._fps,
            "features": self._features,
            "total_episodes": len(self._indices),
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.CHUNK_FILES,
            "data_files_size_in_mb": layout.DATA_MB,
            "video_files_size_in_mb": layout.VIDEO_MB,
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH if self._videos else None,
            "robot_type": self._dataset.robot,
            "splits": {"train": f"0:{len(self._indices)}"},
        }
