"""HDF5 files of foreign origin, read-only. What points to other files, or holds objects, is refused."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from waldo.errors import FileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""How an HDF5 file begins."""

SUFFIXES = (".hdf5", ".h5")

DEEPEST = 8
"""Groups in groups; a file's links may go round in circles."""


@contextmanager
def open_file(path: Path) -> Generator[Any]:
    """Open a file for the block; one that is cut or damaged is a FileError."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.filename == str(path) and not path.exists():
            raise FileError(path, "does not exist", "check the path") from error
        raise FileError(path, f"cannot be read ({error})", "fetch or record the file again") from error


def files_of(path: Path) -> list[Path]:
    """Return the HDF5 files that a path names: itself, or those of a folder by the numbers in their names."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    return sorted((p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file()), key=lambda p: natural(p.name))


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return a key that sorts demo_2 before demo_10."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part)


def member(group: Any, name: str) -> Any:
    """Return a group or dataset inside a group, None where there is none; one in another file is refused."""
    at = group
    for part in name.split("/"):
        if part not in at:
            return None
        if isinstance(at.get(part, getlink=True), h5py.ExternalLink):
            raise FileError(group.file.filename, f"{name} lies in another file", "put the data into the file itself")
        at = at[part]
    return at


def numbers(group: Any, name: str) -> Any:
    """Return a dataset of numbers, not read yet; None where there is none; what is no numbers is refused."""
    found = member(group, name)
    if found is None:
        return None
    path, where = group.file.filename, f"{group.name}/{name}"
    if not isinstance(found, h5py.Dataset):
        raise FileError(path, f"{where} is a group, expected numbers")
    if found.external or found.is_virtual:
        raise FileError(path, f"{where} lies in another file", "put the data into the file itself")
    if found.dtype.kind not in "biuf":
        raise FileError(path, f"{where} is of {found.dtype}, expected numbers", "waldo loads no objects")
    if not found.shape:
        raise FileError(path, f"{where} is a single value, expected one for each row")
    return found


def arrays(group: Any, name: str, depth: int = 0) -> dict[str, Any]:
    """Return the datasets of numbers in a group, by name and sorted; nested ones with their folders."""
    if depth > DEEPEST:
        raise FileError(group.file.filename, f"has groups in each other deeper than {DEEPEST}", "do not trust it")
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
    """Return a group's attributes that are plain values."""
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
