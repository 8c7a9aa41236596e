"""A device in the robot's process: its command is followed in the cycle in which it was read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from waldo import ros
from waldo.collect.devices.device import Observation, Session
from waldo.collect.notice import Notice
from waldo.collect.teleop.local import LocalTeleop
from waldo.errors import HardwareError
from waldo.robots.control.arbiter import Source
from waldo.robots.node import NodeConfig, RobotNode
from waldo.typing import Array

pytestmark = pytest.mark.usefixtures("ros_domain")


class Hand:
    """A device that returns what a test sets."""

    def __init__(self) -> None:
        self.target: Array | None = None
        self.error: HardwareError | None = None
        self.wait_s = 0.0
        self.finished = False
        self.opened = self.closed = 0
        self.requests: list[str] = []
        self.seen: list[Observation] = []

    def open(self) -> None:
        self.opened += 1

    def close(self) -> None:
        self.closed += 1

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        assert dt_s == pytest.approx(1 / 60)
        self.seen.append(observation)
        time.sleep(self.wait_s)
        while self.requests:
            session.request(self.requests.pop())
        if self.error is not None:
            raise self.error
        return None if self.target is None else self.target.copy()


@contextmanager
def running(driver: Any, hand: Hand) -> Iterator[tuple[RobotNode, list[Notice]]]:
    """Run a robot node with a device on a thread for as long as the block runs."""
    ended, ready = threading.Event(), threading.Event()
    nodes: list[RobotNode] = []
    notices: list[Notice] = []

    def work() -> None:
        with ros.join_graph("robot", "toy") as graph:
            teleop = LocalTeleop(graph, hand, driver.robot, period_s=1 / 60, notify=notices.append)
            with teleop:
                nodes.append(RobotNode(graph, driver, NodeConfig(), teleop))
                ready.set()
                nodes[0].run(lambda: ended.is_set() or teleop.finished)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield nodes[0], notices
    finally:
        ended.set()
        thread.join(120)
        assert not thread.is_alive()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_command_is_followed_published_and_let_go(make_toy_driver: Callable[[], Any]) -> None:
    from sensor_msgs.msg import JointState

    driver, hand = make_toy_driver(), Hand()
    driver.connect()
    with ros.join_graph("recorder", "toy") as graph:
        commands: list[Any] = []
        graph.subscribe(JointState, "joint_commands", lambda message, _: commands.append(message), ros.stream_qos())
        with running(driver, hand) as (node, _):
            assert graph.spin_until(lambda: graph.node.count_publishers("joint_commands") > 0, 60)
            start = driver.read().position.copy()
            hand.target = start + 0.1
            assert graph.spin_until(
                lambda: len(commands) > 3 and float(np.abs(driver.read().position - start - 0.1).max()) < 0.01, 60
            )
            assert commands[-1].name == list(driver.robot.joint_names)
            assert node.cycle.source is Source.PERSON
            hand.target = None
            assert graph.spin_until(lambda: bool(commands) and list(commands[-1].name) == [], 60)
            until(lambda: node.cycle.source is Source.HOLD)
    assert (hand.opened, hand.closed) == (1, 1)


def test_the_echo_of_a_command_is_not_a_second_one(make_toy_driver: Callable[[], Any]) -> None:
    driver, hand = make_toy_driver(), Hand()
    driver.connect()
    hand.target = driver.read().position.copy()
    with running(driver, hand) as (node, _):
        received: list[int] = []
        command = node.cycle.command
        node.cycle.command = lambda names, positions, now_ns, source_ns, frame_id="": (  # type: ignore[method-assign]
            received.append(source_ns or 0), command(names, positions, now_ns, source_ns, frame_id),
        )[1]  # fmt: skip
        until(lambda: len(received) > 50)
    assert len(set(received)) == len(received)


def test_a_command_reaches_the_robot_before_anything_is_published(
    make_toy_driver: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Publishing may take milliseconds, by which the follower would be late."""
    driver, hand, calls = make_toy_driver(), Hand(), list[str]()
    driver.connect()
    hand.target = driver.read().position.copy()

    def noting(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            calls.append(label)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    noting(hand, "step", "device")
    noting(driver, "write", "robot")
    noting(LocalTeleop, "_publish", "published")
    noting(RobotNode, "_publish_state", "published")
    noting(RobotNode, "_publish_acted", "published")
    with running(driver, hand):
        until(lambda: calls.count("device") > 20)
    text = " ".join(calls[calls.index("device") :])
    assert "device robot published published published device robot" in text
    assert "device published" not in text


def test_the_threads_that_send_do_not_preempt_the_control_loop() -> None:
    """Fast DDS names its threads; in asynchronous mode there is at least one that sends."""
    code = (
        "import os, sys, time\n"
        "from waldo import ros\n"
        "ros.publish_asynchronously()\n"
        "from std_msgs.msg import String\n"
        "with ros.join_graph('sender') as graph:\n"
        "    publisher = graph.node.create_publisher(String, 'text', 1)\n"
        "    def policies():\n"
        "        tasks = os.listdir('/proc/self/task')\n"
        "        names = {task: open(f'/proc/self/task/{task}/comm').read() for task in tasks}\n"
        "        return [os.sched_getscheduler(int(task)) for task in tasks if names[task].startswith(ros.SENDER)]\n"
        "    before = policies()\n"
        "    ros.keep_senders_from_preempting()\n"
        "    print(before, policies(), os.sched_getscheduler(0))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    before, after, own = re.findall(r"\[[\d, ]*\]|\d+", found.stdout)
    assert set(json.loads(before)) == {os.SCHED_OTHER}
    assert set(json.loads(after)) == {os.SCHED_BATCH}
    assert int(own) == os.SCHED_OTHER


def test_a_robot_node_keeps_its_senders_from_preempting(
    make_toy_driver: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, hand, calls = make_toy_driver(), Hand(), list[int]()
    driver.connect()
    monkeypatch.setattr(ros, "keep_senders_from_preempting", lambda: calls.append(len(hand.seen)))
    with running(driver, hand):
        until(lambda: len(hand.seen) > 3)
    assert calls == [0], "once, before the first cycle"


def test_a_device_that_blocks_lets_the_watchdog_hold_the_robot(make_toy_driver: Callable[[], Any]) -> None:
    driver, hand = make_toy_driver(), Hand()
    driver.connect()
    hand.target = driver.read().position.copy()
    with running(driver, hand) as (node, _):
        until(lambda: node.cycle.source is Source.PERSON)
        hand.wait_s = 2.0
        until(lambda: node.cycle.source is Source.HOLD)
        # The control cycle continues meanwhile.
        before = node.cycle._cycle
        until(lambda: node.cycle._cycle > before + 10)
        hand.wait_s = 0.0
        until(lambda: node.cycle.source is Source.PERSON)


def test_a_device_that_fails_lets_go_and_is_reported(make_toy_driver: Callable[[], Any]) -> None:
    driver, hand = make_toy_driver(), Hand()
    driver.connect()
    hand.target = driver.read().position.copy()
    with running(driver, hand) as (node, notices):
        until(lambda: node.cycle.source is Source.PERSON)
        hand.error = HardwareError("the plug was pulled")
        until(lambda: any("the plug was pulled" in notice.text for notice in notices))
        until(lambda: node.cycle.source is Source.HOLD)


def test_requests_reach_the_services_and_the_end_ends_the_node(make_toy_driver: Callable[[], Any]) -> None:
    driver, hand = make_toy_driver(), Hand()
    driver.connect()
    with running(driver, hand) as (node, notices):
        until(lambda: bool(hand.seen))
        hand.requests.append("stop_motion")
        until(lambda: any("stop_motion: ok" in notice.text for notice in notices))
        assert "stopped by the operator" in node.safety.status.reason
        hand.finished = True
