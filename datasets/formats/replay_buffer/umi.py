"""Export to UMI's .zarr.zip: robot{i}_eef_pos, _eef_rot_axis_angle, _gripper_width and camera{i}_rgb at 224x224.

The pose of the end effector is taken from recorded streams of those names. If there are none, it is computed by forward
kinematics from the joint positions and the robot's MJCF (`end_effector.py`). Images are cropped to a square, scaled and
compressed without further loss.

Format: https://github.com/real-stanford/universal_manipulation_interface
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from waldo.datasets import schema
from waldo.datasets.dataset import Dataset
from waldo.datasets.episode import Episode
from waldo.datasets.formats.replay_buffer.arrays import decode_batches, write_ends, write_plain_array
from waldo.datasets.formats.replay_buffer.umi_poses import Poses
from waldo.datasets.formats.replay_buffer.zarr2 import register_image_codecs
from waldo.datasets.formats.target import ExportStats, Progress
from waldo.datasets.reading.align import Times, align, frame_grid, regular_grid
from waldo.datasets.reading.clocks import with_stamps
from waldo.datasets.reading.gaps import describe_gap
from waldo.datasets.reading.row_config import UnfitEpisodeError

SIDE = 224
"""Side of UMI's square images [px]."""

UNKNOWN_TO_UMI = ("bitspersample", "primaries", "transfer", "perceptualheuristics", "squeeze")
"""Settings of newer versions of imagecodecs that UMI's own codec does not accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedUmiEpisode:
    """The rows of one episode, without decoded frames."""

    arrays: Mapping[str, NDArray[Any]]
    """Key -> values, shape (rows, ...)."""
    frames: Mapping[str, NDArray[np.int64]]
    """Camera stream -> index of the frame of each row, shape (rows,)."""
    frame_error_s: Mapping[str, float]
    """Camera stream -> largest distance in time between a frame and its row [s]."""
    rows: int
    """Number of rows."""
    notes: Sequence[str]
    """Information that the format cannot store, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UmiTarget:
    """Resample episodes for UMI."""

    fps: int
    """Rows per second."""
    cameras: tuple[str, ...]
    """Camera streams."""
    max_staleness_s: float
    """Largest distance in time between a sample and its row [s]."""
    stamps: tuple[str, ...]
    """Stamps of streams of a device with its own clock."""
    poses: Poses
    """Source of the end effector poses."""

    @property
    def resumable(self) -> bool:
        """False: an interrupted export starts again."""
        return False

    def prepare(self, episode: Episode, scratch: Path) -> PreparedUmiEpisode:
        """Return the rows of an episode."""
        needed = (*self.poses.streams, *self.cameras)
        for name in needed:
            if name not in episode.streams or not episode.count(name):
                raise UnfitEpisodeError(episode.index, f"{name} is absent or empty")
        episode = with_stamps(episode, self.stamps)
        grid = self._grid(episode, needed)
        aligned = {
            name: align(grid, episode.capture_ns(name), "nearest", max_staleness_s=self.max_staleness_s)
            for name in needed
        }
        if not len(grid):
            raise UnfitEpisodeError(episode.index, f"there is no time at which all of {', '.join(needed)} have samples")
        for name, one in aligned.items():
            if not one.valid.all():
                why = describe_gap(episode, name, grid, int((~one.valid).argmax()), self.max_staleness_s)
                raise UnfitEpisodeError(episode.index, why)
        samples = {name: aligned[name].index for name in self.poses.streams}
        return PreparedUmiEpisode(
            arrays=self.poses.read(episode, samples),
            frames={camera: aligned[camera].index for camera in self.cameras},
            frame_error_s={c: float(np.abs(aligned[c].staleness_ns).max()) / 1e9 for c in self.cameras},
            rows=len(grid),
            notes=self._notes(episode),
        )

    def writer(self, dataset: Dataset, path: Path) -> UmiWriter:
        """Return the writer of a new file."""
        return UmiWriter(dataset, path, self.cameras)

    def _grid(self, episode: Episode, needed: Sequence[str]) -> Times:
        """Return the times of the rows: those of the first camera's frames if its rate fits, else a regular grid."""
        if self.cameras and episode.camera(self.cameras[0]).rate_hz == self.fps:
            return frame_grid(episode.capture_ns(self.cameras[0]), self.fps)
        stamps = [episode.capture_ns(name) for name in needed]
        return regular_grid(max(int(s.min()) for s in stamps), min(int(s.max()) for s in stamps), self.fps)

    def _notes(self, episode: Episode) -> list[str]:
        """Return what the format cannot store."""
        notes = ["UMI stores no times, tasks or outcomes; rows are the nearest samples at one rate."]
        scaled = [name for name in self.cameras if episode.camera(name).frame_shape[:2] != (SIDE, SIDE)]
        if scaled:
            notes.append(f"Images ({', '.join(scaled)}) are cropped to a square and scaled to {SIDE}x{SIDE}.")
        notes += self.poses.notes(episode)
        used = {*self.poses.streams, *self.poses.optional_streams, *self.cameras}
        other = [name for name in episode.streams if name not in used]
        if other:
            notes.append(f"Other streams ({', '.join(other)}) are not exported.")
        return notes


