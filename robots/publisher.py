"""The topics that a robot node publishes, and the conversion of its values to messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from waldo import ros
from waldo.robots import diagnostics
from waldo.robots.diagnostics import ComponentStatus
from waldo.robots.driver import Frame, RobotState
from waldo.robots.motor_readings import MotorReadings
from waldo.typing import Array

if TYPE_CHECKING:
    from rclpy.node import Node

    from waldo.robots.description import Robot

STATUS = "status"
"""Topic of the component statuses."""


def camera_topic(camera: str) -> str:
    """Return the key by which the messages of a camera are counted; the topic's name adds the transport."""
    return f"cameras/{camera}"


class RobotPublisher:
    """Publishes a robot's state, applied command, motors, component statuses and camera images."""

    def __init__(
        self,
        node: Node,
        robot: Robot,
        serials: Sequence[str],
        *,
        simulated: bool,
        on_published: Callable[[str], None],
    ) -> None:
        """Create the topics.

        Args:
            node: The ROS node.
            robot: The robot.
            serials: Serial number of each motor.
            simulated: Whether to publish a simulation's ground truth and task.
            on_published: Called with the topic's key for each message in the robot's namespace.
        """
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import CompressedImage, JointState
        from std_msgs.msg import String

        self.robot, self._serials, self._on_published = robot, serials, on_published
        self.namespace = node.get_namespace().strip("/") or robot.name
        topics: dict[str, Any] = {
            "joint_states": JointState,
            "joint_commands_sent": JointState,
            "motors": DiagnosticArray,
            STATUS: DiagnosticArray,
            **{camera_topic(camera.name): CompressedImage for camera in robot.cameras},
        }
        if simulated:
            topics["environment_state"] = JointState
        suffix = {camera_topic(camera.name): "/image_raw/compressed" for camera in robot.cameras}
        self._publishers: dict[str, Any] = {
            key: node.create_publisher(kind, key + suffix.get(key, ""), ros.stream_qos())
            for key, kind in topics.items()
        }
        if simulated:
            self._publishers["task"] = node.create_publisher(String, "task", ros.latched_qos())
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", ros.stream_qos(10))

    @property
    def topics(self) -> tuple[str, ...]:
        """The keys of all topics in the robot's namespace."""
        return tuple(self._publishers)

    def subscriptions(self, topic: str) -> int:
        """Return the number of subscriptions that are matched with a topic."""
        return self._publishers[topic].get_subscription_count()

    def state(self, state: RobotState) -> None:
        """Publish the joint states."""
        message = _joints(self.robot.joint_names, state.stamp_ns, state.position)
        message.velocity, message.effort = state.velocity.tolist(), state.effort.tolist()
        self._send("joint_states", message)

    def environment(self, names: Sequence[str], values: Array, stamp_ns: int) -> None:
        """Publish a simulation's ground truth."""
        self._send("environment_state", _joints(names, stamp_ns, values))

    def applied(self, position: Array, stamp_ns: int, source: str) -> None:
        """Publish the applied command, with who commands the robot in `frame_id`: hold, person or policy."""
        message = _joints(self.robot.joint_names, stamp_ns, position)
        message.header.frame_id = source
        self._send("joint_commands_sent", message)

    def motors(self, readings: MotorReadings, stamp_ns: int, *, diagnostic: bool) -> None:
        """Publish the motor readings; if `diagnostic`, on `/diagnostics` too."""
        message = diagnostics.to_message(self.namespace, self.robot.joint_names, self._serials, readings, stamp_ns)
        self._send("motors", message)
        if diagnostic:
            self._diagnostics.publish(message)

    def status(self, statuses: Sequence[ComponentStatus], stamp_ns: int) -> None:
        """Publish the component statuses, on `/diagnostics` too."""
        message = diagnostics.component_message(self.namespace, statuses, stamp_ns)
        self._send(STATUS, message)
        self._diagnostics.publish(message)

    def image(self, frame: Frame, jpeg: bytes) -> None:
        """Publish a camera image. Called on the thread of the image worker."""
        from sensor_msgs.msg import CompressedImage

        message = CompressedImage(format="jpeg", data=jpeg)
        message.header.stamp = ros.ns_to_stamp(frame.stamp_ns)
        message.header.frame_id = frame.camera
        self._send(camera_topic(frame.camera), message)

    def task(self, task: Mapping[str, object]) -> None:
        """Publish a simulation's task as JSON."""
        from std_msgs.msg import String

        self._send("task", String(data=json.dumps(dict(task))))

    def _send(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)
        self._on_published(topic)


def _joints(names: Sequence[str], stamp_ns: int, position: Array) -> Any:
    from sensor_msgs.msg import JointState

    message = JointState(name=list(names), position=position.tolist())
    message.header.stamp = ros.ns_to_stamp(stamp_ns)
    return message
