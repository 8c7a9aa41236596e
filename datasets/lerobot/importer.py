"""Import of LeRobot datasets v2.x and v3.0. A dataset that waldo exported becomes the streams that it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.formats import images_in
from waldo.datasets.formats.cameras_in import SourceCamera, size_note
from waldo.datasets.formats.content import content_digest
from waldo.datasets.formats.names import field_name, inside, stream_name
from waldo.datasets.formats.rows_in import NOMINAL, SourceColumn, flat, is_rounded, nominal_ns, tables
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, MappedKey
from waldo.datasets.formats.stream_map import StreamMap
from waldo.datasets.lerobot.columns import camera_name, constant_rate, is_depth, labels_of, rate_notes
from waldo.datasets.lerobot.files import EpisodeEntry, LeRobotFiles, MissingVideoError, to_numbers
from waldo.datasets.lerobot.prepared import FACTS
from waldo.datasets.recording.writer import OUTCOMES, EpisodeWriter
from waldo.datasets.selection import Outcome
from waldo.errors import FileError, UnknownNameError, WaldoError, count

TRUE_STAMPS_S = 1e-3
"""Timestamps that deviate more than this from a constant rate are measured ones and are kept [s]."""

ORIGINS: Mapping[str, tuple[str, str]] = {
    schema.OBSERVATION_STATE: (schema.STATE, "position"),
    schema.ACTION: (schema.COMMAND, "position"),
    schema.OBSERVATION_ENVIRONMENT: (schema.ENVIRONMENT, "value"),
    schema.TELEMETRY_APPLIED: (schema.APPLIED, "position"),
    schema.TELEMETRY_COMMAND: (schema.COMMAND, "position"),
}
"""Column -> stream and field. If `telemetry.command` exists, the action is the applied command."""

LANGUAGE = ("language_persistent", "language_events")
"""Columns of text annotations."""


class LeRobotSource:
    """A LeRobot dataset, as a `Source` of an import."""

    format = "lerobot"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read the dataset's metadata."""
        self._files, self._config = LeRobotFiles(path), config
        self._map = StreamMap(
            config.map, [*self._numbers, *sorted({*self._keys_of("video", "image")} - {*self._depth})]
        )
        self.name, self.robot = path.absolute().name, self._files.robot
        self.keys = [str(entry.index) for entry in self._files.episodes]
        self.notes = self._notes()

    def _notes(self) -> list[str]:
        """Return the information that the store cannot keep and that LeRobot does not have."""
        files = self._files
        notes = [
            f"LeRobot has no capture times: stamps are counted at {files.fps:g} Hz from 2000-01-01 (clock: nominal)."
        ]
        if self._is_from_waldo:
            notes.append(
                f"{schema.TELEMETRY_STALENESS} is kept as a stream; "
                "another export computes it again from the nominal clock."
            )
        else:
            notes.append("LeRobot has no units: positions and commands are kept unchanged, without a unit.")
        language = [key for key in LANGUAGE if key in files.features]
        text = [key for key in self._keys_of("string") if key not in language]
        for keys, kind in (
            (language, "text annotations"),
            (text, "text columns"),
            (self._depth, "depth as video"),
        ):
            if keys:
                notes.append(f"Not imported: {kind} ({', '.join(sorted(keys))}).")
        return notes

    @property
    def _is_from_waldo(self) -> bool:
        """Whether waldo exported the dataset, so that the units of its columns are known."""
        return schema.TELEMETRY_STALENESS in self._files.features

    def _keys_of(self, *dtypes: str) -> list[str]:
        """Return the columns of these types."""
        return [key for key, feature in self._files.features.items() if feature.get("dtype") in dtypes]

    @property
    def _depth(self) -> list[str]:
        """Columns of depth as quantized video, which only LeRobot's own reader decodes."""
        return [key for key in self._keys_of("video") if is_depth(self._files.features[key])]

    @cached_property
    def _numbers(self) -> list[str]:
        """Columns of numbers that become streams."""
        excluded = {
            *schema.INDEX_COLUMNS,
            *LANGUAGE,
            *([schema.SUCCESS] if self._is_from_waldo else []),
            *self._keys_of("video", "image", "string", "language"),
        }
        return [key for key in self._files.features if key not in excluded]

    @cached_property
    def _cameras(self) -> Mapping[str, str]:
        """Column of images -> stream."""
        found: dict[str, str] = {}
        taken = self._map.streams
        for key in sorted({*self._keys_of("video", "image")} - {*self._depth}):
            target = self._map.get(key, is_images=True)
            prefix = schema.DEPTH_PREFIX if is_depth(self._files.features[key]) else schema.CAMERA_PREFIX
            derived = stream_name(prefix + camera_name(key), [*taken, *found.values()])
            found[key] = derived if target is None else target.stream
        return {key: stream for key, stream in found.items() if stream}

    @cached_property
    def _origins(self) -> Mapping[str, tuple[str, str, str]]:
        """Column of numbers -> stream, field, unit."""
        found: dict[str, tuple[str, str, str]] = {}
        targets = {key: self._map.get(key, is_images=False) for key in self._numbers}
        for key in self._numbers:
            stream, field = self._origin(key)
            if (target := targets[key]) is not None:
                unit = "" if (stream, field) != (target.stream, target.field) else self._unit(stream, field)
                found[key] = (target.stream, target.field, unit)
                continue
            if self._map.takes(stream, field):
                stream = field = ""
            unit = self._unit(stream, field)
            if not stream:
                names = [one for one, _, _ in found.values()]
                taken = [*self._cameras.values(), *names, *dict(ORIGINS.values()), *self._map.streams]
                stream, field = stream_name(key, taken), "value"
            found[key] = (stream, field_name(field), unit)
        return {key: origin for key, origin in found.items() if origin[0]}

    def _unit(self, stream: str, field: str) -> str:
        return schema.unit_of(stream, field) if self._is_from_waldo else ""

    def _origin(self, key: str) -> tuple[str, str]:
        """Return the stream and field that waldo exported as a column; empty if waldo has no such column."""
        if key == schema.ACTION and schema.TELEMETRY_COMMAND in self._files.features:
            return schema.APPLIED, "position"
        if key in ORIGINS:
            return ORIGINS[key]
        if self._is_from_waldo and key.startswith(schema.TELEMETRY) and key != schema.TELEMETRY_STALENESS:
            field = key.removeprefix(schema.TELEMETRY)
            return (schema.STATE if field in schema.JOINT_UNITS[schema.STATE] else schema.MOTORS), field
        return "", ""

    def digest(self, key: str) -> str:
        """Return a digest of an episode's numbers, instructions and the first image of each camera."""
        entry, files = self._entry(key), self._files
        rows = files.rows(entry, self._numbers)
        numbers = {name: to_numbers(rows[name], name) for name in self._numbers}
        numbers = {name: values for name, values in numbers.items() if values.dtype.kind in "fiub"}
        images = {name: self._first_image(entry, name) for name in self._cameras if entry.length}
        return content_digest(numbers, images, "lerobot", files.fps, entry.tasks, entry.length)

    def _first_image(self, entry: EpisodeEntry, key: str) -> list[NDArray[Any] | bytes]:
        """Return the first image of a camera; none if it is missing or damaged."""
        is_video = self._files.features[key]["dtype"] == "video"
        with suppress(WaldoError):
            images = self._files.video(entry, key).frames() if is_video else self._images(entry, key)
            return [next(images)]
        return []

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode."""
        entry, files = self._entry(key), self._files
        flags = [schema.SUCCESS] if schema.SUCCESS in files.features else []
        rows = files.rows(entry, list(dict.fromkeys([*self._numbers, *flags, "timestamp", "task_index"])))
        if rows.num_rows != entry.length:
            found = f"contains {count(rows.num_rows, 'row')} of episode {key}, expected {entry.length}"
            raise FileError(files.data_path(entry), found, "fetch the file again")
        if not entry.length:
            raise FileError(files.data_path(entry), f"contains no row of episode {key}", "exclude it with --episodes")
        moved = ["Rows are in another file than the table of episodes states."] if files.is_moved(entry) else []
        stamps, clock = self._stamps(to_numbers(rows["timestamp"], "timestamp"))
        columns, notes = self._columns(rows)
        task_numbers = to_numbers(rows["task_index"], "task_index").astype(int)
        tasks, disagreement = self._tasks(entry, list(dict.fromkeys(task_numbers.tolist())))
        notes += disagreement
        if len(set(task_numbers.tolist())) > 1:
            values = flat(task_numbers)
            name = "task_index"
            columns.append(SourceColumn(stream=name, field="value", values=values, labels=(name,), key=name))
            notes.append("The instruction changes within the episode: see `tasks`, and `task_index` for each row.")
        found = tables(columns, stamps, files.fps, self._map)
        cameras, more, absent = self._read_cameras(entry, stamps)
        own = {"task": tasks[0] if tasks else "", "clock": clock, "fps": files.fps, "lerobot": files.version}
        own |= {key: value for key, value in files.origin.get(entry.index, {}).items() if key in FACTS}

        def write(writer: EpisodeWriter, stats: ImportStats) -> None:
            for table in found:
                table.write(writer, stats)
            for camera in cameras:
                camera.write(writer, stats, self._config)

        return EpisodeDraft(
            streams=(*(table.stream for table in found), *(camera.stream(self._config) for camera in cameras)),
            attributes=own | ({"tasks": tasks} if len(tasks) > 1 else {}),
            outcome=self._outcome(entry, rows),
            write=write,
            notes=(*notes, *moved, *more),
            tables=tuple(found),
            cameras=tuple(cameras),
            mapped=self._mapped(columns, cameras, absent),
            absent=tuple(absent),
        )

    def _tasks(self, entry: EpisodeEntry, numbers: Sequence[int]) -> tuple[list[str], list[str]]:
        """Return the instructions of an episode, and a note if its rows and the table of episodes disagree.

        The rows decide, as LeRobot trains on the instruction of each row.

        Args:
            entry: The episode.
            numbers: The different values of `task_index`, in the order of the rows.
        """
        listed = list(entry.tasks)
        known: Mapping[int, str] = {}
        try:
            known = self._files.tasks
        except FileError:
            if not listed:
                raise
        of_rows = [known[number] for number in numbers if number in known]
        if not listed or len(of_rows) < len(numbers):
            unknown = listed and known and len(of_rows) < len(numbers)
            note = "task_index is not in the table of tasks; the instruction in the table of episodes is used."
            return listed or [known.get(number, "") for number in numbers], [note] if unknown else []
        if set(of_rows) == set(listed):
            return listed, []
        note = "task_index and the table of episodes disagree; the instruction of the rows is used, as LeRobot does."
        return of_rows, [note]

    def _mapped(
        self, columns: Sequence[SourceColumn], cameras: Sequence[SourceCamera], absent: Mapping[str, str]
    ) -> tuple[MappedKey, ...]:
        """Return every column with its destination; `absent` is stream -> why an episode lacks it."""
        found = {
            column.key: MappedKey(
                key=column.key,
                contents=f"numbers[{column.values.shape[1]}]",
                stream=f"{column.stream}/{column.field}",
                dtype=column.values.dtype.name,
            )
            for column in columns
        }
        by_stream = {camera.name: camera for camera in cameras}
        for key, stream in self._cameras.items():
            if stream in absent:
                found[key] = MappedKey(key=key, contents="video", why=absent[stream])
            if stream in by_stream:
                camera = by_stream[stream]
                contents = f"{camera.encoding} {camera.width}x{camera.height}"
                found[key] = MappedKey(key=key, contents=contents, stream=stream)
        for key, feature in self._files.features.items():
            if key not in found and key not in schema.INDEX_COLUMNS:
                found[key] = MappedKey(key=key, contents=str(feature.get("dtype", "")), why=self._why_not(key))
        return tuple(found.values())

    def _why_not(self, key: str) -> str:
        """Return why a column is not imported."""
        if key in self._map:
            return "left out by --map"
        if key == schema.SUCCESS:
            return "read as the outcome"
        if key in LANGUAGE or key in self._keys_of("string", "language"):
            return "text"
        return "depth as video" if key in self._depth else "see the notes"

    def _entry(self, key: str) -> EpisodeEntry:
        by_key = {str(entry.index): entry for entry in self._files.episodes}
        if key not in by_key:
            raise UnknownNameError("episode", key, by_key)
        return by_key[key]

    def _stamps(self, timestamp: NDArray[Any]) -> tuple[NDArray[np.int64], str]:
        """Return the stamps, (rows,) [ns], and the name of their clock; measured times are kept if there are any."""
        nominal = nominal_ns(len(timestamp), self._files.fps)
        seconds = timestamp.reshape(-1).astype(np.float64)
        true = nominal[0] + np.round(np.nan_to_num(seconds) * 1e9).astype(np.int64)
        if np.isfinite(seconds).all() and np.abs(true - nominal).max() > TRUE_STAMPS_S * 1e9:
            return true, "since the episode's start"
        return nominal, NOMINAL

    def _columns(self, rows: Any) -> tuple[list[SourceColumn], list[str]]:
        """Return the columns of numbers, and notes on them."""
        columns: list[SourceColumn] = []
        notes: list[str] = []
        for key, (stream, field, unit) in self._origins.items():
            values = to_numbers(rows[key], key)
            if values.dtype.kind not in "fiub" or (values.ndim > 1 and not values.size):
                notes.append(f"{key} does not contain numbers and is not imported.")
                continue
            if values.ndim > 2:
                notes.append(f"{key}: rows of shape {values.shape[1:]} are kept as lists.")
            if is_rounded(values):
                notes.append(f"{key}: integers beyond 2^53 are rounded to float64.")
            own = labels_of(self._files.features[key].get("names"), values.shape[1:], key)
            labels = self._map.labels(key, own)
            columns.append(
                SourceColumn(stream=stream, field=field, values=flat(values), labels=labels, unit=unit, key=key)
            )
        return columns, notes

    def _outcome(self, entry: EpisodeEntry, rows: Any) -> Outcome:
        """Return the outcome of the attempt: that of waldo's own record or of `next.success`, else that of the config.

        Other programs set `next.success` in every row from the success on, or in the last row only.
        """
        known = self._files.origin.get(entry.index, {}).get("outcome")
        if known in OUTCOMES:
            return known
        if schema.SUCCESS not in rows.column_names:
            return self._config.outcome
        return "success" if np.nan_to_num(to_numbers(rows[schema.SUCCESS], "")).any() else "failure"

    def _read_cameras(
        self, entry: EpisodeEntry, stamps: NDArray[np.int64]
    ) -> tuple[list[SourceCamera], list[str], dict[str, str]]:
        """Return the cameras, notes on them, and the cameras that are left out as their video is missing, with why."""
        cameras: list[SourceCamera] = []
        notes: list[str] = []
        absent: dict[str, str] = {}
        for key, name in self._cameras.items():
            is_video = self._files.features[key]["dtype"] == "video"
            try:
                camera = (self._video if is_video else self._stills)(entry, key, name, stamps)
            except MissingVideoError:
                absent[name] = "the video does not exist"
                notes.append(f"{name} is not imported: the video of {key} does not exist; fetch the whole dataset.")
                continue
            small = size_note(name, camera.height, camera.width)
            notes += [small] if small else camera.notes(self._config)
            notes += rate_notes(camera, self._files.fps) if camera.header_ns is not stamps else []
            cameras += [] if small else [camera]
        return cameras, notes, absent

    def _video(self, entry: EpisodeEntry, key: str, name: str, stamps: NDArray[np.int64]) -> SourceCamera:
        file = self._files.video(entry, key)
        rate_hz = self._files.fps
        if own := file.own_times():
            file = replace(file, count=len(own), times_s=own)
            stamps = stamps[0] + np.round((np.array(own) - file.start_s) * 1e9).astype(np.int64)
            rate_hz = constant_rate(stamps) or rate_hz
        codec, height, width = file.probe()
        return SourceCamera(
            name=name,
            height=height,
            width=width,
            rate_hz=rate_hz,
            header_ns=stamps,
            encoding=codec,
            kind="video",
            images=file.frames,
            run=file.packet_run(),
        )

    def _stills(self, entry: EpisodeEntry, key: str, name: str, stamps: NDArray[np.int64]) -> SourceCamera:
        images = partial(self._images, entry, key)
        first = next(images())
        look = images_in.inspect_image(first)
        kind: Literal["pixels", "jpeg", "depth"] = look.kind
        return SourceCamera(
            name=name,
            height=look.height,
            width=look.width,
            rate_hz=self._files.fps,
            header_ns=stamps,
            encoding=look.encoding,
            kind=kind,
            images=lambda: (images_in.as_image(data, kind) for data in images()),
        )

    def _images(self, entry: EpisodeEntry, key: str) -> Iterator[bytes]:
        """Yield the encoded images of a column."""
        for batch in self._files.batches(entry, [key]):
            for cell in batch.column(0).to_pylist():
                if isinstance(cell, dict) and cell.get("bytes"):
                    yield cell["bytes"]
                elif isinstance(cell, dict) and cell.get("path"):
                    path = inside(self._files.root, str(cell["path"]))
                    if not path.is_file():
                        raise FileError(path, "the file does not exist", "fetch the whole dataset")
                    yield path.read_bytes()
                else:
                    raise FileError(self._files.data_path(entry), f"a row of {key} contains no image")
