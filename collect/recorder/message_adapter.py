"""From messages to rows and pictures: what each topic's message means, handed to the recorder with its stamps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from waldo import ros
from waldo.collect.recorder import images
from waldo.collect.recorder.recorder import Recorder
from waldo.collect.recorder.topics import IMAGE, JOINTS, Topic
from waldo.datasets.recording.stamps import Stamps
from waldo.robots import diagnostics

MOTOR_KEYS = {
    "winding": "winding_celsius",
    "winding_std": "winding_std_kelvin",
    "housing": "housing_celsius",
    "current": "current_amperes",
    "voltage": "voltage_volts",
    "torque": "torque_newton_metres",
    "duty": "duty_ratio",
    "time_to_limit": "time_to_limit_seconds",
    "derate": "derate_ratio",
    "winding_sensor": "winding_sensor_celsius",
    "housing_sensor": "housing_sensor_celsius",
    "driver_sensor": "driver_sensor_celsius",
}
"""Field of the motors stream -> key of a diagnostic status."""


class Intake:
    """Hands a recorder what messages say. Messages are duck-typed: nothing of ROS is imported."""

    def __init__(self, recorder: Recorder, *, lockstep: bool = False) -> None:
        """Take the recorder; in `lockstep` simulated time is the only time there is."""
        self._recorder, self._lockstep = recorder, lockstep
        self._joints = recorder.robot.joint_names
        self.clock_ns = 0
        """The simulated clock [ns]."""

    def stamps(self, header: Any, info: Any) -> Stamps:
        """Return when a message was made, published and received, and its number.

        In simulated time a message is received no earlier than it was stamped, whether the clock or it came first;
        when the middleware sent it is then no one's business: the same seed shall give the same bits.
        """
        header_ns = ros.stamp_to_ns(header.stamp)
        receipt_ns = max(self.clock_ns, header_ns) if self._lockstep else int(info["received_timestamp"])
        return {
            "header_ns": header_ns or receipt_ns,
            "receipt_ns": receipt_ns,
            "publish_ns": -1 if self._lockstep else int(info["source_timestamp"]),
            "sequence": int(info["publication_sequence_number"]),
        }

    def take(self, topic: Topic, message: Any, info: Any) -> None:
        """Hand on one message; one that cannot be read is a WaldoError."""
        stamps = self.stamps(message.header, info)
        if topic.stream.startswith(("cameras/", "depth/")):
            self._recorder.frame(topic.stream, self._picture(topic, message), **stamps)
        elif topic.stream == "environment":
            self._recorder.environment(message.name, np.asarray(message.position, dtype=float), **stamps)
        elif topic.kind == JOINTS:
            self._recorder.row(topic.stream, values=self._joint_values(topic.stream, message), **stamps)
        else:
            motors = diagnostics.from_message(message)
            values = {field: diagnostics.column(motors, self._joints, key) for field, key in MOTOR_KEYS.items()}
            self._recorder.row(topic.stream, values=values, **stamps)

    def _picture(self, topic: Topic, message: Any) -> bytes | images.Picture:
        """Return a camera's picture; JPEG stays JPEG, so that it is decoded beside the encoder and not here."""
        depth = topic.stream.startswith("depth/")
        if topic.kind == IMAGE:
            picture = images.from_raw(message)
        else:
            picture = images.from_compressed_depth(message) if depth else images.from_compressed(message)
        if not isinstance(picture, bytes) and (picture.ndim == 2) != depth:
            found, expected = ("colour", "depth") if depth else ("depth", "colour")
            raise images.PictureError(f"{topic.name}: {found} images on a topic of {expected}; name it as {found}")
        return picture

    def _joint_values(self, stream: str, message: Any) -> dict[str, NDArray[np.float64]]:
        fields = {"position": message.position}
        if stream == "joints/state":
            fields |= {"velocity": message.velocity, "effort": message.effort}
        return {name: self._in_order(message.name, column) for name, column in fields.items()}

    def _in_order(self, names: list[str], values: Any) -> NDArray[np.float64]:
        """Return values by name in the robot's joint order; NaN where the message says nothing."""
        by_name = dict(zip(names, values, strict=False))
        return np.array([by_name.get(name, np.nan) for name in self._joints])
