"""Access to the ROS graph through rclpy, and the quality of service of waldo's topics.

Each process has its own context, takes messages directly and runs a `SingleThreadedExecutor` for everything else. The
multi-threaded executor loses messages under load (ros2/rclpy issues 1452 and 1547). The `EventsExecutor` of rclpy 7.1
does not pass message info to callbacks, whose sequence numbers are needed to count lost messages.

An exception in a callback costs the message or the request, not the process: every subscription and service is created
by `Graph`, which reports the first exception of each kind.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.resources
import inspect
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from waldo.errors import InvalidValueError

if TYPE_CHECKING:
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

LOG = logging.getLogger("waldo.ros")

LATE_SPIN_S = 0.001
"""Longest time for which `Graph.spin_for` runs the callbacks of waiting messages if its caller is late [s]."""

EXECUTOR_S = 0.05
"""Longest interval between two calls of rclpy's executor, while messages arrive without a pause [s]."""

MAX_DOMAIN = 232
"""Highest ROS domain; the ports of higher ones would exceed 65535."""

PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Environment variables that select a Fast DDS profile."""


SENDER = "dds.asyn"
"""Start of the name of Fast DDS's threads that send what is published asynchronously."""


def use_profile() -> None:
    """Select waldo's Fast DDS profile unless the environment selects a profile or built-in transports."""
    if not any(os.environ.get(name) for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        os.environ[PROFILE_VARIABLES[0]] = str(importlib.resources.files("waldo.ros") / "fastdds.xml")


def publish_asynchronously() -> None:
    """Let a thread of the middleware send what this process publishes, unless the environment decides otherwise.

    A subscriber that is suspended in the middle of reading from shared memory would otherwise block the publisher for
    two seconds: measured in 3 of 250 suspensions, and in none of 200 with this. A control loop must not wait for it.
    """
    os.environ.setdefault("RMW_FASTRTPS_PUBLICATION_MODE", "ASYNCHRONOUS")


def keep_senders_from_preempting() -> None:
    """Let the sending threads of this process wait until the thread that publishes has finished.

    While a thread publishes, it holds a lock for which Fast DDS's sending thread polls. Woken on the same processor,
    that one preempted the publisher and polled until the next tick of the kernel: on two busy cores a control loop at
    200 Hz lost 2 to 4 ms in every tenth cycle, and loses 2 ms in every hundredth with this. A thread with the policy
    SCHED_BATCH preempts no other.
    """
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # threads end
            if (task / "comm").read_text().startswith(SENDER):
                os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))


def check_domain() -> None:
    """Raise InvalidValueError unless ROS_DOMAIN_ID is a domain that DDS has ports for; the default is 0."""
    text = os.environ.get("ROS_DOMAIN_ID", "")
    if text and not (text.isascii() and text.isdigit() and int(text) <= MAX_DOMAIN):
        raise InvalidValueError("ROS_DOMAIN_ID", text, f"a whole number from 0 to {MAX_DOMAIN}")


def choose_log_folder() -> None:
    """Let ROS write its logs to a temporary folder if the user named none and the home folder cannot be written."""
    if any(os.environ.get(name) for name in ("ROS_LOG_DIR", "ROS_HOME")):
        return
    folder = Path(os.path.expanduser("~")) / ".ros" / "log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="waldo-ros-log-")


def stream_qos(depth: int = 200) -> QoSProfile:
    """Return the profile of recorded topics: reliable, with a history of seconds for a slow subscriber."""
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def latched_qos() -> QoSProfile:
    """Return the profile of topics whose last message is delivered to subscribers that join later."""
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _log_failure(name: str, error: Exception) -> None:
    LOG.error("%s: %s: %s; the message is ignored", name, type(error).__name__, error)


