"""A device in the robot's process: read after the robot, and followed in the same cycle.

The device is stepped in a thread of its own. If it is not ready in time, the cycle continues without a command, and the
watchdog holds the robot as it does when messages stop. Requests and notices of the device are passed on by the robot's
thread, which alone uses the ROS graph.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotReady
from typing import TYPE_CHECKING, Any

from waldo import ros
from waldo.collect.devices.device import Device, Observation, ServiceResponse
from waldo.collect.notice import Notice
from waldo.collect.services import Services
from waldo.datasets import schema
from waldo.errors import WaldoError
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, OK
from waldo.robots.driver import RobotState
from waldo.robots.operator import Command
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.ros import Graph


class QueuedSession:
    """The Session of a device in another thread: requests and notices wait until the robot's thread passes them on."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[Services], None]] = deque()

    def call(self, name: str) -> ServiceResponse:
        """Return a failure: waiting for a service would stop the robot's control cycle."""
        return ServiceResponse(False, f"{name}: this device needs a process of its own; run waldo teleop")

    def request(self, name: str) -> None:
        """Call a service; its response is shown when it arrives."""
        self._waiting.append(lambda services: services.request(name))

    def notify(self, text: str, level: int = OK) -> None:
        """Show a line of text to the operator."""
        self._waiting.append(lambda services: services.notify(text, level))

    def pass_on(self, services: Services) -> None:
        """Make the requests and show the notices that have waited."""
        while self._waiting:
            self._waiting.popleft()(services)


class LocalTeleop:
    """A `LocalOperator` over a device; a context manager."""

    def __init__(
        self, graph: Graph, device: Device, robot: Robot, *, period_s: float, notify: Callable[[Notice], None]
    ) -> None:
        """Create the publisher and the service clients; the device is not opened yet.

        Args:
            graph: The robot's node on the ROS graph.
            device: The operator's device.
            robot: The robot that it commands.
            period_s: Duration of a control cycle [s].
            notify: Shows a notice to the operator.
        """
        from sensor_msgs.msg import JointState

        self._device, self._names, self._period_s = device, list(robot.joint_names), period_s
        self._services, self._session = Services(graph, lambda: True, notify), QueuedSession()
        self._message = JointState
        self._publisher = graph.node.create_publisher(
            JointState, schema.TOPIC_OF_STREAM[schema.COMMAND], ros.stream_qos()
        )
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._step: Future[Array | None] | None = None
        self._stamp_ns = 0
        self._engaged, self._failed = False, False

    def __enter__(self) -> LocalTeleop:
        """Open the device."""
        self._device.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go and close the device."""
        self._pool.shutdown()
        if self._engaged:
            self._publish(self._release())
        self._device.close()

    @property
    def finished(self) -> bool:
        """Whether the operator has ended the session."""
        return self._device.finished

    def command(self, state: RobotState) -> Command | None:
        """Read the device and return its command."""
        self._begin(state)
        return self._finish()

    def report(self, command: Command | None) -> None:
        """Publish a command that was followed, for the recorder, and pass on requests and notices of the device."""
        self._session.pass_on(self._services)
        if command is not None:
            self._publish(command)

    def _begin(self, state: RobotState) -> None:
        """Start to read the device, unless it is still being read."""
        if self._step is None and not self._failed:
            observation = Observation(stamp_ns=state.stamp_ns, position=state.position, environment={})
            self._stamp_ns = time.time_ns()
            self._step = self._pool.submit(self._device.step, observation, self._session, self._period_s)

    def _finish(self) -> Command | None:
        """Return the command of a device that is ready within a cycle; a failure of the device lets go."""
        if self._step is None:
            return None
        try:
            target = self._step.result(self._period_s)
        except NotReady:
            return None
        except WaldoError as error:
            self._failed, target = True, None
            self._session.notify(f"the device failed, the robot holds; start it again: {error}", ERROR)
        self._step = None
        if target is not None:
            self._engaged = True
            return Command(names=self._names, positions=target.tolist(), stamp_ns=self._stamp_ns)
        return self._release() if self._engaged else None

    def _release(self) -> Command:
        self._engaged = False
        return Command(names=(), positions=(), stamp_ns=self._stamp_ns)

    def _publish(self, command: Command) -> None:
        message: Any = self._message()
        message.header.stamp = ros.ns_to_stamp(command.stamp_ns)
        message.name, message.position = list(command.names), list(command.positions)
        self._publisher.publish(message)
