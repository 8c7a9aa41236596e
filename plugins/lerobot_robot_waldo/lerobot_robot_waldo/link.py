"""Connections to a robot: over the ROS graph, or through a driver in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lerobot_robot_waldo.config_waldo import heat_keys
from waldo.datasets import schema
from waldo.errors import HardwareError
from waldo.robots.description import Robot
from waldo.robots.driver import SimulatedDriver, load_driver
from waldo.robots.drivers.options import convert_options, options_class

STEP_LIMIT = 60
"""Maximum number of control periods that a simulation catches up at once."""


@dataclass
class Snapshot:
    """The latest state of the robot."""

    position: NDArray[np.float64] | None = None
    """Shape (joints,) [rad]."""
    heat: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    """Motor quantity (winding_c ...) -> shape (joints,), NaN for unknown."""
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Camera -> RGB image, shape (height, width, 3)."""


class Link(Protocol):
    """A connection to the robot."""

    def open(self) -> None:
        """Connect and wait for the state, the motors and the cameras."""
        ...

    def snapshot(self) -> Snapshot:
        """Return the latest state."""
        ...

    def send(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Command position targets (joints,) [rad]; return the applied targets."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class DriverLink:
    """A driver in this process. A simulation advances with the wall clock."""

    def __init__(self, robot: Robot, driver: str, options: dict[str, str]) -> None:
        """Load a driver by its name, with its options; nothing is connected yet."""
        kind = options_class(driver)
        given = options if kind is None else convert_options(options, kind)
        self._driver = load_driver(driver)(robot, **given)
        self._images: dict[str, Any] = {}
        self._started_s = 0.0
        self._ticks = 0

    def open(self) -> None:
        """Connect."""
        self._driver.connect()
        self._started_s = time.monotonic()
        self._keep_pace()

    def _keep_pace(self) -> None:
        if not isinstance(self._driver, SimulatedDriver):
            return
        due = int((time.monotonic() - self._started_s) * 60)
        for _ in range(min(due - self._ticks, STEP_LIMIT)):
            self._driver.advance()
        self._ticks = due

    def snapshot(self) -> Snapshot:
        """Return the latest state."""
        self._keep_pace()
        state, sensors = self._driver.read(), self._driver.motors()
        self._images |= {frame.camera: frame.to_rgb() for frame in self._driver.frames()}
        heat = {name: getattr(sensors, name) for name in heat_keys() if hasattr(sensors, name)}
        return Snapshot(state.position, heat, dict(self._images))

    def send(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Command targets; return the applied targets."""
        return self._driver.write(targets)

    def close(self) -> None:
        """Disconnect."""
        self._driver.disconnect()


class RosLink:
    """A robot node on the ROS graph; a thread receives its messages."""

    def __init__(self, robot: Robot, namespace: str, keys: dict[str, str], timeout_s: float, images: bool) -> None:
        """Initialize without joining the graph.

        Args:
            robot: Description of the robot.
            namespace: ROS namespace of the robot node.
            keys: Motor quantity -> key in the `motors` topic.
            timeout_s: Timeout of `open` [s].
            images: Whether to subscribe to the cameras.
        """
        self._robot, self._namespace, self._keys, self._timeout_s = robot, namespace, keys, timeout_s
        self._cameras = [camera.name for camera in robot.cameras] if images else []
        self._latest = Snapshot()
        self._jpegs: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._publisher: Any = None
        self._thread = threading.Thread(target=self._work, name="waldo robot", daemon=True)
        self._error: BaseException | None = None

    def open(self) -> None:
        """Join the graph and wait for the robot's state, motors and cameras; raises HardwareError after the timeout."""
        self._thread.start()
        deadline = time.monotonic() + self._timeout_s
        while missing := self._missing():
            if time.monotonic() > deadline or self._error is not None:
                self.close()
                raise HardwareError(
                    f"no message on {', '.join(missing)} in the namespace {self._namespace!r} "
                    f"for {self._timeout_s:g} s; run: waldo robot {self._robot.name} --namespace {self._namespace}"
                ) from self._error
            time.sleep(0.02)

    def _missing(self) -> list[str]:
        with self._lock:
            missing = [] if self._latest.position is not None else ["joint_states"]
            missing += [] if self._latest.heat or not self._keys else ["motors"]
            return missing + [schema.camera_stream(name) for name in self._cameras if name not in self._jpegs]

    def _work(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import CompressedImage, JointState

        from waldo import ros

        try:
            with ros.join_graph("lerobot", self._namespace) as graph:
                node, qos = graph.node, ros.stream_qos()
                subscribe = graph.subscribe
                subscribe(JointState, schema.TOPIC_OF_STREAM[schema.STATE], self._on_state, qos)
                subscribe(DiagnosticArray, schema.TOPIC_OF_STREAM[schema.MOTORS], self._on_motors, qos)
                for name in self._cameras:
                    topic = f"{schema.camera_stream(name)}/image_raw/compressed"
                    subscribe(CompressedImage, topic, lambda message, n=name: self._on_image(n, message), qos)
                self._publisher = node.create_publisher(JointState, schema.TOPIC_OF_STREAM[schema.COMMAND], qos)
                self._ready.set()
                while not self._ended.is_set():
                    graph.spin_once(0.05)
        except BaseException as error:
            self._error = error

    def _on_state(self, message: Any) -> None:
        by_name = dict(zip(message.name, message.position, strict=True))
        with self._lock:
            self._latest.position = np.array([by_name[name] for name in self._robot.joint_names])

    def _on_motors(self, message: Any) -> None:
        from waldo.robots.diagnostics import column, from_message

        motors = from_message(message)
        with self._lock:
            self._latest.heat = {name: column(motors, self._robot.joint_names, key) for name, key in self._keys.items()}

    def _on_image(self, name: str, message: Any) -> None:
        with self._lock:
            self._jpegs[name] = bytes(message.data)

    def snapshot(self) -> Snapshot:
        """Return the latest state; raises HardwareError if the thread has failed."""
        import cv2

        if self._error is not None:
            raise HardwareError(f"disconnected from the ROS graph ({self._error}); connect again") from self._error
        with self._lock:
            latest, jpegs = Snapshot(self._latest.position, dict(self._latest.heat)), dict(self._jpegs)
        for name, data in jpegs.items():
            bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            latest.images[name] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        return latest

    def send(self, targets: NDArray[np.float64]) -> NDArray[np.float64]:
        """Publish targets within the joints' limits and return them; the robot node may limit them further."""
        from sensor_msgs.msg import JointState

        from waldo import ros

        clipped = np.clip(targets, self._robot.lower, self._robot.upper)
        message = JointState(name=list(self._robot.joint_names), position=clipped.tolist())
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        self._publisher.publish(message)
        return clipped

    def close(self) -> None:
        """Leave the graph: the robot node's watchdog holds the robot."""
        self._ended.set()
        self._thread.join(30)


def names_of(robot: Robot, suffixes: Sequence[str]) -> list[str]:
    """Return "joint.suffix" for every joint and suffix, joint by joint."""
    return [f"{joint}.{suffix}" for joint in robot.joint_names for suffix in suffixes]
