"""Read untrusted zarr v2 groups from a folder or zip file; arrays of objects are refused because they are pickles."""

from __future__ import annotations

import itertools
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from zarr.storage import LocalStore, ZipStore

from waldo.datasets.formats.names import require_regular
from waldo.errors import FileError

CODECS = ("blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "shuffle", "delta", "packbits", "fixedscaleoffset")
"""Codecs for numeric chunks; none of them executes code from the file."""

BLOSC = struct.Struct("<4B3I")
"""Header of a Blosc chunk: versions, flags, type size; unpacked, block and packed size [bytes]."""

IMAGE_CODECS = "imagecodecs_"
"""Prefix of image codecs, such as UMI's imagecodecs_jpegxl."""


DAMAGED = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    RuntimeError,  # encrypted members, and codecs without a class of their own
    OverflowError,
    MemoryError,
    SystemError,  # Blosc, of a negative size
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""Exceptions of zipfile, zarr and the codecs on damaged bytes."""


class Zarr2:
    """A zarr v2 group, opened for reading."""

    metadata_file = ".zarray"
    """Name of the file with an array's metadata."""
    version: Literal[2, 3] = 2
    """Version of zarr."""

    def __init__(self, path: Path) -> None:
        """Open a folder or zip file."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._arrays: dict[str, Any] = {}
        self._metas: dict[str, dict[str, Any]] = {}
        self._store: LocalStore | ZipStore | None = None
        if not path.is_dir():
            try:
                self._zip = zipfile.ZipFile(path)
            except DAMAGED as error:
                raise FileError(path, f"the zip file cannot be opened ({error})", "fetch the file again") from error

    def close(self) -> None:
        """Close the zip file."""
        if self._zip is not None:
            self._zip.close()
        if isinstance(self._store, ZipStore):
            self._store.close()

    def has(self, name: str) -> bool:
        """Return whether a file exists in the group."""
        return name in self._zip.NameToInfo if self._zip is not None else (self.path / name).is_file()

    def has_array(self, name: str) -> bool:
        """Return whether an array exists in the group."""
        return self.has(f"{name}/{self.metadata_file}")

    def keys(self, group: str) -> list[str]:
        """Return the sorted names of the arrays below a group; nested arrays include their folders."""
        end = f"/{self.metadata_file}"
        if self._zip is not None:
            names = self._zip.namelist()
        else:
            names = [path.relative_to(self.path).as_posix() for path in (self.path / group).rglob(self.metadata_file)]
        found = sorted(n.removeprefix(group + "/").removesuffix(end) for n in names if _is_in(n, group, end))
        for key in found:
            if {"", ".", ".."} & {*key.split("/")}:
                raise FileError(self.path, f"array name {key!r} is outside the group", "do not trust this file")
        return found

    def attributes(self, name: str = "") -> Mapping[str, Any]:
        """Return the attributes of an array or group; empty if there are none."""
        at = f"{name}/.zattrs".lstrip("/")
        return self._json(at) if self.has(at) else {}

    def is_text(self, name: str) -> bool:
        """Return whether an array consists of texts, which are never read."""
        meta = self._meta(name)
        filters = meta.get("filters")
        identities = [one.get("id") for one in filters if isinstance(one, dict)] if isinstance(filters, list) else []
        dtype = str(meta.get("dtype"))
        return dtype[1:2] in ("S", "U") or (dtype == "|O" and bool({"vlen-utf8", "vlen-bytes"} & {*identities}))

    def _check(self, name: str) -> None:
        check(self.path, name, self._meta(name))

    def array(self, name: str) -> Any:
        """Return a numeric array.

        Raises:
            FileError: If its elements are not numbers, or it has a codec that is not known to be safe.
        """
        if name not in self._arrays:
            self._check(name)
            self._require_regular(f"{name}/.zattrs")
            if self._store is None:
                folder = self._zip is None
                self._store = LocalStore(self.path, read_only=True) if folder else ZipStore(self.path, mode="r")
            try:
                self._arrays[name] = zarr.open_array(self._store, path=name, mode="r", zarr_format=self.version)
            except DAMAGED as error:
                raise FileError(
                    self.path, f"array {name} cannot be opened ({error})", "fetch the file again"
                ) from error
        return self._arrays[name]

    def read(self, name: str, start: int, stop: int) -> Any:
        """Return rows of a numeric array."""
        array = self.array(name)
        try:
            for chunk in self._chunks(name, start, stop):
                self._require_regular(chunk)
                self._check_length(name, chunk)
            return np.asarray(array[start:stop])
        except DAMAGED as error:
            raise FileError(self.path, f"array {name} cannot be read ({error})", "fetch the file again") from error

    def missing(self, name: str, start: int, stop: int) -> int:
        """Return the number of missing chunks in a range of rows; zarr reads them as the fill value."""
        return sum(not self.has(chunk) for chunk in self._chunks(name, start, stop))

    def _chunks(self, name: str, start: int, stop: int) -> Iterator[str]:
        """Yield the names of the chunks in a range of rows."""
        array = self.array(name)
        steps = array.shards or array.chunks
        counts = [math.ceil(size / step) for size, step in zip(array.shape, steps, strict=True)]
        rows = range(start // steps[0], min(counts[0], math.ceil(stop / steps[0])))
        for position in itertools.product(rows, *map(range, counts[1:])):
            yield f"{name}/{self._chunk(name, position)}"

    def _chunk(self, name: str, position: Sequence[int]) -> str:
        """Return the name of a chunk below its array."""
        return str(self._meta(name).get("dimension_separator", ".")).join(map(str, position))

    def _is_blosc(self, name: str) -> bool:
        """Return whether the chunks of an array are Blosc chunks without an outer codec."""
        compressor = self._meta(name).get("compressor")
        return isinstance(compressor, dict) and compressor.get("id") == "blosc"

    def _check_length(self, name: str, chunk: str) -> None:
        """Raise if a Blosc chunk is shorter than its header states, as Blosc would read beyond its end."""
        if not self._is_blosc(name) or not self.has(chunk):
            return
        if self._zip is not None:
            size = self._zip.getinfo(chunk).file_size
            with self._zip.open(chunk) as file:
                head = file.read(BLOSC.size)
        else:
            size = (self.path / chunk).stat().st_size
            with (self.path / chunk).open("rb") as file:
                head = file.read(BLOSC.size)
        expected = BLOSC.unpack(head)[-1] if len(head) == BLOSC.size else BLOSC.size
        if expected != size:
            found = f"chunk {chunk} has {size} bytes, expected {expected}"
            raise FileError(self.path, found, "the file is truncated or damaged: fetch it again")

    def _meta(self, name: str) -> dict[str, Any]:
        """Return the cached metadata of an array."""
        if name not in self._metas:
            self._metas[name] = self._json(f"{name}/{self.metadata_file}")
        return self._metas[name]

    def _require_regular(self, name: str) -> None:
        if self._zip is None:
            require_regular(self.path / name)

    def _json(self, name: str) -> dict[str, Any]:
        self._require_regular(name)
        try:
            data = self._zip.read(name) if self._zip is not None else (self.path / name).read_bytes()
            found = json.loads(data)
        except DAMAGED as error:
            raise FileError(self.path, f"{name} cannot be read ({error})", "fetch the file again") from error
        if not isinstance(found, dict):
            raise FileError(self.path, f"{name} contains a {type(found).__name__}, expected an object")
        return found


def _is_in(name: str, group: str, end: str) -> bool:
    return name.startswith(group + "/") and name.endswith(end) and name != group + end


def check(path: Path, name: str, meta: Mapping[str, Any]) -> None:
    """Raise unless the metadata describes an array of plain numbers; called before any chunk is decoded.

    Raises:
        FileError: If the elements are not numbers, or a codec is not known to be safe.
    """
    dtype = meta.get("dtype")
    try:
        kind = np.dtype(dtype).kind if isinstance(dtype, str) else "V"
    except TypeError:
        kind = "V"
    if kind not in "biuf":
        found = f"array {name} has dtype {dtype!r}, expected numbers"
        raise FileError(path, found, "zarr stores objects as pickles, which waldo never loads: remove the array")
    codecs: Sequence[Any] = [*(meta.get("filters") or ()), *([meta["compressor"]] if meta.get("compressor") else ())]
    for codec in codecs:
        identity = codec.get("id") if isinstance(codec, dict) else None
        if not isinstance(identity, str) or (identity not in CODECS and not identity.startswith(IMAGE_CODECS)):
            found = f"array {name} uses the codec {identity!r}"
            raise FileError(path, found, f"only these codecs are supported: {', '.join(CODECS)}")
        if identity.startswith(IMAGE_CODECS):
            register_image_codecs()


@cache
def register_image_codecs() -> None:
    """Register the image codecs with zarr."""
    from imagecodecs import numcodecs

    numcodecs.register_codecs(verbose=False)
