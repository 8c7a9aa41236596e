"""Find the HDF5 files of a path without opening them."""

from __future__ import annotations

from pathlib import Path

from waldo.datasets.formats.natural_order import natural

SUFFIXES = (".hdf5", ".h5")
"""Suffixes of HDF5 files."""

DEEPEST = 3
"""Deepest folder below the path that is searched."""

OTHER_DATASETS = {".zgroup", ".zarray", "zarr.json", "metadata.yaml", "dataset.json", "info.json"}
"""Files of folders that belong to datasets of other formats and are not searched."""


def files_of(path: Path) -> list[Path]:
    """Return the HDF5 files of a path in natural order: the file itself, or those in a folder and in its folders."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    found = _inside(path, 0) if path.is_dir() else []
    return sorted(found, key=lambda file: [natural(part) for part in file.relative_to(path).parts])


def _inside(folder: Path, depth: int) -> list[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    if OTHER_DATASETS & {entry.name for entry in entries}:
        return []
    found = [entry for entry in entries if entry.suffix in SUFFIXES and entry.is_file()]
    if found or depth == DEEPEST:
        return found
    folders = [entry for entry in entries if not entry.name.startswith(".") and not entry.is_symlink()]
    return [file for entry in folders if entry.is_dir() for file in _inside(entry, depth + 1)]
