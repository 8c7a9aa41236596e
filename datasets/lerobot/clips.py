"""Encode the frames of an episode's rows, copying recorded bytes wherever a run of rows is a run of frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from waldo.files import atomic_file

ENCODED_GOP = 5
"""Length of a group of pictures that an export encodes, if the stream itself has none (JPEG)."""

FRAMES_AT_ONCE = 40
"""Number of frames decoded before they are encoded; bounds the memory."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of rows whose frames are either all copied or all encoded."""

    copy: bool
    """True if the frames are consecutive, start with a key frame and their packets are copied."""
    frames: tuple[int, ...]
    """Index of the frame of each row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """An episode's rows of one camera, as H.264 samples stored in one or more files."""

    track: Track
    """Decoder configuration, and size and key-frame flag of each sample; `start` is unused."""
    pieces: tuple[Piece, ...]
    """Location of the samples' bytes, in the order of the rows."""
    copied: int
    """Number of rows with copied packets."""
    encoded: int
    """Number of rows that were encoded again."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.track.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of all samples."""
        return sum(piece.nbytes for piece in self.pieces)


def plan(frames: Sequence[int] | NDArray[np.int64], gop: int, *, copy: bool) -> list[Segment]:
    """Split the frames of rows into runs to copy and runs to encode.

    A group of pictures can be copied from its key frame up to any frame, since there are no B-frames.

    Args:
        frames: Index of the frame of each row; repeats and jumps are allowed.
        gop: Length of a group of pictures.
        copy: Whether frames may be copied at all.
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
    """Return the clip of a camera's frames, one per row.

    Args:
        episode: The episode.
        camera: Name of the camera stream.
        frames: Index of the frame of each row, shape (rows,).
        rate: Rows per second.
        spool: File for the frames that are encoded. An existing file comes from an interrupted export and is reused.
    """
    stream = episode.camera(camera)
    segments = plan(frames, stream.gop, copy=stream.codec != "jpeg" and Fraction(stream.rate_hz) == rate)
    if not all(segment.copy for segment in segments) and not spool.exists():
        spool.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(spool) as partial:
            write_mp4(partial, _encoded(episode, stream, segments, rate), rate)
    return _joined(episode, camera, segments, spool)


def _joined(episode: Episode, camera: str, segments: Sequence[Segment], spool: Path) -> Clip:
    """Return the clip of segments stored in the episode and in `spool`."""
    stored = mp4.read_track(episode.video_path(camera)) if any(s.copy for s in segments) else None
    encoded = mp4.read_track(spool) if not all(s.copy for s in segments) else None
    pieces: list[Piece] = []
    sizes: list[NDArray[np.uint32]] = []
    keys: list[NDArray[np.bool_]] = []
    used = copied = 0
    for segment in segments:
        if segment.copy:
            path, track, first = episode.video_path(camera), stored, segment.frames[0]
            copied += len(segment.frames)
        else:
            path, track, first = spool, encoded, used
            used += len(segment.frames)
        assert track is not None
        last = first + len(segment.frames)
        begin, end = (int(track.starts[at]) for at in (first, last))
        pieces.append(Piece(path, begin, end - begin))
        sizes.append(track.sizes[first:last])
        keys.append(track.keys[first:last])
    entry = (stored or encoded).entry  # type: ignore[union-attr]
    joined = Track(mp4.without_bit_rate(entry), np.concatenate(sizes), np.concatenate(keys), 0)
    return Clip(track=joined, pieces=tuple(pieces), copied=copied, encoded=used)


def _encoded(episode: Episode, stream: VideoStream, segments: Sequence[Segment], rate: Fraction) -> Iterator[Packet]:
    """Yield one packet per row of the segments that cannot be copied; each segment starts with a key frame."""
    shard = episode.shard(stream.name)
    gop = stream.gop if stream.codec != "jpeg" else ENCODED_GOP
    encoder = LOSSLESS if stream.codec == "lossless" else SOFTWARE
    # Whole groups at a time, because every run of packets starts with a key frame.
    step = max(1, FRAMES_AT_ONCE // gop) * gop
    for segment in segments:
        if segment.copy:
            continue
        for start in range(0, len(segment.frames), step):
            frames = shard.read(segment.frames[start : start + step])
            yield from encode_frames(frames, gop=gop, crf=stream.crf, rate=rate, encoder=encoder)
