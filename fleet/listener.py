"""The ROS side of the dashboard: discovers every robot's topics and stores their messages."""

from __future__ import annotations

import importlib
import math
import os
import time
from collections.abc import Callable, Iterable
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from waldo import ros
from waldo.fleet.store import FleetStore
from waldo.robots.diagnostics import components_from_message, from_message

if TYPE_CHECKING:
    from rclpy.qos import QoSProfile

    from waldo.ros import Graph

RESCAN_S = 1.0
"""Interval between two searches for new topics [s]."""

READ_PERIOD_S = 0.5
"""Minimum interval between two deserialized `motors` messages of one robot; the page updates twice a second [s]."""

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"

TOPICS = {"motors": DIAGNOSTICS, "status": DIAGNOSTICS, "battery": "sensor_msgs/msg/BatteryState"}
"""Last part of a topic's name -> its required message type."""


def subscribed_topics(graph: Iterable[tuple[str, Iterable[str]]]) -> list[str]:
    """Return the topics of a graph, given as (name, types), that carry motors, component statuses or batteries."""
    return sorted(name for name, types in graph if TOPICS.get(name.rpartition("/")[2]) in tuple(types))


def robot_of(topic: str) -> str:
    """Return the robot of a topic, which is its namespace; empty for a topic at the root."""
    return topic.rpartition("/")[0].strip("/")


def robot_of_message(topic: str, message: Any) -> str:
    """Return the robot of a diagnostic message; at the root, the prefix of its statuses' names."""
    name = robot_of(topic)
    if not name and message.status:
        name = message.status[0].name.rpartition(": ")[0]
    return name or "robot"


def listener_qos() -> QoSProfile:
    """Return a best-effort profile: it matches any publisher, and a slow dashboard never blocks a robot."""
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=10, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)


class Listener:
    """A thread with its own ROS node that fills a store; use it as a context manager."""

    def __init__(self, store: FleetStore, clock: Callable[[], float] = time.monotonic) -> None:
        """Fill `store` with times of `clock` [s]."""
        self._store, self._clock = store, clock
        self._stopping = Event()
        self._root_robot = ""
        self._thread = Thread(target=self._run, name="fleet-listener", daemon=True)
        self.error: str | None = None
        """The exception that stopped the listener; None while it runs."""

    def __enter__(self) -> Listener:
        """Start the thread; raises ModuleNotFoundError here if rclpy is not installed."""
        for module in ("rclpy", "diagnostic_msgs.msg", "sensor_msgs.msg"):
            importlib.import_module(module)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread and leave the graph."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        try:
            with ros.join_graph(f"waldo_fleet_{os.getpid()}") as graph:
                self._listen(graph)
        except Exception as error:  # any failure of this thread must appear on the page
            self.error = f"{type(error).__name__}: {error}"

    def _listen(self, graph: Graph) -> None:
        subscribed: set[str] = set()
        while not self._stopping.is_set():
            for topic in subscribed_topics(graph.node.get_topic_names_and_types()):
                if topic not in subscribed:
                    subscribed.add(topic)
                    self._subscribe(graph, topic)
            deadline = time.monotonic() + RESCAN_S
            while not self._stopping.is_set() and time.monotonic() < deadline:
                graph.spin_for(0.1)

    def _subscribe(self, graph: Graph, topic: str) -> None:
        kind = topic.rpartition("/")[2]
        message_type = ros.message_type(TOPICS[kind])
        if kind == "motors":
            callback = self._throttled(topic, message_type)
            graph.subscribe(message_type, topic, callback, listener_qos(), raw=True)
            return
        add = self.add_components if kind == "status" else self.add_battery
        graph.subscribe(message_type, topic, lambda message: add(topic, message), listener_qos())

    def _throttled(self, topic: str, message_type: Any) -> Callable[[bytes], None]:
        """Return a callback for serialized `motors` messages that skips those that follow too closely."""
        from rclpy.serialization import deserialize_message

        read_s = -math.inf

        def on_motors(serialized: bytes) -> None:
            nonlocal read_s
            now = self._clock()
            # Several robots may share a topic at the root: skipping one message could skip one robot.
            if robot_of(topic) and now - read_s < READ_PERIOD_S:
                return
            read_s = now
            self.add_motors(topic, deserialize_message(serialized, message_type))

        return on_motors

    def add_motors(self, topic: str, message: Any) -> None:
        """Store a `motors` message; one without motors is ignored."""
        motors = from_message(message)
        if not motors:
            return
        robot = robot_of_message(topic, message)
        if not robot_of(topic):
            self._root_robot = robot
        self._store.add_motors(robot, motors, self._clock())

    def add_components(self, topic: str, message: Any) -> None:
        """Store a `status` message; one without components is ignored."""
        components = components_from_message(message)
        if components:
            self._store.add_components(robot_of_message(topic, message), components, self._clock())

    def add_battery(self, topic: str, message: Any) -> None:
        """Store a BatteryState; one at the root is ignored until the robot's name is known from `motors`."""
        robot = robot_of(topic) or self._root_robot
        if robot:
            self._store.add_battery(robot, float(message.percentage), self._clock())
