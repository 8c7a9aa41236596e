"""Import ALOHA's HDF5: one file per episode with /observations/{qpos,qvel,images/<camera>} and /action."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.arrays_in import EpisodeInfo, SourceArray, make_draft
from waldo.datasets.formats.cameras_in import SourceCamera, size_note
from waldo.datasets.formats.hdf5 import files
from waldo.datasets.formats.hdf5.find import files_of
from waldo.datasets.formats.images_in import inspect_image
from waldo.datasets.formats.names import stream_name
from waldo.datasets.formats.rows_in import NOMINAL, nominal_ns
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, SourceError, digest_of
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.schema import COMMAND, STATE, camera_stream
from waldo.errors import FileError, UnknownNameError

FPS = 50.0
"""Row rate of ALOHA (its DT is 0.02 s), which the files do not state [Hz]."""

ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
"""Joints of one arm in ALOHA's order."""

LABELS: Mapping[int, tuple[str, ...]] = {14: tuple(f"{side}_{joint}" for side in ("left", "right") for joint in ARM)}
"""Number of joints -> their names."""

FIELDS: Mapping[str, tuple[str, str, str]] = {
    "observations/qpos": (STATE, "position", "rad"),
    "observations/qvel": (STATE, "velocity", "rad/s"),
    "observations/effort": (STATE, "effort", ""),
    "action": (COMMAND, "position", "rad"),
}
"""HDF5 dataset -> stream, field and unit."""

INSTRUCTIONS = ("language_raw", "language_instruction", "instruction", "observations/language")
"""Datasets with the instruction, in order of preference."""

IMAGES = "observations/images"


class AlohaSource:
    """A folder of ALOHA episodes, or one episode."""

    format = "aloha"
    robot = ""

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Find the files."""
        self._config = config
        self._paths = {file.name: file for file in files_of(path)}
        if not self._paths:
            raise FileError(path, "no .hdf5 file found", "choose a folder of ALOHA episodes, or one of its files")
        self.name, self.keys = path.absolute().name, list(self._paths)
        self.fps = config.fps or FPS
        self.notes = [
            f"ALOHA files have no timestamps: rows are numbered at {self.fps:g} Hz from 2000-01-01; see --fps."
        ]

    def digest(self, key: str) -> str:
        """Return a digest of the numeric rows and of the names, shapes and dtypes of the images."""
        with files.open_file(self._path(key)) as file:
            arrays = self._arrays(file, key)
            found = files.arrays(file, IMAGES) | files.encoded(file, IMAGES)
            images = [(name, d.shape, d.dtype.str) for name, d in found.items()]
        small = [np.ascontiguousarray(array.read(0, array.shape[0])) for array in arrays if array.kind == "numbers"]
        return digest_of("aloha", key, images, [array.key for array in arrays], *small)

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode."""
        with files.open_file(self._path(key)) as file:
            arrays = self._arrays(file, key)
            if not arrays:
                raise SourceError(key, "the file has neither observations/qpos nor action")
            rows = arrays[0].shape[0]
            attributes = files.attributes(file)
            packed = files.encoded(file, IMAGES)
            cameras, notes = self._cameras(key, packed, rows) if rows else ([], [])
            left_out: list[str] = []
            files.arrays(file, "observations", left_out=left_out)
            words = [name for name in left_out if name.removeprefix("images/") not in packed]
            notes += [f"Not imported: text columns ({', '.join(words)})."] if words else []
            tasks = [text for name in INSTRUCTIONS for text in files.texts(file, name)]
        info = EpisodeInfo(
            name=key,
            rate_hz=self.fps,
            header_ns=nominal_ns(rows, self.fps),
            attributes={
                "task": tasks[0] if tasks else "",
                "clock": NOMINAL,
                **{f"aloha_{name}": value for name, value in attributes.items()},
            },
            outcome=self._config.outcome,
            notes=notes,
        )
        return _with_cameras(make_draft(arrays, info, self._config), cameras, self._config)

    def _path(self, key: str) -> Path:
        if key not in self._paths:
            raise UnknownNameError("episode", key, self._paths)
        return self._paths[key]

    def _arrays(self, file: Any, key: str) -> list[SourceArray]:
        """Return the arrays of an episode except JPEGs."""
        datasets = {f"observations/{name}": d for name, d in files.arrays(file, "observations").items()}
        datasets |= {name: d for name in ("action", "base_action") if (d := files.numbers(file, name)) is not None}
        return [
            self._array(key, name, dataset)
            for name, dataset in datasets.items()
            if not (name.startswith(IMAGES + "/") and len(dataset.shape) == 2)
        ]

    def _array(self, key: str, name: str, dataset: Any) -> SourceArray:
        stream, field, unit = FIELDS.get(name, ("", "value", ""))
        shape = tuple(dataset.shape)
        plain = name.removeprefix(IMAGES + "/").removeprefix("observations/")
        return SourceArray(
            key=plain,
            shape=shape,
            dtype=dataset.dtype,
            read=partial(self._read, key, name),
            stream=stream,
            field=field,
            unit=unit,
            labels=LABELS.get(shape[-1], ()) if stream else (),
        )

    def _read(self, key: str, name: str, start: int, stop: int) -> NDArray[Any]:
        with files.open_file(self._path(key)) as file:
            return files.read(files.numbers(file, name), start, stop)

    def _cameras(self, key: str, packed: Mapping[str, Any], rows: int) -> tuple[list[SourceCamera], list[str]]:
        """Return the cameras that are stored as JPEGs, and notes about the others."""
        cameras: list[SourceCamera] = []
        notes: list[str] = []
        for name, dataset in packed.items():
            if dataset.shape[0] != rows:
                raise SourceError(
                    key, f"{IMAGES}/{name} has {dataset.shape[0]} rows, but the other datasets have {rows}"
                )
            first = inspect_image(_jpeg(dataset[0]))
            stream = stream_name(camera_stream(name), [camera.name for camera in cameras])
            small = size_note(stream, first.height, first.width)
            notes += [small] if small else []
            cameras += (
                []
                if small
                else [
                    SourceCamera(
                        name=stream,
                        height=first.height,
                        width=first.width,
                        rate_hz=self.fps,
                        header_ns=nominal_ns(rows, self.fps),
                        encoding="jpeg",
                        kind="jpeg",
                        images=partial(self._jpegs, key, f"{IMAGES}/{name}"),
                    )
                ]
            )
        return cameras, notes

    def _jpegs(self, key: str, name: str) -> Iterator[bytes]:
        """Yield the JPEGs of a camera."""
        with files.open_file(self._path(key)) as file:
            group, _, camera = name.rpartition("/")
            for row in files.encoded(file, group)[camera]:
                yield _jpeg(row)


def _jpeg(row: NDArray[np.uint8] | bytes) -> bytes:
    """Return a JPEG without the zeros that pad its row; a JPEG ends with FF D9."""
    data = row if isinstance(row, bytes) else np.asarray(row, np.uint8).tobytes()
    return bytes(data).rstrip(b"\0")


def _with_cameras(draft: EpisodeDraft, cameras: list[SourceCamera], config: ImportConfig) -> EpisodeDraft:
    """Return an episode with additional cameras."""

    def write(writer: EpisodeWriter, stats: ImportStats) -> None:
        draft.write(writer, stats)
        for camera in cameras:
            camera.write(writer, stats, config)

    streams = (*draft.streams, *(camera.stream(config) for camera in cameras))
    return replace(draft, streams=streams, write=write)
