"""The recording of one episode: rows and frames are written to a journal, which is finalized into an episode."""

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

from waldo.datasets.recording.access_units import AccessUnit
from waldo.datasets.recording.encoding import BackPressure, CameraEncoder, Image, QueuedFrame
from waldo.datasets.recording.finalize import finalize
from waldo.datasets.recording.journal import Flag, Journal, Kind
from waldo.datasets.recording.loss import LossCounter
from waldo.datasets.recording.stamps import Stamps
from waldo.datasets.storage.layout import episode_index
from waldo.datasets.streams import DepthStream, ImageStream, ScalarStream, Stream, VideoStream, check_streams
from waldo.datasets.video import histograms
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.hardware import choose_encoder
from waldo.errors import InvalidValueError, UnknownNameError, WaldoError, count
from waldo.files import sync_file

LOG = logging.getLogger("waldo.datasets")

OUTCOMES = ("success", "failure", "unknown")
"""Results of an attempt; the reason why the recording ended is stored separately."""


class EpisodeClosedError(WaldoError):
    """A write to an episode that is saved or discarded."""

    def __init__(self, path: Path, state: str) -> None:
        """Build the message from the episode's journal and its state."""
        super().__init__(f"{path}: the episode is {state} and cannot be written; start another one with Dataset.begin")


