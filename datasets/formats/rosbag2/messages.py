"""ROS 2 messages without ROS: the types that waldo reads and writes, and which topic is which stream."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from waldo.datasets.formats.names import key_names
from waldo.datasets.formats.source import SourceError

JOINTS = "sensor_msgs/msg/JointState"
MOTORS = "diagnostic_msgs/msg/DiagnosticArray"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
VIDEO = "foxglove_msgs/msg/CompressedVideo"
NUMBERS = "std_msgs/msg/Float64MultiArray"
TEMPERATURE = "sensor_msgs/msg/Temperature"
TRAJECTORY = "trajectory_msgs/msg/JointTrajectory"
WORDS = "std_msgs/msg/String"

VIDEO_DEFINITION = """
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
"""
"""foxglove_msgs/msg/CompressedVideo: one picture of H.264 in Annex B a message."""

STREAM_OF = {
    "joint_states": "joints/state",
    "joint_commands": "joints/command",
    "joint_commands_sent": "joints/sent",
    "motors": "motors",
    "environment_state": "environment",
}
"""Topic in a robot's namespace -> stream of the episode store."""

TOPIC_OF = {stream: topic for topic, stream in STREAM_OF.items()}

MOTOR_KEYS: Mapping[str, str] = {
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
"""Field of the motors stream -> key of a diagnostic status, as waldo's robot node writes them."""

CAMERA = re.compile(r"(?:.*/)?cameras/(?P<name>[^/]+(?:/[^/]+)*?)(?P<depth>/depth)?/image_raw(?P<how>/\w+)?")
"""Topics of waldo's cameras."""

TAIL = re.compile(r"(/(image_raw|image|compressed|compressedDepth|h264|video))+")
"""What the topics of other cameras end with."""

MARK = "waldo"
"""Key of a bag's custom data: what a bag has no place for, as JSON."""


@cache
def typestore() -> Any:
    """Return the messages of ROS 2 Jazzy, and Foxglove's of video."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(VIDEO_DEFINITION, VIDEO))
    return store


def new(kind: str, **fields: Any) -> Any:
    """Return a message."""
    return typestore().types[kind](**fields)


def stamp(ns: int) -> Any:
    """Return an instant [ns] as ROS has it; one before 1970 or after 2038 has no place there."""
    seconds, nanoseconds = divmod(ns, 1_000_000_000)
    if not 0 <= seconds < 2**31:
        raise SourceError("a stamp", f"{ns} ns lies outside of what ROS can hold (1970 to 2038)")
    return new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def header(ns: int) -> Any:
    """Return a message's header."""
    return new("std_msgs/msg/Header", stamp=stamp(ns), frame_id="")


def to_ns(time: Any) -> int:
    """Return an instant of ROS [ns]."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def text_of(value: np.generic) -> str:
    """Return the shortest text that is this number again, of its own precision: empty for NaN, as in diagnostics."""
    number = float(value)
    return "" if math.isnan(number) else str(value) if math.isfinite(number) else repr(number)


def number_of(text: str) -> float:
    """Return the number of a text; NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def topic_names(streams: Iterable[str]) -> dict[str, str]:
    """Return stream or stream/field -> topic of letters that ROS allows, all distinct."""
    keys = key_names(streams, letters="A-Za-z0-9_/")
    # A part of a topic must not begin with a digit.
    return {stream: "/" + re.sub(r"(^|/)(?=\d)", r"\1n", key) for stream, key in keys.items()}


def fits(end: str, kind: str) -> bool:
    """Whether a topic's last part and type are those of one of waldo's."""
    return end in STREAM_OF and kind == (MOTORS if end == "motors" else JOINTS)


def stream_like(topic: str, kind: str, first: Any) -> str:
    """Return what the stream of a foreign topic is called: of pictures below `cameras` or `depth`."""
    plain = topic.strip("/")
    if kind not in (IMAGE, COMPRESSED, VIDEO):
        return plain
    match = CAMERA.fullmatch(plain)
    depth = "depth" if getattr(first, "encoding", "") in ("16UC1", "mono16", "32FC1") else "cameras"
    if match:
        return f"{depth}/{match['name']}"
    return f"{depth}/{TAIL.sub('', '/' + plain).strip('/') or plain}"


def latched() -> Any:
    """Return the quality of service of a topic whose last message a late reader still gets."""
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    never = QosTime(0x7FFFFFFF, 0xFFFFFFFF)
    return Qos(
        QosHistory.KEEP_LAST,
        1,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        False,
    )
