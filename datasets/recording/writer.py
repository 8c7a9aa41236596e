"""One episode while it is recorded: rows and frames in, a sealed episode out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from waldo.datasets.recording.encoding import BackPressure, CameraEncoder, Frame, Image
from waldo.datasets.recording.finalize import seal
from waldo.datasets.recording.journal import Flag, Journal, Kind, sync_folder
from waldo.datasets.recording.loss import LossCounter
from waldo.datasets.recording.stamps import Stamps
from waldo.datasets.streams import DepthStream, ImageStream, ScalarStream, Stream, VideoStream, check_streams
from waldo.datasets.video import encoders, histograms
from waldo.datasets.video.h264 import Packet
from waldo.errors import InvalidValueError, UnknownNameError, WaldoError

LOG = logging.getLogger("waldo.datasets")

OUTCOMES = ("success", "failure", "unknown")
"""How an attempt went; why the recording ended is the reason, apart from it."""


class EpisodeClosedError(WaldoError):
    """Something was written to an episode that is saved or discarded."""

    def __init__(self, path: Path, ended: str) -> None:
        """Take the episode's journal and how it ended."""
        super().__init__(f"{path}: the episode is {ended}, nothing can be written; begin another with Dataset.begin")


class EpisodeWriter:
    """An episode being recorded. Make one with `Dataset.begin`; end it with `save` or `discard`."""

    def __init__(
        self,
        journal: Path,
        destination: Path,
        streams: Sequence[Stream],
        attributes: Mapping[str, Any],
        *,
        back_pressure: BackPressure = "spill",
        seal: Callable[[Path, Path], object] = seal,
        seal_later: Callable[[Path, Path], None] | None = None,
    ) -> None:
        """Take the journal's path, the episode's final place, its streams and attributes; creates the journal.

        `back_pressure` says what happens when an encoder falls behind. `seal` turns the journal into the episode;
        `seal_later` does the same for one that is saved without waiting for it.
        """
        checked = check_streams([_with_encoder(stream) for stream in streams])
        opening = {"streams": [stream.to_dict() for stream in checked], "attributes": dict(attributes)}
        self.streams: Mapping[str, Stream] = {stream.name: stream for stream in checked}
        self.destination = destination
        self._index = {stream.name: index for index, stream in enumerate(checked)}
        self._losses = {name: LossCounter() for name in self.streams}
        self._counts = dict.fromkeys(self.streams, 0)
        self._ended: str | None = None
        self._seal, self._seal_later = seal, seal_later
        self._dropping: set[str] = set()
        try:
            self._journal = Journal(journal, opening)
        except (TypeError, ValueError) as error:
            raise InvalidValueError("attributes", attributes, f"values that JSON can hold ({error})") from error
        self._cameras = {
            stream.name: CameraEncoder(stream, self._journal, self._index[stream.name], self._note, back_pressure)
            for stream in checked
            if not isinstance(stream, ScalarStream)
        }

    def row(
        self,
        stream: str,
        *,
        header_ns: int,
        receipt_ns: int,
        sequence: int,
        values: Mapping[str, ArrayLike],
        publish_ns: int = -1,
    ) -> None:
        """Write one row of a scalar stream: every field's values, each (labels,), in the units of its description.

        `header_ns` is the publisher's stamp, `receipt_ns` ours, `publish_ns` when the middleware sent it (-1: unknown),
        `sequence` the publisher's count (-1: it has none).
        """
        description = self._scalar(stream)
        self._journal.append(
            Kind.ROW,
            stream=self._index[stream],
            header_ns=header_ns,
            receipt_ns=receipt_ns,
            publish_ns=publish_ns,
            sequence=sequence,
            payload=_row_bytes(description, values),
        )
        self._counts[stream] += 1
        self._losses[stream].add(sequence)

    def frame(
        self, stream: str, *, header_ns: int, receipt_ns: int, sequence: int, image: Image, publish_ns: int = -1
    ) -> bool:
        """Hand over one frame to be encoded; return whether it was taken. Never waits for the encoder in real time.

        `image` is uint8 (H, W, 3); for a depth stream uint16 (H, W); or a JPEG, which is kept as it is in a jpeg stream
        and decoded by the encoder's thread for any other. A frame for which there is no room is lost: that is logged
        as an error and stands in the episode's record.
        """
        description = self._image_stream(stream)
        _check_image(description, image)
        stamps = Stamps(header_ns=header_ns, receipt_ns=receipt_ns, publish_ns=publish_ns, sequence=sequence)
        self._losses[stream].add(sequence)
        # The caller may fill its buffer anew before the encoder has come to it.
        kept = image if isinstance(image, bytes) else image.copy()
        if self._cameras[stream].put(Frame(kept, stamps)):
            self._counts[stream] += 1
            self._dropping.discard(stream)
            return True
        self._journal.append(Kind.DROPPED, stream=self._index[stream], **stamps)
        self._losses[stream].lost += 1
        if stream not in self._dropping:
            self._dropping.add(stream)
            text = f"{stream}: frames are lost from {sequence} on: this machine cannot keep up"
            LOG.error("%s", text)
            self._note("dropped", text, at_ns=receipt_ns, stream=stream)
        return False

    def packet(
        self, stream: str, *, header_ns: int, receipt_ns: int, sequence: int, packet: Packet, publish_ns: int = -1
    ) -> None:
        """Write a picture that is encoded already, for importers: H.264 with a key frame every `gop`, or a JPEG.

        Do not mix it with `frame` in one stream. It counts for no image statistics; see `sample`.
        """
        description = self._image_stream(stream)
        if isinstance(description, DepthStream):
            raise InvalidValueError(f"a packet of {stream}", "encoded", "a frame: depth images are packed here")
        key = self._counts[stream] % description.gop == 0
        if packet.key != key and description.codec != "jpeg":
            found = "a key frame" if packet.key else "no key frame"
            raise InvalidValueError(f"packet {self._counts[stream]} of {stream}", found, f"one every {description.gop}")
        self._journal.append(
            Kind.FRAME,
            stream=self._index[stream],
            flags=Flag.KEY * key,
            header_ns=header_ns,
            receipt_ns=receipt_ns,
            publish_ns=publish_ns,
            sequence=sequence,
            payload=packet.data,
        )
        self._counts[stream] += 1
        self._losses[stream].add(sequence)

    def sample(self, stream: str, rgb: NDArray[np.uint8]) -> None:
        """Count the pixels of a frame, uint8 (H, W, 3), whose packet was written, for the stream's statistics."""
        self._image_stream(stream)
        self._journal.append(Kind.HISTOGRAM, stream=self._index[stream], payload=histograms.histogram(rgb).tobytes())

    def event(self, kind: str, text: str, *, at_ns: int, **detail: Any) -> None:
        """Note something that happened at an instant [ns]; it stands in the episode's `events`."""
        self._open()
        self._note(kind, text, at_ns=at_ns, **detail)

    def report_lost(self, stream: str, count: int) -> None:
        """Record that `count` messages were lost beside those that gaps in the sequence show."""
        self._open()
        if stream not in self.streams:
            raise UnknownNameError("stream", stream, self.streams)
        if count < 0:
            raise InvalidValueError("count of lost messages", count, "0 or more")
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

    @property
    def waiting(self) -> int:
        """How many frames of all cameras wait for their encoders."""
        return sum(camera.waiting for camera in self._cameras.values())

    def save(self, outcome: str, reason: str = "operator", *, wait: bool = True) -> Path:
        """End the episode, seal it and return its path. `reason` says why the recording ended.

        Without `wait` the journal is complete and safe when this returns, and it is sealed in the background.
        """
        self._open()
        if outcome not in OUTCOMES:
            raise UnknownNameError("outcome", outcome, OUTCOMES)
        if not reason:
            raise InvalidValueError("reason", reason, "why the recording ended")
        self._ended = "being saved"  # callbacks in other threads must not write behind CLOSE
        self._finish_cameras()
        closing = {"outcome": outcome, "reason": reason}
        self._journal.append(Kind.CLOSE, payload=json.dumps(closing).encode())
        self._journal.close()
        self._ended = "saved"
        for stream in self.streams:
            if self.lost(stream):
                LOG.error("%s: %s lost %d messages", self.destination.name, stream, self.lost(stream))
        if wait or self._seal_later is None:
            self._seal(self._journal.path, self.destination)
        else:
            self._seal_later(self._journal.path, self.destination)
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

    def _note(self, kind: str, text: str, *, at_ns: int, **detail: Any) -> None:
        """Write an event; encoders' threads still may while the episode is being saved."""
        event = {"at_ns": at_ns, "kind": kind, "text": text, **detail}
        self._journal.append(Kind.EVENT, header_ns=at_ns, payload=json.dumps(event).encode())

    def _scalar(self, name: str) -> ScalarStream:
        """Return a stream of rows, refusing a name that is none's."""
        self._open()
        stream = self.streams.get(name)
        if not isinstance(stream, ScalarStream):
            raise UnknownNameError("scalar stream", name, [n for n in self.streams if n not in self._cameras])
        return stream

    def _image_stream(self, name: str) -> ImageStream:
        """Return a stream of pictures, refusing a name that is none's."""
        self._open()
        stream = self.streams.get(name)
        if stream is None or isinstance(stream, ScalarStream):
            raise UnknownNameError("camera", name, self._cameras)
        return stream


