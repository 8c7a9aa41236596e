"""`waldo import` and `waldo export`: datasets of other formats."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic import BeforeValidator
from rich.markup import escape

from waldo import console
from waldo.cli.support.arguments import DatasetAddress, Folder
from waldo.datasets.indices import parse_indices
from waldo.datasets.reading.row_config import RowConfig
from waldo.datasets.selection import Outcome, Selection
from waldo.datasets.streams import CRF
from waldo.errors import UnknownNameError, UnsupportedOptionError, count

if TYPE_CHECKING:
    from waldo.datasets.formats.convert import ImportResult
    from waldo.datasets.formats.format import Format
    from waldo.datasets.formats.target import ExportConfig, ExportResult

COMMON = ("selection", "rows")
"""Fields of an export's options that are not options of their own."""


def _pairs(value: Any) -> Any:
    """Return the pairs of a YAML file, a list or a mapping of keys to streams, in the form of the option."""
    if isinstance(value, dict):
        return [[f"{key}={target}" for key, target in value.items()]]
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return [value] if is_list else value


type MapOption = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, BeforeValidator(_pairs)]
"""Values of each use of `--map`."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """Import a dataset of another format; run the command again to resume. Exit code 1 if an episode was skipped."""

    source: Folder
    """File or folder: LeRobot v2/v3, replay buffer, UMI, robomimic, LIBERO, ALOHA, RDT, RoboTwin, ROS 2 bags."""
    dataset: DatasetAddress
    """Folder of the dataset; episodes are added if it exists."""
    format: str = "auto"
    """Format of the source, such as lerobot, replay-buffer, robomimic, aloha, robotwin or rosbag2; auto detects it."""
    robot: str = ""
    """Name of the robot; by default the one that the source names."""
    episodes: str = ""
    """Positions of the episodes in the source, from 0, such as `0-9,12`; all by default."""
    codec: Literal["auto", "h264", "lossless", "jpeg"] = "auto"
    """Codec of the images; auto keeps them exactly, except video in a codec that the store does not support."""
    crf: int = CRF
    """Quality of images that are encoded as h264, 0 to 51; lower is better and larger."""
    fps: float | None = None
    """Row rate of a replay buffer or HDF5 file, which do not state it [Hz]."""
    outcome: Outcome = "unknown"
    """Outcome of attempts for which the source does not state it."""
    map: MapOption = ()
    """KEY=STREAM pairs, such as `state=joint_states wrist_image=cameras/wrist`; KEY=STREAM:left_ adds a prefix to the
    names of the values, KEY=STREAM:a,b names them, KEY=none leaves the key out."""
    color_order: Literal["auto", "rgb", "bgr"] = "auto"
    """Order of the colors in images; bgr if red and blue are swapped. auto: rgb, bgr for RoboTwin."""
    dry_run: bool = False
    """Only print the mapping and the notes; write nothing."""
    workers: int = 1
    """Number of processes that import episodes; 0 uses one per core."""
    ray: str | None = None
    """Address of a Ray cluster that sees the same folders, `auto` or `local`; by default Ray is not used."""

    def run(self) -> int:
        """Import and print the result."""
        from waldo.datasets.formats.convert import import_dataset
        from waldo.datasets.formats.source import ImportConfig
        from waldo.datasets.jobs import Jobs
        from waldo.datasets.storage.store_path import open_path, require_local

        config = ImportConfig(
            codec=self.codec,
            crf=self.crf,
            fps=self.fps,
            outcome=self.outcome,
            map=tuple(pair for pairs in self.map for pair in pairs),
            color_order=self.color_order,
        )
        with _progress("importing") as advance:
            result = import_dataset(
                self.source,
                require_local(open_path(self.dataset), "import"),
                config,
                format=None if self.format == "auto" else self.format,
                robot=self.robot,
                episodes=parse_indices(self.episodes) or None,
                jobs=Jobs(workers=self.workers, ray=self.ray),
                dry_run=self.dry_run,
                progress=advance,
            )
        print_import(result)
        return 1 if result.skipped else 0


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a dataset to LeRobot v3.0 or another format. Exit code 1 if an episode was skipped."""

    dataset: DatasetAddress
    """Folder of the dataset."""
    out: Annotated[Path, tyro.conf.Positional]
    """Folder (for umi: zip file) to create; it must not contain anything yet."""
    format: str = "lerobot"
    """Target format: lerobot (v3.0), replay-buffer (diffusion_policy), umi (.zarr.zip) or rosbag2 (ROS 2 bags)."""
    rows: RowConfig = field(default_factory=RowConfig)
    """How episodes are resampled."""
    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """Which episodes."""
    license: str = ""
    """For lerobot: license for the dataset card, such as `apache-2.0`."""
    one_file_per_episode: bool = False
    """For lerobot: a Parquet file, and an MP4 per camera, for each episode, instead of files with many episodes."""
    images: Literal["jpeg", "h264"] = "jpeg"
    """For rosbag2: H.264 streams become JPEGs, which every tool reads, or keep their packets (CompressedVideo)."""
    storage: Literal["mcap", "sqlite3"] = "mcap"
    """For rosbag2: storage format of the bags."""
    workers: int = 1
    """Number of processes that prepare episodes; 0 uses one per core."""
    ray: str | None = None
    """Address of a Ray cluster that sees the same folders, `auto` or `local`; by default Ray is not used."""

    def run(self) -> int:
        """Export and print the result."""
        from waldo.datasets.dataset import Dataset
        from waldo.datasets.formats.target import export_dataset
        from waldo.datasets.jobs import Jobs

        config = export_config(self)
        jobs = Jobs(workers=self.workers, ray=self.ray)
        with _progress("exporting") as advance:
            result = export_dataset(Dataset.open(self.dataset), self.out, config, jobs=jobs, progress=advance)
        print_export(result)
        return 1 if result.skipped else 0


