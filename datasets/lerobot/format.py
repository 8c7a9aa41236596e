"""The format LeRobot: detection, import and the options of an export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from waldo.datasets.formats.format import Format
from waldo.datasets.formats.target import ExportConfig
from waldo.datasets.reading.row_config import RowConfig

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode
    from waldo.datasets.formats.source import ImportConfig, Source
    from waldo.datasets.lerobot.export import LeRobotTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotConfig(ExportConfig):
    """Options of an export to a LeRobot dataset v3.0."""

    rows: RowConfig = field(default_factory=RowConfig)
    """How episodes are resampled."""
    license: str = ""
    """License for the dataset card, such as `apache-2.0`."""
    one_file_per_episode: bool = False
    """Write a Parquet file, and an MP4 per camera, for each episode, instead of files with many episodes."""

    def open(self, first: Episode) -> LeRobotTarget:
        """Return the target; cameras are resolved against the first episode."""
        from waldo.datasets.lerobot.export import LeRobotTarget

        return LeRobotTarget.open(first, self.rows, self.license, one_file_per_episode=self.one_file_per_episode)


def _detect(path: Path) -> bool:
    return (path / "meta" / "info.json").is_file()


def _open_source(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.lerobot.importer import LeRobotSource

    return LeRobotSource(path, config)


FORMAT = Format(
    name="lerobot",
    title="LeRobot v2.x and v3.0",
    marker="meta/info.json (LeRobot v2 or v3)",
    detect=_detect,
    open_source=_open_source,
    export_config=lambda: LeRobotConfig,
)
"""Registered as the entry point `lerobot` of `waldo.formats`."""
