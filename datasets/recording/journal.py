"""The append-only file that an episode is recorded into: one record after another, each with its own checksum.

Record, little endian, 48 bytes and the payload::

    "WJ01" | u8 kind | u8 stream | u16 flags | u32 nbytes | i64 header_ns | i64 receipt_ns | i64 publish_ns
    | i64 sequence | u32 crc32c(the 44 bytes before, then the payload) | payload

The first record is OPEN and holds the streams and attributes as JSON; CLOSE holds how the episode ended. A journal is
read from its start only, and a record that is cut or damaged ends it: everything before it counts, nothing after it.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from waldo.errors import FileError

MAGIC = b"WJ01"
HEADER = struct.Struct("<4sBBHIqqqqI")
"""A record's head: magic, kind, stream, flags, nbytes, header_ns, receipt_ns, publish_ns, sequence, crc32c."""

SYNC_S = 0.1
"""Pause between two times that records are forced onto the disk [s]: what a power cut takes, beside the sync itself."""


class Kind(IntEnum):
    """What a record holds."""

    OPEN = 0
    """JSON: streams, attributes."""
    FRAME = 1
    """One picture in its stream's own encoding: H.264 (Annex B), a JPEG, or a depth chunk."""
    ROW = 2
    """One row of a scalar stream."""
    HISTOGRAM = 3
    """u16 (3, 256): how often each value occurs in each channel of a sampled picture."""
    DROPPED = 4
    """A frame that arrived and could not be stored; no payload."""
    LOST = 5
    """u64: messages known to be lost beside gaps in the sequence."""
    SPILLED = 6
    """A picture that the encoder had no time for, cheaply packed: sealing encodes it."""
    EVENT = 7
    """JSON: something that happened: at_ns, kind, text."""
    CLOSE = 9
    """JSON: outcome, reason."""


class Flag(IntFlag):
    """What is special about a frame."""

    KEY = 1
    """A picture that decodes on its own."""
    REPEATED = 2
    """Every pixel is that of the frame before it."""


class Record(NamedTuple):
    """One valid record; the payload stays in the file."""

    kind: int
    flags: int
    header_ns: int
    receipt_ns: int
    publish_ns: int
    sequence: int
    offset: int
    nbytes: int


