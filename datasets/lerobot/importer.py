"""LeRobot v2.x and v3.0 -> episode store. What waldo's own export wrote becomes the streams again that it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats import images_in
from waldo.datasets.formats.cameras_in import SourceCamera, size_note
from waldo.datasets.formats.names import distinct, field_name, inside, stream_name
from waldo.datasets.formats.rows_in import NOMINAL, SourceColumn, counted, flat, is_rounded, nominal_ns, tables
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, digest_of
from waldo.datasets.lerobot.files import Entry, LeRobotFiles, to_numbers
from waldo.datasets.lerobot.layout import OWN
from waldo.datasets.recording.writer import EpisodeWriter
from waldo.datasets.selection import Outcome
from waldo.errors import FileError, UnknownNameError

STAMPED = 1e-3
"""Timestamps that lie farther than this from a constant rate are true ones, and are kept [s]."""

STATE_FIELDS = {"velocity": "rad/s", "effort": "N·m"}
"""Fields of joints/state beside the position, in columns `telemetry.<field>`, and their units."""

MOTOR_FIELDS = {"winding": "°C", "housing": "°C", "current": "A", "voltage": "V", "torque": "N·m", "duty": "1"}
"""Fields of motors and their units."""

PLACES = {
    "observation.state": ("joints/state", "position"),
    "action": ("joints/command", "position"),
    "observation.environment_state": ("environment", "value"),
    "telemetry.sent_action": ("joints/sent", "position"),
    "telemetry.command": ("joints/command", "position"),
}
"""Column -> stream and field; where `telemetry.command` is there, the action is what was sent."""

MARK = "telemetry.staleness"
"""A column that only waldo writes: its units are known."""

TELEMETRY = "telemetry."
PICTURES = "observation.images."
LANGUAGE = ("language_persistent", "language_events")


class LeRobotSource:
    """A LeRobot dataset."""

    format = "lerobot"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Read what describes the dataset."""
        self._files, self._config = LeRobotFiles(path), config
        self.name, self.robot = path.absolute().name, self._files.robot
        self.keys = [str(entry.index) for entry in self._files.episodes]
        self.notes = self._notes()

    def _notes(self) -> list[str]:
        """What the store cannot keep, or what LeRobot never had."""
        files = self._files
        notes = [
            f"LeRobot keeps no capture times: stamps are counted at {files.fps:g} Hz from 2000-01-01 (clock: nominal)."
        ]
        if self._is_waldos:
            notes.append(f"{MARK} is kept as a stream; another export counts it anew from the nominal clock.")
        else:
            notes.append("LeRobot states no units: positions and commands are kept as they are, with no unit.")
        language = [key for key in LANGUAGE if key in files.features]
        words = [key for key in self._keys_of("string") if key not in language]
        for keys, what in (
            (language, "annotations in words"),
            (words, "columns of words"),
            (self._depth, "depth as video"),
        ):
            if keys:
                notes.append(f"Not kept: {what} ({', '.join(sorted(keys))}).")
        return notes

    @property
    def _is_waldos(self) -> bool:
        return MARK in self._files.features

    def _keys_of(self, *dtypes: str) -> list[str]:
        """Return the columns of these types."""
        return [key for key, feature in self._files.features.items() if feature.get("dtype") in dtypes]

    @property
    def _depth(self) -> list[str]:
        """Columns of depth as quantised video, which no reader but LeRobot's knows."""
        return [key for key in self._keys_of("video") if _is_depth(self._files.features[key])]

    @cached_property
    def _numbers(self) -> list[str]:
        """Columns of numbers that become streams."""
        left_out = {*OWN, *LANGUAGE, *self._keys_of("video", "image", "string", "language")}
        return [key for key in self._files.features if key not in left_out]

    @cached_property
    def _cameras(self) -> Mapping[str, str]:
        """Column of pictures -> stream."""
        found: dict[str, str] = {}
        for key in sorted({*self._keys_of("video", "image")} - {*self._depth}):
            kind = "depth" if _is_depth(self._files.features[key]) else "cameras"
            found[key] = stream_name(f"{kind}/{key.removeprefix(PICTURES)}", found.values())
        return found

    @cached_property
    def _places(self) -> Mapping[str, tuple[str, str, str]]:
        """Column of numbers -> stream, field, unit."""
        found: dict[str, tuple[str, str, str]] = {}
        for key in self._numbers:
            stream, field = PLACES.get(key, ("", ""))
            unit = "rad" if self._is_waldos and field == "position" else ""
            if key == "action" and "telemetry.command" in self._files.features:
                stream = "joints/sent"
            if not stream and self._is_waldos and key.startswith(TELEMETRY) and key != MARK:
                field = key.removeprefix(TELEMETRY)
                stream = "joints/state" if field in STATE_FIELDS else "motors"
                unit, field = (STATE_FIELDS | MOTOR_FIELDS).get(field, ""), field_name(field)
            if not stream:
                taken = [*self._cameras.values(), *(place[0] for place in found.values()), *dict(PLACES.values())]
                stream, field = stream_name(key, taken), "value"
            found[key] = (stream, field, unit)
        return found

    def digest(self, key: str) -> str:
        """Return the identity of an episode: its numbers and instructions, whatever file they lie in."""
        entry = self._entry(key)
        rows = self._files.rows(entry, self._numbers)
        columns = [np.ascontiguousarray(to_numbers(rows[name], name)) for name in self._numbers]
        return digest_of("lerobot", key, self._files.fps, entry.tasks, entry.length, self._files.features, *columns)

    def read(self, key: str) -> EpisodeDraft:
        """Return an episode."""
        entry, files = self._entry(key), self._files
        rows = files.rows(entry, [*self._numbers, "timestamp", "task_index"])
        if rows.num_rows != entry.length:
            found = f"has {rows.num_rows} rows of episode {key}, expected {entry.length}"
            raise FileError(files.data_path(entry), found, "fetch the file again")
        if not entry.length:
            raise FileError(files.data_path(entry), f"has no row of episode {key}", "leave it out with --episodes")
        stamps, clock = self._stamps(to_numbers(rows["timestamp"], "timestamp"))
        columns, notes = self._columns(rows)
        task_numbers = to_numbers(rows["task_index"], "task_index").astype(int)
        tasks = list(entry.tasks) or [files.tasks.get(n, "") for n in dict.fromkeys(task_numbers.tolist())]
        if len(set(task_numbers.tolist())) > 1:
            values = flat(task_numbers)
            columns.append(SourceColumn(stream="task_index", field="value", values=values, labels=("task_index",)))
            notes.append("The instruction changes within the episode: all are in `tasks`, the rows' in task_index.")
        found = tables(columns, stamps, files.fps)
        cameras, more = self._pictures(entry, stamps)
        own = {"task": tasks[0] if tasks else "", "clock": clock, "fps": files.fps, "lerobot": files.version}

        def write(writer: EpisodeWriter, stats: ImportStats) -> None:
            for table in found:
                table.write(writer, stats)
            for camera in cameras:
                camera.write(writer, stats, self._config)

        return EpisodeDraft(
            streams=(*(table.stream for table in found), *(camera.stream(self._config) for camera in cameras)),
            attributes=own | ({"tasks": tasks} if len(tasks) > 1 else {}),
            outcome=self._outcome(rows),
            write=write,
            notes=(*notes, *more),
        )

    def _entry(self, key: str) -> Entry:
        by_key = {str(entry.index): entry for entry in self._files.episodes}
        if key not in by_key:
            raise UnknownNameError("episode", key, by_key)
        return by_key[key]

    def _stamps(self, timestamp: NDArray[Any]) -> tuple[NDArray[np.int64], str]:
        """Return the rows' stamps [ns] and what clock they are of: true times since the start are kept where told."""
        nominal = nominal_ns(len(timestamp), self._files.fps)
        seconds = timestamp.reshape(-1).astype(np.float64)
        true = nominal[0] + np.round(np.nan_to_num(seconds) * 1e9).astype(np.int64)
        if np.isfinite(seconds).all() and np.abs(true - nominal).max() > STAMPED * 1e9:
            return true, "since the episode's start"
        return nominal, NOMINAL

    def _columns(self, rows: Any) -> tuple[list[SourceColumn], list[str]]:
        """Return the columns of numbers, and what is to be said of them."""
        columns: list[SourceColumn] = []
        notes: list[str] = []
        for key, (stream, field, unit) in self._places.items():
            values = to_numbers(rows[key], key)
            if values.dtype.kind not in "fiub" or (values.ndim > 1 and not values.size):
                notes.append(f"{key} holds no numbers and is not kept.")
                continue
            if values.ndim > 2:
                notes.append(f"{key}: rows of shape {values.shape[1:]} are kept as lists.")
            if is_rounded(values):
                notes.append(f"{key}: whole numbers beyond 2^53 are rounded to float64.")
            labels = labels_of(self._files.features[key].get("names"), values.shape[1:], key)
            columns.append(SourceColumn(stream=stream, field=field, values=flat(values), labels=labels, unit=unit))
        return columns, notes

    def _outcome(self, rows: Any) -> Outcome:
        """Return how the attempt went, where a column says it."""
        if "next.success" not in rows.column_names:
            return self._config.outcome
        return "success" if bool(np.nan_to_num(to_numbers(rows["next.success"], "").reshape(-1)[-1])) else "failure"

    def _pictures(self, entry: Entry, stamps: NDArray[np.int64]) -> tuple[list[SourceCamera], list[str]]:
        """Return the cameras, and what is to be said of them."""
        cameras: list[SourceCamera] = []
        notes: list[str] = []
        for key, name in self._cameras.items():
            is_video = self._files.features[key]["dtype"] == "video"
            camera = (self._video if is_video else self._stills)(entry, key, name, stamps)
            small = size_note(name, camera.height, camera.width)
            notes += [small] if small else camera.notes(self._config)
            cameras += [] if small else [camera]
        return cameras, notes

    def _video(self, entry: Entry, key: str, name: str, stamps: NDArray[np.int64]) -> SourceCamera:
        file = self._files.video(entry, key)
        codec, height, width = file.probe()
        return SourceCamera(
            name=name,
            height=height,
            width=width,
            rate_hz=self._files.fps,
            header_ns=stamps,
            encoding=codec,
            kind="video",
            images=file.frames,
            run=file.packet_run(),
        )

    def _stills(self, entry: Entry, key: str, name: str, stamps: NDArray[np.int64]) -> SourceCamera:
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

    def _images(self, entry: Entry, key: str) -> Iterator[bytes]:
        """Yield the encoded pictures of a column."""
        for batch in self._files.batches(entry, [key]):
            for cell in batch.column(0).to_pylist():
                if isinstance(cell, dict) and cell.get("bytes"):
                    yield cell["bytes"]
                elif isinstance(cell, dict) and cell.get("path"):
                    path = inside(self._files.root, str(cell["path"]))
                    if not path.is_file():
                        raise FileError(path, "is missing", "fetch the whole dataset")
                    yield path.read_bytes()
                else:
                    raise FileError(self._files.data_path(entry), f"a row of {key} holds no picture")


def _is_depth(feature: Mapping[str, Any]) -> bool:
    info = feature.get("info")
    return isinstance(info, dict) and bool(info.get("is_depth_map") or info.get("video.is_depth_map"))


def labels_of(names: Any, shape: Sequence[int], key: str) -> tuple[str, ...]:
    """Return labels of a column's numbers: those that the dataset names, where there is one for each, else counted."""
    found = list(_words(names))
    count = int(np.prod(shape, dtype=np.int64))
    if len(found) == count and len(shape) <= 1:
        return distinct(found)
    return counted(shape, key.rpartition(".")[2])


def _words(names: Any) -> Iterator[str]:
    """Yield the words of names as LeRobot's datasets have them: a list, or lists under headings such as "motors"."""
    if isinstance(names, str):
        yield names
    elif isinstance(names, dict):
        for value in names.values():
            yield from _words(value)
    elif isinstance(names, list | tuple):
        for value in names:
            yield from _words(value)
