"""Boxes of an MP4 with one video track: enough to join tracks by copying bytes, without a demuxer or a muxer.

See ISO/IEC 14496-12 (ISO base media file format) for the boxes and ISO/IEC 14496-15 for H.264 in them. Only files
written by waldo are read: one track, no B-frames, consecutive samples.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.storage.store_path import StorePath, file_size, open_file, read_range
from waldo.errors import FileError
from waldo.files import atomic_file

TICKS_PER_FRAME = 512
"""Time units of the track per frame, as in the constant-rate files of FFmpeg."""

READ_BYTES = 8 * 2**20
"""Bytes per request to an object store."""

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
"""Boxes that contain the boxes read here."""

SAMPLE_ENTRY_BYTES = 86
"""Size of a video track's sample entry (`avc1`) without the boxes in it."""

UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
"""The identity transformation of a track's image."""


@dataclass(frozen=True, slots=True)
class Track:
    """The sample table of a video track."""

    entry: bytes
    """Content of the `stsd` box: codec, image size and parameter sets."""
    sizes: NDArray[np.uint32]
    """Size of each sample, shape (samples,) [bytes]."""
    keys: NDArray[np.bool_]
    """True for samples that can be decoded without any other, shape (samples,)."""
    start: int
    """Offset of the first sample in the file [bytes]; the others follow without gaps."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """Offset of each sample in the file and the end of the last one, shape (samples + 1,) [bytes]."""
        return self.start + np.concatenate([[0], np.cumsum(self.sizes, dtype=np.int64)])


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of bytes in a file."""

    path: StorePath
    offset: int
    nbytes: int


def read_track(path: StorePath) -> Track:
    """Return the video track of an MP4 file that waldo wrote."""
    try:
        with open_file(path) as file:
            boxes = dict(_boxes(file, 0, file_size(path)))
        constant_size, count = struct.unpack_from(">II", boxes[b"stsz"], 4)
        sizes = np.full(count, constant_size, np.uint32)
        if not constant_size:
            sizes[:] = np.frombuffer(boxes[b"stsz"], ">u4", count, 12)
        keys = np.ones(count, bool)
        if b"stss" in boxes:
            keys[:] = False
            keys[np.frombuffer(boxes[b"stss"], ">u4", offset=8).astype(np.int64) - 1] = True
        offsets = struct.unpack_from(">Q", boxes[b"co64"], 8) if b"co64" in boxes else None
        (start,) = offsets or struct.unpack_from(">I", boxes[b"stco"], 8)
        return Track(bytes(boxes[b"stsd"]), sizes, keys, start)
    except (struct.error, KeyError, IndexError, ValueError) as error:
        raise FileError(path, f"is not an MP4 file that waldo can read ({error!r})", "run waldo check") from error


def without_bit_rate(entry: bytes) -> bytes:
    """Return the content of an `stsd` box without the bit rates of its samples.

    FFmpeg writes them (`btrt`), so they differ between files whose samples the same decoder reads.
    """
    head, sample, children = entry[:8], entry[16 : 8 + SAMPLE_ENTRY_BYTES], entry[8 + SAMPLE_ENTRY_BYTES :]
    kept = b""
    while children:
        size, name = struct.unpack_from(">I4s", children)
        kept += children[: max(size, 8)] if name != b"btrt" else b""
        children = children[max(size, 8) :]
    return head + _box(entry[12:16], sample, kept)


