"""Video for rows: recorded packets are copied wherever a run of rows is a run of frames, and encoded anew elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import video
from waldo.datasets.episode import Episode
from waldo.datasets.mp4shard import Mp4Writer, count_frames
from waldo.datasets.video import Packet
from waldo.errors import FileError


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of rows whose frames are taken in the same way."""

    copy: bool
    """True: the frames are consecutive, begin with a key frame, and their packets are copied."""
    frames: tuple[int, ...]
    """The frame of each row."""


def plan(frames: Sequence[int] | NDArray[np.int64], gop: int, *, copy: bool) -> list[Segment]:
    """Cut a sequence of frames (one a row, repeats and jumps allowed) into runs to copy and runs to encode.

    A group of pictures can be copied from its key frame up to any frame, as there are no B-frames.
    """
    wanted = [int(frame) for frame in frames]
    segments: list[Segment] = []
    start = 0
    while start < len(wanted):
        copied = copy and wanted[start] % gop == 0
        stop = start + 1
        while stop < len(wanted) and (
            wanted[stop] == wanted[stop - 1] + 1 if copied else not (copy and wanted[stop] % gop == 0)
        ):
            stop += 1
        segments.append(Segment(copied, tuple(wanted[start:stop])))
        start = stop
    return segments


def row_packets(episode: Episode, camera: str, segments: Sequence[Segment], rate: Fraction) -> Iterator[Packet]:
    """Yield one packet a row."""
    stream, shard = episode.camera(camera), episode.shard(camera)
    for segment in segments:
        if not segment.copy:
            # Long runs (another rate than the recorded one) are encoded a few groups at a time, to bound the memory.
            for start in range(0, len(segment.frames), 8 * stream.gop):
                frames = shard.read(segment.frames[start : start + 8 * stream.gop])
                yield from video.encode_frames(frames, gop=stream.gop, crf=stream.crf, rate=rate)
            continue
        first, last = segment.frames[0], segment.frames[-1]
        for group in range(first // stream.gop, last // stream.gop + 1):
            packets = video.split_samples(shard.chunk(group))
            yield from packets[: last - group * stream.gop + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where an episode's video went."""

    file: int
    """Number of the file, counted from 0."""
    start: int
    """Row of the file at which it begins."""
    copied: int
    """Rows whose packets were copied."""
    encoded: int
    """Rows that were encoded anew."""


class VideoFiles:
    """The MP4 files of one camera: episode after episode, a new file where one grows too large."""

    def __init__(self, name_file: Callable[[int], Path], rate: Fraction, max_bytes: int) -> None:
        """Take what names the n-th file, the frame rate and the size at which a new file is begun."""
        self._name_file, self._rate, self._max_bytes = name_file, rate, max_bytes
        self._file: Mp4Writer | None = None
        self._parameters = b""
        self._bytes = 0
        self.rows: list[int] = []
        """Rows written into each file."""

    def add(self, episode: Episode, camera: str, frames: NDArray[np.int64]) -> Placed:
        """Append an episode's rows and return where they went."""
        stream = episode.camera(camera)
        segments = plan(frames, stream.gop, copy=Fraction(stream.rate_hz) == self._rate)
        packets = row_packets(episode, camera, segments, self._rate)
        first = next(packets)
        size = episode.video_path(camera).stat().st_size
        parameters = video.parameter_sets(first.data)
        if self._file is None or parameters != self._parameters or self._bytes + size > self._max_bytes:
            self._begin(first, parameters)
        start = self.rows[-1]
        self._put(first)
        for packet in packets:
            self._put(packet)
        self._bytes += size
        copied = sum(len(segment.frames) for segment in segments if segment.copy)
        return Placed(file=len(self.rows) - 1, start=start, copied=copied, encoded=len(frames) - copied)

    def close(self) -> None:
        """Finish the last file and count every file's frames: they must be as many as its rows."""
        self._end()
        for number, rows in enumerate(self.rows):
            path = self._name_file(number)
            if (count := count_frames(path)) != rows:
                raise FileError(path, f"has {count} frames for {rows} rows", "a defect of waldo, please report it")

    def abandon(self) -> None:
        """Close the file as it is."""
        self._end()

    def _begin(self, first: Packet, parameters: bytes) -> None:
        """Begin the next file with the parameter sets of its first packet."""
        self._end()
        path = self._name_file(len(self.rows))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = Mp4Writer(path, first, self._rate)
        self._parameters, self._bytes = parameters, 0
        self.rows.append(0)

    def _put(self, packet: Packet) -> None:
        assert self._file is not None
        self._file.write(packet)
        self.rows[-1] += 1

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
