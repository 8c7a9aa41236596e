"""Pictures from a foreign dataset as a stream of the store: copied where the store can hold their bytes, else encoded.

`auto` loses nothing, but for video in a codec that the store does not know: that is decoded and encoded as H.264, and
the loss is measured on a few frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.formats.rows_in import Times
from waldo.datasets.formats.source import ImportConfig, SourceError, Tally
from waldo.datasets.recording.encoding import SAMPLE_EVERY_S, Image
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import DepthStream, ImageStream, VideoStream
from waldo.datasets.video import decoder, h264, images
from waldo.datasets.video.h264 import Packet

SMALLEST = 16
"""Pixels a side that a picture needs to be kept."""

MEASURED = 8
"""Frames of an episode's camera on which the loss is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """H.264 that the store can hold as it is."""

    codec: Literal["h264", "lossless"]
    """Which of the store's kinds it is."""
    gop: int
    """Pictures a group; every group begins with a picture that decodes on its own."""
    packets: Callable[[], Iterator[Packet]]
    """Yields one a picture, in their order. Any may be a key; the first of each group must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """The pictures of one camera in one episode of a source."""

    name: str
    """Name of the stream."""
    height: int
    """Pixels down."""
    width: int
    """Pixels across."""
    rate_hz: float
    """Pictures a second [Hz]."""
    header_ns: Times
    """The publisher's stamps, one a picture [ns]."""
    receipt_ns: Times | None = None
    """The recorder's stamps; None: as the publisher's."""
    holds: str
    """What the source holds, for people: "av1", "png", "raw pixels"."""
    kind: Literal["pixels", "jpeg", "video", "depth"]
    """Exact colours, JPEGs, colours that a codec has changed already, or depth."""
    images: Callable[[], Iterator[Image]]
    """Yields the pictures: uint8 (H, W, 3), a JPEG, or for depth uint16 (H, W)."""
    run: Run | None = None
    """The same as H.264, where the store can hold that."""
    unit_m: float = 0.001
    """Of depth: length of a step of a pixel's value [m]."""

    def stream(self, config: ImportConfig) -> ImageStream:
        """Return the description of the stream that these pictures become."""
        size: Any = {"name": self.name, "width": self.width, "height": self.height, "rate_hz": self.rate_hz}
        if self.kind == "depth":
            return DepthStream(**size, unit_m=self.unit_m)
        if self.run is not None and self.copies(config):
            return VideoStream(**size, codec=self.run.codec, gop=self.run.gop, crf=config.crf)
        natural = {"pixels": "lossless", "jpeg": "jpeg", "video": "h264"}[self.kind]
        codec: Any = natural if config.codec == "auto" else config.codec
        if codec == "h264" and self.is_odd:
            codec = "lossless"
        return VideoStream(**size, codec=codec, crf=config.crf)

    @property
    def is_odd(self) -> bool:
        """Whether the size is none that H.264 with colours at half resolution can have."""
        return bool(self.width % 2 or self.height % 2)

    def copies(self, config: ImportConfig) -> bool:
        """Whether H.264 is taken over as it is."""
        return self.run is not None and config.codec in ("auto", self.run.codec)

    def notes(self, config: ImportConfig) -> list[str]:
        """Say where the pictures become another kind than was asked for."""
        asked = "h264" in (config.codec, "h264" if self.kind == "video" and config.codec == "auto" else "")
        if asked and self.is_odd and not self.copies(config) and self.kind != "depth":
            size = f"{self.width}x{self.height}"
            return [f"{self.name}: {size} is an odd size, which h264 cannot have; it is kept without loss instead."]
        return []

    def write(self, writer: EpisodeWriter, tally: Tally, config: ImportConfig) -> None:
        """Write every picture."""
        if self.run is not None and self.copies(config):
            self._copy(writer, tally, self.run)
        else:
            self._encode(writer, tally)

    def _copy(self, writer: EpisodeWriter, tally: Tally, run: Run) -> None:
        """Write the packets; now and then one is decoded for the statistics, which also finds what is no picture."""
        every = max(1, round(SAMPLE_EVERY_S * self.rate_hz / run.gop)) * run.gop
        packets = run.packets()
        for number, stamps in enumerate(self._stamps()):
            packet = next(packets, None)
            if packet is None:
                raise SourceError(self.name, f"holds {number} pictures, expected {len(self.header_ns)}")
            # A key inside a group is harmless; the store marks the first of each.
            writer.packet(self.name, packet=Packet(packet.data, number % run.gop == 0), **stamps)
            if number % every == 0:
                writer.sample(self.name, self._decoded(number, packet))
        tally.copied += len(self.header_ns)

    def _decoded(self, number: int, packet: Packet) -> NDArray[np.uint8]:
        try:
            return decoder.decode(h264.to_sample(packet.data), [0], (self.height, self.width))[0]
        except (ValueError, IndexError) as error:
            raise SourceError(self.name, f"picture {number} cannot be decoded ({error})") from error

    def _encode(self, writer: EpisodeWriter, tally: Tally) -> None:
        """Hand over the pictures to be encoded, and keep a few of those that lose something."""
        stream = writer.streams[self.name]
        codec = stream.codec if isinstance(stream, VideoStream) else "depth"
        measured = {round(at) for at in np.linspace(0, len(self.header_ns) - 1, MEASURED)}
        frames = self.images()
        for number, stamps in enumerate(self._stamps()):
            image = next(frames, None)
            if image is None:
                raise SourceError(self.name, f"holds {number} pictures, expected {len(self.header_ns)}")
            same = isinstance(image, bytes) and codec == "jpeg"
            if not same and codec in ("h264", "jpeg"):
                tally.lossy[self.name] = self.holds
                if number in measured:
                    with suppress(images.ImageError):  # the encoder says that it is lost
                        tally.originals.setdefault(self.name, {})[number] = self._rgb(image)
            tally.copied, tally.encoded = tally.copied + same, tally.encoded + (not same)
            writer.frame(self.name, image=image, **stamps)

    def _rgb(self, image: Image) -> NDArray[np.uint8]:
        if isinstance(image, bytes):
            return images.decode_jpeg(image, (self.height, self.width, 3))
        return np.asarray(image, np.uint8)

    def _stamps(self) -> Iterator[dict[str, Any]]:
        receipt = self.header_ns if self.receipt_ns is None else self.receipt_ns
        for header_ns, receipt_ns in zip(self.header_ns.tolist(), receipt.tolist(), strict=True):
            yield {"header_ns": header_ns, "receipt_ns": receipt_ns, "sequence": -1}


def too_small(name: str, height: int, width: int) -> str:
    """Return a note where pictures are too small to be kept; empty where they are not."""
    if min(height, width) >= SMALLEST:
        return ""
    return f"{name}: pictures of {width}x{height} are left out; the store's have {SMALLEST} pixels a side or more."


def losses_db(episode: Episode, tally: Tally) -> dict[str, float]:
    """Return the signal-to-noise ratio of each camera that lost something, over the frames that were kept [dB]."""
    found: dict[str, float] = {}
    for name in tally.lossy:
        originals = tally.originals.get(name, {})
        # Behind a picture that is lost, others have its number.
        if originals and not episode.lost(name):
            stored = episode.frames(name, originals)
            found[name] = psnr_db(np.stack(list(originals.values())), stored)
    return found


def psnr_db(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the peak signal-to-noise ratio of two sets of pictures [dB]; infinite where they are the same."""
    square = float(np.mean(np.square(a.astype(np.float64) - b)))
    return float("inf") if square == 0 else 10 * float(np.log10(255**2 / square))
