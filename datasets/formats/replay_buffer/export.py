"""Episode store -> diffusion_policy's replay buffer: zarr v2, /data/<key> of all episodes' rows, /meta/episode_ends.

Compression and chunks are those of diffusion_policy. What its own code does not know (labels, rate, tasks, stamps)
stands in attributes and one more array, so that waldo reads back what it wrote.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from waldo import __version__
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats import rows_out
from waldo.datasets.formats.names import key_names
from waldo.datasets.formats.replay_buffer.importer import STAMPS_KEY
from waldo.datasets.lerobot.export import CAMERA_PREFIX, ExportConfig, ExportResult, row_config
from waldo.datasets.reading.rows import Rows, UnfitEpisodeError, make_rows
from waldo.datasets.streams import DepthStream
from waldo.errors import FileError

CHUNK_BYTES = 2e6
"""About how much a chunk holds, as diffusion_policy's get_optimal_chunks has it."""

AT_ONCE = 30
"""Frames that are decoded at a time."""

SHORT = {"observation.state": "state", "observation.environment_state": "environment_state"}
"""LeRobot's key -> the buffer's; in others the dot becomes an underscore."""


def export(
    dataset: Dataset, out: Path, config: ExportConfig, advance: Callable[[int, int], None] = lambda done, total: None
) -> ExportResult:
    """Export a dataset to the folder `out`; `advance` hears how many episodes are done and how many there are."""
    rows_out.need_absent(out)
    chosen = rows_out.choose(dataset, config.selection)
    rows, left_out = _rows(dataset, chosen, config)
    if not rows:
        why = "; ".join(f"episode {index}: {text}" for index, text in left_out.items())
        raise FileError(dataset.path, f"has no episode that could be exported ({why})", "run waldo check")
    first = dataset.episode(next(iter(rows)))
    with rows_out.building(out) as place:
        root: Any = zarr.open_group(place, mode="w", zarr_format=2)
        root.attrs["waldo"] = _told(dataset, list(rows), config)
        _write_numbers(root, first, rows, config)
        ends = np.cumsum([len(one.instants_ns) for one in rows.values()], dtype=np.int64)
        _write_frames(root, dataset, rows, advance)
        write_ends(root, ends)
    errors = {
        camera.removeprefix(CAMERA_PREFIX): max(one.frame_error_s[camera] for one in rows.values()) * 1e3
        for camera in rows[first.index].frames
    }
    return ExportResult(
        path=out,
        episodes=len(rows),
        rows=int(ends[-1]),
        frames_copied=0,
        frames_encoded=int(ends[-1]) * len(errors),
        frame_error_ms=errors,
        skipped=len(dataset.indices) - len(chosen),
        left_out=left_out,
        notes=_notes(first, config),
    )


def _rows(dataset: Dataset, chosen: Sequence[int], config: ExportConfig) -> tuple[dict[int, Rows], dict[int, str]]:
    """Return the rows of the episodes that fit together, and why others do not."""
    rows: dict[int, Rows] = {}
    left_out: dict[int, str] = {}
    settings = row_config(dataset.episode(chosen[0]), config)
    signature: Mapping[str, object] = {}
    for index in chosen:
        episode = dataset.episode(index)
        try:
            found = make_rows(episode, settings)
        except UnfitEpisodeError as error:
            left_out[index] = error.why
            continue
        mine: dict[str, object] = {key: column.names for key, column in found.columns.items()}
        mine |= {name: episode.camera(name).frame_shape for name in found.frames}
        signature = signature or mine
        if mine != signature:
            differing = sorted({key for key, _ in {*mine.items()} ^ {*signature.items()}})
            left_out[index] = f"its columns differ from those of the first episode: {', '.join(differing)}"
        else:
            rows[index] = found
    return rows, left_out


def _told(dataset: Dataset, indices: Sequence[int], config: ExportConfig) -> dict[str, Any]:
    """Return what a replay buffer has no place for, as an attribute."""
    episodes = [dataset.episode(index) for index in indices]
    return {
        "version": __version__,
        "fps": config.fps,
        "robot": dataset.robot,
        "tasks": [episode.task for episode in episodes],
        "outcomes": [episode.outcome for episode in episodes],
    }


