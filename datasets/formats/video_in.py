"""An episode's pictures in a video file of another dataset: as H.264 that can be copied, or decoded.

A file may hold many episodes one after another; one of them is a number of frames from an instant on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.cameras_in import PacketRun
from waldo.datasets.formats.source import SourceError
from waldo.datasets.video import h264
from waldo.datasets.video.h264 import NAL_IDR, NAL_PPS, NAL_SPS, START_CODE, Packet
from waldo.errors import FileError

LONGEST_GOP = 60
"""Pictures a group up to which H.264 is copied: a picture at its end costs so many to be decoded."""

BT601 = (2, 5, 6)
"""FFmpeg's numbers of colour spaces that are BT.601, or not stated and taken for it as everywhere in the store."""

FULL_RANGE = 2
"""FFmpeg's number of colours that use all values from 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFile:
    """One episode's part of a video file."""

    path: Path
    """The file."""
    start_s: float
    """Where the episode begins in it [s]."""
    count: int
    """Pictures of the episode."""
    fps: float
    """Pictures a second [Hz]."""

    def probe(self) -> tuple[str, int, int]:
        """Return codec, height and width [px]."""
        with self._open() as (_, stream):
            context = stream.codec_context
            return str(stream.codec.canonical_name), int(context.height), int(context.width)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Decode the pictures, uint8 (H, W, 3)."""
        expected = 0
        with self._open() as (container, stream):
            self._seek(container, stream)
            for frame in container.decode(stream):
                number = self._number(frame.time)
                if number < 0:
                    continue
                if number >= self.count:
                    break
                if number != expected:
                    raise self._missing(expected)
                yield rgb_of(frame)
                expected += 1
        if expected != self.count:
            raise self._missing(expected)

    def packet_run(self) -> PacketRun | None:
        """Return the pictures as H.264 that the store can hold; None where it is another codec or has other groups."""
        with self._open() as (_, stream):
            kind = kind_of(str(stream.codec.canonical_name), stream.codec_context)
        if kind is None:
            return None
        keys: list[bool] = []
        for number, packet in self._demuxed():
            if number != len(keys):
                # Pictures in another order than they are shown in: B-frames.
                return None
            keys.append(packet.key)
        if len(keys) != self.count:
            raise self._missing(len(keys))
        return packet_run(kind, keys, self.packets)

    def packets(self) -> Iterator[Packet]:
        """Yield the packets of the pictures."""
        for _, packet in self._demuxed():
            yield packet

    def _demuxed(self) -> Iterator[tuple[int, Packet]]:
        """Yield the packets of H.264, each with the number of its picture."""
        with self._open() as (container, stream):
            sets, length = parameter_sets(stream.codec_context.extradata or b"")
            self._seek(container, stream)
            for packet in container.demux(stream):
                number = -1 if packet.pts is None else self._number(float(packet.pts * packet.time_base))
                if number >= self.count:
                    break
                if number >= 0:
                    yield number, to_annex_b(bytes(packet), length, sets)

    def _number(self, at_s: float | None) -> int:
        """Return which picture of the episode is shown at an instant of the file."""
        return -1 if at_s is None else round((at_s - self.start_s) * self.fps)

    def _seek(self, container: Any, stream: Any) -> None:
        begin_s = self.start_s - 0.5 / self.fps
        if begin_s > 0:
            container.seek(int(begin_s / stream.time_base), stream=stream)

    def _missing(self, number: int) -> FileError:
        return FileError(self.path, f"lacks picture {number} of {self.count} from {self.start_s:.3f} s on")

    @contextmanager
    def _open(self) -> Generator[tuple[Any, Any]]:
        try:
            with av.open(str(self.path)) as container:
                stream: Any = next(iter(container.streams.video), None)
                if stream is None or stream.codec_context is None:
                    raise FileError(self.path, "has no video that can be decoded", "fetch the file again")
                yield container, stream
        except FileNotFoundError as error:
            raise FileError(self.path, "is missing", "fetch the whole dataset") from error
        except (av.FFmpegError, ValueError) as error:
            raise FileError(self.path, f"cannot be decoded ({error})", "fetch the file again") from error


def kind_of(codec: str, pictures: Any) -> Literal["h264", "lossless"] | None:
    """Return which of the store's kinds of H.264 a video is; None where it is none of them.

    `pictures` is a picture or a stream of FFmpeg: what has a format, a size and colours.
    """
    if codec != "h264" or pictures.format is None:
        return None
    if pictures.format.name == "gbrp":
        return "lossless"
    plain = pictures.format.name == "yuv420p" and _is_stores(pictures)
    return "h264" if plain and pictures.width % 2 == pictures.height % 2 == 0 else None


def _is_stores(pictures: Any) -> bool:
    """Whether colours are coded as everywhere in the store: BT.601 in video range."""
    return pictures.color_range != FULL_RANGE and pictures.colorspace in BT601


def packet_run(
    kind: Literal["h264", "lossless"],
    keys: Sequence[bool],
    packets: Callable[[], Iterator[Packet]],
    told_gop: int = 0,
) -> PacketRun | None:
    """Return packets as a run of groups of one length; None where no length up to LONGEST_GOP fits.

    `keys` says which of them decode on their own. A length that is told goes before the shortest that fits.
    """
    lengths = range(1, min(LONGEST_GOP, len(keys)) + 1)
    gop = next((n for n in (*([told_gop] if told_gop > 0 else ()), *lengths) if all(keys[::n])), 0)
    return PacketRun(codec=kind, gop=gop, packets=packets) if gop else None


def parameter_sets(extradata: bytes) -> tuple[bytes, int]:
    """Return SPS and PPS (Annex B) and the bytes of a unit's length, of an avcC box (ISO/IEC 14496-15, 5.3.3.1).

    Length 0: the stream is Annex B already and brings its own.
    """
    if len(extradata) < 7 or extradata[0] != 1:
        return b"", 0
    sets, at = b"", 5
    for mask in (31, 255):
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            sets += START_CODE + extradata[at + 2 : at + 2 + size]
            at += 2 + size
        if at >= len(extradata):
            break
    return sets, (extradata[4] & 3) + 1


def to_annex_b(sample: bytes, length: int, sets: bytes) -> Packet:
    """Return a picture as the store keeps it, parameter sets before each that decodes on its own."""
    units = list(h264.nal_units(sample)) if not length else list(_units(sample, length))
    kinds = {unit[0] & 31 for unit in units if unit}
    key = NAL_IDR in kinds
    own = {NAL_SPS, NAL_PPS} <= kinds
    data = b"".join(START_CODE + unit for unit in units)
    return Packet(sets + data if key and not own else data, key)


def _units(sample: bytes, length: int) -> Iterator[bytes]:
    """Yield the NAL units of an MP4 sample."""
    at = 0
    while at + length <= len(sample):
        size = int.from_bytes(sample[at : at + length], "big")
        unit = sample[at + length : at + length + size]
        if not unit or len(unit) != size:
            raise ValueError(f"a NAL unit of {size} bytes in a sample of {len(sample)}")
        yield unit
        at += length + size


def rgb_of(frame: Any) -> NDArray[np.uint8]:
    """Return a decoded picture's colours, uint8 (H, W, 3); what states no colour space is BT.601, as in the store."""
    import cv2

    if frame.format.name == "yuv420p" and _is_stores(frame) and frame.width % 2 == frame.height % 2 == 0:
        return np.asarray(cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420), np.uint8)
    return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def probe_packets(codec: str, packet: Packet) -> tuple[Literal["h264", "lossless"] | None, int, int]:
    """Return which of the store's kinds of H.264 packets are (None: none), and their height and width [px]."""
    frame = next(_decoded(_decoder(codec), [packet]), None)
    if frame is None:
        raise SourceError("video", "its first picture cannot be decoded")
    return kind_of(codec, frame), int(frame.height), int(frame.width)


def decode_all(codec: str, packets: Iterable[Packet]) -> Iterator[NDArray[np.uint8]]:
    """Decode packets that lie in no container, uint8 (H, W, 3) each."""
    for frame in _decoded(_decoder(codec), packets):
        yield rgb_of(frame)


def _decoder(codec: str) -> Any:
    names = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "libdav1d"}
    if codec not in names:
        raise SourceError("video", f"is {codec!r}, expected one of {', '.join(names)}")
    context: Any = av.CodecContext.create(names[codec], "r")
    return context


def _decoded(context: Any, packets: Iterable[Packet]) -> Iterator[Any]:
    try:
        for packet in packets:
            yield from context.decode(av.Packet(packet.data))
        yield from context.decode(None)
    except av.FFmpegError as error:
        raise SourceError("video", f"the decoder refuses it ({error})") from error
