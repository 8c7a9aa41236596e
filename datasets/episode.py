"""One finished episode, for reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.edits import UNCHANGED, EpisodeEdits
from waldo.datasets.recording import loss
from waldo.datasets.recording.finalize import FORMAT, SCHEMA_VERSION, shard_of
from waldo.datasets.store_path import Place, open_group, place
from waldo.datasets.streams import Field, ImageStream, ScalarStream, Stream, VideoStream, stream_from_dict
from waldo.datasets.video.histograms import image_statistics
from waldo.datasets.video.images import dtype_of
from waldo.datasets.video.shard import ShardReader
from waldo.errors import FileError, UnknownNameError

type Clock = Literal["header", "receipt", "publish"]
"""Whose stamp: the publisher's, the recorder's, or the middleware's when it was sent (-1: unknown)."""

ARRAY_OF: Mapping[Clock, str] = {"header": "time", "receipt": "receipt_time", "publish": "publish_time"}
"""Clock -> the array of its stamps."""

NEEDED = ("streams", "outcome", "reason", "span_ns", "nbytes", "hottest_c")
"""Attributes without which an episode is none."""


class Episode:
    """A finished episode. Nothing is read before it is asked for; arrays are whole, at the stream's own rate."""

    def __init__(self, path: str | Place, *, edits: EpisodeEdits = UNCHANGED) -> None:
        """Open the group of an episode, here or in an object store; `edits` are what its dataset says was changed."""
        self.path, self.edits = place(path), edits
        try:
            self.group = open_group(self.path)
            self.attributes: Mapping[str, Any] = dict(self.group.attrs)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FileError(self.path, f"cannot be opened ({error})", "run waldo check on the dataset") from error
        version = self.attributes.get("schema_version")
        if self.attributes.get("format") != FORMAT or not isinstance(version, int) or version > SCHEMA_VERSION:
            found = f"{self.attributes.get('format')!r} of version {version}"
            raise FileError(self.path, f"is {found}, expected {FORMAT!r} of {SCHEMA_VERSION}", "update waldo")
        if lacking := [name for name in NEEDED if name not in self.attributes]:
            raise FileError(self.path, f"does not say its {', '.join(lacking)}", "run waldo check on the dataset")

    def __repr__(self) -> str:
        """Name the episode."""
        return f"Episode({str(self.path)!r})"

    @property
    def index(self) -> int:
        """The number in its name."""
        match = re.search(r"episode_(\d+)\.zarr", self.path.name)
        return int(match[1]) if match else -1

    @property
    def outcome(self) -> str:
        """How the attempt went: success, failure or unknown."""
        return str(self.edits.outcome or self.attributes["outcome"])

    @property
    def reason(self) -> str:
        """Why the recording ended."""
        return str(self.attributes["reason"])

    @property
    def task(self) -> str:
        """The instruction; empty where none was given."""
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
        """The streams of colour frames by name."""
        return {name: stream for name, stream in self.streams.items() if isinstance(stream, VideoStream)}

    @property
    def image_streams(self) -> Mapping[str, ImageStream]:
        """The streams of colour frames and of depth images by name."""
        return {name: stream for name, stream in self.streams.items() if not isinstance(stream, ScalarStream)}

    @property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """What happened while it was recorded, each with `at_ns`, `kind` and `text`."""
        return self.attributes.get("events", [])

    def count(self, stream: str) -> int:
        """Return how many rows or frames a stream has."""
        return int(self._summary(stream)["count"])

    def lost(self, stream: str) -> int:
        """Return how many messages of a stream are lost: gaps in its sequence, dropped frames, reported losses."""
        return int(self._summary(stream)["lost"])

    def time_ns(self, stream: str, clock: Clock = "header") -> NDArray[np.int64]:
        """Return the stamps of a stream's rows or frames, (T,) [ns since the epoch], in the order of arrival."""
        return self._array(stream, ARRAY_OF[clock])

    def capture_ns(self, stream: str) -> NDArray[np.int64]:
        """Return when the light of each frame fell, (T,) [ns]: the publisher's stamps less the camera's latency.

        For a stream without a calibrated latency these are the publisher's stamps.
        """
        return self.time_ns(stream) - np.int64(self.edits.latency_ns.get(stream, 0))

    def sequence(self, stream: str) -> NDArray[np.int64]:
        """Return the publisher's numbers, (T,); -1 where it does not count."""
        return self._array(stream, "sequence")

    def gaps(self, stream: str) -> NDArray[np.int64]:
        """Return how many messages are missing before each row or frame, (T,)."""
        return loss.gaps(self.sequence(stream))

    def values(self, stream: str, field: str) -> NDArray[Any]:
        """Return a field of a scalar stream, (T, labels)."""
        self.field(stream, field)
        return self._array(stream, field)

    def field(self, stream: str, field: str) -> Field:
        """Return the description of a field."""
        self._summary(stream)
        described = self.streams[stream]
        known = {f.name: f for f in described.fields} if isinstance(described, ScalarStream) else {}
        if field not in known:
            raise UnknownNameError(f"field of {stream}", field, known)
        return known[field]

    def frames(self, stream: str, indices: Iterable[int] | None = None) -> NDArray[Any]:
        """Return frames of a camera: those of `indices` in their order, or all of them.

        Colour is uint8 (n, H, W, 3); depth is uint16 (n, H, W) in the stream's `unit_m`.
        """
        described = self.image_stream(stream)
        wanted = range(self.count(stream)) if indices is None else indices
        chosen = np.asarray(list(wanted), dtype=np.int64)
        if not len(chosen):
            return np.empty((0, *described.frame_shape), dtype_of(described))
        return self.shard(stream).read(chosen)

    def repeated(self, camera: str) -> NDArray[np.bool_]:
        """Return which frames are the same as the one before in every pixel, (T,)."""
        return self._array(camera, "repeated")

    def histogram(self, camera: str) -> NDArray[np.int64]:
        """Return how often each value occurs in the sampled frames, (3, 256)."""
        return self._array(camera, "histogram")

    def image_statistics(self, camera: str) -> Mapping[str, NDArray[np.float64]]:
        """Return min, max, mean, std and quantiles of each channel, (3,) with values 0..1."""
        return image_statistics(self.histogram(camera))

    def camera(self, name: str) -> VideoStream:
        """Return a camera's description; a name that is no camera's is refused."""
        if name not in self.cameras:
            raise UnknownNameError("camera", name, self.cameras)
        return self.cameras[name]

    def image_stream(self, name: str) -> ImageStream:
        """Return the description of a stream of pictures; a name that is none's is refused."""
        if name not in self.image_streams:
            raise UnknownNameError("camera", name, self.image_streams)
        return self.image_streams[name]

    def video_path(self, camera: str) -> Place:
        """Return the shard that holds a camera's frames, an MP4 for H.264; there is none where there are no frames."""
        stream = self.image_stream(camera)
        return self.path / f"{stream.name}/frames/{shard_of(stream)}"

    def shard(self, camera: str) -> ShardReader:
        """Return the reader of a camera's frames."""
        return ShardReader(self.video_path(camera), self.image_stream(camera), self.count(camera))

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last publisher's stamp of all streams [ns]; (0, 0) for an empty episode."""
        first, last = self.attributes["span_ns"]
        return int(first), int(last)

    @property
    def duration_s(self) -> float:
        """Seconds from the first stamp to the last."""
        return (self.span_ns[1] - self.span_ns[0]) / 1e9

    @property
    def nbytes(self) -> int:
        """Bytes of everything but its own attributes."""
        return int(self.attributes["nbytes"])

    @property
    def hottest_c(self) -> float | None:
        """The hottest winding [°C]; None where nobody knows."""
        return self.attributes["hottest_c"]

    def _summary(self, stream: str) -> Mapping[str, Any]:
        summaries = self.attributes["streams"]
        if stream not in summaries:
            raise UnknownNameError("stream", stream, summaries)
        return summaries[stream]

    def _array(self, stream: str, name: str) -> NDArray[Any]:
        """Read an array whole; its checksum is verified on the way."""
        self._summary(stream)
        try:
            return np.asarray(self.group[f"{stream}/{name}"][...])  # type: ignore[index]
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise FileError(self.path / f"{stream}/{name}", f"cannot be read ({error})", "run waldo check") from error
