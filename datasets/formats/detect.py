"""What a source is, found out from its files, and opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from waldo.datasets.formats.source import Format, ImportConfig, Source
from waldo.errors import FileError, InvalidValueError, UnknownNameError, WaldoError

LOOKED_FOR: Mapping[Format, str] = {
    "lerobot": "meta/info.json (LeRobot v2 or v3)",
    "replay-buffer": "a zarr folder or .zarr.zip with meta/episode_ends (diffusion_policy, UMI)",
    "robomimic": "an HDF5 file with data/demo_0 (robomimic)",
    "aloha": "an HDF5 file, or a folder of them, with observations/qpos (ALOHA)",
    "rosbag2": "metadata.yaml, .mcap or .db3 (rosbag2), in the folder or in folders inside it",
}
"""Format -> the files by which it is known."""


def open_source(path: Path, config: ImportConfig, format: Format | None = None) -> Source:
    """Open a dataset of another format; with `format` None, whatever its files say that it is."""
    if not path.exists():
        raise FileError(path, "does not exist", "check the path")
    if format is not None and format not in OPENERS:
        raise UnknownNameError("format", format, OPENERS)
    found = format or detect(path)
    if config.topics and found != "rosbag2":
        raise InvalidValueError("topics", config.topics, f"absent: {found} has no topics")
    if config.fps is not None and found in ("lerobot", "rosbag2"):
        raise InvalidValueError("fps", config.fps, f"absent: {found} says its rate itself")
    return OPENERS[found](path, config)


def detect(path: Path) -> Format:
    """Return what a source is; one that is nothing known is refused with what was looked for."""
    for format, looks_like in MARKS.items():
        if looks_like(path):
            return format
    looked = "".join(f"\n  {format}: {what}" for format, what in LOOKED_FOR.items())
    raise FileError(path, f"is no dataset that waldo can import. Looked for:{looked}\nname it with --format")


def _is_lerobot(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


def _is_replay_buffer(path: Path) -> bool:
    from waldo.datasets.formats.replay_buffer.zarr2 import Zarr2

    if not path.is_dir() and path.suffix != ".zip":
        return False
    try:
        with closing(Zarr2(path)) as files:
            return files.has("meta/episode_ends/.zarray")
    except WaldoError:
        # A zip that cannot be read is most likely one that was cut: its reader says so.
        return path.suffix == ".zip"


def _is_robomimic(path: Path) -> bool:
    return path.is_file() and _h5_has(path, "data")


def _is_aloha(path: Path) -> bool:
    from waldo.datasets.formats.hdf5.files import files_of

    damaged: list[FileError] = []
    for file in files_of(path):
        try:
            return _h5_has(file, "observations")
        except FileError as error:
            damaged.append(error)
    if damaged:
        raise damaged[0]
    return False


def _h5_has(path: Path, name: str) -> bool:
    from waldo.datasets.formats.hdf5.files import SIGNATURE, open_file

    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return False
    with open_file(path) as opened:
        return name in opened


def _is_rosbag2(path: Path) -> bool:
    from waldo.datasets.formats.rosbag2.importer import bags_of

    return bool(bags_of(path))


def _lerobot(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.lerobot.importer import LeRobotSource

    return LeRobotSource(path, config)


def _replay_buffer(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.replay_buffer.importer import ReplayBufferSource

    return ReplayBufferSource(path, config)


def _robomimic(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.hdf5.robomimic import RobomimicSource

    return RobomimicSource(path, config)


def _aloha(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.hdf5.aloha import AlohaSource

    return AlohaSource(path, config)


def _rosbag2(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.rosbag2.importer import Rosbag2Source

    return Rosbag2Source(path, config)


MARKS: Mapping[Format, Callable[[Path], bool]] = {
    "lerobot": _is_lerobot,
    "replay-buffer": _is_replay_buffer,
    "robomimic": _is_robomimic,
    "aloha": _is_aloha,
    "rosbag2": _is_rosbag2,
}
"""Format -> whether a path looks like it."""

OPENERS: Mapping[Format, Callable[[Path, ImportConfig], Source]] = {
    "lerobot": _lerobot,
    "replay-buffer": _replay_buffer,
    "robomimic": _robomimic,
    "aloha": _aloha,
    "rosbag2": _rosbag2,
}
"""Format -> what opens it."""
