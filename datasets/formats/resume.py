"""Find the episodes that a dataset already contains, and remove what an interrupted import left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.source import Source
from waldo.datasets.recording.journal import JournalReader
from waldo.errors import WaldoError

IMPORTED = "imported"
"""Reason of a completely imported episode."""


def clear(dataset: Dataset) -> None:
    """Remove the journal of an interrupted import and recover interrupted recordings."""
    for journal in dataset.unfinished:
        if _is_half_imported(journal):
            journal.unlink()
    dataset.recover()


def _is_half_imported(journal: Path) -> bool:
    with JournalReader(journal) as reader:
        opening, closing = reader.scan.opening, reader.scan.closing
    return opening is not None and closing is None and bool(digest_in(opening["attributes"]))


def digest_in(attributes: Mapping[str, Any]) -> str:
    """Return the digest of the episode that another one was imported from; empty for a recording."""
    origin = attributes.get("source")
    return (
        str(origin["digest"]) if isinstance(origin, dict) and {"format", "episode", "digest"} <= origin.keys() else ""
    )


def missing(dataset: Dataset, source: Source, keys: Sequence[str], *, keep: bool = False) -> list[str]:
    """Return the keys of the episodes that are not in the dataset.

    Args:
        dataset: The dataset.
        source: The source.
        keys: Keys of the requested episodes.
        keep: Whether recovered partial imports of them are kept; otherwise they are deleted, to be imported again.
    """
    deleted = [Episode(dataset.episode_path(entry.episode)) for entry in dataset.deleted]
    whole: set[str] = set()
    halves: dict[str, int] = {}
    for episode in [*dataset.episodes, *deleted]:
        digest = digest_in(episode.attributes)
        if digest and episode.reason == IMPORTED:
            whole.add(digest)
        elif digest and episode.index in dataset.indices:
            halves[digest] = episode.index
    if not whole and not halves:
        return list(keys)
    digests = {key: _digest(source, key) for key in keys}
    again = [halves[digest] for digest in digests.values() if digest in halves]
    if again and not keep:
        dataset.delete(again)
    return [key for key in keys if digests[key] not in whole]


def _digest(source: Source, key: str) -> str:
    """Return the digest of an episode; empty if it cannot be read, which its import will report."""
    try:
        return source.digest(key)
    except (WaldoError, ValueError):
        return ""
