"""Foreign names as names of the store: any text becomes a path that stays inside an episode, and no two the same one.

A name that the store can bear is kept. Any other keeps what is readable of it, behind which stands a digest of the
whole name, so that the mapping is the same everywhere and forever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from waldo.datasets.streams import NAME, RESERVED_FIELDS
from waldo.errors import FileError

LONGEST = 100
"""Letters of a part of a path that is kept as it is; file systems hold 255 bytes."""

READABLE = 40
"""Letters that are kept of a name that must be changed."""

CHANGED = re.compile(r".*-[0-9a-f]{16}")
"""What changed names look like; a foreign name that looks so is changed too, so that the two never meet."""

TAKEN_BY_ZARR = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Names of zarr's own files and folders."""

TAKEN_BY_CAMERAS = ("frames", "repeated", "histogram", "chunk_crc32c")
"""Arrays beside the stamps of a camera's stream."""


def stream_name(foreign: str, taken: Collection[str] = ()) -> str:
    """Return the name of the stream that holds what is called `foreign` elsewhere, beside streams that are `taken`.

    Slashes part it into folders. Without `taken`, other names always become other streams.
    """
    plain = foreign.strip("/")
    parts = plain.split("/")
    if all(map(_is_sound, parts)) and not any(_collides(plain, other) for other in taken):
        return plain
    return _changed(foreign)


def field_name(foreign: str) -> str:
    """Return the name of the field that holds what is called `foreign` elsewhere."""
    sound = _is_sound(foreign) and foreign not in (*RESERVED_FIELDS, *TAKEN_BY_CAMERAS)
    return foreign if sound else _changed(foreign)


def key_names(names: Iterable[str], letters: str = r"A-Za-z0-9_") -> dict[str, str]:
    """Return stream -> a key of these letters only, for targets with stricter names than the store; all distinct."""
    keys: dict[str, str] = {}
    for name in names:
        key = re.sub(f"[^{letters}]", "_", name)
        while key in keys.values():
            key = f"{key}_{_digest(name)}"
        keys[name] = key
    return keys


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels that are all distinct: one that came before gets its place behind it."""
    found: list[str] = []
    for place, label in enumerate(labels):
        while label in found:
            label = f"{label}.{place}"
        found.append(label)
    return tuple(found)


def inside(root: Path, relative: str) -> Path:
    """Return the place of a file that a dataset names; one outside the dataset's folder is refused.

    Links are followed: a hub's cache is made of them.
    """
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or "\0" in relative or "\\" in relative:
        raise FileError(root, f"names the file {relative!r}, which lies outside of it", "do not trust this dataset")
    return root / path


def _is_sound(part: str) -> bool:
    """Whether a part of a name can be a folder of an episode as it is."""
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
    """Whether two streams cannot be in one episode: the same, or one the folder of the other."""
    return name == other or name.startswith(other + "/") or other.startswith(name + "/")


def _changed(foreign: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "_", foreign).strip("_.-")[:READABLE]
    return f"{readable or 'unnamed'}-{_digest(foreign)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
