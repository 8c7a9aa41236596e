"""A zarr v2 group of foreign origin, a folder or a zip. Arrays of objects are refused: they are pickles."""

from __future__ import annotations

import itertools
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore, ZipStore

from waldo.errors import FileError

CODECS = ("blosc", "zlib", "gzip", "bz2", "lzma", "zstd", "lz4", "shuffle", "delta", "packbits", "fixedscaleoffset")
"""Codecs that hold numbers and nothing that is run."""

BLOSC = struct.Struct("<4B3I")
"""Head of a chunk of Blosc: versions, flags and type size; then bytes unpacked, bytes of a block, bytes packed."""

PICTURE_CODECS = "imagecodecs_"
"""How the names of codecs for pictures begin, such as UMI's imagecodecs_jpegxl."""


class Zarr2:
    """A zarr v2 group, open for reading until it is closed or forgotten."""

    def __init__(self, path: Path) -> None:
        """Open a folder or a zip."""
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        self._arrays: dict[str, Any] = {}
        self._metas: dict[str, dict[str, Any]] = {}
        self._store: LocalStore | ZipStore | None = None
        if not path.is_dir():
            try:
                self._zip = zipfile.ZipFile(path)
            except (OSError, zipfile.BadZipFile) as error:
                raise FileError(path, f"cannot be opened as a zip ({error})", "fetch the file again") from error

    def close(self) -> None:
        """Close it."""
        if self._zip is not None:
            self._zip.close()
        if isinstance(self._store, ZipStore):
            self._store.close()

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._zip.NameToInfo if self._zip is not None else (self.path / name).is_file()

    def keys(self, group: str) -> list[str]:
        """Return the arrays below a group, sorted; nested ones with their folders."""
        end = "/.zarray"
        if self._zip is not None:
            names = self._zip.namelist()
        else:
            names = [path.relative_to(self.path).as_posix() for path in (self.path / group).rglob(".zarray")]
        found = sorted(n.removeprefix(group + "/").removesuffix(end) for n in names if _is_in(n, group, end))
        for key in found:
            if {"", ".", ".."} & {*key.split("/")}:
                raise FileError(self.path, f"names an array {key!r}, which lies outside", "do not trust this file")
        return found

    def attributes(self, name: str = "") -> Mapping[str, Any]:
        """Return the attributes of an array or group; none where it has none."""
        at = f"{name}/.zattrs".lstrip("/")
        return self._json(at) if self.has(at) else {}

    def array(self, name: str) -> Any:
        """Return an array of numbers; one of objects, or behind a codec that is not known as harmless, is refused."""
        if name not in self._arrays:
            check(self.path, name, self._meta(name))
            if self._store is None:
                folder = self._zip is None
                self._store = LocalStore(self.path, read_only=True) if folder else ZipStore(self.path, mode="r")
            try:
                self._arrays[name] = zarr.open_array(self._store, path=name, mode="r", zarr_format=2)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise FileError(self.path, f"array {name} cannot be opened ({error})") from error
        return self._arrays[name]

    def read(self, name: str, start: int, stop: int) -> Any:
        """Return rows of an array of numbers."""
        array = self.array(name)
        for chunk in self._chunks(name, start, stop):
            self._check_length(name, chunk)
        try:
            return np.asarray(array[start:stop])
        except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            raise FileError(self.path, f"array {name} cannot be read ({error})", "fetch the file again") from error

    def missing(self, name: str, start: int, stop: int) -> int:
        """Return how many chunks of some rows are not there: zarr reads them as the array's fill value."""
        return sum(not self.has(chunk) for chunk in self._chunks(name, start, stop))

    def _chunks(self, name: str, start: int, stop: int) -> Iterator[str]:
        """Yield the names of the chunks that some rows lie in."""
        array = self.array(name)
        separator = str(self._meta(name).get("dimension_separator", "."))
        counts = [math.ceil(size / step) for size, step in zip(array.shape, array.chunks, strict=True)]
        rows = range(start // array.chunks[0], min(counts[0], math.ceil(stop / array.chunks[0])))
        for place in itertools.product(rows, *map(range, counts[1:])):
            yield f"{name}/{separator.join(map(str, place))}"

    def _check_length(self, name: str, chunk: str) -> None:
        """Refuse a chunk of Blosc that is shorter than it says: Blosc itself would read on behind its end."""
        if not _is_blosc(self._meta(name)) or not self.has(chunk):
            return
        if self._zip is not None:
            size = self._zip.getinfo(chunk).file_size
            with self._zip.open(chunk) as file:
                head = file.read(BLOSC.size)
        else:
            size = (self.path / chunk).stat().st_size
            with (self.path / chunk).open("rb") as file:
                head = file.read(BLOSC.size)
        told = BLOSC.unpack(head)[-1] if len(head) == BLOSC.size else BLOSC.size
        if told != size:
            found = f"{chunk} is {size} bytes long, expected {told}"
            raise FileError(self.path, found, "the file is cut or damaged: fetch it again")

    def _meta(self, name: str) -> dict[str, Any]:
        """Return an array's metadata, read once."""
        if name not in self._metas:
            self._metas[name] = self._json(f"{name}/.zarray")
        return self._metas[name]

    def _json(self, name: str) -> dict[str, Any]:
        try:
            data = self._zip.read(name) if self._zip is not None else (self.path / name).read_bytes()
            found = json.loads(data)
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise FileError(self.path, f"{name} cannot be read ({error})", "fetch the file again") from error
        if not isinstance(found, dict):
            raise FileError(self.path, f"{name} holds a {type(found).__name__}, expected an object")
        return found


def _is_blosc(meta: Mapping[str, Any]) -> bool:
    """Whether an array's chunks are Blosc's, with nothing around them."""
    compressor = meta.get("compressor")
    return isinstance(compressor, dict) and compressor.get("id") == "blosc"


def _is_in(name: str, group: str, end: str) -> bool:
    return name.startswith(group + "/") and name.endswith(end)


def check(path: Path, name: str, meta: Mapping[str, Any]) -> None:
    """Refuse an array that is not of plain numbers; its metadata is looked at before any of it is decoded."""
    dtype = meta.get("dtype")
    try:
        kind = np.dtype(dtype).kind if isinstance(dtype, str) else "V"
    except TypeError:
        kind = "V"
    if kind not in "biuf":
        found = f"array {name} is of {dtype!r}, expected numbers"
        raise FileError(path, found, "objects in zarr are pickles, which waldo never loads: leave the array out")
    codecs: Sequence[Any] = [*(meta.get("filters") or ()), *([meta["compressor"]] if meta.get("compressor") else ())]
    for codec in codecs:
        identity = codec.get("id") if isinstance(codec, dict) else None
        if not isinstance(identity, str) or (identity not in CODECS and not identity.startswith(PICTURE_CODECS)):
            raise FileError(path, f"array {name} is packed with {identity!r}, expected one of {', '.join(CODECS)}")
        if identity.startswith(PICTURE_CODECS):
            register_picture_codecs()


@cache
def register_picture_codecs() -> None:
    """Make the codecs for pictures known to zarr."""
    from imagecodecs import numcodecs

    numcodecs.register_codecs(verbose=False)
