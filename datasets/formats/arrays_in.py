"""Arrays with time as their first axis -> an episode: pictures, depth and numbers told apart by type and shape.

What zarr and HDF5 datasets of robots have in common; their modules say what each array is called in the store.
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
from waldo.datasets.selection import Outcome

AT_ONCE_BYTES = 32e6
"""So much of an array of pictures is read at a time."""

WIDEST = 20_000
"""Numbers a row up to which an array is kept."""


type Kind = Literal["colour", "depth", "numbers"]
"""What an array holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceArray:
    """An array of one episode, not read yet."""

    key: str
    """Its name in the source."""
    shape: tuple[int, ...]
    """Rows, and the shape of one."""
    dtype: np.dtype[Any]
    """Type of its numbers."""
    read: Callable[[int, int], NDArray[Any]]
    """Returns some of its rows, (first, after the last)."""
    stream: str = ""
    """Name of its stream; empty: made from the key."""
    field: str = "value"
    """Name of the field, where it is numbers."""
    unit: str = ""
    """Unit of numbers; empty where nobody says it."""
    labels: tuple[str, ...] = ()
    """What each number of a row belongs to; (): counted."""
    unit_m: float = 0.001
    """Of depth: length of a step of a pixel's value [m]."""

    @property
    def kind(self) -> Kind:
        """What it is, judged by type and shape."""
        shape, dtype = self.shape, self.dtype
        picture = len(shape) in (3, 4) and min(self.size) >= SMALLEST
        grey = len(shape) == 3 or (len(shape) == 4 and shape[3] == 1)
        if picture and grey and (dtype.str[1:] == "u2" or (dtype.kind == "f" and "depth" in self.key.lower())):
            return "depth"
        colour = len(shape) == 4 and (shape[3] in (3, 4) or shape[1] == 3)
        if picture and ((colour and (dtype.str[1:] == "u1" or dtype.kind == "f")) or (grey and dtype.str[1:] == "u1")):
            return "colour"
        return "numbers"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, where it is pictures [px]."""
        if self.is_channel_first:
            return self.shape[2], self.shape[3]
        return (self.shape[1], self.shape[2]) if len(self.shape) > 2 else (0, 0)

    @property
    def is_channel_first(self) -> bool:
        """Whether it is pictures (T, channels, H, W)."""
        return len(self.shape) == 4 and self.shape[1] in (1, 3) and self.shape[3] not in (1, 3, 4)

    def rows(self) -> Iterator[NDArray[Any]]:
        """Yield the rows one by one, read a few at a time."""
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        step = max(1, int(AT_ONCE_BYTES / max(1, row_bytes)))
        for start in range(0, self.shape[0], step):
            yield from self.read(start, min(start + step, self.shape[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeInfo:
    """What else there is to an episode."""

    name: str
    """Its name in the source, for messages."""
    rate_hz: float
    """Rows a second [Hz]."""
    header_ns: Times
    """The rows' stamps [ns]."""
    attributes: Mapping[str, Any]
    """Its attributes."""
    outcome: Outcome
    """How the attempt went."""
    notes: Sequence[str] = ()
    """What is lost or was never there."""


def make_draft(arrays: Sequence[SourceArray], info: EpisodeInfo, config: ImportConfig) -> EpisodeDraft:
    """Return the episode of these arrays, which all have as many rows as there are stamps."""
    rows = len(info.header_ns)
    if not rows:
        raise SourceError(info.name, "has no row")
    for array in arrays:
        if array.shape[0] != rows:
            raise SourceError(info.name, f"{array.key} has {array.shape[0]} rows, the others {rows}")
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
        raise SourceError(info.name, "holds nothing that can be kept")
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
    """Return arrays, what they are, and the names of their streams: those that are given, the others beside them."""
    taken = [array.stream for array in arrays if array.stream]
    found: list[tuple[SourceArray, Kind, str]] = []
    for array in arrays:
        name, kind = array.stream, _kind(array)
        if not name:
            folder = {"colour": "cameras/", "depth": "depth/", "numbers": ""}[kind]
            name = stream_name(folder + array.key, taken)
            taken.append(name)
        found.append((array, kind, name))
    return found


def _kind(array: SourceArray) -> Kind:
    """Return what an array is; floats in the shape of pictures whose first is none are numbers, such as points."""
    if array.kind == "colour" and array.dtype.kind == "f":
        first = array.read(0, 1)
        return "colour" if bool(((first >= 0) & (first <= 255)).all()) else "numbers"
    return array.kind


def _column(array: SourceArray, name: str, notes: list[str]) -> list[SourceColumn]:
    """Return an array of numbers as a column; none where it holds none, or too many a row."""
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    if not 0 < width <= WIDEST:
        notes.append(f"{array.key}: rows of {width} numbers are not kept.")
        return []
    values = array.read(0, array.shape[0])
    if len(array.shape) > 2:
        notes.append(f"{array.key}: rows of shape {array.shape[1:]} are kept as lists.")
    if is_rounded(values):
        notes.append(f"{array.key}: numbers that float64 cannot hold are rounded to it.")
    known = array.labels if len(array.labels) == width else ()
    labels = known or counted(array.shape[1:], array.key.rpartition("/")[2])
    return [SourceColumn(stream=name, field=array.field, values=flat(values), labels=labels, unit=array.unit)]


def _camera(array: SourceArray, kind: Kind, name: str, info: EpisodeInfo, notes: list[str]) -> SourceCamera:
    """Return an array of pictures as a camera."""
    height, width = array.size
    depth = kind == "depth"
    scale = 1.0
    if array.dtype.kind == "f" and depth:
        notes.append(f"{name}: depth in metres is rounded to millimetres, and 0 where it is not known.")
    elif array.dtype.kind == "f":
        scale, note = _scale(array, name)
        notes.append(note)
    elif array.shape[-1] == 4 and len(array.shape) == 4 and not array.is_channel_first:
        notes.append(f"{name}: the transparency of its pictures is not kept.")
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
    """Return what pictures of floats are multiplied with, judged by the first, and the note of it."""
    first = array.read(0, 1)
    if float(first.max()) <= 1.0:
        return 255.0, f"{name}: pictures of floats from 0 to 1 are rounded to bytes."
    return 1.0, f"{name}: pictures of floats are kept as bytes, which is exact where they are whole numbers."


def _images(array: SourceArray, scale: float, *, depth: bool) -> Iterator[Image]:
    """Yield the pictures as the store takes them."""
    for row in array.rows():
        pixels = np.moveaxis(row, 0, -1) if array.is_channel_first else row
        if depth:
            yield to_depth(pixels)
            continue
        if pixels.dtype.kind == "f":
            pixels = np.clip(np.rint(np.nan_to_num(pixels) * scale), 0, 255).astype(np.uint8)
        yield to_rgb(pixels)