class EpisodeWriter:
    """Records one episode. Created by `Dataset.begin`; finished by `save` or `discard`."""

    def __init__(
        self,
        journal: Path,
        destination: Path,
        streams: Sequence[Stream],
        attributes: Mapping[str, Any],
        *,
        back_pressure: BackPressure = "spill",
        finalize: Callable[[Path, Path], object] = finalize,
        finalize_later: Callable[[Path, Path], None] | None = None,
    ) -> None:
        """Create the journal.

        Args:
            journal: Path of the journal.
            destination: Path of the finished episode.
            streams: The streams to record.
            attributes: Values that JSON can represent.
            back_pressure: What happens when an encoder falls behind.
            finalize: Converts the journal into the episode.
            finalize_later: Does the same in the background, for `save` without waiting.
        """
        checked = check_streams([_with_encoder(stream) for stream in streams])
        opening = {"streams": [stream.to_dict() for stream in checked], "attributes": dict(attributes)}
        self.streams: Mapping[str, Stream] = {stream.name: stream for stream in checked}
        self.destination = destination
        self._index = {stream.name: index for index, stream in enumerate(checked)}
        self._losses = {name: LossCounter() for name in self.streams}
        self._counts = dict.fromkeys(self.streams, 0)
        self._state: str | None = None
        self._finalize, self._finalize_later = finalize, finalize_later
        self._dropping: set[str] = set()
        try:
            self._journal = Journal(journal, opening)
        except (TypeError, ValueError) as error:
            raise InvalidValueError("attributes", attributes, f"values that JSON can represent ({error})") from error
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
        """Write one row of a scalar stream.

        Args:
            stream: The stream's name.
            header_ns: The publisher's stamp [ns since the epoch].
            receipt_ns: When the message was received [ns since the epoch].
            sequence: The publisher's sequence number; -1 if it does not count.
            values: Field -> values in the unit of the field, shape (labels,).
            publish_ns: When the middleware sent the message [ns since the epoch]; -1 if unknown.
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
        self,
        stream: str,
        *,
        header_ns: int,
        receipt_ns: int,
        sequence: int,
        image: Image | AccessUnit,
        publish_ns: int = -1,
    ) -> bool:
        """Queue one frame for encoding and return whether it was accepted; with "spill" this never blocks.

        A frame that does not fit into the queue is lost: the loss is logged as an error and recorded in the episode.

        Args:
            stream: The stream's name.
            header_ns: The publisher's stamp [ns since the epoch].
            receipt_ns: When the message was received [ns since the epoch].
            sequence: The publisher's sequence number; -1 if it does not count.
            image: uint8 (H, W, 3), uint16 (H, W) for a depth stream, or a JPEG, which a jpeg stream stores unchanged
                and the encoder's thread decodes for other streams, or H.264, which that thread decodes.
            publish_ns: When the middleware sent the message [ns since the epoch]; -1 if unknown.
        """
        description = self._image_stream(stream)
        _check_image(description, image)
        stamps = Stamps(header_ns=header_ns, receipt_ns=receipt_ns, publish_ns=publish_ns, sequence=sequence)
        self._losses[stream].add(sequence)
        # The caller may overwrite its buffer before the frame is encoded.
        owned = image if isinstance(image, bytes | AccessUnit) else image.copy()
        if self._cameras[stream].put(QueuedFrame(owned, stamps)):
            self._counts[stream] += 1
            self._dropping.discard(stream)
            return True
        self._journal.append(Kind.DROPPED, stream=self._index[stream], **stamps)
        self._losses[stream].lost += 1
        if stream not in self._dropping:
            self._dropping.add(stream)
            text = f"{stream}: dropping frames from sequence {sequence}: the encoder cannot keep up"
            LOG.error("%s", text)
            self._note("dropped", text, at_ns=receipt_ns, stream=stream)
        return False

    def packet(
        self, stream: str, *, header_ns: int, receipt_ns: int, sequence: int, packet: Packet, publish_ns: int = -1
    ) -> None:
        """Write a frame that is already encoded, for importers: H.264 with a key frame every `gop` frames, or a JPEG.

        Do not mix it with `frame` in one stream. The frame is not sampled for statistics; see `sample`.
        """
        description = self._image_stream(stream)
        if isinstance(description, DepthStream):
            raise InvalidValueError(f"a packet of {stream}", "encoded", "a frame: depth streams accept no packets")
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
        """Add a frame that was written with `packet`, uint8 (H, W, 3), to the stream's statistics."""
        self._image_stream(stream)
        self._journal.append(Kind.HISTOGRAM, stream=self._index[stream], payload=histograms.histogram(rgb).tobytes())

    def event(self, kind: str, text: str, *, at_ns: int, **detail: Any) -> None:
        """Record an event of the episode.

        Args:
            kind: Kind of event, such as "dropped".
            text: Message for the operator.
            at_ns: When it happened [ns since the epoch].
            **detail: Further values that JSON can represent.
        """
        self._check_open()
        self._note(kind, text, at_ns=at_ns, **detail)

    def report_lost(self, stream: str, count: int) -> None:
        """Record that `count` messages were lost in addition to gaps in the sequence."""
        self._check_open()
        if stream not in self.streams:
            raise UnknownNameError("stream", stream, self.streams)
        if count < 0:
            raise InvalidValueError("count of lost messages", count, "0 or more")
        if count:
            self._journal.append(Kind.LOST, stream=self._index[stream], payload=count.to_bytes(8, "little"))
            self._losses[stream].lost += count
            LOG.error("%s: lost %s", stream, _messages(count))

    @property
    def index(self) -> int:
        """The episode's index."""
        return episode_index(self.destination)

    @property
    def counts(self) -> Mapping[str, int]:
        """Stream -> accepted rows or frames."""
        return dict(self._counts)

    @property
    def nbytes(self) -> int:
        """Size of the journal [bytes]."""
        return self._journal.nbytes

    def lost(self, stream: str) -> int:
        """Return the number of lost messages of a stream."""
        return self._losses[stream].lost

    @property
    def waiting(self) -> int:
        """Number of frames in the queues of all encoders."""
        return sum(camera.waiting for camera in self._cameras.values())

    def save(self, outcome: str, reason: str = "operator", *, wait: bool = True) -> Path:
        """Finish the episode and return its path.

        Args:
            outcome: Result of the attempt: success, failure or unknown.
            reason: Why the recording ended.
            wait: Finalize the episode before returning. Otherwise the journal is complete and on disk when this
                returns, and the episode is finalized in the background.
        """
        self._check_open()
        if outcome not in OUTCOMES:
            raise UnknownNameError("outcome", outcome, OUTCOMES)
        if not reason:
            raise InvalidValueError("reason", reason, "the reason why the recording ended")
        self._state = "being saved"  # callbacks in other threads must not write after CLOSE
        self._finish_cameras()
        closing = {"outcome": outcome, "reason": reason}
        self._journal.append(Kind.CLOSE, payload=json.dumps(closing).encode())
        self._journal.close()
        self._state = "saved"
        for stream in self.streams:
            if self.lost(stream):
                LOG.error("%s: %s lost %s", self.destination.name, stream, _messages(self.lost(stream)))
        if wait or self._finalize_later is None:
            self._finalize(self._journal.path, self.destination)
        else:
            self._finalize_later(self._journal.path, self.destination)
        return self.destination

    def discard(self) -> None:
        """Discard the episode and delete its journal."""
        self._check_open()
        self._state = "discarded"
        for camera in self._cameras.values():
            camera.abandon()
        self._journal.close()
        self._journal.path.unlink()
        sync_file(self._journal.path.parent)

    def __enter__(self) -> EpisodeWriter:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Save an episode that was neither saved nor discarded as interrupted."""
        if self._state is None:
            self.save("unknown", "interrupted")

    def _finish_cameras(self) -> None:
        """Wait until every frame is in the journal."""
        errors = [error for camera in self._cameras.values() if (error := camera.finish()) is not None]
        if errors:
            self._journal.close()
            self._state = "aborted"
            raise errors[0]

    def _check_open(self) -> None:
        if self._state is not None:
            raise EpisodeClosedError(self._journal.path, self._state)

    def _note(self, kind: str, text: str, *, at_ns: int, **detail: Any) -> None:
        """Write an event; the encoders' threads do so even while the episode is being saved."""
        event = {"at_ns": at_ns, "kind": kind, "text": text, **detail}
        self._journal.append(Kind.EVENT, header_ns=at_ns, payload=json.dumps(event).encode())

    def _scalar(self, name: str) -> ScalarStream:
        """Return a scalar stream; raise UnknownNameError for another name."""
        self._check_open()
        stream = self.streams.get(name)
        if not isinstance(stream, ScalarStream):
            raise UnknownNameError("scalar stream", name, [n for n in self.streams if n not in self._cameras])
        return stream

    def _image_stream(self, name: str) -> ImageStream:
        """Return an image stream; raise UnknownNameError for another name."""
        self._check_open()
        stream = self.streams.get(name)
        if stream is None or isinstance(stream, ScalarStream):
            raise UnknownNameError("camera", name, self._cameras)
        return stream