def _with_encoder(stream: Stream) -> Stream:
    """Return a stream whose encoder is decided: the episode says what made its pictures."""
    if not isinstance(stream, VideoStream) or stream.codec != "h264":
        return stream
    return replace(stream, encoder=encoders.choose(stream.encoder))


def _check_image(stream: ImageStream, image: Image) -> None:
    """Refuse pixels of another type or shape; a JPEG is looked at where it is decoded."""
    if isinstance(image, bytes):
        if isinstance(stream, DepthStream):
            raise InvalidValueError(f"a frame of {stream.name}", "a JPEG", f"uint16 {stream.frame_shape}")
        return
    dtype = np.dtype(np.uint16) if isinstance(stream, DepthStream) else np.dtype(np.uint8)
    if image.dtype != dtype or image.shape != stream.frame_shape:
        raise InvalidValueError(
            f"a frame of {stream.name}", f"{image.dtype} {image.shape}", f"{dtype} {stream.frame_shape}"
        )


def _row_bytes(stream: ScalarStream, values: Mapping[str, ArrayLike]) -> bytes:
    """Return a row as the journal holds it, refusing missing, unknown and misshapen fields."""
    known = {field.name for field in stream.fields}
    for name in values:
        if name not in known:
            raise UnknownNameError(f"field of {stream.name}", name, known)
    parts: list[bytes] = []
    for field in stream.fields:
        if field.name not in values:
            raise InvalidValueError(f"{stream.name}.{field.name}", None, f"{len(field.labels)} values")
        array = np.asarray(values[field.name], dtype=np.dtype(field.dtype).newbyteorder("<"))
        if array.shape != (len(field.labels),):
            raise InvalidValueError(f"the shape of {stream.name}.{field.name}", array.shape, f"({len(field.labels)},)")
        parts.append(array.tobytes())
    return b"".join(parts)
