"""The recorder node: subscribes to everything that a robot publishes and passes it, with its stamps, to the recorder.

A topic is subscribed when its first publisher appears, with the reliability that its publishers offer. Each message has
a header stamp, the middleware's publication and receipt times, and a publication sequence number, in which a gap is a
loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from waldo import ros
from waldo.collect.notice import Notice
from waldo.collect.recorder import topics
from waldo.collect.recorder.message_adapter import MessageAdapter
from waldo.collect.recorder.operator_view import OperatorView
from waldo.collect.recorder.publishers import Start
from waldo.collect.recorder.recorder import Recorder, State
from waldo.collect.recorder.recording_monitor import RecordingMonitor
from waldo.collect.recorder.requests import RecorderRequests
from waldo.collect.recorder.status import to_message
from waldo.collect.recorder.surroundings import Surroundings
from waldo.collect.recorder.task import parse_task
from waldo.collect.recorder.topics import Topic
from waldo.collect.robot_condition import RobotCondition
from waldo.collect.services import Services
from waldo.collect.status_watch import STATUS_TOPIC
from waldo.datasets import schema
from waldo.datasets.recording.journal import JournalError
from waldo.errors import WaldoError
from waldo.robots import diagnostics
from waldo.robots.diagnostics import CONTROL, ERROR, OK, WARN

if TYPE_CHECKING:
    from waldo.ros import Graph

SCAN_S = 0.25
"""Interval between two searches for new topics, and between two checks of the recording [s]."""

SPIN_S = 0.05
"""Longest wait for a message, so that a robot that is silent is on the screen within a second [s]."""

STATUS_S = 1.0
"""Interval between two status messages [s]."""

BATTERY, BATTERY_TYPE = "battery", "sensor_msgs/msg/BatteryState"
"""Topic of the robot's battery, relative to its namespace, and its type; it is shown and not recorded."""

QUEUE_DEPTH = 1000
"""Number of messages that a subscription buffers while the recorder is busy."""


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """What a recorder node records of the robot's topics, and as what."""

    joint_map: Mapping[str, str] = field(default_factory=dict[str, str])
    """Published name -> joint, for a robot whose joints have other names."""
    without: frozenset[str] = frozenset()
    """Cameras' streams that are not recorded."""
    receipt_stamps: frozenset[str] = frozenset()
    """Streams whose messages are stamped with their receipt, since their publishers stamp with a clock of their own."""
    tasks: Sequence[Mapping[str, Any]] = ()
    """Attributes of the episodes, among which the operator chooses; the first is that of the first episode."""


