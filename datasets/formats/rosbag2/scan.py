"""What one bag holds: all its numbers, and of its pictures the stamps. The pictures are read when they are written."""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.messages import MOTOR_KEYS, number_of, to_ns
from waldo.datasets.formats.rosbag2.metadata import BagMetadata, from_custom
from waldo.errors import FileError

PICTURES = (types.IMAGE, types.COMPRESSED, types.VIDEO)
"""Types of messages that hold pictures."""

READ = (types.JOINTS, types.MOTORS, types.NUMBERS, types.TEMPERATURE, types.TRAJECTORY, *PICTURES)
"""Types of messages that become streams."""

FIELD_OF = {key: name for name, key in MOTOR_KEYS.items()}
"""Key of a diagnostic status -> field of the motors stream."""

type Row = Mapping[str, Mapping[str, float]]
"""Field -> label -> number."""


@dataclass(slots=True)
class TopicData:
    """The messages of one topic."""

    name: str
    """Its name."""
    kind: str
    """Type of its messages."""
    header_ns: list[int] = field(default_factory=list)
    """The publisher's stamps; the receipt where there is none."""
    receipt_ns: list[int] = field(default_factory=list)
    """When each was recorded."""
    rows: list[Row] = field(default_factory=list)
    """Of numbers: what each says."""
    first: Any = None
    """Of pictures: the first message."""
    unreadable: int = 0
    """Messages that could not be read."""

    def labels(self) -> dict[str, list[str]]:
        """Return field -> labels, in the order in which they came."""
        found: dict[str, dict[str, None]] = {}
        for row in self.rows:
            for name, values in row.items():
                found.setdefault(name, {}).update(dict.fromkeys(values))
        return {name: list(labels) for name, labels in found.items() if labels}

    def column(self, name: str, labels: Sequence[str]) -> NDArray[np.float64]:
        """Return a field of all rows, (rows, labels); NaN where a message says nothing."""
        nothing: Mapping[str, float] = {}
        rows = [row.get(name, nothing) for row in self.rows]
        values = [[row.get(label, np.nan) for label in labels] for row in rows]
        return np.array(values, np.float64).reshape(len(rows), len(labels))


@dataclass(slots=True)
class BagContents:
    """One bag."""

    topics: dict[str, TopicData] = field(default_factory=dict)
    """Topic -> its messages, for the types that are read."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Type that is not read -> messages."""
    task: Mapping[str, Any] = field(default_factory=dict)
    """What the task's topic says."""
    told: BagMetadata = field(default_factory=BagMetadata)
    """What waldo's export wrote beside the messages."""


@contextmanager
def open_bag(path: Path) -> Generator[Any]:
    """Open a bag for the block; what cannot be read is a FileError."""
    import apsw
    from rosbags.rosbag2 import Reader, ReaderError

    # What its reader raises on damaged bytes is any of these.
    python = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError)
    try:
        with Reader(path) as reader:
            yield reader
    except (ReaderError, apsw.Error, struct.error, MemoryError, *python) as error:
        found = f"is no whole bag ({str(error) or type(error).__name__})"
        raise FileError(path, found, "record it again, or mend an MCAP with `mcap recover`") from error


def told(path: Path) -> BagMetadata:
    """Return what waldo's export wrote beside the messages."""
    with open_bag(path) as reader:
        return from_custom(reader.storage.metadata.custom)


def scan(path: Path) -> BagContents:
    """Read a bag once."""
    found = BagContents()
    with open_bag(path) as reader:
        found.told = from_custom(reader.storage.metadata.custom)
        for connection in sorted(reader.connections, key=lambda c: c.topic):
            if connection.msgtype in READ:
                found.topics.setdefault(connection.topic, TopicData(connection.topic, connection.msgtype))
        for connection, receipt_ns, data in reader.messages(connections=reader.connections):
            topic = found.topics.get(connection.topic)
            if connection.msgtype == types.WORDS and connection.topic.rpartition("/")[2] == "task":
                found.task = found.task or _task(data)
            elif topic is not None and topic.kind == connection.msgtype:
                _take(topic, receipt_ns, data)
            else:
                found.unknown[connection.msgtype] += 1
    return found


