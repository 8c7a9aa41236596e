"""A file that is at once a plain MP4 (one H.264 track) and a zarr v3 `sharding_indexed` shard.

The samples of one group of pictures lie one after another in `mdat` and are one inner chunk. The shard's index (offset
and size of every chunk as u64, then crc32c, at the end of the file) is the content of a last `free` box, which every
MP4 reader skips. zarr's specification of sharding allows other bytes beside chunks and index.
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


def append_index(path: Path, gop: int, chunks: int) -> None:
    """Append zarr's shard index, inside a `free` box, to an MP4 of groups of `gop` frames."""
    starts = read_track(path).starts
    begins, ends = starts[:-1:gop], np.append(starts[gop:-1:gop], starts[-1])
    index = np.full((chunks, 2), EMPTY, "<u8")
    index[: len(begins)] = np.stack([begins, ends - begins], axis=1)
    body = index_bytes(index)
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(body), b"free") + body)
