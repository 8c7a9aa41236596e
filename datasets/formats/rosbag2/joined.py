"""Numeric topics as streams: the names of `--map`, and several topics that become one stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from waldo.datasets import schema
from waldo.datasets.formats.rosbag2.contents import Row, TopicData
from waldo.datasets.formats.rosbag2.parts import merge_parts
from waldo.datasets.formats.stream_map import MapError, StreamMap, Target
from waldo.robots.joint_parts import MERGE_NS

JOINT_FIELDS = tuple(schema.JOINT_UNITS[schema.STATE])
"""Fields of a message about joints."""


def joined_topics(
    topics: Sequence[TopicData], names: Mapping[str, str], mapping: StreamMap
) -> tuple[list[tuple[str, TopicData]], list[str]]:
    """Return the streams of numeric topics with their rows, and notes.

    Args:
        topics: Numeric topics.
        names: Topic -> stream.
        mapping: Names and fields of the mapped topics.

    Raises:
        MapError: If the mapping does not fit the messages of a topic.
    """
    by_stream: dict[str, list[TopicData]] = {}
    order = {key: place for place, key in enumerate(mapping.order)}
    for topic in sorted(topics, key=lambda topic: order.get(topic.name, len(order))):
        target = mapping.get(topic.name, is_images=False)
        found = topic if target is None or not topic.labels() else _renamed(topic, target, mapping)
        by_stream.setdefault(names[topic.name], []).append(found)
    streams: list[tuple[str, TopicData]] = []
    notes: list[str] = []
    for name in dict.fromkeys(names[topic.name] for topic in topics):
        parts = by_stream[name]
        one, note = (parts[0], "") if len(parts) == 1 else _merged(name, parts, mapping)
        streams.append((name, one))
        notes += [note] if note else []
    return streams, notes


def _renamed(topic: TopicData, target: Target, mapping: StreamMap) -> TopicData:
    """Return the rows of a topic with the names and the field of its target."""
    own = topic.labels()
    is_plain = list(own) == ["value"]
    if not is_plain and not set(own) <= {*JOINT_FIELDS}:
        known = ", ".join(own)
        raise MapError(f"{topic.name} has the fields {known}, which {target.stream} cannot store", mapping.order)
    fields = {"value": target.field} if is_plain else {name: name for name in own}
    labels = {name: dict(zip(own[name], mapping.labels(topic.name, own[name]), strict=True)) for name in own}
    rows: list[Row] = [
        {fields[name]: {labels[name][label]: value for label, value in values.items()} for name, values in row.items()}
        for row in topic.rows
    ]
    return replace(topic, rows=rows)


def _merged(stream: str, parts: Sequence[TopicData], mapping: StreamMap) -> tuple[TopicData, str]:
    """Return the topics of one stream as one topic, whose states are merged by time."""
    for field in dict.fromkeys(name for part in parts for name in part.labels()):
        mapping.require_distinct(stream, {part.name: part.labels().get(field, []) for part in parts})
    rows = [entry for part in parts for entry in zip(part.header_ns, part.receipt_ns, part.rows, strict=True)]
    rows.sort(key=lambda entry: entry[:2])
    whole = TopicData(
        name=" + ".join(part.name for part in parts),
        kind=parts[0].kind,
        header_ns=[header for header, _, _ in rows],
        receipt_ns=[receipt for _, receipt, _ in rows],
        rows=[row for _, _, row in rows],
        unreadable=sum(part.unreadable for part in parts),
    )
    note = merge_parts(whole)
    if not whole.rows:
        limit = f"{MERGE_NS / 1e6:g} ms"
        return whole, f"{stream} is not imported: {whole.name} have no messages within {limit} of each other."
    return whole, note
