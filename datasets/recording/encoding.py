"""One camera while it is recorded: a short queue, and the thread that encodes it into the journal.

Encoding never holds a subscription back. When the encoder falls behind, its thread puts the next whole group of
pictures into the journal cheaply packed, and sealing encodes them; only when even that is too slow a frame is dropped.
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

from waldo.datasets.recording.journal import Flag, Journal, Kind
from waldo.datasets.recording.stamps import Stamps
from waldo.datasets.streams import DepthStream, ImageStream, VideoStream
from waldo.datasets.video import histograms, images
from waldo.datasets.video.encoders import LOSSLESS
from waldo.datasets.video.h264 import Encoder, Packet
from waldo.datasets.video.mp4shard import rate_fraction

LOG = logging.getLogger("waldo.datasets")

QUEUE_S = 0.35
"""So much of a camera may wait for its encoder [s]. With the journal's sync, less than the 0.5 s that may be lost."""

SPILL_S = 0.15
"""When so much waits as a group of pictures begins, the group is packed cheaply [s]."""

SAMPLE_EVERY_S = 0.5
"""Statistics of pictures that need no decoding here are taken from one in so long [s]."""

type BackPressure = Literal["spill", "wait"]
"""When an encoder falls behind: spill in real time; in simulated time the caller waits, and every run is the same."""

type Image = NDArray[np.uint8] | NDArray[np.uint16] | bytes
"""A frame as it is handed over: pixels, or a JPEG."""

type Note = Callable[..., None]
"""EpisodeWriter.event: kind, text, at_ns, detail."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame on its way to the encoder."""

    image: Image
    stamps: Stamps


def encoder_of(stream: VideoStream) -> Encoder:
    """Return a new encoder with a stream's settings."""
    return Encoder(
        width=stream.width,
        height=stream.height,
        gop=stream.gop,
        crf=stream.crf,
        rate=rate_fraction(stream.rate_hz),
        encoder=LOSSLESS if stream.codec == "lossless" else stream.encoder,
    )


def unspill(stream: VideoStream, payload: bytes) -> NDArray[np.uint8]:
    """Return the frame of a spilled record."""
    if payload.startswith(b"\xff\xd8\xff"):
        return images.decode_jpeg(payload, stream.frame_shape)
    return images.unpack(payload, stream.frame_shape)


