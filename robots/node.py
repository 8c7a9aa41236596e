"""The robot node: runs the control cycle of one robot, real or simulated, on the ROS graph.

The node moves messages; `ControlCycle` decides. In simulated time (`lockstep`) the simulation advances once the
operator has answered the present state and the recorder has received all of it. No message is lost and nothing depends
on scheduling: the same seed gives the same messages with the same stamps.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from waldo import ros
from waldo.errors import InvalidValueError
from waldo.robots import diagnostics
from waldo.robots.cameras.image_worker import ImageWorker, encode_jpeg
from waldo.robots.control.arbiter import LABELS
from waldo.robots.control.cycle import MOTOR_HZ, Acted, ControlCycle, CycleConfig, Sensed
from waldo.robots.control.lockstep import PEERS, Lockstep
from waldo.robots.control.safety import SafetyChain
from waldo.robots.control.transport_delay import TransportDelay
from waldo.robots.diagnostics import ERROR, WARN, ComponentStatus
from waldo.robots.driver import Driver, Frame, SimulatedDriver
from waldo.robots.event import Event
from waldo.robots.operator import LocalOperator
from waldo.robots.publisher import STATUS, RobotPublisher

if TYPE_CHECKING:
    from waldo.ros import Graph

ENCODING_S = 0.001
"""Interval at which the end of encoding is looked for in simulated time [s]."""

REPEAT_STATUS_S = 1.0
"""Interval at which the status is repeated while the recorder has not acknowledged it [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig(CycleConfig):
    """Options of a robot node."""

    lockstep: tuple[str, ...] = ()
    """Processes that simulated time waits for: "operator", "recorder". Empty for real time."""
    jpeg_quality: int = 90
    """JPEG quality of published camera images, 1 to 100; images that a camera delivers as JPEG are passed through."""

    def __post_init__(self) -> None:
        CycleConfig.__post_init__(self)
        for peer in self.lockstep:
            if peer not in PEERS:
                raise InvalidValueError("lockstep", peer, f"any of {', '.join(PEERS)}")
        if not 1 <= self.jpeg_quality <= 100:
            raise InvalidValueError("jpeg_quality", self.jpeg_quality, "1 to 100")


class RobotNode:
    """Runs a driver on the ROS graph."""

    def __init__(self, graph: Graph, driver: Driver, config: NodeConfig, operator: LocalOperator | None = None) -> None:
        """Create the topics and services; the driver must be connected.

        Args:
            graph: The node on the ROS graph, in the robot's namespace.
            driver: The robot.
            config: The node's options.
            operator: A device in this process, which must be open; others send messages.
        """
        self.graph, self.driver, self.config, self._operator = graph, driver, config, operator
        self._local_ns: deque[int] = deque(maxlen=64)
        """Stamps of the local operator's last commands, whose messages arrive here as well."""
        self._lockstep = Lockstep(config.lockstep)
        self._images = ImageWorker(lambda frame: encode_jpeg(frame, config.jpeg_quality), self._publish_image)
        self.cycle = ControlCycle(driver, config, simulated_time=bool(self._lockstep), monitors=[self._images])
        self._publisher = RobotPublisher(
            graph.node,
            self.cycle.robot,
            self.cycle.serials,
            simulated=self.cycle.simulated is not None,
            on_published=self._lockstep.count,
        )
        self._motor_messages = 0
        self._delay = TransportDelay()
        self._statuses: Sequence[ComponentStatus] = ()
        self._statuses_ns = 0
        self._open_topics()
        self._open_services()
        self._publish_task()

    @property
    def safety(self) -> SafetyChain:
        """The safety chain."""
        return self.cycle.safety

    def _open_topics(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import JointState
        from std_msgs.msg import UInt64MultiArray

        node, qos = self.graph.node, ros.stream_qos()
        self._clock = node.create_publisher(Clock, "/clock", ros.stream_qos(10)) if self._lockstep else None
        self.graph.subscribe(JointState, "joint_commands", self._on_command, qos)
        self.graph.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics, ros.stream_qos(10))
        if "recorder" in self._lockstep.peers:
            self.graph.subscribe(UInt64MultiArray, "received", self._on_received, qos)

    def _open_services(self) -> None:
        from std_srvs.srv import SetBool, Trigger

        serve = self.graph.serve
        serve(SetBool, "~/enable", self._on_enable)
        serve(Trigger, "~/stop_motion", self._on_stop_motion)
        if self.cycle.simulated is not None:
            serve(Trigger, "~/reset", self._on_reset)
            serve(Trigger, "~/task_done", self._on_task_done)

    # messages

    def _on_command(self, message: Any, info: Any) -> None:
        """Pass a command on; its age counts from its publication, also if this process was too busy to read it."""
        stamp_ns, now_ns = ros.stamp_to_ns(message.header.stamp), time.time_ns()
        if stamp_ns in self._local_ns:
            return
        self._lockstep.command(stamp_ns, int(info["publication_sequence_number"]))
        late_ns = 0 if self._lockstep else self._delay.late_ns(int(info["source_timestamp"]), now_ns)
        frame_id = message.header.frame_id
        self.cycle.command(message.name, message.position, now_ns - late_ns, stamp_ns or None, frame_id)

    def _on_diagnostics(self, message: Any) -> None:
        state = diagnostics.recorder_state(message, self.graph.node.get_namespace().strip("/"))
        if state is not None:
            self.cycle.set_recorder_state(recording=state == "recording", monotonic_s=time.monotonic())

    def _on_received(self, message: Any) -> None:
        labels = [dimension.label for dimension in message.layout.dim]
        self._lockstep.acknowledge(dict(zip(labels, message.data, strict=True)))

    def _on_enable(self, request: Any, response: Any) -> Any:
        if request.data:
            self.cycle.enable()
        else:
            self.cycle.safety.stop("disabled by the operator")
        response.success = True
        return response

    def _on_stop_motion(self, _request: Any, response: Any) -> Any:
        self.cycle.safety.stop("stopped by the operator")
        response.success, response.message = True, "stopped; press v to continue"
        return response

    def _on_reset(self, _request: Any, response: Any) -> Any:
        seed = self.cycle.reset_world()
        self._publish_task()
        response.success, response.message = True, f"seed {seed}"
        return response

    def _on_task_done(self, _request: Any, response: Any) -> Any:
        response.success = cast("SimulatedDriver", self.cycle.simulated).success()
        return response

    def _publish_task(self) -> None:
        if self.cycle.simulated is not None:
            self._publisher.task(self.cycle.simulated.task())

    def _publish_image(self, frame: Frame, jpeg: bytes) -> None:
        self._publisher.image(frame, jpeg)

    def _publish_state(self, sensed: Sensed) -> None:
        if sensed.state is None:
            return
        stamp_ns = sensed.state.stamp_ns
        self._publisher.state(sensed.state)
        if sensed.environment is not None:
            self._publisher.environment(*sensed.environment, stamp_ns)
        for frame in sensed.frames:
            self._images.put(frame)
        if sensed.readings is not None:
            self._publisher.motors(sensed.readings, stamp_ns, diagnostic=self._motor_messages % MOTOR_HZ == 0)
            self._motor_messages += 1

    def _log(self, events: Sequence[Event]) -> None:
        """Log events; rclpy requires a line of code for each severity."""
        logger = self.graph.node.get_logger()
        for event in events:
            if event.level >= ERROR:
                logger.error(event.text)
            elif event.level == WARN:
                logger.warning(event.text)
            else:
                logger.info(event.text)

    # the cycle

    def run(self, done: Callable[[], bool]) -> None:
        """Run control cycles until `done()`."""
        if self._lockstep:
            self._wait_for_peers(done)
        ros.keep_senders_from_preempting()
        self._log(self.cycle.restore_heat(time.time_ns()))
        try:
            with self._images:
                self._run_cycles(done)
        finally:
            self.cycle.save_heat(time.time_ns())

    def _run_cycles(self, done: Callable[[], bool]) -> None:
        period_s = 1 / self.config.rate_hz
        deadline = time.monotonic()
        while not done():
            sensed = self.cycle.sense(time.time_ns(), time.monotonic())
            if self._operator is not None:
                self._follow(self._operator, sensed)
            else:
                self._publish_sensed(sensed)
            if self._lockstep:
                if not self._wait_for_answers(done):
                    return
            else:
                deadline = max(deadline + period_s, time.monotonic() - period_s)
                self.graph.spin_for(max(0.0, deadline - time.monotonic()))
            if self._operator is None:
                self._publish_acted(self.cycle.act(time.time_ns(), time.monotonic()))

    def _follow(self, operator: LocalOperator, sensed: Sensed) -> None:
        """Follow a device in this process.

        It is read after the robot, and nothing else is done until it is followed: publishing may take milliseconds,
        since the threads that receive what is published are woken.
        """
        command = operator.command(self.cycle.state)
        if command is not None:
            self._local_ns.append(command.stamp_ns)
            self.cycle.command(command.names, command.positions, time.time_ns(), command.stamp_ns)
        acted = self.cycle.act(time.time_ns(), time.monotonic())
        operator.report(command)
        self._publish_sensed(sensed)
        self._publish_acted(acted)

    def _publish_sensed(self, sensed: Sensed) -> None:
        self._publish_state(sensed)
        self._log(sensed.events)

    def _publish_acted(self, acted: Acted) -> None:
        self._publisher.applied(acted.applied, acted.stamp_ns, LABELS[acted.source])
        if acted.statuses:
            self._statuses, self._statuses_ns = acted.statuses, acted.stamp_ns
            self._publisher.status(acted.statuses, acted.stamp_ns)
        self._log(acted.events)

    # simulated time

    def _wait_for_peers(self, done: Callable[[], bool]) -> None:
        """Wait until every peer has subscribed to the topics that it needs, so that it receives the first state."""
        subscribers, publishers = self._lockstep.subscribers(self._publisher.topics), self._lockstep.publishers()
        clock, node = cast("Any", self._clock), self.graph.node

        def connected() -> bool:
            return (
                all(self._publisher.subscriptions(topic) >= number for topic, number in subscribers.items())
                and clock.get_subscription_count() >= len(self._lockstep.peers)
                and all(node.count_publishers(topic) > 0 for topic in publishers)
            )

        self.graph.spin_until(lambda: connected() or done())

    def _wait_for_answers(self, done: Callable[[], bool]) -> bool:
        """Wait until this state is answered and received, then advance the clock; return False if `done()` first."""
        from rosgraph_msgs.msg import Clock

        stamp_ns = self.cycle.state.stamp_ns
        published, repeat_s = False, time.monotonic() + REPEAT_STATUS_S
        while not done():
            # The recorder's acknowledgement covers the images of this cycle, which are encoded meanwhile.
            encoded = self._images.is_idle
            received = encoded and self._lockstep.all_received()
            if received and not published:
                published = True
                cast("Any", self._clock).publish(Clock(clock=ros.ns_to_stamp(stamp_ns)))
            if received and (self._lockstep.is_answered(stamp_ns) or self.cycle.world_reset):
                return True
            if time.monotonic() > repeat_s and not self._lockstep.is_received(STATUS):
                # Another subscription may have been counted as the recorder's.
                self._publisher.status(self._statuses, self._statuses_ns)
                repeat_s = time.monotonic() + REPEAT_STATUS_S
            self.graph.spin_once(0.1 if encoded else ENCODING_S)
        return False
