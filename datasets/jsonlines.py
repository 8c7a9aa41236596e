"""Files of JSON lines, each with its checksum, that are only ever appended to.

::

    {"crc32c":"1c291ca3","value":{"edit":"delete","episodes":"3-5"}}

A line that a crash cut off was never confirmed to anybody: it is ignored, and overwritten by the next append.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import google_crc32c

from waldo.datasets.store_path import ObjectPath, Place

HEAD, MIDDLE, TAIL = b'{"crc32c":"', b'","value":', b"}"
"""What stands around checksum and value."""

SUM = slice(len(HEAD), len(HEAD) + 8)
"""Where the checksum stands in a line, as hexadecimal digits."""

VALUE = slice(SUM.stop + len(MIDDLE), -len(TAIL))
"""Where the value stands; the checksum is over these bytes."""


class Lines(NamedTuple):
    """What a file holds."""

    values: Sequence[Any]
    """The values of the lines that are whole."""
    damaged: Sequence[int]
    """Numbers, from 1, of the lines whose checksum is wrong."""


def read(path: Place) -> Lines:
    """Read a file; one that is not there is empty."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return Lines([], [])


def parse(data: bytes) -> Lines:
    """Return what a file's content says; what follows the last line's end is ignored."""
    lines = data.split(b"\n")[:-1]
    crc = google_crc32c.value
    whole = [b"%08x" % crc(line[VALUE]) == line[SUM] for line in lines]
    # One call for all: this is what makes a hundred thousand lines quick.
    values = json.loads(b"[" + b",".join(line[VALUE] for line, good in zip(lines, whole, strict=True) if good) + b"]")
    return Lines(values, [number for number, good in enumerate(whole, 1) if not good])


def append(path: Place, values: Iterable[Any], *, sync: bool) -> tuple[int, int]:
    """Append a line for each value; with `sync` they are on the disk when this returns.

    Returns the file's size before and after. In an object store the file is written anew, unless somebody else has
    changed it meanwhile: then a ConflictError is raised and nothing is written.
    """
    data = lines_of(values)
    if isinstance(path, ObjectPath):
        tag = path.tag()
        before = path.read_bytes() if tag else b""
        path.write_bytes(before + data, instead_of=tag)
        return len(before), len(before) + len(data)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        end = _end_of_whole_lines(fd)
        if os.fstat(fd).st_size != end:
            os.ftruncate(fd, end)
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], end + written)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    return end, end + len(data)


def lines_of(values: Iterable[Any]) -> bytes:
    """Return the bytes of lines that hold these values."""
    return b"".join(map(_line, values))


def _line(value: Any) -> bytes:
    payload = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return HEAD + b"%08x" % google_crc32c.value(payload) + MIDDLE + payload + TAIL + b"\n"


def _end_of_whole_lines(fd: int) -> int:
    """Return where the last whole line ends, searched from the end."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
