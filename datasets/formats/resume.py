"""What an import finds in a dataset: episodes that are there already, and what an interrupted import left half done."""

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
"""Why the recording of an imported episode ended; any other reason marks one that is not whole."""


def clear(dataset: Dataset) -> None:
    """Remove what an interrupted import left, and close what a crash cut off while recording."""
    for journal in dataset.unfinished:
        if _is_half_imported(journal):
            journal.unlink()
    dataset.recover()


def _is_half_imported(journal: Path) -> bool:
    with JournalReader(journal) as reader:
        opening, closing = reader.scan.opening, reader.scan.closing
    return opening is not None and closing is None and bool(digest_in(opening["attributes"]))


def digest_in(attributes: Mapping[str, Any]) -> str:
    """Return the identity of what an episode was imported from; empty for one that was recorded."""
    told = attributes.get("source")
    return str(told["digest"]) if isinstance(told, dict) and {"format", "episode", "digest"} <= told.keys() else ""


def missing(dataset: Dataset, source: Source, keys: Sequence[str]) -> list[str]:
    """Return the keys of those episodes that are not in the dataset; recovered halves of them are deleted there."""
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
    if again:
        dataset.delete(again)
    return [key for key in keys if digests[key] not in whole]


def _digest(source: Source, key: str) -> str:
    """Return an episode's identity; one that cannot be read has none, and importing it will say why."""
    try:
        return source.digest(key)
    except (WaldoError, ValueError):
        return ""
