"""Which topics are recorded: a robot's own, its cameras found by their names, and cameras elsewhere that are named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.errors import InvalidValueError

JOINTS = "sensor_msgs/msg/JointState"
MOTORS = "diagnostic_msgs/msg/DiagnosticArray"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"

STREAM_OF = {
    "joint_states": "joints/state",
    "joint_commands": "joints/command",
    "joint_commands_sent": "joints/sent",
    "motors": "motors",
    "environment_state": "environment",
}
"""Topic in the robot's namespace -> stream of the episode store."""

KIND_OF = {topic: MOTORS if topic == "motors" else JOINTS for topic in STREAM_OF}
"""Topic in the robot's namespace -> type of its messages."""

CAMERA = re.compile(r"(?P<name>[^/]+)(?P<depth>/depth)?/image_raw")
"""What follows `<namespace>/cameras/` in a camera's base topic."""

TRANSPORTS = {"depth": ("/compressedDepth", ""), "cameras": ("/compressed", "")}
"""What is appended to a base topic, the cheapest first; nothing is the raw image."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic to record."""

    stream: str
    """Stream of the episode store, "cameras/front"."""
    name: str
    """Full name."""
    kind: str
    """Type of its messages."""


def parse_cameras(pairs: Sequence[str]) -> dict[str, str]:
    """Return stream -> base topic of options: "front=/cam/color/image_raw", "depth/front=/cam/depth/image_raw"."""
    named: dict[str, str] = {}
    for pair in pairs:
        name, equals, topic = pair.partition("=")
        if not (name and equals and topic.startswith("/")):
            raise InvalidValueError("camera", pair, "NAME=/TOPIC, such as front=/camera/color/image_raw")
        stream = name if name.startswith("depth/") else f"cameras/{name}"
        named[stream] = topic.removesuffix("/compressed").removesuffix("/compressedDepth")
    return named


def cameras_of(offered: Mapping[str, Sequence[str]], namespace: str, named: Mapping[str, str]) -> list[Topic]:
    """Return the camera topics among those offered (name -> types): one transport each, compressed rather than raw."""
    prefix = f"{namespace.rstrip('/')}/cameras/"
    bases: dict[str, str] = {}
    for name in offered:
        base = name.removesuffix("/compressed").removesuffix("/compressedDepth")
        match = CAMERA.fullmatch(base.removeprefix(prefix)) if base.startswith(prefix) else None
        if match:
            bases[f"{'depth' if match['depth'] else 'cameras'}/{match['name']}"] = base
    found: list[Topic] = []
    for stream, base in {**bases, **named}.items():
        for transport in TRANSPORTS[stream.partition("/")[0]]:
            kind = COMPRESSED if transport else IMAGE
            if kind in offered.get(base + transport, ()):
                found.append(Topic(stream, base + transport, kind))
                break
    return found
