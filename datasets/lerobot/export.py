"""Episode store -> LeRobot dataset v3.0 that an untouched `LeRobotDataset` and `lerobot-train` read. Offline.

Bytes of recorded pictures are copied, not decoded. The dataset is built beside its target and renamed, so the target is
whole or absent; an export that was broken off goes on where it stopped: what it encoded and wrote is kept.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.jobs import Jobs, run
from waldo.datasets.lerobot.dataset_card import card
from waldo.datasets.lerobot.export_video import Clip, VideoFiles, make_clip
from waldo.datasets.reading.rows import Column, RowConfig, Rows, UnfitEpisodeError, make_rows
from waldo.datasets.selection import Selection
from waldo.datasets.store_path import StorePath
from waldo.datasets.streams import DepthStream
from waldo.datasets.video.encoder import PRESET
from waldo.datasets.video.histograms import sampled_pixels
from waldo.errors import FileError, UnknownNameError
from waldo.files import sync_file

if TYPE_CHECKING:
    from waldo.datasets.lerobot.layout import Statistics

CAMERA_PREFIX = "cameras/"
"""Prefix of the store's camera streams, absent in LeRobot's keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What is exported, and how."""

    fps: int = 30
    """Rows a second."""
    cameras: tuple[str, ...] | None = ()
    """Cameras by their short names; () means all, None means none."""
    action: Literal["command", "sent"] = "command"
    """Which stream of commands is the action."""
    environment: bool = True
    """Whether the simulation's ground truth becomes `observation.environment_state`."""
    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """Which episodes."""
    max_age_s: float = 0.25
    """Farthest that a sample may lie from its row [s]."""
    licence: str = ""
    """The licence's name for the dataset card, such as `apache-2.0`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export wrote."""

    path: Path
    """The LeRobot dataset."""
    episodes: int
    """Episodes written."""
    rows: int
    """Rows written, over all episodes."""
    frames_copied: int
    """Frames whose packets were copied as recorded."""
    frames_encoded: int
    """Frames that were decoded and encoded anew."""
    frame_error_ms: Mapping[str, float]
    """Camera -> the farthest that a frame lies from its row [ms]."""
    skipped: int
    """Episodes that were not asked for."""
    left_out: Mapping[int, str]
    """Episode index -> why it could not be exported."""
    notes: Sequence[str]
    """What the target cannot hold, a sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An episode that is ready to be written: rows, statistics, and where its pictures' bytes are."""

    task: str
    """The instruction."""
    columns: Mapping[str, Column]
    """LeRobot's key -> numbers."""
    clips: Mapping[str, Clip]
    """Camera -> its samples."""
    sizes: Mapping[str, tuple[int, int]]
    """Camera -> height and width [px]."""
    statistics: Mapping[str, Statistics]
    """LeRobot's key -> statistics."""
    frame_error_s: Mapping[str, float]
    """Camera -> the farthest that a frame lies from its row [s]."""
    rows: int
    """How many rows it has."""

    @property
    def signature(self) -> Mapping[str, object]:
        """What must be the same in all episodes of one LeRobot dataset."""
        return {key: column.names for key, column in self.columns.items()} | dict(self.sizes)