def write(path: Path, track: Track, rate: Fraction, pieces: Sequence[Piece]) -> None:
    """Write an MP4 of constant frame rate from samples in other files; the index precedes the samples.

    The file is renamed into place when it is complete. It is not flushed: the caller flushes the folder that it writes.

    Args:
        path: The file to write.
        track: Sizes, key frames and codec of the samples; its `start` is ignored.
        rate: Frame rate [Hz].
        pieces: Where the samples' bytes are, in order.
    """
    entry, sizes, keys = track.entry, track.sizes, track.keys
    nbytes = int(sizes.sum(dtype=np.int64))
    if nbytes != sum(piece.nbytes for piece in pieces):
        raise FileError(
            path, "the sizes of its samples do not add up to its bytes", "this is a bug in waldo, please report it"
        )
    head = _box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41")
    size = len(head) + len(_movie(entry, sizes, keys, rate, 0)) + 16
    with atomic_file(path, sync=False) as partial, partial.open("wb") as file:
        file.write(head)
        file.write(_movie(entry, sizes, keys, rate, size))
        file.write(struct.pack(">I4sQ", 1, b"mdat", 16 + nbytes))
        file.flush()
        for piece in pieces:
            _copy(piece, file.fileno())


def _copy(piece: Piece, target: int) -> None:
    """Append a range of a file to another file, inside the kernel for local files."""
    offset, left = piece.offset, piece.nbytes
    if isinstance(piece.path, Path):
        with piece.path.open("rb") as source:
            while left and (done := os.sendfile(target, source.fileno(), offset, left)):
                offset, left = offset + done, left - done
    else:
        while left and (data := read_range(piece.path, offset, min(left, READ_BYTES))):
            os.write(target, data)
            offset, left = offset + len(data), left - len(data)
    if left:
        raise FileError(piece.path, f"ends {left} bytes before the end of its last sample", "run waldo check")


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and content of each box of the index."""
    at = start
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, name = struct.unpack_from(">I4s", head)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
            header = 16
        if size < header:
            return
        if name in CONTAINERS:
            yield from _boxes(file, at + header, at + size)
        elif start or name != b"mdat":
            file.seek(at + header)
            # The content of top-level boxes (encoded frames, zarr's index) is not needed.
            yield name, file.read(size - header) if start else b""
        at += size


def _box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), name) + content


def _full(name: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return a full box, that is one with version and flags."""
    return _box(name, struct.pack(">I", version << 24 | flags), *parts)


def _movie(entry: bytes, sizes: NDArray[np.uint32], keys: NDArray[np.bool_], rate: Fraction, start: int) -> bytes:
    """Return the `moov` box of a file whose samples start at byte `start`."""
    count = len(sizes)
    scale = rate.numerator * TICKS_PER_FRAME
    step = rate.denominator * TICKS_PER_FRAME
    ticks, milliseconds = count * step, round(count * 1000 / rate)
    width, height = struct.unpack_from(">HH", entry, 8 + 8 + 24)
    table = _box(
        b"stbl",
        _box(b"stsd", entry),
        _full(b"stts", struct.pack(">III", 1, count, step)),
        _full(b"stss", struct.pack(">I", int(keys.sum())), (np.flatnonzero(keys) + 1).astype(">u4").tobytes()),
        _full(b"stsc", struct.pack(">IIII", 1, 1, count, 1)),
        _full(b"stsz", struct.pack(">II", 0, count), sizes.astype(">u4").tobytes()),
        _full(b"co64", struct.pack(">IQ", 1, start)),
    )
    reference = _full(b"dref", struct.pack(">I", 1), _full(b"url ", flags=1))
    handler = _full(b"hdlr", struct.pack(">I4s12x", 0, b"vide"), b"VideoHandler\0")
    media = _box(
        b"mdia",
        _full(b"mdhd", struct.pack(">QQIQHH", 0, 0, scale, ticks, 0x55C4, 0), version=1),
        handler,
        _box(b"minf", _full(b"vmhd", bytes(8), flags=1), _box(b"dinf", reference), table),
    )
    shown = struct.pack(">IIIII8xHHHH", 0, 0, 1, 0, milliseconds, 0, 0, 0, 0) + UNITY
    track = _box(b"trak", _full(b"tkhd", shown, struct.pack(">II", width << 16, height << 16), flags=3), media)
    movie = struct.pack(">IIIIIH10x", 0, 0, 1000, milliseconds, 0x10000, 0x100) + UNITY + struct.pack(">24xI", 2)
    return _box(b"moov", _full(b"mvhd", movie), track)
