"""Read a bag once: all numbers, and the timestamps of the images, whose pixels are read when they are written."""

from __future__ import annotations

import hashlib
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

from waldo.datasets import schema
from waldo.datasets.formats.names import require_regular
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.messages import IMAGE_TYPES, number_of, to_ns
from waldo.datasets.formats.rosbag2.metadata import BagMetadata, from_custom
from waldo.datasets.formats.rosbag2.parts import merge_parts, replace_plan
from waldo.datasets.formats.source import digest_of
from waldo.errors import FileError

SUPPORTED_TYPES = (
    schema.JOINT_STATE_TYPE,
    schema.DIAGNOSTIC_TYPE,
    types.ARRAY_TYPE,
    types.TEMPERATURE_TYPE,
    types.TRAJECTORY_TYPE,
    *IMAGE_TYPES,
)
"""Message types that are imported as streams."""

type Row = Mapping[str, Mapping[str, float]]
"""Field -> label -> number."""


@dataclass(slots=True)
class TopicData:
    """The messages of one topic."""

    name: str
    """Full name of the topic."""
    kind: str
    """Message type."""
    header_ns: list[int] = field(default_factory=list)
    """Publisher timestamps; the receipt time of messages without one [ns]."""
    receipt_ns: list[int] = field(default_factory=list)
    """Receipt timestamps [ns]."""
    rows: list[Row] = field(default_factory=list)
    """Contents of numeric messages."""
    first: Any = None
    """The first message of an image topic."""
    unreadable: int = 0
    """Number of messages that could not be deserialized."""
    is_plan: bool = False
    """Whether the last trajectory had several points."""

    def labels(self) -> dict[str, list[str]]:
        """Return field -> labels, in the order of their first occurrence."""
        found: dict[str, dict[str, None]] = {}
        for row in self.rows:
            for name, values in row.items():
                found.setdefault(name, {}).update(dict.fromkeys(values))
        return {name: list(labels) for name, labels in found.items() if labels}

    def column(self, name: str, labels: Sequence[str]) -> NDArray[np.float64]:
        """Return a field of all rows, shape (rows, labels); NaN where a message lacks the value."""
        empty: Mapping[str, float] = {}
        rows = [row.get(name, empty) for row in self.rows]
        values = [[row.get(label, np.nan) for label in labels] for row in rows]
        return np.array(values, np.float64).reshape(len(rows), len(labels))


@dataclass(slots=True)
class BagContents:
    """The contents of one bag."""

    topics: dict[str, TopicData] = field(default_factory=dict)
    """Topic -> messages, for the supported types."""
    unsupported: Counter[str] = field(default_factory=Counter)
    """Unsupported message type -> number of messages."""
    others: dict[str, str] = field(default_factory=dict)
    """Topic that does not become a stream -> message type."""
    task: Mapping[str, Any] = field(default_factory=dict)
    """Contents of the task topic."""
    notes: list[str] = field(default_factory=list)
    """What was changed in the messages, one sentence each."""
    metadata: BagMetadata = field(default_factory=BagMetadata)
    """Metadata of waldo's export."""
    digest: str = ""
    """Digest of all messages, which a bag of another storage format or compression has as well."""


@contextmanager
def open_bag(path: Path) -> Generator[Any]:
    """Open a bag for reading.

    Raises:
        FileError: If the bag is truncated or damaged, also while it is read inside the block.
    """
    import apsw
    from rosbags.rosbag2 import Reader, ReaderError

    # Exceptions that the reader raises on damaged bytes.
    python = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError)
    for file in path.iterdir() if path.is_dir() else [path]:
        if not file.is_dir():
            require_regular(file)
    try:
        with Reader(str(path)) as reader:
            yield reader
    except (ReaderError, apsw.Error, struct.error, MemoryError, *python) as error:
        found = f"the bag is incomplete or damaged ({str(error) or type(error).__name__})"
        raise FileError(path, found, "record it again, or repair an MCAP file with `mcap recover`") from error


def read_metadata(path: Path) -> BagMetadata:
    """Return the metadata of waldo's export; empty for other bags."""
    with open_bag(path) as reader:
        return from_custom(reader.storage.metadata.custom)


def read_contents(path: Path) -> BagContents:
    """Read a bag."""
    found = BagContents()
    with open_bag(path) as reader:
        found.metadata = from_custom(reader.storage.metadata.custom)
        for connection in sorted(reader.connections, key=lambda c: c.topic):
            if connection.msgtype in SUPPORTED_TYPES:
                found.topics.setdefault(connection.topic, TopicData(connection.topic, connection.msgtype))
            else:
                found.others[connection.topic] = connection.msgtype
        hashed: dict[str, Any] = {}
        for connection, receipt_ns, data in reader.messages(connections=reader.connections):
            _add(hashed, connection, receipt_ns, data)
            topic = found.topics.get(connection.topic)
            name = connection.topic.rpartition("/")[2]
            if connection.msgtype == types.STRING_TYPE and name == types.TASK_TOPIC:
                found.task = found.task or _task(data)
            elif topic is not None and topic.kind == connection.msgtype:
                _append(topic, receipt_ns, data)
            else:
                found.unsupported[connection.msgtype] += 1
    found.digest = _digest_of(hashed)
    for topic in found.topics.values():
        if topic.kind == schema.JOINT_STATE_TYPE and topic.name.endswith("joint_states"):
            found.notes += filter(None, [merge_parts(topic)])
    return found


