"""Read untrusted zarr v3 groups of numeric arrays from a folder or zip file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from waldo.datasets.formats.replay_buffer.zarr2 import Zarr2
from waldo.errors import FileError

TYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)
"""Data types of numbers."""

TEXTS = ("string", "fixed_length_utf32", "null_terminated_bytes", "variable_length_bytes", "bytes")
"""Data types of texts, which are never read."""

CODECS_3 = ("bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed")
"""Codecs of numeric chunks; none of them executes code from the file."""


class Zarr3(Zarr2):
    """A zarr v3 group, opened for reading."""

    metadata_file = "zarr.json"
    version: Literal[2, 3] = 3

    def keys(self, group: str) -> list[str]:
        """Return the sorted names of the arrays below a group; nested arrays include their folders."""
        return [key for key in super().keys(group) if self._meta(f"{group}/{key}").get("node_type") == "array"]

    def attributes(self, name: str = "") -> Mapping[str, Any]:
        """Return the attributes of an array or group; empty if there are none."""
        at = f"{name}/{self.metadata_file}".lstrip("/")
        found = self._json(at).get("attributes") if self.has(at) else None
        return found if isinstance(found, dict) else {}

    def is_text(self, name: str) -> bool:
        """Return whether an array consists of texts, which are never read."""
        kind = self._meta(name).get("data_type")
        return (kind.get("name") if isinstance(kind, dict) else kind) in TEXTS

    def _check(self, name: str) -> None:
        """Raise FileError unless the metadata describes an array of plain numbers with known codecs."""
        meta = self._meta(name)
        if meta.get("data_type") not in TYPES:
            found = f"array {name} has the data type {meta.get('data_type')!r}, expected numbers"
            raise FileError(self.path, found, "remove the array")
        for codec in _names(meta.get("codecs")):
            if codec not in CODECS_3:
                found = f"array {name} uses the codec {codec!r}"
                raise FileError(self.path, found, f"only these codecs are supported: {', '.join(CODECS_3)}")

    def _chunk(self, name: str, position: Sequence[int]) -> str:
        encoding = self._meta(name).get("chunk_key_encoding")
        encoding = encoding if isinstance(encoding, dict) else {}
        configuration = encoding.get("configuration")
        separator = configuration.get("separator") if isinstance(configuration, dict) else None
        if encoding.get("name") == "v2":
            return str(separator or ".").join(map(str, position))
        return str(separator or "/").join(["c", *map(str, position)])

    def _is_blosc(self, name: str) -> bool:
        return _names(self._meta(name).get("codecs"))[-1:] == ["blosc"]


def _names(codecs: Any) -> list[str]:
    """Return the names of codecs, including those inside shards; one that is malformed has the name "None"."""
    found: list[str] = []
    for codec in codecs if isinstance(codecs, list) else [None]:
        name = codec.get("name") if isinstance(codec, dict) else codec
        found.append(str(name))
        inner = codec.get("configuration") if isinstance(codec, dict) else None
        if name == "sharding_indexed" and isinstance(inner, dict):
            found[-1:] = [*_names(inner.get("codecs")), *_names(inner.get("index_codecs", [])), "sharding_indexed"]
    return found


def open_zarr(path: Path) -> Zarr2:
    """Open a zarr group of either version.

    Raises:
        FileError: If a zip file cannot be opened.
    """
    old = Zarr2(path)
    new = Zarr3(path)
    if new.has("zarr.json") or new.has_array("meta/episode_ends"):
        old.close()
        return new
    new.close()
    return old
