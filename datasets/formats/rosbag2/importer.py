"""Import ROS 2 bags (MCAP and sqlite3) without ROS, one bag per episode.

Topics with waldo's names become the streams of waldo, other topics become streams named after them, unless `--map`
assigns them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets import schema
from waldo.datasets.dataset import RESERVED
from waldo.datasets.formats.cameras_in import SourceCamera
from waldo.datasets.formats.names import stream_name
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.cameras import open_camera
from waldo.datasets.formats.rosbag2.contents import BagContents, TopicData, read_contents, read_digest, read_metadata
from waldo.datasets.formats.rosbag2.find import bags_of
from waldo.datasets.formats.rosbag2.joined import joined_topics
from waldo.datasets.formats.rows_in import SourceTable
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, MappedKey, SourceError
from waldo.datasets.formats.stream_map import StreamMap
from waldo.datasets.recording.writer import OUTCOMES, EpisodeWriter
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import FileError, UnknownNameError, WaldoError, count

ROS_UNITS: Mapping[str, str] = {
    **schema.JOINT_UNITS[schema.STATE],
    "temperature": "°C",
    "variance": "°C²",
}
"""Field -> unit by the conventions of ROS (REP 103, sensor_msgs/Temperature)."""

WHOLE_TOLERANCE = 0.02
"""Relative difference up to which an estimated rate is rounded to a whole number."""


class Rosbag2Source:
    """A bag, or a folder of bags."""

    format = "rosbag2"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Find the bags."""
        self._config = config
        self._digests: dict[str, str] = {}
        self._bags = {bag.name: bag for bag in bags_of(path)}
        if not self._bags:
            raise FileError(path, "no bag found", "choose a folder with metadata.yaml, .mcap or .db3 files")
        self.name, self.keys = path.absolute().name, list(self._bags)
        self.robot = _robot(next(iter(self._bags.values())))
        self.notes = ["Bags do not store sequence numbers and publication times: losses cannot be counted."]

    def digest(self, key: str) -> str:
        """Return a digest of a bag's messages."""
        if key not in self._digests:
            self._digests[key] = read_digest(self._bag(key))
        return self._digests[key]

    def read(self, key: str) -> EpisodeDraft:
        """Return a bag."""
        bag = self._bag(key)
        found = read_contents(bag)
        self._digests[key] = found.digest
        mapping = StreamMap(self._config.map, list(found.topics))
        names = _names(found, mapping)
        known = found.metadata.streams
        tables, notes = _tables(found, names, mapping)
        cameras, camera_notes = _cameras(bag, found, names)
        if not tables and not cameras:
            raise SourceError(key, "the bag has no message that can be imported")
        for camera in cameras:
            notes += camera.notes(self._config)
        streams = [*(table.stream for table in tables), *(camera.stream(self._config) for camera in cameras)]
        order = {name: position for position, name in enumerate(known)}
        outcome = found.metadata.outcome
        return EpisodeDraft(
            streams=tuple(sorted(streams, key=lambda stream: order.get(stream.name, len(order)))),
            attributes=_attributes(found),
            outcome=outcome if outcome in OUTCOMES else self._config.outcome,
            write=_Writing(found, names, tables, cameras, self._config),
            notes=(*_unsupported(found), *found.notes, *notes, *camera_notes),
            estimated_rates=not known,
            tables=tuple(tables),
            cameras=tuple(cameras),
            mapped=_mapped(found, names, {stream.name for stream in streams}),
        )

    def _bag(self, key: str) -> Path:
        if key not in self._bags:
            raise UnknownNameError("bag", key, self._bags)
        return self._bags[key]