class Journal:
    """An episode's journal, open for appending. Any thread may append."""

    def __init__(self, path: Path, opening: Mapping[str, Any], sync_s: float = SYNC_S) -> None:
        """Create the file (it must not exist), write OPEN and force both it and its folder's entry onto the disk."""
        self.path = path
        payload = json.dumps(opening, allow_nan=False).encode()
        self._fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
        self._lock = threading.Lock()
        self._size = 0
        self._dirty = False
        self._failure: str | None = None
        self._stop = threading.Event()
        self.append(Kind.OPEN, payload=payload)
        os.fsync(self._fd)
        sync_folder(path.parent)
        self._syncer = threading.Thread(target=self._sync_every, args=(sync_s,), name="journal-sync", daemon=True)
        self._syncer.start()

    @property
    def nbytes(self) -> int:
        """How many bytes of whole records it holds."""
        return self._size

    def append(
        self,
        kind: Kind,
        *,
        stream: int = 0,
        flags: int = 0,
        header_ns: int = 0,
        receipt_ns: int = 0,
        publish_ns: int = -1,
        sequence: int = 0,
        payload: bytes | memoryview = b"",
    ) -> None:
        """Append one record; a disk that refuses it leaves the journal ending at the record before."""
        stamps = (header_ns, receipt_ns, publish_ns, sequence)
        head = HEADER.pack(MAGIC, kind, stream, flags, len(payload), *stamps, 0)[:-4]
        head += struct.pack("<I", checksum(head, payload))
        with self._lock:
            if self._fd < 0:
                self._failure = "it is closed"
            if self._failure:
                raise self._error()
            try:
                written = os.pwritev(self._fd, [head, payload], self._size)
            except OSError as error:
                written, self._failure = -1, error.strerror
            if written != len(head) + len(payload):
                self._failure = self._failure or "the disk is full"
                os.ftruncate(self._fd, self._size)
                raise self._error()
            self._size += written
            self._dirty = True

    def close(self) -> None:
        """Force everything onto the disk and close the file."""
        if self._fd < 0:
            return
        self._stop.set()
        self._syncer.join()
        with self._lock:
            try:
                os.fsync(self._fd)
            finally:
                os.close(self._fd)
                self._fd = -1

    def _sync_every(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            if not self._dirty:
                continue
            self._dirty = False
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                # The kernel has dropped the pages: what was written since the last sync may be gone.
                self._failure = error.strerror or "fdatasync failed"

    def _error(self) -> FileError:
        what = f"cannot be written ({self._failure}); its first {self._size} bytes are kept"
        return FileError(self.path, what, "mend the disk, then run waldo recover")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a journal holds up to its first cut or damaged record."""

    opening: Mapping[str, Any] | None
    """OPEN's streams and attributes; None where even that is unreadable."""
    closing: Mapping[str, Any] | None
    """CLOSE's outcome and reason; None where the recording was cut off."""
    records: tuple[tuple[Record, ...], ...]
    """Each stream's records in the order of arrival."""
    events: tuple[Mapping[str, Any], ...]
    """What happened, in the order in which it was noted."""
    valid_bytes: int
    """Where the first unreadable byte is."""
    total_bytes: int
    """The file's size."""
    continues: bool
    """True if valid records follow the damage: then it is damage in the middle and no cut."""

    @property
    def lost_bytes(self) -> int:
        """How many bytes at the end are not readable."""
        return self.total_bytes - self.valid_bytes


class JournalReader:
    """A journal open for reading, as a context manager: `scan` and the payloads."""

    def __init__(self, path: Path) -> None:
        """Map the file into memory."""
        self.path = path
        self._file = path.open("rb")
        size = os.fstat(self._file.fileno()).st_size
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        self._view = memoryview(self._map) if self._map else memoryview(b"")
        self.scan = self._scan()

    def __enter__(self) -> JournalReader:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._view.release()
        if self._map:
            self._map.close()
        self._file.close()

    def payload(self, record: Record) -> bytes:
        """Return a record's payload."""
        return bytes(self._view[record.offset : record.offset + record.nbytes])

    def _scan(self) -> Scan:
        """Read records up to the first that is cut or damaged."""
        view = self._view
        opening: dict[str, Any] | None = None
        closing: dict[str, Any] | None = None
        records: list[list[Record]] = []
        events: list[dict[str, Any]] = []
        at = 0
        while (found := _read(view, at)) is not None:
            stream, record = found
            body = view[record.offset : record.offset + record.nbytes]
            if opening is None:
                if record.kind != Kind.OPEN:
                    break
                opening = json.loads(bytes(body))
                records = [[] for _ in opening["streams"]]  # type: ignore[index]
            elif record.kind == Kind.CLOSE:
                closing = json.loads(bytes(body))
            elif record.kind == Kind.EVENT:
                events.append(json.loads(bytes(body)))
            elif stream < len(records):
                records[stream].append(record)
            at = record.offset + record.nbytes
            if closing is not None:
                break
        return Scan(
            opening=opening,
            closing=closing,
            records=tuple(map(tuple, records)),
            events=tuple(events),
            valid_bytes=at,
            total_bytes=len(view),
            continues=self._continues(at),
        )

    def _continues(self, at: int) -> bool:
        """Return whether a valid record begins anywhere after `at`."""
        while self._map is not None and (at := self._map.find(MAGIC, at + 1)) >= 0:
            if _read(self._view, at) is not None:
                return True
        return False


def checksum(head: bytes | memoryview, payload: bytes | memoryview) -> int:
    """Return the crc32c of a record's head (without the checksum itself) and payload."""
    return int(google_crc32c.extend(google_crc32c.value(bytes(head)), bytes(payload)))


def sync_folder(folder: Path) -> None:
    """Force a folder's entries onto the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(view: memoryview, at: int) -> tuple[int, Record] | None:
    """Return the stream and record at `at`, or None where there is no whole and sound one."""
    body = at + HEADER.size
    if body > len(view):
        return None
    magic, kind, stream, flags, nbytes, header_ns, receipt_ns, publish_ns, sequence, crc = HEADER.unpack(view[at:body])
    if magic != MAGIC or body + nbytes > len(view):
        return None
    if checksum(view[at : body - 4], view[body : body + nbytes]) != crc:
        return None
    return stream, Record(kind, flags, header_ns, receipt_ns, publish_ns, sequence, body, nbytes)
