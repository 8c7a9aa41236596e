"""A robot that is already on the ROS graph, under ros2_control or its maker's driver: a map names its topics.

State from sensor_msgs/JointState; commands to a joint_trajectory_controller (trajectory_msgs/JointTrajectory), a
forward_command_controller (std_msgs/Float64MultiArray) or as JointState; temperatures from `/diagnostics`,
`/dynamic_joint_states` (control_msgs, of a ROS installation) or sensor_msgs/Temperature; pictures from image topics.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waldo import ros
from waldo.errors import HardwareError, InvalidValueError, MissingExtraError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.options import build_options, words
from waldo.typing import Array

OWN_KEY = "winding_std_kelvin"
"""A status with this key is waldo's own estimate on /diagnostics, not a sensor."""
CLOCKS_AGREE_S = 1.0
"""A stamp this near the time of receipt is believed; farther away it comes from another clock [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMapOptions:
    """The robot's topics; lists are in the order of the robot's joints, with commas between."""

    joint_states: str = "/joint_states"
    """sensor_msgs/JointState."""
    command: str = "/joint_trajectory_controller/joint_trajectory"
    """Where commands go; a name alone is looked for in the robot's namespace."""
    command_type: str = "trajectory"
    """trajectory: JointTrajectory; forward: Float64MultiArray in the order of `names`; joint_state: JointState."""
    names: str = ""
    """The robot's own name of each joint; those of the description unless given."""
    reach_s: float = 0.1
    """When a trajectory's one point is to be reached [s]: longer is smoother and later."""
    temperatures: str = ""
    """diagnostics, dynamic (control_msgs/DynamicJointState), temperature (one topic a joint), or none."""
    temperature_topic: str = ""
    """/diagnostics, /dynamic_joint_states, or /{joint}/temperature unless given."""
    temperature_key: str = "temperature"
    """Key in a diagnostic status, or interface of a dynamic joint state; the first whose name contains it."""
    temperature_of: str = "housing"
    """What is measured: winding, housing or driver."""
    cameras: str = ""
    """Pictures: "front=/camera/image_raw/compressed, wrist=/wrist/image_raw"; one without "/compressed" is raw."""
    stale_s: float = 0.25
    """Joint states that stop for so long are an error [s]."""
    patience_s: float = 5.0
    """How long connecting waits for the robot [s]."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        choices = {
            "command_type": ("trajectory", "forward", "joint_state"),
            "temperatures": ("", "diagnostics", "dynamic", "temperature"),
            "temperature_of": ("winding", "housing", "driver"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InvalidValueError(
                    name, getattr(self, name), f"one of {', '.join(word or 'nothing' for word in known)}"
                )
        for name in ("reach_s", "stale_s", "patience_s"):
            if not getattr(self, name) > 0:
                raise InvalidValueError(name, getattr(self, name), "a number above 0")


def camera_topics(text: str, robot: Robot) -> dict[str, str]:
    """Return camera -> topic from "front=/a, wrist=/b"; the cameras must be the robot's."""
    found: dict[str, str] = {}
    for part in (part.strip() for part in text.split(",") if part.strip()):
        camera, equals, topic = (word.strip() for word in part.partition("="))
        if not equals or camera not in {c.name for c in robot.cameras}:
            known = ", ".join(c.name for c in robot.cameras) or "no cameras"
            raise InvalidValueError("cameras", part, f"camera=topic with a camera of the robot ({known})")
        found[camera] = topic
    return found


