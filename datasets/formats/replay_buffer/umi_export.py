"""Episode store -> UMI's .zarr.zip: robot{i}_eef_pos, _eef_rot_axis_angle, _gripper_width, camera{i}_rgb at 224x224.

The pose of the end effector must have been recorded: it is taken from streams of UMI's own names. Pictures are cut to
a square in the middle, made smaller and packed without further loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats import rows_out
from waldo.datasets.formats.replay_buffer.export import decoded, write_ends
from waldo.datasets.formats.replay_buffer.zarr2 import register_picture_codecs
from waldo.datasets.lerobot.export import CAMERA_PREFIX, ExportConfig, ExportResult, camera_streams
from waldo.datasets.reading.align import align, frame_grid, regular_grid
from waldo.datasets.streams import ScalarStream
from waldo.errors import FileError, WaldoError

SIDE = 224
"""Pixels a side of UMI's pictures."""

POSE: Mapping[str, int] = {"eef_pos": 3, "eef_rot_axis_angle": 3, "gripper_width": 1}
"""What a robot must have, after `robot{i}_`, and how many numbers that is."""

ENDS: Mapping[str, int] = {"demo_start_pose": 0, "demo_end_pose": -1}
"""What a robot may have: the pose at an episode's first and last row, six numbers in every row."""

LEFT_OUT_BY_UMI = ("bitspersample", "primaries", "transfer", "perceptualheuristics", "squeeze")
"""Settings of the newest imagecodecs that UMI's own codec does not know."""


class NoPoseError(WaldoError):
    """A dataset without the pose of an end effector."""

    def __init__(self, path: object, missing: Sequence[str], have: Sequence[str]) -> None:
        """Take the dataset, the streams that are missing and those that there are."""
        super().__init__(
            f"{path}: UMI needs the pose of the end effector: the streams {', '.join(missing)} are missing "
            f"(there are {', '.join(have)}); record them, or export to lerobot or replay-buffer"
        )


def export(
    dataset: Dataset, out: Path, config: ExportConfig, advance: Callable[[int, int], None] = lambda done, total: None
) -> ExportResult:
    """Export a dataset to the zip `out`; `advance` hears how many episodes are done and how many there are."""
    rows_out.need_absent(out)
    chosen = rows_out.choose(dataset, config.selection)
    first = dataset.episode(chosen[0])
    robots = _robots(dataset, first)
    cameras = camera_streams(first, config.cameras)
    grids, left_out = _grids(dataset, chosen, robots, cameras, config)
    if not grids:
        why = "; ".join(f"episode {index}: {text}" for index, text in left_out.items())
        raise FileError(dataset.path, f"has no episode that could be exported ({why})", "run waldo check")
    ends = np.cumsum([len(grid) for grid in grids.values()], dtype=np.int64)
    with rows_out.building(out) as place:
        store = ZipStore(place, mode="w")
        try:
            root: Any = zarr.open_group(store, mode="w", zarr_format=2)
            _write_poses(root, dataset, grids, robots, config)
            errors = _write_cameras(root, dataset, grids, cameras, config, advance)
            write_ends(root, ends)
        finally:
            store.close()
    return ExportResult(
        path=out,
        episodes=len(grids),
        rows=int(ends[-1]),
        frames_copied=0,
        frames_encoded=int(ends[-1]) * len(cameras),
        frame_error_ms=errors,
        skipped=len(dataset.indices) - len(chosen),
        left_out=left_out,
        notes=_notes(first, robots, cameras),
    )


def _robots(dataset: Dataset, episode: Episode) -> list[int]:
    """Return the numbers of the robots whose pose was recorded; none is refused with what is missing."""
    names = [f"robot0_{name}" for name in POSE]
    robots: list[int] = []
    while all(_width(episode, f"robot{len(robots)}_{name}") == width for name, width in POSE.items()):
        robots.append(len(robots))
    if not robots:
        missing = [name for name, width in zip(names, POSE.values(), strict=True) if _width(episode, name) != width]
        raise NoPoseError(dataset.path, missing, list(episode.streams))
    return robots


def _width(episode: Episode, stream: str) -> int:
    """Return how many numbers a row of a stream with one field has; 0 where there is none."""
    found = episode.streams.get(stream)
    return len(found.fields[0].labels) if isinstance(found, ScalarStream) and len(found.fields) == 1 else 0


def _grids(
    dataset: Dataset, chosen: Sequence[int], robots: Sequence[int], cameras: Sequence[str], config: ExportConfig
) -> tuple[dict[int, NDArray[np.int64]], dict[int, str]]:
    """Return the instants of the rows of each episode [ns], and why others have none."""
    grids: dict[int, NDArray[np.int64]] = {}
    left_out: dict[int, str] = {}
    needed = [*(f"robot{i}_{name}" for i in robots for name in POSE), *cameras]
    for index in chosen:
        episode = dataset.episode(index)
        missing = [name for name in needed if name not in episode.streams or not episode.count(name)]
        if missing:
            left_out[index] = f"it has no {', '.join(missing)}"
            continue
        grid = _grid(episode, needed, cameras, config)
        limit = config.max_staleness_s
        aligned = [align(grid, episode.capture_ns(name), "nearest", max_staleness_s=limit) for name in needed]
        late = [name for name, one in zip(needed, aligned, strict=True) if not one.valid.all()]
        if late or not len(grid):
            left_out[index] = f"{', '.join(late) or 'it'} has a gap that is longer than is allowed"
        else:
            grids[index] = grid
    return grids, left_out