def _with_encoder(stream: Stream) -> Stream:
    """Return a stream with "auto" replaced by an encoder, which is stored in the episode."""
    if not isinstance(stream, VideoStream) or stream.codec != "h264":
        return stream
    return replace(stream, encoder=choose_encoder(stream.encoder))


def _messages(number: int) -> str:
    return count(number, "message")


def _check_image(stream: ImageStream, image: Image | AccessUnit) -> None:
    """Raise InvalidValueError for pixels of another dtype or shape; others are checked when they are decoded."""
    if isinstance(image, bytes | AccessUnit):
        if isinstance(stream, DepthStream):
            found = "a JPEG" if isinstance(image, bytes) else "H.264"
            raise InvalidValueError(f"a frame of {stream.name}", found, f"uint16 {stream.frame_shape}")
        return
    dtype = np.dtype(np.uint16) if isinstance(stream, DepthStream) else np.dtype(np.uint8)
    if image.dtype != dtype or image.shape != stream.frame_shape:
        raise InvalidValueError(
            f"a frame of {stream.name}", f"{image.dtype} {image.shape}", f"{dtype} {stream.frame_shape}"
        )


def _row_bytes(stream: ScalarStream, values: Mapping[str, ArrayLike]) -> bytes:
    """Return a row as stored in the journal; raise an error for missing, unknown or misshapen fields."""
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
