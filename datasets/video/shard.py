"""Reading a camera's shard: a file of chunks, one closed group of pictures each, with zarr's index at its end.

The index (offset and size of every chunk as u64, then crc32c) is that of zarr v3's `sharding_indexed`; other bytes may
stand between the chunks, such as an MP4's boxes.
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

from waldo.datasets.store_path import Place, file_size, read_range, read_ranges
from waldo.datasets.streams import ImageStream
from waldo.datasets.video import images
from waldo.errors import FileError

EMPTY = 2**64 - 1
"""zarr's mark in an index for a chunk that is not there."""

AT_ONCE = 64
"""Chunks that are read before they are decoded, to bound the memory."""


class ShardReader:
    """Frames straight from a shard: one read and one decoder run for each group of pictures that is asked for."""

    def __init__(self, path: Place, stream: ImageStream, frames: int) -> None:
        """Take the shard's path, the stream whose frames it holds, and how many they are."""
        self.path, self.stream, self.frames, self.gop = path, stream, frames, stream.gop
        self.index = read_index(path, -(-frames // stream.gop))

    def chunk(self, group: int) -> bytes:
        """Return the bytes of one group of pictures."""
        return self.chunks([group])[0]

    def chunks(self, groups: Sequence[int]) -> list[bytes]:
        """Return the bytes of groups of pictures."""
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
        why = f"chunk {group} lies at bytes {offset} to {offset + size}, beyond the file's end"
        return FileError(self.path, why, "the file is cut or damaged: take it from a backup")

    def container_checksum(self) -> int:
        """Return the crc32c of the bytes that are no chunk and not the index: the MP4's own boxes."""
        start = int(self.index[0, 0])
        end = int(self.index[-1].sum())
        head, tail = read_ranges(self.path, [(0, start), (end, max(0, file_size(self.path) - end))])
        return int(google_crc32c.extend(google_crc32c.value(head), tail[: -self.index.nbytes - 4]))

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Return the frames of these indices, in this order, repeats allowed: (n, H, W, 3) uint8 or (n, H, W) uint16.

        A chunk that cannot be decoded is a FileError that names it.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (0 <= wanted.min() and wanted.max() < self.frames):
            raise IndexError(f"frames {wanted.min()} to {wanted.max()} of {self.path}, which has {self.frames}")
        out = np.empty((len(wanted), *self.stream.frame_shape), images.dtype_of(self.stream))
        places: dict[int, NDArray[np.int64]] = {
            int(group): np.flatnonzero(wanted // self.gop == group) for group in np.unique(wanted // self.gop)
        }
        for some in batched(places, AT_ONCE):
            for group, chunk in zip(some, self.chunks(some), strict=True):
                inside, back = np.unique(wanted[places[group]] - group * self.gop, return_inverse=True)
                try:
                    out[places[group]] = images.decode_chunk(self.stream, chunk, inside.tolist())[back]
                except ValueError as error:
                    why = f"chunk {group} cannot be decoded ({error})"
                    raise FileError(self.path, why, "run waldo check, take the file from a backup") from error
        return out


def index_bytes(spans: Sequence[tuple[int, int]] | NDArray[np.int64]) -> bytes:
    """Return the index of chunks, given offset and size of each, as it stands at a shard's end."""
    body = np.asarray(spans, "<u8").tobytes()
    return body + struct.pack("<I", google_crc32c.value(body))


def write_shard(path: Path, chunks: Iterable[bytes]) -> None:
    """Write chunks one after another and their index: a shard that is nothing else besides."""
    spans: list[tuple[int, int]] = []
    at = 0
    with path.open("wb") as file:
        for chunk in chunks:
            spans.append((at, file.write(chunk)))
            at += len(chunk)
        file.write(index_bytes(spans))


def read_index(path: Place, chunks: int) -> NDArray[np.uint64]:
    """Return a shard's index, u64 (chunks, 2): offset and size; a damaged one is refused."""
    size = chunks * 16
    try:
        length = file_size(path)
        found = read_range(path, max(0, length - size - 4), size + 4)
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})", "take it from a backup") from error
    if length < size + 4:
        raise FileError(path, f"is {length} bytes long, too short for the index of {chunks} chunks")
    body = found[:size]
    if google_crc32c.value(body) != struct.unpack("<I", found[size:])[0]:
        raise FileError(path, "the checksum of the shard's index is wrong", "take the file from a backup")
    return np.frombuffer(body, "<u8").reshape(chunks, 2)
