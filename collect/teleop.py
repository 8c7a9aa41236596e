"""The teleoperation node: a device on one side, `joint_commands` on the other, and the services an operator can call.

While the operator's hand is on the device each control cycle carries a command; the cycle in which it lets go carries a
command without names, at which the robot holds at once. If this process dies, the robot's watchdog holds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from waldo import console, ros
from waldo.collect.devices.device import Answer, Array, Device, Observation
from waldo.errors import WaldoError

if TYPE_CHECKING:
    from waldo.ros import Graph

PATIENCE_S = 60.0
"""How long a program waits for a service: a machine shared with others may stand still for a while [s]."""

RATE_HZ = 60
"""Commands a second in real time, unless something else is asked for."""

SERVICES: Mapping[str, str] = {
    **dict.fromkeys(("start", "stop", "save", "fail", "discard", "undo"), "recorder"),
    **dict.fromkeys(("enable", "stop_motion", "reset", "task_done"), "robot"),
}
"""Service -> the node that offers it."""


class Services:
    """Calls the recorder's and the robot's services for a device."""

    def __init__(self, graph: Graph, settled: Callable[[], bool]) -> None:
        """Take the graph, and what says that the clock has come to the present observation."""
        from std_srvs.srv import SetBool, Trigger

        self._graph, self._settled = graph, settled
        self._set_bool, self._trigger = SetBool, Trigger
        self._clients: dict[str, Any] = {
            name: graph.node.create_client(SetBool if name == "enable" else Trigger, f"{node}/{name}")
            for name, node in SERVICES.items()
        }

    def _request(self, name: str) -> Any:
        return self._set_bool.Request(data=True) if name == "enable" else self._trigger.Request()

    def call(self, name: str) -> Answer:
        """Call a service once everything up to now has been received, and wait for its answer."""
        if not self._graph.spin_until(self._settled, PATIENCE_S):
            return Answer(False, "the simulated clock stands still: is the recorder running?")
        response = self._graph.call(self._clients[name], self._request(name), PATIENCE_S)
        if response is None:
            return Answer(
                False,
                f"no answer from {SERVICES[name]}/{name} within {PATIENCE_S:g} s: is the {SERVICES[name]} running?",
            )
        return Answer(response.success, response.message)

    def ask(self, name: str) -> None:
        """Call a service; its answer is shown when it comes."""
        client = self._clients[name]
        if not client.service_is_ready():
            console.err().print(f"{name}: the {SERVICES[name]} is not running")
            return
        client.call_async(self._request(name)).add_done_callback(lambda future: self._show(name, future.result()))

    def _show(self, name: str, response: Any) -> None:
        mark = "ok" if response.success else "[red]refused[/red]"
        # The operator's eyes are on the robot: a bell tells that something was done.
        console.err().print(f"\a{name}: {mark} {response.message}")


class Teleop:
    """Runs a device against a robot on the ROS graph."""

    def __init__(
        self, graph: Graph, device: Device, joint_names: Sequence[str], *, lockstep: int = 0, rate_hz: int = RATE_HZ
    ) -> None:
        """Take the device, the robot's joints, how many nodes must hear each command (0 in real time), the rate."""
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import JointState

        self._graph, self._device, self._lockstep = graph, device, lockstep
        self._period_s, self._due_s = 1 / rate_hz, 0.0
        self._names = tuple(joint_names)
        self._states: dict[int, Any] = {}
        self._environments: dict[int, Any] = {}
        self._simulated = False
        self._latest: Observation | None = None
        self._clock_ns = self._answered_ns = -1
        self._engaged = False
        self._joint_state = JointState
        node, qos = graph.node, ros.stream_qos()
        self._publisher = node.create_publisher(JointState, "joint_commands", qos)
        node.create_subscription(JointState, "joint_states", self._on_state, qos)
        node.create_subscription(JointState, "environment_state", self._on_environment, qos)
        if lockstep:
            node.create_subscription(Clock, "/clock", self._on_clock, ros.stream_qos(10))
        self.services = Services(graph, self._settled)

    def _on_state(self, message: Any) -> None:
        self._states[ros.stamp_to_ns(message.header.stamp)] = message
        self._pair()

    def _on_environment(self, message: Any) -> None:
        self._simulated = True
        self._environments[ros.stamp_to_ns(message.header.stamp)] = message
        self._pair()

    def _on_clock(self, message: Any) -> None:
        self._clock_ns = ros.stamp_to_ns(message.clock)

    def _settled(self) -> bool:
        return not self._lockstep or (self._latest is not None and self._clock_ns >= self._latest.stamp_ns)

    def _pair(self) -> None:
        """Make an observation of the newest state, with the ground truth of the same moment where there is one."""
        stamps = self._states.keys() & self._environments.keys() if self._simulated or self._lockstep else self._states
        if not stamps:
            return
        newest = max(stamps)
        state, environment = self._states[newest], self._environments.get(newest)
        by_name = dict(zip(state.name, state.position, strict=True))
        missing = [name for name in self._names if name not in by_name]
        if missing:
            raise WaldoError(
                f"joint_states lacks {', '.join(missing)}; found {', '.join(state.name)}: is this the right robot?"
            )
        truth = {} if environment is None else dict(zip(environment.name, environment.position, strict=True))
        position = np.array([by_name[name] for name in self._names])
        self._latest = Observation(stamp_ns=newest, position=position, environment=truth)
        self._states = {stamp: value for stamp, value in self._states.items() if stamp > newest}
        self._environments = {stamp: value for stamp, value in self._environments.items() if stamp > newest}

    def run(self, done: Callable[[], bool]) -> None:
        """Steer until the device is finished or `done()`."""
        if self._lockstep:
            self._graph.spin_until(lambda: done() or self._publisher.get_subscription_count() >= self._lockstep)
        self._device.open()
        try:
            while not (done() or self._device.finished):
                if not (self._next_in_lockstep(done) if self._lockstep else self._next_in_real_time(done)):
                    return
        finally:
            self._device.close()
            self._publish(None, 0 if self._latest is None else self._latest.stamp_ns)
            self._graph.spin_for(0.1)

    def _next_in_lockstep(self, done: Callable[[], bool]) -> bool:
        """Answer the next state of the simulation; False when asked to end."""
        self._graph.spin_until(
            lambda: done() or (self._latest is not None and self._latest.stamp_ns > self._answered_ns)
        )
        if done() or self._latest is None:
            return False
        # The next state may already come in while the device calls a service: remember which one this answers.
        self._answered_ns = self._latest.stamp_ns
        self._publish(self._device.step(self._latest, self.services, self._period_s), self._answered_ns)
        return True

    def _next_in_real_time(self, done: Callable[[], bool]) -> bool:
        """Command once, then let a cycle pass; False when asked to end."""
        started = time.monotonic()
        if self._latest is None:
            if not self._graph.spin_until(lambda: done() or self._latest is not None, 10.0):
                raise WaldoError("no joint_states for 10 s: is the robot node running in this namespace and domain?")
            return not done()
        target = self._device.step(self._latest, self.services, self._period_s)
        if target is not None or self._engaged:
            self._publish(target, time.time_ns())
        # From deadline to deadline, so that what a cycle takes does not slow the next; none is made up for.
        self._due_s = max(self._due_s + self._period_s, started)
        self._graph.spin_for(max(0.0, self._due_s - time.monotonic()))
        return True

    def _publish(self, target: Array | None, stamp_ns: int) -> None:
        """Publish targets, or the empty command that says that the operator let go."""
        self._engaged = target is not None
        message = self._joint_state()
        message.header.stamp = ros.ns_to_stamp(stamp_ns)
        if target is not None:
            message.name, message.position = list(self._names), target.tolist()
        self._publisher.publish(message)
