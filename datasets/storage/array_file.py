"""The zarr groups and arrays of an episode: written as zarr writes them, and arrays of one chunk read.

Opening a small array through zarr takes 3 to 4 ms, and creating one 10 ms, most of them for tasks of its event loop; an
episode has about 25 arrays, 60 in waldo 0.1. Their layout is fixed, so this module reads and writes it directly.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

from waldo.datasets.storage.episode_layout import separator
from waldo.datasets.storage.store_path import StorePath, read_bytes
from waldo.json_file import parse_json

LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
"""The codec of numbers in array metadata."""

CHECKSUM = {"name": "crc32c"}
"""The codec of checksums in array metadata."""

LEVEL = 3
"""zstd compression level of arrays."""

WRITTEN_CODECS = (LITTLE_ENDIAN, {"name": "zstd", "configuration": {"level": LEVEL, "checksum": False}}, CHECKSUM)
"""The codecs of the layout, in the order of encoding."""

CODECS = tuple(codec["name"] for codec in WRITTEN_CODECS)
"""Their names."""

CHUNK_KEYS = tuple({"name": "default", "configuration": {"separator": one}} for one in "./")
"""Encodings of a chunk's name, of this version and of waldo 0.1."""

DTYPES = ("bool", "uint32", "int64", "float32", "float64")
"""Types of the values."""

CHECKSUM_BYTES = 4
"""Size of the checksum at the end of a chunk."""

ZSTD = Zstd(level=LEVEL)


def array_metadata(folder: StorePath) -> Mapping[str, Any]:
    """Return the metadata of an array or group, the content of its `zarr.json`.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is damaged.
    """
    found = parse_json(read_bytes(folder / "zarr.json"))
    if not isinstance(found, dict):
        raise ValueError(f"zarr.json contains a {type(found).__name__}, expected an object")
    return found


def metadata_files(folder: StorePath) -> dict[str, bytes]:
    """Return relative path -> content of all `zarr.json` below a folder, except its own, sorted by name."""
    if isinstance(folder, Path):
        # Path.rglob takes three times as long.
        root = f"{folder}/"
        found = [f"{base}/zarr.json".removeprefix(root) for base, _, files in os.walk(folder) if "zarr.json" in files]
    else:
        found = [str(path).removeprefix(f"{folder}/") for path in folder.rglob("zarr.json")]
    names = sorted((name for name in found if name != "zarr.json"), key=lambda name: name.split("/"))
    return {name: read_bytes(folder / name) for name in names}


def chunk_name(metadata: Mapping[str, Any]) -> str:
    """Return the path of the only chunk of an array, relative to the array."""
    between = metadata["chunk_key_encoding"]["configuration"]["separator"]
    return str(between).join(["c", *"0" * len(metadata["shape"])])


def write_group(folder: Path, attributes: Mapping[str, Any]) -> None:
    """Write the metadata of a group; its folder is created."""
    _write_metadata(folder, {"attributes": attributes, "zarr_format": 3, "node_type": "group"})


def write_array(folder: Path, data: NDArray[Any], dimensions: Sequence[str], attributes: Mapping[str, Any]) -> None:
    """Write an array as one chunk, with zstd and a checksum that is verified on every read."""
    chunk = [max(1, n) for n in data.shape]
    metadata = write_array_metadata(folder, data.shape, data.dtype, chunk, WRITTEN_CODECS, dimensions, attributes)
    if data.size:
        body = ZSTD.encode(np.ascontiguousarray(data, data.dtype.newbyteorder("<")))
        checksum = google_crc32c.value(body).to_bytes(CHECKSUM_BYTES, "little")
        (folder / chunk_name(metadata)).write_bytes(body + checksum)


def write_array_metadata(
    folder: Path,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    chunk: Sequence[int],
    codecs: Sequence[Mapping[str, Any]],
    dimensions: Sequence[str],
    attributes: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Write the metadata of an array and return it; its folder is created.

    Args:
        folder: The array.
        shape: Its shape.
        dtype: Type of its values.
        chunk: Shape of the part in each file.
        codecs: How that part is encoded.
        dimensions: Name of each dimension.
        attributes: Further facts about the array.
    """
    metadata = {
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": _regular(chunk),
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator()}},
        "fill_value": dtype.type(0).item(),
        "codecs": codecs,
        "attributes": attributes,
        "dimension_names": dimensions,
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    _write_metadata(folder, metadata)
    return metadata


def _write_metadata(folder: Path, metadata: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zarr.json").write_text(json.dumps(metadata, indent=2))


def read_array(folder: StorePath, metadata: Mapping[str, Any] | None = None) -> NDArray[Any]:
    """Return an array; the checksum of its chunk is verified.

    Args:
        folder: The array.
        metadata: Its metadata, if it has been read.

    Raises:
        FileNotFoundError: If the metadata or the chunk is missing.
        OSError: If a file cannot be read.
        ValueError: If the chunk is damaged, or the array has another layout.
    """
    metadata = array_metadata(folder) if metadata is None else metadata
    shape, dtype = _layout(metadata)
    if not math.prod(shape):
        return np.empty(shape, dtype)
    data = read_bytes(folder / chunk_name(metadata))
    body, checksum = memoryview(data)[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if google_crc32c.value(bytes(body)).to_bytes(CHECKSUM_BYTES, "little") != checksum:
        raise ValueError("wrong checksum")
    try:
        values = np.frombuffer(ZSTD.decode(body), dtype)
    except (RuntimeError, MemoryError, SystemError) as error:  # the last ones of a damaged size
        raise ValueError(f"cannot be decompressed ({error})") from error
    return values.reshape(shape).astype(dtype.newbyteorder("="))


def _layout(metadata: Mapping[str, Any]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return the shape and type of an array with the layout of `write_array`.

    Raises:
        ValueError: If it has any other layout.
    """
    try:
        codecs, shape = metadata["codecs"], metadata["shape"]
        endian = codecs[0].get("configuration", {}).get("endian", "little")
        known = (
            tuple(codec["name"] for codec in codecs) == CODECS
            and endian == "little"
            and all(type(n) is int and n >= 0 for n in shape)
            and metadata["chunk_grid"] == _regular([max(1, n) for n in shape])
            and metadata["chunk_key_encoding"] in CHUNK_KEYS
            and metadata["data_type"] in DTYPES
        )
    except (KeyError, IndexError, TypeError, AttributeError):
        known = False
    if not known:
        raise ValueError("its zarr.json is damaged or not that of a recording")
    return tuple(metadata["shape"]), np.dtype(metadata["data_type"]).newbyteorder("<")


def _regular(chunk: Sequence[int]) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": chunk}}
