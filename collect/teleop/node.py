"""The teleoperation node: moves messages between the ROS graph and the teleoperation loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from waldo import ros
from waldo.collect.devices.device import Device, Observation
from waldo.collect.heat_margins import heat_margins
from waldo.collect.notice import Notice
from waldo.collect.robot_condition import RobotCondition, robot_condition
from waldo.collect.services import Services
from waldo.collect.status_watch import STATUS_TOPIC, StatusWatch
from waldo.collect.teleop.camera_feed import CameraFeed
from waldo.collect.teleop.loop import STALE_S, TeleopLoop
from waldo.collect.teleop.observations import ObservationBuffer
from waldo.datasets import schema
from waldo.robots.diagnostics import CONTROL, ComponentStatus, components_from_message, from_message
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.ros import Graph

RATE_HZ = 60
"""Default rate of commands in real time [Hz]."""


class TeleopNode:
    """Runs a device against a robot on the ROS graph."""

    def __init__(
        self,
        graph: Graph,
        device: Device,
        joint_names: Sequence[str],
        *,
        lockstep: int = 0,
        rate_hz: float = RATE_HZ,
        notify: Callable[[Notice], None] = lambda _: None,
        on_condition: Callable[[RobotCondition], None] = lambda _: None,
    ) -> None:
        """Create the publisher, the subscriptions and the service clients.

        Args:
            graph: The node on the ROS graph, in the robot's namespace.
            device: The operator's device.
            joint_names: Joints of the robot, in the order of the device's targets.
            lockstep: Number of subscribers that must receive each command in simulated time; 0 for real time.
            rate_hz: Commands per second [Hz].
            notify: Shows a notice to the operator.
            on_condition: Called with each change of the robot's condition.
        """
        from diagnostic_msgs.msg import DiagnosticArray
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import JointState

        self._graph, self._lockstep, self._notify = graph, lockstep, notify
        self._names = list(joint_names)
        self._buffer = ObservationBuffer(joint_names, paired=bool(lockstep))
        self._control = StatusWatch()
        self._on_condition = on_condition
        self._condition: RobotCondition | None = None
        self._status: ComponentStatus | None = None
        self._status_s = self._state_s = time.monotonic()
        self._clock_ns = -1
        self._joint_state = JointState
        node, qos = graph.node, ros.stream_qos()
        topics = schema.TOPIC_OF_STREAM
        self._publisher = node.create_publisher(JointState, topics[schema.COMMAND], qos)
        subscribe = graph.subscribe
        subscribe(JointState, topics[schema.STATE], self._on_state, qos)
        subscribe(JointState, topics[schema.ENVIRONMENT], self._on_environment, qos)
        subscribe(DiagnosticArray, STATUS_TOPIC, self._on_status, qos)
        # A robot in lockstep counts the subscriptions of its topics: those of the recorder.
        if getattr(device, "uses_feedback", False) and not lockstep:
            subscribe(JointState, topics[schema.APPLIED], self._on_applied, qos)
            subscribe(DiagnosticArray, topics[schema.MOTORS], self._on_motors, qos)
        if lockstep:
            subscribe(Clock, "/clock", self._on_clock, ros.stream_qos(10))
        # A device may show its operator the cameras and the robot's condition, as a headset does.
        show = getattr(device, "image", None)
        self._cameras = CameraFeed(graph, show) if show else None
        self._device_condition: Callable[[RobotCondition], None] = getattr(device, "condition", lambda _: None)
        session = Services(graph, self._settled, notify)
        self._loop = TeleopLoop(device, session, self, rate_hz=rate_hz, lockstep=bool(lockstep))

    def run(self, done: Callable[[], bool]) -> None:
        """Run until the device is finished or `done()`."""
        self._show_condition()
        if self._lockstep:
            self._graph.spin_until(lambda: done() or self._publisher.get_subscription_count() >= self._lockstep)
        self._loop.run(done)

    # subscriptions

    def _on_state(self, message: Any) -> None:
        self._state_s = time.monotonic()
        self._buffer.add_state(ros.stamp_to_ns(message.header.stamp), message.name, message.position)

    def _on_environment(self, message: Any) -> None:
        self._buffer.add_environment(ros.stamp_to_ns(message.header.stamp), message.name, message.position)

    def _on_applied(self, message: Any) -> None:
        self._buffer.add_applied(message.name, message.position)

    def _on_motors(self, message: Any) -> None:
        self._buffer.add_heat_margins(heat_margins(from_message(message)))

    def _on_clock(self, message: Any) -> None:
        self._clock_ns = ros.stamp_to_ns(message.clock)

    def _on_status(self, message: Any) -> None:
        """Show each change of the robot's control mode."""
        status = components_from_message(message).get(CONTROL)
        if status is None:
            return
        self._status, self._status_s = status, time.monotonic()
        self._show_condition()
        at_ns = ros.stamp_to_ns(message.header.stamp)
        change = self._control.update(CONTROL, status.level, status.message, at_ns)
        if change is not None:
            self._notify(Notice(level=change.level, text=f"robot: {change.text}"))

    def _show_condition(self) -> None:
        """Report a change of the robot's condition at once."""
        now_s = time.monotonic()
        condition = robot_condition(
            self._status,
            status_age_s=now_s - self._status_s,
            received=self._buffer.latest is not None,
            silent=not self._lockstep and now_s - self._state_s > STALE_S,
        )
        if condition != self._condition:
            self._condition = condition
            self._on_condition(condition)
            self._device_condition(condition)

    def _settled(self) -> bool:
        latest = self._buffer.latest
        return not self._lockstep or (latest is not None and self._clock_ns >= latest.stamp_ns)

    # the transport of the loop

    @property
    def latest(self) -> Observation | None:
        """The newest observation; None before the first one."""
        return self._buffer.latest

    def publish(self, targets: Array | None, stamp_ns: int) -> None:
        """Publish joint targets (joints,) [rad or m]; None publishes a command without joints."""
        message = self._joint_state()
        message.header.stamp = ros.ns_to_stamp(stamp_ns)
        if targets is not None:
            message.name, message.position = self._names, targets.tolist()
        self._publisher.publish(message)

    def monotonic_s(self) -> float:
        """Return the time of a monotonic clock [s]."""
        return time.monotonic()

    def time_ns(self) -> int:
        """Return the wall time [ns since the epoch]."""
        return time.time_ns()

    def spin_for(self, seconds: float) -> None:
        """Process messages for a duration [s]."""
        if self._cameras is not None:
            self._cameras.look()
        self._graph.spin_for(seconds)
        self._show_condition()

    def spin_until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Process messages until a condition holds; return False after the timeout."""
        return self._graph.spin_until(condition, timeout_s)
