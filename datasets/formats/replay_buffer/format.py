"""The formats replay-buffer and umi: detection, import and the options of an export."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from waldo.datasets.formats.format import Format
from waldo.datasets.formats.target import ExportConfig
from waldo.datasets.reading.row_config import RowConfig, camera_streams, stamp_choices
from waldo.errors import InvalidValueError, WaldoError

if TYPE_CHECKING:
    from waldo.datasets.episode import Episode
    from waldo.datasets.formats.replay_buffer.export import ReplayBufferTarget
    from waldo.datasets.formats.replay_buffer.umi import UmiTarget
    from waldo.datasets.formats.source import ImportConfig, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayBufferConfig(ExportConfig):
    """Options of an export to a replay buffer."""

    rows: RowConfig = field(default_factory=RowConfig)
    """How episodes are resampled."""

    def open(self, first: Episode) -> ReplayBufferTarget:
        """Return the target; `first` determines the cameras."""
        from waldo.datasets.formats.replay_buffer.export import ReplayBufferTarget

        return ReplayBufferTarget(rows=self.rows.resolve(first))


@dataclass(frozen=True, slots=True, kw_only=True)
class UmiConfig(ExportConfig):
    """Options of an export to UMI."""

    fps: int = 30
    """Rows per second."""
    cameras: tuple[str, ...] | None = ()
    """Cameras by name; all by default, `none` for rows without images."""
    max_staleness_s: float = 0.25
    """Largest distance in time between a sample and its row; an episode with a longer gap is skipped [s]."""
    stamps: tuple[str, ...] = ()
    """Stamps of streams of a device with its own clock, such as `joints/state=receipt`; see `RowConfig.stamps`."""

    def __post_init__(self) -> None:
        """Validate the values and normalize `cameras`."""
        if self.fps < 1:
            raise InvalidValueError("fps", self.fps, "a whole number from 1")
        if self.max_staleness_s < 0:
            raise InvalidValueError("max_staleness_s", self.max_staleness_s, "0 s or more")
        stamp_choices(self.stamps)
        if self.cameras == ("none",):
            object.__setattr__(self, "cameras", None)

    def open(self, first: Episode) -> UmiTarget:
        """Return the target; `first` determines the cameras and the source of the poses."""
        from waldo.datasets.formats.replay_buffer.umi import UmiTarget
        from waldo.datasets.formats.replay_buffer.umi_poses import open_poses

        stamp_choices(self.stamps, first)
        return UmiTarget(
            fps=self.fps,
            cameras=camera_streams(first, self.cameras),
            max_staleness_s=self.max_staleness_s,
            stamps=self.stamps,
            poses=open_poses(first),
        )


def _detect(path: Path) -> bool:
    if not path.is_dir() and path.suffix != ".zip":
        return False
    from waldo.datasets.formats.replay_buffer.real_robot import buffer_of
    from waldo.datasets.formats.replay_buffer.zarr3 import open_zarr

    try:
        with closing(open_zarr(buffer_of(path))) as files:
            return files.has_array("meta/episode_ends")
    except WaldoError:
        # A zip file that cannot be read is most likely truncated; opening it reports the reason.
        return path.suffix == ".zip"


def _open_source(path: Path, config: ImportConfig) -> Source:
    from waldo.datasets.formats.replay_buffer.importer import ReplayBufferSource

    return ReplayBufferSource(path, config)


REPLAY_BUFFER = Format(
    name="replay-buffer",
    title="diffusion_policy replay buffer",
    marker="a zarr folder or .zarr.zip with meta/episode_ends (diffusion_policy, UMI)",
    detect=_detect,
    open_source=_open_source,
    import_options=("fps", "color_order"),
    export_config=lambda: ReplayBufferConfig,
)
"""Registered as the entry point `replay_buffer` of `waldo.formats`."""

UMI = Format(name="umi", title="UMI .zarr.zip", export_config=lambda: UmiConfig)
"""Registered as the entry point `umi` of `waldo.formats`; its files are imported as replay buffers."""
