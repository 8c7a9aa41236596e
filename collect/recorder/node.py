"""The recorder node: subscribes to all that a robot publishes and hands it, stamped, to the recorder.

It joins topics as they appear, with the publisher's own reliability. Each message brings its header stamp, its
publication and its receipt stamp (the middleware's) and its publication sequence number, whose gaps are losses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from waldo import console, ros
from waldo.collect.recorder import topics
from waldo.collect.recorder.images import PictureError
from waldo.collect.recorder.message_adapter import Intake
from waldo.collect.recorder.recorder import Recorder, State
from waldo.collect.recorder.recording_monitor import ERROR, OK, WARN, Health, Notice, Status
from waldo.collect.recorder.topics import Topic
from waldo.errors import WaldoError

if TYPE_CHECKING:
    from waldo.ros import Graph

SCAN_S = 0.25
"""How often new topics are looked for, and the recording's health is [s]."""

STATUS_S = 1.0
"""How often the recorder says how it is [s]."""

STYLE = {OK: "green", WARN: "yellow", ERROR: "red"}
"""How a notice is printed."""


class RecorderNode:
    """Puts a recorder on the ROS graph; `run` returns when it is asked to."""

    def __init__(self, graph: Graph, recorder: Recorder, cameras: Mapping[str, str] | None = None) -> None:
        """Create the services. `cameras` names base topics of cameras elsewhere: stream -> topic.

        A recorder in lockstep tells a simulated robot what has been received, so that it can wait.
        """
        from diagnostic_msgs.msg import DiagnosticArray
        from rosgraph_msgs.msg import Clock
        from std_msgs.msg import String, UInt64MultiArray

        self.graph, self.recorder = graph, recorder
        self._cameras = dict(cameras or {})
        self._lockstep = lockstep = recorder.config.lockstep
        self._intake = Intake(recorder, lockstep=lockstep)
        self._health = Health(recorder, wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns(), lockstep=lockstep)
        self._sequences: dict[str, int] = {}
        self._heard = self._acknowledged = 0
        self._status_due_s = 0.0
        self._subscribed: dict[str, Topic] = {}
        self._unreadable: dict[str, int] = {}
        node = graph.node
        self._received = node.create_publisher(UInt64MultiArray, "received", ros.stream_qos()) if lockstep else None
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", ros.stream_qos(10))
        if lockstep:
            node.create_subscription(Clock, "/clock", self._on_clock, ros.stream_qos(10))
            node.create_subscription(DiagnosticArray, "status", cast("Any", self._on_status), ros.stream_qos(1000))
        node.create_subscription(String, "task", cast("Any", self._on_task), ros.latched_qos())
        self._open_services()

    def _open_services(self) -> None:
        from std_srvs.srv import Trigger

        actions: dict[str, Callable[[], str]] = {
            "start": lambda: self.recorder.start(list(self._subscribed)),
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
            # The robot counts the heat of episodes and of pauses apart: it hears of each begin and end at once.
            self._status_due_s = 0.0
            return response

        return answer

    # topics

    def scan(self) -> None:
        """Subscribe to every topic of the robot's namespace that has a publisher and is not yet recorded."""
        node = self.graph.node
        for name, stream in topics.STREAM_OF.items():
            self._subscribe(Topic(stream, node.resolve_topic_name(name), topics.KIND_OF[name]), key=name)
        offered = dict(node.get_topic_names_and_types())
        for topic in topics.cameras_of(offered, node.get_namespace(), self._cameras):
            self._subscribe(topic, key=topic.stream)

    def _on_status(self, _message: Any, info: Any) -> None:
        """Count a message of the robot's component statuses, which is not recorded, for the acknowledgement."""
        self._sequences["status"] = int(info["publication_sequence_number"])
        self._heard += 1

    def _subscribe(self, topic: Topic, *, key: str) -> None:
        """Join a topic once somebody publishes it, as reliably as it is offered; `key` is how it is acknowledged."""
        from rclpy.qos import ReliabilityPolicy

        if topic.stream in self._subscribed:
            return
        publishers = self.graph.node.get_publishers_info_by_topic(topic.name)
        if not publishers:
            return
        qos = ros.stream_qos(1000)
        if any(p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in publishers):
            qos.reliability = ReliabilityPolicy.BEST_EFFORT

        def on_message(message: Any, info: Any) -> None:
            self._sequences[key] = int(info["publication_sequence_number"])
            self._take(topic, message, info)
            self._heard += 1

        self.graph.node.create_subscription(ros.message_type(topic.kind), topic.name, cast("Any", on_message), qos)
        self._subscribed[topic.stream] = topic

    def _take(self, topic: Topic, message: Any, info: Any) -> None:
        """Hand on a message. One that cannot be read is lost; a journal that cannot be written ends the episode."""
        self._tell(self._health.heard(topic.stream, time.monotonic_ns(), time.time_ns()))
        try:
            self._intake.take(topic, message, info)
        except PictureError as error:
            self.recorder.lose(topic.stream)
            self._unreadable[topic.stream] = self._unreadable.get(topic.stream, 0) + 1
            if self._unreadable[topic.stream] == 1:
                self._tell([Notice(level=ERROR, text=f"{topic.name}: {error}")])
        except WaldoError as error:
            self.recorder.abandon()
            text = f"{error}; the episode is cut off here, what was captured is closed at the next start"
            self._tell([Notice(level=ERROR, text=text)])

    def _acknowledge(self) -> None:
        """In lockstep, tell the robot what has been received."""
        self._acknowledged = self._heard
        if self._received is None:
            return
        from std_msgs.msg import MultiArrayDimension, UInt64MultiArray

        message = UInt64MultiArray(data=list(self._sequences.values()))
        message.layout.dim = [MultiArrayDimension(label=label) for label in self._sequences]
        self._received.publish(message)

    def _on_clock(self, message: Any) -> None:
        self._intake.clock_ns = ros.stamp_to_ns(message.clock)

    def _on_task(self, message: Any, info: Any) -> None:
        try:
            task = json.loads(message.data)
        except ValueError:
            task = {"task": message.data}
        self.recorder.task = task if isinstance(task, dict) else {"task": str(task)}
        self._sequences["task"] = int(info["publication_sequence_number"])
        self._heard += 1

    # health

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            # The operator's eyes are on the robot: the bell says that something is wrong.
            bell = "\a" if notice.level == ERROR else ""
            style = STYLE[notice.level]
            console.err().print(f"{bell}[{style}]recorder: {notice.text}[/{style}]")

    def _publish_status(self, status: Status) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

        values = {
            "state": status.state,
            "task": status.task,
            "recording_seconds": f"{status.seconds:.1f}",
            "lost_messages": str(status.lost),
            "frames_waiting": str(status.waiting),
            "disk_seconds_left": f"{status.space.seconds_left:.0f}",
            "silent": ", ".join(sorted(status.silent)),
            **{f"{name} rate_hertz": f"{rate:.1f}" for name, rate in status.rates_hz.items()},
        }
        message = DiagnosticArray()
        message.header.stamp = ros.ns_to_stamp(time.time_ns())
        message.status = [
            DiagnosticStatus(
                level=bytes([status.level]),
                name=f"{self.recorder.robot.name}: recorder",
                message=str(status),
                hardware_id=self.graph.node.get_namespace().strip("/"),
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            )
        ]
        self._diagnostics.publish(message)

    def run(self, done: Callable[[], bool]) -> None:
        """Record on demand until `done()`; an episode still open then is kept as interrupted."""
        next_scan = 0.0
        line = console.StatusLine()
        try:
            while not done():
                now = time.monotonic()
                if now >= next_scan:
                    self.scan()
                    self._tell(self._health.check(time.time_ns(), time.monotonic_ns()))
                    # Said again: the robot may not yet have been listening when it was said first.
                    self._acknowledge()
                    next_scan = now + SCAN_S
                if now >= self._status_due_s:
                    status = self._health.status(time.monotonic_ns())
                    self._publish_status(status)
                    line.show(str(status))
                    self._status_due_s = now + STATUS_S
                self._spin()
        finally:
            line.close()
            if self.recorder.state is not State.IDLE:
                console.err().print("recorder: an episode is open: keeping it as interrupted")
            self.recorder.close()

    def _spin(self) -> None:
        """Run one callback; acknowledge once nothing more has come in, not each message alone."""
        heard = self._heard
        pending = heard > self._acknowledged
        self.graph.spin_once(0.0 if pending else SCAN_S)
        if pending and heard == self._heard:
            self._acknowledge()
