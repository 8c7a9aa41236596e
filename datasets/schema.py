"""The schema of an episode: stream names, fields, units, topics and LeRobot keys.

This is the only place that spells them. The motor quantities are declared in `waldo.robots.motor_readings`, since a
robot publishes them without any dataset; this module derives the `motors` stream from them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from waldo.datasets.streams import Field, ScalarStream
from waldo.robots import motor_readings
from waldo.robots.motor_readings import MotorQuantity

# Streams of an episode.
STATE = "joints/state"
COMMAND = "joints/command"
APPLIED = "joints/sent"
"""The command that the robot node applied after the safety chain; named after its topic, `joint_commands_sent`."""
MOTORS = "motors"
ENVIRONMENT = "environment"
"""Ground truth of a simulation: object poses and the goal."""
CONTROL = "control"
"""Who controls the robot: 0 the robot holds, 1 a person, 2 a policy. Part of the messages of the applied commands."""
POLICY = "policy"
"""Topic and stream: what a policy states about each of its commands, such as the ages of observation and action."""
DEFAULT_FIELD = "value"
"""Field of a stream that has only one, such as `environment`."""
CAMERA_PREFIX = "cameras/"
DEPTH_PREFIX = "depth/"
IMAGE_PREFIXES = (CAMERA_PREFIX, DEPTH_PREFIX)

type Action = Literal["command", "sent"]
"""Which stream of commands is the action of an exported row."""

ACTION_STREAMS: Mapping[Action, str] = {"command": COMMAND, "sent": APPLIED}
"""Value of `--action` -> stream."""

JOINT_UNITS: Mapping[str, Mapping[str, str]] = {
    STATE: {"position": "rad", "velocity": "rad/s", "effort": "N·m"},
    COMMAND: {"position": "rad"},
    APPLIED: {"position": "rad"},
}
"""Stream of joints -> field -> unit (of revolute joints)."""

# ROS topics and message types.
JOINT_STATE_TYPE = "sensor_msgs/msg/JointState"
DIAGNOSTIC_TYPE = "diagnostic_msgs/msg/DiagnosticArray"
IMAGE_TYPE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE_TYPE = "sensor_msgs/msg/CompressedImage"

STREAM_OF_TOPIC: Mapping[str, str] = {
    "joint_states": STATE,
    "joint_commands": COMMAND,
    "joint_commands_sent": APPLIED,
    "motors": MOTORS,
    "environment_state": ENVIRONMENT,
}
"""Topic in the robot's namespace -> stream."""

TOPIC_OF_STREAM: Mapping[str, str] = {stream: topic for topic, stream in STREAM_OF_TOPIC.items()}
"""Stream -> topic in the robot's namespace."""

TYPE_OF_TOPIC: Mapping[str, str] = {
    topic: DIAGNOSTIC_TYPE if stream == MOTORS else JOINT_STATE_TYPE for topic, stream in STREAM_OF_TOPIC.items()
}
"""Topic in the robot's namespace -> message type."""

CAMERA_TOPIC = re.compile(r"(?P<name>[^/]+)(?P<depth>/depth)?/image_raw")
"""Base topic of a camera after `<namespace>/cameras/`."""

