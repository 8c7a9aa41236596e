"""ROS 2 messages without ROS: message types, conversion of values, and names of topics and streams."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from waldo.datasets import schema
from waldo.datasets.formats.names import key_names
from waldo.datasets.formats.source import SourceError

VIDEO_TYPE = "foxglove_msgs/msg/CompressedVideo"
ARRAY_TYPE = "std_msgs/msg/Float64MultiArray"
TEMPERATURE_TYPE = "sensor_msgs/msg/Temperature"
TRAJECTORY_TYPE = "trajectory_msgs/msg/JointTrajectory"
STRING_TYPE = "std_msgs/msg/String"

IMAGE_TYPES = (schema.IMAGE_TYPE, schema.COMPRESSED_IMAGE_TYPE, VIDEO_TYPE)
"""Message types that contain images."""

VIDEO_DEFINITION = """
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
"""
"""foxglove_msgs/msg/CompressedVideo: one frame of H.264 in Annex B form per message."""

TASK_TOPIC = "task"
"""Topic of the instruction in the robot's namespace."""

CAMERA_TOPIC = re.compile(r"(?:.*/)?cameras/(?P<name>[^/]+(?:/[^/]+)*?)(?P<depth>/depth)?/image_raw(?P<how>/\w+)?")
"""Camera topics of waldo in any namespace; unlike `schema.CAMERA_TOPIC` the name may contain slashes."""

IMAGE_SUFFIX = re.compile(r"(/(image_raw|image|compressedDepth|compressed|h264|video))+")
"""Suffix of other image topics that does not become part of the stream name."""


@cache
def typestore() -> Any:
    """Return the message types of ROS 2 Jazzy and Foxglove's video message."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(VIDEO_DEFINITION, VIDEO_TYPE))
    return store


def new(kind: str, **fields: Any) -> Any:
    """Return a message of a type."""
    return typestore().types[kind](**fields)


def stamp(ns: int) -> Any:
    """Return a ROS time [ns since the epoch].

    Raises:
        SourceError: If ROS cannot represent it, which covers 1970 to 2038.
    """
    seconds, nanoseconds = divmod(ns, 1_000_000_000)
    if not 0 <= seconds < 2**31:
        raise SourceError("timestamp", f"{ns} ns is outside the range of ROS (1970 to 2038)")
    return new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def header(ns: int) -> Any:
    """Return a message header with a timestamp [ns since the epoch]."""
    return new("std_msgs/msg/Header", stamp=stamp(ns), frame_id="")


def to_ns(time: Any) -> int:
    """Return a ROS time or duration in ns."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def text_of(value: np.generic) -> str:
    """Return the shortest text that is parsed as the same number in its own precision; empty for NaN."""
    number = float(value)
    return "" if math.isnan(number) else str(value) if math.isfinite(number) else repr(number)


def number_of(text: str) -> float:
    """Return the number in a text, or NaN if it is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def topic_names(streams: Iterable[str]) -> dict[str, str]:
    """Return stream or stream/field -> distinct topic of characters that ROS allows."""
    keys = key_names(streams, letters="A-Za-z0-9_/")
    # A topic's component must not start with a digit.
    return {stream: "/" + re.sub(r"(^|/)(?=\d)", r"\1n", key) for stream, key in keys.items()}


def is_robot_topic(name: str, kind: str) -> bool:
    """Return whether a topic without its namespace and its type are those of waldo's robot node."""
    return schema.TYPE_OF_TOPIC.get(name) == kind


def stream_of_topic(topic: str, kind: str, first: Any) -> str:
    """Return the stream name for a foreign topic; images are stored below `cameras/` or `depth/`.

    Args:
        topic: Full name of the topic.
        kind: Type of its messages.
        first: The first message of an image topic.
    """
    plain = topic.strip("/")
    if kind not in IMAGE_TYPES:
        return plain
    is_depth = getattr(first, "encoding", "") in ("16UC1", "mono16", "32FC1")
    is_depth = is_depth or "compressedDepth" in getattr(first, "format", "")
    prefix = schema.DEPTH_PREFIX if is_depth else schema.CAMERA_PREFIX
    match = CAMERA_TOPIC.fullmatch(plain)
    if match:
        return prefix + match["name"]
    return prefix + (IMAGE_SUFFIX.sub("", "/" + plain).strip("/") or plain)


def latched() -> Any:
    """Return the quality of service of a topic that delivers its last message to late subscribers."""
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
