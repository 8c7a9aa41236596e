"""Messages that belong together: parts of one state from several publishers, and plans that replace one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from waldo.robots.joint_parts import JointParts

if TYPE_CHECKING:
    from waldo.datasets.formats.rosbag2.contents import Row, TopicData


def merge_parts(topic: TopicData) -> str:
    """Merge the partial states of a topic (`JointParts`), and return a note; empty if every state is complete."""
    joints = {joint for row in topic.rows for joint in row.get("position", ())}
    if all(set(row.get("position", ())) == joints for row in topic.rows):
        return ""
    parts: JointParts[Row] = JointParts(joints)
    rows: list[Row] = []
    header_ns: list[int] = []
    receipt_ns: list[int] = []
    for stamp, receipt, row in zip(topic.header_ns, topic.receipt_ns, topic.rows, strict=True):
        state = parts.add(dict.fromkeys(row.get("position", ()), row), stamp)
        if state is not None:
            rows.append(_joined(state))
            header_ns.append(stamp)
            receipt_ns.append(receipt)
    note = (
        f"{topic.name}: {len(topic.rows)} states of different joints were merged by name into {len(rows)} states of "
        f"all {len(joints)} joints."
    )
    topic.rows, topic.header_ns, topic.receipt_ns = rows, header_ns, receipt_ns
    return note


def _joined(state: Mapping[str, Row]) -> Row:
    found: dict[str, dict[str, float]] = {}
    for joint, row in state.items():
        for field, values in row.items():
            if joint in values:
                found.setdefault(field, {})[joint] = values[joint]
    return found


def replace_plan(topic: TopicData, start_ns: int) -> None:
    """Drop the points of earlier plans from the instant at which a newer plan takes over [ns]."""
    keep = [index for index, stamp in enumerate(topic.header_ns) if stamp < start_ns]
    if len(keep) < len(topic.header_ns):
        topic.rows = [topic.rows[index] for index in keep]
        topic.header_ns = [topic.header_ns[index] for index in keep]
        topic.receipt_ns = [topic.receipt_ns[index] for index in keep]
