"""The append-only file that an episode is recorded into: consecutive records, each with a checksum.

Layout of a record, little endian, 48 bytes and the payload::

    "WJ01" | u8 kind | u8 stream | u16 flags | u32 nbytes | i64 header_ns | i64 receipt_ns | i64 publish_ns
    | i64 sequence | u32 crc32c(the 44 bytes before, then the payload) | payload

The first record is OPEN, with the streams and attributes as JSON; the last one is CLOSE, with the outcome. A journal is
read from its start, and the first record that is cut off or damaged ends it: everything before is valid, nothing after.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, NamedTuple

import google_crc32c

from waldo.datasets.storage.episode_attributes import is_event
from waldo.datasets.streams import stream_from_dict
from waldo.errors import FileError, WaldoError
from waldo.files import open_regular, sync_file
from waldo.json_file import parse_json

MAGIC = b"WJ01"
HEADER = struct.Struct("<4sBBHIqqqqI")
"""Header of a record: magic, kind, stream, flags, nbytes, header_ns, receipt_ns, publish_ns, sequence, crc32c."""

SYNC_S = 0.1
"""Time between two flushes to disk [s]; a power cut loses the records since the last one."""


class Kind(IntEnum):
    """Kind of record and contents of its payload."""

    OPEN = 0
    """JSON: streams, attributes."""
    FRAME = 1
    """One frame in its stream's encoding: H.264 (Annex B), a JPEG, or a depth chunk."""
    ROW = 2
    """One row of a scalar stream."""
    HISTOGRAM = 3
    """u16 (3, 256): how often each value occurs in each channel of a sampled frame."""
    DROPPED = 4
    """A frame that arrived and could not be stored; no payload."""
    LOST = 5
    """u64: lost messages in addition to gaps in the sequence."""
    SPILLED = 6
    """A frame that the encoder had no time for, as a JPEG or packed; it is encoded when the episode is finalized."""
    EVENT = 7
    """JSON: at_ns, kind, text."""
    CLOSE = 9
    """JSON: outcome, reason."""


class Flag(IntFlag):
    """Properties of a frame."""

    KEY = 1
    """The frame can be decoded without any other."""
    REPEATED = 2
    """Every pixel equals that of the frame before."""


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


class JournalError(FileError):
    """A journal that can no longer be written: the episode ends with its last complete record."""

    exit_code = 3


