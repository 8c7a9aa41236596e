"""ROS 2 bags (MCAP and sqlite3) -> episode store, without ROS: a bag an episode.

Topics of waldo's names become its streams, others streams of the topic's name; `--topics stream=topic` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.dataset import RESERVED
from waldo.datasets.formats.cameras_in import SourceCamera
from waldo.datasets.formats.hdf5.files import natural
from waldo.datasets.formats.names import stream_name
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.cameras import camera_of
from waldo.datasets.formats.rosbag2.metadata import BagMetadata
from waldo.datasets.formats.rosbag2.scan import PICTURES, BagContents, TopicData, scan, told
from waldo.datasets.formats.rows_in import SourceTable
from waldo.datasets.formats.source import EpisodeDraft, Format, ImportConfig, ImportStats, SourceError, digest_of
from waldo.datasets.recording.writer import OUTCOMES, EpisodeWriter
from waldo.datasets.streams import Field, ScalarStream
from waldo.errors import FileError, InvalidValueError, UnknownNameError, WaldoError

FILES = (".mcap", ".db3")
"""What the files of bags end with."""

UNITS = {
    "position": "rad",
    "velocity": "rad/s",
    "effort": "N·m",
    "temperature": "°C",
    "variance": "°C²",
    "winding": "°C",
    "winding_std": "K",
    "housing": "°C",
    "current": "A",
    "voltage": "V",
    "torque": "N·m",
    "duty": "1",
    "time_to_limit": "s",
    "derate": "1",
    "winding_sensor": "°C",
    "housing_sensor": "°C",
    "driver_sensor": "°C",
}
"""Field -> unit, by ROS's conventions (REP 103) and waldo's keys."""

WHOLE = 0.02
"""A rate this near to a whole number is taken for it."""

PIECES, PIECE_BYTES = 32, 4096
"""Parts of a file that its identity is made of, and how long each is [bytes]."""


def bags_of(path: Path) -> list[Path]:
    """Return the bags that a path names: a file or a folder that is one, or all those in a folder, by their numbers."""
    if path.is_file():
        return [path] if path.suffix in FILES else []
    if (path / "metadata.yaml").is_file():
        return [path]
    inside = sorted(path.iterdir(), key=lambda p: natural(p.name))
    return [p for p in inside if (p / "metadata.yaml").is_file() or (p.is_file() and p.suffix in FILES)]


class Rosbag2Source:
    """A bag, or a folder of them."""

    format: Format = "rosbag2"

    def __init__(self, path: Path, config: ImportConfig) -> None:
        """Find the bags."""
        self._config, self._topics = config, parse_topics(config.topics)
        self._bags = {bag.name: bag for bag in bags_of(path)}
        if not self._bags:
            raise FileError(path, "holds no bag", "name a folder with metadata.yaml, or .mcap or .db3 files")
        self.name, self.keys = path.absolute().name, list(self._bags)
        self.robot = _robot(next(iter(self._bags.values())))
        self.notes = ["A bag keeps neither sequence numbers nor publication stamps: losses cannot be counted."]

    def digest(self, key: str) -> str:
        """Return the identity of a bag: the sizes of its files and pieces from all over them."""
        bag = self._bag(key)
        files = sorted(p for p in bag.iterdir() if p.suffix in FILES) if bag.is_dir() else [bag]
        return digest_of("rosbag2", key, *(part for file in files for part in _pieces(file)))

    def read(self, key: str) -> EpisodeDraft:
        """Return a bag."""
        bag = self._bag(key)
        found = scan(bag)
        names = self._names(found)
        notes = [f"{count} messages of {kind} are not kept." for kind, count in sorted(found.unknown.items())]
        tables: list[SourceTable] = []
        cameras: list[SourceCamera] = []
        for topic in found.topics.values():
            name = names[topic.name]
            if topic.kind in PICTURES:
                described = found.told.streams.get(name)
                camera, note = camera_of(bag, topic, name, described, rate_of(topic.header_ns))
                cameras += [camera] if camera is not None else []
                notes += [note] if note else []
            elif name not in found.told.streams and topic.labels():
                tables.append(_table(topic, name))
            elif name not in found.told.streams and topic.rows:
                notes.append(f"{topic.name}: its messages hold no numbers that can be kept.")
        tables += [_told_table(found, name) for name in found.told.streams if _is_numbers(found.told, name)]
        if not tables and not cameras:
            raise SourceError(key, "holds no message that can be kept")
        for camera in cameras:
            notes += camera.notes(self._config)
        lost = {names[topic.name]: topic.unreadable for topic in found.topics.values() if topic.unreadable}

        def write(writer: EpisodeWriter, stats: ImportStats) -> None:
            for event in found.told.events:
                writer.event(**event)
            for table in tables:
                table.write(writer, stats)
            for camera in cameras:
                camera.write(writer, stats, self._config)
            for name, count in lost.items():
                if name in writer.streams:
                    writer.report_lost(name, count)

        streams = [*(table.stream for table in tables), *(camera.stream(self._config) for camera in cameras)]
        order = {name: place for place, name in enumerate(found.told.streams)}
        return EpisodeDraft(
            streams=tuple(sorted(streams, key=lambda stream: order.get(stream.name, len(order)))),
            attributes=_attributes(found),
            outcome=next((o for o in OUTCOMES if o == found.told.outcome), self._config.outcome),  # type: ignore[arg-type]
            write=write,
            notes=tuple(notes),
            estimated_rates=not found.told.streams,
        )

    def _bag(self, key: str) -> Path:
        if key not in self._bags:
            raise UnknownNameError("bag", key, self._bags)
        return self._bags[key]

    def _names(self, found: BagContents) -> dict[str, str]:
        """Return topic -> stream: as was asked for, as waldo's export says, by waldo's names, else by the topic's."""
        for stream, topic in self._topics.items():
            if topic not in found.topics:
                raise UnknownNameError(f"topic of stream {stream}", topic, found.topics)
        names = {topic: stream for stream, topic in self._topics.items()}
        for topic in found.topics:
            known = found.told.stream_of(topic)
            if known and topic not in names and known not in names.values():
                names[topic] = known
        told_topics = {topic for topic in found.topics if found.told.stream_of(topic)}
        ends = [topic.rpartition("/")[2] for topic in found.topics]
        for topic in found.topics.values():
            if topic.name in names or topic.name in told_topics:
                names.setdefault(topic.name, found.told.stream_of(topic.name))
                continue
            end = topic.name.rpartition("/")[2]
            alone = ends.count(end) == 1 and types.fits(end, topic.kind)
            wanted = types.STREAM_OF[end] if alone else types.stream_like(topic.name, topic.kind, topic.first)
            names[topic.name] = stream_name(wanted, names.values())
        return names


