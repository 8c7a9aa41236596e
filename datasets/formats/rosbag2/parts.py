"""Messages that belong together: parts of one state from several publishers, and plans that replace one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waldo.datasets.schema import MERGE_NS

if TYPE_CHECKING:
    from waldo.datasets.formats.rosbag2.contents import Row, TopicData


def merge_parts(topic: TopicData) -> str:
    """Merge the partial states of a topic by joint name, and return a note on it; empty if every state is complete.

    A state is complete when every joint was received since the last one, in parts whose stamps differ by at most
    `schema.MERGE_NS`; its time is that of the newest part.
    """
    joints = {joint for row in topic.rows for joint in row.get("position", ())}
    if all(set(row.get("position", ())) == joints for row in topic.rows):
        return ""
    parts: dict[str, tuple[int, Row]] = {}
    rows: list[Row] = []
    header_ns: list[int] = []
    receipt_ns: list[int] = []
    for stamp, receipt, row in zip(topic.header_ns, topic.receipt_ns, topic.rows, strict=True):
        parts |= {joint: (stamp, row) for joint in row.get("position", ())}
        parts = {joint: part for joint, part in parts.items() if stamp - part[0] <= MERGE_NS}
        if set(parts) == joints:
            rows.append(_joined(parts))
            header_ns.append(stamp)
            receipt_ns.append(receipt)
            parts = {}
    note = (
        f"{topic.name}: {len(topic.rows)} states of different joints were merged by name into {len(rows)} states of "
        f"all {len(joints)} joints."
    )
    topic.rows, topic.header_ns, topic.receipt_ns = rows, header_ns, receipt_ns
    return note


def _joined(parts: dict[str, tuple[int, Row]]) -> Row:
    found: dict[str, dict[str, float]] = {}
    for joint, (_, row) in parts.items():
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
