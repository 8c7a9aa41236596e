"""The robot node: one driver, real or simulated, on the ROS graph.

Once a control cycle it reads the driver, publishes the state, passes the newest command through the safety chain and
sends what comes out. In simulated time (`lockstep`) the world stands still until the operator has answered the present
state and the recorder has received all of it; then the clock goes on. So nothing is lost and nothing depends on
scheduling: the same seed gives the same messages with the same stamps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from waldo import ros
from waldo.errors import HardwareError, InvalidValueError
from waldo.robots import diagnostics
from waldo.robots.control.safety import Mode, SafetyChain, SafetyConfig
from waldo.robots.driver import Driver, Frame, RobotState, SimulatedDriver
from waldo.robots.thermal.monitor import HeatMonitor, MonitorConfig
from waldo.robots.thermal.rest_pose import RestPoseAdvisor

if TYPE_CHECKING:
    from waldo.ros import Graph

CONTROL_HZ = 60
"""Control cycles a second of a simulation, and of a robot unless something else is asked for."""

MOTOR_HZ = 10
"""How often the motors are looked after and published [1/s]."""

RECONNECT_S = 1.0
"""Pause between two tries to reach a robot that was lost [s]."""

RECORDER_SILENT_S = 5.0
"""A recorder that has said nothing for so long records no longer [s]."""

PEERS = ("operator", "recorder")
"""Whom the clock of a simulated robot can wait for."""


FIGURES = re.compile(r"-?\d+(\.\d+)?")
"""Numbers in a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """How a robot node runs."""

    rate_hz: int = CONTROL_HZ
    """Control cycles a second; a simulation has its own."""
    lockstep: tuple[str, ...] = ()
    """Advance simulated time only when these have caught up: "operator", "recorder". Empty: real time."""
    seed: int = 0
    """Seed of the first simulated world; each reset takes the next one."""
    jpeg_quality: int = 90
    """Quality of the camera images on the wire, 1..100."""
    safety: SafetyConfig = SafetyConfig()  # noqa: RUF009 - frozen
    """When the safety chain acts."""
    heat: MonitorConfig = MonitorConfig()  # noqa: RUF009 - frozen
    """How the motors' heat is watched."""
    heat_state: Path | None = None
    """File in which the motors' heat survives a restart; None: they are cold at every start."""

    def __post_init__(self) -> None:
        """Refuse unknown peers and impossible qualities."""
        for peer in self.lockstep:
            if peer not in PEERS:
                raise InvalidValueError("lockstep", peer, f"any of {', '.join(PEERS)}")
        if not 20 <= self.rate_hz <= 1000:
            raise InvalidValueError("rate", self.rate_hz, "20 to 1000 cycles a second")
        if not 1 <= self.jpeg_quality <= 100:
            raise InvalidValueError("jpeg_quality", self.jpeg_quality, "1..100")


