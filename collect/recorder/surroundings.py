"""What else is on the ROS graph: another recorder, no robot, or no such cameras."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from waldo.collect.notice import Notice
from waldo.collect.recorder.recorder import RecorderError
from waldo.datasets import schema
from waldo.robots.diagnostics import ERROR, WARN

if TYPE_CHECKING:
    from rclpy.node import Node

LOOK_S = 4.5
"""Time after the start in which another recorder is looked for, and after which an absent robot is reported [s]. Longer
than the 3 s after which Fast DDS announces a process again whose first announcements were lost."""


class Surroundings:
    """Looks around while a recorder starts."""

    def __init__(self, node: Node, robot: str, without: Collection[str]) -> None:
        """Initialize.

        Args:
            node: The recorder's node.
            robot: Name of the robot.
            without: Streams of the cameras that are not to be recorded.
        """
        self._node, self._robot, self._without = node, robot, frozenset(without)
        self.looked = False
        """Whether it has looked for an absent robot."""

    def look(self, seconds: float, subscribed: Collection[str], offered: Collection[str]) -> list[Notice]:
        """Return notices of a robot that is absent, and of cameras that were named in vain.

        Args:
            seconds: Time since the start [s].
            subscribed: Topics of the robot that have a publisher.
            offered: Streams of the cameras that have one.

        Raises:
            RecorderError: If another recorder runs in the namespace.
        """
        if seconds < LOOK_S:
            names = self._node.get_node_names_and_namespaces()
            if names.count((self._node.get_name(), self._node.get_namespace())) > 1:
                do = "stop it, or record another robot with --namespace"
                raise RecorderError(f"another recorder runs in the namespace {self._node.get_namespace()}; {do}")
            return []
        if self.looked:
            return []
        self.looked = True
        found: list[Notice] = []
        if schema.TOPIC_OF_STREAM[schema.STATE] not in subscribed:
            topic = self._node.resolve_topic_name(schema.TOPIC_OF_STREAM[schema.STATE])
            text = f"no robot publishes {topic}; start one with: waldo robot {self._robot}"
            found.append(Notice(level=ERROR, text=text))
        if absent := self._without.difference(offered):
            cameras = ", ".join(sorted(offered)) or "none"
            found.append(Notice(level=WARN, text=f"--without {', '.join(sorted(absent))}: cameras found: {cameras}"))
        return found
