"""The catalog of a dataset: one line per episode in `catalog.jsonl`, for listing and filtering without opening them.

The catalog is derived. It can be deleted at any time, and entries that it lacks are read from the episodes. A line is
appended when an episode is finalized, so the cost of an episode does not grow with the dataset.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, overload

import google_crc32c

from waldo.datasets.edits import Edits
from waldo.datasets.storage import jsonlines
from waldo.datasets.storage.episode_attributes import MAX_WINDING, read_attributes
from waldo.datasets.storage.layout import episode_name
from waldo.datasets.storage.store_path import StorePath
from waldo.errors import FileError

FILE = "catalog.jsonl"
"""Name in the dataset's folder."""

COUNTED = ("count", "lost", "lost_in_sequence", "lost_dropped", "lost_reported")
"""Keys of a stream's description that differ between episodes with the same streams."""


class Entry(NamedTuple):
    """The catalog entry of one episode; its fields are stored in this order."""

    episode: int
    """Index in the dataset."""
    task: str
    """The instruction."""
    outcome: str
    """Result of the attempt: success, failure or unknown."""
    reason: str
    """Why the recording ended."""
    start_ns: int
    """First publisher's stamp [ns since the epoch]."""
    duration_s: float
    """Time from the first stamp to the last [s]."""
    nbytes: int
    """Size on disk [bytes]."""
    lost: int
    """Lost messages of all streams."""
    max_winding_c: float | None
    """Maximum winding temperature of all motors [°C]; None if unknown."""
    signature: int
    """crc32c of the streams' descriptions; equal for episodes with the same streams."""


ROW_TYPES = set(
    itertools.product([int], [str], [str], [str], [int], [int, float], [int], [int], [int, float, type(None)], [int])
)
"""Types of the values of a row."""


class Catalog(Sequence[Entry]):
    """The entries of a dataset in order of their indices, after all edits."""

    def __init__(self, entries: Sequence[Entry], unreadable: Mapping[int, str]) -> None:
        """Create a catalog from its entries in increasing order and the errors of the unreadable episodes."""
        self.entries = entries
        self.unreadable = unreadable
        """Index -> error, for episodes with unreadable metadata."""

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.entries)

    @overload
    def __getitem__(self, position: int) -> Entry: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Entry]: ...
    def __getitem__(self, position: int | slice) -> Entry | Sequence[Entry]:
        """Return the entry at a position, which differs from its index if episodes before it were deleted."""
        return self.entries[position]

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries."""
        return iter(self.entries)


def load(folder: StorePath, indices: Iterable[int], edits: Edits) -> Catalog:
    """Return the catalog of these episodes; entries that the file lacks are read from the episodes and appended."""
    known = {row[0]: Entry._make(row) for row in rows(folder / FILE)}
    entries: list[Entry] = []
    missing: list[Entry] = []
    unreadable: dict[int, str] = {}
    for index in indices:
        entry = known.get(index)
        if entry is None:
            try:
                entry = describe(folder / episode_name(index), index)
            except FileError as error:
                unreadable[index] = f"zarr.json {error.found}"
                continue
            missing.append(entry)
        entries.append(entry)
    if missing and isinstance(folder, Path):
        add(folder, missing)
    return Catalog(_edited(entries, edits), unreadable)


def add(folder: StorePath, entries: Iterable[Entry]) -> None:
    """Append entries; a read-only folder is left without them."""
    with suppress(OSError, FileError):
        jsonlines.append(folder / FILE, [list(entry) for entry in entries], sync=False)


def describe(episode: StorePath, index: int) -> Entry:
    """Return the entry of a finalized episode; only its attributes are read."""
    attributes = read_attributes(episode)
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
        max_winding_c=attributes[MAX_WINDING],
        signature=signature(streams),
    )


def signature(streams: Mapping[str, Mapping[str, Any]]) -> int:
    """Return a checksum of stream descriptions; it is equal for episodes with the same streams."""
    descriptions = {n: {k: v for k, v in stream.items() if k not in COUNTED} for n, stream in streams.items()}
    return int(google_crc32c.value(json.dumps(descriptions, sort_keys=True).encode()))


def rows(path: StorePath) -> Sequence[Sequence[Any]]:
    """Return the valid rows of the file that have this version's fields; other entries are derived again."""
    return [row for row in jsonlines.read(path).values if isinstance(row, list) and tuple(map(type, row)) in ROW_TYPES]


def _edited(entries: list[Entry], edits: Edits) -> list[Entry]:
    """Return the entries after relabeling."""
    if not edits.relabeled:
        return entries
    return [_relabeled(e, edits) if e.episode in edits.relabeled else e for e in entries]


def _relabeled(entry: Entry, edits: Edits) -> Entry:
    edit = edits.relabeled[entry.episode]
    return entry._replace(task=edit.task or entry.task, outcome=edit.outcome or entry.outcome)
