"""From messages to rows and frames: decodes each topic's messages and passes them to the recorder with their stamps.

The stored sequence number is that of the publisher. If a topic has several publishers, or its publisher is restarted,
the messages are renumbered so that a gap is always a loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any

import numpy as np

from waldo import ros
from waldo.collect.recorder.joint_values import JointValues
from waldo.collect.recorder.operator_view import OperatorView
from waldo.collect.recorder.publishers import Numbering, Publishers, Start
from waldo.collect.recorder.recorder import Recorder
from waldo.collect.recorder.topics import Topic
from waldo.datasets import schema
from waldo.datasets.recording.access_units import AccessUnit, AccessUnits
from waldo.datasets.recording.stamps import Stamps
from waldo.errors import ImageError
from waldo.robots import diagnostics
from waldo.robots.cameras import ros_images
from waldo.robots.control.arbiter import SOURCE_OF_LABEL
from waldo.typing import Array

RELEASE: Hashable = frozenset[str]()
"""Joints of a command without joints."""


class MessageAdapter:
    """Passes the contents of messages to a recorder. Messages are duck-typed: ROS is not imported."""

    def __init__(
        self,
        recorder: Recorder,
        *,
        lockstep: bool = False,
        joint_map: Mapping[str, str] | None = None,
        receipt_stamps: Collection[str] = (),
        count_publishers: Callable[[str], int] = lambda topic: 1,
        on_publisher: Callable[[Topic, Start], None] = lambda topic, start: None,
        view: OperatorView | None = None,
    ) -> None:
        """Initialize for a recorder.

        Args:
            recorder: The recorder.
            lockstep: Whether all times are those of the simulated clock.
            joint_map: Published name -> joint, for a robot whose joints have other names.
            receipt_stamps: Streams whose header stamps are replaced by the time of receipt.
            count_publishers: Returns the number of publishers of a topic.
            on_publisher: Called when a publisher of a topic starts after the first one.
            view: Shows images and positions.
        """
        self._recorder, self._lockstep = recorder, lockstep
        self._receipt_stamps = frozenset(receipt_stamps)
        self._count_publishers, self._on_publisher = count_publishers, on_publisher
        self._view = view or OperatorView()
        joints = recorder.robot.joint_names
        self._joints = {name: JointValues(recorder.robot.name, joints, joint_map) for name in schema.JOINT_UNITS}
        self._command = {name: np.full(len(joints), np.nan) for name in (schema.COMMAND, schema.APPLIED)}
        self._publishers: dict[str, dict[Hashable, Publishers]] = defaultdict(lambda: defaultdict(Publishers))
        self._numbering: dict[str, Numbering] = defaultdict(Numbering)
        self._units: dict[str, AccessUnits] = defaultdict(AccessUnits)
        self.clock_ns = 0
        """The simulated clock [ns]."""
        self._latest_ns = 0

    @property
    def simulated_ns(self) -> int:
        """Simulated time [ns]: that of the latest message, since the clock of its step may still be on its way."""
        return max(self.clock_ns, self._latest_ns)

    def stamps(self, header: Any, info: Any) -> Stamps:
        """Return a message's header, publication and receipt times and its sequence number.

        In simulated time the receipt is the header stamp, since the clock and a message arrive in any order, and the
        middleware's publication time is dropped: the same seed must give the same bits.
        """
        header_ns = ros.stamp_to_ns(header.stamp)
        self._latest_ns = max(self._latest_ns, header_ns)
        receipt_ns = (header_ns or self.clock_ns) if self._lockstep else int(info["received_timestamp"])
        return {
            "header_ns": header_ns or receipt_ns,
            "receipt_ns": receipt_ns,
            "publish_ns": -1 if self._lockstep else int(info["source_timestamp"]),
            "sequence": int(info["publication_sequence_number"]),
        }

    def add(self, topic: Topic, message: Any, info: Any) -> None:
        """Pass one message on; raises an exception if it cannot be decoded or recorded."""
        stamps, stream = self.stamps(message.header, info), topic.stream
        if stream in self._receipt_stamps:
            stamps["header_ns"] = stamps["receipt_ns"]
        # Publishers of different joints of one state have counts of their own.
        part = frozenset(message.name) if stream in schema.JOINT_UNITS else None
        missing = self._count(topic, part, stamps)
        if stream == schema.STATE:
            self._add_state(topic, message, stamps)
            return
        if schema.is_camera(stream):
            image = self._image(topic, message, missing)
            if image is None:
                return
            self._recorder.frame(stream, image, **self._numbered(stream, stamps))
            # Recorded first: showing it must not cost it.
            self._view.image(stream, image, stamps["header_ns"])
            return
        if stream in (schema.ENVIRONMENT, schema.POLICY):
            values = np.asarray(message.position, dtype=float)
            self._recorder.named_values(stream, message.name, values, **self._numbered(stream, stamps))
            return
        row = self._motor_values(message) if stream == schema.MOTORS else self._command_values(topic, message)
        numbered = self._numbered(stream, stamps)
        self._recorder.row(stream, values=row, **numbered)
        if stream == schema.APPLIED and (source := SOURCE_OF_LABEL.get(message.header.frame_id)) is not None:
            self._recorder.row(schema.CONTROL, values={schema.DEFAULT_FIELD: np.array([float(source)])}, **numbered)

    def _count(self, topic: Topic, part: Hashable, stamps: Stamps) -> int:
        """Count the message; return the number of those that are missing before it, 1 or more for a new publisher."""
        sequence, parts = stamps["sequence"], self._publishers[topic.stream]
        if sequence <= 0:
            return 0
        if part == RELEASE:
            # A release names no joints; it is counted with the commands of its publisher.
            part = next((key for key, one in parts.items() if one.precede(sequence)), next(iter(parts), part))
        elif RELEASE in parts and part not in parts:
            parts[part] = parts.pop(RELEASE)

        def publishers() -> int:
            others = sum(other.active(stamps["receipt_ns"]) for key, other in parts.items() if key != part)
            return self._count_publishers(topic.name) - others

        missing, start = parts[part].add(sequence, stamps["receipt_ns"], publishers)
        self._numbering[topic.stream].missing(missing)
        if start not in (Start.RESTARTED, Start.ADDED):
            return missing
        self._on_publisher(topic, start)
        return missing + 1

    def _numbered(self, stream: str, stamps: Stamps) -> Stamps:
        """Return stamps with the number under which the message is stored."""
        if stamps["sequence"] <= 0:
            return stamps
        return {**stamps, "sequence": self._numbering[stream].next(stamps["sequence"])}

    def _add_state(self, topic: Topic, message: Any, stamps: Stamps) -> None:
        joints = self._joints[topic.stream]
        fields = {field: getattr(message, field) for field in schema.JOINT_UNITS[topic.stream]}
        if joints.add(message.name, fields, stamps["header_ns"]):
            values = joints.take()
            self._recorder.row(topic.stream, values=values, **self._numbered(topic.stream, stamps))
            self._view.positions(values["position"])
        elif joints.incomplete:
            self._recorder.refuse(topic.stream, f"{topic.name} {joints.incomplete}")
        same = max(one.active(stamps["receipt_ns"]) for one in self._publishers[topic.stream].values())
        if same > 1:
            text = f"{topic.name} has {same} publishers of the same joints; stop all but one"
            self._recorder.refuse(topic.stream, text)

    def _image(self, topic: Topic, message: Any, missing: int) -> bytes | ros_images.Image | AccessUnit | None:
        """Return a camera's image; JPEG and H.264 stay encoded and are decoded on the encoder's thread.

        None is returned for a message of H.264 without a frame.
        """
        depth = topic.stream.startswith(schema.DEPTH_PREFIX)
        if not depth and ros_images.is_h264(message):
            return self._units[topic.stream].add(bytes(message.data), missing)
        if topic.type == schema.IMAGE_TYPE:
            image = ros_images.from_raw(message)
        else:
            image = ros_images.from_compressed_depth(message) if depth else ros_images.from_compressed(message)
        if not isinstance(image, bytes) and (image.ndim == 2) != depth:
            found, expected = ("color", "depth") if depth else ("depth", "color")
            prefix = "" if depth else schema.DEPTH_PREFIX
            name = topic.stream.partition("/")[2]
            raise ImageError(
                f"{topic.name} has {found} images, expected {expected}; pass --camera {prefix}{name}={topic.name}"
            )
        return image

    def _motor_values(self, message: Any) -> dict[str, Array]:
        motors = diagnostics.from_message(message)
        keys = schema.motor_keys()
        return {field: diagnostics.column(motors, self._recorder.robot.joint_names, key) for field, key in keys.items()}

    def _command_values(self, topic: Topic, message: Any) -> dict[str, Array]:
        """Return a command of all joints: a joint that it does not name keeps its command; NaN after a release."""
        if not len(message.name) and not len(message.position):
            self._command[topic.stream] = np.full(len(self._recorder.robot.joints), np.nan)
            return {"position": self._command[topic.stream]}
        names = self._joints[topic.stream].names(message.name, len(message.position))
        known = self._recorder.robot.joint_names
        row = self._command[topic.stream].copy()
        for name, value in zip(names, message.position, strict=True):
            if name in known:
                row[known.index(name)] = value
        self._command[topic.stream] = row
        return {"position": row}
