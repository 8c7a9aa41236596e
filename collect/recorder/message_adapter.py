"""From messages to rows and frames: decodes each topic's messages and passes them to the recorder with their stamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from waldo import ros
from waldo.collect.recorder import images
from waldo.collect.recorder.recorder import Recorder
from waldo.collect.recorder.topics import Topic
from waldo.datasets import schema
from waldo.datasets.recording.stamps import Stamps
from waldo.robots import diagnostics
from waldo.typing import Array


class MessageAdapter:
    """Passes the contents of messages to a recorder. Messages are duck-typed: ROS is not imported."""

    def __init__(self, recorder: Recorder, *, lockstep: bool = False) -> None:
        """Initialize for a recorder; in `lockstep` all times are those of the simulated clock."""
        self._recorder, self._lockstep = recorder, lockstep
        self._joints = recorder.robot.joint_names
        self.clock_ns = 0
        """The simulated clock [ns]."""

    def stamps(self, header: Any, info: Any) -> Stamps:
        """Return a message's header, publication and receipt times and its sequence number.

        In simulated time the receipt is not before the header stamp, in whichever order the clock and the message
        arrived, and the middleware's publication time is dropped: the same seed must give the same bits.
        """
        header_ns = ros.stamp_to_ns(header.stamp)
        receipt_ns = max(self.clock_ns, header_ns) if self._lockstep else int(info["received_timestamp"])
        return {
            "header_ns": header_ns or receipt_ns,
            "receipt_ns": receipt_ns,
            "publish_ns": -1 if self._lockstep else int(info["source_timestamp"]),
            "sequence": int(info["publication_sequence_number"]),
        }

    def add(self, topic: Topic, message: Any, info: Any) -> None:
        """Pass one message on; raises WaldoError if it cannot be decoded or recorded."""
        stamps = self.stamps(message.header, info)
        if topic.stream.startswith((schema.CAMERA_PREFIX, schema.DEPTH_PREFIX)):
            self._recorder.frame(topic.stream, self._image(topic, message), **stamps)
        elif topic.stream == schema.ENVIRONMENT:
            self._recorder.environment(message.name, np.asarray(message.position, dtype=float), **stamps)
        elif topic.stream == schema.MOTORS:
            self._recorder.row(topic.stream, values=self._motor_values(message), **stamps)
        else:
            self._recorder.row(topic.stream, values=self._joint_values(topic.stream, message), **stamps)

    def _image(self, topic: Topic, message: Any) -> bytes | images.Image:
        """Return a camera's image; a JPEG stays encoded and is decoded on the encoder's thread."""
        depth = topic.stream.startswith(schema.DEPTH_PREFIX)
        if topic.type == schema.IMAGE_TYPE:
            image = images.from_raw(message)
        else:
            image = images.from_compressed_depth(message) if depth else images.from_compressed(message)
        if not isinstance(image, bytes) and (image.ndim == 2) != depth:
            found, expected = ("color", "depth") if depth else ("depth", "color")
            prefix = "" if depth else schema.DEPTH_PREFIX
            name = topic.stream.partition("/")[2]
            raise images.ImageError(
                f"{topic.name} has {found} images, expected {expected}; pass --camera {prefix}{name}={topic.name}"
            )
        return image

    def _motor_values(self, message: Any) -> dict[str, Array]:
        motors = diagnostics.from_message(message)
        keys = schema.motor_keys()
        return {field: diagnostics.column(motors, self._joints, key) for field, key in keys.items()}

    def _joint_values(self, stream: str, message: Any) -> dict[str, Array]:
        return {field: self._in_order(message.name, getattr(message, field)) for field in schema.JOINT_UNITS[stream]}

    def _in_order(self, names: Sequence[str], values: Any) -> Array:
        """Return values in the order of the robot's joints, shape (joints,); NaN where the message has none."""
        by_name = dict(zip(names, values, strict=False))
        return np.array([by_name.get(name, np.nan) for name in self._joints])
