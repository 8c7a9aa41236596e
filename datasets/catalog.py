"""What is known of every episode without opening one: a line each in `catalog.jsonl`.

The catalogue is derived: it can be deleted at any time and is completed from the episodes whenever one is missing in
it. A line is appended when an episode is sealed, so the cost of an episode does not grow with the dataset.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, overload

import google_crc32c

from waldo.datasets import jsonlines
from waldo.datasets.edits import Edits
from waldo.datasets.recording.finalize import FORMAT
from waldo.datasets.store_path import Place
from waldo.errors import FileError

FILE = "catalog.jsonl"
"""The name in a dataset's folder."""

COUNTED = ("count", "lost", "lost_in_sequence", "lost_dropped", "lost_reported")
"""What differs from episode to episode in the description of the same stream."""


class Entry(NamedTuple):
    """One episode."""

    episode: int
    """Its number in the dataset."""
    task: str
    """The instruction."""
    outcome: str
    """How the attempt went: success, failure or unknown."""
    reason: str
    """Why the recording ended."""
    start_ns: int
    """The first publisher's stamp [ns since the epoch]."""
    duration_s: float
    """From the first stamp to the last [s]."""
    nbytes: int
    """Bytes on the disk."""
    lost: int
    """Messages that are missing, of all streams."""
    hottest_c: float | None
    """The hottest winding [°C]; None where nobody knows."""
    signature: int
    """crc32c of the streams' descriptions: episodes with the same have the same streams."""


class Catalog(Sequence[Entry]):
    """The episodes of a dataset, by index, as they are after all edits."""

    def __init__(self, entries: Sequence[Entry], unreadable: Mapping[int, str]) -> None:
        """Take the entries in rising order, and why other episodes cannot be read."""
        self.entries = entries
        self.unreadable = unreadable
        """Index -> what is wrong, for episodes without a readable description."""

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.entries)

    @overload
    def __getitem__(self, position: int) -> Entry: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Entry]: ...
    def __getitem__(self, position: int | slice) -> Entry | Sequence[Entry]:
        """Return the entry at a position, which is not its index where others were deleted."""
        return self.entries[position]

    def __iter__(self) -> Iterator[Entry]:
        """Go through the entries."""
        return iter(self.entries)


def load(folder: Place, indices: Iterable[int], edits: Edits) -> Catalog:
    """Return the entries of these episodes; those that the file lacks are read from the episodes and appended."""
    known = {row[0]: Entry._make(row) for row in rows(folder / FILE)}
    entries: list[Entry] = []
    missing: list[Entry] = []
    unreadable: dict[int, str] = {}
    for index in indices:
        entry = known.get(index)
        if entry is None:
            try:
                entry = describe(folder / f"episode_{index:06d}.zarr", index)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                unreadable[index] = f"its zarr.json cannot be read ({error})"
                continue
            missing.append(entry)
        entries.append(entry)
    if missing and isinstance(folder, Path):
        add(folder, missing)
    return Catalog(_edited(entries, edits), unreadable)


def add(folder: Place, entries: Iterable[Entry]) -> None:
    """Append entries; a folder that cannot be written to goes without."""
    with suppress(OSError, FileError):
        jsonlines.append(folder / FILE, [list(entry) for entry in entries], sync=False)


def describe(episode: Place, index: int) -> Entry:
    """Return the entry of a sealed episode; reads its attributes and nothing else."""
    attributes = json.loads((episode / "zarr.json").read_bytes())["attributes"]
    if attributes["format"] != FORMAT:
        raise ValueError(f"is {attributes['format']!r}, expected {FORMAT!r}")
    start, end = attributes["span_ns"]
    streams: Mapping[str, Mapping[str, Any]] = attributes["streams"]
    return Entry(
        episode=index,
        task=str(attributes.get("task", "")),
        outcome=attributes["outcome"],
        reason=attributes["reason"],
        start_ns=start,
        duration_s=(end - start) / 1e9,
        nbytes=attributes["nbytes"],
        lost=sum(stream["lost"] for stream in streams.values()),
        hottest_c=attributes["hottest_c"],
        signature=signature(streams),
    )


def signature(streams: Mapping[str, Mapping[str, Any]]) -> int:
    """Return a number that is the same for episodes whose streams are described the same."""
    described = {n: {k: v for k, v in stream.items() if k not in COUNTED} for n, stream in streams.items()}
    return int(google_crc32c.value(json.dumps(described, sort_keys=True).encode()))


def rows(path: Place) -> Sequence[Sequence[Any]]:
    """Return the rows of the file that are whole and of this version's width; the rest is derived anew."""
    width = len(Entry._fields)
    return [row for row in jsonlines.read(path).values if isinstance(row, list) and len(row) == width]


def _edited(entries: list[Entry], edits: Edits) -> list[Entry]:
    """Return the entries with their new labels."""
    if not edits.relabelled:
        return entries
    return [_relabelled(e, edits) if e.episode in edits.relabelled else e for e in entries]


def _relabelled(entry: Entry, edits: Edits) -> Entry:
    edit = edits.relabelled[entry.episode]
    return entry._replace(task=edit.task or entry.task, outcome=edit.outcome or entry.outcome)
