"""Import ROS 2 bags (MCAP and sqlite3) without ROS, one bag per episode.

Topics with waldo's names become the streams of waldo, other topics become streams named after them, unless
`--topics stream=topic` assigns them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from waldo.datasets.formats.rosbag2.contents import BagContents, TopicData, read_contents, read_metadata
from waldo.datasets.formats.rosbag2.find import SUFFIXES, bags_of
from waldo.datasets.formats.rows_in import SourceTable
from waldo.datasets.formats.source import EpisodeDraft, ImportConfig, ImportStats, SourceError, digest_of
from waldo.datasets.recording.writer import OUTCOMES, EpisodeWriter
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import FileError, InvalidValueError, UnknownNameError, WaldoError, count

ROS_UNITS: Mapping[str, str] = {
    **schema.JOINT_UNITS[schema.STATE],
    "temperature": "°C",
    "variance": "°C²",
}
"""Field -> unit by the conventions of ROS (REP 103, sensor_msgs/Temperature)."""

WHOLE_TOLERANCE = 0.02
"""Relative difference up to which an estimated rate is rounded to a whole number."""

PIECES, PIECE_BYTES = 32, 4096
"""Number and size of the pieces of a file that its digest is computed from."""


class Rosbag2Source:
    """A bag, or a folder of bags."""

    format = "rosbag2"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Find the bags."""
        self._config, self._topics = config, parse_topics(config.topics)
        self._bags = {bag.name: bag for bag in bags_of(path)}
        if not self._bags:
            raise FileError(path, "no bag found", "choose a folder with metadata.yaml, .mcap or .db3 files")
        self.name, self.keys = path.absolute().name, list(self._bags)
        self.robot = _robot(next(iter(self._bags.values())))
        self.notes = ["Bags do not store sequence numbers and publication times: losses cannot be counted."]

    def digest(self, key: str) -> str:
        """Return a digest of the sizes of a bag's files and of pieces of their contents."""
        bag = self._bag(key)
        files = sorted(p for p in bag.iterdir() if p.suffix in SUFFIXES) if bag.is_dir() else [bag]
        return digest_of("rosbag2", key, *(part for file in files for part in _pieces(file)))

    def read(self, key: str) -> EpisodeDraft:
        """Return a bag."""
        bag = self._bag(key)
        found = read_contents(bag)
        names = self._names(found)
        known = found.metadata.streams
        tables, notes = _tables(found, names)
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
        )

    def _bag(self, key: str) -> Path:
        if key not in self._bags:
            raise UnknownNameError("bag", key, self._bags)
        return self._bags[key]

    def _names(self, found: BagContents) -> dict[str, str]:
        """Return topic -> stream: assigned by `--topics`, by waldo's export, by waldo's topic names, or derived."""
        for stream, topic in self._topics.items():
            if topic not in found.topics:
                raise UnknownNameError(f"topic of stream {stream}", topic, found.topics)
        names = {topic: stream for stream, topic in self._topics.items()}
        for topic in found.topics:
            known = found.metadata.stream_of(topic)
            if known and topic not in names and known not in names.values():
                names[topic] = known
        exported = {topic for topic in found.topics if found.metadata.stream_of(topic)}
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
        self._lost = {names[t.name]: t.unreadable for t in found.topics.values() if t.unreadable}

    def __call__(self, writer: EpisodeWriter, stats: ImportStats) -> None:
        for event in self._events:
            writer.event(**event)
        for table in self._tables:
            table.write(writer, stats)
        for camera in self._cameras:
            camera.write(writer, stats, self._config)
        for name, number in self._lost.items():
            if name in writer.streams:
                writer.report_lost(name, number)


def parse_topics(pairs: Sequence[str]) -> dict[str, str]:
    """Return stream -> topic of options such as `cameras/front=/camera/color/image_raw`."""
    found: dict[str, str] = {}
    for pair in pairs:
        stream, equals, topic = pair.partition("=")
        if not (stream and equals and topic.startswith("/")) or stream in found or stream_name(stream) != stream:
            expected = "STREAM=/TOPIC with each stream once, such as joints/state=/arm/joint_states"
            raise InvalidValueError("topics", pair, expected)
        found[stream] = topic
    return found


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


def _pieces(file: Path) -> list[Any]:
    """Return the size of a file and evenly spaced pieces of its contents."""
    size = file.stat().st_size
    found: list[Any] = [size]
    with file.open("rb") as opened:
        for offset in np.linspace(0, max(0, size - PIECE_BYTES), PIECES).astype(int).tolist():
            opened.seek(offset)
            found.append(opened.read(PIECE_BYTES))
    return found


def _unsupported(found: BagContents) -> list[str]:
    """Return a note for each message type that is not imported."""
    return [f"{kind}: {count(number, 'message')} not imported." for kind, number in sorted(found.unsupported.items())]


def _tables(found: BagContents, names: Mapping[str, str]) -> tuple[list[SourceTable], list[str]]:
    """Return the numeric streams of a bag and the notes about them."""
    known = found.metadata.streams
    tables: list[SourceTable] = []
    notes: list[str] = []
    for topic in found.topics.values():
        name = names[topic.name]
        if topic.kind in types.IMAGE_TYPES or name in known:
            continue
        if topic.labels():
            tables.append(_table(topic, name))
        elif topic.rows:
            notes.append(f"{topic.name} is not imported: its messages contain no numbers.")
    exported = [stream for stream in known.values() if isinstance(stream, ScalarStream)]
    return [*tables, *(_exported_table(found, stream) for stream in exported)], notes


def _cameras(bag: Path, found: BagContents, names: Mapping[str, str]) -> tuple[list[SourceCamera], list[str]]:
    """Return the image streams of a bag and the notes about them."""
    cameras: list[SourceCamera] = []
    notes: list[str] = []
    for topic in found.topics.values():
        if topic.kind not in types.IMAGE_TYPES:
            continue
        name = names[topic.name]
        camera, note = open_camera(bag, topic, name, found.metadata.streams.get(name), rate_of(topic.header_ns))
        cameras += [camera] if camera is not None else []
        notes += [note] if note else []
    return cameras, notes


def _table(topic: TopicData, name: str) -> SourceTable:
    """Return the messages of a topic as a table."""
    fields: list[Field] = []
    values: dict[str, NDArray[Any]] = {}
    is_environment = name == schema.ENVIRONMENT
    for key, labels in topic.labels().items():
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
