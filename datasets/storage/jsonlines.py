"""Append-only files of JSON lines, each with a checksum.

::

    {"crc32c":"1c291ca3","value":{"edit":"delete","episodes":"3-5"}}

A line that a crash cut off was never confirmed to the caller: it is ignored, and overwritten by the next append.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import google_crc32c

from waldo.datasets.storage.store_path import ObjectPath, StorePath, read_bytes
from waldo.errors import FileError
from waldo.json_file import parse_json

HEAD, MIDDLE, TAIL = b'{"crc32c":"', b'","value":', b"}"
"""The parts of a line around the checksum and the value."""

SUM = slice(len(HEAD), len(HEAD) + 8)
"""Position of the checksum in a line, as hexadecimal digits."""

VALUE = slice(SUM.stop + len(MIDDLE), -len(TAIL))
"""Position of the value in a line; the checksum covers these bytes."""


class Lines(NamedTuple):
    """The contents of a file."""

    values: Sequence[Any]
    """The values of the valid lines."""
    damaged: Sequence[int]
    """Line numbers, from 1, with a wrong checksum or a value that is not JSON."""


def read(path: StorePath) -> Lines:
    """Read a file; one that does not exist counts as empty.

    Raises:
        FileError: If there is something else than a file.
    """
    try:
        return parse(read_bytes(path))
    except FileNotFoundError:
        return Lines([], [])
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror or error})") from error


def parse(data: bytes) -> Lines:
    """Parse the content of a file; bytes after the last line end are ignored."""
    lines = data.split(b"\n")[:-1]
    crc = google_crc32c.value
    valid = [b"%08x" % crc(line[VALUE]) == line[SUM] for line in lines]
    texts = [line[VALUE] for line, good in zip(lines, valid, strict=True) if good]
    values: list[Any]
    try:
        # One call for all lines: 100,000 calls would take many times as long.
        values = parse_json(b"[" + b",".join(texts) + b"]")
    except ValueError:
        values = []
    if len(values) != len(texts):
        values = []
        for number in [number for number, good in enumerate(valid) if good]:
            try:
                values.append(parse_json(lines[number][VALUE]))
            except ValueError:
                valid[number] = False
    return Lines(values, [number for number, good in enumerate(valid, 1) if not good])


def append(path: StorePath, values: Iterable[Any], *, sync: bool) -> tuple[int, int]:
    """Append one line per value; an object store replaces the whole file.

    Args:
        path: The file.
        values: Values that JSON can represent.
        sync: Flush the lines to disk before returning.

    Returns:
        The size of the file before and after [bytes].

    Raises:
        ConflictError: If another process has changed the file in the object store; nothing is written.
    """
    data = lines_of(values)
    if isinstance(path, ObjectPath):
        tag = path.tag()
        before = path.read_bytes() if tag else b""
        path.write_bytes(before + data, replacing=tag)
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
    """Return the bytes of the lines for these values."""
    return b"".join(map(_line, values))


def _line(value: Any) -> bytes:
    payload = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return HEAD + b"%08x" % google_crc32c.value(payload) + MIDDLE + payload + TAIL + b"\n"


def _end_of_whole_lines(fd: int) -> int:
    """Return the end of the last whole line, searched from the end of the file."""
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - 65536)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
