"""Read untrusted HDF5 files; links to other files and objects are refused."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.names import require_regular
from waldo.errors import FileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file."""


IMAGE_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""First bytes of a JPEG and of a PNG."""

MAX_TEXTS = 1_000_000
"""Largest number of texts that are read."""

DEEPEST = 8
"""Deepest nesting of groups that is followed, as the links of a file may be circular."""


@contextmanager
def open_file(path: Path) -> Generator[Any]:
    """Open a file for reading.

    Raises:
        FileError: If the file is missing, truncated or damaged, also while it is read inside the block.
    """
    require_regular(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.filename == str(path) and not path.exists():
            raise FileError(path, "the file does not exist", "check the path") from error
        why = " ".join(str(error).split())
        raise FileError(path, f"cannot be read ({why})", "fetch or record the file again") from error


def member(group: Any, name: str) -> Any:
    """Return a member of a group, or None if it does not exist.

    Raises:
        FileError: If it is a link to another file.
    """
    at = group
    for part in name.split("/"):
        if part not in at:
            return None
        if isinstance(at.get(part, getlink=True), h5py.ExternalLink):
            found = f"{name} is a link to another file"
            raise FileError(group.file.filename, found, "copy the data into the file itself")
        at = at[part]
    return at


def numbers(group: Any, name: str) -> Any:
    """Return a numeric dataset without reading it, or None if it does not exist.

    Raises:
        FileError: If it is not numeric, has no rows axis, or is stored in another file.
    """
    found = member(group, name)
    if found is None:
        return None
    path, where = group.file.filename, f"{group.name}/{name}"
    if not isinstance(found, h5py.Dataset):
        raise FileError(path, f"{where} is a group, expected a numeric dataset")
    if found.external or found.is_virtual:
        raise FileError(path, f"{where} is stored in another file", "copy the data into the file itself")
    if found.dtype.kind not in "biuf":
        raise FileError(path, f"{where} has dtype {found.dtype}, expected numbers", "waldo does not load objects")
    if not found.shape:
        raise FileError(path, f"{where} is a scalar, expected one value per row")
    return found


def is_text(dataset: Any) -> bool:
    """Return whether a dataset contains texts or encoded images: strings, or rows of bytes of varying length."""
    return isinstance(dataset, h5py.Dataset) and dataset.dtype.kind in "SO"


def texts(group: Any, name: str) -> list[str]:
    """Return the different texts of a dataset in their order; none if it does not exist or contains no text."""
    found = member(group, name)
    if not is_text(found) or found.external or found.is_virtual or found.size > MAX_TEXTS:
        return []
    values = np.asarray(found[()]).reshape(-1)
    plain = [bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    return list(dict.fromkeys(value for value in plain if isinstance(value, str)))


def datasets(group: Any) -> dict[str, Any]:
    """Return every dataset below a group by its sorted path, without reading it.

    Raises:
        FileError: If a dataset or group is stored in another file, or groups are nested too deep.
    """
    found: dict[str, Any] = {}
    _collect(group, "", 0, found)
    return found


def _collect(group: Any, prefix: str, depth: int, found: dict[str, Any]) -> None:
    if depth > DEEPEST:
        raise _too_deep(group)
    for key in sorted(group):
        inside = member(group, key)
        if isinstance(inside, h5py.Group):
            _collect(inside, f"{prefix}{key}/", depth + 1, found)
        elif isinstance(inside, h5py.Dataset):
            if inside.external or inside.is_virtual:
                found_at = f"{prefix}{key} is stored in another file"
                raise FileError(group.file.filename, found_at, "copy the data into the file itself")
            found[f"{prefix}{key}"] = inside
        elif inside is None:
            raise FileError(group.file.filename, f"{prefix}{key} is damaged", "fetch or record the file again")


def _too_deep(group: Any) -> FileError:
    found = f"groups are nested deeper than {DEEPEST} levels"
    return FileError(group.file.filename, found, "do not trust this file")


def is_encoded(dataset: Any) -> bool:
    """Return whether a dataset has one encoded image per row: strings, rows of bytes, or padded rows of bytes."""
    if not isinstance(dataset, h5py.Dataset) or not dataset.shape or not dataset.shape[0]:
        return False
    vlen = h5py.check_vlen_dtype(dataset.dtype)
    strings = dataset.dtype.kind == "S" or (vlen is not None and np.dtype(vlen).itemsize == 1)
    if not ((len(dataset.shape) == 1 and strings) or (len(dataset.shape) == 2 and dataset.dtype == np.uint8)):
        return False
    return encoded_bytes(dataset[0]).startswith(IMAGE_STARTS)


def encoded_bytes(row: NDArray[np.uint8] | bytes) -> bytes:
    """Return an encoded image without the zeros that pad its row; a JPEG ends with FF D9, a PNG with its checksum."""
    data = bytes(row) if isinstance(row, bytes) else np.asarray(row).view(np.uint8).tobytes()
    plain = data.rstrip(b"\0")
    return plain if plain.startswith(IMAGE_STARTS[0]) else data


def arrays(group: Any, name: str, depth: int = 0, left_out: list[str] | None = None) -> dict[str, Any]:
    """Return the numeric datasets of a group by sorted name; nested datasets include their groups.

    Args:
        group: The group that contains `name`.
        name: Name of the group to read.
        depth: Number of groups around it.
        left_out: Receives the names of datasets of texts, which are left out.
    """
    if depth > DEEPEST:
        raise _too_deep(group)
    inside = member(group, name)
    found: dict[str, Any] = {}
    for key in sorted(inside) if isinstance(inside, h5py.Group) else ():
        if isinstance(member(inside, key), h5py.Group):
            deeper: list[str] = []
            found |= {f"{key}/{inner}": dataset for inner, dataset in arrays(inside, key, depth + 1, deeper).items()}
            if left_out is not None:
                left_out += [f"{key}/{inner}" for inner in deeper]
        elif is_text(member(inside, key)):
            if left_out is not None:
                left_out.append(key)
        else:
            dataset = numbers(inside, key)
            if dataset is None:
                raise FileError(group.file.filename, f"{name}/{key} is damaged", "fetch or record the file again")
            found[key] = dataset
    return found


def attributes(group: Any) -> Mapping[str, Any]:
    """Return the attributes of a group that are plain values."""
    found: dict[str, Any] = {}
    for key in group.attrs:
        value = group.attrs[key]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, str | int | float | bool):
            found[str(key)] = value
    return found


def read(dataset: Any, start: int = 0, stop: int | None = None) -> NDArray[Any]:
    """Return rows of a dataset."""
    return np.asarray(dataset[start:stop])
