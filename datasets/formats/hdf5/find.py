"""Find the HDF5 files of a path without opening them."""

from __future__ import annotations

from pathlib import Path

from waldo.datasets.formats.natural_order import natural

SUFFIXES = (".hdf5", ".h5")
"""Suffixes of HDF5 files."""


def files_of(path: Path) -> list[Path]:
    """Return the HDF5 files of a path: the file itself, or those of a folder in natural order."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    return sorted((p for p in path.iterdir() if p.suffix in SUFFIXES and p.is_file()), key=lambda p: natural(p.name))
