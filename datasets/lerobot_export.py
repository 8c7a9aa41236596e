"""Episode store -> LeRobot dataset v3.0 that an untouched `LeRobotDataset` and `lerobot-train` read. Offline.

Metadata is written by LeRobot's own classes (tested with LEROBOT_VERSION); rows and packets come from here. The dataset
is built beside its target and renamed, so the target is whole or absent; what an interrupted export left is rebuilt.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av.logging
import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import Dataset
from waldo.datasets.encoders import PRESET
from waldo.datasets.episode import Episode
from waldo.datasets.export_rows import Column, RowConfig, Rows, UnfitEpisodeError, make_rows
from waldo.datasets.export_video import Placed, VideoFiles
from waldo.datasets.statistics import sampled_pixels
from waldo.errors import FileError, UnknownNameError

LEROBOT_VERSION = "0.6.1"
"""The version whose classes are used here; a test notices another one."""

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
    include: Literal["success", "all"] = "success"
    """Which episodes."""
    max_age_s: float = 0.25
    """Farthest that a sample may lie from its row [s]."""


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
    """Episodes whose outcome was not asked for."""
    left_out: Mapping[int, str]
    """Episode index -> why it could not be exported."""


def export(
    dataset: Dataset,
    out: str | Path,
    config: ExportConfig | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> ExportResult:
    """Export a dataset to the folder `out`; `advance` hears how many episodes are done and how many there are."""
    settings = config or ExportConfig()
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FileError(target, "is not empty", "choose another folder or remove it")
    chosen = [e for e in dataset.episodes if settings.include == "all" or e.outcome == "success"]
    skipped = len(dataset.episodes) - len(chosen)
    if not chosen:
        raise FileError(dataset.path, f"has no episode to export ({skipped} not successful)", "pass --include all")
    rows = RowConfig(
        fps=settings.fps,
        cameras=camera_streams(chosen[0], settings.cameras),
        action=settings.action,
        environment=settings.environment,
        max_age_s=settings.max_age_s,
    )
    building = target.absolute().with_name(f".{target.name}.partial")
    shutil.rmtree(building, ignore_errors=True)
    building.parent.mkdir(parents=True, exist_ok=True)
    writer = _LeRobotWriter(building, rows, robot=dataset.robot)
    left_out: dict[int, str] = {}
    try:
        for done, episode in enumerate(chosen):
            advance(done, len(chosen))
            try:
                writer.add(episode)
            except UnfitEpisodeError as error:
                left_out[episode.index] = error.why
        if not writer.episodes:
            why = "; ".join(f"episode {index}: {text}" for index, text in left_out.items())
            raise FileError(dataset.path, f"has no episode that could be exported ({why})", "run waldo check")
        writer.close()
    finally:
        writer.abandon()
    with suppress(FileNotFoundError):
        target.rmdir()
    building.rename(target)
    advance(len(chosen), len(chosen))
    return replace(writer.result(target), skipped=skipped, left_out=left_out)


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


class _LeRobotWriter:
    """A LeRobot dataset being written; everything about its layout is here. The first episode decides the columns."""

    def __init__(self, root: Path, config: RowConfig, *, robot: str) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        self._root, self._config, self._robot = root, config, robot
        self._meta: Any = None
        self._signature: Any = None
        self._parquet: Any = None
        self._parquet_rows = 0
        self._data_file = 0
        self._videos: dict[str, VideoFiles] = {}
        self._rows = 0
        self._copied = self._encoded = 0
        self._errors = dict.fromkeys(config.cameras, 0.0)
        self.episodes = 0

    def add(self, episode: Episode) -> None:
        """Append an episode; one that does not fit is refused before anything of it is written."""
        rows = make_rows(episode, self._config)
        signature = _signature(episode, rows)
        if self._meta is None:
            self._begin(episode, rows)
            self._signature = signature
        elif signature != self._signature:
            differing = sorted(str(key) for key, _ in set(signature.items()) ^ set(self._signature.items()))
            why = f"its columns differ from those of the first episode: {', '.join(dict.fromkeys(differing))}"
            raise UnfitEpisodeError(episode.index, why)
        placed = {camera: self._videos[camera].add(episode, camera, rows.frames[camera]) for camera in rows.frames}
        self._save(episode, rows, placed)

    def close(self) -> None:
        """Finish all files, count the video frames and write what describes them."""
        from lerobot.configs import RGBEncoderConfig
        from lerobot.datasets.io_utils import write_info

        for camera, files in self._videos.items():
            files.close()
            if sum(files.rows) != self._rows:
                raise FileError(self._root, f"{camera} has {sum(files.rows)} frames for {self._rows} rows")
        self._close_parquet()
        for camera in self._config.cameras:
            gop, crf = self._encoding[camera]
            encoder = RGBEncoderConfig(vcodec="h264", g=gop, crf=crf, preset=PRESET)
            self._meta.update_video_info(feature_key(camera), video_encoder=encoder)
        # LeRobot has just switched FFmpeg's own log to the terminal on.
        av.logging.set_level(None)
        write_info(self._meta.info, self._meta.root)
        self._meta.finalize()

    def abandon(self) -> None:
        """Close what is open; nothing to do after `close`."""
        for files in self._videos.values():
            files.abandon()
        self._close_parquet()
        if self._meta is not None:
            self._meta.finalize()

    def result(self, path: Path) -> ExportResult:
        """Say what was written."""
        return ExportResult(
            path=path,
            episodes=self.episodes,
            rows=self._rows,
            frames_copied=self._copied,
            frames_encoded=self._encoded,
            frame_error_ms={camera.removeprefix(CAMERA_PREFIX): s * 1e3 for camera, s in self._errors.items()},
            skipped=0,
            left_out={},
        )

    def _begin(self, episode: Episode, rows: Rows) -> None:
        """Create the metadata from the first episode's columns."""
        from lerobot.datasets import LeRobotDatasetMetadata

        self._encoding = {name: (episode.camera(name).gop, episode.camera(name).crf) for name in rows.frames}
        self._meta = LeRobotDatasetMetadata.create(
            f"local/{self._root.name}",
            self._config.fps,
            _features(episode, rows),
            robot_type=self._robot,
            root=self._root,
            use_videos=bool(rows.frames),
        )
        limit = self._meta.video_files_size_in_mb * 1024**2
        for camera in rows.frames:
            self._videos[camera] = VideoFiles(self._video_namer(feature_key(camera)), self._rate, limit)

    @property
    def _rate(self) -> Fraction:
        return Fraction(self._config.fps)

    def _video_namer(self, key: str) -> Callable[[int], Path]:
        """Return what names the n-th video file of a key."""

        def name(number: int) -> Path:
            chunk, file = divmod(number, self._meta.chunks_size)
            return self._root / self._meta.video_path.format(video_key=key, chunk_index=chunk, file_index=file)

        return name

    def _save(self, episode: Episode, rows: Rows, placed: Mapping[str, Placed]) -> None:
        """Write an episode's rows, statistics and entry in the table of episodes."""
        from lerobot.datasets.compute_stats import compute_episode_stats

        count = len(rows.instants_ns)
        task = episode.task or "unknown"
        self._meta.save_episode_tasks([task])
        table = _table(rows, self._config.fps, self.episodes, self._rows, int(self._meta.get_task_index(task)))
        features = {key: feature for key, feature in self._meta.features.items() if feature["dtype"] != "video"}
        statistics = compute_episode_stats({key: filled(values) for key, values in table.items()}, features)
        statistics |= {feature_key(camera): camera_statistics(episode, camera) for camera in placed}
        chunk, file = divmod(self._write_rows(table, count), self._meta.chunks_size)
        entry: dict[str, Any] = {
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + count,
        }
        for camera, place in placed.items():
            prefix = f"videos/{feature_key(camera)}"
            entry[f"{prefix}/chunk_index"], entry[f"{prefix}/file_index"] = divmod(place.file, self._meta.chunks_size)
            entry[f"{prefix}/from_timestamp"] = place.start / self._config.fps
            entry[f"{prefix}/to_timestamp"] = (place.start + count) / self._config.fps
            self._copied += place.copied
            self._encoded += place.encoded
            self._errors[camera] = max(self._errors[camera], rows.frame_error_s[camera])
        self._meta.save_episode(self.episodes, count, [task], statistics, entry)
        self._rows += count
        self.episodes += 1

    def _write_rows(self, table: Mapping[str, NDArray[Any]], count: int) -> int:
        """Append rows to the current parquet file, one row group an episode; return the file's number."""
        import pyarrow.parquet as pq
        from lerobot.datasets.feature_utils import get_hf_features_from_features

        import datasets

        features = get_hf_features_from_features(self._meta.features)
        arrow = datasets.Dataset.from_dict({key: table[key] for key in features}, features=features)
        content: Any = arrow.with_format("arrow")[:]
        limit = self._meta.data_files_size_in_mb * 1024**2
        if self._parquet is not None and self._parquet_path.stat().st_size + content.nbytes > limit:
            self._close_parquet()
            self._data_file += 1
        if self._parquet is None:
            chunk, file = divmod(self._data_file, self._meta.chunks_size)
            self._parquet_path = self._root / self._meta.data_path.format(chunk_index=chunk, file_index=file)
            self._parquet_path.parent.mkdir(parents=True, exist_ok=True)
            self._parquet = pq.ParquetWriter(self._parquet_path, schema=content.schema, compression="snappy")
        self._parquet.write_table(content)
        return self._data_file

    def _close_parquet(self) -> None:
        if self._parquet is not None:
            self._parquet.close()
            self._parquet = None


