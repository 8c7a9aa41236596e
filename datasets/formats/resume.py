"""Find the episodes that a dataset already contains, and remove what an interrupted import left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.content import DIGEST_VERSION, contains
from waldo.datasets.formats.source import EpisodeDraft, Source
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
    whole: set[str] = set()
    older: set[tuple[Any, ...]] = set()
    halves: dict[str, int] = {}
    for episode in stored_episodes(dataset):
        digest = digest_in(episode.attributes)
        if digest and episode.reason == IMPORTED:
            whole.add(digest)
            if (origin := episode.attributes["source"]).get("digest_version") != DIGEST_VERSION:
                older.add((origin["format"], origin.get("name"), origin["episode"]))
        elif digest and episode.index in dataset.indices:
            halves[digest] = episode.index
    if not whole and not halves:
        return list(keys)
    todo = [key for key in keys if (source.format, source.name, key) not in older]
    digests = {key: _digest(source, key) for key in todo}
    again = [halves[digest] for digest in digests.values() if digest in halves]
    if again and not keep:
        dataset.delete(again)
    return [key for key in todo if digests[key] not in whole]


def stored_episodes(dataset: Dataset) -> list[Episode]:
    """Return all episodes of a dataset, including deleted ones, which are not imported again."""
    return [*dataset.episodes, *(Episode(dataset.episode_path(entry.episode)) for entry in dataset.deleted)]


def absent_in(episode: Episode) -> list[str]:
    """Return the cameras that other episodes of an episode's source may have and it lacks."""
    origin = episode.attributes.get("source")
    known = origin.get("absent") if isinstance(origin, dict) else None
    return [str(name) for name in known] if isinstance(known, list) else []


def containing(path: Path, draft: EpisodeDraft, starts: Sequence[str], *, before: int, run: int) -> int | None:
    """Return the imported episode that a draft is the beginning of; None if there is none.

    Args:
        path: Folder of the dataset.
        draft: The draft.
        starts: Its checkpoints.
        before: Only episodes below this index are considered.
        run: Unique number of the import, which reads the stored episodes once per process.
    """
    candidates = _checkpoints(path, before, run).get(starts[-1], ()) if starts else ()
    dataset = Dataset.open(path) if candidates else None
    for index in candidates:
        if dataset is not None and contains(Episode(dataset.episode_path(index)), draft):
            return index
    return None


@lru_cache(maxsize=1)
def _checkpoints(path: Path, before: int, run: int) -> Mapping[str, Sequence[int]]:
    """Return checkpoint -> imported episodes with it, of the episodes below an index."""
    found: dict[str, list[int]] = {}
    for episode in stored_episodes(Dataset.open(path)):
        origin = episode.attributes.get("source")
        known = origin.get("checkpoints") if isinstance(origin, dict) else None
        if episode.index < before and isinstance(known, list):
            for checkpoint in known:
                found.setdefault(str(checkpoint), []).append(episode.index)
    return found


def _digest(source: Source, key: str) -> str:
    """Return the digest of an episode; empty if it cannot be read, which its import will report."""
    try:
        return source.digest(key)
    except (WaldoError, ValueError):
        return ""
