"""One episode while it is recorded: rows and frames in, a sealed episode out."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waldo.datasets import statistics
from waldo.datasets.journal import Flag, Journal, Kind, sync_folder
from waldo.datasets.loss import LossCounter
from waldo.datasets.mp4shard import rate_fraction
from waldo.datasets.seal import seal
from waldo.datasets.streams import ScalarStream, Stream, VideoStream, check_streams
from waldo.datasets.video import Encoder
from waldo.errors import ConfigError, UnknownNameError, WaldoError

LOG = logging.getLogger("waldo.datasets")

QUEUE_FRAMES = 15
"""Frames of one camera that may wait for its encoder: half a second at 30 Hz, all that a kill can take."""

PATIENCE_S = 0.5
"""How long a full queue holds the caller back before the frame is given up as lost [s]."""

OUTCOMES = ("success", "failure", "unknown")
"""How an attempt went; why the recording ended is the reason, apart from it."""


class EpisodeClosedError(WaldoError):
    """Something was written to an episode that is saved or discarded."""

    def __init__(self, path: Path, ended: str) -> None:
        """Take the episode's journal and how it ended."""
        super().__init__(f"{path}: the episode is {ended}, nothing can be written; begin another with Dataset.begin")


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame on its way to the encoder."""

    header_ns: int
    receipt_ns: int
    sequence: int
    rgb: NDArray[np.uint8]


class EpisodeWriter:
    """An episode being recorded. Make one with `Dataset.begin`; end it with `save` or `discard`."""

    def __init__(
        self, journal: Path, destination: Path, streams: Sequence[Stream], attributes: Mapping[str, Any]
    ) -> None:
        """Take the journal's path, the episode's final place, its streams and attributes; creates the journal."""
        checked = check_streams(streams)
        opening = {"streams": [stream.to_dict() for stream in checked], "attributes": dict(attributes)}
        self.streams: Mapping[str, Stream] = {stream.name: stream for stream in checked}
        self.destination = destination
        self._index = {stream.name: index for index, stream in enumerate(checked)}
        self._losses = {name: LossCounter() for name in self.streams}
        self._counts = dict.fromkeys(self.streams, 0)
        self._ended: str | None = None
        try:
            self._journal = Journal(journal, opening)
        except (TypeError, ValueError) as error:
            raise ConfigError("attributes", attributes, f"values that JSON can hold ({error})") from error
        self._cameras = {
            stream.name: _Camera(stream, self._journal, self._index[stream.name])
            for stream in checked
            if isinstance(stream, VideoStream)
        }

    def row(
        self, stream: str, *, header_ns: int, receipt_ns: int, sequence: int, values: Mapping[str, ArrayLike]
    ) -> None:
        """Write one row of a scalar stream: every field's values, each (labels,), in the units of its description.

        `header_ns` is the publisher's stamp, `receipt_ns` ours, `sequence` the publisher's count (-1: it has none).
        """
        description = self._stream(stream, ScalarStream)
        payload = _row_bytes(description, values)
        index = self._index[stream]
        self._journal.append(
            Kind.ROW, stream=index, header_ns=header_ns, receipt_ns=receipt_ns, sequence=sequence, payload=payload
        )
        self._counts[stream] += 1
        self._losses[stream].add(sequence)

    def frame(self, stream: str, *, header_ns: int, receipt_ns: int, sequence: int, rgb: NDArray[np.uint8]) -> bool:
        """Hand over one frame, uint8 (H, W, 3), to be encoded; return whether it was taken.

        A full queue holds the caller back for up to PATIENCE_S; then the frame is lost, which is logged as an error
        and stands in the episode's record.
        """
        description = self._stream(stream, VideoStream)
        shape = (description.height, description.width, 3)
        if rgb.dtype != np.uint8 or rgb.shape != shape:
            raise ConfigError(f"a frame of {stream}", f"{rgb.dtype} {rgb.shape}", f"uint8 {shape}")
        self._losses[stream].add(sequence)
        # The caller may fill its buffer anew before the encoder has come to it.
        taken = self._cameras[stream].put(_Frame(header_ns, receipt_ns, sequence, rgb.copy()))
        if taken:
            self._counts[stream] += 1
            return True
        index = self._index[stream]
        self._journal.append(Kind.DROPPED, stream=index, header_ns=header_ns, receipt_ns=receipt_ns, sequence=sequence)
        self._losses[stream].lost += 1
        LOG.error("%s: frame %d is lost: the encoder has fallen %d frames behind", stream, sequence, QUEUE_FRAMES)
        return False

    def report_lost(self, stream: str, count: int) -> None:
        """Record that `count` messages were lost beside those that gaps in the sequence show."""
        self._open()
        if stream not in self.streams:
            raise UnknownNameError("stream", stream, self.streams)
        if count < 0:
            raise ConfigError("count of lost messages", count, "0 or more")
        if count:
            self._journal.append(Kind.LOST, stream=self._index[stream], payload=count.to_bytes(8, "little"))
            self._losses[stream].lost += count
            LOG.error("%s: %d messages are lost", stream, count)

    @property
    def index(self) -> int:
        """The episode's index, from its name `episode_NNNNNN.zarr`."""
        return int(self.destination.stem.removeprefix("episode_"))

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows and frames taken so far, of each stream."""
        return dict(self._counts)

    @property
    def nbytes(self) -> int:
        """How many bytes are written so far."""
        return self._journal.nbytes

    def lost(self, stream: str) -> int:
        """Return how many messages of a stream are lost so far."""
        return self._losses[stream].lost

    def waiting(self, stream: str) -> int:
        """Return how many frames of a camera wait for its encoder."""
        return self._cameras[stream].waiting

    def save(self, outcome: str, reason: str = "operator") -> Path:
        """End the episode, seal it and return its path. `reason` says why the recording ended."""
        self._open()
        if outcome not in OUTCOMES:
            raise UnknownNameError("outcome", outcome, OUTCOMES)
        if not reason:
            raise ConfigError("reason", reason, "why the recording ended")
        self._ended = "being saved"  # callbacks in other threads must not write behind CLOSE
        self._finish_cameras()
        closing = {"outcome": outcome, "reason": reason}
        self._journal.append(Kind.CLOSE, payload=json.dumps(closing).encode())
        self._journal.close()
        self._ended = "saved"
        seal(self._journal.path, self.destination)
        for stream in self.streams:
            if self.lost(stream):
                LOG.error("%s: %s lost %d messages", self.destination.name, stream, self.lost(stream))
        return self.destination

    def discard(self) -> None:
        """End the episode and throw it away."""
        self._open()
        self._ended = "discarded"
        for camera in self._cameras.values():
            camera.abandon()
        self._journal.close()
        self._journal.path.unlink()
        sync_folder(self._journal.path.parent)

    def __enter__(self) -> EpisodeWriter:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Save what is still open as interrupted: leaving the block without `save` or `discard` is no decision."""
        if self._ended is None:
            self.save("unknown", "interrupted")

    def _finish_cameras(self) -> None:
        """Wait until every frame is in the journal."""
        errors = [error for camera in self._cameras.values() if (error := camera.finish()) is not None]
        if errors:
            self._journal.close()
            self._ended = "broken off"
            raise errors[0]

    def _open(self) -> None:
        if self._ended is not None:
            raise EpisodeClosedError(self._journal.path, self._ended)

    def _stream[S: Stream](self, name: str, kind: type[S]) -> S:
        """Return a stream's description, refusing one that does not exist or is of the other kind."""
        self._open()
        stream = self.streams.get(name)
        if not isinstance(stream, kind):
            raise UnknownNameError(
                "camera" if kind is VideoStream else "scalar stream",
                name,
                [other.name for other in self.streams.values() if isinstance(other, kind)],
            )
        return stream


