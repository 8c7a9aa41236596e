"""Shards of image streams: files of chunks, one closed group of pictures each, with zarr's index at the end.

The index (offset and size of every chunk as u64, then a crc32c) is that of zarr v3's `sharding_indexed` codec. Bytes
that belong to no chunk, such as the boxes of an MP4, may occur between the chunks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.storage.store_path import StorePath, file_size, read_range, read_ranges
from waldo.datasets.streams import ImageStream
from waldo.datasets.video.chunks import decode_chunk, pixel_dtype
from waldo.errors import FileError

EMPTY = 2**64 - 1
"""Offset and size of an absent chunk in zarr's shard index."""

CHUNKS_PER_READ = 64
"""Chunks that are read before they are decoded; limits the memory."""


class ShardReader:
    """Reads frames from a shard, with one read and one decoder run per group of pictures."""

    def __init__(self, path: StorePath, stream: ImageStream, frames: int) -> None:
        """Read the shard's index.

        Args:
            path: The shard.
            stream: The stream whose frames the shard contains.
            frames: Number of frames.
        """
        self.path, self.stream, self.frames, self.gop = path, stream, frames, stream.gop
        self.index = read_index(path, -(-frames // stream.gop))

    def chunk(self, group: int) -> bytes:
        """Return the encoded bytes of one group of pictures."""
        return self.chunks([group])[0]

    def chunks(self, groups: Sequence[int]) -> list[bytes]:
        """Return the encoded bytes of several groups of pictures."""
        spans = [(int(offset), int(size)) for offset, size in self.index[np.asarray(groups, np.int64)]]
        for group, (offset, size) in zip(groups, spans, strict=True):
            if offset + size >= 2**63:
                raise self._beyond(group, offset, size)
        found = read_ranges(self.path, spans)
        for group, data, (offset, size) in zip(groups, found, spans, strict=True):
            if len(data) != size:
                raise self._beyond(group, offset, size)
        return found

    def _beyond(self, group: int, offset: int, size: int) -> FileError:
        found = f"chunk {group} is at bytes {offset} to {offset + size}, beyond the end of the file"
        return FileError(self.path, found, "the file is truncated or damaged: restore it from a backup")

    def container_checksum(self) -> int:
        """Return the crc32c of the bytes that belong neither to chunks nor to the index, such as an MP4's boxes."""
        start = int(self.index[0, 0])
        end = int(self.index[-1].sum())
        head, tail = read_ranges(self.path, [(0, start), (end, max(0, file_size(self.path) - end))])
        return int(google_crc32c.extend(google_crc32c.value(head), tail[: -self.index.nbytes - 4]))

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Return frames in the order of `indices`, which may repeat: uint8 (n, H, W, 3) or uint16 (n, H, W).

        Raises:
            IndexError: If an index is out of range.
            FileError: If a chunk cannot be decoded; the message names it.
        """
        frames = np.asarray(indices, dtype=np.int64)
        if frames.size and not (0 <= frames.min() and frames.max() < self.frames):
            raise IndexError(f"frames {frames.min()} to {frames.max()} of {self.path}, which has {self.frames}")
        out = np.empty((len(frames), *self.stream.frame_shape), pixel_dtype(self.stream))
        slots: dict[int, NDArray[np.int64]] = {
            int(group): np.flatnonzero(frames // self.gop == group) for group in np.unique(frames // self.gop)
        }
        for groups in batched(slots, CHUNKS_PER_READ):
            for group, chunk in zip(groups, self.chunks(groups), strict=True):
                inside, back = np.unique(frames[slots[group]] - group * self.gop, return_inverse=True)
                try:
                    out[slots[group]] = decode_chunk(self.stream, chunk, inside.tolist())[back]
                except ValueError as error:
                    found = f"chunk {group} cannot be decoded ({error})"
                    raise FileError(self.path, found, "run waldo check, restore the file from a backup") from error
        return out


def index_bytes(spans: Sequence[tuple[int, int]] | NDArray[np.int64]) -> bytes:
    """Return the shard index for the offset and size of each chunk."""
    body = np.asarray(spans, "<u8").tobytes()
    return body + struct.pack("<I", google_crc32c.value(body))


def write_shard(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a plain shard: consecutive chunks and their index."""
    spans: list[tuple[int, int]] = []
    at = 0
    with path.open("wb") as file:
        for chunk in chunks:
            spans.append((at, file.write(chunk)))
            at += len(chunk)
        file.write(index_bytes(spans))


def read_index(path: StorePath, chunks: int) -> NDArray[np.uint64]:
    """Return a shard's index, u64 (chunks, 2): offset and size.

    Raises:
        FileError: If the file cannot be read or its index is damaged.
    """
    size = chunks * 16
    try:
        length = file_size(path)
        data = read_range(path, max(0, length - size - 4), size + 4)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})", "restore it from a backup") from error
    if length < size + 4:
        raise FileError(path, f"is {length} bytes long, too short for the index of {chunks} chunks")
    body = data[:size]
    if google_crc32c.value(body) != struct.unpack("<I", data[size:])[0]:
        raise FileError(path, "the checksum of the shard's index is wrong", "restore the file from a backup")
    return np.frombuffer(body, "<u8").reshape(chunks, 2)
