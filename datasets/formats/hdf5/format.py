"""The formats robomimic and aloha: detection and import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waldo.datasets.formats.format import Format
from waldo.datasets.formats.hdf5.find import SUFFIXES, files_of
from waldo.errors import FileError

if TYPE_CHECKING:
    from waldo.datasets.formats.source import ImportConfig, Source


def _detect_robomimic(path: Path) -> bool:
    return path.is_file() and path.suffix in SUFFIXES and _has_member(path, "data")


def _detect_aloha(path: Path) -> bool:
    damaged: list[FileError] = []
    for file in files_of(path):
        try:
            return _has_member(file, "observations")
        except FileError as error:
            damaged.append(error)
    if damaged:
        raise damaged[0]
    return False


def _has_member(path: Path, name: str) -> bool:
    """Return whether an HDF5 file has a member in its root group."""
    from waldo.datasets.formats.hdf5.files import SIGNATURE, open_file

    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return False
    with open_file(path) as opened:
        return name in opened


def _open_robomimic(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.hdf5.robomimic import RobomimicSource

    return RobomimicSource(path, config)


def _open_aloha(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.hdf5.aloha import AlohaSource

    return AlohaSource(path, config)


ROBOMIMIC = Format(
    name="robomimic",
    title="robomimic HDF5",
    marker="an .hdf5 file with data/demo_0 (robomimic)",
    detect=_detect_robomimic,
    open_source=_open_robomimic,
    import_options=("fps",),
)
"""Registered as the entry point `robomimic` of `waldo.formats`."""

ALOHA = Format(
    name="aloha",
    title="ALOHA HDF5",
    marker="an .hdf5 file, or a folder of them, with observations/qpos (ALOHA)",
    detect=_detect_aloha,
    open_source=_open_aloha,
    import_options=("fps",),
)
"""Registered as the entry point `aloha` of `waldo.formats`."""
