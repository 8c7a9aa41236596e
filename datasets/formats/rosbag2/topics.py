"""Assign the streams of an episode to topics and message fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from waldo.datasets import schema
from waldo.datasets.episode import Episode
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.metadata import TopicField
from waldo.datasets.streams import DepthStream, ScalarStream, Stream, VideoStream

type ImageFormat = Literal["jpeg", "h264"]
"""How H.264 streams are exported: as JPEGs, or as unchanged packets."""

OTHER_PREFIX = "streams/"
"""Prefix of the topic of a stream whose name is a topic of another one."""


def assign_topics(episode: Episode, cameras: Sequence[str], images: ImageFormat) -> dict[str, dict[str, TopicField]]:
    """Return stream -> field -> topic and message field; the field of image streams is "".

    Args:
        episode: The episode.
        cameras: Camera streams to export.
        images: How H.264 streams are exported.
    """
    wanted: dict[tuple[str, str], str] = {}
    for name, stream in episode.streams.items():
        if isinstance(stream, VideoStream):
            if name in cameras:
                how = "h264" if is_video(stream, images) else "compressed"
                wanted[name, ""] = f"{schema.camera_stream(name)}/image_raw/{how}"
        elif isinstance(stream, DepthStream):
            wanted[name, ""] = f"{schema.camera_stream(name.removeprefix(schema.DEPTH_PREFIX))}/depth/image_raw"
        elif is_joints(stream) or is_motors(stream) or is_environment(stream):
            wanted |= {(name, field.name): _topic(name) for field in stream.fields}
        else:
            wanted |= {(name, field.name): f"{_topic(name)}/{field.name}" for field in stream.fields}
    topics = types.topic_names(dict.fromkeys(wanted.values()))
    found: dict[str, dict[str, TopicField]] = {}
    for (name, key), topic in wanted.items():
        stream = episode.streams[name]
        keeps_name = isinstance(stream, ScalarStream) and (is_joints(stream) or is_motors(stream))
        found.setdefault(name, {})[key] = (topics[topic], key if keeps_name else "position")
    return found


def _topic(name: str) -> str:
    """Return the topic of a numeric stream: that of waldo's robot node, or the stream name if no other uses it."""
    if name in schema.TOPIC_OF_STREAM:
        return schema.TOPIC_OF_STREAM[name]
    is_used = name in (*schema.STREAM_OF_TOPIC, types.TASK_TOPIC) or name.startswith(schema.CAMERA_PREFIX)
    return OTHER_PREFIX + name if is_used else name


def is_joints(stream: ScalarStream) -> bool:
    """Return whether a stream has the fields of a JointState, all for the same joints."""
    names = {field.name for field in stream.fields}
    return _is_uniform(stream) and names <= {"position", "velocity", "effort"}


def is_environment(stream: ScalarStream) -> bool:
    """Return whether a stream is the state of a simulation, exported as the positions of a JointState."""
    return stream.name == schema.ENVIRONMENT and len(stream.fields) == 1


def is_motors(stream: ScalarStream) -> bool:
    """Return whether a stream has the fields of motor diagnostics, all for the same motors."""
    names = {field.name for field in stream.fields}
    return stream.name == schema.MOTORS and _is_uniform(stream) and names <= schema.motor_keys().keys()


def is_video(stream: VideoStream, images: ImageFormat) -> bool:
    """Return whether the packets of a camera are exported unchanged."""
    return stream.codec != "jpeg" and images == "h264"


def message_type(stream: Stream, images: ImageFormat) -> str:
    """Return the type of a stream's messages."""
    if isinstance(stream, DepthStream):
        return schema.IMAGE_TYPE
    if isinstance(stream, VideoStream):
        return types.VIDEO_TYPE if is_video(stream, images) else schema.COMPRESSED_IMAGE_TYPE
    return schema.DIAGNOSTIC_TYPE if is_motors(stream) else schema.JOINT_STATE_TYPE


def _is_uniform(stream: ScalarStream) -> bool:
    """Return whether all fields have the same labels."""
    return len({field.labels for field in stream.fields}) == 1
