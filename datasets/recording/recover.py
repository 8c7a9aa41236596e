"""Recovery of the episodes that a crash cut off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from waldo.datasets.compatibility import OPTIONAL_STREAMS
from waldo.datasets.recording.journal import JournalReader, Kind, Record, Scan
from waldo.datasets.storage.layout import episode_entries, episode_index
from waldo.errors import FileError
from waldo.files import remove_partials, sync_file
from waldo.json_file import shown

MAX_CRASH_LOSS_S = 0.5
"""Longest stretch that a crash removes from the open episode [s]; measured by benchmarks/kill.py and power_cut.py."""

LATE_PERIODS = 1.5
"""A stream that ends more periods than this before the last one is reported as ending earlier."""

type Finalize = Callable[[Path, Path], Mapping[str, Any]]
"""Converts a journal into an episode; returns the episode's attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """The result of recovering one episode."""

    index: int
    """The episode's index."""
    path: Path | None
    """The episode; None if there was nothing to recover."""
    note: str
    """What was done."""
    lost_bytes: int
    """Unreadable bytes at the end of the journal."""
    span_ns: tuple[int, int] = (0, 0)
    """First and last publisher's stamp of the recovered data [ns]."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Stream -> recovered rows or frames."""
    missing_s: Mapping[str, float] = field(default_factory=dict[str, float])
    """Streams that end more than a period before the last one, and by how much [s]."""

    def __str__(self) -> str:
        """Describe what was recovered and what was lost."""
        parts = [f"episode {self.index}: {self.note}"]
        if self.counts:
            first, last = self.span_ns
            counts = ", ".join(f"{count} {name}" for name, count in self.counts.items())
            parts.append(f"recovered {(last - first) / 1e9:.2f} s until {_format_time(last)}: {counts}")
        if self.path is not None and self.counts:
            ends = "".join(f", {name} ends {s:.2f} s earlier" for name, s in self.missing_s.items())
            parts.append(f"lost at most {MAX_CRASH_LOSS_S:g} s after that{ends}")
        parts.append(f"{self.lost_bytes} bytes at the end were unreadable" if self.lost_bytes else "")
        return "; ".join(filter(None, parts))


def remove_unfinished(folder: Path) -> None:
    """Delete the episodes that a crash left half built; their journals are complete."""
    remove_partials(folder)
    for entry in list(episode_entries(path.name for path in folder.iterdir())):
        if entry.kind == "zarr.tmp":  # written by waldo 0.1
            shutil.rmtree(folder / entry.name)


def recover(journal: Path, finalize: Finalize) -> Recovered:
    """Turn the journal of a cut-off episode into an episode; damaged journals are kept as `.damaged`."""
    try:
        with JournalReader(journal) as reader:
            scan = reader.scan
    except OSError as error:
        raise FileError(journal, f"cannot be read ({error.strerror or error})", "move it away") from error
    destination = journal.with_suffix(".zarr")
    if destination.exists():
        # The crash was between the rename of the episode and the removal of its journal.
        journal.unlink()
        return _result(journal, scan, path=destination, note="was already saved")
    if not any(scan.records):
        return _result(journal, scan, path=None, note=_set_aside(journal, scan))
    if scan.continues:
        # Valid records follow the damage, so this is not a torn end: keep them for a manual repair.
        shutil.copyfile(journal, _damaged_path(journal))
    try:
        attributes = finalize(journal, destination)
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        # Its records have matching checksums and no meaning: a program wrote them that is not this one.
        journal.rename(_damaged_path(journal))
        sync_file(journal.parent)
        note = f"cannot be converted ({shown(error, 200)}); the journal is kept as .damaged"
        return _result(journal, scan, path=None, note=note)
    note = f"saved as {attributes['outcome']} ({attributes['reason']})"
    if scan.continues:
        note += "; damaged in the middle, the journal is kept as .damaged"
    return _result(journal, scan, path=destination, note=note, **_summary(attributes, scan))


def _set_aside(journal: Path, scan: Scan) -> str:
    """Remove a journal without records, or keep an unreadable one as `.damaged`; return a note."""
    if scan.continues or (scan.total_bytes and scan.opening is None):
        journal.rename(_damaged_path(journal))
        part = "first record" if scan.opening is None else "second record"
        note = f"the journal's {part} is unreadable; the journal is kept as .damaged"
    else:
        journal.unlink()
        note = "nothing had been recorded"
    sync_file(journal.parent)
    return note


def _result(journal: Path, scan: Scan, **values: Any) -> Recovered:
    return Recovered(index=episode_index(journal), lost_bytes=scan.lost_bytes, **values)


def _summary(attributes: Mapping[str, Any], scan: Scan) -> dict[str, Any]:
    """Return the counts, the span and the early ends of a recovered episode."""
    streams: Mapping[str, Mapping[str, Any]] = attributes["streams"]
    descriptions: Sequence[Mapping[str, Any]] = scan.opening["streams"] if scan.opening else []
    ends = {d["name"]: _last_ns(records) for d, records in zip(descriptions, scan.records, strict=True)}
    first, last = attributes["span_ns"]
    missing_s = {
        name: (last - ends[name]) / 1e9
        for name, stream in streams.items()
        if stream["count"] and name not in OPTIONAL_STREAMS
        if (last - ends[name]) * stream["rate_hz"] > LATE_PERIODS * 1e9
    }
    counts = {name: stream["count"] for name, stream in streams.items()}
    return {"span_ns": (first, last), "counts": counts, "missing_s": missing_s}


def _last_ns(records: Sequence[Record]) -> int:
    """Return the latest publisher's stamp of a stream's rows and frames [ns]; 0 if it has none."""
    stored = (Kind.FRAME, Kind.SPILLED, Kind.ROW)
    return max((record.header_ns for record in records if record.kind in stored), default=0)


def _damaged_path(journal: Path) -> Path:
    return journal.with_name(journal.name + ".damaged")


def _format_time(stamp_ns: int) -> str:
    """Return a stamp in UTC for messages."""
    return datetime.fromtimestamp(stamp_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")
