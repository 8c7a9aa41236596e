"""Encoding of one camera during a recording: a short queue, and a thread that encodes frames into the journal.

Encoding never delays a subscription. When the encoder falls behind, the next whole group of pictures is spilled: it is
written to the journal as JPEGs or packed, and encoded when the episode is finalized. A frame is dropped only if even
that is too slow.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.recording.access_units import AccessUnit
from waldo.datasets.recording.journal import Flag, Journal, Kind
from waldo.datasets.recording.live_decoder import LiveDecoder
from waldo.datasets.recording.stamps import Stamps
from waldo.datasets.streams import DepthStream, ImageStream, VideoStream
from waldo.datasets.video import histograms, images
from waldo.datasets.video.encoder import LOSSLESS, Encoder
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.mp4shard import rate_fraction
from waldo.errors import ImageError

LOG = logging.getLogger("waldo.datasets")

QUEUE_S = 0.35
"""Capacity of a camera's queue [s]. Together with the journal's flush interval it is below the 0.5 s crash loss."""

SPILL_S = 0.15
"""Queue length at the start of a group of pictures from which the group is spilled [s]."""

SAMPLE_EVERY_S = 0.5
"""Interval of the frames that are sampled for statistics in streams that need no encoding [s]."""

type BackPressure = Literal["spill", "wait"]
"""When an encoder falls behind: spill (in real time), or let the caller wait (in simulated time, reproducible)."""

type Image = NDArray[np.uint8] | NDArray[np.uint16] | bytes
"""A frame to record: pixels, or a JPEG."""

type Note = Callable[..., None]
"""Records an event: kind, text, at_ns, details."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame for its encoder."""

    image: Image
    stamps: Stamps


@dataclass(frozen=True, slots=True)
class QueuedFrame:
    """A frame in the queue of its encoder, which may have to be decoded before."""

    image: Image | AccessUnit
    stamps: Stamps


def encoder_of(stream: VideoStream) -> Encoder:
    """Return a new encoder with the settings of a stream."""
    return Encoder(
        width=stream.width,
        height=stream.height,
        gop=stream.gop,
        crf=stream.crf,
        rate=rate_fraction(stream.rate_hz),
        encoder=LOSSLESS if stream.codec == "lossless" else stream.encoder,
    )


def unspill(stream: VideoStream, payload: bytes) -> NDArray[np.uint8]:
    """Return the frame of a SPILLED record."""
    if payload.startswith(b"\xff\xd8\xff"):
        return images.decode_jpeg(payload, stream.frame_shape)
    return images.unpack(payload, stream.frame_shape)


