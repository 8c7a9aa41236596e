"""Driver for a robot that is already on the ROS graph, under ros2_control or its manufacturer's driver.

The options map the robot's topics: states from sensor_msgs/JointState; commands to one controller or several, as in
`commands`; temperatures and faults as in `temperatures`; images from image topics.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from waldo import ros
from waldo.errors import HardwareError, ImageError, InvalidValueError, UnknownNameError
from waldo.robots.cameras import ros_images
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.options import TypedOptions, build_options, per_joint
from waldo.robots.drivers.topics.commands import Controller, controllers_of, open_controller
from waldo.robots.drivers.topics.temperatures import Source, TopicTemperatures
from waldo.robots.joint_parts import JointParts
from waldo.typing import Array

CLOCK_TOLERANCE_S = 1.0
"""A stamp that differs more than this from the time of receipt comes from another clock and is ignored [s]."""
MAX_FRAMES = 60
"""Number of images that are kept for a caller that does not fetch them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMapOptions(TypedOptions):
    """Options of the `topics` driver. Tuples contain one value per joint."""

    joint_states: str = "/joint_states"
    """Topic of the robot's state (sensor_msgs/JointState)."""
    command: str = "/joint_trajectory_controller/joint_trajectory"
    """Topic of the commands; a relative name is resolved in the robot's namespace."""
    command_type: Literal["trajectory", "forward", "joint_state"] = "trajectory"
    """Message type of a topic: JointTrajectory, Float64MultiArray (in the order of `joint_names`), or JointState."""
    commands: Mapping[str, str] = field(default_factory=dict[str, str])
    """Controllers of a robot that has several, instead of `command`: topic or action -> its joints, separated by "+":
    /arm/joint_trajectory=j1+j2, /gripper/gripper_cmd=finger. The name determines the type: .../joint_trajectory,
    .../commands (Float64MultiArray), or the actions .../follow_joint_trajectory and .../gripper_cmd (control_msgs)."""
    joint_names: tuple[str, ...] = ()
    """The robot's own name of each joint; by default the names in the robot's description."""
    time_from_start_s: float = 0.1
    """Time at which the single point of a trajectory is to be reached [s]; longer is smoother, but adds latency."""
    temperature_source: Source = "none"
    """Kind of topic with temperatures: diagnostics, dynamic (control_msgs/DynamicJointState) or temperature."""
    temperature_topic: str = ""
    """Topic of the temperatures; by default /diagnostics, /dynamic_joint_states or /{joint}/temperature."""
    temperature_key: str = "temperature"
    """Text contained in the key of a diagnostic status, or in the interface name of a dynamic joint state."""
    temperature_location: Literal["winding", "housing", "driver"] = "housing"
    """Part of the motor whose temperature is published."""
    cameras: Mapping[str, str] = field(default_factory=dict[str, str])
    """Camera -> image topic; a topic that ends in /compressed has type CompressedImage, any other has type Image."""
    max_staleness_s: float = 0.25
    """Age of the last joint state at which reading fails [s]."""
    connect_timeout_s: float = 5.0
    """Longest wait for the robot when connecting [s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a value that cannot be used."""
        TypedOptions.__post_init__(self)
        self.require_positive("time_from_start_s", "max_staleness_s", "connect_timeout_s")