class Journal:
    """An episode's journal, open for appending. Any thread may append."""

    def __init__(self, path: Path, opening: Mapping[str, Any], sync_s: float = SYNC_S) -> None:
        """Create the file, which must not exist, and write and flush OPEN.

        Args:
            path: The journal's path.
            opening: Streams and attributes of the episode.
            sync_s: Time between two flushes to disk [s].
        """
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
        sync_file(path.parent)
        self._syncer = threading.Thread(target=self._sync_every, args=(sync_s,), name="journal-sync", daemon=True)
        self._syncer.start()

    @property
    def nbytes(self) -> int:
        """Size of the complete records [bytes]."""
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
        """Append one record.

        Raises:
            JournalError: If it cannot be written; the journal then ends with the record before.
        """
        stamps = (header_ns, receipt_ns, publish_ns, sequence)
        head = HEADER.pack(MAGIC, kind, stream, flags, len(payload), *stamps, 0)[:-4]
        head += struct.pack("<I", checksum(head, payload))
        with self._lock:
            if self._fd < 0:
                self._failure = "the journal is closed"
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
        """Flush everything to disk and close the file."""
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
                # The kernel has dropped the dirty pages: records since the last flush may be lost.
                self._failure = error.strerror or "fdatasync failed"

    def _error(self) -> JournalError:
        found = f"cannot be written ({self._failure}); its first {self._size} bytes are intact"
        return JournalError(self.path, found, "fix the disk, then run waldo recover")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Contents of a journal up to its first cut-off or damaged record."""

    opening: Mapping[str, Any] | None
    """Streams and attributes; None if the first record is unreadable."""
    closing: Mapping[str, Any] | None
    """Outcome and reason; None if the recording was cut off."""
    records: tuple[tuple[Record, ...], ...]
    """Records of each stream in order of arrival."""
    events: tuple[Mapping[str, Any], ...]
    """Events in order of arrival."""
    valid_bytes: int
    """Size of the readable part [bytes]."""
    total_bytes: int
    """Size of the file [bytes]."""
    continues: bool
    """True if valid records follow the unreadable one: the file is damaged in the middle, not cut off."""

    @property
    def lost_bytes(self) -> int:
        """Size of the unreadable part [bytes]."""
        return self.total_bytes - self.valid_bytes


class JournalReader:
    """Reads a journal: `scan` and the payloads of its records. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        """Map the file into memory and scan it."""
        self.path = path
        self._file = open_regular(path)
        size = os.fstat(self._file.fileno()).st_size
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        self._view = memoryview(self._map) if self._map else memoryview(b"")
        self.scan = self._scan()

    def __enter__(self) -> JournalReader:
        """Return the reader."""
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
        """Read the records up to the first one that is cut off or damaged."""
        view = self._view
        opening: dict[str, Any] | None = None
        closing: dict[str, Any] | None = None
        records: list[list[Record]] = []
        events: list[dict[str, Any]] = []
        at = 0
        while (valid := _read(view, at)) is not None:
            stream, record = valid
            body = view[record.offset : record.offset + record.nbytes]
            if opening is None:
                if record.kind != Kind.OPEN:
                    break
                opening = _opening(bytes(body))
                if opening is None:
                    break
                records = [[] for _ in opening["streams"]]
            elif record.kind == Kind.CLOSE:
                closing = _closing(bytes(body))
                if closing is None:
                    break
            elif record.kind == Kind.EVENT:
                events.append(_event(bytes(body), record))
            elif stream < len(records):
                records[stream].append(record)
            else:
                break
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
        """Return whether a valid record starts anywhere after `at`."""
        while self._map is not None and (at := self._map.find(MAGIC, at + 1)) >= 0:
            if _read(self._view, at) is not None:
                return True
        return False


def checksum(head: bytes | memoryview, payload: bytes | memoryview) -> int:
    """Return the crc32c of a record's header (without the checksum) and payload."""
    return int(google_crc32c.extend(google_crc32c.value(bytes(head)), bytes(payload)))


def _read(view: memoryview, at: int) -> tuple[int, Record] | None:
    """Return the stream and the record at `at`, or None if there is no valid one."""
    body = at + HEADER.size
    if body > len(view):
        return None
    magic, kind, stream, flags, nbytes, header_ns, receipt_ns, publish_ns, sequence, crc = HEADER.unpack(view[at:body])
    if magic != MAGIC or body + nbytes > len(view):
        return None
    if checksum(view[at : body - 4], view[body : body + nbytes]) != crc:
        return None
    return stream, Record(kind, flags, header_ns, receipt_ns, publish_ns, sequence, body, nbytes)


def _opening(body: bytes) -> dict[str, Any] | None:
    """Return the content of OPEN; None if it does not describe an episode."""
    try:
        found = parse_json(body)
        names = [stream_from_dict(stream).name for stream in found["streams"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, WaldoError):
        return None
    return found if isinstance(found.get("attributes"), dict) and len(set(names)) == len(names) else None


def _closing(body: bytes) -> dict[str, Any] | None:
    """Return the content of CLOSE; None if it is not an outcome and a reason."""
    try:
        found = parse_json(body)
    except ValueError:
        return None
    is_known = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("outcome", "reason"))
    return found if is_known else None


def _event(body: bytes, record: Record) -> dict[str, Any]:
    """Return an event, or in place of an unreadable one an event that states it."""
    with suppress(ValueError):
        if is_event(found := parse_json(body)):
            return found
    return {"at_ns": record.header_ns, "kind": "damaged", "text": "an event of the journal is unreadable"}
