"""A finished episode, for reading."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.edits import UNCHANGED, EpisodeEdits, Subtask
from waldo.datasets.recording import loss
from waldo.datasets.storage.array_file import array_metadata, read_array
from waldo.datasets.storage.episode_attributes import MAX_WINDING, read_attributes
from waldo.datasets.storage.episode_layout import (
    CHUNK_CHECKSUMS,
    HISTOGRAM,
    MESSAGE_COLUMNS,
    MESSAGE_INFO,
    TIME,
    VALUES,
    field_columns,
    frames_path,
    shard_name,
)
from waldo.datasets.storage.store_path import StorePath, open_group, open_path
from waldo.datasets.streams import Field, ImageStream, ScalarStream, Stream, VideoStream, stream_from_dict
from waldo.datasets.video.chunks import pixel_dtype
from waldo.datasets.video.histograms import image_statistics
from waldo.datasets.video.shard import ShardReader
from waldo.errors import FileError, UnknownNameError

if TYPE_CHECKING:
    import zarr

type Clock = Literal["header", "receipt", "publish"]
"""Clock of a stamp: the publisher's, the recorder's on receipt, or the middleware's on sending (-1: unknown)."""


SUBTASK_MARKS = "subtask_marks"
"""Attribute of an imported episode with its subtasks: a list of start_s [s] and text."""

SUBTASK = "subtask"
"""Kind of the event that marks the start of a subtask; its text is the subtask."""