def _names(found: BagContents, mapping: StreamMap) -> dict[str, str]:
    """Return topic -> stream: assigned by `--map`, by waldo's export, by waldo's topic names, or derived.

    The stream of a topic that is left out is empty.
    """
    names: dict[str, str] = {}
    restored = _restored(found, mapping)
    for topic in found.topics.values():
        target = mapping.get(topic.name, is_images=topic.kind in types.IMAGE_TYPES)
        if target is not None:
            names[topic.name] = target.stream
    for topic in found.topics:
        known = found.metadata.stream_of(topic)
        if known in restored and known not in names.values():
            names[topic] = known
    exported = {topic for topic in found.topics if found.metadata.stream_of(topic) in restored}
    ends = [topic.rpartition("/")[2] for topic in found.topics]
    for topic in found.topics.values():
        if topic.name in names or topic.name in exported:
            names.setdefault(topic.name, found.metadata.stream_of(topic.name))
            continue
        end = topic.name.rpartition("/")[2]
        is_own = ends.count(end) == 1 and types.is_robot_topic(end, topic.kind)
        stream = schema.STREAM_OF_TOPIC[end] if is_own else ""
        wanted = stream or types.stream_of_topic(topic.name, topic.kind, topic.first)
        names[topic.name] = stream_name(wanted, names.values())
    return names


def _restored(found: BagContents, mapping: StreamMap) -> set[str]:
    """Return the streams that are restored from the metadata of waldo's export: those that `--map` does not change."""
    return {
        name
        for name, fields in found.metadata.places.items()
        if name not in mapping.streams and not any(topic in mapping for topic, _ in fields.values())
    }


def _mapped(found: BagContents, names: Mapping[str, str], streams: Collection[str]) -> tuple[MappedKey, ...]:
    """Return every topic with its destination."""
    rows: list[MappedKey] = []
    for topic in found.topics.values():
        stream = names[topic.name] if names[topic.name] in streams else ""
        why = "" if stream else "see the notes" if names[topic.name] else "left out by --map"
        contents = f"{topic.kind.rpartition('/')[2]}, {count(len(topic.header_ns), 'message')}"
        rows.append(MappedKey(key=topic.name, contents=contents, stream=stream, why=why))
    for name, kind in found.others.items():
        is_task = kind == types.STRING_TYPE and name.rpartition("/")[2] == types.TASK_TOPIC
        why = "read as the instruction" if is_task else "type is not supported"
        rows.append(MappedKey(key=name, contents=kind.rpartition("/")[2], why=why))
    return tuple(rows)


class _Writing:
    """Write a bag into an episode."""

    def __init__(
        self,
        found: BagContents,
        names: Mapping[str, str],
        tables: Sequence[SourceTable],
        cameras: Sequence[SourceCamera],
        config: ImportConfig,
    ) -> None:
        self._events = found.metadata.events
        self._tables, self._cameras, self._config = tables, cameras, config
        self._lost = Counter[str]()
        for topic in found.topics.values():
            self._lost[names[topic.name]] += topic.unreadable

    def __call__(self, writer: EpisodeWriter, stats: ImportStats) -> None:
        for event in self._events:
            writer.event(**event)
        for table in self._tables:
            table.write(writer, stats)
        for camera in self._cameras:
            camera.write(writer, stats, self._config)
        for name, number in self._lost.items():
            if number and name in writer.streams:
                writer.report_lost(name, number)


def rate_of(stamps: Sequence[int]) -> float:
    """Return the nominal rate of timestamps [ns]: the median one, rounded to a nearby whole number [Hz]."""
    steps = np.diff(np.asarray(stamps, np.int64))
    steps = steps[steps > 0]
    if not len(steps):
        return 1.0
    rate = 1e9 / float(np.median(steps))
    whole = round(rate)
    return float(whole) if whole and abs(rate - whole) <= WHOLE_TOLERANCE * whole else float(f"{rate:.3g}")


def _robot(bag: Path) -> str:
    """Return the robot of a bag that waldo exported; empty for other bags and for unreadable ones."""
    try:
        return read_metadata(bag).robot
    except WaldoError:
        return ""


def _unsupported(found: BagContents) -> list[str]:
    """Return a note for each message type that is not imported."""
    return [f"{kind}: {count(number, 'message')} not imported." for kind, number in sorted(found.unsupported.items())]


