"""Keys of an imported dataset, which an export to the same format writes again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from waldo.datasets.episode import Episode
from waldo.datasets.formats.source import MappedKey

MAX_BYTES = 200
"""Longest key, which becomes the name of a folder; file systems allow 255 bytes."""


def source_keys(mapped: Sequence[MappedKey], pairs: Sequence[str]) -> dict[str, str]:
    """Return destination -> key of the source, for the keys whose names should survive a round trip.

    Args:
        mapped: The keys of the source. A destination is a stream of images or a stream and field.
        pairs: The mapping that the user requested; a key that it renames is left out.
    """
    renamed = {pair.rpartition("=")[0] for pair in pairs}
    uses = Counter(one.stream for one in mapped)
    return {one.stream: one.key for one in mapped if one.stream and uses[one.stream] == 1 and one.key not in renamed}


def original_keys(
    episode: Episode, format: str, derived: Mapping[str, str], taken: Collection[str] = ()
) -> dict[str, str]:
    """Return destination -> key of an export: that of the source if it had the same format, else the derived one.

    Args:
        episode: The episode that determines the keys of the export.
        format: Format of the export.
        derived: Destination -> distinct key that the export has for it otherwise.
        taken: Keys of the export that have another meaning.
    """
    origin = episode.attributes.get("source")
    keys = origin.get("keys") if isinstance(origin, dict) and origin.get("format") == format else None
    known: Mapping[str, Any] = keys if isinstance(keys, dict) else {}
    found = dict(derived)
    for destination in derived:
        key = _usable(known.get(destination))
        if key and key not in taken and key not in found.values():
            found[destination] = key
    return found


def _usable(key: Any) -> str:
    """Return a key if it is a plain name, else "": a stored file must not choose a path outside the export."""
    if not isinstance(key, str) or len(key.encode("utf-8", "surrogatepass")) > MAX_BYTES or key.startswith("."):
        return ""
    return key if key.isprintable() and not {*key} & {*"/\\"} else ""