class CameraEncoder:
    """One camera's queue and thread."""

    def __init__(
        self, stream: ImageStream, journal: Journal, index: int, note: Note, back_pressure: BackPressure
    ) -> None:
        """Take the stream, the journal and the stream's number in it, who is told what happens, and what to do then."""
        self._stream, self._journal, self._index, self._note = stream, journal, index, note
        self._wait = back_pressure == "wait"
        self._queue: queue.Queue[Frame | None] = queue.Queue(max(2, int(QUEUE_S * stream.rate_hz)))
        self._spill_at = max(1, int(SPILL_S * stream.rate_hz))
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._before: Image | None = None
        self._thread = threading.Thread(target=self._run, name=f"encode {stream.name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many frames wait."""
        return self._queue.qsize()

    def put(self, frame: Frame) -> bool:
        """Queue a frame; False if there is no room for it. Raises what stopped the encoder."""
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
            if isinstance(self._stream, VideoStream) and self._stream.codec != "jpeg":
                self._encode_groups(self._stream)
            else:
                self._encode_alone(self._stream)
        except BaseException as error:
            LOG.error("%s: the encoder has stopped: %s", self._stream.name, error)
            self._error = error
            while self._queue.get() is not None:
                pass

    def _next(self) -> Frame | None:
        """Return the next frame; None when there is none any more. A picture that cannot be decoded is a loss."""
        while (frame := self._queue.get()) is not None:
            if not self._abandoned.is_set():
                return frame
        return None

    # one frame a chunk: JPEG and depth

    def _encode_alone(self, stream: ImageStream) -> None:
        every = max(1, round(SAMPLE_EVERY_S * stream.rate_hz))
        taken = 0
        while (frame := self._next()) is not None:
            repeated = self._is_repeated(frame.image)
            try:
                payload, rgb = self._alone(stream, frame.image, sample=taken % every == 0)
            except images.PictureError as error:
                self._drop(frame, str(error))
                continue
            flags = Flag.KEY | Flag.REPEATED * repeated
            self._journal.append(Kind.FRAME, stream=self._index, flags=flags, payload=payload, **frame.stamps)
            if rgb is not None:
                self._sample(rgb, frame)
            taken += 1

    @staticmethod
    def _alone(stream: ImageStream, image: Image, *, sample: bool) -> tuple[bytes, NDArray[np.uint8] | None]:
        """Return a frame's chunk, and its pixels where its statistics are wanted."""
        if isinstance(stream, DepthStream):
            return images.encode_depth(np.asarray(image, np.uint16)), None
        if isinstance(image, bytes):
            images.need_size(image, stream.frame_shape)
            return image, images.decode_jpeg(image, stream.frame_shape) if sample else None
        rgb = np.asarray(image, np.uint8)
        return images.encode_jpeg(rgb), rgb if sample else None

    # groups of pictures: H.264

    def _encode_groups(self, stream: VideoStream) -> None:
        encoder = encoder_of(stream)
        waiting: list[tuple[Frame, NDArray[np.uint8], bool]] = []
        count, spilling = 0, False
        while (frame := self._next()) is not None:
            if count % stream.gop == 0:
                # Not while the encoder still holds pictures: the journal keeps the order of arrival.
                behind = not self._wait and not waiting and self._queue.qsize() >= self._spill_at
                if behind and not spilling:
                    self._tell_spilling(frame)
                spilling = behind
            repeated = self._is_repeated(frame.image)
            try:
                if spilling:
                    self._spill(stream, frame, repeated, key=count % stream.gop == 0)
                else:
                    rgb = self._pixels(stream, frame.image)
                    waiting.append((frame, rgb, repeated))
                    self._write(encoder.encode(rgb), waiting)
            except images.PictureError as error:
                self._drop(frame, str(error))
                continue
            count += 1
        if not self._abandoned.is_set():
            self._write(encoder.flush(), waiting)

    def _spill(self, stream: VideoStream, frame: Frame, repeated: bool, *, key: bool) -> None:
        """Put a frame into the journal for sealing to encode: a JPEG as it came or is made, or packed without loss."""
        image = frame.image
        if isinstance(image, bytes):
            images.need_size(image, stream.frame_shape)
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
        """Write packets with the stamps of the frames that they are of, and a histogram beside each key frame."""
        for packet in packets:
            frame, rgb, repeated = waiting.pop(0)
            flags = Flag.KEY * packet.key | Flag.REPEATED * repeated
            self._journal.append(Kind.FRAME, stream=self._index, flags=flags, payload=packet.data, **frame.stamps)
            if packet.key:
                self._sample(rgb, frame)

    # what both need

    @staticmethod
    def _pixels(stream: VideoStream, image: Image) -> NDArray[np.uint8]:
        return images.decode_jpeg(image, stream.frame_shape) if isinstance(image, bytes) else np.asarray(image, "u1")

    def _is_repeated(self, image: Image) -> bool:
        """Say whether a frame is the one before again, in every pixel."""
        before, self._before = self._before, image
        if before is None or isinstance(before, bytes) != isinstance(image, bytes):
            return False
        if isinstance(image, bytes):
            return before == image
        # Cameras are noisy: a few rows tell almost every pair apart, at a fraction of the cost.
        few = np.s_[:: max(1, len(image) // 8)]
        return np.array_equal(before[few], image[few]) and np.array_equal(before, image)  # type: ignore[index]

    def _sample(self, rgb: NDArray[np.uint8], frame: Frame) -> None:
        counts = histograms.histogram(rgb).tobytes()
        self._journal.append(Kind.HISTOGRAM, stream=self._index, payload=counts, **frame.stamps)

    def _drop(self, frame: Frame, why: str) -> None:
        """Note a frame that came and cannot be kept."""
        LOG.error("%s: frame %d is lost: %s", self._stream.name, frame.stamps["sequence"], why)
        self._journal.append(Kind.DROPPED, stream=self._index, **frame.stamps)
        self._note("dropped", f"{self._stream.name}: {why}", at_ns=frame.stamps["receipt_ns"], stream=self._stream.name)

    def _tell_spilling(self, frame: Frame) -> None:
        text = f"{self._stream.name}: the encoder is behind: frames are kept as they are and encoded when saving"
        LOG.warning("%s", text)
        self._note("quality_lowered", text, at_ns=frame.stamps["receipt_ns"], stream=self._stream.name)
