"""The policy node: moves messages between the ROS graph and the policy loop, in real or in simulated time.

It publishes `joint_commands`, as a teleoperation device does, with "policy" as the source, and on the topic `policy`
what is stated about each command. Camera images stay encoded until the policy looks at them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from waldo import ros
from waldo.datasets import schema
from waldo.robots import diagnostics
from waldo.robots.control.arbiter import SOURCE_OF_LABEL, Source, policy_frame
from waldo.robots.diagnostics import CONTROL, GOVERNOR, OK, WARN
from waldo.robots.event import Event
from waldo.train.runner.attempts import Attempts
from waldo.train.runner.policy_loop import REPORTED, WAITING, PolicyLoop, RobotView, Step
from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.ros import Graph

STARTING_S = 2.0
"""Time in which it is not reported that there is no state, no image and no chunk yet [s]."""

FLUSH_S = 0.1
"""Time for the last command to leave this process [s]."""


type Person = Callable[[Array, Mapping[str, float], float], Array | None]
"""A device that takes over: called with joint positions (joints,), the ground truth of a simulation by name, and the
length of the cycle [s]; returns targets (joints,), or None while no one is engaged."""


@dataclass(slots=True)
class RunTotals:
    """What happened during a run."""

    commands: int = 0
    """Commands with joints."""
    missed: int = 0
    """Control cycles that started more than a period late."""
    chunks: int = 0
    """Chunks that were played."""
    takeovers: int = 0
    """Times that a person took over."""
    holds: dict[str, int] = field(default_factory=dict[str, int])
    """Reason -> times that the robot held because of it."""
    jumps: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Differences in position [rad or m] and velocity [rad/s or m/s] at each border between two chunks."""
    inference_s: list[float] = field(default_factory=list[float])
    """Duration of the inference of each chunk [s]."""


