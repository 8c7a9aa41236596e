"""The formats robomimic, aloha and robotwin: detection and import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from waldo.datasets.formats.format import Format
from waldo.datasets.formats.hdf5.find import files_of
from waldo.errors import FileError

if TYPE_CHECKING:
    from waldo.datasets.formats.source import ImportConfig, Source


def _detect_robomimic(path: Path) -> bool:
    return _first_file_has(path, "data")


def _detect_aloha(path: Path) -> bool:
    return _first_file_has(path, "observations")


def _detect_robotwin(path: Path) -> bool:
    return _first_file_has(path, "joint_action")


def _first_file_has(path: Path, name: str) -> bool:
    """Return whether the first readable HDF5 file of a path has a member; raise FileError if none can be read."""
    damaged: list[FileError] = []
    for file in files_of(path):
        try:
            return _has_member(file, name)
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
    from waldo.datasets.formats.hdf5.episode_files import EpisodeFilesSource
    from waldo.datasets.formats.hdf5.layouts import ALOHA

    return EpisodeFilesSource(path, config, ALOHA)


def _open_robotwin(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.hdf5.episode_files import EpisodeFilesSource
    from waldo.datasets.formats.hdf5.layouts import ROBOTWIN

    return EpisodeFilesSource(path, config, ROBOTWIN)


ROBOMIMIC = Format(
    name="robomimic",
    title="robomimic HDF5",
    marker="an .hdf5 file, or a folder of them, with data/demo_0 (robomimic, LIBERO)",
    detect=_detect_robomimic,
    open_source=_open_robomimic,
    import_options=("fps", "color_order"),
)
"""Registered as the entry point `robomimic` of `waldo.formats`."""

ALOHA = Format(
    name="aloha",
    title="ALOHA and RDT HDF5",
    marker="an .hdf5 file, or a folder of them, with observations/qpos (ALOHA, RDT)",
    detect=_detect_aloha,
    open_source=_open_aloha,
    import_options=("fps", "color_order"),
)
"""Registered as the entry point `aloha` of `waldo.formats`."""

ROBOTWIN = Format(
    name="robotwin",
    title="RoboTwin HDF5",
    marker="an .hdf5 file, or a folder of them, with joint_action/vector (RoboTwin)",
    detect=_detect_robotwin,
    open_source=_open_robotwin,
    import_options=("fps", "color_order"),
)
"""Registered as the entry point `robotwin` of `waldo.formats`."""