def export(
    dataset: Dataset,
    out: str | Path,
    config: ExportConfig | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
    jobs: Jobs | None = None,
) -> ExportResult:
    """Export a dataset to the folder `out`; `advance` hears how many episodes are done and how many there are.

    `jobs` says how many workers prepare episodes side by side, here or on a Ray cluster that sees the same folders.
    """
    settings = config or ExportConfig()
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(target, "is not empty", "choose another folder or remove it")
    chosen = dataset.select(settings.selection)
    skipped = len(dataset.indices) - len(chosen)
    if not chosen:
        do = "pass --outcome success failure unknown"
        raise FileError(dataset.path, f"has no episode to export ({skipped} are not asked for)", do)
    building = _resume(target.absolute().with_name(f".{target.name}.partial"), dataset, chosen, settings)
    episodes = dataset.episodes
    rows = row_config(episodes.with_index(chosen[0]), settings)
    writer = Writer(building, rows, robot=dataset.robot)
    prepare = partial(_prepare, dataset.path, rows, building / "encoded")
    left_out: dict[int, str] = {}
    try:
        for done, (index, found) in enumerate(run(prepare, chosen, jobs or Jobs())):
            advance(done, len(chosen))
            why = found if isinstance(found, str) else writer.add(found)
            if why:
                left_out[index] = why
        if not writer.entries:
            why = "; ".join(f"episode {index}: {text}" for index, text in left_out.items())
            raise FileError(dataset.path, f"has no episode that could be exported ({why})", "run waldo check")
        writer.close()
    finally:
        writer.abandon()
    notes = _notes(episodes.with_index(chosen[0]), rows)
    result = writer.result(target, skipped=skipped, left_out=left_out, notes=notes)
    entries = [entry for entry in dataset.catalog if entry.episode in {*chosen} - {*left_out}]
    told = {"name": target.name, "licence": settings.licence, "fps": settings.fps, "rows": result.rows, "notes": notes}
    (building / "README.md").write_text(card(dataset, entries, told))
    _finish(building, target)
    advance(len(chosen), len(chosen))
    return result


def row_config(episode: Episode, settings: ExportConfig) -> RowConfig:
    """Return how episodes become rows."""
    return RowConfig(
        fps=settings.fps,
        cameras=camera_streams(episode, settings.cameras),
        action=settings.action,
        environment=settings.environment,
        max_age_s=settings.max_age_s,
    )


def feature_key(camera: str) -> str:
    """Return LeRobot's key of a camera stream."""
    return "observation.images." + camera.removeprefix(CAMERA_PREFIX).replace("/", "_")