class CameraEncoder:
    """Queue and encoder thread of one camera."""

    def __init__(
        self, stream: ImageStream, journal: Journal, index: int, note: Note, back_pressure: BackPressure
    ) -> None:
        """Start the thread.

        Args:
            stream: The camera's stream.
            journal: The episode's journal.
            index: Number of the stream in the journal.
            note: Records an event.
            back_pressure: What happens when the encoder falls behind.
        """
        self._stream, self._journal, self._index, self._note = stream, journal, index, note
        self._wait = back_pressure == "wait"
        self._queue: queue.Queue[QueuedFrame | None] = queue.Queue(max(2, int(QUEUE_S * stream.rate_hz)))
        self._spill_at = max(1, int(SPILL_S * stream.rate_hz))
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._previous: Image | None = None
        self._decoder = LiveDecoder()
        self._thread = threading.Thread(target=self._run, name=f"encode {stream.name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Number of frames in the queue."""
        return self._queue.qsize()

    def put(self, frame: QueuedFrame) -> bool:
        """Queue a frame and return True, or return False if the queue is full; raise the error of a failed encoder."""
        if self._error is not None:
            raise self._error
        if self._wait:
            self._queue.put(frame)
            return True
        try:
            self._queue.put_nowait(frame)
        except queue.Full:
            return False
        return True

    def finish(self) -> BaseException | None:
        """Wait until all frames are in the journal and the thread has stopped; return the error of a failed encoder."""
        self._queue.put(None)
        self._thread.join()
        return self._error

    def abandon(self) -> None:
        """Stop the thread and discard the frames in the queue."""
        self._abandoned.set()
        self.finish()

    def _run(self) -> None:
        """Encode frames until None arrives. After a failure the queue is still emptied, so `finish` does not block."""
        try:
            if isinstance(self._stream, VideoStream) and self._stream.codec != "jpeg":
                self._encode_groups(self._stream)
            else:
                self._encode_frames(self._stream)
        except BaseException as error:
            LOG.error("%s: the encoder failed: %s", self._stream.name, error)
            self._error = error
            while self._queue.get() is not None:
                pass

    def _next(self) -> Frame | None:
        """Return the next frame; None after the last one."""
        while (frame := self._queue.get()) is not None:
            if not self._abandoned.is_set() and (decoded := self._decoded(frame)) is not None:
                return decoded
        return None

    def _decoded(self, frame: QueuedFrame) -> Frame | None:
        """Return a frame without H.264; None for one that cannot be decoded, whose loss is recorded."""
        if not isinstance(frame.image, AccessUnit):
            return Frame(frame.image, frame.stamps)
        try:
            rgb = self._decoder.decode(frame.image)
            if rgb.shape != self._stream.frame_shape:
                found, expected = rgb.shape, self._stream.frame_shape
                raise ImageError(f"an image of {found[1]}x{found[0]}, expected {expected[1]}x{expected[0]}")
        except ImageError as error:
            self._drop(frame, str(error))
            return None
        return Frame(rgb, frame.stamps)

    # JPEG and depth: one frame per chunk

    def _encode_frames(self, stream: ImageStream) -> None:
        every = max(1, round(SAMPLE_EVERY_S * stream.rate_hz))
        count = 0
        while (frame := self._next()) is not None:
            repeated = self._is_repeated(frame.image)
            try:
                payload, rgb = self._encode_frame(stream, frame.image, sample=count % every == 0)
            except ImageError as error:
                self._drop(frame, str(error))
                continue
            flags = Flag.KEY | Flag.REPEATED * repeated
            self._journal.append(Kind.FRAME, stream=self._index, flags=flags, payload=payload, **frame.stamps)
            if rgb is not None:
                self._sample(rgb, frame)
            count += 1

    @staticmethod
    def _encode_frame(stream: ImageStream, image: Image, *, sample: bool) -> tuple[bytes, NDArray[np.uint8] | None]:
        """Return a frame's chunk, and its pixels if the frame is sampled."""
        if isinstance(stream, DepthStream):
            return images.encode_depth(np.asarray(image, np.uint16)), None
        if isinstance(image, bytes):
            images.check_jpeg_size(image, stream.frame_shape)
            return image, images.decode_jpeg(image, stream.frame_shape) if sample else None
        rgb = np.asarray(image, np.uint8)
        return images.encode_jpeg(rgb), rgb if sample else None

    # H.264: groups of pictures

    def _encode_groups(self, stream: VideoStream) -> None:
        encoder = encoder_of(stream)
        waiting: list[tuple[Frame, NDArray[np.uint8], bool]] = []
        count, spilling = 0, False
        while (frame := self._next()) is not None:
            if count % stream.gop == 0:
                # Not while frames are inside the encoder: the journal preserves the order of arrival.
                behind = not self._wait and not waiting and self._queue.qsize() >= self._spill_at
                if behind and not spilling:
                    self._note_spilling(frame)
                spilling = behind
            repeated = self._is_repeated(frame.image)
            try:
                if spilling:
                    self._spill(stream, frame, repeated, key=count % stream.gop == 0)
                else:
                    rgb = self._pixels(stream, frame.image)
                    waiting.append((frame, rgb, repeated))
                    self._write(encoder.encode(rgb), waiting)
            except ImageError as error:
                self._drop(frame, str(error))
                continue
            count += 1
        if not self._abandoned.is_set():
            self._write(encoder.flush(), waiting)

    def _spill(self, stream: VideoStream, frame: Frame, repeated: bool, *, key: bool) -> None:
        """Write a frame to the journal that is encoded on finalizing: as a JPEG, or packed for a lossless stream."""
        image = frame.image
        if isinstance(image, bytes):
            images.check_jpeg_size(image, stream.frame_shape)
            payload = image
        elif stream.codec == "lossless":
            payload = images.pack(np.asarray(image, np.uint8))
        else:
            payload = images.encode_jpeg(np.asarray(image, np.uint8))
        flags = Flag.KEY * key | Flag.REPEATED * repeated
        self._journal.append(Kind.SPILLED, stream=self._index, flags=flags, payload=payload, **frame.stamps)
        if key:
            self._sample(self._pixels(stream, image), frame)

    def _write(self, packets: list[Packet], waiting: list[tuple[Frame, NDArray[np.uint8], bool]]) -> None:
        """Write packets with the stamps of their frames, and a histogram for each key frame."""
        for packet in packets:
            frame, rgb, repeated = waiting.pop(0)
            flags = Flag.KEY * packet.key | Flag.REPEATED * repeated
            self._journal.append(Kind.FRAME, stream=self._index, flags=flags, payload=packet.data, **frame.stamps)
            if packet.key:
                self._sample(rgb, frame)

    # Both

    @staticmethod
    def _pixels(stream: VideoStream, image: Image) -> NDArray[np.uint8]:
        return images.decode_jpeg(image, stream.frame_shape) if isinstance(image, bytes) else np.asarray(image, "u1")

    def _is_repeated(self, image: Image) -> bool:
        """Return whether a frame equals the previous one in every pixel."""
        previous, self._previous = self._previous, image
        return previous is not None and images.equal_images(previous, image)

    def _sample(self, rgb: NDArray[np.uint8], frame: Frame) -> None:
        counts = histograms.histogram(rgb).tobytes()
        self._journal.append(Kind.HISTOGRAM, stream=self._index, payload=counts, **frame.stamps)

    def _drop(self, frame: Frame | QueuedFrame, reason: str) -> None:
        """Record the loss of a frame that cannot be stored."""
        LOG.error("%s: dropped frame %d: %s", self._stream.name, frame.stamps["sequence"], reason)
        self._journal.append(Kind.DROPPED, stream=self._index, **frame.stamps)
        text = f"{self._stream.name}: {reason}"
        self._note("dropped", text, at_ns=frame.stamps["receipt_ns"], stream=self._stream.name)

    def _note_spilling(self, frame: Frame) -> None:
        text = f"{self._stream.name}: encoder falling behind: buffering frames, they will be encoded on save"
        LOG.warning("%s", text)
        self._note("quality_lowered", text, at_ns=frame.stamps["receipt_ns"], stream=self._stream.name)