def export_config(command: Export) -> ExportConfig:
    """Return the options of the target format.

    Raises:
        UnknownNameError: If there is no such format, or it cannot be exported.
        UnsupportedOptionError: If an option is given that the format does not support.
    """
    formats = _export_formats()
    name = command.format.replace("_", "-")
    if name not in formats:
        raise UnknownNameError("export format", name, formats)
    config = formats[name]
    accepted = _options(config)
    for option, value, default in _given(command):
        if value != default and option not in accepted:
            supported = [other for other, known in formats.items() if option in _options(known)]
            raise UnsupportedOptionError(f"--{option.replace('_', '-')}", f"--format {name}", supported)
    values = {option: value for option, value, _ in _given(command)}
    own = {entry.name: values[entry.name] for entry in fields(config) if entry.name in values}
    rows = {"rows": command.rows} if "rows" in {entry.name for entry in fields(config)} else {}
    return config(selection=command.selection, **rows, **own)


def _export_formats() -> Mapping[str, type[ExportConfig]]:
    """Return the option classes of the formats that can be exported."""
    from waldo.datasets.formats.format import load_formats

    def is_export(known: Format) -> bool:
        return known.export_config is not None

    return {known.name: known.export_config() for known in filter(is_export, load_formats()) if known.export_config}


def _options(config: type[ExportConfig]) -> set[str]:
    """Return the names of the options that a format supports."""
    names = {entry.name for entry in fields(config)}
    return (names | {entry.name for entry in fields(RowConfig)} if "rows" in names else names) - {*COMMON}


def _given(command: Export) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, value, default) of the options that not every format supports."""
    defaults = {entry.name: entry.default for entry in fields(command)}
    for name in ("license", "one_file_per_episode", "images", "storage"):
        yield name, getattr(command, name), defaults[name]
    for entry in fields(command.rows):
        yield entry.name, getattr(command.rows, entry.name), getattr(RowConfig(), entry.name)


@contextmanager
def _progress(label: str) -> Generator[Callable[[int, int], None]]:
    """Show a progress bar and yield the callback that updates it."""
    with console.progress() as progress:
        bar = progress.add_task(label, total=None, note="")
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def print_import(result: ImportResult) -> None:
    """Print the mapping and the result of an import."""
    from waldo.cli.support.tables import MARKS, table

    out = console.out()
    rows = [(row.key, row.contents or "-", row.stream or f"not imported: {row.why}") for row in result.mapped]
    if rows:
        table("mapping", ("key", "contents", "stream"), rows)
    target, source = escape(str(result.path)), f"{escape(result.source)} ({result.format})"
    if result.dry_run:
        out.print(f"{target}: would import {count(result.episodes, 'episode')} of {source}; nothing was written")
    else:
        out.print(
            f"{target}: imported {count(result.episodes, 'episode')} of {source}, {count(result.rows, 'row')}, "
            f"{count(result.copied, 'frame')} copied, {result.encoded} encoded"
        )
    if result.existing:
        out.print(f"{count(result.existing, 'episode')} already imported")
    for note in result.notes:
        out.print(f"{MARKS['note']}  {escape(note)}")
    for key, why in result.skipped.items():
        out.print(f"[red]{escape(key)} skipped:[/red] {escape(why)}")


def print_export(result: ExportResult) -> None:
    """Print the result of an export."""
    from waldo.cli.support.tables import MARKS

    out = console.out()
    out.print(
        f"{escape(str(result.path))}: exported {count(result.episodes, 'episode')}, {count(result.rows, 'row')}, "
        f"{count(result.frames_copied, 'frame')} copied, {result.frames_encoded} encoded"
    )
    for camera, error_ms in result.frame_error_ms.items():
        out.print(f"{escape(camera)}: frames are at most {error_ms:.1f} ms from their rows")
    if result.unselected:
        out.print(f"{count(result.unselected, 'episode')} not selected")
    for note in result.notes:
        out.print(f"{MARKS['note']}  {escape(note)}")
    for index, why in result.skipped.items():
        out.print(f"[red]episode {index} skipped:[/red] {escape(why)}")
