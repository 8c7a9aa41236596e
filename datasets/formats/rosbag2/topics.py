"""Where each stream of an episode goes in a bag: topics, types of messages, and the fields in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from waldo.datasets.episode import Episode
from waldo.datasets.formats.rosbag2 import messages as types
from waldo.datasets.formats.rosbag2.messages import MOTOR_KEYS, TOPIC_OF
from waldo.datasets.formats.rosbag2.metadata import TopicField
from waldo.datasets.lerobot.export import CAMERA_PREFIX
from waldo.datasets.selection import Selection
from waldo.datasets.streams import DepthStream, ScalarStream, VideoStream


@dataclass(frozen=True, slots=True, kw_only=True)
class BagConfig:
    """What is exported, and how."""

    selection: Selection = field(default_factory=lambda: Selection(outcome=("success",)))
    """Which episodes."""
    cameras: tuple[str, ...] | None = ()
    """Cameras by their short names; () means all, None means none."""
    images: Literal["jpeg", "h264"] = "jpeg"
    """What pictures become that are H.264 in the store: JPEGs that everybody reads, or the packets as they are."""
    storage: Literal["mcap", "sqlite3"] = "mcap"
    """What the bags are."""


def places_of(episode: Episode, cameras: Sequence[str], config: BagConfig) -> dict[str, dict[str, TopicField]]:
    """Return stream -> field -> topic and the field of its messages; of pictures under the field ""."""
    wanted: dict[tuple[str, str], str] = {}
    for name, stream in episode.streams.items():
        if isinstance(stream, VideoStream):
            if name in cameras:
                how = "h264" if stream.codec != "jpeg" and config.images == "h264" else "compressed"
                wanted[name, ""] = f"{CAMERA_PREFIX}{name.removeprefix(CAMERA_PREFIX)}/image_raw/{how}"
        elif isinstance(stream, DepthStream):
            wanted[name, ""] = f"{CAMERA_PREFIX}{name.removeprefix('depth/')}/depth/image_raw"
        elif is_joints(stream) or is_motors(stream) or is_environment(stream):
            wanted |= {(name, field.name): _topic(name) for field in stream.fields}
        else:
            wanted |= {(name, field.name): f"{_topic(name)}/{field.name}" for field in stream.fields}
    topics = types.topic_names(dict.fromkeys(wanted.values()))
    found: dict[str, dict[str, TopicField]] = {}
    for (name, key), topic in wanted.items():
        stream = episode.streams[name]
        own = isinstance(stream, ScalarStream) and (is_joints(stream) or is_motors(stream))
        found.setdefault(name, {})[key] = (topics[topic], key if own else "position")
    return found


def _topic(name: str) -> str:
    """Return the topic of a stream of numbers: waldo's own, or one that is not another's."""
    if name in TOPIC_OF:
        return TOPIC_OF[name]
    own = name in (*TOPIC_OF.values(), "task") or name.startswith(CAMERA_PREFIX)
    return f"streams/{name}" if own else name


def is_joints(stream: ScalarStream) -> bool:
    """Whether a stream's fields are those of a JointState, of the same joints."""
    names = [field.name for field in stream.fields]
    alike = len({field.labels for field in stream.fields}) == 1
    return alike and {*names} <= {"position", "velocity", "effort"}


def is_environment(stream: ScalarStream) -> bool:
    """Whether a stream is the state of a simulation, which goes as a JointState's positions."""
    return stream.name == "environment" and len(stream.fields) == 1


def is_motors(stream: ScalarStream) -> bool:
    """Whether a stream's fields are those of motors' diagnostics, of the same motors."""
    alike = len({field.labels for field in stream.fields}) == 1
    return stream.name == "motors" and alike and {field.name for field in stream.fields} <= MOTOR_KEYS.keys()


def kind_of(stream: ScalarStream | VideoStream | DepthStream, config: BagConfig) -> str:
    """Return the type of a stream's messages."""
    if isinstance(stream, DepthStream):
        return types.IMAGE
    if isinstance(stream, VideoStream):
        return types.VIDEO if stream.codec != "jpeg" and config.images == "h264" else types.COMPRESSED
    return types.MOTORS if is_motors(stream) else types.JOINTS