def _grid(episode: Episode, needed: Sequence[str], cameras: Sequence[str], config: ExportConfig) -> NDArray[np.int64]:
    """Return when the rows are: on the first camera's frames if it runs at their rate, else on a regular grid."""
    if cameras and episode.camera(cameras[0]).rate_hz == config.fps:
        return frame_grid(episode.capture_ns(cameras[0]), config.fps)
    stamps = [episode.capture_ns(name) for name in needed]
    return regular_grid(max(int(s.min()) for s in stamps), min(int(s.max()) for s in stamps), config.fps)


def _rows(episode: Episode, stream: str, grid: NDArray[np.int64], config: ExportConfig) -> NDArray[Any]:
    """Return a stream's numbers at the rows: of the nearest sample, (rows, labels)."""
    described = episode.streams[stream]
    assert isinstance(described, ScalarStream)
    places = align(grid, episode.time_ns(stream), "nearest", max_staleness_s=config.max_staleness_s).index
    return episode.values(stream, described.fields[0].name)[places]


def _write_poses(
    root: Any, dataset: Dataset, grids: Mapping[int, NDArray[np.int64]], robots: Sequence[int], config: ExportConfig
) -> None:
    """Write the robots' poses."""
    for i in robots:
        found: dict[str, list[NDArray[Any]]] = {}
        for index, grid in grids.items():
            episode = dataset.episode(index)
            for name in POSE:
                values = _rows(episode, f"robot{i}_{name}", grid, config)
                found.setdefault(name, []).append(values.astype(np.float32))
            pose = np.concatenate([found["eef_pos"][-1], found["eef_rot_axis_angle"][-1]], axis=1)
            for name, row in ENDS.items():
                told = _width(episode, f"robot{i}_{name}") == 6
                values = (
                    _rows(episode, f"robot{i}_{name}", grid, config) if told else np.tile(pose[row], (len(grid), 1))
                )
                found.setdefault(name, []).append(values.astype(np.float64))
        for name, parts in found.items():
            _plain(root, f"robot{i}_{name}", np.concatenate(parts))


def _plain(root: Any, key: str, values: NDArray[Any]) -> None:
    """Write an array as UMI does: not packed, one chunk."""
    array = root.require_group("data").create_array(
        key,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        compressors=None,
        config={"write_empty_chunks": True},
    )
    array[:] = values


def _write_cameras(
    root: Any,
    dataset: Dataset,
    grids: Mapping[int, NDArray[np.int64]],
    cameras: Sequence[str],
    config: ExportConfig,
    advance: Callable[[int, int], None],
) -> dict[str, float]:
    """Write the pictures; return the farthest that one lies from its row [ms]."""
    total = sum(map(len, grids.values()))
    arrays = [_picture_array(root, f"camera{i}_rgb", total) for i in range(len(cameras))]
    errors = dict.fromkeys(cameras, 0.0)
    start = 0
    for done, (index, grid) in enumerate(grids.items()):
        advance(done, len(grids))
        episode = dataset.episode(index)
        for camera, array in zip(cameras, arrays, strict=True):
            found = align(grid, episode.capture_ns(camera), "nearest", max_staleness_s=config.max_staleness_s)
            errors[camera] = max(errors[camera], float(np.abs(found.staleness_ns).max()) / 1e6)
            for at, pictures in decoded(episode, camera, found.index):
                squares = np.stack([to_square(picture) for picture in pictures])
                array[start + at : start + at + len(squares)] = squares
        start += len(grid)
    advance(len(grids), len(grids))
    return {camera.removeprefix(CAMERA_PREFIX): error for camera, error in errors.items()}


def _picture_array(root: Any, key: str, rows: int) -> Any:
    """Make an array of pictures, one a chunk, that UMI's own codec reads."""
    return root.require_group("data").create_array(
        key,
        shape=(rows, SIDE, SIDE, 3),
        chunks=(1, SIDE, SIDE, 3),
        dtype=np.uint8,
        compressors=_codec(),
        config={"write_empty_chunks": True},
    )


def _codec() -> Any:
    """Return JPEG XL without loss, whose settings name nothing that UMI's codec does not know."""
    from imagecodecs.numcodecs import Jpegxl

    register_picture_codecs()

    class UmiJpegXl(Jpegxl):
        """The same codec with UMI's settings."""

        def get_config(self) -> dict[str, Any]:
            """Return the settings that stand in the array's metadata."""
            found: dict[str, Any] = super().get_config()
            return {key: value for key, value in found.items() if key not in LEFT_OUT_BY_UMI}

    return UmiJpegXl(lossless=True, effort=3, numthreads=1)


def to_square(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture's middle square at SIDE pixels; one that has that size already is returned as it is."""
    import cv2

    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side == SIDE:
        return square
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _notes(episode: Episode, robots: Sequence[int], cameras: Sequence[str]) -> list[str]:
    """Say what the target does not hold."""
    notes = ["UMI keeps no times, tasks or outcomes; streams are brought to one rate by their nearest samples."]
    changed = [c for c in cameras if episode.camera(c).frame_shape[:2] != (SIDE, SIDE)]
    if changed:
        notes.append(f"Pictures ({', '.join(changed)}) are cut to a square and scaled to {SIDE}x{SIDE}.")
    if any(_width(episode, f"robot{i}_{name}") != 6 for i in robots for name in ENDS):
        notes.append("The start and end pose of each demonstration are its first and last row's.")
    kept = {f"robot{i}_{name}" for i in robots for name in (*POSE, *ENDS)}
    other = [name for name in episode.streams if name not in kept and name not in cameras]
    if other:
        notes.append(f"Other streams ({', '.join(other)}) are not exported.")
    return notes
