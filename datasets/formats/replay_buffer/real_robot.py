"""Recordings of diffusion_policy's real robots: `replay_buffer.zarr` and `videos/<episode>/<camera>.mp4` beside it.

The videos start with the first row of their episode. Their rate is higher than that of the rows.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.cameras_in import SourceCamera, size_note
from waldo.datasets.formats.names import inside, stream_name
from waldo.datasets.formats.natural_order import natural
from waldo.datasets.formats.rows_in import Times
from waldo.datasets.formats.source import ImportConfig, MappedKey
from waldo.datasets.formats.stream_map import StreamMap
from waldo.datasets.formats.video_in import VideoFile, frame_times
from waldo.datasets.schema import camera_stream
from waldo.errors import FileError, WaldoError

BUFFER = "replay_buffer.zarr"
"""Name of the buffer in a recording."""


def buffer_of(path: Path) -> Path:
    """Return the replay buffer of a path: the one inside a recording, or the path itself."""
    return path / BUFFER if path.is_dir() and (path / BUFFER).is_dir() else path


def video_keys(path: Path, episode: str) -> dict[str, Path]:
    """Return the key of each video of an episode, "videos/<camera>", and its path.

    Args:
        path: Path of the replay buffer.
        episode: Number of the episode.
    """
    folder = path.parent / "videos" / episode
    if path.name != BUFFER or not folder.is_dir():
        return {}
    found = sorted((one for one in folder.iterdir() if one.suffix == ".mp4"), key=lambda one: natural(one.name))
    return {f"videos/{one.stem}": inside(path.parent, one.relative_to(path.parent).as_posix()) for one in found}


def has_videos(path: Path) -> bool:
    """Return whether there are videos beside a replay buffer."""
    return path.name == BUFFER and (path.parent / "videos").is_dir()


def open_videos(
    paths: dict[str, Path], header_ns: Times, mapping: StreamMap, config: ImportConfig
) -> tuple[list[SourceCamera], list[MappedKey], list[str]]:
    """Return the cameras of an episode's videos, their destinations and notes.

    Args:
        paths: Key -> path of the video.
        header_ns: Timestamps of the rows [ns].
        mapping: The mapping of the keys.
        config: Options of the import.
    """
    cameras: list[SourceCamera] = []
    mapped: list[MappedKey] = []
    notes: list[str] = []
    for key, path in paths.items():
        target = mapping.get(key, is_images=True)
        taken = [*mapping.streams, *(camera.name for camera in cameras)]
        name = stream_name(camera_stream(path.stem), taken) if target is None else target.stream
        if not name:
            mapped.append(MappedKey(key=key, contents="video", why="left out by --map"))
            continue
        try:
            camera, more = _camera(path, name, header_ns)
        except FileError as error:
            mapped.append(MappedKey(key=key, contents="video", why="the video cannot be read"))
            notes.append(f"{name} is not imported: {error}.")
            continue
        notes += more
        small = size_note(name, camera.height, camera.width)
        notes += [small] if small else camera.notes(config)
        cameras += [] if small else [camera]
        contents = f"{camera.encoding} {camera.width}x{camera.height}"
        mapped.append(MappedKey(key=key, contents=contents, stream="" if small else name, why=small))
    return cameras, mapped, notes


def sampled_images(path: Path) -> list[NDArray[Any] | bytes]:
    """Return the number of frames of a video and its first frame, for a digest; none if it cannot be read."""
    with suppress(WaldoError):
        times_s = frame_times(path)
        if len(times_s):
            start_s = float(times_s[0])
            first = VideoFile(path=path, start_s=start_s, count=1, fps=30.0, times_s=(start_s,))
            return [str(len(times_s)).encode(), next(first.frames())]
    return []


def _camera(path: Path, name: str, header_ns: Times) -> tuple[SourceCamera, list[str]]:
    """Return the camera of a video and notes on its length."""
    times_s = frame_times(path)
    if len(times_s) < 1:
        raise FileError(path, "the video has no frame", "fetch the file again")
    fps = 1 / float(np.median(np.diff(times_s))) if len(times_s) > 1 else 30.0
    stamps = header_ns[0] + np.round((times_s - times_s[0]) * 1e9).astype(np.int64)
    period_ns = np.median(np.diff(header_ns)) if len(header_ns) > 1 else 1e9 / fps
    count = int((stamps < header_ns[-1] + period_ns - 0.5e9 / fps).sum())
    notes: list[str] = []
    if count < len(times_s):
        notes.append(f"{name}: frames after the last row are not imported.")
    if stamps[-1] < header_ns[-1] - period_ns:
        notes.append(f"{name}: the video ends {(header_ns[-1] - stamps[-1]) / 1e9:.1f} s before the rows.")
    file = VideoFile(
        path=path, start_s=float(times_s[0]), count=count, fps=fps, times_s=tuple(times_s[:count].tolist())
    )
    codec, height, width = file.probe()
    rate_hz = round(fps) if abs(fps - round(fps)) < 0.02 * fps else float(f"{fps:.3g}")
    camera = SourceCamera(
        name=name,
        height=height,
        width=width,
        rate_hz=rate_hz,
        header_ns=stamps[:count],
        encoding=codec,
        kind="video",
        images=file.frames,
        run=file.packet_run(),
    )
    return camera, notes