def _write_numbers(root: Any, first: Episode, rows: Mapping[int, Rows], config: ExportConfig) -> None:
    """Write the columns of numbers and the rows' stamps."""
    columns = next(iter(rows.values())).columns
    column_sources = rows_out.column_sources(first, list(columns), config.action)
    keys = key_names(columns)
    for key, column in columns.items():
        origin = column_sources[key]
        told = {"stream": origin.stream, "field": origin.field, "unit": origin.unit, "labels": list(column.names)}
        values = np.concatenate([one.columns[key].values for one in rows.values()])
        write_array(root, SHORT.get(key, keys[key]), values, told)
    write_array(root, STAMPS_KEY, np.concatenate([one.instants_ns for one in rows.values()]), None)


def _write_frames(root: Any, dataset: Dataset, rows: Mapping[int, Rows], advance: Callable[[int, int], None]) -> None:
    """Write the cameras' frames, decoded."""
    total = sum(len(one.instants_ns) for one in rows.values())
    names = key_names(next(iter(rows.values())).frames)
    arrays: dict[str, Any] = {}
    start = 0
    for done, (index, one) in enumerate(rows.items()):
        advance(done, len(rows))
        episode = dataset.episode(index)
        for camera, frames in one.frames.items():
            if camera not in arrays:
                shape = (total, *episode.camera(camera).frame_shape)
                arrays[camera] = new_array(root, names[camera], shape, np.dtype(np.uint8), {"stream": camera})
            for at, pictures in decoded(episode, camera, frames, step=chunk_rows(arrays[camera])):
                arrays[camera][start + at : start + at + len(pictures)] = pictures
        start += len(one.instants_ns)
    advance(len(rows), len(rows))


def decoded(
    episode: Episode, camera: str, frames: NDArray[np.int64], step: int = 1
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the pictures of rows a few at a time, each with the row that it begins at."""
    shard = episode.shard(camera)
    some = max(1, AT_ONCE // step) * step
    for start in range(0, len(frames), some):
        yield start, shard.read(frames[start : start + some])


def chunk_rows(array: Any) -> int:
    """Return how many rows a chunk has."""
    return int(array.chunks[0])


def write_array(root: Any, key: str, values: NDArray[Any], told: Mapping[str, Any] | None) -> None:
    """Write an array of all rows into /data."""
    new_array(root, key, values.shape, values.dtype, told)[:] = values


def new_array(root: Any, key: str, shape: tuple[int, ...], dtype: np.dtype[Any], told: Mapping[str, Any] | None) -> Any:
    """Make an array in /data as diffusion_policy does: Blosc with lz4 and chunks of about CHUNK_BYTES."""
    from numcodecs.blosc import NOSHUFFLE, Blosc

    return root.require_group("data").create_array(
        key,
        shape=shape,
        chunks=chunks_of(shape, dtype),
        dtype=dtype,
        compressors=Blosc(cname="lz4", clevel=5, shuffle=NOSHUFFLE),
        attributes={} if told is None else {"waldo": dict(told)},
        config={"write_empty_chunks": True},
    )


def write_ends(root: Any, ends: NDArray[np.int64]) -> None:
    """Write where each episode ends."""
    array = root.require_group("meta").create_array(
        "episode_ends",
        shape=ends.shape,
        chunks=ends.shape,
        dtype=ends.dtype,
        compressors=None,
        config={"write_empty_chunks": True},
    )
    array[:] = ends


def chunks_of(shape: Sequence[int], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return chunks of about CHUNK_BYTES that part the outermost axis that they can, as diffusion_policy has it."""
    below = dtype.itemsize
    for axis in range(len(shape) - 1, -1, -1):
        if below * shape[axis] > CHUNK_BYTES or axis == 0:
            length = min(shape[axis], math.ceil(CHUNK_BYTES / below))
            return (*(1,) * axis, max(1, length), *shape[axis + 1 :])
        below *= shape[axis]
    return ()


def _notes(episode: Episode, config: ExportConfig) -> list[str]:
    """Say what the target does not hold."""
    notes = [
        "Streams are brought to one rate; native rates, receipt and publication times stay in the recording.",
        "Numbers are float32; labels, units, tasks and outcomes stand in attributes that only waldo reads.",
    ]
    depth = [name for name, stream in episode.streams.items() if isinstance(stream, DepthStream)]
    if depth:
        notes.append(f"Depth images ({', '.join(depth)}) are not exported.")
    other = [name for name in episode.streams if not _is_exported(name)]
    if other:
        notes.append(f"Other streams ({', '.join(other)}) are not exported.")
    if not config.environment and "environment" in episode.streams:
        notes.append("The environment's state is not exported.")
    return notes


def _is_exported(name: str) -> bool:
    return name.startswith(("joints/", "cameras/", "depth/")) or name in ("motors", "environment")
