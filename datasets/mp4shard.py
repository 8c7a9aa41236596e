"""A file that is at once a plain MP4 (one H.264 track) and a zarr v3 `sharding_indexed` shard.

The samples of one group of pictures lie one after another in `mdat` and are one inner chunk. The shard's index (offset
and size of every chunk as u64, then crc32c, at the end of the file) is the content of a last `free` box, which every
MP4 reader skips. zarr's specification of sharding allows other bytes beside chunks and index.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import google_crc32c
import numpy as np
from numpy.typing import NDArray

from waldo.datasets import video
from waldo.datasets.video import Packet
from waldo.errors import FileError

TICKS_PER_FRAME = 512
"""Time units of the MP4 track in one frame; what FFmpeg's tools use for constant rates."""

EMPTY = 2**64 - 1
"""zarr's mark in an index for a chunk that is not there."""


def rate_fraction(rate_hz: float) -> Fraction:
    """Return a frame rate as the fraction that an MP4's time base needs."""
    return Fraction(rate_hz).limit_denominator(1001)


class Mp4Writer:
    """An MP4 of constant rate, written packet by packet; the first one must be a key frame."""

    def __init__(self, path: Path, first: Packet, rate: Fraction) -> None:
        """Create the file with the parameter sets of the first packet, which is not written yet."""
        self.count = 0
        options = {"movflags": "faststart", "fflags": "+bitexact"}
        self._file: Any = av.open(str(path), "w", "mp4", options)
        with av.open(io.BytesIO(first.data), format="h264") as source:
            self._track: Any = self._file.add_stream_from_template(source.streams.video[0])
        # The track's own time base is not what it was set to once the header is written (FFmpeg doubles slow ones), so
        # packets carry theirs and are converted.
        self._time_base = Fraction(rate.denominator, rate.numerator * TICKS_PER_FRAME)
        self._track.time_base = self._time_base

    def write(self, packet: Packet) -> None:
        """Append one packet."""
        out: Any = av.Packet(packet.data)
        out.stream, out.time_base = self._track, self._time_base
        out.pts = out.dts = self.count * TICKS_PER_FRAME
        out.duration, out.is_keyframe = TICKS_PER_FRAME, packet.key
        self._file.mux(out)
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def write_mp4(path: Path, packets: Iterable[Packet], rate: Fraction) -> int:
    """Write packets (the first one a key frame) as an MP4 of constant rate; return how many they were."""
    stream = iter(packets)
    first = next(stream)
    with closing(Mp4Writer(path, first, rate)) as file:
        for packet in chain([first], stream):
            file.write(packet)
    return file.count


def read_mp4(path: Path) -> Iterator[Packet]:
    """Yield the packets of an MP4 that `write_mp4` wrote, as Annex B."""
    for sample, key in _samples(path):
        data = b"".join(packet.data for packet in video.split_samples(sample))
        yield Packet(data, key)


def count_frames(path: Path) -> int:
    """Return how many packets an MP4's video track has, by reading all of them."""
    return sum(1 for _ in _samples(path))


def append_index(path: Path, gop: int, chunks: int) -> None:
    """Append zarr's shard index, inside a `free` box, to an MP4 of groups of `gop` frames."""
    spans: list[tuple[int, int]] = []
    with av.open(str(path)) as file:
        spans.extend((p.pos or 0, p.size) for p in file.demux(file.streams.video[0]) if p.size)
    at = np.array(spans, dtype=np.int64).reshape(-1, 2)
    ends = at.sum(axis=1)
    if not np.array_equal(at[1:, 0], ends[:-1]):
        raise FileError(path, "its samples do not lie one after another", "a defect of waldo, please report it")
    index = np.full((chunks, 2), EMPTY, "<u8")
    starts = at[::gop, 0]
    stops = ends[np.minimum(np.arange(gop, len(at) + gop, gop), len(at)) - 1]
    index[: len(starts)] = np.stack([starts, stops - starts], axis=1)
    body = index.tobytes()
    body += struct.pack("<I", google_crc32c.value(body))
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(body), b"free") + body)


class ShardReader:
    """Frames straight from a shard: one read and one decoder run for each group of pictures that is asked for."""

    def __init__(self, path: Path, *, frames: int, gop: int, shape: tuple[int, int]) -> None:
        """Take the shard's path, how many frames it holds, the frames a group and the frames' size (H, W)."""
        self.path, self.frames, self.gop, self.shape = path, frames, gop, shape
        self.index = read_index(path, -(-frames // gop))

    def chunk(self, group: int) -> bytes:
        """Return the bytes of one group of pictures."""
        with self.path.open("rb") as file:
            return self._read(file.fileno(), group)

    def container_checksum(self) -> int:
        """Return the crc32c of the bytes that are no chunk and not the index: the MP4's own boxes."""
        starts, sizes = self.index[:, 0].astype(np.int64), self.index[:, 1].astype(np.int64)
        with self.path.open("rb") as file:
            head = file.read(int(starts[0]))
            file.seek(int(starts[-1] + sizes[-1]))
            tail = file.read()[: -self.index.nbytes - 4]
        return int(google_crc32c.extend(google_crc32c.value(head), tail))

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the frames of these indices, in this order, repeats allowed: uint8 (n, H, W, 3)."""
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (0 <= wanted.min() and wanted.max() < self.frames):
            raise IndexError(f"frames {wanted.min()} to {wanted.max()} of {self.path}, which has {self.frames}")
        out = np.empty((len(wanted), *self.shape, 3), np.uint8)
        groups = wanted // self.gop
        with self.path.open("rb") as file:
            for group in np.unique(groups):
                places = np.flatnonzero(groups == group)
                inside, back = np.unique(wanted[places] - group * self.gop, return_inverse=True)
                packets = video.split_samples(self._read(file.fileno(), int(group)))
                out[places] = video.decode(packets, inside.tolist(), self.shape)[back]
        return out

    def _read(self, fd: int, group: int) -> bytes:
        offset, size = (int(n) for n in self.index[group])
        return os.pread(fd, size, offset)


def read_index(path: Path, chunks: int) -> NDArray[np.uint64]:
    """Return a shard's index, u64 (chunks, 2): offset and size; a damaged one is refused."""
    size = chunks * 16
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        if file.tell() < size + 4:
            raise FileError(path, f"is {file.tell()} bytes long, too short for the index of {chunks} chunks")
        file.seek(-size - 4, os.SEEK_END)
        body = file.read(size)
        (crc,) = struct.unpack("<I", file.read(4))
    if google_crc32c.value(body) != crc:
        raise FileError(path, "the checksum of the shard's index is wrong", "take the file from a backup")
    return np.frombuffer(body, "<u8").reshape(chunks, 2)


def _samples(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield the samples of an MP4's video track and whether each is a key frame."""
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                yield bytes(packet), packet.is_keyframe
