"""The recorder node: subscribes to all that a robot publishes and hands it, stamped, to the recorder.

It joins topics as they appear, with the publisher's own reliability. Each message brings its header stamp, its receipt
stamp (the middleware's; in simulated time the clock's) and its publication sequence number, whose gaps are losses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from waldo import console, ros
from waldo.collect.recorder import Recorder, State
from waldo.errors import WaldoError
from waldo.robots import diagnostics

if TYPE_CHECKING:
    from waldo.ros import Graph

CAMERA_SUFFIX = "/image_raw/compressed"
"""What follows a camera's name in its topic."""

SCAN_S = 0.25
"""How often new topics are looked for [s]."""

STREAM_OF = {
    "joint_states": "joints/state",
    "joint_commands": "joints/command",
    "joint_commands_sent": "joints/sent",
    "motors": "motors",
    "environment_state": "environment",
}
"""Topic -> stream of the episode store."""

MOTOR_KEYS = {
    "winding": "winding_celsius",
    "housing": "housing_celsius",
    "current": "current_amperes",
    "voltage": "voltage_volts",
    "torque": "torque_newton_metres",
    "duty": "duty_ratio",
    "time_to_limit": "time_to_limit_seconds",
}
"""Field of the motors stream -> key of a diagnostic status."""


class RecorderNode:
    """Puts a recorder on the ROS graph; `run` returns when it is asked to."""

    def __init__(self, graph: Graph, recorder: Recorder, *, lockstep: bool = False) -> None:
        """Create the services; `lockstep` tells a simulated robot what has been received, so that it can wait."""
        from rosgraph_msgs.msg import Clock
        from std_msgs.msg import String, UInt64MultiArray

        self.graph, self.recorder = graph, recorder
        self._clock_ns = 0
        self._lockstep = lockstep
        self._sequences: dict[str, int] = {}
        self._heard = self._acknowledged = 0
        self._subscribed: set[str] = set()
        self._joints = recorder.robot.joint_names
        node = graph.node
        self._received = node.create_publisher(UInt64MultiArray, "received", ros.stream_qos()) if lockstep else None
        if lockstep:
            node.create_subscription(Clock, "/clock", self._on_clock, ros.stream_qos(10))
        node.create_subscription(String, "task", cast("Any", self._on_task), ros.latched_qos())
        self._open_services()

    def _open_services(self) -> None:
        from std_srvs.srv import Trigger

        actions: dict[str, Callable[[], str]] = {
            "start": lambda: self.recorder.start(self._expected()),
            "stop": self.recorder.stop,
            "save": lambda: self.recorder.save("success"),
            "fail": lambda: self.recorder.save("failure"),
            "discard": self.recorder.discard,
            "undo": self.recorder.undo,
        }
        for name, action in actions.items():
            self.graph.node.create_service(Trigger, f"~/{name}", self._answer(name, action))

    def _answer(self, name: str, action: Callable[[], str]) -> Callable[[Any, Any], Any]:
        """Return a service callback that does `action` and answers with its text or its error."""

        def answer(_request: Any, response: Any) -> Any:
            try:
                response.success, response.message = True, action()
            except WaldoError as error:
                response.success, response.message = False, str(error)
            style = "" if response.success else "[red]refused[/red] "
            console.err().print(f"recorder: {name}: {style}{response.message}")
            return response

        return answer

    # topics

    def scan(self) -> None:
        """Subscribe to every topic of the robot's namespace that has a publisher and is not yet recorded."""
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import CompressedImage, JointState

        for topic, kind in (
            ("joint_states", JointState),
            ("joint_commands", JointState),
            ("joint_commands_sent", JointState),
            ("motors", DiagnosticArray),
            ("environment_state", JointState),
        ):
            handler = self._on_joints if kind is JointState else self._on_motors
            self._subscribe(topic, topic, kind, handler)
        prefix = self.graph.node.get_namespace().rstrip("/") + "/cameras/"
        for name, _ in self.graph.node.get_topic_names_and_types():
            if name.startswith(prefix) and name.endswith(CAMERA_SUFFIX):
                camera = name[len(prefix) : -len(CAMERA_SUFFIX)]
                self._subscribe(f"cameras/{camera}", name, CompressedImage, self._on_image)

    def _subscribe(self, key: str, topic: str, kind: Any, handler: Callable[[str, Any, Any], None]) -> None:
        """Join a topic once somebody publishes it, as reliably as it is offered."""
        if key in self._subscribed:
            return
        full = self.graph.node.resolve_topic_name(topic)
        publishers = self.graph.node.get_publishers_info_by_topic(full)
        if not publishers:
            return
        from rclpy.qos import ReliabilityPolicy

        qos = ros.stream_qos(1000)
        if any(p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in publishers):
            qos.reliability = ReliabilityPolicy.BEST_EFFORT

        def on_message(message: Any, info: Any) -> None:
            self._sequences[key] = int(info["publication_sequence_number"])
            handler(key, message, info)
            self._heard += 1

        self.graph.node.create_subscription(kind, topic, cast("Any", on_message), qos)
        self._subscribed.add(key)

    def _expected(self) -> list[str]:
        """Return the streams whose topics somebody publishes."""
        return [STREAM_OF.get(key, key) for key in self._subscribed]

    def _acknowledge(self) -> None:
        """In lockstep, tell the robot what has been received."""
        self._acknowledged = self._heard
        if self._received is None:
            return
        from std_msgs.msg import MultiArrayDimension, UInt64MultiArray

        message = UInt64MultiArray(data=list(self._sequences.values()))
        message.layout.dim = [MultiArrayDimension(label=label) for label in self._sequences]
        self._received.publish(message)

    # messages

    def _stamps(self, header: Any, info: Any) -> dict[str, int]:
        """Return header and receipt stamp [ns] and the sequence number of a message.

        In simulated time a message is received no earlier than it was stamped, whether the clock or it came first.
        """
        header_ns = ros.stamp_to_ns(header.stamp)
        receipt_ns = max(self._clock_ns, header_ns) if self._lockstep else int(info["received_timestamp"])
        sequence = int(info["publication_sequence_number"])
        return {"header_ns": header_ns or receipt_ns, "receipt_ns": receipt_ns, "sequence": sequence}

    def _on_clock(self, message: Any) -> None:
        self._clock_ns = ros.stamp_to_ns(message.clock)

    def _on_task(self, message: Any, info: Any) -> None:
        try:
            task = json.loads(message.data)
        except ValueError:
            task = {"task": message.data}
        self.recorder.task = task if isinstance(task, dict) else {"task": str(task)}
        self._sequences["task"] = int(info["publication_sequence_number"])
        self._heard += 1

    def _on_joints(self, key: str, message: Any, info: Any) -> None:
        stamps = self._stamps(message.header, info)
        if key == "environment_state":
            values = np.asarray(message.position, dtype=float)
            self.recorder.environment(message.name, values, **stamps)
            return
        fields = {"position": message.position}
        if key == "joint_states":
            fields |= {"velocity": message.velocity, "effort": message.effort}
        values = {name: self._in_order(message.name, column) for name, column in fields.items()}
        self.recorder.row(STREAM_OF[key], values=values, **stamps)

    def _in_order(self, names: list[str], values: Any) -> NDArray[np.float64]:
        """Return values by name in the robot's joint order; NaN where the message says nothing."""
        by_name = dict(zip(names, values, strict=False))
        return np.array([by_name.get(name, np.nan) for name in self._joints])

    def _on_motors(self, key: str, message: Any, info: Any) -> None:
        motors = diagnostics.from_message(message)
        values = {field: diagnostics.column(motors, self._joints, name) for field, name in MOTOR_KEYS.items()}
        self.recorder.row(key, values=values, **self._stamps(message.header, info))

    def _on_image(self, key: str, message: Any, info: Any) -> None:
        import cv2

        bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is None:
            console.err().print(f"[red]recorder: {key}: an image of {len(message.data)} bytes cannot be decoded[/red]")
            return
        rgb = cast("NDArray[np.uint8]", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        self.recorder.frame(key.partition("/")[2], rgb, **self._stamps(message.header, info))

    def run(self, done: Callable[[], bool]) -> None:
        """Record on demand until `done()`; an episode still open then is kept as interrupted."""
        next_scan = 0.0
        try:
            while not done():
                if time.monotonic() >= next_scan:
                    self.scan()
                    # Said again: the robot may not yet have been listening when it was said first.
                    self._acknowledge()
                    next_scan = time.monotonic() + SCAN_S
                heard = self._heard
                pending = heard > self._acknowledged
                self.graph.spin_once(0.0 if pending else SCAN_S)
                # One answer for all that has come in, not one for each message.
                if pending and heard == self._heard:
                    self._acknowledge()
        finally:
            if self.recorder.state is not State.IDLE:
                console.err().print("recorder: an episode is open: keeping it as interrupted")
            self.recorder.close()