class PolicyNode:
    """Runs a policy loop against a robot on the ROS graph."""

    def __init__(
        self,
        graph: Graph,
        loop: PolicyLoop,
        joint_names: tuple[str, ...],
        cameras: Mapping[str, str],
        *,
        task: str = "",
        attempts: Attempts | None = None,
        person: Person | None = None,
        lockstep: int = 0,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """Create the publishers and subscriptions.

        Args:
            graph: The node on the ROS graph, in the robot's namespace.
            loop: The loop.
            joint_names: Joints of the robot, in the order of the policy's actions.
            cameras: Key of each image that the policy needs -> topic of compressed images.
            task: The instruction; empty for the one that the robot publishes on the topic `task`.
            attempts: Attempts to carry out; None: one that lasts until the end.
            person: A device in this process that takes over; devices of other processes need not be named.
            lockstep: Number of subscribers that must receive each command in simulated time; 0 for real time.
            on_event: Called when the robot starts or stops following the policy, and why.
        """
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import CompressedImage, JointState
        from std_msgs.msg import String

        self._graph, self._loop, self._names, self._on_event = graph, loop, list(joint_names), on_event
        self._joint_state = JointState
        self.view = RobotView()
        """What is known of the robot."""
        self.task_name = ""
        """Name of the task of a simulation."""
        self.totals = RunTotals()
        """What happened so far."""
        self._attempts, self._person, self._lockstep = attempts, person, lockstep
        self._engaged = False
        self._clock_ns = self._answered_ns = -1
        self._environment: tuple[int, dict[str, float]] = (-1, {})
        self._active_s: float | None = None
        self._own_task = task
        if task:
            self.view.task = (task, None)
        qos = ros.stream_qos()
        topics = schema.TOPIC_OF_STREAM
        self._commands = graph.node.create_publisher(JointState, topics[schema.COMMAND], qos)
        self._statements = graph.node.create_publisher(JointState, schema.POLICY, qos)
        graph.subscribe(JointState, topics[schema.STATE], self._on_state, qos)
        graph.subscribe(JointState, topics[schema.APPLIED], self._on_applied, qos)
        graph.subscribe(DiagnosticArray, "status", self._on_status, qos)
        graph.subscribe(String, "task", self._on_task, ros.latched_qos())
        if lockstep or person is not None:
            graph.subscribe(JointState, topics[schema.ENVIRONMENT], self._on_environment, qos)
        if lockstep:
            from rosgraph_msgs.msg import Clock

            graph.subscribe(Clock, "/clock", self._on_clock, ros.stream_qos(10))
        for key, topic in cameras.items():
            graph.subscribe(CompressedImage, topic, self._image_callback(key), ros.stream_qos(2))
        self._reason = "-"

    # subscriptions

    def _on_state(self, message: Any) -> None:
        positions = dict(zip(message.name, message.position, strict=False))
        if all(name in positions for name in self._names):
            position = np.array([positions[name] for name in self._names])
            self.view.add_state(ros.stamp_to_ns(message.header.stamp), position)

    def _on_environment(self, message: Any) -> None:
        values = dict(zip(message.name, message.position, strict=False))
        self._environment = ros.stamp_to_ns(message.header.stamp), values

    def _on_clock(self, message: Any) -> None:
        self._clock_ns = ros.stamp_to_ns(message.clock)

    def _on_applied(self, message: Any) -> None:
        source = SOURCE_OF_LABEL.get(message.header.frame_id, Source.HOLD)
        if self._engaged:
            return  # This process knows it earlier.
        if source is Source.PERSON and self.view.control is not Source.PERSON:
            self.totals.takeovers += 1
        self.view.control = source

    def _on_status(self, message: Any) -> None:
        components = diagnostics.components_from_message(message)
        if (control := components.get(CONTROL)) is not None:
            self.view.hold_reason = control.values.get("reason", "")
        if (governor := components.get(GOVERNOR)) is not None:
            ratio = diagnostics.from_text(governor.values.get("speed_ratio", ""))
            self.view.speed_ratio = ratio if 0 < ratio <= 1 else 1.0

    def _on_task(self, message: Any) -> None:
        """Take the instruction of a simulation; each reset of its world is a new scene."""
        try:
            values = dict(json.loads(message.data))
        except (ValueError, TypeError):
            return
        self.task_name = str(values.get("name", ""))
        text = self._own_task or str(values.get("task", ""))
        self.view.task = (text, (values.get("seed"), values.get("task")))

    def _image_callback(self, key: str) -> Callable[[Any], None]:
        def on_image(message: Any) -> None:
            self.view.images[key] = (ros.stamp_to_ns(message.header.stamp), bytes(message.data))

        return on_image

    # the loop

    def run(self, done: Callable[[], bool]) -> RunTotals:
        """Run until `done()` or the last attempt has ended; always ends with a command without joints."""
        self._active_s = None
        try:
            if self._lockstep:
                self._run_in_lockstep(lambda: done() or self.finished)
            else:
                self._run_in_real_time(lambda: done() or self.finished)
        finally:
            if self._attempts is not None:
                self._attempts.close()
            self._release(policy_frame("the policy has ended"), self._now_ns())
            self._graph.spin_for(FLUSH_S)
        return self.totals

    @property
    def finished(self) -> bool:
        """Whether all attempts have ended."""
        return self._attempts is not None and self._attempts.finished

    def _now_ns(self) -> int:
        """Return the time of the robot's clock [ns]."""
        return self.view.state_ns if self._lockstep else time.time_ns()

    def _clock_s(self) -> float:
        """Return the time by which intervals are measured [s]; in simulated time it does not depend on the machine."""
        return self.view.state_ns / 1e9 if self._lockstep else time.monotonic()

    def _run_in_real_time(self, done: Callable[[], bool]) -> None:
        period_s = 1 / self._loop.config.rate
        deadline_s = time.monotonic()
        while not done():
            self._cycle(period_s)
            deadline_s += period_s
            late_s = time.monotonic() - deadline_s
            if late_s > period_s:
                self.totals.missed += int(late_s / period_s)
                deadline_s = time.monotonic()
            self._graph.spin_for(max(0.0, deadline_s - time.monotonic()))

    def _run_in_lockstep(self, done: Callable[[], bool]) -> None:
        """Answer each state of the simulation once everything that belongs to it has arrived."""
        graph = self._graph
        graph.spin_until(lambda: done() or self._commands.get_subscription_count() >= self._lockstep)
        period_s = 1 / self._loop.config.rate
        while not done():
            # The robot advances the clock after the images of a state.
            graph.spin_until(lambda: done() or self._has_arrived())
            if done():
                return
            self._answered_ns = self.view.state_ns
            self._cycle(period_s)

    def _has_arrived(self) -> bool:
        """Return whether a state that is not answered yet has arrived, with what belongs to it."""
        state_ns = self.view.state_ns
        complete = self._clock_ns >= state_ns and self._environment[0] >= state_ns
        return complete and state_ns > self._answered_ns

    def _cycle(self, period_s: float) -> None:
        now_ns, chunks = self._now_ns(), self._loop.player.chunks
        if self._attempts is not None and not self._attempts.step(period_s, person=self.view.control is Source.PERSON):
            self._loop.pause(self.view)
            if self._engaged:
                self._release("", now_ns)
                self.view.control = Source.HOLD
            self._engaged = False
            self._release(policy_frame(), now_ns)
            self._active_s = self._clock_s()
            self._state(Step(values=(float("nan"),) * len(REPORTED)), now_ns)
            return
        if self._follow_person(period_s, now_ns):
            self.view.control = Source.PERSON
        step = self._loop.step(self.view, now_ns, period_s)
        if step.targets is not None:
            self._publish(step.targets.tolist(), policy_frame(), now_ns)
            self.totals.commands += 1
        elif not self._engaged and (step.release or self._lockstep):
            self._release(policy_frame(step.reason), now_ns)
        self._state(step, now_ns)
        self._count(chunks)
        self._report(step)

    def _follow_person(self, period_s: float, now_ns: int) -> bool:
        """Publish the command of the device in this process; return whether a person is engaged."""
        if self._person is None or not self.view.state_ns:
            return False
        target = self._person(self.view.position, self._environment[1], period_s)
        if target is None:
            if self._engaged:
                self._release("", now_ns)
                self.view.control = Source.HOLD
            self._engaged = False
            return False
        if not self._engaged:
            self.totals.takeovers += 1
        self._engaged = True
        self._publish(target.tolist(), "", now_ns)
        return True

    def _publish(self, positions: list[float], frame_id: str, now_ns: int) -> None:
        message = self._joint_state(name=self._names, position=positions)
        message.header.stamp, message.header.frame_id = ros.ns_to_stamp(now_ns), frame_id
        self._commands.publish(message)

    def _release(self, frame_id: str, now_ns: int) -> None:
        message = self._joint_state()
        message.header.stamp, message.header.frame_id = ros.ns_to_stamp(now_ns), frame_id
        self._commands.publish(message)

    def _state(self, step: Step, now_ns: int) -> None:
        """Publish what is stated about the command."""
        message = self._joint_state(name=list(REPORTED), position=list(step.values))
        message.header.stamp = ros.ns_to_stamp(now_ns)
        self._statements.publish(message)

    def _count(self, before: int) -> None:
        player = self._loop.player
        if player.chunks == before:
            return
        self.totals.chunks = player.chunks
        self.totals.inference_s.append(self._loop.inference_s)
        if player.border is not None:
            self.totals.jumps.append((player.border.position, player.border.velocity))

    def _report(self, step: Step) -> None:
        """Report each change between following and holding."""
        now_s = self._clock_s()
        if self._active_s is None:
            self._active_s = now_s
        if not step.reason:
            self._active_s = now_s
        elif step.reason == WAITING or not self.totals.commands:
            # The first actions of an attempt take a moment.
            if now_s - self._active_s < STARTING_S:
                return
        reason = "".join(" " if c.isdigit() else c for c in step.reason)
        if reason == self._reason:
            return
        self._reason = reason
        if not step.reason:
            self._on_event(Event(f"the policy drives: {self.view.task[0]}", OK))
            return
        self.totals.holds[step.reason] = self.totals.holds.get(step.reason, 0) + 1
        self._on_event(Event(f"holding: {step.reason}", WARN))