class TopicMapDriver:
    """A `Driver` for a robot on the ROS graph; a thread with its own ROS context receives the messages."""

    Options: ClassVar[type[TopicMapOptions]] = TopicMapOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `TopicMapOptions`."""
        self.options = chosen = build_options(TopicMapOptions, options)
        self._names = per_joint("joint_names", chosen.joint_names, len(robot.joints), robot.joint_names)
        for camera in chosen.cameras:
            if camera not in {c.name for c in robot.cameras}:
                raise UnknownNameError("camera", camera, [c.name for c in robot.cameras])
        cameras = tuple(camera for camera in robot.cameras if camera.name in chosen.cameras)
        self.robot = dataclasses.replace(robot, cameras=cameras)
        self._temperatures = TopicTemperatures(
            chosen.temperature_source, chosen.temperature_topic, chosen.temperature_key, self._names
        )
        self._parts = JointParts[tuple[float, ...]](self._names)
        self._state: RobotState | None = None
        self._received_s = 0.0
        self._frames: list[Frame] = []
        self._reported: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._graph: Any = None
        self._controllers: list[tuple[Controller, list[int]]] = []
        """Each controller with the indices of its joints."""
        self._commands = (
            controllers_of(chosen.commands, self._names) if chosen.commands else {chosen.command: tuple(self._names)}
        )

    def connect(self) -> None:
        """Join the graph, wait for the robot's state and its controller, and hold the present position.

        Raises:
            HardwareError: If the robot publishes no complete state, or nothing subscribes to the commands.
        """
        self._stop.clear()
        self._thread = threading.Thread(target=self._work, name="topic map", daemon=True)
        self._thread.start()
        try:
            options = self.options
            self._await(
                lambda: self._state is not None,
                f"no state of all joints ({', '.join(self._names)}) received on {options.joint_states}",
                "check that the robot's driver is running in the same ROS_DOMAIN_ID, and joint_names",
            )
            for controller, _ in self._controllers:
                self._await(
                    controller.is_ready,
                    f"no controller receives {controller.name}",
                    "check that it is active (ros2 control list_controllers)",
                )
            self.write(self.read().position)
        except BaseException:
            self.disconnect()
            raise

    def _await(self, done: Callable[[], bool], found: str, do: str) -> None:
        deadline = time.monotonic() + self.options.connect_timeout_s
        while not done():
            if self._error is not None:
                raise self._error
            if time.monotonic() > deadline:
                raise HardwareError(f"{found} within {self.options.connect_timeout_s:g} s; {do}")
            time.sleep(0.01)

    # Called in the graph's thread.

    def _work(self) -> None:
        try:
            with ros.join_graph("waldo_topic_map") as graph:
                self._open_topics(graph)
                while not self._stop.is_set():
                    graph.spin_once(0.05)
        except Exception as error:
            self._error = error

    def _open_topics(self, graph: ros.Graph) -> None:
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CompressedImage, Image, JointState

        node, options = graph.node, self.options
        # A best-effort subscription also receives from reliable publishers.
        graph.subscribe(JointState, options.joint_states, self._on_state, qos_profile_sensor_data)
        for camera, topic in options.cameras.items():
            compressed = topic.endswith("/compressed")
            kind, decode = (CompressedImage, ros_images.from_compressed) if compressed else (Image, ros_images.from_raw)
            graph.subscribe(kind, topic, partial(self._on_image, decode, camera), qos_profile_sensor_data)
        self._temperatures.subscribe(graph)
        self._logger = node.get_logger()
        self._controllers = [
            (
                open_controller(graph, name, options.command_type, joints, options.time_from_start_s),
                [self._names.index(joint) for joint in joints],
            )
            for name, joints in self._commands.items()
        ]

    def _on_state(self, message: Any) -> None:
        """Store a state, which several messages may complete: an arm and its gripper may have publishers each."""
        count = len(message.name)
        if len(message.position) != count:
            return
        positions = dict(zip(message.name, message.position, strict=True))
        if bad := [name for name in self._names if not math.isfinite(positions.get(name, 0.0))]:
            topic = self.options.joint_states
            self._report(f"{topic}: the position of {', '.join(bad)} is not finite; such states are dropped")
            return
        fields = [
            values if len(values) == count else [math.nan] * count
            for values in (message.position, message.velocity, message.effort)
        ]
        stamp_ns = _stamp_ns(message.header.stamp)
        joints = self._parts.add(dict(zip(message.name, zip(*fields, strict=True), strict=True)), stamp_ns)
        if joints is None:
            return
        position, velocity, effort = np.array([joints[name] for name in self._names], dtype=float).T
        state = RobotState(stamp_ns=stamp_ns, position=position, velocity=velocity, effort=effort)
        with self._lock:
            self._state, self._received_s = state, time.monotonic()

    def _on_image(self, decode: Callable[[Any], Any], camera: str, message: Any) -> None:
        """Store an image; a JPEG is not decoded. A warning about one that cannot be used is logged once."""
        try:
            image = decode(message)
        except ImageError as error:
            self._report(f"camera {camera}: {error}")
            return
        stamp_ns = _stamp_ns(message.header.stamp)
        if isinstance(image, bytes):
            self._add_frame(Frame(camera=camera, stamp_ns=stamp_ns, jpeg=image))
        elif image.ndim == 3:
            self._add_frame(Frame(camera=camera, stamp_ns=stamp_ns, rgb=image))
        else:
            self._report(f"camera {camera}: encoding {message.encoding} is depth, expected color")

    def _report(self, text: str) -> None:
        """Log a warning once."""
        if text not in self._reported:
            self._reported.add(text)
            self._logger.warning(text)

    def _add_frame(self, frame: Frame) -> None:
        with self._lock:
            self._frames = [*self._frames[1 - MAX_FRAMES :], frame]

    # The `Driver` protocol.

    def read(self) -> RobotState:
        """Return the newest state.

        Raises:
            HardwareError: If the last joint state is older than `max_staleness_s`, or a controller rejects goals.
        """
        if self._error is not None:
            raise HardwareError(f"the ROS graph was lost ({self._error}); connect again") from self._error
        with self._lock:
            state, age_s = self._state, time.monotonic() - self._received_s
        if state is None:
            raise HardwareError("the robot has not been read yet; call connect() first")
        if age_s > self.options.max_staleness_s:
            raise HardwareError(
                f"no joint states on {self.options.joint_states} for {age_s:.2f} s; check that the robot's driver is "
                "running"
            )
        if faults := [controller.fault for controller, _ in self._controllers if controller.fault]:
            raise HardwareError(f"{'; '.join(faults)}; check its log and the limits of its joints")
        return state

    def motors(self) -> MotorSensors:
        """Return the temperatures and faults that the robot publishes, and the torques of its joint states."""
        with self._lock:
            torque = np.full(len(self._names), np.nan) if self._state is None else self._state.effort
        temperature, faults = self._temperatures.latest()
        known: dict[str, Any] = {f"{self.options.temperature_location}_c": temperature}
        return dataclasses.replace(MotorSensors.unknown(len(self._names)), torque_nm=torque, faults=faults, **known)

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad]; return the applied targets, within the joint limits."""
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(within)):
            raise InvalidValueError("targets", targets, "finite numbers")
        if not self._controllers:
            raise HardwareError("the robot is not connected; call connect() first")
        for controller, joints in self._controllers:
            controller.send(within[joints])
        return within

    def frames(self) -> Sequence[Frame]:
        """Return the images received since the last call."""
        with self._lock:
            frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Leave the graph; the controller holds the last target."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._stop.set()
            thread.join(30)
        self._controllers = []
        self._state = None
        self._error = None


def _stamp_ns(stamp: Any) -> int:
    """Return a message's stamp [ns], or the present time if the stamp comes from another clock."""
    now_ns, stamp_ns = time.time_ns(), ros.stamp_to_ns(stamp)
    return stamp_ns if abs(now_ns - stamp_ns) < CLOCK_TOLERANCE_S * 1e9 else now_ns
