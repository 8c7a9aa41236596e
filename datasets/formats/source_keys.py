"""Keys and types of an imported dataset, which an export to the same format writes again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from waldo.datasets.episode import Episode
from waldo.datasets.formats.source import MappedKey

MAX_BYTES = 200
"""Longest key, which becomes the name of a folder; file systems allow 255 bytes."""

KEPT_DTYPES = frozenset(("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float64"))
"""Types that an export writes again; every other one becomes float32, as the numbers of robots are."""


def source_keys(mapped: Sequence[MappedKey], pairs: Sequence[str]) -> dict[str, str]:
    """Return destination -> key of the source, for the keys whose names should survive a round trip.

    Args:
        mapped: The keys of the source. A destination is a stream of images or a stream and field.
        pairs: The mapping that the user requested; a key that it renames is left out.
    """
    renamed = {pair.rpartition("=")[0] for pair in pairs}
    return {one.stream: one.key for one in _alone(mapped) if one.key not in renamed}


def source_dtypes(mapped: Sequence[MappedKey]) -> dict[str, str]:
    """Return destination -> type in the source, for the types that should survive a round trip."""
    return {one.stream: one.dtype for one in _alone(mapped) if one.dtype in KEPT_DTYPES}


def _alone(mapped: Sequence[MappedKey]) -> list[MappedKey]:
    """Return the imported keys that share their destination with no other."""
    uses = Counter(one.stream for one in mapped)
    return [one for one in mapped if one.stream and uses[one.stream] == 1]


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
    known = _known(episode, format, "keys")
    found = dict(derived)
    for destination in derived:
        key = _usable(known.get(destination))
        if key and key not in taken and key not in found.values():
            found[destination] = key
    return found


def original_dtypes(episode: Episode, format: str) -> dict[str, np.dtype[Any]]:
    """Return destination -> type in the source, if the source had the format of the export.

    Args:
        episode: The episode that determines the types of the export.
        format: Format of the export.
    """
    known = _known(episode, format, "dtypes")
    return {name: np.dtype(dtype) for name, dtype in known.items() if isinstance(dtype, str) and dtype in KEPT_DTYPES}


def _known(episode: Episode, format: str, name: str) -> Mapping[str, Any]:
    """Return what the import stated of the source, if the source had this format."""
    origin = episode.attributes.get("source")
    found = origin.get(name) if isinstance(origin, dict) and origin.get("format") == format else None
    return found if isinstance(found, dict) else {}


def _usable(key: Any) -> str:
    """Return a key if it is a plain name, else "": a stored file must not choose a path outside the export."""
    if not isinstance(key, str) or len(key.encode("utf-8", "surrogatepass")) > MAX_BYTES or key.startswith("."):
        return ""
    return key if key.isprintable() and not {*key} & {*"/\\"} else ""