class Episode:
    """A finished episode. Arrays are read on access, whole and at the native rate of their stream."""

    def __init__(self, path: str | StorePath, *, edits: EpisodeEdits = UNCHANGED) -> None:
        """Open an episode.

        Args:
            path: The episode's zarr group, local or in an object store.
            edits: The changes recorded in its dataset.

        Raises:
            FileError: If it cannot be opened, or was written by a newer version of waldo.
        """
        self.path, self.edits = open_path(path), edits
        self._kept: dict[str, NDArray[Any]] | None = None
        self._by_receipt: frozenset[str] = frozenset()
        self.attributes = read_attributes(self.path)

    def __repr__(self) -> str:
        """Return the class and the path."""
        return f"Episode({str(self.path)!r})"

    @cached_property
    def group(self) -> zarr.Group:
        """The episode's zarr group."""
        return open_group(self.path)

    @property
    def index(self) -> int:
        """The number in its name; -1 if the name contains none."""
        match = re.search(r"episode_(\d+)\.zarr", self.path.name)
        return int(match[1]) if match else -1

    @property
    def schema_version(self) -> int:
        """Version of the layout of its files."""
        return int(self.attributes["schema_version"])

    @property
    def outcome(self) -> str:
        """Result of the attempt: success, failure or unknown."""
        return str(self.edits.outcome or self.attributes["outcome"])

    @property
    def reason(self) -> str:
        """Why the recording ended."""
        return str(self.attributes["reason"])

    @property
    def task(self) -> str:
        """The instruction; empty if none was given."""
        return str(self.edits.task or self.attributes.get("task", ""))

    @property
    def robot(self) -> str:
        """The robot's name."""
        return str(self.attributes.get("robot", ""))

    @cached_property
    def streams(self) -> Mapping[str, Stream]:
        """The streams by name."""
        return {name: stream_from_dict(data) for name, data in self.attributes["streams"].items()}

    @property
    def cameras(self) -> Mapping[str, VideoStream]:
        """The color streams by name."""
        return {name: stream for name, stream in self.streams.items() if isinstance(stream, VideoStream)}

    @property
    def image_streams(self) -> Mapping[str, ImageStream]:
        """The color and depth streams by name."""
        return {name: stream for name, stream in self.streams.items() if not isinstance(stream, ScalarStream)}

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """Events during the recording, each with `at_ns`, `kind` and `text`."""
        return self.attributes.get("events", [])

    @property
    def subtasks(self) -> tuple[Subtask, ...]:
        """Its parts, marked while it was recorded or set since, in order of their starts."""
        if self.edits.subtasks is not None:
            return self.edits.subtasks
        if SUBTASK_MARKS in self.attributes:  # of an import
            known = self.attributes[SUBTASK_MARKS]
            return tuple(Subtask(start_s=float(one["start_s"]), text=str(one["text"])) for one in known)
        first = self.span_ns[0]
        marks = [event for event in self.events if event["kind"] == SUBTASK]
        found = [Subtask(start_s=max(0.0, (int(one["at_ns"]) - first) / 1e9), text=str(one["text"])) for one in marks]
        return tuple(sorted(found, key=lambda one: one.start_s))

    def count(self, stream: str) -> int:
        """Return the number of rows or frames of a stream."""
        return int(self._summary(stream)["count"])

    def lost(self, stream: str) -> int:
        """Return the number of lost messages of a stream: sequence gaps, dropped frames and reported losses."""
        return int(self._summary(stream)["lost"])

    def time_ns(self, stream: str, clock: Clock = "header") -> NDArray[np.int64]:
        """Return the stamps of a stream's rows or frames in order of arrival, shape (T,) [ns since the epoch]."""
        if clock == "header" and stream in self._by_receipt:
            clock = "receipt"
        return self._array(stream, TIME) if clock == "header" else self._message_info(stream, f"{clock}_time")

    def capture_ns(self, stream: str) -> NDArray[np.int64]:
        """Return the exposure time of each frame, shape (T,) [ns since the epoch].

        It is the publisher's stamp minus the camera's calibrated latency, which is 0 for other streams. The latency is
        relative to that stamp, so it is not subtracted from a receipt.
        """
        if stream in self._by_receipt:
            return self.time_ns(stream)
        return self.time_ns(stream) - np.int64(self.edits.latency_ns.get(stream, 0))

    def sequence(self, stream: str) -> NDArray[np.int64]:
        """Return the publisher's sequence numbers, shape (T,); -1 if it does not count."""
        return self._message_info(stream, "sequence")

    def gaps(self, stream: str) -> NDArray[np.int64]:
        """Return the number of missing messages before each row or frame, shape (T,)."""
        return loss.gaps(self.sequence(stream))

    def values(self, stream: str, field: str) -> NDArray[Any]:
        """Return a field of a scalar stream, shape (T, labels)."""
        dtype = self.field(stream, field).dtype
        if self.schema_version == 1:
            return self._array(stream, field)
        columns = field_columns(cast("ScalarStream", self.streams[stream]))[field]
        return np.ascontiguousarray(self._array(stream, VALUES)[:, columns], dtype)

    def field(self, stream: str, field: str) -> Field:
        """Return the description of a field."""
        self._summary(stream)
        description = self.streams[stream]
        known = {f.name: f for f in description.fields} if isinstance(description, ScalarStream) else {}
        if field not in known:
            raise UnknownNameError(f"field of {stream}", field, known)
        return known[field]

    def frames(self, stream: str, indices: Iterable[int] | None = None) -> NDArray[Any]:
        """Return the frames with these indices, in their order, or all frames.

        Color is uint8 (n, H, W, 3); depth is uint16 (n, H, W) in units of the stream's `unit_m`.
        """
        description = self.image_stream(stream)
        chosen = np.arange(self.count(stream)) if indices is None else np.asarray(list(indices), dtype=np.int64)
        if not len(chosen):
            return np.empty((0, *description.frame_shape), pixel_dtype(description))
        return self.shard(stream).read(chosen)

    def repeated(self, camera: str) -> NDArray[np.bool_]:
        """Return True for frames with the same pixels as the one before, shape (T,)."""
        return self._message_info(camera, "repeated").astype(bool)

    def histogram(self, camera: str) -> NDArray[np.int64]:
        """Return how often each pixel value occurs in the sampled frames, shape (3, 256)."""
        if self.schema_version == 1:
            return self._array(camera, HISTOGRAM)
        self.camera(camera)
        try:
            found = np.array(array_metadata(self.path / camera)["attributes"][HISTOGRAM])
            if found.shape != (3, 256) or found.dtype != np.int64 or found.min() < 0:
                raise ValueError(f"{HISTOGRAM} is not 3 times 256 counts")
            return found
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise FileError(self.path / camera / "zarr.json", f"cannot be read ({error})", "run waldo check") from error

    def chunk_checksums(self, camera: str) -> NDArray[np.uint32]:
        """Return the crc32c of each chunk of a camera's frames, shape (chunks,)."""
        return self._array(camera, CHUNK_CHECKSUMS)

    def image_statistics(self, camera: str) -> Mapping[str, NDArray[np.float64]]:
        """Return min, max, mean, std and quantiles of each channel, shape (3,), in 0..1."""
        try:
            return image_statistics(self.histogram(camera))
        except ValueError as error:
            raise FileError(self.path / camera, str(error)) from error

    def camera(self, name: str) -> VideoStream:
        """Return the description of a color stream; raise UnknownNameError for another name."""
        if name not in self.cameras:
            raise UnknownNameError("camera", name, self.cameras)
        return self.cameras[name]

    def image_stream(self, name: str) -> ImageStream:
        """Return the description of a color or depth stream; raise UnknownNameError for another name."""
        if name not in self.image_streams:
            raise UnknownNameError("camera", name, self.image_streams)
        return self.image_streams[name]

    def video_path(self, camera: str) -> StorePath:
        """Return the path of a camera's shard, which is an MP4 for H.264; it does not exist if there are no frames."""
        return self.path / f"{self.frames_path(camera)}/{shard_name(self.image_stream(camera), self.schema_version)}"

    def frames_path(self, camera: str) -> str:
        """Return the path of the array of a camera's frames inside the episode."""
        return frames_path(self.image_stream(camera), self.schema_version)

    def shard(self, camera: str) -> ShardReader:
        """Return the reader of a camera's frames."""
        return ShardReader(self.video_path(camera), self.image_stream(camera), self.count(camera))

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last publisher's stamp of all streams [ns since the epoch]; (0, 0) for an empty episode."""
        if self._by_receipt:
            stamps = [self.time_ns(name) for name in self.streams if self.count(name)]
            return min(int(one.min()) for one in stamps), max(int(one.max()) for one in stamps)
        first, last = self.attributes["span_ns"]
        return int(first), int(last)

    @property
    def duration_s(self) -> float:
        """Time from the first stamp to the last [s]."""
        return (self.span_ns[1] - self.span_ns[0]) / 1e9

    @property
    def nbytes(self) -> int:
        """Size of all files except the root metadata [bytes]."""
        return int(self.attributes["nbytes"])

    @property
    def max_winding_c(self) -> float | None:
        """Maximum winding temperature of all motors [°C]; None if unknown."""
        return self.attributes[MAX_WINDING]

    def _summary(self, stream: str) -> Mapping[str, Any]:
        summaries = self.attributes["streams"]
        if stream not in summaries:
            raise UnknownNameError("stream", stream, summaries)
        return summaries[stream]

    def with_receipt(self, streams: Iterable[str]) -> Episode:
        """Return this episode with the receipt in place of the publisher's stamp of some streams.

        Args:
            streams: The streams, such as those of a device whose clock has another epoch.
        """
        other = copy.copy(self)
        other._by_receipt = self._by_receipt | frozenset(streams)  # noqa: SLF001
        return other

    def keep_arrays(self) -> None:
        """Keep every array that is read from now on in memory, for work that reads arrays several times."""
        self._kept = {}

    def array(self, stream: str, name: str, metadata: Mapping[str, Any] | None = None) -> NDArray[Any]:
        """Read a whole array of a stream except its frames; the checksum is verified.

        Args:
            stream: The stream.
            name: Name of the array.
            metadata: Its metadata, if it has been read.

        Raises:
            OSError: If it is missing or cannot be read.
            ValueError: If it is damaged.
        """
        path = f"{stream}/{name}"
        if self._kept is None:
            return read_array(self.path / path, metadata)
        if path not in self._kept:
            self._kept[path] = read_array(self.path / path, metadata)
            self._kept[path].flags.writeable = False
        return self._kept[path]

    def _message_info(self, stream: str, column: str) -> NDArray[Any]:
        """Return a column of what is known of each message, shape (T,)."""
        if self.schema_version == 1:
            return self._array(stream, column)
        return np.ascontiguousarray(self._array(stream, MESSAGE_INFO)[:, MESSAGE_COLUMNS.index(column)])

    def _array(self, stream: str, name: str) -> NDArray[Any]:
        """Read a whole array; errors are raised as FileError."""
        self._summary(stream)
        try:
            return self.array(stream, name)
        except (OSError, ValueError) as error:
            raise FileError(self.path / f"{stream}/{name}", f"cannot be read ({error})", "run waldo check") from error