class RecorderNode:
    """Connects a recorder to the ROS graph."""

    def __init__(
        self,
        graph: Graph,
        recorder: Recorder,
        cameras: Mapping[str, str] | None = None,
        *,
        config: NodeConfig | None = None,
        view: OperatorView | None = None,
    ) -> None:
        """Create the services. A recorder in lockstep acknowledges messages, for which the simulation waits.

        Args:
            graph: The node on the ROS graph, in the robot's namespace.
            recorder: The recorder.
            cameras: Stream -> base topic of cameras outside the namespace.
            config: What to record of the topics, and as what.
            view: What the operator sees and requests.
        """
        from diagnostic_msgs.msg import DiagnosticArray
        from rosgraph_msgs.msg import Clock
        from std_msgs.msg import String, UInt64MultiArray

        self.graph, self.recorder = graph, recorder
        self._cameras = dict(cameras or {})
        self._config = config or NodeConfig()
        self._view = view or OperatorView()
        lockstep = recorder.config.lockstep
        self._adapter = MessageAdapter(
            recorder,
            lockstep=lockstep,
            joint_map=self._config.joint_map,
            receipt_stamps=self._config.receipt_stamps,
            count_publishers=graph.node.count_publishers,
            on_publisher=self._on_publisher,
            view=self._view,
        )
        self._monitor = RecordingMonitor(
            recorder, wall_ns=time.time_ns(), monotonic_ns=time.monotonic_ns(), lockstep=lockstep
        )
        self._sequences: dict[str, int] = {}
        self._received = self._acknowledged = 0
        self._status_due_s = 0.0
        self._subscribed: set[str] = set()
        self._subscriptions: list[Any] = []
        self._streams: list[str] = []
        self._offered: set[str] = set()
        self._condition: RobotCondition | None = None
        self._refused: set[tuple[str, type[Exception]]] = set()
        node = graph.node
        self._acknowledgements = (
            node.create_publisher(UInt64MultiArray, "received", ros.stream_qos()) if lockstep else None
        )
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", ros.stream_qos(10))
        if lockstep:
            graph.subscribe(Clock, "/clock", self._on_clock, ros.stream_qos(10))
        graph.subscribe(String, "task", self._on_task, ros.latched_qos())
        self._requests = RecorderRequests(
            recorder,
            self._monitor,
            expected=lambda: self._streams,
            drain=self._drain,
            now_ns=self._now_ns,
            tasks=self._config.tasks,
            gates=tuple if lockstep else self._monitor.gates,
        )
        self._services = Services(graph, lambda: True, self._view.notice, nodes=["robot"])
        self._surroundings = Surroundings(graph.node, recorder.robot.name, self._config.without)
        self._create_services()

    # services and keys

    def _create_services(self) -> None:
        from std_srvs.srv import Trigger

        for name in self._requests.actions:
            self.graph.serve(Trigger, f"~/{name}", self._service(name))

    def _drain(self) -> None:
        """Record everything that was published before now: requests are served before messages that still wait."""
        if not self.recorder.config.lockstep:
            self.graph.drain(self._subscriptions, time.time_ns())

    def _now_ns(self) -> int:
        """Return the time of the robot's messages [ns]."""
        return self._adapter.simulated_ns if self.recorder.config.lockstep else time.time_ns()

    def _service(self, name: str) -> Callable[[Any, Any], Any]:
        """Return a service callback that responds with the confirmation of a request, or with its error."""

        def respond(_request: Any, response: Any) -> Any:
            response.success, response.message = self._fulfill(name)
            return response

        return respond

    def _fulfill(self, name: str) -> tuple[bool, str]:
        """Fulfill a request to the recorder; return whether it succeeded, and a text for the operator."""
        try:
            success, text = True, self._requests.actions[name]()
        except (WaldoError, OSError) as error:  # such as a full disk
            success, text = False, str(error)
        shown = f"{name}: {text}" if success else f"{name} refused: {text}"
        self._view.notice(Notice(level=OK if success else WARN, text=shown, confirmation=True))
        # The robot attributes heat to episodes and pauses, hence it must receive each change of state at once.
        self._status_due_s = 0.0
        return success, text

    def _handle_requests(self) -> None:
        """Fulfill the operator's requests to the recorder, and pass on those to the robot."""
        for name in self._view.take_requests():
            if name in self._requests.actions:
                self._fulfill(name)
            else:
                self._services.request(name)

    # topics

    def scan(self) -> None:
        """Subscribe to every topic of the robot that has a publisher and is not yet subscribed."""
        node = self.graph.node
        for name, stream in schema.STREAM_OF_TOPIC.items():
            topic = Topic(stream, node.resolve_topic_name(name), schema.TYPE_OF_TOPIC[name])
            self._subscribe_stream(topic, key=name)
        policy = Topic(schema.POLICY, node.resolve_topic_name(schema.POLICY), schema.JOINT_STATE_TYPE)
        self._subscribe_stream(policy, key=schema.POLICY)
        status = Topic("", node.resolve_topic_name(STATUS_TOPIC), schema.DIAGNOSTIC_TYPE)
        self._subscribe(status, self._on_components, key=STATUS_TOPIC)
        battery = Topic("", node.resolve_topic_name(BATTERY), BATTERY_TYPE)
        self._subscribe(battery, lambda message, _: self._view.battery(float(message.percentage)), key=BATTERY)
        offered = dict(node.get_topic_names_and_types())
        for topic in topics.find_cameras(offered, node.get_namespace(), self._cameras):
            self._offered.add(topic.stream)
            if topic.stream not in self._config.without:
                self._subscribe_stream(topic, key=topic.stream)

    def _subscribe_stream(self, topic: Topic, *, key: str) -> None:
        def add(message: Any, info: Any) -> None:
            self._add(topic, message, info)

        if self._subscribe(topic, add, key=key):
            self._streams.append(topic.stream)

    def _subscribe(self, topic: Topic, add: Callable[[Any, Any], None], *, key: str) -> bool:
        """Subscribe to a topic once it has a publisher, with the reliability offered; return whether it is new.

        Args:
            topic: The topic.
            add: Called with each message and its info.
            key: Name under which the topic is acknowledged in lockstep.
        """
        from rclpy.qos import ReliabilityPolicy

        if key in self._subscribed:
            return False
        publishers = self.graph.node.get_publishers_info_by_topic(topic.name)
        if not publishers:
            return False
        qos = ros.stream_qos(QUEUE_DEPTH)
        # A reliable subscription receives nothing from a best-effort publisher, as most camera drivers are.
        if any(one.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for one in publishers):
            qos.reliability = ReliabilityPolicy.BEST_EFFORT

        def on_message(message: Any, info: Any) -> None:
            self._sequences[key] = int(info["publication_sequence_number"])
            add(message, info)
            self._received += 1

        subscription = self.graph.subscribe(ros.message_type(topic.type), topic.name, on_message, qos)
        self._subscriptions.append(subscription)
        self._subscribed.add(key)
        return True

    def _add(self, topic: Topic, message: Any, info: Any) -> None:
        """Record a message. One that does not fit is lost; a journal that cannot be written ends the episode."""
        header_ns = 0 if topic.stream in self._config.receipt_stamps else ros.stamp_to_ns(message.header.stamp)
        try:
            self._notify(self._monitor.received(topic.stream, time.monotonic_ns(), time.time_ns(), header_ns))
            self._adapter.add(topic, message, info)
            if topic.stream == schema.MOTORS:
                at_ns = ros.stamp_to_ns(message.header.stamp)
                motors = diagnostics.from_message(message)
                self._view.motors(motors)
                self._notify(self._monitor.motors(motors, at_ns))
        except JournalError as error:
            self._abandon(error)
        except Exception as error:  # whatever a publisher sends costs no more than its message
            self._refuse(topic, error)

    def _refuse(self, topic: Topic, error: Exception) -> None:
        """Count a message as lost, and report the first one of each kind."""
        text = f"{topic.name}: {error}" if isinstance(error, WaldoError) else f"{topic.name}: {error!r}"
        self.recorder.refuse(topic.stream, text)
        try:
            self.recorder.report_lost(topic.stream)
            if (topic.stream, type(error)) not in self._refused:
                self._refused.add((topic.stream, type(error)))
                self._notify([Notice(level=ERROR, text=text)])
                self.recorder.event("refused", text, at_ns=time.time_ns(), stream=topic.stream, level="error")
        except JournalError as failure:
            self._abandon(failure)

    def _abandon(self, error: JournalError) -> None:
        self.recorder.abandon()
        text = f"{error}; the episode ends here, and the next start of the recorder recovers its data"
        self._notify([Notice(level=ERROR, text=text)])

    def _on_publisher(self, topic: Topic, start: Start) -> None:
        """Report a publisher that has started after the first one."""
        number = self.graph.node.count_publishers(topic.name)
        text = (
            f"the publisher of {topic.name} was restarted"
            if start is Start.RESTARTED
            else f"{topic.name} has a further publisher ({number} at present)"
        )
        self._notify([Notice(level=WARN, text=text)])
        self.recorder.event("publisher", text, at_ns=time.time_ns(), stream=topic.stream)

    def _on_components(self, message: Any, _info: Any) -> None:
        at_ns = ros.stamp_to_ns(message.header.stamp)
        components = diagnostics.components_from_message(message)
        self._supervise(lambda: self._monitor.components(components, at_ns))
        if CONTROL in components:
            rate_hz = diagnostics.from_text(components[CONTROL].values.get(diagnostics.RATE_KEY, ""))
            self.recorder.announced_hz = rate_hz if rate_hz > 0 else None
            self._show_condition()

    def _show_condition(self) -> None:
        """Report a change of the robot's condition at once."""
        condition = self._monitor.condition(time.monotonic_ns())
        if condition != self._condition:
            self._condition = condition
            self._view.condition(condition)

    def _on_clock(self, message: Any) -> None:
        self._adapter.clock_ns = ros.stamp_to_ns(message.clock)

    def _on_task(self, message: Any, info: Any) -> None:
        self._sequences["task"] = int(info["publication_sequence_number"])
        self._received += 1
        try:
            self.recorder.task = parse_task(message.data)
        except WaldoError as error:
            self._notify([Notice(level=ERROR, text=f"task: {error}; the task before stays")])

    # publications

    def _notify(self, notices: list[Notice]) -> None:
        for notice in notices:
            self._view.notice(notice)

    def _supervise(self, look: Callable[[], list[Notice]]) -> None:
        """Notify of what supervision finds; if its event cannot be written, the episode ends, and not the recorder."""
        try:
            self._notify(look())
        except JournalError as error:
            self._abandon(error)

    def _acknowledge(self) -> None:
        """In lockstep, publish the sequence number of each topic's last received message."""
        self._acknowledged = self._received
        if self._acknowledgements is None:
            return
        from std_msgs.msg import MultiArrayDimension, UInt64MultiArray

        message = UInt64MultiArray(data=list(self._sequences.values()))
        message.layout.dim = [MultiArrayDimension(label=label) for label in self._sequences]
        self._acknowledgements.publish(message)

    def _show_status(self) -> None:
        subtasks = self._requests.subtasks
        status = replace(
            self._monitor.status(time.monotonic_ns()),
            gates=tuple(self._monitor.gates()),
            subtask=subtasks.current,
            next_subtask=subtasks.next,
        )
        namespace = self.graph.node.get_namespace().strip("/")
        self._diagnostics.publish(to_message(status, self.recorder.robot.name, namespace, time.time_ns()))
        self._view.status(status)

    def run(self, done: Callable[[], bool]) -> None:
        """Record on request until `done()`; an episode that is open then is saved as interrupted."""
        next_scan_s, started_s = 0.0, time.monotonic()
        try:
            while not done():
                self._handle_requests()
                now_s = time.monotonic()
                if now_s >= next_scan_s:
                    self.scan()
                    self._notify(self._surroundings.look(now_s - started_s, self._subscribed, self._offered))
                    self._supervise(lambda: self._monitor.check(time.time_ns(), time.monotonic_ns()))
                    self._show_condition()
                    # Repeated, because the robot may have missed earlier acknowledgements while it was starting.
                    self._acknowledge()
                    next_scan_s = now_s + SCAN_S
                if now_s >= self._status_due_s:  # a request sets it to 0
                    self._show_status()
                    self._status_due_s = now_s + STATUS_S
                self._spin()
        finally:
            if self.recorder.state is not State.IDLE:
                self._notify([Notice(level=WARN, text='saving the open episode as "interrupted"')])
            self.recorder.close()

    def _spin(self) -> None:
        """Run one callback; acknowledge when no further message is waiting, rather than each message."""
        received = self._received
        pending = received > self._acknowledged
        self.graph.spin_once(0.0 if pending else SPIN_S)
        if pending and received == self._received:
            self._acknowledge()