class TopicMapDriver:
    """A Driver (waldo.robots.driver) over ROS topics, heard by a thread with a ROS context of its own."""

    options_class: ClassVar[type[TopicMapOptions]] = TopicMapOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot and the fields of TopicMapOptions, as values or as texts."""
        self.options = build_options(TopicMapOptions, options)
        self._names = words("names", self.options.names, len(robot.joints), robot.joint_names)
        self._joint = {name: i for i, name in enumerate(self._names)}
        self._topics = camera_topics(self.options.cameras, robot)
        cameras = tuple(camera for camera in robot.cameras if camera.name in self._topics)
        self.robot = dataclasses.replace(robot, cameras=cameras)
        joints = len(robot.joints)
        self._state: RobotState | None = None
        self._heard_s = 0.0
        self._temperature = np.full(joints, np.nan)
        self._faults = [""] * joints
        self._frames: list[Frame] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._graph: Any = None
        self._publisher: Any = None

    def connect(self) -> None:
        """Join the graph, wait for the robot's state and its controller, and hold; raises HardwareError."""
        self._ended.clear()
        self._thread = threading.Thread(target=self._work, name="topic map", daemon=True)
        self._thread.start()
        try:
            options = self.options
            self._await(lambda: self._state is not None, f"no complete joint states on {options.joint_states}")
            self._await(
                lambda: self._publisher.get_subscription_count() > 0,
                f"nobody listens to {options.command}; is the controller active (ros2 control list_controllers)?",
            )
            self.write(self.read().position)
        except BaseException:
            self.disconnect()
            raise

    def _await(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + self.options.patience_s
        while not done():
            if self._error is not None:
                raise self._error
            if time.monotonic() > deadline:
                raise HardwareError(
                    f"{otherwise} for {self.options.patience_s:g} s; joints: {', '.join(self._names)}; is the robot's "
                    "driver running, in the same ROS_DOMAIN_ID?"
                )
            time.sleep(0.01)

    # the graph's thread

    def _work(self) -> None:
        try:
            with ros.join_graph("waldo_topic_map") as graph:
                self._open_topics(graph)
                while not self._ended.is_set():
                    graph.spin_once(0.05)
        except Exception as error:
            self._error = error

    def _open_topics(self, graph: Any) -> None:
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import CompressedImage, Image, JointState

        node, options = graph.node, self.options
        # A best-effort reader hears reliable writers too.
        node.create_subscription(JointState, options.joint_states, self._on_state, qos_profile_sensor_data)
        for camera, topic in self._topics.items():
            kind, hear = (CompressedImage, self._on_jpeg) if topic.endswith("/compressed") else (Image, self._on_image)
            node.create_subscription(kind, topic, lambda m, c=camera, h=hear: h(c, m), qos_profile_sensor_data)
        self._open_temperatures(node)
        self._publisher = node.create_publisher(self._command_class(), options.command, ros.stream_qos(10))

    def _command_class(self) -> Any:
        kinds = {
            "trajectory": "trajectory_msgs/msg/JointTrajectory",
            "forward": "std_msgs/msg/Float64MultiArray",
            "joint_state": "sensor_msgs/msg/JointState",
        }
        try:
            return ros.message_type(kinds[self.options.command_type])
        except ImportError:
            raise MissingExtraError("ros-trajectory-msgs", "collect") from None

    def _open_temperatures(self, node: Any) -> None:
        from rclpy.qos import qos_profile_sensor_data

        source, topic = self.options.temperatures, self.options.temperature_topic
        if source == "diagnostics":
            kind = ros.message_type("diagnostic_msgs/msg/DiagnosticArray")
            node.create_subscription(kind, topic or "/diagnostics", self._on_diagnostics, qos_profile_sensor_data)
        elif source == "dynamic":
            try:
                kind = ros.message_type("control_msgs/msg/DynamicJointState")
            except ImportError:
                raise HardwareError(
                    "temperatures=dynamic needs control_msgs, which comes with a ROS installation "
                    "(apt install ros-jazzy-control-msgs); source it, or take them from /diagnostics"
                ) from None
            node.create_subscription(kind, topic or "/dynamic_joint_states", self._on_dynamic, qos_profile_sensor_data)
        elif source == "temperature":
            kind = ros.message_type("sensor_msgs/msg/Temperature")
            for name in self._names:
                path = (topic or "/{joint}/temperature").replace("{joint}", name)
                node.create_subscription(
                    kind, path, lambda m, j=self._joint[name]: self._keep(j, m.temperature), qos_profile_sensor_data
                )

    def _on_state(self, message: Any) -> None:
        """Keep a state that tells of every joint; others on the topic (a gripper's own) are passed over."""
        by_name = {name: i for i, name in enumerate(message.name)}
        if not all(name in by_name for name in self._names) or len(message.position) != len(message.name):
            return
        at = [by_name[name] for name in self._names]

        def column(values: Any) -> Array:
            return np.array(values)[at] if len(values) == len(message.name) else np.full(len(at), np.nan)

        state = RobotState(
            stamp_ns=_stamp(message.header.stamp),
            position=column(message.position),
            velocity=column(message.velocity),
            effort=column(message.effort),
        )
        with self._lock:
            self._state, self._heard_s = state, time.monotonic()

    def _keep(self, joint: int, celsius: float) -> None:
        with self._lock:
            self._temperature[joint] = celsius

    def _on_diagnostics(self, message: Any) -> None:
        """Keep the temperature and the complaint of each joint that a status names."""
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if OWN_KEY in values:
                continue
            for joint in (j for name, j in self._joint.items() if _names_joint(status.name, name)):
                level = int.from_bytes(status.level, "little") if isinstance(status.level, bytes) else int(status.level)
                with self._lock:
                    self._faults[joint] = status.message if level else ""
                told = _first_number(values, self.options.temperature_key)
                if math.isfinite(told):
                    self._keep(joint, told)

    def _on_dynamic(self, message: Any) -> None:
        for name, values in zip(message.joint_names, message.interface_values, strict=True):
            if name in self._joint:
                told = dict(zip(values.interface_names, map(str, values.values), strict=True))
                self._keep(self._joint[name], _first_number(told, self.options.temperature_key))

    def _on_jpeg(self, camera: str, message: Any) -> None:
        """Store a compressed image; a JPEG stays as it is."""
        data = bytes(message.data)
        if data.startswith(b"\xff\xd8"):
            self._add_frame(Frame(camera=camera, stamp_ns=_stamp(message.header.stamp), jpeg=data))
            return
        import cv2

        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            self._add_pixels(camera, message, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))

    def _on_image(self, camera: str, message: Any) -> None:
        if message.encoding in ("rgb8", "bgr8"):
            rows = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.step)
            rgb = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
            self._add_pixels(
                camera, message, np.ascontiguousarray(rgb if message.encoding == "rgb8" else rgb[..., ::-1])
            )

    def _add_pixels(self, camera: str, message: Any, rgb: Any) -> None:
        self._add_frame(Frame(camera=camera, stamp_ns=_stamp(message.header.stamp), rgb=rgb))

    def _add_frame(self, frame: Frame) -> None:
        with self._lock:
            # A caller that never reads the frames must not fill the memory.
            self._frames = [*self._frames[-59:], frame]

    # the driver's callers

    def read(self) -> RobotState:
        """Return the newest state; raises HardwareError when joint states have stopped."""
        if self._error is not None:
            raise HardwareError(f"the ROS graph was lost ({self._error}); connect again") from self._error
        with self._lock:
            state, silent_s = self._state, time.monotonic() - self._heard_s
        if state is None:
            raise HardwareError("the robot has not been read yet; call connect() first")
        if silent_s > self.options.stale_s:
            raise HardwareError(
                f"{self.options.joint_states} is stale: nothing for {silent_s:.2f} s; is its driver still running?"
            )
        return state

    def motors(self) -> MotorSensors:
        """Return temperatures and complaints where the robot tells them, and the torques of its joint states."""
        with self._lock:
            unknown = np.full(len(self._names), np.nan)
            torque = unknown if self._state is None else self._state.effort
            temperature, faults = self._temperature.copy(), tuple(self._faults)
        return dataclasses.replace(
            MotorSensors.unknown(len(self._names)),
            torque_nm=torque,
            faults=faults,
            **{f"{self.options.temperature_of}_c": temperature},
        )

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]; return them within the joints' limits."""
        wanted = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(wanted)):
            raise InvalidValueError("targets", targets, "finite numbers")
        if self._publisher is None:
            raise HardwareError("the robot is not connected; call connect() first")
        self._publisher.publish(self._message(wanted))
        return wanted

    def _message(self, targets: Array) -> Any:
        kind = self._command_class()
        if self.options.command_type == "forward":
            return kind(data=targets.tolist())
        if self.options.command_type == "joint_state":
            message = kind(name=list(self._names), position=targets.tolist())
            message.header.stamp = ros.ns_to_stamp(time.time_ns())
            return message
        from builtin_interfaces.msg import Duration
        from trajectory_msgs.msg import JointTrajectoryPoint

        whole = int(self.options.reach_s)
        reach = Duration(sec=whole, nanosec=round((self.options.reach_s - whole) * 1e9))
        # A stamp of zero: at once.
        point = JointTrajectoryPoint(positions=targets.tolist(), time_from_start=reach)
        return kind(joint_names=list(self._names), points=[point])

    def frames(self) -> Sequence[Frame]:
        """Return the pictures taken since the last call."""
        with self._lock:
            frames, self._frames = self._frames, []
        return frames

    def disconnect(self) -> None:
        """Leave the graph: the controller holds the last target."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._ended.set()
            thread.join(30)
        self._publisher = None
        self._state = None
        self._error = None


def _stamp(stamp: Any) -> int:
    """Return a message's stamp [ns], or the present where it comes from another clock."""
    now_ns, stamp_ns = time.time_ns(), ros.stamp_to_ns(stamp)
    return stamp_ns if abs(now_ns - stamp_ns) < CLOCKS_AGREE_S * 1e9 else now_ns


def _names_joint(status: str, joint: str) -> bool:
    """Say whether a status's name ("arm: shoulder", "/arm/shoulder") ends with a joint's."""
    return status.replace("/", " ").replace(":", " ").split()[-1:] == [joint]


def _first_number(values: Mapping[str, str], key: str) -> float:
    """Return the first value whose key contains `key` in any case, NaN for none or no number."""
    for name, text in values.items():
        if key.lower() in name.lower():
            try:
                return float(text.split()[0])
            except (ValueError, IndexError):
                return math.nan
    return math.nan
