"""Commands to the controllers of a robot on the ROS graph, each for some of its joints.

The kind of a controller follows from the name of its topic or action, as ros2_control names them:
`.../joint_trajectory` (trajectory_msgs/JointTrajectory), `.../commands` (std_msgs/Float64MultiArray),
`.../follow_joint_trajectory` and `.../gripper_cmd` (actions of control_msgs, which need a ROS installation).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from waldo import ros
from waldo.errors import HardwareError, InvalidValueError, MissingExtraError, UnknownNameError
from waldo.typing import Array

type Kind = Literal["trajectory", "forward", "joint_state"]
"""Message type of a topic: JointTrajectory, Float64MultiArray or JointState."""

MESSAGES: Mapping[str, str] = {
    "trajectory": "trajectory_msgs/msg/JointTrajectory",
    "forward": "std_msgs/msg/Float64MultiArray",
    "joint_state": "sensor_msgs/msg/JointState",
}
"""Kind of a topic -> message type."""
GOAL_CHANGE = 1e-3
"""A gripper receives another goal if the target has changed by this much [rad or m]."""
REJECTIONS = 3
"""Successive goals that an action server rejects; then the robot counts as one that does not follow."""
GOAL_PERIOD_S = 0.1
"""Shortest interval between two goals of an action [s]."""


class Controller(Protocol):
    """One controller; joints are the robot's own names of the joints that it moves."""

    name: str
    """Name of its topic or action."""

    @property
    def fault(self) -> str:
        """Why the controller does not follow, as text; empty if nothing is known against it."""
        ...

    def is_ready(self) -> bool:
        """Whether the controller receives commands."""
        ...

    def send(self, targets: Array) -> None:
        """Command the position targets of its joints, shape (joints of the controller,) [rad or m]."""
        ...


