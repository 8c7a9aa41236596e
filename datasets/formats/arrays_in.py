"""Build an episode from arrays whose first axis is time, such as those of zarr and HDF5 datasets.

Each array is classified as color images, depth images or numbers by its type and shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.cameras_in import SMALLEST, SourceCamera
from waldo.datasets.formats.images_in import to_depth, to_rgb
from waldo.datasets.formats.names import stream_name
from waldo.datasets.formats.rows_in import SourceColumn, Times, counted, flat, is_rounded, tables
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, SourceError
from waldo.datasets.recording.encoding import Image
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.schema import CAMERA_PREFIX, DEPTH_PREFIX
from waldo.datasets.selection import Outcome

AT_ONCE_BYTES = 32e6
"""Number of bytes of an image array that are read at once."""

WIDEST = 20_000
"""Largest number of values per row of a numeric array that is imported."""


type Kind = Literal["color", "depth", "numbers"]
"""Content of an array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArray:
    """One array of an episode, read on demand."""

    key: str
    """Name in the source."""
    shape: tuple[int, ...]
    """Number of rows, followed by the shape of one row."""
    dtype: np.dtype[Any]
    """Element type."""
    read: Callable[[int, int], NDArray[Any]]
    """Function (start, stop) -> rows."""
    stream: str = ""
    """Stream name; derived from the key if empty."""
    field: str = "value"
    """Field name of a numeric array."""
    unit: str = ""
    """Unit of a numeric array; empty if unknown."""
    labels: tuple[str, ...] = ()
    """Label of each value of a row; numbered if empty."""
    unit_m: float = 0.001
    """Length of one step of a depth value [m]."""

    @property
    def kind(self) -> Kind:
        """The content, judged by element type and shape."""
        shape, dtype = self.shape, self.dtype
        is_image = len(shape) in (3, 4) and min(self.size) >= SMALLEST
        gray = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
        if is_image and gray and (dtype.str[1:] == "u2" or (dtype.kind == "f" and "depth" in self.key.lower())):
            return "depth"
        color = len(shape) == 4 and (shape[3] in (3, 4) or shape[1] == 3)
        if is_image and ((color and (dtype.str[1:] == "u1" or dtype.kind == "f")) or (gray and dtype.str[1:] == "u1")):
            return "color"
        return "numbers"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of an image array [px]; (0, 0) for other arrays."""
        if self.is_channel_first:
            return self.shape[2], self.shape[3]
        return (self.shape[1], self.shape[2]) if len(self.shape) > 2 else (0, 0)

    @property
    def is_channel_first(self) -> bool:
        """Whether this is an image array of shape (T, channels, H, W)."""
        return len(self.shape) == 4 and self.shape[1] in (1, 3) and self.shape[3] not in (1, 3, 4)

    def rows(self) -> Iterator[NDArray[Any]]:
        """Yield the rows one by one."""
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        step = max(1, int(AT_ONCE_BYTES / max(1, row_bytes)))
        for start in range(0, self.shape[0], step):
            yield from self.read(start, min(start + step, self.shape[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeInfo:
    """Properties of an episode beside its arrays."""

    name: str
    """Name in the source, for messages."""
    rate_hz: float
    """Row rate [Hz]."""
    header_ns: Times
    """Timestamp of each row, shape (rows,) [ns]."""
    attributes: Mapping[str, Any]
    """Attributes of the episode."""
    outcome: Outcome
    """Outcome of the attempt."""
    notes: Sequence[str] = ()
    """Information that the source lacks or the store cannot keep, one sentence each."""


def make_draft(arrays: Sequence[SourceArray], info: EpisodeInfo, config: ImportConfig) -> EpisodeDraft:
    """Return the episode that consists of the given arrays.

    Args:
        arrays: Arrays with one row per timestamp of `info`.
        info: Properties of the episode.
        config: Options of the import.

    Raises:
        SourceError: If the arrays are empty, differ in length, or contain nothing that can be imported.
    """
    rows = len(info.header_ns)
    if not rows:
        raise SourceError(info.name, "the episode has no rows")
    for array in arrays:
        if array.shape[0] != rows:
            raise SourceError(info.name, f"{array.key} has {array.shape[0]} rows, but the timestamps have {rows}")
    notes = list(info.notes)
    cameras: list[SourceCamera] = []
    columns: list[SourceColumn] = []
    for array, kind, name in _named(arrays):
        if kind == "numbers":
            columns += _column(array, name, notes)
        else:
            cameras.append(_camera(array, kind, name, info, notes))
    found = tables(columns, info.header_ns, info.rate_hz)
    if not found and not cameras:
        raise SourceError(info.name, "the episode contains no image or numeric array that can be imported")
    for camera in cameras:
        notes += camera.notes(config)

    def write(writer: EpisodeWriter, stats: ImportStats) -> None:
        for table in found:
            table.write(writer, stats)
        for camera in cameras:
            camera.write(writer, stats, config)

    return EpisodeDraft(
        streams=(*(table.stream for table in found), *(camera.stream(config) for camera in cameras)),
        attributes=info.attributes,
        outcome=info.outcome,
        write=write,
        notes=tuple(notes),
    )


def _named(arrays: Sequence[SourceArray]) -> list[tuple[SourceArray, Kind, str]]:
    """Return each array with its content and its stream name; derived names do not collide with given ones."""
    taken = [array.stream for array in arrays if array.stream]
    found: list[tuple[SourceArray, Kind, str]] = []
    for array in arrays:
        name, kind = array.stream, _kind(array)
        if not name:
            folder = {"color": CAMERA_PREFIX, "depth": DEPTH_PREFIX, "numbers": ""}[kind]
            name = stream_name(folder + array.key, taken)
            taken.append(name)
        found.append((array, kind, name))
    return found


def _kind(array: SourceArray) -> Kind:
    """Return the content of an array, reading the first row of a float array that is shaped like color images.

    Values outside 0 to 255 make it numeric, for example a point cloud.
    """
    if array.kind == "color" and array.dtype.kind == "f":
        first = array.read(0, 1)
        return "color" if bool(((first >= 0) & (first <= 255)).all()) else "numbers"
    return array.kind


def _column(array: SourceArray, name: str, notes: list[str]) -> list[SourceColumn]:
    """Return a numeric array as a column; nothing if its rows are empty or longer than `WIDEST`."""
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    if not 0 < width <= WIDEST:
        notes.append(f"{array.key}: rows of {width} values are not imported.")
        return []
    values = array.read(0, array.shape[0])
    if len(array.shape) > 2:
        notes.append(f"{array.key}: rows of shape {array.shape[1:]} are flattened.")
    if is_rounded(values):
        notes.append(f"{array.key}: values that float64 cannot represent are rounded.")
    known = array.labels if len(array.labels) == width else ()
    labels = known or counted(array.shape[1:], array.key.rpartition("/")[2])
    return [SourceColumn(stream=name, field=array.field, values=flat(values), labels=labels, unit=array.unit)]


def _camera(array: SourceArray, kind: Kind, name: str, info: EpisodeInfo, notes: list[str]) -> SourceCamera:
    """Return an image array as a camera."""
    height, width = array.size
    depth = kind == "depth"
    scale = 1.0
    if array.dtype.kind == "f" and depth:
        notes.append(f"{name}: depth is rounded from meters to millimeters; unknown depth becomes 0.")
    elif array.dtype.kind == "f":
        scale, note = _scale(array, name)
        notes.append(note)
    elif array.shape[-1] == 4 and len(array.shape) == 4 and not array.is_channel_first:
        notes.append(f"{name}: the alpha channel is not imported.")
    return SourceCamera(
        name=name,
        height=height,
        width=width,
        rate_hz=info.rate_hz,
        header_ns=info.header_ns,
        encoding="raw pixels",
        kind="depth" if depth else "pixels",
        images=lambda: _images(array, scale, depth=depth),
        unit_m=array.unit_m,
    )


def _scale(array: SourceArray, name: str) -> tuple[float, str]:
    """Return the scale of float images, judged by the first image, and the note about it."""
    first = array.read(0, 1)
    if float(first.max()) <= 1.0:
        return 255.0, f"{name}: float images from 0 to 1 are rounded to uint8."
    return 1.0, f"{name}: float images are converted to uint8, which is exact for whole numbers."


def _images(array: SourceArray, scale: float, *, depth: bool) -> Iterator[Image]:
    """Yield the images in the form that the store takes."""
    for row in array.rows():
        pixels = np.moveaxis(row, 0, -1) if array.is_channel_first else row
        if depth:
            yield to_depth(pixels)
            continue
        if pixels.dtype.kind == "f":
            pixels = np.clip(np.rint(np.nan_to_num(pixels) * scale), 0, 255).astype(np.uint8)
        yield to_rgb(pixels)
