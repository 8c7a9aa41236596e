"""Build an episode from arrays with common timestamps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.formats.arrays.cameras import open_array_camera
from waldo.datasets.formats.arrays.source_array import WIDEST, EpisodeInfo, Kind, SourceArray
from waldo.datasets.formats.cameras_in import SourceCamera, size_note
from waldo.datasets.formats.content import content_digest, sampled_rows
from waldo.datasets.formats.names import stream_name
from waldo.datasets.formats.rows_in import SourceColumn, Times, counted, flat, is_rounded, tables
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, MappedKey, SourceError
from waldo.datasets.formats.stream_map import StreamMap
from waldo.datasets.recording.writer import EpisodeWriter

FOLDERS = {"color": schema.CAMERA_PREFIX, "encoded": schema.CAMERA_PREFIX, "depth": schema.DEPTH_PREFIX, "numbers": ""}
"""Content of an array -> prefix of the stream."""


type MoreCameras = Callable[[Times, StreamMap, ImportConfig], tuple[list[SourceCamera], list[MappedKey], list[str]]]
"""Opens cameras that are stored outside the arrays."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """An array with its destination."""

    array: SourceArray
    kind: Kind
    stream: str
    """Stream name; empty if the array is not imported."""
    field: str
    unit: str


def make_draft(
    arrays: Sequence[SourceArray],
    info: EpisodeInfo,
    config: ImportConfig,
    more: MoreCameras | None = None,
    more_keys: Sequence[str] = (),
) -> EpisodeDraft:
    """Return the episode that consists of the given arrays.

    Args:
        arrays: Arrays with one row per timestamp of `info`.
        info: Properties of the episode.
        config: Options of the import.
        more: Opens cameras that are stored outside the arrays: a function of the timestamps of the rows, the mapping
            and the config that returns the cameras, the destinations of their keys and notes.
        more_keys: Keys of these cameras.

    Raises:
        SourceError: If the arrays are empty, differ in length, or contain nothing that can be imported.
        MapError: If the mapping does not fit the arrays.
    """
    rows = len(info.header_ns)
    if not rows:
        raise SourceError(info.name, "the episode has no rows")
    for array in arrays:
        if array.shape[0] != rows:
            raise SourceError(info.name, f"{array.key} has {array.shape[0]} rows, but the timestamps have {rows}")
    mapping = StreamMap(config.map, [*(array.key for array in arrays), *more_keys])
    notes = list(info.notes)
    cameras: list[SourceCamera] = []
    columns: list[SourceColumn] = []
    mapped: list[MappedKey] = []
    for one in _placed(arrays, mapping):
        if not one.stream:
            mapped.append(MappedKey(key=one.array.key, contents=_contents(one, None), why="left out by --map"))
        elif one.kind == "numbers":
            found, why = _column(one, mapping, notes)
            columns += found
            stream = f"{one.stream}/{one.field}" if found else ""
            contents, dtype = _contents(one, None), one.array.dtype.name
            mapped.append(MappedKey(key=one.array.key, contents=contents, stream=stream, why=why, dtype=dtype))
        else:
            camera = open_array_camera(one.array, one.kind, one.stream, info, notes)
            small = size_note(one.stream, camera.height, camera.width)
            notes += [small] if small else camera.notes(config)
            cameras += [] if small else [camera]
            stream = "" if small else one.stream
            mapped.append(MappedKey(key=one.array.key, contents=_contents(one, camera), stream=stream, why=small))
    if more is not None:
        added, destinations, texts = more(info.header_ns, mapping, config)
        cameras += added
        mapped += destinations
        notes += texts
    found_tables = tables(columns, info.header_ns, info.rate_hz, mapping)
    if not found_tables and not cameras:
        raise SourceError(info.name, "the episode contains no image or numeric array that can be imported")

    def write(writer: EpisodeWriter, stats: ImportStats) -> None:
        for table in found_tables:
            table.write(writer, stats)
        for camera in cameras:
            camera.write(writer, stats, config)

    return EpisodeDraft(
        streams=(*(table.stream for table in found_tables), *(camera.stream(config) for camera in cameras)),
        attributes=info.attributes,
        outcome=info.outcome,
        write=write,
        notes=tuple(notes),
        tables=tuple(found_tables),
        cameras=tuple(cameras),
        mapped=(*mapped, *info.left_out_keys),
    )


def _contents(one: _Placed, camera: SourceCamera | None) -> str:
    """Return the contents of an array in a few words."""
    if camera is not None:
        return f"{camera.encoding} {camera.width}x{camera.height}"
    width = int(np.prod(one.array.shape[1:], dtype=np.int64))
    return f"numbers[{width}]" if one.kind == "numbers" else "images"


def _placed(arrays: Sequence[SourceArray], mapping: StreamMap) -> list[_Placed]:
    """Return each array with its destination: that of the mapping, a preset one, or one derived from its name."""
    kinds: dict[str, Kind] = {array.key: _kind(array) for array in arrays}
    targets = {key: mapping.get(key, is_images=kind != "numbers") for key, kind in kinds.items()}
    presets = {array.key: array for array in arrays if array.stream and array.key not in mapping}
    presets = {key: a for key, a in presets.items() if not mapping.takes(a.stream, a.field)}
    taken = [*mapping.streams, *(array.stream for array in presets.values())]
    found: list[_Placed] = []
    for array in arrays:
        kind, target = kinds[array.key], targets[array.key]
        if target is not None:
            unit = array.unit if target.stream == array.stream and target.field == array.field else ""
            found.append(_Placed(array, kind, target.stream, target.field, unit))
        elif array.key in presets:
            found.append(_Placed(array, kind, array.stream, array.field, array.unit))
        else:
            name = stream_name(FOLDERS[kind] + (array.name or array.key), taken)
            taken.append(name)
            found.append(_Placed(array, kind, name, "value", ""))
    return found


def _kind(array: SourceArray) -> Kind:
    """Return the content of an array, reading the first row of a float array that is shaped like color images.

    Values outside 0 to 255 make it numeric, for example a point cloud.
    """
    if array.kind == "color" and array.dtype.kind == "f":
        first = array.read(0, 1)
        return "color" if bool(((first >= 0) & (first <= 255)).all()) else "numbers"
    return array.kind


def _column(one: _Placed, mapping: StreamMap, notes: list[str]) -> tuple[list[SourceColumn], str]:
    """Return a numeric array as a column, or why it is not imported: its rows are empty or longer than `WIDEST`."""
    array = one.array
    width = int(np.prod(array.shape[1:], dtype=np.int64))
    if not 0 < width <= WIDEST:
        notes.append(f"{array.key}: rows of {width} values are not imported.")
        return [], f"rows of {width} values"
    values = array.read(0, array.shape[0])
    if len(array.shape) > 2:
        notes.append(f"{array.key}: rows of shape {array.shape[1:]} are flattened.")
    if is_rounded(values):
        notes.append(f"{array.key}: values that float64 cannot represent are rounded.")
    known = array.labels if len(array.labels) == width else ()
    own = known or counted(array.shape[1:], (array.name or array.key).rpartition("/")[2])
    column = SourceColumn(
        stream=one.stream,
        field=one.field,
        values=flat(values),
        labels=mapping.labels(array.key, own),
        unit=one.unit,
        key=array.key,
    )
    return [column], ""


def array_digest(
    arrays: Sequence[SourceArray], task: str, more: Mapping[str, Sequence[NDArray[Any] | bytes]] | None = None
) -> str:
    """Return the digest of an episode: all numbers, some images and the instruction.

    Args:
        arrays: The arrays.
        task: The instruction.
        more: Key -> some images of cameras outside the arrays.
    """
    images: dict[str, Sequence[NDArray[Any] | bytes]] = {}
    for array in arrays:
        rows = sampled_rows(array.shape[0])
        if array.encoded is not None:
            images[array.key] = [data for row, data in enumerate(array.encoded()) if row in rows]
        elif array.kind != "numbers":
            images[array.key] = [array.read(row, row + 1)[0] for row in rows]
    numbers = {array.key: array.read(0, array.shape[0]) for array in arrays if array.key not in images}
    return content_digest(numbers, images | dict(more or {}), task)