class _Camera:
    """One camera's queue and the thread that encodes it into the journal."""

    def __init__(self, stream: VideoStream, journal: Journal, index: int) -> None:
        self._stream, self._journal, self._index = stream, journal, index
        self._queue: queue.Queue[_Frame | None] = queue.Queue(QUEUE_FRAMES)
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"encode {stream.name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def put(self, frame: _Frame) -> bool:
        """Queue a frame; False if the encoder stayed too far behind. Raises what stopped the encoder."""
        if self._error is not None:
            raise self._error
        try:
            self._queue.put(frame, timeout=PATIENCE_S)
        except queue.Full:
            return False
        return True

    def finish(self) -> BaseException | None:
        """Wait until the queue is empty and the thread has ended; return what stopped it early."""
        self._queue.put(None)
        self._thread.join()
        return self._error

    def abandon(self) -> None:
        """End the thread without encoding what waits."""
        self._abandoned.set()
        self.finish()

    def _run(self) -> None:
        """Encode frames until None comes. After a failure the queue is still emptied, so that nobody waits for ever."""
        try:
            self._encode_all()
        except BaseException as error:
            LOG.error("%s: the encoder has stopped: %s", self._stream.name, error)
            self._error = error
            while self._queue.get() is not None:
                pass

    def _encode_all(self) -> None:
        stream = self._stream
        rate = rate_fraction(stream.rate_hz)
        encoder = Encoder(width=stream.width, height=stream.height, gop=stream.gop, crf=stream.crf, rate=rate)
        waiting: list[tuple[_Frame, bool]] = []
        before: NDArray[np.uint8] | None = None
        while (frame := self._queue.get()) is not None:
            if self._abandoned.is_set():
                continue
            waiting.append((frame, before is not None and np.array_equal(before, frame.rgb)))
            before = frame.rgb
            self._write(encoder.encode(frame.rgb), waiting)
        if not self._abandoned.is_set():
            self._write(encoder.flush(), waiting)

    def _write(self, packets: Sequence[Any], waiting: list[tuple[_Frame, bool]]) -> None:
        """Write packets with the stamps of the frames that they are of, and a histogram beside each key frame."""
        for packet in packets:
            frame, repeated = waiting.pop(0)
            flags = Flag.KEY * packet.key | Flag.REPEATED * repeated
            stamps = {"header_ns": frame.header_ns, "receipt_ns": frame.receipt_ns, "sequence": frame.sequence}
            self._journal.append(Kind.FRAME, stream=self._index, flags=flags, payload=packet.data, **stamps)
            if packet.key:
                counts = statistics.histogram(frame.rgb).tobytes()
                self._journal.append(Kind.HISTOGRAM, stream=self._index, payload=counts, **stamps)


def _row_bytes(stream: ScalarStream, values: Mapping[str, ArrayLike]) -> bytes:
    """Return a row as the journal holds it, refusing missing, unknown and misshapen fields."""
    known = {field.name for field in stream.fields}
    for name in values:
        if name not in known:
            raise UnknownNameError(f"field of {stream.name}", name, known)
    parts: list[bytes] = []
    for field in stream.fields:
        if field.name not in values:
            raise ConfigError(f"{stream.name}.{field.name}", None, f"{len(field.labels)} values")
        array = np.asarray(values[field.name], dtype=np.dtype(field.dtype).newbyteorder("<"))
        if array.shape != (len(field.labels),):
            raise ConfigError(f"the shape of {stream.name}.{field.name}", array.shape, f"({len(field.labels)},)")
        parts.append(array.tobytes())
    return b"".join(parts)
