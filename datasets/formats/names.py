"""Map names of other datasets to names of the store.

Any text becomes a path that stays inside its episode, and different names stay different. A name that is valid in the
store is kept; any other becomes its readable characters followed by a digest of the whole name, so the mapping is the
same on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from waldo.datasets.streams import NAME
from waldo.errors import FileError

LONGEST = 100
"""Longest path component that is kept [characters]; file systems allow 255 bytes."""

READABLE = 40
"""Number of characters kept of a name that is changed."""

CHANGED = re.compile(r".*-[0-9a-f]{16}")
"""Pattern of changed names; a foreign name that matches is changed too, so that the two cannot collide."""

TAKEN_BY_ZARR = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Names that zarr reserves."""


def stream_name(foreign: str, taken: Collection[str] = ()) -> str:
    """Return the stream name for a foreign name.

    Args:
        foreign: Name in the source; slashes separate folders.
        taken: Stream names of the same episode. Without them, different foreign names become different stream names.
    """
    plain = foreign.strip("/")
    parts = plain.split("/")
    if all(map(_is_sound, parts)) and not any(_collides(plain, other) for other in taken):
        return plain
    return _changed(foreign)


def field_name(foreign: str) -> str:
    """Return the field name for a foreign name."""
    return foreign if _is_sound(foreign) else _changed(foreign)


def key_names(names: Iterable[str], letters: str = r"A-Za-z0-9_") -> dict[str, str]:
    """Return stream -> distinct key of allowed characters, for formats with stricter naming rules than the store."""
    keys: dict[str, str] = {}
    for name in names:
        key = re.sub(f"[^{letters}]", "_", name)
        while key in keys.values():
            key = f"{key}_{_digest(name)}"
        keys[name] = key
    return keys


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Return distinct labels; the position is appended to a repeated label."""
    found: list[str] = []
    for place, label in enumerate(labels):
        while label in found:
            label = f"{label}.{place}"
        found.append(label)
    return tuple(found)


def inside(root: Path, relative: str) -> Path:
    """Return the path of a file that a dataset names relative to its root. Links are followed, as hub caches use them.

    Raises:
        FileError: If the name leads outside the root.
    """
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative or "\\" in relative:
        raise FileError(root, f"names the file {relative!r}, which is outside the folder", "do not trust this dataset")
    return root / path


def require_regular(path: Path) -> None:
    """Raise FileError if there is something else than a regular file at a path, as reading a pipe would block."""
    if path.exists() and not path.is_file():
        raise FileError(path, "is not a regular file", "fetch the dataset again")


def _is_sound(part: str) -> bool:
    """Return whether a path component can be used unchanged."""
    return (
        NAME.fullmatch(part) is not None
        and "/" not in part
        and set(part) != {"."}
        and len(part) <= LONGEST
        and not part.startswith("__")
        and part not in TAKEN_BY_ZARR
        and CHANGED.fullmatch(part) is None
    )


def _collides(name: str, other: str) -> bool:
    """Return whether two streams cannot be in one episode: equal names, or one is a folder of the other."""
    return name == other or name.startswith(other + "/") or other.startswith(name + "/")


def _changed(foreign: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", foreign).strip("_.-")[:READABLE]
    return f"{readable or 'unnamed'}-{_digest(foreign)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
