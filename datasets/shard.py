"""Reading a camera's shard: a file of chunks, one closed group of pictures each, with zarr's index at its end.

The index (offset and size of every chunk as u64, then crc32c) is that of zarr v3's `sharding_indexed`; other bytes may
stand between the chunks, such as an MP4's boxes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from waldo.datasets import pictures
from waldo.datasets.streams import ImageStream
from waldo.errors import FileError

EMPTY = 2**64 - 1
"""zarr's mark in an index for a chunk that is not there."""


class ShardReader:
    """Frames straight from a shard: one read and one decoder run for each group of pictures that is asked for."""

    def __init__(self, path: Path, stream: ImageStream, frames: int) -> None:
        """Take the shard's path, the stream whose frames it holds, and how many they are."""
        self.path, self.stream, self.frames, self.gop = path, stream, frames, stream.gop
        self.index = read_index(path, -(-frames // stream.gop))

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

    def read(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Return the frames of these indices, in this order, repeats allowed: (n, H, W, 3) uint8 or (n, H, W) uint16.

        A chunk that cannot be decoded is a FileError that names it.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        if wanted.size and not (0 <= wanted.min() and wanted.max() < self.frames):
            raise IndexError(f"frames {wanted.min()} to {wanted.max()} of {self.path}, which has {self.frames}")
        out = np.empty((len(wanted), *self.stream.frame_shape), pictures.dtype_of(self.stream))
        groups = wanted // self.gop
        with self.path.open("rb") as file:
            for group in np.unique(groups):
                places = np.flatnonzero(groups == group)
                inside, back = np.unique(wanted[places] - group * self.gop, return_inverse=True)
                chunk = self._read(file.fileno(), int(group))
                try:
                    out[places] = pictures.decode_chunk(self.stream, chunk, inside.tolist())[back]
                except ValueError as error:
                    why = f"chunk {group} cannot be decoded ({error})"
                    raise FileError(self.path, why, "run waldo check, take the file from a backup") from error
        return out

    def _read(self, fd: int, group: int) -> bytes:
        offset, size = (int(n) for n in self.index[group])
        data = os.pread(fd, size, offset) if offset + size < 2**63 else b""
        if len(data) != size:
            why = f"chunk {group} lies at bytes {offset} to {offset + size}, beyond the file's end"
            raise FileError(self.path, why, "the file is cut or damaged: take it from a backup")
        return data


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


def read_index(path: Path, chunks: int) -> NDArray[np.uint64]:
    """Return a shard's index, u64 (chunks, 2): offset and size; a damaged one is refused."""
    size = chunks * 16
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() < size + 4:
                raise FileError(path, f"is {file.tell()} bytes long, too short for the index of {chunks} chunks")
            file.seek(-size - 4, os.SEEK_END)
            body = file.read(size)
            (crc,) = struct.unpack("<I", file.read(4))
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror})", "take it from a backup") from error
    if google_crc32c.value(body) != crc:
        raise FileError(path, "the checksum of the shard's index is wrong", "take the file from a backup")
    return np.frombuffer(body, "<u8").reshape(chunks, 2)
