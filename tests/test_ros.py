"""The node on the ROS graph: fair to every topic, and no message or request ends it."""

from __future__ import annotations

import ast
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rosgraph_msgs.msg import Clock
from std_msgs.msg import UInt64
from std_srvs.srv import Trigger

from waldo import ros

ROOT = Path(__file__).parent.parent
CREATE = ("create_subscription", "create_service", "create_timer")


@pytest.fixture
def graphs(ros_domain: int) -> Iterator[tuple[ros.Graph, ros.Graph]]:
    """Two nodes with contexts of their own."""
    with ros.join_graph("here") as here, ros.join_graph("there") as there:
        yield here, there


def test_every_topic_is_received_while_callbacks_keep_the_node_busy(graphs: tuple[ros.Graph, ros.Graph]) -> None:
    """Forty topics, of which one callback fits into a spin: none may starve."""
    here, there = graphs
    received: Counter[int] = Counter()

    def receive(message: Any) -> None:
        received[message.data] += 1
        time.sleep(0.002)

    qos = ros.stream_qos(5)
    publishers = [there.node.create_publisher(UInt64, f"topic_{i}", qos) for i in range(40)]
    for i in range(40):
        here.subscribe(UInt64, f"topic_{i}", receive, qos)
    there.spin_until(lambda: all(one.get_subscription_count() for one in publishers), 60)
    for _ in range(30):
        for i, publisher in enumerate(publishers):
            publisher.publish(UInt64(data=i))
        for _ in range(8):
            here.spin_for(0.002)
    assert len(received) == 40
    assert min(received.values()) * 3 >= max(received.values())


def test_an_exception_costs_one_message_and_is_reported_once(graphs: tuple[ros.Graph, ros.Graph]) -> None:
    here, there = graphs
    received: list[int] = []
    reported: list[str] = []
    here.on_failure = lambda name, error: reported.append(f"{name}: {error!r}")

    def receive(message: Any, info: dict[str, Any]) -> None:
        assert info["publication_sequence_number"] > 0
        if message.data % 2:
            raise ValueError(message.data)
        received.append(message.data)

    publisher = there.node.create_publisher(UInt64, "numbers", ros.stream_qos())
    here.subscribe(UInt64, "numbers", receive, ros.stream_qos())
    assert there.spin_until(lambda: publisher.get_subscription_count() > 0, 60)
    for number in range(6):
        publisher.publish(UInt64(data=number))
    assert here.spin_until(lambda: len(received) == 3 and here.failures["numbers"] == 3, 60)
    assert received == [0, 2, 4]
    assert reported == ["numbers: ValueError(1)"]


def test_a_service_is_served_while_messages_arrive_without_a_pause(graphs: tuple[ros.Graph, ros.Graph]) -> None:
    here, there = graphs

    def accept(_request: Any, response: Any) -> Any:
        response.success = True
        return response

    qos = ros.stream_qos()
    publisher = there.node.create_publisher(UInt64, "numbers", qos)
    received: list[int] = []

    def receive(message: Any) -> None:
        received.append(message.data)
        publisher.publish(message)  # the next one has arrived before the queue is empty

    here.subscribe(UInt64, "numbers", receive, qos)
    here.serve(Trigger, "act", accept)
    client = there.node.create_client(Trigger, "act")
    assert there.spin_until(lambda: client.service_is_ready() and publisher.get_subscription_count() > 0, 60)
    for number in range(100):
        publisher.publish(UInt64(data=number))
    assert here.spin_until(lambda: bool(received), 60)
    call = client.call_async(Trigger.Request())
    deadline = time.monotonic() + 60
    while (not call.done() or len(received) <= 100) and time.monotonic() < deadline:
        here.spin_once(0.01)
        there.spin_once(0.0)
    assert call.result().success
    assert len(received) > 100, "messages arrived without a pause"


def test_waiting_ends_with_a_message(graphs: tuple[ros.Graph, ros.Graph]) -> None:
    here, there = graphs
    received: list[int] = []
    here.subscribe(UInt64, "numbers", lambda message: received.append(message.data), ros.stream_qos())
    publisher = there.node.create_publisher(UInt64, "numbers", ros.stream_qos())
    assert there.spin_until(lambda: publisher.get_subscription_count() > 0, 60)
    thread = threading.Timer(0.2, publisher.publish, [UInt64(data=1)])
    thread.start()
    started = time.monotonic()
    while not received:
        here.spin_once(100.0)  # a wait that does not see the message lasts longer than the test may take
    assert time.monotonic() - started < 90
    thread.join()


def test_a_node_in_simulated_time_follows_the_clock(ros_domain: int) -> None:
    with ros.join_graph("here", simulated_time=True) as here, ros.join_graph("there") as there:
        publisher = there.node.create_publisher(Clock, "/clock", ros.stream_qos())
        assert there.spin_until(lambda: publisher.get_subscription_count() > 0, 60)
        publisher.publish(Clock(clock=ros.ns_to_stamp(7_000_000_001)))
        assert here.spin_until(lambda: here.node.get_clock().now().nanoseconds == 7_000_000_001, 60)


def test_an_exception_in_a_service_is_its_response(graphs: tuple[ros.Graph, ros.Graph]) -> None:
    here, there = graphs

    def respond(_request: Any, _response: Any) -> Any:
        raise KeyError("joint")

    here.serve(Trigger, "act", respond)
    future = there.node.create_client(Trigger, "act")
    assert there.spin_until(future.service_is_ready, 60)
    call = future.call_async(Trigger.Request())
    deadline = time.monotonic() + 60
    while not call.done() and time.monotonic() < deadline:
        here.spin_once(0.01)
        there.spin_once(0.01)
    assert (call.result().success, call.result().message) == (False, "KeyError: 'joint'")
    assert here.failures["act"] == 1


def test_every_callback_is_guarded() -> None:
    """Only `waldo.ros` creates subscriptions, services and timers."""
    found: list[str] = []
    for room in ("waldo", "robots", "datasets", "collect", "sim", "train", "fleet", "plugins"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and node.attr in CREATE:
                    found.append(str(path.relative_to(ROOT)))
    assert set(found) == {"waldo/ros/__init__.py"}


def test_a_caller_that_is_late_receives_all_that_is_waiting(
    graphs: tuple[ros.Graph, ros.Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control loop that is always late must not fall behind its messages."""
    from rclpy.duration import Duration
    from std_msgs.msg import UInt64

    here, there = graphs
    received: list[int] = []
    here.subscribe(UInt64, "topic", lambda message: received.append(message.data), ros.stream_qos(10))
    publisher = there.node.create_publisher(UInt64, "topic", ros.stream_qos(10))
    there.spin_until(lambda: publisher.get_subscription_count() == 1, 60)
    for value in range(5):
        publisher.publish(UInt64(data=value))
    assert publisher.wait_for_all_acked(Duration(seconds=60))
    monkeypatch.setattr(ros, "LATE_SPIN_S", 60.0)  # on a busy machine, too
    here.spin_for(-1.0)
    assert received == list(range(5))
