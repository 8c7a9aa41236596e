"""Files that are both a plain MP4 with one H.264 track and a zarr v3 `sharding_indexed` shard.

The samples of each group of pictures are consecutive in `mdat` and form one inner chunk. The shard's index (offset and
size of every chunk as u64, then a crc32c, at the end of the file) is the content of a last `free` box, which MP4
readers skip. zarr's sharding specification allows bytes that belong to neither chunks nor index.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from waldo.datasets.video.h264 import Packet
from waldo.datasets.video.mp4 import TICKS_PER_FRAME, read_track
from waldo.datasets.video.shard import EMPTY, index_bytes


def rate_fraction(rate_hz: float) -> Fraction:
    """Return a frame rate as a fraction, for the time base of an MP4."""
    return Fraction(rate_hz).limit_denominator(1001)


class Mp4Writer:
    """Writes an MP4 of constant frame rate packet by packet; the first packet must be a key frame."""

    def __init__(self, path: Path, first: Packet, rate: Fraction) -> None:
        """Create the file with the parameter sets of the first packet; the packet itself is not written."""
        self.count = 0
        options = {"movflags": "faststart", "fflags": "+bitexact"}
        self._file: Any = av.open(str(path), "w", "mp4", options)
        with av.open(io.BytesIO(first.data), format="h264") as source:
            self._track: Any = self._file.add_stream_from_template(source.streams.video[0], opaque=True)
        # FFmpeg changes the track's time base when it writes the header (it doubles slow ones), so packets state their
        # own and are converted.
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
        """Write the index and close the file."""
        self._file.close()


def write_mp4(path: Path, packets: Iterable[Packet], rate: Fraction) -> int:
    """Write packets, the first of them a key frame, as an MP4 of constant frame rate [Hz]; return their number."""
    stream = iter(packets)
    first = next(stream)
    with closing(Mp4Writer(path, first, rate)) as file:
        for packet in chain([first], stream):
            file.write(packet)
    return file.count


def append_index(path: Path, gop: int, chunks: int) -> None:
    """Append zarr's shard index, inside a `free` box, to an MP4 with groups of `gop` frames."""
    starts = read_track(path).starts
    offsets, ends = starts[:-1:gop], np.append(starts[gop:-1:gop], starts[-1])
    index = np.full((chunks, 2), EMPTY, "<u8")
    index[: len(offsets)] = np.stack([offsets, ends - offsets], axis=1)
    body = index_bytes(index)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(body), b"free") + body)
