"""`waldo import`, and what `waldo export --format` does for formats other than LeRobot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from rich.markup import escape

from waldo import console
from waldo.cli.arguments import DatasetAddress, Folder
from waldo.datasets.indices import parse_indices
from waldo.datasets.selection import Outcome
from waldo.datasets.streams import CRF
from waldo.errors import InvalidValueError

if TYPE_CHECKING:
    from waldo.cli.dataset import Export
    from waldo.datasets.formats.convert import ImportResult
    from waldo.datasets.lerobot.export import ExportResult

OF_ROWS = ("fps", "action", "environment", "max_age_s")
"""Options of formats that bring everything to one rate."""

TAKES: Mapping[str, tuple[str, ...]] = {
    "lerobot": (*OF_ROWS, "licence", "workers", "ray"),
    "replay-buffer": OF_ROWS,
    "umi": ("fps", "max_age_s"),
    "rosbag2": ("images", "storage", "workers", "ray"),
}
"""Format -> options that it has beside those that all have."""

BY_ALL = ("dataset", "out", "format", "cameras", "selection")
"""Options that all formats have."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """Import a dataset of another format. Exit code 1 if an episode had to be left out; run it again to go on."""

    source: Folder
    """The folder or file to import: LeRobot v2/v3, a replay buffer or UMI's zip, robomimic, ALOHA, ROS 2 bags."""
    dataset: DatasetAddress
    """The dataset's folder; made if it is not there, else added to."""
    format: Literal["auto", "lerobot", "replay-buffer", "robomimic", "aloha", "rosbag2"] = "auto"
    """What the source is; auto looks at its files."""
    robot: str = ""
    """The robot's name, where the source does not say it or another is wanted."""
    episodes: str = ""
    """Places in the source and runs of them, from 0, such as `0-9,12`; all if nothing is said."""
    codec: Literal["auto", "h264", "lossless", "jpeg"] = "auto"
    """How pictures are kept; auto keeps them exactly, but for video in a codec that the store does not know."""
    crf: int = CRF
    """Quality of what must be encoded as h264, 0 to 51: lower is better and larger."""
    fps: float | None = None
    """Rows a second of a replay buffer or of HDF5, which do not say it [Hz]."""
    outcome: Outcome = "unknown"
    """How the attempts went of which the source does not say it."""
    topics: tuple[str, ...] = ()
    """Of bags: which topic is which stream, such as `joints/state=/arm/joint_states`."""
    workers: int = 1
    """Processes that import episodes side by side; 0: one for each core."""
    ray: str | None = None
    """Address of a Ray cluster that sees the same folders, `auto`, or `local`; without it, no Ray."""

    def run(self) -> int:
        """Import and print what was done."""
        from waldo.datasets.formats.convert import import_dataset
        from waldo.datasets.formats.source import ImportConfig
        from waldo.datasets.jobs import Jobs
        from waldo.datasets.store_path import local, place

        config = ImportConfig(
            codec=self.codec, crf=self.crf, fps=self.fps, outcome=self.outcome, topics=tuple(self.topics)
        )
        with console.progress() as progress:
            bar = progress.add_task("importing", total=None, note="")

            def advance(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            result = import_dataset(
                self.source,
                local(place(self.dataset), "import"),
                config,
                format=None if self.format == "auto" else self.format,
                robot=self.robot,
                episodes=parse_indices(self.episodes) or None,
                jobs=Jobs(workers=self.workers, ray=self.ray),
                advance=advance,
            )
        print_import(result)
        return 1 if result.left_out else 0


def print_import(result: ImportResult) -> None:
    """Print what an import did."""
    from waldo.cli.tables import MARKS

    out = console.out()
    out.print(
        f"{escape(str(result.path))}: {result.episodes} episodes of {escape(result.source)} ({result.format}), "
        f"{result.rows} rows, {result.copied} frames copied, {result.encoded} encoded"
    )
    if result.there:
        out.print(f"{result.there} episodes were there already")
    for note in result.notes:
        out.print(f"{MARKS['note']}  {escape(note)}")
    for key, why in result.left_out.items():
        out.print(f"[red]{escape(key)} is left out:[/red] {escape(why)}")


def check_options(command: Export) -> None:
    """Refuse options that a format does not have."""
    for field in fields(command):
        if field.name in (*BY_ALL, *TAKES[command.format]):
            continue
        default = field.default if field.default is not MISSING else None
        value = getattr(command, field.name)
        if value != default:
            having = ", ".join(name for name, options in TAKES.items() if field.name in options)
            raise InvalidValueError(f"--{field.name.replace('_', '-')}", value, f"absent: only {having} has it")


def export(command: Export, advance: Callable[[int, int], None]) -> ExportResult:
    """Export to a format other than LeRobot."""
    from waldo.datasets.dataset import Dataset
    from waldo.datasets.jobs import Jobs
    from waldo.datasets.lerobot.export import ExportConfig

    dataset = Dataset.open(command.dataset)
    cameras: Any = None if command.cameras == ("none",) else command.cameras
    if command.format == "rosbag2":
        from waldo.datasets.formats.rosbag2 import export

        config = export.BagConfig(
            selection=command.selection, cameras=cameras, images=command.images, storage=command.storage
        )
        jobs = Jobs(workers=command.workers, ray=command.ray)
        return export.export(dataset, command.out, config, advance, jobs)
    from waldo.datasets.formats.replay_buffer import export, umi_export

    settings = ExportConfig(
        fps=command.fps,
        cameras=cameras,
        action=command.action,
        environment=command.environment,
        selection=command.selection,
        max_age_s=command.max_age_s,
    )
    to = umi_export.export if command.format == "umi" else export.export
    return to(dataset, command.out, settings, advance)
