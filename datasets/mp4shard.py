"""A file that is at once a plain MP4 (one H.264 track) and a zarr v3 `sharding_indexed` shard.

The samples of one group of pictures lie one after another in `mdat` and are one inner chunk. The shard's index (offset
and size of every chunk as u64, then crc32c, at the end of the file) is the content of a last `free` box, which every
MP4 reader skips. zarr's specification of sharding allows other bytes beside chunks and index.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from waldo.datasets import video
from waldo.datasets.shard import EMPTY, index_bytes
from waldo.datasets.video import Packet
from waldo.errors import FileError

TICKS_PER_FRAME = 512
"""Time units of the MP4 track in one frame; what FFmpeg's tools use for constant rates."""


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
            self._track: Any = self._file.add_stream_from_template(source.streams.video[0], opaque=True)
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
    body = index_bytes(index)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(body), b"free") + body)


def _samples(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield the samples of an MP4's video track and whether each is a key frame."""
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.video[0]):
            if packet.size:
                yield bytes(packet), packet.is_keyframe
