"""Access to the ROS graph through rclpy, and the quality of service of waldo's topics.

Each process has its own context and a `SingleThreadedExecutor`. The multi-threaded executor loses messages under load
(ros2/rclpy issues 1452 and 1547). The `EventsExecutor` of rclpy 7.1 does not pass message info to callbacks, whose
sequence numbers are needed to count lost messages.
"""

from __future__ import annotations

import importlib
import importlib.resources
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Environment variables that select a Fast DDS profile."""


def use_profile() -> None:
    """Select waldo's Fast DDS profile unless the environment selects a profile or built-in transports."""
    if not any(os.environ.get(name) for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        os.environ[PROFILE_VARIABLES[0]] = str(importlib.resources.files("waldo") / "fastdds.xml")


def stream_qos(depth: int = 200) -> QoSProfile:
    """Return the profile of recorded topics: reliable, with a history of seconds for a slow subscriber."""
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def latched_qos() -> QoSProfile:
    """Return the profile of topics whose last message is delivered to subscribers that join later."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True, slots=True)
class Graph:
    """A node on the ROS graph and its executor."""

    node: Node
    context: Context
    _executor: SingleThreadedExecutor

    def spin_for(self, seconds: float) -> None:
        """Run callbacks for `seconds` of wall time; with 0, run the ready ones."""
        deadline = time.monotonic() + seconds
        while True:
            remaining = deadline - time.monotonic()
            self._executor.spin_once(timeout_sec=max(0.0, remaining))
            if remaining <= 0:
                return

    def spin_once(self, timeout_s: float = 0.1) -> None:
        """Run one callback, waiting for at most `timeout_s` of wall time."""
        self._executor.spin_once(timeout_sec=timeout_s)

    def spin_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Run callbacks until `done()`; return False if `timeout_s` of wall time passed first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not done():
            remaining = 0.1 if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(0.1, remaining))
        return True

    def call(self, client: Any, request: Any, timeout_s: float = 10.0) -> Any:
        """Call a service and return its response; None if it does not arrive within `timeout_s`."""
        if not self.spin_until(client.service_is_ready, timeout_s):
            return None
        future = client.call_async(request)
        return future.result() if self.spin_until(future.done, timeout_s) else None


@contextmanager
def join_graph(name: str, namespace: str = "", *, simulated_time: bool = False) -> Generator[Graph]:
    """Join the ROS graph as node `name` in `namespace`; with `simulated_time`, the node's clock follows `/clock`."""
    use_profile()
    import rclpy
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter
    from rclpy.signals import SignalHandlerOptions

    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node(
            name,
            namespace=namespace,
            context=context,
            parameter_overrides=[Parameter("use_sim_time", Parameter.Type.BOOL, simulated_time)],
        )
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            yield Graph(node, context, executor)
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        context.try_shutdown()


def message_type(name: str) -> Any:
    """Return the class of a message type such as "sensor_msgs/msg/JointState"."""
    package, _, kind = name.partition("/msg/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time as int64 nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def ns_to_stamp(ns: int) -> Any:
    """Return int64 nanoseconds as a builtin_interfaces/Time."""
    from builtin_interfaces.msg import Time

    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)
