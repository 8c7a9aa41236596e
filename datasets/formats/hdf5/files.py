"""Read untrusted HDF5 files; links to other files and objects are refused."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from waldo.errors import FileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of an HDF5 file."""


DEEPEST = 8
"""Deepest nesting of groups that is followed, as the links of a file may be circular."""


@contextmanager
def open_file(path: Path) -> Generator[Any]:
    """Open a file for reading.

    Raises:
        FileError: If the file is missing, truncated or damaged, also while it is read inside the block.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.filename == str(path) and not path.exists():
            raise FileError(path, "the file does not exist", "check the path") from error
        raise FileError(path, f"cannot be read ({error})", "fetch or record the file again") from error


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


def arrays(group: Any, name: str, depth: int = 0) -> dict[str, Any]:
    """Return the numeric datasets of a group by sorted name; nested datasets include their groups."""
    if depth > DEEPEST:
        raise FileError(
            group.file.filename, f"groups are nested deeper than {DEEPEST} levels", "do not trust this file"
        )
    inside = member(group, name)
    found: dict[str, Any] = {}
    for key in sorted(inside) if isinstance(inside, h5py.Group) else ():
        if isinstance(member(inside, key), h5py.Group):
            found |= {f"{key}/{inner}": dataset for inner, dataset in arrays(inside, key, depth + 1).items()}
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
