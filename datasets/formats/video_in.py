"""Read the frames of one episode from a video file: copy H.264 packets, or decode any codec.

A file may contain several episodes one after another; an episode is a number of frames from a start time on.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.cameras_in import PacketRun
from waldo.datasets.formats.names import require_regular
from waldo.datasets.formats.source import SourceError
from waldo.datasets.video import h264
from waldo.datasets.video.color import is_stores, rgb_of
from waldo.datasets.video.h264 import NAL_IDR, NAL_PPS, NAL_SPS, START_CODE, Packet
from waldo.errors import FileError

LONGEST_GOP = 60
"""Longest group of pictures that is copied [frames]; reading its last frame decodes the whole group."""

SAME_TIME_S = 1e-4
"""Times of frames that differ by at most this are the same [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFile:
    """The part of a video file that belongs to one episode."""

    path: Path
    """Path of the file."""
    start_s: float
    """Time in the file at which the episode starts [s]."""
    count: int
    """Number of frames of the episode."""
    fps: float
    """Frame rate [Hz]."""
    times_s: tuple[float, ...] = ()
    """Time in the file of each frame, for a video whose frames are not 1 / fps apart [s]."""

    def probe(self) -> tuple[str, int, int]:
        """Return the codec's name, the height and the width [px]."""
        with self._open() as (_, stream):
            context = stream.codec_context
            return str(stream.codec.canonical_name), int(context.height), int(context.width)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Decode the frames, each uint8 of shape (H, W, 3)."""
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
        """Return the frames as H.264 packets that the store can hold; None for other codecs and irregular groups."""
        with self._open() as (_, stream):
            kind = kind_of(str(stream.codec.canonical_name), stream.codec_context)
        if kind is None:
            return None
        keys: list[bool] = []
        for number, packet in self._demuxed():
            if number != len(keys):
                # The display order differs from the coding order: B-frames.
                return None
            keys.append(packet.key)
        if len(keys) != self.count:
            raise self._missing(len(keys))
        return packet_run(kind, keys, self.packets)

    def packets(self) -> Iterator[Packet]:
        """Yield one packet per frame."""
        for _, packet in self._demuxed():
            yield packet

    def _demuxed(self) -> Iterator[tuple[int, Packet]]:
        """Yield H.264 packets with the numbers of their frames."""
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
        """Return the number of the frame that is shown at a time in the file [s]; -1 if the time is unknown."""
        if at_s is None:
            return -1
        if not self.times_s:
            return round((at_s - self.start_s) * self.fps)
        place = bisect_left(self.times_s, at_s - SAME_TIME_S)
        if place == len(self.times_s):
            return self.count
        return place if abs(self.times_s[place] - at_s) <= SAME_TIME_S else -1

    def own_times(self) -> tuple[float, ...]:
        """Return the times in the file of the frames [s] if they are not 1 / fps apart; empty if they are.

        A video that ends before the last row is taken for a truncated one, whose missing frames `frames` reports.
        """
        half_s = 0.5 / self.fps
        times = frame_times(self.path, self.start_s - half_s, self.start_s + self.count / self.fps - half_s)
        if not len(times) or times[-1] < self.start_s + (self.count - 1.5) / self.fps:
            return ()
        numbers = np.rint((times - self.start_s) * self.fps)
        return () if np.array_equal(numbers, np.arange(self.count)) else tuple(times.tolist())

    def _seek(self, container: Any, stream: Any) -> None:
        begin_s = self.start_s - 0.5 / self.fps
        if begin_s > 0:
            container.seek(int(begin_s / stream.time_base), stream=stream)

    def _missing(self, number: int) -> FileError:
        return FileError(
            self.path,
            f"frame {number} of {self.count} from {self.start_s:.3f} s on is missing",
            "fetch the file again",
        )

    def _open(self) -> AbstractContextManager[tuple[Any, Any]]:
        return _opened(self.path)


@contextmanager
def _opened(path: Path) -> Generator[tuple[Any, Any]]:
    """Open a video and yield its container and video stream."""
    require_regular(path)
    try:
        with av.open(str(path)) as container:
            stream: Any = next(iter(container.streams.video), None)
            if stream is None or stream.codec_context is None:
                raise FileError(path, "the file has no video stream that can be decoded", "fetch the file again")
            yield container, stream
    except FileNotFoundError as error:
        raise FileError(path, "the file does not exist", "fetch the whole dataset") from error
    except (av.FFmpegError, ValueError) as error:
        raise FileError(path, f"the video cannot be decoded ({error})", "fetch the file again") from error


def frame_times(path: Path, start_s: float = -math.inf, stop_s: float = math.inf) -> NDArray[np.float64]:
    """Return the times of the frames of a video from `start_s` to before `stop_s`, in order, shape (frames,) [s]."""
    found: list[float] = []
    with _opened(path) as (container, stream):
        if start_s > 0:
            container.seek(int(start_s / stream.time_base), stream=stream)
        for packet in container.demux(stream):
            if packet.pts is None:
                continue
            if packet.dts is not None and float(packet.dts * packet.time_base) >= stop_s:
                break
            at_s = float(packet.pts * packet.time_base)
            if start_s <= at_s < stop_s:
                found.append(at_s)
    return np.sort(np.array(found, np.float64))


def kind_of(codec: str, frames: Any) -> Literal["h264", "lossless"] | None:
    """Return the store's codec for a video, or None if the store cannot hold its packets.

    Args:
        codec: FFmpeg's name of the codec.
        frames: A frame or codec context of FFmpeg, with pixel format, size and color space.
    """
    if codec != "h264" or frames.format is None:
        return None
    if frames.format.name == "gbrp":
        return "lossless"
    plain = frames.format.name == "yuv420p" and is_stores(frames)
    return "h264" if plain and frames.width % 2 == frames.height % 2 == 0 else None


def packet_run(
    kind: Literal["h264", "lossless"],
    keys: Sequence[bool],
    packets: Callable[[], Iterator[Packet]],
    known_gop: int = 0,
) -> PacketRun | None:
    """Return packets in groups of equal length; None if no length up to `LONGEST_GOP` fits.

    Args:
        kind: Codec of the store.
        keys: Whether each frame is a key frame.
        packets: Yields the packets.
        known_gop: Group length stated by the source, preferred over the shortest that fits; 0 if unknown.
    """
    lengths = range(1, min(LONGEST_GOP, len(keys)) + 1)
    gop = next((n for n in (*([known_gop] if known_gop > 0 else ()), *lengths) if all(keys[::n])), 0)
    return PacketRun(codec=kind, gop=gop, packets=packets) if gop else None


def parameter_sets(extradata: bytes) -> tuple[bytes, int]:
    """Return SPS and PPS in Annex B form and the size of a NAL unit's length field [bytes].

    Args:
        extradata: An avcC box (ISO/IEC 14496-15, 5.3.3.1). For anything else the stream is taken for Annex B with
            parameter sets of its own, and the size is 0.
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
    """Return a frame in the form of the store: Annex B, with parameter sets before each key frame."""
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
            raise ValueError(f"a NAL unit has {size} bytes, but the sample has only {len(sample)}")
        yield unit
        at += length + size


def probe_packets(codec: str, packet: Packet) -> tuple[Literal["h264", "lossless"] | None, int, int]:
    """Return the store's codec for H.264 packets (None if unsupported), and the height and width of the frames [px]."""
    frame = next(_decoded(_decoder(codec), [packet]), None)
    if frame is None:
        raise SourceError("video", "the first frame cannot be decoded")
    return kind_of(codec, frame), int(frame.height), int(frame.width)


def decode_all(codec: str, packets: Iterable[Packet]) -> Iterator[NDArray[np.uint8]]:
    """Decode packets without a container into uint8 images of shape (H, W, 3)."""
    for frame in _decoded(_decoder(codec), packets):
        yield rgb_of(frame)


def _decoder(codec: str) -> Any:
    names = {"h264": "h264", "h265": "hevc", "vp9": "vp9", "av1": "libdav1d"}
    if codec not in names:
        raise SourceError("video", f"codec {codec!r} is not supported (supported: {', '.join(names)})")
    context: Any = av.CodecContext.create(names[codec], "r")
    return context


def _decoded(context: Any, packets: Iterable[Packet]) -> Iterator[Any]:
    try:
        for packet in packets:
            yield from context.decode(av.Packet(packet.data))
        yield from context.decode(None)
    except av.FFmpegError as error:
        raise SourceError("video", f"the decoder failed ({error})") from error
