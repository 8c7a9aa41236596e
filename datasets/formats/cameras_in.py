"""Images of another dataset as an image stream of the store.

Encoded bytes that the store can hold are copied; everything else is encoded. With `--codec auto` the only lossy case is
video in a codec that the store does not support: it is encoded as H.264, and the loss is measured on a few frames.
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
from waldo.datasets.formats.source import ImportConfig, ImportStats, SourceError
from waldo.datasets.recording.encoding import SAMPLE_EVERY_S, Image
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.streams import DepthStream, ImageStream, VideoStream
from waldo.datasets.video import decoder, h264, images
from waldo.datasets.video.h264 import Packet
from waldo.errors import ImageError

SMALLEST = 16
"""Smallest image side that the store keeps [px]."""

MEASURED = 8
"""Number of frames per camera and episode on which the loss is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketRun:
    """H.264 packets that the store can hold unchanged."""

    codec: Literal["h264", "lossless"]
    """Codec of the store."""
    gop: int
    """Number of frames per group of pictures; the first frame of each group is a key frame."""
    packets: Callable[[], Iterator[Packet]]
    """Yields one packet per frame, in display order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCamera:
    """The images of one camera in one episode of a source."""

    name: str
    """Stream name."""
    height: int
    """Image height [px]."""
    width: int
    """Image width [px]."""
    rate_hz: float
    """Nominal frame rate [Hz]."""
    header_ns: Times
    """Publisher timestamp of each frame [ns]."""
    receipt_ns: Times | None = None
    """Receipt timestamp of each frame [ns]; None if equal to `header_ns`."""
    encoding: str
    """Encoding in the source, for messages: "av1", "png", "raw pixels"."""
    kind: Literal["pixels", "jpeg", "video", "depth"]
    """Exact colors, JPEG, colors decoded from a lossy video, or depth."""
    images: Callable[[], Iterator[Image]]
    """Yields the images: uint8 (H, W, 3), JPEG bytes, or uint16 (H, W) for depth."""
    run: PacketRun | None = None
    """The same frames as H.264 packets, if the store can hold them."""
    unit_m: float = 0.001
    """Length of one step of a depth value [m]."""

    def stream(self, config: ImportConfig) -> ImageStream:
        """Return the description of the image stream."""
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
        """Whether a side has an odd length, which H.264 with 4:2:0 chroma subsampling does not support."""
        return bool(self.width % 2 or self.height % 2)

    def copies(self, config: ImportConfig) -> bool:
        """Whether the H.264 packets are copied."""
        return self.run is not None and config.codec in ("auto", self.run.codec)

    def notes(self, config: ImportConfig) -> list[str]:
        """Return a note if the images are stored with another codec than requested."""
        asked = "h264" in (config.codec, "h264" if self.kind == "video" and config.codec == "auto" else "")
        if asked and self.is_odd and not self.copies(config) and self.kind != "depth":
            size = f"{self.width}x{self.height}"
            return [f"{self.name}: h264 does not support the odd size {size}; the images are stored without loss."]
        return []

    def write(self, writer: EpisodeWriter, stats: ImportStats, config: ImportConfig) -> None:
        """Write all frames."""
        if self.run is not None and self.copies(config):
            self._copy(writer, stats, self.run)
        else:
            self._encode(writer, stats)

    def _copy(self, writer: EpisodeWriter, stats: ImportStats, run: PacketRun) -> None:
        """Copy the packets. Some are decoded for the image statistics, which also detects damaged packets."""
        every = max(1, round(SAMPLE_EVERY_S * self.rate_hz / run.gop)) * run.gop
        packets = run.packets()
        for number, stamps in enumerate(self._stamps()):
            packet = next(packets, None)
            if packet is None:
                raise SourceError(self.name, f"the video has {number} frames, expected {len(self.header_ns)}")
            # A key frame inside a group is harmless; the store marks the first frame of each group.
            writer.packet(self.name, packet=Packet(packet.data, number % run.gop == 0), **stamps)
            if number % every == 0:
                writer.sample(self.name, self._decoded(number, packet))
        stats.copied += len(self.header_ns)

    def _decoded(self, number: int, packet: Packet) -> NDArray[np.uint8]:
        try:
            return decoder.decode(h264.to_sample(packet.data), [0], (self.height, self.width))[0]
        except (ValueError, IndexError) as error:
            raise SourceError(self.name, f"frame {number} cannot be decoded ({error})") from error

    def _encode(self, writer: EpisodeWriter, stats: ImportStats) -> None:
        """Encode the images and keep a few originals of a lossy encoding for `losses_db`."""
        stream = writer.streams[self.name]
        codec = stream.codec if isinstance(stream, VideoStream) else "depth"
        measured = {round(at) for at in np.linspace(0, len(self.header_ns) - 1, MEASURED)}
        frames = self.images()
        for number, stamps in enumerate(self._stamps()):
            image = next(frames, None)
            if image is None:
                raise SourceError(self.name, f"the source has {number} images, expected {len(self.header_ns)}")
            same = isinstance(image, bytes) and codec == "jpeg"
            if not same and codec in ("h264", "jpeg"):
                stats.lossy[self.name] = self.encoding
                if number in measured:
                    with suppress(ImageError):  # The encoder reports the lost frame.
                        stats.originals.setdefault(self.name, {})[number] = self.plain(image)
            stats.copied, stats.encoded = stats.copied + same, stats.encoded + (not same)
            writer.frame(self.name, image=image, **stamps)

    def plain(self, image: Image) -> NDArray[Any]:
        """Return an image as pixels."""
        if isinstance(image, bytes):
            return images.decode_jpeg(image, (self.height, self.width, 3))
        return np.asarray(image)

    def _stamps(self) -> Iterator[dict[str, Any]]:
        receipt = self.header_ns if self.receipt_ns is None else self.receipt_ns
        for header_ns, receipt_ns in zip(self.header_ns.tolist(), receipt.tolist(), strict=True):
            yield {"header_ns": header_ns, "receipt_ns": receipt_ns, "sequence": -1}


def size_note(name: str, height: int, width: int) -> str:
    """Return a note if images are too small to be imported, otherwise an empty string."""
    if min(height, width) >= SMALLEST:
        return ""
    return f"{name}: {width}x{height} images are not imported; the smallest supported side is {SMALLEST} pixels."


def losses_db(episode: Episode, stats: ImportStats) -> dict[str, float]:
    """Return the peak signal-to-noise ratio of each lossily encoded camera, over the kept originals [dB]."""
    found: dict[str, float] = {}
    for name in stats.lossy:
        originals = stats.originals.get(name, {})
        # After a lost frame the numbers of source and store differ.
        if originals and not episode.lost(name):
            stored = episode.frames(name, originals)
            found[name] = psnr_db(np.stack(list(originals.values())), stored)
    return found


def psnr_db(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the peak signal-to-noise ratio between two sets of images [dB]; infinite if they are equal."""
    square = float(np.mean(np.square(a.astype(np.float64) - b)))
    return float("inf") if square == 0 else 10 * float(np.log10(255**2 / square))