@dataclass(slots=True)
class Graph:
    """A node on the ROS graph and its executor."""

    node: Node
    context: Context
    _executor: SingleThreadedExecutor
    on_failure: Callable[[str, Exception], None] = _log_failure
    """Called with the topic or service and the first exception of each type that its callback raises."""
    failures: Counter[str] = field(default_factory=Counter[str])
    """Topic or service -> number of messages or requests that its callback could not handle."""
    _reported: set[tuple[str, type[Exception]]] = field(default_factory=set[tuple[str, type[Exception]]])
    _subscriptions: list[tuple[Any, Callable[[Any, Any], object]]] = field(default_factory=list[Any])
    _executor_due_s: float = 0.0

    def subscribe(
        self, kind: Any, topic: str, callback: Callable[..., object], qos: QoSProfile, *, raw: bool = False
    ) -> Any:
        """Subscribe to a topic; return the subscription, for `drain`.

        Args:
            kind: Class of the messages.
            topic: Name of the topic.
            callback: Called with each message, and with its info if it takes a second argument.
            qos: Quality of service.
            raw: Whether to pass serialized messages.
        """

        @functools.wraps(callback)  # rclpy takes the number of arguments from the signature
        def guarded(*arguments: Any) -> None:
            try:
                callback(*arguments)
            except Exception as error:
                self._fail(topic, error)

        subscription = self.node.create_subscription(kind, topic, cast("Any", guarded), qos, raw=raw)
        arguments = len(inspect.signature(callback).parameters)
        self._subscriptions.append(
            (subscription, guarded if arguments > 1 else lambda message, _info: guarded(message))
        )
        return subscription

    def drain(self, subscriptions: Iterable[Any], until_ns: int) -> None:
        """Run the callbacks of all messages that were published before a time and have arrived.

        Args:
            subscriptions: Subscriptions whose callbacks take a message and its info.
            until_ns: The time [ns since the epoch].
        """
        for subscription in subscriptions:
            while (taken := subscription.handle.take_message(subscription.msg_type, subscription.raw)) is not None:
                subscription.callback(*taken)
                if taken[1]["source_timestamp"] >= until_ns:
                    break

    def serve(self, kind: Any, name: str, callback: Callable[[Any, Any], Any]) -> None:
        """Offer a service whose response has the fields `success` and `message`.

        Args:
            kind: Class of the service.
            name: Name of the service.
            callback: Called with the request and an empty response; returns the response.
        """

        def guarded(request: Any, response: Any) -> Any:
            try:
                return callback(request, response)
            except Exception as error:
                self._fail(name, error)
                response.success, response.message = False, f"{type(error).__name__}: {error}"
                return response

        self.node.create_service(kind, name, guarded)

    def _fail(self, name: str, error: Exception) -> None:
        self.failures[name] += 1
        if (name, type(error)) not in self._reported:
            self._reported.add((name, type(error)))
            self.on_failure(name, error)

    def spin_for(self, seconds: float) -> None:
        """Run callbacks for `seconds` of wall time; if the caller is late, briefly those of what is waiting."""
        start = time.monotonic()
        deadline, latest = start + seconds, start + LATE_SPIN_S
        self.spin_once(max(0.0, seconds))
        while (now := time.monotonic()) < deadline or (now < latest and self._take()):
            self.spin_once(max(0.0, deadline - now))

    def spin_once(self, timeout_s: float = 0.1) -> None:
        """Run the callback of one message of each topic, or of one service; wait for at most `timeout_s` of wall time.

        rclpy's executor builds a wait set from Python objects and runs each callback as a task, which takes a
        millisecond. Here it runs what is rare: services, clients, and the events of topics.
        """
        if self._take():
            if time.monotonic() < self._executor_due_s:
                return
        elif not self._wait(timeout_s):
            self._take()
            return
        # The same timeout in every call: with another one, rclpy drops what it has found ready, except the first.
        self._executor.spin_once(timeout_sec=0.0)
        self._executor_due_s = time.monotonic() + EXECUTOR_S

    def _take(self) -> bool:
        """Run the callback of one arrived message of each topic; return whether there was any."""
        found = False
        for subscription, callback in self._subscriptions:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
            if taken is not None:
                found = True
                callback(*taken)
        return found

    def _wait(self, timeout_s: float) -> bool:
        """Wait for a message, a request or a response; return whether the executor must run."""
        from rclpy.impl.implementation_singleton import rclpy_implementation

        topics, services, clients = (
            [one.handle for one in found] for found in (self.node.subscriptions, self.node.services, self.node.clients)
        )
        wait_set = rclpy_implementation.WaitSet(len(topics), 0, 0, len(clients), len(services), 0, self.context.handle)
        wait_set.clear_entities()
        for add, handles in (
            (wait_set.add_subscription, topics),
            (wait_set.add_service, services),
            (wait_set.add_client, clients),
        ):
            for handle in handles:
                add(handle)
        wait_set.wait(max(0, round(timeout_s * 1e9)))
        # rclpy has subscriptions of its own, such as that of simulated time.
        taken_here = {subscription.handle.pointer for subscription, _ in self._subscriptions}
        rest = {*wait_set.get_ready_entities("subscription")} - taken_here
        return bool(
            rest
            or wait_set.get_ready_entities("service")
            or wait_set.get_ready_entities("client")
            or time.monotonic() >= self._executor_due_s
        )

    def spin_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Run callbacks until `done()`; return False if `timeout_s` of wall time passed first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not done():
            remaining = 0.1 if deadline is None else deadline - time.monotonic()
            if remaining <= 0:
                return False
            self.spin_once(min(0.1, remaining))
        return True

    def call(self, client: Any, request: Any, timeout_s: float = 10.0) -> Any:
        """Call a service and return its response; None if it does not arrive within `timeout_s`."""
        if not self.spin_until(client.service_is_ready, timeout_s):
            return None
        future = client.call_async(request)
        return future.result() if self.spin_until(future.done, timeout_s) else None


@contextmanager
def join_graph(name: str, namespace: str = "", *, simulated_time: bool = False) -> Generator[Graph]:
    """Join the ROS graph as node `name` in `namespace`; with `simulated_time`, the node's clock follows `/clock`.

    Raises:
        InvalidValueError: If the environment names a domain that does not exist.
    """
    check_domain()
    choose_log_folder()
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