def _tables(found: BagContents, names: Mapping[str, str], mapping: StreamMap) -> tuple[list[SourceTable], list[str]]:
    """Return the numeric streams of a bag and the notes about them."""
    restored = _restored(found, mapping)
    known = {name: stream for name, stream in found.metadata.streams.items() if name in restored}
    numeric = [
        topic
        for topic in found.topics.values()
        if topic.kind not in types.IMAGE_TYPES and names[topic.name] and names[topic.name] not in known
    ]
    tables: list[SourceTable] = []
    streams, notes = joined_topics(numeric, names, mapping)
    for name, topic in streams:
        fields = topic.labels()
        unknown = [key for key, labels in fields.items() if np.isnan(topic.column(key, labels)).all()]
        notes += [f"{topic.name}: {key} is never known and is not imported." for key in unknown]
        if len(unknown) < len(fields):
            tables.append(_table(topic, name, [key for key in fields if key not in unknown]))
        elif topic.rows and not fields:
            notes.append(f"{topic.name} is not imported: its messages contain no numbers.")
    exported = [stream for stream in known.values() if isinstance(stream, ScalarStream)]
    return [*tables, *(_exported_table(found, stream) for stream in exported)], notes


def _cameras(bag: Path, found: BagContents, names: Mapping[str, str]) -> tuple[list[SourceCamera], list[str]]:
    """Return the image streams of a bag and the notes about them."""
    cameras: list[SourceCamera] = []
    notes: list[str] = []
    for topic in found.topics.values():
        if topic.kind not in types.IMAGE_TYPES or not names[topic.name]:
            continue
        name = names[topic.name]
        camera, note = open_camera(bag, topic, name, found.metadata.streams.get(name), rate_of(topic.header_ns))
        cameras += [camera] if camera is not None else []
        notes += [note] if note else []
    return cameras, notes


def _table(topic: TopicData, name: str, keys: Sequence[str]) -> SourceTable:
    """Return fields of a topic's messages as a table."""
    fields: list[Field] = []
    values: dict[str, NDArray[Any]] = {}
    is_environment = name == schema.ENVIRONMENT
    for key in keys:
        labels = topic.labels()[key]
        column = topic.column(key, labels)
        field = "value" if is_environment and key == "position" else key
        unit = "" if is_environment else schema.motor_units().get(key) or ROS_UNITS.get(key, "")
        fields.append(Field(field, unit, tuple(labels), _dtype(topic, column)))
        values[field] = column
    stream = ScalarStream(name=name, rate_hz=rate_of(topic.header_ns), fields=tuple(fields))
    return _stamped(stream, topic, values)


def _dtype(topic: TopicData, column: NDArray[np.float64]) -> Literal["float32", "float64"]:
    """Return float32 if it represents the column exactly, or for diagnostics, whose text is rounded already."""
    if topic.kind == schema.DIAGNOSTIC_TYPE:
        return "float32"
    with np.errstate(over="ignore"):
        exact = np.array_equal(column.astype(np.float32).astype(np.float64), column, equal_nan=True)
    return "float32" if exact else "float64"


def _exported_table(found: BagContents, stream: ScalarStream) -> SourceTable:
    """Return the rows of a stream in the metadata of waldo's export."""
    values: dict[str, NDArray[Any]] = {}
    first: TopicData | None = None
    for field in stream.fields:
        at, key = found.metadata.places[stream.name].get(field.name, ("", ""))
        topic = found.topics.get(at)
        if topic is None:
            raise SourceError(stream.name, f"the topic {at or 'of ' + field.name!r} is missing")
        if first is not None and len(topic.rows) != len(first.rows):
            raise SourceError(stream.name, f"{at} has {count(len(topic.rows), 'message')}, expected {len(first.rows)}")
        first = first or topic
        values[field.name] = topic.column(key, field.labels)
    assert first is not None
    return _stamped(stream, first, values)


def _stamped(stream: ScalarStream, topic: TopicData, values: Mapping[str, NDArray[Any]]) -> SourceTable:
    header, receipt = np.array(topic.header_ns, np.int64), np.array(topic.receipt_ns, np.int64)
    return SourceTable(stream=stream, header_ns=header, receipt_ns=receipt, values=values)


def _attributes(found: BagContents) -> dict[str, Any]:
    """Return the attributes of an episode: those of the task topic, overridden by those of waldo's export."""
    named = {str(key): value for key, value in found.task.items() if key not in RESERVED}
    return {"task": "", **named, **found.metadata.attributes}