def camera_streams(episode: Episode, names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the streams of the cameras that were asked for by their short names."""
    if names is None:
        return ()
    known = {name.removeprefix(CAMERA_PREFIX): name for name in episode.cameras}
    for name in names:
        if name not in known:
            raise UnknownNameError("camera", name, known)
    return tuple(known[name] for name in names or known)


def camera_statistics(episode: Episode, camera: str) -> dict[str, NDArray[Any]]:
    """Return LeRobot's statistics of a camera, (3, 1, 1), from what was counted while recording."""
    stream = episode.camera(camera)
    statistics = {key: value.reshape(3, 1, 1) for key, value in episode.image_statistics(camera).items()}
    pictures = episode.histogram(camera)[0].sum() // sampled_pixels(stream.height, stream.width)
    return statistics | {"count": np.array([pictures])}


def _resume(building: Path, dataset: Dataset, chosen: Sequence[int], settings: ExportConfig) -> Path:
    """Return the folder that is built in: what an export of the same episodes left there is kept, all else is not."""
    marks = [dataset.episodes.with_index(index).attributes["metadata_crc32c"] for index in chosen]
    edits = [asdict(dataset.edits.of(index)) for index in chosen]
    plan = json.dumps([str(dataset.path.absolute()), list(chosen), marks, edits, asdict(settings)])
    digest = hashlib.sha256(plan.encode()).hexdigest()
    mark = building / "plan"
    if not mark.exists() or mark.read_text() != digest:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir(parents=True)
        mark.write_text(digest)
    return building


def _finish(building: Path, target: Path) -> None:
    """Take away what only the building needed, and put the dataset in its place."""
    shutil.rmtree(building / "encoded", ignore_errors=True)
    (building / "plan").unlink()
    with suppress(FileNotFoundError):
        target.rmdir()
    building.rename(target)
    sync_file(target.parent)


def _prepare(folder: StorePath, config: RowConfig, spool: Path, index: int) -> Prepared | str:
    """Make an episode ready, in whichever process; return why where it cannot be exported."""
    from waldo.datasets.lerobot.layout import statistics

    episode = Dataset.open(folder).episode(index)
    try:
        rows = make_rows(episode, config)
    except UnfitEpisodeError as error:
        return error.why
    found = {key: statistics(column.values) for key, column in rows.columns.items()}
    found |= {feature_key(camera): camera_statistics(episode, camera) for camera in rows.frames}
    return Prepared(
        task=episode.task or "unknown",
        columns=rows.columns,
        clips=dict(_clips(episode, rows, config, spool)),
        sizes={name: (episode.camera(name).height, episode.camera(name).width) for name in rows.frames},
        statistics=found,
        frame_error_s=rows.frame_error_s,
        rows=len(rows.instants_ns),
    )


def _clips(episode: Episode, rows: Rows, config: RowConfig, spool: Path) -> Iterator[tuple[str, Clip]]:
    """Yield each camera's clip."""
    for number, (camera, frames) in enumerate(rows.frames.items()):
        path = spool / f"{episode.index:06d}-{number}.mp4"
        yield camera, make_clip(episode, camera, frames, Fraction(config.fps), path)


def _notes(episode: Episode, config: RowConfig) -> list[str]:
    """Say what the target does not hold."""
    notes = ["Streams are brought to one rate; native rates, receipt and publication times stay in the recording."]
    depth = [name for name, stream in episode.streams.items() if isinstance(stream, DepthStream)]
    if depth:
        notes.append(f"Depth images ({', '.join(depth)}) are not exported.")
    for name in config.cameras:
        if episode.camera(name).codec == "jpeg":
            notes.append(f"{name} was recorded as JPEG and is encoded anew as H.264.")
    return notes


class Writer:
    """A LeRobot dataset being written. The first episode decides the columns."""

    def __init__(self, root: Path, config: RowConfig, *, robot: str) -> None:
        """Take the folder, how rows are made and the robot's name."""
        from waldo.datasets.lerobot import layout

        self._layout: Any = layout
        self._root, self._config, self._robot = root, config, robot
        self._features: dict[str, Any] = {}
        self._signature: Mapping[str, object] = {}
        self._videos: dict[str, VideoFiles] = {}
        self._tasks: dict[str, int] = {}
        self._parquet: Any = None
        self._parquet_bytes = self._data_file = self._rows = 0
        self._copied = self._encoded = 0
        self._errors = dict.fromkeys(config.cameras, 0.0)
        self.entries: list[dict[str, Any]] = []
        """What is said of each episode that was written."""

    def add(self, episode: Prepared) -> str:
        """Append an episode; return why where it does not fit and nothing of it was written."""
        if not self._features:
            self._begin(episode)
        elif episode.signature != self._signature:
            differing = {*episode.signature.items()} ^ {*self._signature.items()}
            return f"its columns differ from those of the first episode: {', '.join(sorted({k for k, _ in differing}))}"
        count, first, number = episode.rows, self._rows, len(self.entries)
        task = self._tasks.setdefault(episode.task, len(self._tasks))
        columns = _columns(episode, self._config.fps, number, first, task)
        chunk, file = divmod(self._write_rows(columns), self._layout.CHUNK_FILES)
        entry: dict[str, Any] = {
            "episode_index": number,
            "tasks": [episode.task],
            "length": count,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": first,
            "dataset_to_index": first + count,
        }
        for camera, clip in episode.clips.items():
            entry |= self._place(camera, clip)
            self._errors[camera] = max(self._errors[camera], episode.frame_error_s[camera])
        own = {key: self._layout.statistics(columns[key]) for key in self._layout.OWN}
        self.entries.append(entry | {"stats": {**episode.statistics, **own}})
        self._rows += count
        return ""

    def close(self) -> None:
        """Write the videos and what describes everything."""
        self.abandon()
        for files in self._videos.values():
            for number in range(len(files.files)):
                files.write(number)
        layout, root = self._layout, self._root
        layout.write_tasks(root, list(self._tasks))
        layout.write_episodes(root, self.entries)
        keys = self.entries[0]["stats"]
        layout.write_statistics(root, {k: layout.aggregate([e["stats"][k] for e in self.entries]) for k in keys})
        layout.write_info(root, self._info())

    def abandon(self) -> None:
        """Close the file of rows that is open."""
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None

    def result(self, path: Path, *, skipped: int, left_out: Mapping[int, str], notes: Sequence[str]) -> ExportResult:
        """Say what was written."""
        return ExportResult(
            path=path,
            episodes=len(self.entries),
            rows=self._rows,
            frames_copied=self._copied,
            frames_encoded=self._encoded,
            frame_error_ms={camera.removeprefix(CAMERA_PREFIX): s * 1e3 for camera, s in self._errors.items()},
            skipped=skipped,
            left_out=left_out,
            notes=notes,
        )

    def _begin(self, episode: Prepared) -> None:
        """Take the columns from the first episode."""
        layout = self._layout
        self._signature = episode.signature
        self._features = {key: layout.number_feature(column.names) for key, column in episode.columns.items()}
        for camera, (height, width) in episode.sizes.items():
            key, info = feature_key(camera), _video_info(height, width, self._config.fps)
            self._features[key] = layout.video_feature(height, width, info)
            limit = layout.VIDEO_MB * 1024**2
            self._videos[camera] = VideoFiles(partial(self._video_path, key), Fraction(self._config.fps), limit)
        self._features |= layout.own_features()
        self._schema = layout.schema(self._features)
        (self._root / "meta").mkdir(exist_ok=True)

    def _video_path(self, key: str, number: int) -> Path:
        chunk, file = divmod(number, self._layout.CHUNK_FILES)
        return self._root / self._layout.VIDEO_PATH.format(video_key=key, chunk_index=chunk, file_index=file)

    def _place(self, camera: str, clip: Clip) -> dict[str, Any]:
        """Give a clip its place in the video files and return what is said of it."""
        number, start = self._videos[camera].add(clip)
        chunk, file = divmod(number, self._layout.CHUNK_FILES)
        self._copied, self._encoded = self._copied + clip.copied, self._encoded + clip.encoded
        place = {"chunk_index": chunk, "file_index": file, "from_timestamp": start / self._config.fps}
        place["to_timestamp"] = (start + clip.rows) / self._config.fps
        return {f"videos/{feature_key(camera)}/{name}": value for name, value in place.items()}

    def _write_rows(self, columns: Mapping[str, NDArray[Any]]) -> int:
        """Append rows to the current file, one row group an episode; return the file's number."""
        import pyarrow.parquet as pq

        table = self._layout.rows_table(columns, self._schema)
        if self._parquet is not None and self._parquet_bytes + table.nbytes > self._layout.DATA_MB * 1024**2:
            self.abandon()
            self._data_file += 1
        if self._parquet is None:
            chunk, file = divmod(self._data_file, self._layout.CHUNK_FILES)
            path = self._root / self._layout.DATA_PATH.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            repeating: Any = ["episode_index", "task_index"]
            self._parquet = pq.ParquetWriter(path, self._schema, compression="snappy", use_dictionary=repeating)
            self._parquet_bytes = 0
        self._parquet.write_table(table)
        self._parquet_bytes += table.nbytes
        return self._data_file

    def _info(self) -> dict[str, Any]:
        """Return what describes the dataset."""
        layout = self._layout
        return {
            "codebase_version": "v3.0",
            "fps": self._config.fps,
            "features": self._features,
            "total_episodes": len(self.entries),
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": layout.CHUNK_FILES,
            "data_files_size_in_mb": layout.DATA_MB,
            "video_files_size_in_mb": layout.VIDEO_MB,
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH if self._videos else None,
            "robot_type": self._robot,
            "splits": {"train": f"0:{len(self.entries)}"},
        }


def _video_info(height: int, width: int, fps: int) -> dict[str, Any]:
    """Return what LeRobot says of a camera's videos."""
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "video.preset": PRESET,
        "is_depth_map": False,
    }


def _columns(episode: Prepared, fps: int, number: int, first: int, task: int) -> dict[str, NDArray[Any]]:
    """Return all columns of the parquet file, LeRobot's own included."""
    frame = np.arange(episode.rows)
    return {
        **{key: column.values for key, column in episode.columns.items()},
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(episode.rows, number),
        "index": first + frame,
        "task_index": np.full(episode.rows, task),
    }