def read_digest(path: Path) -> str:
    """Return the digest of a bag's messages without deserializing them."""
    hashed: dict[str, Any] = {}
    with open_bag(path) as reader:
        for connection, receipt_ns, data in reader.messages(connections=reader.connections):
            _add(hashed, connection, receipt_ns, data)
    return _digest_of(hashed)


def _add(hashed: dict[str, Any], connection: Any, receipt_ns: int, data: bytes) -> None:
    """Add a message to the digest of its topic; the order of messages of different topics does not matter."""
    name = f"{connection.topic} {connection.msgtype}"
    known = hashed.get(name)
    if known is None:
        known = hashed[name] = hashlib.blake2b()
    known.update(struct.pack("<qq", receipt_ns, len(data)))
    known.update(data)


def _digest_of(hashed: Mapping[str, Any]) -> str:
    return digest_of(*([name, hashed[name].hexdigest()] for name in sorted(hashed)))


def read_messages(path: Path, topic: TopicData) -> Iterator[Any]:
    """Yield the messages of a topic that can be deserialized."""
    with open_bag(path) as reader:
        connections = [c for c in reader.connections if c.topic == topic.name and c.msgtype == topic.kind]
        for _, _, data in reader.messages(connections=connections):
            message = deserialize(topic.kind, data)
            if message is not None:
                yield message


def deserialize(kind: str, data: bytes) -> Any:
    """Return a message, or None if the bytes are not a message of this type."""
    from rosbags.serde import SerdeError

    with suppress(SerdeError, ValueError, IndexError, struct.error):
        return types.typestore().deserialize_cdr(data, kind)
    return None


def _task(data: bytes) -> Mapping[str, Any]:
    """Return the contents of a task message: JSON, as waldo's robot node publishes it, or the instruction alone."""
    message = deserialize(types.STRING_TYPE, data)
    if message is None:
        return {}
    try:
        found = json.loads(message.data)
    except ValueError:
        found = message.data
    return found if isinstance(found, dict) else {"task": str(found)}


def _append(topic: TopicData, receipt_ns: int, data: bytes) -> None:
    """Add a message to a topic."""
    message = deserialize(topic.kind, data)
    if message is None:
        topic.unreadable += 1
        return
    header_ns = _header_ns(message) or receipt_ns
    if topic.kind in IMAGE_TYPES:
        topic.first = message if topic.first is None else topic.first
        topic.header_ns.append(header_ns)
        topic.receipt_ns.append(receipt_ns)
        return
    if topic.kind == types.TRAJECTORY_TYPE:
        # Single points are a stream of setpoints, each of which counts.
        is_plan = len(message.points) > 1
        if is_plan or topic.is_plan:
            replace_plan(topic, header_ns)
        topic.is_plan = is_plan
    for offset_ns, row in _rows(topic.kind, message):
        topic.header_ns.append(header_ns + offset_ns)
        topic.receipt_ns.append(receipt_ns)
        topic.rows.append(row)


def _header_ns(message: Any) -> int:
    """Return the publisher's timestamp of a message [ns]; 0 if it has none."""
    if hasattr(message, "header"):
        return to_ns(message.header.stamp)
    return to_ns(message.timestamp) if hasattr(message, "timestamp") else 0


def _rows(kind: str, message: Any) -> Iterator[tuple[int, Row]]:
    """Yield the rows of a message with their offsets from its timestamp [ns]."""
    if kind == schema.JOINT_STATE_TYPE:
        yield 0, _fields(message.name, message)
    elif kind == schema.DIAGNOSTIC_TYPE:
        yield 0, _motor_fields(message)
    elif kind == types.ARRAY_TYPE:
        yield 0, {"value": _labeled([], message.data)}
    elif kind == types.TEMPERATURE_TYPE:
        yield 0, {name: {name: float(getattr(message, name))} for name in ("temperature", "variance")}
    else:
        for point in message.points:
            yield to_ns(point.time_from_start), _fields(message.joint_names, point)


def _fields(names: Sequence[str], message: Any) -> Row:
    """Return the arrays of a JointState or of a trajectory point."""
    found: dict[str, dict[str, float]] = {}
    for name, plural in (("position", "positions"), ("velocity", "velocities"), ("effort", "effort")):
        values = getattr(message, name) if hasattr(message, name) else getattr(message, plural)
        if len(values):
            found[name] = _labeled(names, values)
    return found


def _labeled(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Return label -> value; the labels are positions unless there is one distinct name per value."""
    labels = names if len(set(names)) == len(values) == len(names) else [str(index) for index in range(len(values))]
    return dict(zip(labels, map(float, values), strict=True))


def _motor_fields(message: Any) -> Row:
    """Return the motor quantities in a DiagnosticArray; other keys are ignored."""
    fields = {key: name for name, key in schema.motor_keys().items()}
    found: dict[str, dict[str, float]] = {}
    for status in message.status:
        joint = status.name.rpartition(": ")[2]
        for pair in status.values:
            if pair.key in fields:
                found.setdefault(fields[pair.key], {})[joint] = number_of(pair.value)
    return {name: found[name] for name in schema.motor_keys() if name in found}
