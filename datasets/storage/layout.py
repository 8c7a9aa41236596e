"""Names of the entries in a dataset's folder.

::

    dataset.json            {"format": "waldo-dataset", "schema_version": 1, "robot": "so101"}
    lock                    held by the recorder (flock); contains its name
    rules.yaml              optional: the rules of its episodes' quality; see quality/rules.py
    edits.jsonl             changes to episodes: deleted, relabeled ...; see edits.py
    catalog.jsonl           one line per episode, derived from the episodes; see catalog.py
    episode_000000.zarr/    a finished episode; never modified
    episode_000001.journal  an episode that is being recorded, or was cut off by a crash
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from waldo.errors import FileError

DATASET_FILE = "dataset.json"
LOCK_FILE = "lock"

NAME = re.compile(r"episode_(\d{6,})\.(zarr|journal)(?:\.(tmp|damaged))?")
"""Entries that belong to an episode; waldo 0.1 built episodes in `.zarr.tmp`."""


class EpisodeEntry(NamedTuple):
    """An entry of a dataset's folder that belongs to an episode."""

    episode: int
    """Index of the episode."""
    name: str
    kind: str
    """`zarr`, `journal`, `zarr.tmp`, `journal.damaged` ..."""


def episode_name(index: int) -> str:
    """Return the name of a finished episode."""
    return f"episode_{index:06d}.zarr"


def journal_name(index: int) -> str:
    """Return the name of an episode's journal."""
    return f"episode_{index:06d}.journal"


def episode_entries(names: Iterable[str]) -> Iterator[EpisodeEntry]:
    """Yield the entries that belong to episodes."""
    for name in names:
        if match := NAME.fullmatch(name):
            yield EpisodeEntry(int(match[1]), name, ".".join(filter(None, match.group(2, 3))))


def episode_index(path: Path) -> int:
    """Return the index in the name of an episode or a journal."""
    match = NAME.fullmatch(path.name)
    if match is None:
        raise FileError(path, "is not named like an episode", "expected episode_000000.zarr")
    return int(match[1])