# LeRobot keys.
OBSERVATION = "observation."
OBSERVATION_STATE = "observation.state"
ACTION = "action"
OBSERVATION_ENVIRONMENT = "observation.environment_state"
OBSERVATION_IMAGES = "observation.images."
SUCCESS = "next.success"
"""True in the last row of an episode whose outcome is a success."""
TELEMETRY = "telemetry."
TELEMETRY_APPLIED = "telemetry.sent_action"
"""The applied command, where the action is the operator's command."""
TELEMETRY_COMMAND = "telemetry.command"
"""The operator's command, where the action is the applied command."""
CONTROL_COLUMN = "control"
"""Who controls the robot, as in the stream `control`."""
TELEMETRY_STALENESS = "telemetry.staleness"
"""Age of each stream's sample in a row [s]; only waldo writes this column."""
INDEX_COLUMNS: Mapping[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""The columns that every LeRobot dataset has, and their types."""
RESERVED_KEYS = frozenset({*INDEX_COLUMNS, SUCCESS, TELEMETRY_STALENESS})
"""Columns that every export writes itself."""
OWN_KEYS = frozenset(
    {OBSERVATION_STATE, ACTION, OBSERVATION_ENVIRONMENT, TELEMETRY_APPLIED, TELEMETRY_COMMAND, CONTROL_COLUMN}
)
"""Columns of waldo's own streams."""


def is_camera(stream: str) -> bool:
    """Return whether a stream consists of images, in color or depth."""
    return stream.startswith(IMAGE_PREFIXES)


def camera_stream(name: str) -> str:
    """Return the stream of a camera: "front" -> "cameras/front"."""
    return name if is_camera(name) else CAMERA_PREFIX + name


def camera_name(stream: str) -> str:
    """Return the camera of a stream: "cameras/front" -> "front"."""
    return stream.removeprefix(CAMERA_PREFIX)


def feature_key(stream: str) -> str:
    """Return the LeRobot key of a camera stream: "cameras/front" -> "observation.images.front"."""
    return OBSERVATION_IMAGES + camera_name(stream).replace("/", "_")


def has_channels_first(feature: Mapping[str, object]) -> bool:
    """Return whether the images of a camera have the channels as their first axis; otherwise they are the last one."""
    names = feature.get("names")
    return isinstance(names, list) and names[:1] in (["channel"], ["channels"])


def column_key(stream: str, field: str, own: Collection[str]) -> str:
    """Return the LeRobot key of a field of a stream that is not one of waldo's own: "obs/wrench" -> "obs.wrench".

    A key of waldo's own columns is prefixed: a second "action" becomes "telemetry.action".

    Args:
        stream: Name of the stream.
        field: Name of the field.
        own: The keys of waldo's own columns.
    """
    key = stream.replace("/", ".") + ("" if field == DEFAULT_FIELD else f".{field}")
    return TELEMETRY + key if key in own or key.startswith(OBSERVATION_IMAGES) else key


def recorded_quantities() -> tuple[MotorQuantity, ...]:
    """Return the motor quantities that are recorded, in the order of the `motors` stream's fields."""
    return tuple(quantity for quantity in motor_readings.MOTOR_QUANTITIES if quantity.recorded)


def motor_keys() -> dict[str, str]:
    """Return field of the `motors` stream -> diagnostic key."""
    return {quantity.recorded: quantity.key for quantity in recorded_quantities()}


def motor_units() -> dict[str, str]:
    """Return field of the `motors` stream -> unit."""
    return {quantity.recorded: quantity.unit for quantity in recorded_quantities()}


def not_exported() -> frozenset[str]:
    """Return the fields of the `motors` stream that rows leave out, such as times that are infinite mostly."""
    return frozenset(quantity.recorded for quantity in recorded_quantities() if not quantity.exported)


def unit_of(stream: str, field: str) -> str:
    """Return the unit of a field of waldo's own streams; empty if it is not one of them."""
    if stream == MOTORS:
        return motor_units().get(field, "")
    return JOINT_UNITS.get(stream, {}).get(field, "")


def joint_stream(name: str, rate_hz: float, joints: Sequence[str]) -> ScalarStream:
    """Return the description of `joints/state`, `joints/command` or `joints/sent`."""
    return _stream(name, rate_hz, JOINT_UNITS[name], joints)


def control_stream(rate_hz: float) -> ScalarStream:
    """Return the description of the `control` stream."""
    return ScalarStream(name=CONTROL, rate_hz=rate_hz, fields=(Field(DEFAULT_FIELD, "", (CONTROL,)),))


def motors_stream(rate_hz: float, joints: Sequence[str]) -> ScalarStream:
    """Return the description of the `motors` stream."""
    return _stream(MOTORS, rate_hz, motor_units(), joints)


def _stream(name: str, rate_hz: float, units: Mapping[str, str], joints: Sequence[str]) -> ScalarStream:
    fields = tuple(Field(field, unit, tuple(joints)) for field, unit in units.items())
    return ScalarStream(name=name, rate_hz=rate_hz, fields=fields)