class UmiWriter:
    """Collect the rows of all episodes, whose number determines the arrays, and write them at the end."""

    def __init__(self, dataset: Dataset, path: Path, cameras: Sequence[str]) -> None:
        self._dataset, self._path, self._cameras = dataset, path, cameras
        self._episodes: dict[int, PreparedUmiEpisode] = {}

    def add(self, index: int, prepared: PreparedUmiEpisode) -> None:
        """Append an episode."""
        self._episodes[index] = prepared

    def finish(self, progress: Progress) -> ExportStats:
        """Write the file."""
        episodes = list(self._episodes.values())
        store = ZipStore(self._path, mode="w")
        try:
            root: Any = zarr.open_group(store, mode="w", zarr_format=2)
            for key in episodes[0].arrays:
                write_plain_array(
                    root.require_group("data"), key, np.concatenate([one.arrays[key] for one in episodes])
                )
            self._write_cameras(root, progress)
            write_ends(root, [one.rows for one in episodes])
        finally:
            store.close()
        rows = sum(one.rows for one in episodes)
        errors = {camera: max(one.frame_error_s[camera] for one in episodes) for camera in self._cameras}
        return ExportStats(
            rows=rows,
            frames_encoded=rows * len(self._cameras),
            frame_error_ms={schema.camera_name(camera): error * 1e3 for camera, error in errors.items()},
            notes=episodes[0].notes,
        )

    def close(self) -> None:
        """Nothing is open between calls."""

    def _write_cameras(self, root: Any, progress: Progress) -> None:
        """Write the images."""
        rows = sum(one.rows for one in self._episodes.values())
        arrays = [_image_array(root, f"camera{i}_rgb", rows) for i in range(len(self._cameras))]
        start = 0
        for done, (index, one) in enumerate(self._episodes.items(), 1):
            episode = self._dataset.episode(index)
            for camera, array in zip(self._cameras, arrays, strict=True):
                for at, images in decode_batches(episode, camera, one.frames[camera]):
                    array[start + at : start + at + len(images)] = np.stack([to_square(image) for image in images])
            start += one.rows
            progress(done, len(self._episodes))


def _image_array(root: Any, key: str, rows: int) -> Any:
    """Create an array of images, one per chunk, that UMI's own codec can read."""
    return root.require_group("data").create_array(
        key,
        shape=(rows, SIDE, SIDE, 3),
        chunks=(1, SIDE, SIDE, 3),
        dtype=np.uint8,
        compressors=_codec(),
        config={"write_empty_chunks": True},
    )


def _codec() -> Any:
    """Return lossless JPEG XL with the settings that UMI's codec accepts."""
    from imagecodecs.numcodecs import Jpegxl

    register_image_codecs()

    class UmiJpegXl(Jpegxl):
        """JPEG XL whose metadata has no settings that are unknown to UMI."""

        def get_config(self) -> dict[str, Any]:
            """Return the settings for the metadata of the array."""
            found: dict[str, Any] = super().get_config()
            return {key: value for key, value in found.items() if key not in UNKNOWN_TO_UMI}

    return UmiJpegXl(lossless=True, effort=3, numthreads=1)


def to_square(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the central square of an image, scaled to `SIDE` unless it has that size."""
    import cv2

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == SIDE:
        return square
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