class RobotNode:
    """Runs a driver on the ROS graph; `run` returns when it is asked to."""

    def __init__(self, graph: Graph, driver: Driver, config: NodeConfig) -> None:
        """Create the topics and services; the driver must be connected."""
        self.graph, self.driver, self.config = graph, driver, config
        self.robot = driver.robot
        self.simulated = driver if isinstance(driver, SimulatedDriver) else None
        if config.lockstep and self.simulated is None:
            raise InvalidValueError("lockstep", config.lockstep, "nothing for a real robot", "leave it out")
        if self.simulated is not None and config.rate_hz != CONTROL_HZ:
            raise InvalidValueError("rate", config.rate_hz, f"{CONTROL_HZ} for a simulation", "leave it out")
        self._period_s = 1 / config.rate_hz
        self._motor_cycles = round(config.rate_hz / MOTOR_HZ)
        self.safety = SafetyChain(self.robot, config.safety)
        self.safety.reset(driver.read().position)
        self._seed, self._cycle = config.seed, 0
        self._laid_out_anew = False
        self._serials = [f"{self.robot.name}-{i}" for i in range(len(self.robot.joints))]
        self._command_ns, self._command_sequence = -1, 0
        self._received: dict[str, int] = {}
        self._published: dict[str, int] = {}
        self._shown = self._derated = ""
        self._epoch_ns = 0
        self._lost_s: float | None = None
        self._motors_s = -np.inf
        self._state = driver.read()
        self._headroom = np.full(len(self.robot.joints), np.nan)
        self._recorder_heard_s = -np.inf
        self.heat = HeatMonitor(self.robot, config.heat, serials=self._serials, state=config.heat_state)
        self._rest, self._rested = RestPoseAdvisor(self.robot), True
        self._open_topics()
        self._open_services()
        self._publish_task()

    # the graph

    def _open_topics(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rosgraph_msgs.msg import Clock
        from sensor_msgs.msg import CompressedImage, JointState
        from std_msgs.msg import String, UInt64MultiArray

        node, qos = self.graph.node, ros.stream_qos()
        topics: dict[str, Any] = {
            "joint_states": JointState,
            "joint_commands_sent": JointState,
            "motors": DiagnosticArray,
            **{f"cameras/{camera.name}": CompressedImage for camera in self.robot.cameras},
        }
        if self.simulated is not None:
            topics["environment_state"] = JointState
        self._publishers: dict[str, Any] = {
            name: node.create_publisher(kind, name + ("/image_raw/compressed" if "cameras/" in name else ""), qos)
            for name, kind in topics.items()
        }
        if self.simulated is not None:
            self._publishers["task"] = node.create_publisher(String, "task", ros.latched_qos())
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", ros.stream_qos(10))
        self._clock = node.create_publisher(Clock, "/clock", ros.stream_qos(10)) if self.config.lockstep else None
        node.create_subscription(JointState, "joint_commands", cast("Any", self._on_command), qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", cast("Any", self._on_diagnostics), ros.stream_qos(10))
        if "recorder" in self.config.lockstep:
            node.create_subscription(UInt64MultiArray, "received", self._on_received, qos)

    def _open_services(self) -> None:
        from std_srvs.srv import SetBool, Trigger

        node = self.graph.node
        node.create_service(SetBool, "~/enable", self._on_enable)
        node.create_service(Trigger, "~/stop_motion", self._on_stop_motion)
        if self.simulated is not None:
            node.create_service(Trigger, "~/reset", self._on_reset)
            node.create_service(Trigger, "~/task_done", self._on_task_done)

    def _on_command(self, message: Any, info: Any) -> None:
        self._command_ns = ros.stamp_to_ns(message.header.stamp)
        self._command_sequence = int(info["publication_sequence_number"])
        self.safety.command(message.name, message.position, self._now_ns(), self._command_ns or None)

    def _on_diagnostics(self, message: Any) -> None:
        state = diagnostics.recorder_state(message, self.graph.node.get_namespace().strip("/"))
        if state is not None:
            self.heat.recording, self._recorder_heard_s = state == "recording", time.monotonic()

    def _on_received(self, message: Any) -> None:
        labels = [dimension.label for dimension in message.layout.dim]
        self._received = dict(zip(labels, message.data, strict=True))

    def _on_enable(self, request: Any, response: Any) -> Any:
        if request.data:
            self.safety.enable()
        else:
            self.safety.stop("disabled by the operator")
        response.success = True
        return response

    def _on_stop_motion(self, _request: Any, response: Any) -> Any:
        self.safety.stop("stopped by the operator")
        response.success, response.message = True, "stopped; call ~/enable to go on"
        return response

    def _on_reset(self, _request: Any, response: Any) -> Any:
        simulated = cast("SimulatedDriver", self.simulated)
        self._seed += 1
        simulated.reset(self._seed)
        self._laid_out_anew = True
        self.safety.reset(simulated.read().position)
        self._publish_task()
        response.success, response.message = True, f"seed {self._seed}"
        return response

    def _on_task_done(self, _request: Any, response: Any) -> Any:
        response.success = cast("SimulatedDriver", self.simulated).success()
        return response

    # publishing

    def _send(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)
        self._published[topic] = self._published.get(topic, 0) + 1

    def _joints(self, names: tuple[str, ...], stamp_ns: int, position: NDArray[np.float64]) -> Any:
        from sensor_msgs.msg import JointState

        message = JointState(name=list(names), position=position.tolist())
        message.header.stamp = ros.ns_to_stamp(stamp_ns)
        return message

    def _publish_state(self, state: RobotState) -> None:
        message = self._joints(self.robot.joint_names, state.stamp_ns, state.position)
        message.velocity, message.effort = state.velocity.tolist(), state.effort.tolist()
        self._send("joint_states", message)
        if self.simulated is not None:
            names, values = self.simulated.environment()
            self._send("environment_state", self._joints(names, state.stamp_ns, values))
        for frame in self.driver.frames():
            self._send(f"cameras/{frame.camera}", self._image(frame))

    def _image(self, frame: Frame) -> Any:
        import cv2
        from sensor_msgs.msg import CompressedImage

        quality = [cv2.IMWRITE_JPEG_QUALITY, self.config.jpeg_quality]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR), quality)
        message = CompressedImage(format="jpeg", data=data.tobytes())
        message.header.stamp = ros.ns_to_stamp(frame.stamp_ns + self._epoch_ns)
        message.header.frame_id = frame.camera
        return message

    def _publish_motors(self, stamp_ns: int) -> None:
        if self._cycle % self._motor_cycles:
            return
        sensors = self.driver.motors()
        self.safety.handle_disabled_motors(sensors.disabled, sensors.faults)
        self.heat.recording &= time.monotonic() - self._recorder_heard_s < RECORDER_SILENT_S
        readings = self.heat.step(sensors, self._state.velocity, self._since_motors_s(), time.time_ns())
        self._headroom = readings.limit_c - readings.winding_c
        name = self.graph.node.get_namespace().strip("/") or self.robot.name
        message = diagnostics.to_message(name, self.robot.joint_names, self._serials, readings, stamp_ns)
        self._send("motors", message)
        if self._cycle % (self._motor_cycles * MOTOR_HZ) == 0:
            self._diagnostics.publish(message)
        self._say_derating()
        self._advise()

    def _since_motors_s(self) -> float:
        """Return how long ago the motors were looked after [s]: a real robot's cycles take as long as they take."""
        now = time.monotonic()
        since_s, self._motors_s = now - self._motors_s, now
        first = np.isinf(since_s)
        return self._motor_cycles * self._period_s if first or self.simulated is not None else since_s

    def _publish_task(self) -> None:
        import json

        from std_msgs.msg import String

        if self.simulated is not None:
            self._send("task", String(data=json.dumps(dict(self.simulated.task()))))

    # the cycle

    def _now_ns(self) -> int:
        """Return the present on the robot's own clock: the simulation's in simulated time, else the system's."""
        return self._state.stamp_ns if self.config.lockstep else time.time_ns()

    def _read(self) -> RobotState:
        """Return the driver's state. A simulation in real time counts from 0: its state is true now."""
        state = self.driver.read()
        if self.simulated is None or self.config.lockstep:
            return state
        self._epoch_ns = time.time_ns() - state.stamp_ns
        return dataclasses.replace(state, stamp_ns=state.stamp_ns + self._epoch_ns)

    def _sense(self) -> None:
        """Read the robot and say what it says; of a robot that is lost there is nothing to say."""
        if self._lost_s is not None and not self._found_again():
            return
        try:
            self._state = self._read()
            self._publish_state(self._state)
            self._publish_motors(self._state.stamp_ns)
        except HardwareError as error:
            self._lose(error)

    def _lose(self, error: HardwareError) -> None:
        """Stop, and stay stopped until the operator enables: what the robot does meanwhile is up to its own drives."""
        self.safety.stop(f"the robot is lost: {error}")
        self._lost_s = time.monotonic()

    def _found_again(self) -> bool:
        """Try to reach a lost robot again now and then; say whether it is there."""
        if time.monotonic() - (self._lost_s or 0.0) < RECONNECT_S:
            return False
        try:
            # What is left of the old connection, a thread that goes on commanding above all, must end first.
            with contextlib.suppress(HardwareError):
                self.driver.disconnect()
            self.driver.connect()
            self.safety.reset(self.driver.read().position)
        except HardwareError:
            self._lost_s = time.monotonic()
            return False
        self._lost_s = None
        self.graph.node.get_logger().warning("the robot is there again; call ~/enable to go on")
        return True

    def run(self, done: Callable[[], bool]) -> None:
        """Run control cycles until `done()`."""
        if self.config.lockstep:
            self._wait_for_peers(done)
        if told := self.heat.restore(time.time_ns()):
            self.graph.node.get_logger().info(f"motor heat: {told}")
        try:
            self._cycles(done)
        finally:
            self.heat.save(time.time_ns())

    def _cycles(self, done: Callable[[], bool]) -> None:
        """Run the control cycles."""
        deadline = time.monotonic()
        while not done():
            self._sense()
            if self.config.lockstep:
                if not self._wait_for_answers(done):
                    return
            else:
                deadline = max(deadline + self._period_s, time.monotonic() - self._period_s)
                self.graph.spin_for(max(0.0, deadline - time.monotonic()))
            self._act()

    def _act(self) -> None:
        """Pass the newest command through the safety chain to the driver, and let a simulated world go on."""
        state = self._state
        if self._laid_out_anew:
            self._laid_out_anew = False
            state = self._read()
        speed_ratio = 1.0 if self.heat.derating is None else self.heat.derating.speed_ratio
        setpoint = self.safety.step(
            self._now_ns(), state.position, state.stamp_ns, self._headroom, self._period_s, speed_ratio=speed_ratio
        )
        try:
            sent = setpoint if self._lost_s is not None else self.driver.write(setpoint)
        except HardwareError as error:
            self._lose(error)
            sent = setpoint
        self._send("joint_commands_sent", self._joints(self.robot.joint_names, state.stamp_ns, sent))
        self._say_status()
        if self.simulated is not None:
            self.simulated.advance()
        self._cycle += 1

    def _say_status(self) -> None:
        """Log each change of the safety chain's mode or reason once, however its figures change."""
        status = self.safety.status
        text = f"{status.mode.value}: {status.reason}" if status.reason else status.mode.value
        kind = FIGURES.sub("", text)
        if kind != self._shown:
            self._shown = kind
            # rclpy refuses a second severity from the same line of code.
            if status.mode is Mode.STOPPED:
                self.graph.node.get_logger().error(text)
            else:
                self.graph.node.get_logger().info(text)

    def _advise(self) -> None:
        """Log how many more episodes fit, and, once each time that rest is needed, where to rest."""
        needed = self.heat.derating is not None and self.heat.derating.needs_rest
        if needed and self._rested:
            self._rest.request(self._state.position, self._headroom)
        self._rested = not needed
        for text in (self.heat.pop_episode_message(), self._rest.pop_message()):
            if text:
                self.graph.node.get_logger().info(text)

    def _say_derating(self) -> None:
        """Log when the governor begins to hold the robot back, decides otherwise, and lets go again."""
        text = "" if self.heat.governor is None else self.heat.governor.describe(self.robot.joint_names)
        kind = FIGURES.sub("", text)
        if kind != self._derated:
            self._derated = kind
            self.graph.node.get_logger().warning(text or "cool enough again: full speed")

    # simulated time

    def _wait_for_peers(self, done: Callable[[], bool]) -> None:
        """Wait until whoever is waited for hears every topic that it needs: the first state must not be missed."""
        peers = self.config.lockstep
        readers = dict.fromkeys(self._publishers, int("recorder" in peers))
        readers |= dict.fromkeys(("joint_states", "environment_state"), len(peers))
        writers = [name for peer, name in (("operator", "joint_commands"), ("recorder", "received")) if peer in peers]

        def here() -> bool:
            heard = all(self._publishers[name].get_subscription_count() >= count for name, count in readers.items())
            clock = cast("Any", self._clock).get_subscription_count() >= len(peers)
            return heard and clock and all(self.graph.node.count_publishers(name) > 0 for name in writers)

        self.graph.spin_until(lambda: here() or done())

    def _wait_for_answers(self, done: Callable[[], bool]) -> bool:
        """Wait until the operator answered this state and all of it was received; then move the clock. False: done."""
        from rosgraph_msgs.msg import Clock

        stamp_ns = self._state.stamp_ns
        clock = Clock(clock=ros.ns_to_stamp(stamp_ns))
        announced = False
        while not done():
            received = self._all_received()
            if received and not announced:
                announced = True
                cast("Any", self._clock).publish(clock)
            answered = "operator" not in self.config.lockstep or self._command_ns >= stamp_ns or self._laid_out_anew
            if received and answered:
                return True
            self.graph.spin_once()
        return False

    def _all_received(self) -> bool:
        """Say whether the recorder has received every message of this node and the operator's newest command."""
        if "recorder" not in self.config.lockstep:
            return True
        latest = {**self._published, "joint_commands": self._command_sequence}
        return all(self._received.get(topic, 0) >= count for topic, count in latest.items())
