"""The topics to record: a robot's own, its cameras found by name, and cameras elsewhere given by the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.datasets import schema
from waldo.datasets.reading.row_config import stamp_choices
from waldo.errors import InvalidValueError, UnknownNameError

TRANSPORTS = {schema.DEPTH_PREFIX: ("/compressedDepth", ""), schema.CAMERA_PREFIX: ("/compressed", "")}
"""Prefix of a stream -> suffixes of a camera's base topic in order of preference; the empty one is the raw image."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to record."""

    stream: str
    """Stream of the episode, such as "cameras/front"."""
    name: str
    """Full name."""
    type: str
    """Message type."""


def base_topic(name: str) -> str:
    """Return an image topic without the suffix of its transport."""
    return name.removesuffix("/compressed").removesuffix("/compressedDepth")


def parse_cameras(pairs: Sequence[str]) -> dict[str, str]:
    """Return stream -> base topic of options: "front=/cam/color/image_raw", "depth/front=/cam/depth/image_raw"."""
    named: dict[str, str] = {}
    for pair in pairs:
        name, equals, topic = pair.partition("=")
        if not (name and equals and topic.startswith("/")):
            raise InvalidValueError("camera", pair, "NAME=/TOPIC, such as front=/camera/color/image_raw")
        named[schema.camera_stream(name)] = base_topic(topic)
    return named


def parse_without(names: Sequence[str]) -> frozenset[str]:
    """Return the streams of cameras: "front" -> "cameras/front"."""
    return frozenset(schema.camera_stream(name) for name in names)


def parse_stamps(pairs: Sequence[str]) -> frozenset[str]:
    """Return the streams that are stamped at receipt, of options such as "cameras/front=receipt".

    Raises:
        InvalidValueError: If an option is not STREAM=receipt or STREAM=header.
        UnknownNameError: If there is no such stream.
    """
    choices = stamp_choices(pairs)
    for stream in choices:
        if stream not in schema.STREAM_OF_TOPIC.values() and not schema.is_camera(stream):
            known = [*schema.STREAM_OF_TOPIC.values(), *(f"{prefix}NAME" for prefix in schema.IMAGE_PREFIXES)]
            raise UnknownNameError("stream", stream, known)
    return frozenset(stream for stream, clock in choices.items() if clock == "receipt")


def find_cameras(offered: Mapping[str, Sequence[str]], namespace: str, named: Mapping[str, str]) -> list[Topic]:
    """Return the camera topics to record, one transport per camera and compressed rather than raw.

    Args:
        offered: Topic -> types, of the whole ROS graph.
        namespace: Namespace of the robot.
        named: Stream -> base topic of cameras outside the namespace.
    """
    prefix = f"{namespace.rstrip('/')}/{schema.CAMERA_PREFIX}"
    bases: dict[str, str] = {}
    for name in offered:
        base = base_topic(name)
        match = schema.CAMERA_TOPIC.fullmatch(base.removeprefix(prefix)) if base.startswith(prefix) else None
        if match:
            bases[(schema.DEPTH_PREFIX if match["depth"] else schema.CAMERA_PREFIX) + match["name"]] = base
    found: list[Topic] = []
    for stream, base in {**bases, **named}.items():
        prefix_of_stream = schema.DEPTH_PREFIX if stream.startswith(schema.DEPTH_PREFIX) else schema.CAMERA_PREFIX
        for transport in TRANSPORTS[prefix_of_stream]:
            message_type = schema.COMPRESSED_IMAGE_TYPE if transport else schema.IMAGE_TYPE
            if message_type in offered.get(base + transport, ()):
                found.append(Topic(stream, base + transport, message_type))
                break
    return found


def without_hint(streams: Sequence[str]) -> str:
    """Return how to record without the cameras among streams; empty if there is none."""
    cameras = [schema.camera_name(name) for name in streams if schema.is_camera(name)]
    return f"; to record without: --without {' '.join(cameras)}" if cameras else ""
