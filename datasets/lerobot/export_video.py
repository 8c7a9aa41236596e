"""Video for rows: recorded bytes are copied wherever a run of rows is a run of frames, and encoded anew elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.episode import Episode
from waldo.datasets.streams import VideoStream
from waldo.datasets.video import mp4
from waldo.datasets.video.encoder import LOSSLESS, SOFTWARE, encode_frames
from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.mp4 import Piece, Track
from waldo.datasets.video.mp4shard import write_mp4

ENCODED_GOP = 5
"""Frames a group of pictures that is encoded for an export, where the stream has no groups of its own."""

FRAMES_AT_ONCE = 40
"""Frames that are decoded before they are encoded, to bound the memory."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of rows whose frames are taken in the same way."""

    copy: bool
    """True: the frames are consecutive, begin with a key frame, and their packets are copied."""
    frames: tuple[int, ...]
    """The frame of each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """An episode's rows of one camera, as samples of H.264 that lie in files."""

    track: Track
    """What decodes them (`entry`), and size and key mark of each; its `start` says nothing."""
    pieces: tuple[Piece, ...]
    """Where their bytes are, in the order of the rows."""
    copied: int
    """Rows whose packets were copied."""
    encoded: int
    """Rows that were encoded anew."""

    @property
    def rows(self) -> int:
        """How many rows they are."""
        return len(self.track.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return sum(piece.nbytes for piece in self.pieces)


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


def make_clip(episode: Episode, camera: str, frames: NDArray[np.int64], rate: Fraction, spool: Path) -> Clip:
    """Return the clip of a camera's frames, one a row; what must be encoded is in the file `spool`.

    A `spool` that is there already is taken as it is: it comes from an export that was broken off.
    """
    stream = episode.camera(camera)
    segments = plan(frames, stream.gop, copy=stream.codec != "jpeg" and Fraction(stream.rate_hz) == rate)
    if not all(segment.copy for segment in segments) and not spool.exists():
        spool.parent.mkdir(parents=True, exist_ok=True)
        unfinished = spool.with_suffix(".part")
        write_mp4(unfinished, _encoded(episode, stream, segments, rate), rate)
        unfinished.rename(spool)
    return _joined(episode, camera, segments, spool)


def _joined(episode: Episode, camera: str, segments: Sequence[Segment], spool: Path) -> Clip:
    """Return the clip of segments whose bytes are in the store and in `spool`."""
    stored = mp4.read_track(episode.video_path(camera)) if any(s.copy for s in segments) else None
    fresh = mp4.read_track(spool) if not all(s.copy for s in segments) else None
    pieces: list[Piece] = []
    sizes: list[NDArray[np.uint32]] = []
    keys: list[NDArray[np.bool_]] = []
    used = copied = 0
    for segment in segments:
        if segment.copy:
            path, track, first = episode.video_path(camera), stored, segment.frames[0]
            copied += len(segment.frames)
        else:
            path, track, first = spool, fresh, used
            used += len(segment.frames)
        assert track is not None
        last = first + len(segment.frames)
        begin, end = (int(track.starts[at]) for at in (first, last))
        pieces.append(Piece(path, begin, end - begin))
        sizes.append(track.sizes[first:last])
        keys.append(track.keys[first:last])
    entry = (stored or fresh).entry  # type: ignore[union-attr]
    joined = Track(entry, np.concatenate(sizes), np.concatenate(keys), 0)
    return Clip(track=joined, pieces=tuple(pieces), copied=copied, encoded=used)


def _encoded(episode: Episode, stream: VideoStream, segments: Sequence[Segment], rate: Fraction) -> Iterator[Packet]:
    """Yield one packet a row of the segments that cannot be copied; each begins with a key frame."""
    shard = episode.shard(stream.name)
    gop = stream.gop if stream.codec != "jpeg" else ENCODED_GOP
    encoder = LOSSLESS if stream.codec == "lossless" else SOFTWARE
    # Whole groups at a time: a run of packets begins with a key frame.
    step = max(1, FRAMES_AT_ONCE // gop) * gop
    for segment in segments:
        if segment.copy:
            continue
        for start in range(0, len(segment.frames), step):
            frames = shard.read(segment.frames[start : start + step])
            yield from encode_frames(frames, gop=gop, crf=stream.crf, rate=rate, encoder=encoder)


@dataclass(slots=True)
class VideoFiles:
    """The MP4 files of one camera: episode after episode, a new file where one grows too large."""

    name_file: Callable[[int], Path]
    """Names the n-th file."""
    rate: Fraction
    """Frames a second [Hz]."""
    max_bytes: float
    """Size at which a new file is begun."""
    files: list[list[Clip]] = field(default_factory=list)
    """The clips of each file."""

    def add(self, clip: Clip) -> tuple[int, int]:
        """Append a clip; return the number of its file and the row of the file at which it begins."""
        last = self.files[-1] if self.files else []
        full = sum(known.nbytes for known in last) + clip.nbytes > self.max_bytes
        if not last or full or last[0].track.entry != clip.track.entry:
            last = []
            self.files.append(last)
        last.append(clip)
        return len(self.files) - 1, sum(known.rows for known in last) - clip.rows

    def write(self, number: int) -> None:
        """Write a file; one that is there already is whole."""
        path, clips = self.name_file(number), self.files[number]
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        sizes = np.concatenate([clip.track.sizes for clip in clips])
        keys = np.concatenate([clip.track.keys for clip in clips])
        pieces = [piece for clip in clips for piece in clip.pieces]
        mp4.write(path, Track(clips[0].track.entry, sizes, keys, 0), self.rate, pieces)