def parse_topics(pairs: Sequence[str]) -> dict[str, str]:
    """Return stream -> topic of options such as `cameras/front=/camera/color/image_raw`."""
    found: dict[str, str] = {}
    for pair in pairs:
        stream, equals, topic = pair.partition("=")
        if not (stream and equals and topic.startswith("/")) or stream in found or stream_name(stream) != stream:
            raise InvalidValueError(
                "topics", pair, "STREAM=/TOPIC, each stream once, such as joints/state=/arm/joint_states"
            )
        found[stream] = topic
    return found


def rate_of(stamps: Sequence[int]) -> float:
    """Return the nominal rate of stamps [ns]: from the median of their steps, whole where it is nearly so [Hz]."""
    steps = np.diff(np.asarray(stamps, np.int64))
    steps = steps[steps > 0]
    if not len(steps):
        return 1.0
    rate = 1e9 / float(np.median(steps))
    whole = round(rate)
    return float(whole) if whole and abs(rate - whole) <= WHOLE * whole else float(f"{rate:.3g}")


def _robot(bag: Path) -> str:
    """Return the robot of a bag that waldo wrote; empty for others, and for one that cannot be read."""
    try:
        return told(bag).robot
    except WaldoError:
        return ""


def _pieces(file: Path) -> list[Any]:
    """Return a file's size and pieces from all over it."""
    size = file.stat().st_size
    found: list[Any] = [size]
    with file.open("rb") as opened:
        for place in np.linspace(0, max(0, size - PIECE_BYTES), PIECES).astype(int).tolist():
            opened.seek(place)
            found.append(opened.read(PIECE_BYTES))
    return found


def _table(topic: TopicData, name: str) -> SourceTable:
    """Return the messages of a topic as a table."""
    fields: list[Field] = []
    values: dict[str, NDArray[Any]] = {}
    for key, labels in topic.labels().items():
        column = topic.column(key, labels)
        field = "value" if name == "environment" and key == "position" else key
        unit = "" if name == "environment" else UNITS.get(key, "")
        fields.append(Field(field, unit, tuple(labels), _dtype(topic, column)))
        values[field] = column
    stream = ScalarStream(name=name, rate_hz=rate_of(topic.header_ns), fields=tuple(fields))
    return _stamped(stream, topic, values)


def _dtype(topic: TopicData, column: NDArray[np.float64]) -> Literal["float32", "float64"]:
    """Return the type that holds a column: float32 where that is exact; of diagnostics, which are rounded already."""
    if topic.kind == types.MOTORS:
        return "float32"
    with np.errstate(over="ignore"):
        exact = np.array_equal(column.astype(np.float32).astype(np.float64), column, equal_nan=True)
    return "float32" if exact else "float64"


def _is_numbers(told: BagMetadata, name: str) -> bool:
    return isinstance(told.streams[name], ScalarStream)


def _told_table(found: BagContents, name: str) -> SourceTable:
    """Return the rows of a stream that waldo's export described."""
    stream = found.told.streams[name]
    assert isinstance(stream, ScalarStream)
    values: dict[str, NDArray[Any]] = {}
    first: TopicData | None = None
    for field in stream.fields:
        at, key = found.told.places[name].get(field.name, ("", ""))
        topic = found.topics.get(at)
        if topic is None or (first is not None and len(topic.rows) != len(first.rows)):
            count = "no" if topic is None else len(topic.rows)
            raise SourceError(name, f"{count} messages on the topic {at or 'of ' + field.name!r}, expected one a row")
        first = first or topic
        values[field.name] = topic.column(key, field.labels)
    assert first is not None
    return _stamped(stream, first, values)


def _stamped(stream: ScalarStream, topic: TopicData, values: Mapping[str, NDArray[Any]]) -> SourceTable:
    header, receipt = np.array(topic.header_ns, np.int64), np.array(topic.receipt_ns, np.int64)
    return SourceTable(stream=stream, header_ns=header, receipt_ns=receipt, values=values)


def _attributes(found: BagContents) -> dict[str, Any]:
    """Return an episode's attributes: what the task's topic says, and waldo's export."""
    named = {str(key): value for key, value in found.task.items() if key not in RESERVED}
    return {"task": "", **named, **found.told.attributes}