def messages(path: Path, topic: TopicData) -> Iterator[Any]:
    """Yield the messages of a topic that can be read."""
    with open_bag(path) as reader:
        connections = [c for c in reader.connections if c.topic == topic.name and c.msgtype == topic.kind]
        for _, _, data in reader.messages(connections=connections):
            message = parsed(topic.kind, data)
            if message is not None:
                yield message


def parsed(kind: str, data: bytes) -> Any:
    """Return a message; None where its bytes are none of that type."""
    from rosbags.serde import SerdeError

    with suppress(SerdeError, ValueError, IndexError, struct.error):
        return types.typestore().deserialize_cdr(data, kind)
    return None


def _task(data: bytes) -> Mapping[str, Any]:
    """Return what a message of the task says: JSON, as waldo's robot node sends it, or the instruction alone."""
    message = parsed(types.WORDS, data)
    if message is None:
        return {}
    try:
        found = json.loads(message.data)
    except ValueError:
        found = message.data
    return found if isinstance(found, dict) else {"task": str(found)}


def _take(topic: TopicData, receipt_ns: int, data: bytes) -> None:
    """Note one message."""
    message = parsed(topic.kind, data)
    if message is None:
        topic.unreadable += 1
        return
    header_ns = _header_ns(message) or receipt_ns
    if topic.kind in PICTURES:
        topic.first = message if topic.first is None else topic.first
        topic.header_ns.append(header_ns)
        topic.receipt_ns.append(receipt_ns)
        return
    for after_ns, row in _rows(topic.kind, message):
        topic.header_ns.append(header_ns + after_ns)
        topic.receipt_ns.append(receipt_ns)
        topic.rows.append(row)


def _header_ns(message: Any) -> int:
    """Return a message's own stamp [ns]; 0 where it has none."""
    if hasattr(message, "header"):
        return to_ns(message.header.stamp)
    return to_ns(message.timestamp) if hasattr(message, "timestamp") else 0


def _rows(kind: str, message: Any) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a message, each with how long after its stamp it is [ns]."""
    if kind == types.JOINTS:
        yield 0, _fields(message.name, message)
    elif kind == types.MOTORS:
        yield 0, _motors(message)
    elif kind == types.NUMBERS:
        yield 0, {"value": _by_name([], message.data)}
    elif kind == types.TEMPERATURE:
        yield 0, {name: {name: float(getattr(message, name))} for name in ("temperature", "variance")}
    else:
        for point in message.points:
            yield to_ns(point.time_from_start), _fields(message.joint_names, point)


def _fields(names: Sequence[str], message: Any) -> Row:
    """Return the arrays of a JointState or of a point of a trajectory."""
    found: dict[str, dict[str, float]] = {}
    for name, words in (("position", "positions"), ("velocity", "velocities"), ("effort", "effort")):
        values = getattr(message, name) if hasattr(message, name) else getattr(message, words)
        if len(values):
            found[name] = _by_name(names, values)
    return found


def _by_name(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Return values by their names; by their places where there is not one name for each."""
    labels = names if len(set(names)) == len(values) == len(names) else [str(place) for place in range(len(values))]
    return dict(zip(labels, map(float, values), strict=True))


def _motors(message: Any) -> Row:
    """Return what a DiagnosticArray says of motors; other statuses are passed over."""
    found: dict[str, dict[str, float]] = {}
    for status in message.status:
        joint = status.name.rpartition(": ")[2]
        for pair in status.values:
            if pair.key in FIELD_OF:
                found.setdefault(FIELD_OF[pair.key], {})[joint] = number_of(pair.value)
    return {name: found[name] for name in MOTOR_KEYS if name in found}
