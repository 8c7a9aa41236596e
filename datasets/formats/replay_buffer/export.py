"""Export to diffusion_policy's replay buffer: zarr v2 with /data/<key> and /meta/episode_ends.

Compression and chunks are those of diffusion_policy. Labels, rate, tasks and timestamps, which its code does not read,
are stored in attributes and an additional array, so that waldo can import what it exported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from waldo import __version__
from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.names import key_names
from waldo.datasets.formats.replay_buffer.arrays import create_array, decode_batches, write_array, write_ends
from waldo.datasets.formats.replay_buffer.importer import STAMPS_KEY
from waldo.datasets.formats.source_keys import original_dtypes, original_keys
from waldo.datasets.formats.target import ExportStats, Progress
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.reading.rows import Rows, make_rows, other_columns, require_layout
from waldo.datasets.streams import DepthStream

SHORT_KEYS: Mapping[str, str] = {
    schema.OBSERVATION_STATE: "state",
    schema.OBSERVATION_ENVIRONMENT: "environment_state",
}
"""LeRobot key -> key in the buffer; in other keys the dot becomes an underscore."""

FORMAT = "replay-buffer"
"""Name of the format in the attribute `source` of imported episodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRows:
    """The rows of one episode and what the buffer's attributes state about it."""

    rows: Rows
    """The resampled episode, without decoded frames."""
    keys: Mapping[str, str]
    """LeRobot key of a column, or camera stream -> key in the buffer."""
    task: str
    """The instruction."""
    outcome: str
    """Outcome of the attempt."""
    notes: Sequence[str]
    """Information that the format cannot store, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayBufferTarget:
    """Resample episodes for a replay buffer."""

    rows: RowConfig
    """How episodes are resampled, with camera streams as cameras."""

    @property
    def resumable(self) -> bool:
        """False: an interrupted export starts again."""
        return False

    def prepare(self, episode: Episode, scratch: Path) -> PreparedRows:
        """Return the rows of an episode."""
        rows = make_rows(episode, self.rows)
        known = original_dtypes(episode, FORMAT)
        origins = {key: "/".join(origin) for key, origin in other_columns(episode, self.rows).items()}
        dtypes = {key: known[origin] for key, origin in origins.items() if origin in known}
        return PreparedRows(
            rows=rows.with_types(episode.index, dtypes),
            keys=_keys(episode, rows),
            task=episode.task,
            outcome=episode.outcome,
            notes=_notes(episode, self.rows),
        )

    def writer(self, dataset: Dataset, path: Path) -> ReplayBufferWriter:
        """Return the writer of a new buffer."""
        return ReplayBufferWriter(dataset, path, fps=self.rows.fps)


class ReplayBufferWriter:
    """Collect the rows of all episodes, whose number determines the chunks, and write them at the end."""

    def __init__(self, dataset: Dataset, path: Path, *, fps: int) -> None:
        self._dataset, self._path, self._fps = dataset, path, fps
        self._episodes: dict[int, PreparedRows] = {}

    def add(self, index: int, prepared: PreparedRows) -> None:
        """Append an episode."""
        if self._episodes:
            require_layout(index, prepared.rows.layout, self._first.rows.layout)
        self._episodes[index] = prepared

    def finish(self, progress: Progress) -> ExportStats:
        """Write the buffer."""
        root: Any = zarr.open_group(self._path, mode="w", zarr_format=2)
        root.attrs["waldo"] = self._attributes()
        self._write_columns(root)
        self._write_frames(root, progress)
        write_ends(root, [len(one.rows) for one in self._episodes.values()])
        cameras = self._first.rows.frames
        errors = {camera: max(one.rows.frame_error_s[camera] for one in self._episodes.values()) for camera in cameras}
        return ExportStats(
            rows=self._total,
            frames_encoded=self._total * len(cameras),
            frame_error_ms={schema.camera_name(camera): error * 1e3 for camera, error in errors.items()},
            notes=self._first.notes,
        )

    def close(self) -> None:
        """Nothing is open between calls."""

    @property
    def _first(self) -> PreparedRows:
        return next(iter(self._episodes.values()))

    @property
    def _total(self) -> int:
        return sum(len(one.rows) for one in self._episodes.values())

    def _attributes(self) -> dict[str, Any]:
        """Return the metadata that has no place in a replay buffer."""
        return {
            "version": __version__,
            "fps": self._fps,
            "robot": self._dataset.robot,
            "tasks": [one.task for one in self._episodes.values()],
            "outcomes": [one.outcome for one in self._episodes.values()],
        }

    def _write_columns(self, root: Any) -> None:
        """Write the numeric columns and the timestamps of the rows."""
        first = self._first
        for key, column in first.rows.columns.items():
            attributes = {"stream": column.stream, "field": column.field, "unit": column.unit}
            values = np.concatenate([one.rows.columns[key].values for one in self._episodes.values()])
            write_array(root, first.keys[key], values, attributes | {"labels": list(column.names)})
        write_array(root, STAMPS_KEY, np.concatenate([one.rows.instants_ns for one in self._episodes.values()]), None)

    def _write_frames(self, root: Any, progress: Progress) -> None:
        """Write the decoded frames of the cameras."""
        first = self._first.rows
        arrays: dict[str, Any] = {}
        for camera in first.frames:
            shape = (self._total, *first.frame_sizes[camera], 3)
            arrays[camera] = create_array(root, self._first.keys[camera], shape, np.dtype(np.uint8), {"stream": camera})
        start = 0
        for done, (index, one) in enumerate(self._episodes.items(), 1):
            episode = self._dataset.episode(index)
            for camera, array in arrays.items():
                for at, images in decode_batches(episode, camera, one.rows.frames[camera], int(array.chunks[0])):
                    array[start + at : start + at + len(images)] = images
            start += len(one.rows)
            progress(done, len(self._episodes))


def _keys(episode: Episode, rows: Rows) -> Mapping[str, str]:
    """Return column or camera stream -> key: those of the buffer that the episode was imported from, if any."""
    short = {key: SHORT_KEYS[key] for key in rows.columns if key in SHORT_KEYS}
    derived = key_names([*rows.columns, *rows.frames]) | short
    destinations = {key: f"{column.stream}/{column.field}" for key, column in rows.columns.items()}
    destinations |= {camera: camera for camera in rows.frames}
    taken = {derived[schema.ACTION], STAMPS_KEY}
    named = {place: derived[key] for key, place in destinations.items() if derived[key] not in taken}
    found = original_keys(episode, FORMAT, named, taken)
    return {key: found.get(place, derived[key]) for key, place in destinations.items()}


def _notes(episode: Episode, config: RowConfig) -> list[str]:
    """Return what the format cannot store."""
    notes = [
        "Streams are resampled to one rate; native rates, receipt and publication times stay in the recording.",
        "The robot's numbers are float32; labels, units, tasks and outcomes are in attributes that only waldo reads.",
    ]
    depth = [name for name, stream in episode.streams.items() if isinstance(stream, DepthStream)]
    if depth:
        notes.append(f"Depth images ({', '.join(depth)}) are not exported.")
    if not config.environment and schema.ENVIRONMENT in episode.streams:
        notes.append("The environment state is not exported.")
    return notes
