"""The format rosbag2: detection, import and the options of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from waldo.datasets.formats.format import Format
from waldo.datasets.formats.rosbag2.find import bags_of
from waldo.datasets.formats.target import ExportConfig

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode
    from waldo.datasets.formats.rosbag2.export import BagTarget
    from waldo.datasets.formats.source import ImportConfig, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class BagConfig(ExportConfig):
    """Options of an export to ROS 2 bags."""

    cameras: tuple[str, ...] | None = ()
    """Cameras by name; all by default, `none` for bags without color images."""
    images: Literal["jpeg", "h264"] = "jpeg"
    """H.264 streams become JPEGs, which every tool reads, or keep their packets (CompressedVideo)."""
    storage: Literal["mcap", "sqlite3"] = "mcap"
    """Storage format of the bags."""
    keep_not_following: bool = False
    """Also export episodes in which the robot did not follow its commands for a time."""

    def __post_init__(self) -> None:
        """Normalize `cameras`."""
        if self.cameras == ("none",):
            object.__setattr__(self, "cameras", None)

    def open(self, first: Episode) -> BagTarget:
        """Return the target; the named cameras must exist in `first`."""
        from waldo.datasets.formats.rosbag2.export import BagTarget

        return BagTarget.open(
            first, self.cameras, self.images, self.storage, keep_not_following=self.keep_not_following
        )


def _open_source(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.rosbag2.importer import Rosbag2Source

    return Rosbag2Source(path, config)


FORMAT = Format(
    name="rosbag2",
    title="ROS 2 bags",
    marker="metadata.yaml, .mcap or .db3 (rosbag2), in the folder or in folders inside it",
    detect=lambda path: bool(bags_of(path)),
    open_source=_open_source,
    export_config=lambda: BagConfig,
)
"""Registered as the entry point `rosbag2` of `waldo.formats`."""
