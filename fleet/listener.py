"""The ROS edge: finds every robot's `motors` and `battery` topics by itself and hands what they say to the store."""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from waldo.fleet.store import FleetStore
from waldo.robots.diagnostics import from_message
from waldo.ros import Graph, join_graph

if TYPE_CHECKING:
    from rclpy.qos import QoSProfile

RESCAN_S = 1.0
"""How often the graph is searched for new robots [s]."""

READ_PERIOD_S = 0.25
"""A robot's messages are read no oftener than this: reading text is what costs, and the page shows two a second [s]."""

TOPICS = {"motors": "diagnostic_msgs/msg/DiagnosticArray", "battery": "sensor_msgs/msg/BatteryState"}
"""Last part of a topic's name -> the type it must have to be listened to."""


def wanted_topics(graph: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """Return the topics of a graph, given as (name, types), that tell of motors or batteries."""
    return sorted(name for name, types in graph if TOPICS.get(name.rpartition("/")[2]) in tuple(types))


def robot_of(topic: str) -> str:
    """Return the robot that a topic belongs to: its namespace; empty for a topic at the root."""
    return topic.rpartition("/")[0].strip("/")


def robot_of_message(topic: str, message: Any) -> str:
    """Return the robot that a motor message is of; at the root, the name its statuses bear."""
    name = robot_of(topic)
    if not name and message.status:
        name = message.status[0].name.rpartition(": ")[0]
    return name or "robot"


def listener_qos() -> QoSProfile:
    """Return a profile that hears any publisher and never makes a robot wait for the dashboard: best effort."""
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)


class Listener:
    """A thread with a node of its own; use it as a context manager."""

    def __init__(self, store: FleetStore, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the store to fill and the clock whose seconds it is given."""
        self._store, self._clock = store, clock
        self._stopping = Event()
        self._root_robot = ""
        self._thread = Thread(target=self._run, name="fleet-listener", daemon=True)
        self.error: str | None = None
        """Why the listener has stopped; None while it listens."""

    def __enter__(self) -> Listener:
        """Import rclpy here, so that its absence is told where it can be seen, and start the thread."""
        for module in ("rclpy", "diagnostic_msgs.msg", "sensor_msgs.msg"):
            importlib.import_module(module)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening and leave the graph."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            with join_graph(f"waldo_fleet_{os.getpid()}") as graph:
                self._listen(graph)
        except Exception as error:  # a dead thread must be seen on the page, whatever killed it
            self.error = f"{type(error).__name__}: {error}"

    def _listen(self, graph: Graph) -> None:
        heard: set[str] = set()
        while not self._stopping.is_set():
            for topic in wanted_topics(graph.node.get_topic_names_and_types()):
                if topic not in heard:
                    heard.add(topic)
                    self._subscribe(graph, topic)
            deadline = time.monotonic() + RESCAN_S
            while not self._stopping.is_set() and time.monotonic() < deadline:
                graph.spin_for(0.1)

    def _subscribe(self, graph: Graph, topic: str) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.serialization import deserialize_message
        from sensor_msgs.msg import BatteryState

        read_s = -math.inf

        def on_motors(serialized: bytes) -> None:
            nonlocal read_s
            now = self._clock()
            # Several robots may share a topic without a namespace, and then none may be passed over for another.
            if robot_of(topic) and now - read_s < READ_PERIOD_S:
                return
            read_s = now
            self.take_motors(topic, deserialize_message(serialized, DiagnosticArray))

        def on_battery(message: Any) -> None:
            self.take_battery(topic, message)

        if topic.endswith("motors"):
            graph.node.create_subscription(DiagnosticArray, topic, on_motors, listener_qos(), raw=True)
        else:
            graph.node.create_subscription(BatteryState, topic, on_battery, listener_qos())

    def take_motors(self, topic: str, message: Any) -> None:
        """Hand a DiagnosticArray to the store; one that tells of no motor is passed over."""
        motors = from_message(message)
        if not motors:
            return
        robot = robot_of_message(topic, message)
        if not robot_of(topic):
            self._root_robot = robot
        self._store.add_motors(robot, motors, self._clock())

    def take_battery(self, topic: str, message: Any) -> None:
        """Hand a BatteryState to the store; one at the root waits until the robot there has said its name."""
        robot = robot_of(topic) or self._root_robot
        if robot:
            self._store.add_battery(robot, float(message.percentage), self._clock())