def controllers_of(commands: Mapping[str, str], joints: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return topic or action -> joints, from the option `commands`, whose joints are separated by "+".

    Raises:
        UnknownNameError: If a joint is not the robot's.
        InvalidValueError: If a joint has no controller, or two.
    """
    found = {name: tuple(part.strip() for part in text.split("+")) for name, text in commands.items()}
    chosen = [joint for names in found.values() for joint in names]
    for joint in chosen:
        if joint not in joints:
            raise UnknownNameError("joint", joint, joints)
    if wrong := [joint for joint in joints if chosen.count(joint) != 1]:
        expected = f"one controller for each joint, also for {', '.join(wrong)}"
        raise InvalidValueError("commands", dict(commands), expected)
    return found


def open_controller(
    graph: ros.Graph, name: str, kind: Kind, joints: Sequence[str], time_from_start_s: float
) -> Controller:
    """Return a controller by the name of its topic or action.

    Args:
        graph: The node on the ROS graph.
        name: Topic or action.
        kind: Message type of a topic whose name does not determine it.
        joints: The robot's own names of its joints.
        time_from_start_s: Time at which a trajectory's only point is to be reached [s].
    """
    if name.endswith("/follow_joint_trajectory"):
        return TrajectoryAction(graph, name, joints, time_from_start_s)
    if name.endswith("/gripper_cmd"):
        return GripperAction(graph, name, joints)
    by_name: dict[str, Kind] = {"joint_trajectory": "trajectory", "commands": "forward"}
    return TopicController(graph, name, by_name.get(name.rpartition("/")[2], kind), joints, time_from_start_s)


class TopicController:
    """A controller that subscribes to a topic."""

    fault = ""

    def __init__(
        self, graph: ros.Graph, name: str, kind: Kind, joints: Sequence[str], time_from_start_s: float
    ) -> None:
        """Create the publisher; see `open_controller`."""
        self.name, self._kind, self._joints, self._time_s = name, kind, list(joints), time_from_start_s
        try:
            self._message: Any = ros.message_type(MESSAGES[kind])
        except ImportError:
            raise MissingExtraError("ros-trajectory-msgs", "collect") from None
        self._publisher = graph.node.create_publisher(self._message, name, ros.stream_qos(10))

    def is_ready(self) -> bool:
        """Whether a controller subscribes to the topic."""
        return self._publisher.get_subscription_count() > 0

    def send(self, targets: Array) -> None:
        """Publish the targets."""
        if self._kind == "forward":
            self._publisher.publish(self._message(data=targets.tolist()))
        elif self._kind == "joint_state":
            message = self._message(name=self._joints, position=targets.tolist())
            message.header.stamp = ros.ns_to_stamp(time.time_ns())
            self._publisher.publish(message)
        else:
            self._publisher.publish(self._message(joint_names=self._joints, points=[_point(targets, self._time_s)]))


class ActionController:
    """A controller that is an action server; a new goal replaces the last one, whose result is not awaited."""

    action: str
    """Type of the action in control_msgs."""

    def __init__(self, graph: ros.Graph, name: str, joints: Sequence[str]) -> None:
        """Create the client; see `open_controller`."""
        try:
            from rclpy.action import ActionClient

            self._type: Any = getattr(importlib.import_module("control_msgs.action"), self.action)
        except ImportError:
            raise HardwareError(
                f"{name} needs the package control_msgs; install ros-jazzy-control-msgs of a ROS installation, or name "
                "a topic of the controller instead"
            ) from None
        self.name, self._joints = name, list(joints)
        self._client: Any = ActionClient(graph.node, self._type, name)
        self._sent_s = -np.inf
        self._rejected = 0

    @property
    def fault(self) -> str:
        """Why the server does not follow, as text; empty if it accepts goals."""
        return f"the action server {self.name} rejects goals" if self._rejected >= REJECTIONS else ""

    def is_ready(self) -> bool:
        """Whether the action server is on the graph."""
        return bool(self._client.server_is_ready())

    def _send(self, goal: Any) -> None:
        self._sent_s = time.monotonic()
        self._client.send_goal_async(goal).add_done_callback(lambda future: self._answered(future.result().accepted))

    def _answered(self, accepted: bool) -> None:
        """Count successive goals that were rejected."""
        self._rejected = 0 if accepted else self._rejected + 1


class TrajectoryAction(ActionController):
    """FollowJointTrajectory: each goal is a trajectory of one point."""

    action = "FollowJointTrajectory"

    def __init__(self, graph: ros.Graph, name: str, joints: Sequence[str], time_from_start_s: float) -> None:
        """Create the client; see `open_controller`."""
        super().__init__(graph, name, joints)
        self._time_s = time_from_start_s

    def send(self, targets: Array) -> None:
        """Send a goal, at most ten times a second: each one replaces the trajectory of the last."""
        if time.monotonic() - self._sent_s < GOAL_PERIOD_S:
            return
        goal = self._type.Goal()
        goal.trajectory.joint_names = self._joints
        goal.trajectory.points = [_point(targets, max(self._time_s, 2 * GOAL_PERIOD_S))]
        self._send(goal)


class GripperAction(ActionController):
    """GripperCommand of one joint."""

    action = "GripperCommand"

    def __init__(self, graph: ros.Graph, name: str, joints: Sequence[str]) -> None:
        """Create the client; see `open_controller`.

        Raises:
            InvalidValueError: If there is more than one joint.
        """
        if len(joints) != 1:
            raise InvalidValueError(f"joints of {name}", ", ".join(joints), "one joint")
        super().__init__(graph, name, joints)
        self._goal = np.nan

    def _answered(self, accepted: bool) -> None:
        """Send a goal again that was rejected."""
        super()._answered(accepted)
        if not accepted:
            self._goal = np.nan

    def send(self, targets: Array) -> None:
        """Send a goal if the target has changed."""
        (target,) = targets.tolist()
        # The comparison is false for NaN.
        if abs(target - self._goal) < GOAL_CHANGE or time.monotonic() - self._sent_s < GOAL_PERIOD_S:
            return
        goal = self._type.Goal()
        goal.command.position = target
        self._goal = target
        self._send(goal)


def _point(targets: Array, seconds: float) -> Any:
    """Return the only point of a trajectory, to be reached after `seconds` [s]; without a stamp it starts at once."""
    from builtin_interfaces.msg import Duration
    from trajectory_msgs.msg import JointTrajectoryPoint

    duration = Duration(sec=int(seconds), nanosec=round((seconds - int(seconds)) * 1e9))
    return JointTrajectoryPoint(positions=targets.tolist(), time_from_start=duration)