def _features(episode: Episode, rows: Rows) -> dict[str, Any]:
    """Return LeRobot's description of the columns."""
    features: dict[str, Any] = {
        key: {"dtype": "float32", "shape": (len(column.names),), "names": list(column.names)}
        for key, column in rows.columns.items()
    }
    for name in rows.frames:
        camera = episode.camera(name)
        names = ["height", "width", "channels"]
        features[feature_key(name)] = {"dtype": "video", "shape": (camera.height, camera.width, 3), "names": names}
    return features


def _signature(episode: Episode, rows: Rows) -> dict[str, tuple[Any, ...]]:
    """Return what must be the same in all episodes of one LeRobot dataset."""
    cameras = {name: (episode.camera(name).height, episode.camera(name).width) for name in rows.frames}
    return {key: column.names for key, column in rows.columns.items()} | cameras


def _table(rows: Rows, fps: int, episode: int, first: int, task: int) -> dict[str, NDArray[Any]]:
    """Return all columns of the parquet file, LeRobot's own included."""
    count = len(rows.instants_ns)
    frame = np.arange(count)
    return {
        **{key: _squeezed(column) for key, column in rows.columns.items()},
        "timestamp": (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(count, episode),
        "index": first + frame,
        "task_index": np.full(count, task),
    }


def _squeezed(column: Column) -> NDArray[np.float32]:
    """Return a column's values; LeRobot wants (rows,) where there is one number a row."""
    return column.values[:, 0] if len(column.names) == 1 else column.values


def filled(values: NDArray[Any]) -> NDArray[Any]:
    """Replace what is not finite by the mean of the column's finite values (0 without any), for statistics."""
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(axis=0)
    return np.where(finite, values, total / np.maximum(finite.sum(axis=0), 1)).astype(values.dtype)


def camera_statistics(episode: Episode, camera: str) -> dict[str, NDArray[Any]]:
    """Return LeRobot's statistics of a camera, (3, 1, 1), from what was counted while recording."""
    stream = episode.camera(camera)
    statistics = {key: value.reshape(3, 1, 1) for key, value in episode.image_statistics(camera).items()}
    pictures = episode.histogram(camera)[0].sum() // sampled_pixels(stream.height, stream.width)
    return statistics | {"count": np.array([pictures])}
