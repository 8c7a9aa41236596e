"""The robot node over DDS: topics, services, log, lockstep, and a reader of another vendor."""

from __future__ import annotations

import os
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
from waldo.errors import ConfigError
from waldo.robots.cameras.image_worker import encode_jpeg
from waldo.robots.control.safety import Mode
from waldo.robots.description import Robot
from waldo.robots.diagnostics import ERROR, ComponentStatus, components_from_message, from_message
from waldo.robots.driver import Frame
from waldo.robots.drivers.topics.driver import TopicMapDriver
from waldo.robots.node import NodeConfig, RobotNode

pytestmark = pytest.mark.usefixtures("ros_domain")


@contextmanager
def running(driver: Any, config: NodeConfig) -> Iterator[RobotNode]:
    """Run a robot node on a thread for as long as the block runs."""
    ended = threading.Event()
    ready = threading.Event()
    nodes: list[RobotNode] = []

    def work() -> None:
        with ros.join_graph("robot", "toy") as graph:
            nodes.append(RobotNode(graph, driver, config))
            ready.set()
            nodes[0].run(ended.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(120)
        yield nodes[0]
    finally:
        ended.set()
        thread.join(120)
        assert not thread.is_alive()


def listen(graph: ros.Graph, kind: type, topic: str) -> list[Any]:
    """Return a list to which a topic's messages are appended."""
    received: list[Any] = []

    def on_message(message: Any) -> None:
        received.append(message)

    graph.node.create_subscription(kind, topic, on_message, ros.stream_qos())
    return received


def test_a_robot_publishes_its_state_heat_and_images(make_toy_driver: Callable[[], Any]) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import CompressedImage, JointState

    driver = make_toy_driver()
    driver.winding[1] = 60.0
    with running(driver, NodeConfig()), ros.join_graph("reader", "toy") as graph:
        states = listen(graph, JointState, "joint_states")
        motors = listen(graph, DiagnosticArray, "motors")
        images = listen(graph, CompressedImage, "cameras/front/image_raw/compressed")
        truths = listen(graph, JointState, "environment_state")
        assert graph.spin_until(lambda: bool(states and motors and images and truths), 120)
    assert list(states[0].name) == ["a", "b"]
    assert dict(zip(truths[0].name, truths[0].position, strict=True)) == {"cube.x": 0.0, "cube.y": 0.25}
    assert images[0].format == "jpeg"
    assert bytes(images[0].data[:2]) == b"\xff\xd8"
    assert from_message(motors[0])["b"].values["winding_celsius"] == 60.0
    assert [status.level for status in motors[0].status] == [b"\x00", b"\x01"]
    assert motors[0].status[1].name == "toy: b"
    assert motors[0].status[1].message == "winding at 60.0 °C, 10.0 K below the limit"


def test_commands_stops_and_faults_reach_the_status_topic(make_toy_driver: Callable[[], Any]) -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState
    from std_srvs.srv import SetBool, Trigger

    driver = make_toy_driver()
    with running(driver, NodeConfig()) as robot, ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        applied = listen(graph, JointState, "joint_commands_sent")
        status = listen(graph, DiagnosticArray, "status")
        diagnostics = listen(graph, DiagnosticArray, "/diagnostics")
        assert graph.spin_until(lambda: commands.get_subscription_count() > 0, 120)

        def push(position: float) -> None:
            commands.publish(JointState(name=["a"], position=[position]))
            graph.spin_for(0.01)

        def following_to(position: float) -> bool:
            push(position)
            return abs(driver.position[0] - position) < 1e-3

        def control() -> ComponentStatus | None:
            return components_from_message(status[-1]).get("control") if status else None

        def is_control(message: str) -> bool:
            found = control()
            return found is not None and found.message == message

        assert graph.spin_until(lambda: following_to(0.3), 120)
        # The message of the last cycle may arrive after the robot has moved.
        assert graph.spin_until(lambda: abs(applied[-1].position[0] - 0.3) < 1e-2, 120)
        # Without further commands the robot holds.
        assert graph.spin_until(lambda: is_control("holding: no command for 0.2 s"), 120)
        stop = graph.node.create_client(Trigger, "robot/stop_motion")
        assert graph.call(stop, Trigger.Request()).message == "stopped; press v to continue"
        assert graph.spin_until(lambda: (push(0.5), is_control("stopped: stopped by the operator"))[1], 120)
        found = control()
        assert found is not None
        assert (found.level, found.values["mode"]) == (ERROR, "stopped")
        assert driver.position[0] == pytest.approx(0.3, abs=1e-2)

        def reported() -> set[str]:
            return {one.name for message in diagnostics for one in message.status}

        expected = {"toy: control", "toy: governor", "toy: camera front", "toy: a"}
        assert graph.spin_until(lambda: expected <= reported(), 120), reported()
        enable = graph.node.create_client(SetBool, "robot/enable")
        assert graph.call(enable, SetBool.Request(data=True)).success
        assert graph.spin_until(lambda: following_to(0.5), 120)
        assert robot.safety.status.mode is Mode.FOLLOWING


def test_events_reach_the_log(make_toy_driver: Callable[[], Any]) -> None:
    from rcl_interfaces.msg import Log

    driver = make_toy_driver()
    driver.winding[1] = 60.0
    with running(driver, NodeConfig()) as robot, ros.join_graph("reader", "toy") as graph:
        logs = listen(graph, Log, "/rosout")
        assert graph.spin_until(lambda: graph.node.count_publishers("/rosout") >= 2, 120)

        def logged(level: int, text: str) -> bool:
            return any(one.level == level and one.msg == text for one in logs)

        graph.spin_for(0.5)
        robot.safety.stop("test of the log")
        assert graph.spin_until(lambda: logged(Log.ERROR, "stopped: test of the log"), 120)
        driver.winding[1] = 30.0
        assert graph.spin_until(lambda: logged(Log.INFO, "motor b: winding at 30.0 °C"), 120)
        driver.winding[1] = 62.0
        assert graph.spin_until(lambda: logged(Log.WARN, "motor b: winding at 62.0 °C, 8.0 K below the limit"), 120)


def test_the_jpeg_of_a_camera_topic_is_published_byte_for_byte(toy_robot: Robot) -> None:
    import cv2
    from sensor_msgs.msg import CompressedImage, JointState

    driver = TopicMapDriver(
        toy_robot,
        joint_states="/arm/joint_states",
        command="/arm/joint_command",
        command_type="joint_state",
        max_staleness_s=60.0,
        connect_timeout_s=120.0,
        cameras={"front": "/cam/compressed"},
    )
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    jpegs = [cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, q])[1].tobytes() for q in (40, 60, 80)]
    ended, ready = threading.Event(), threading.Event()

    def publish() -> None:
        with ros.join_graph("arm_driver") as graph:
            states = graph.node.create_publisher(JointState, "/arm/joint_states", ros.stream_qos())
            images = graph.node.create_publisher(CompressedImage, "/cam/compressed", ros.stream_qos())
            listen(graph, JointState, "/arm/joint_command")
            ready.set()
            number = 0
            while not ended.is_set():
                states.publish(JointState(name=["a", "b"], position=[0.1, 0.2]))
                images.publish(CompressedImage(format="jpeg", data=jpegs[number % 3]))
                number += 1
                graph.spin_for(0.02)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        assert ready.wait(120)
        driver.connect()
        with running(driver, NodeConfig(jpeg_quality=5)), ros.join_graph("reader", "toy") as graph:
            images = listen(graph, CompressedImage, "cameras/front/image_raw/compressed")
            assert graph.spin_until(lambda: len(images) >= 5, 120)
        assert {bytes(image.data) for image in images} <= set(jpegs)
    finally:
        ended.set()
        thread.join(60)
        driver.disconnect()


def test_simulated_time_waits_for_the_operators_answer(make_toy_driver: Callable[[], Any]) -> None:
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState

    driver = make_toy_driver()
    with running(driver, NodeConfig(lockstep=("operator",))), ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        states = listen(graph, JointState, "joint_states")
        clocks = listen(graph, Clock, "/clock")
        truths = listen(graph, JointState, "environment_state")
        assert graph.spin_until(lambda: bool(states), 120)
        graph.spin_for(0.3)
        assert len(states) == 1
        for tick in range(5):
            assert graph.spin_until(lambda tick=tick: len(states) > tick, 120)
            message = JointState(name=["a"], position=[0.1])
            message.header.stamp = states[tick].header.stamp
            commands.publish(message)
        assert graph.spin_until(lambda: len(states) == 6 and len(clocks) >= 5, 120)
    assert truths
    stamps = [ros.stamp_to_ns(state.header.stamp) for state in states[:6]]
    assert stamps == [round(k * 1e9 / 60) for k in range(6)]


def test_simulated_time_waits_for_the_images_of_the_cycle(
    make_toy_driver: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a recorder would receive an image in one cycle or in the next."""
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState

    encoding: list[int] = []
    at_advance: list[int] = []

    def encode_slowly(frame: Frame, quality: int) -> bytes:
        encoding.append(frame.stamp_ns)
        time.sleep(0.1)
        encoding.pop()
        return encode_jpeg(frame, quality)

    monkeypatch.setattr("waldo.robots.node.encode_jpeg", encode_slowly)
    driver = make_toy_driver()
    advance = driver.advance

    def advance_and_look() -> None:
        at_advance.append(len(encoding))
        advance()

    driver.advance = advance_and_look
    with running(driver, NodeConfig(lockstep=("operator",))), ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        states = listen(graph, JointState, "joint_states")
        # The node waits for these subscriptions of an operator.
        listen(graph, Clock, "/clock"), listen(graph, JointState, "environment_state")
        for tick in range(6):
            assert graph.spin_until(lambda tick=tick: len(states) > tick, 120)
            message = JointState(name=["a"], position=[0.1])
            message.header.stamp = states[tick].header.stamp
            commands.publish(message)
        assert graph.spin_until(lambda: len(states) > 6, 120)
    assert at_advance[:6] == [0] * 6


def test_lockstep_is_for_simulations_only(make_toy_driver: Callable[[], Any]) -> None:
    class RealDriver:
        """A driver that cannot be advanced."""

        def __init__(self, inner: Any) -> None:
            self.robot, self.read, self.motors = inner.robot, inner.read, inner.motors
            self.write, self.frames = inner.write, inner.frames
            self.connect, self.disconnect = inner.connect, inner.disconnect

    with (
        ros.join_graph("robot", "toy") as graph,
        pytest.raises(ConfigError, match=r"^--lockstep is not supported with a real robot; leave it out$"),
    ):
        RobotNode(graph, RealDriver(make_toy_driver()), NodeConfig(lockstep=("operator",)))


READER = """
import sys, time
from dataclasses import dataclass
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import float64, int32, sequence, uint32, uint8
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

@dataclass
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32

@dataclass
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str

@dataclass
class JointState(IdlStruct, typename="sensor_msgs::msg::dds_::JointState_"):
    header: Header
    name: sequence[str]
    position: sequence[float64]
    velocity: sequence[float64]
    effort: sequence[float64]

@dataclass
class KeyValue(IdlStruct, typename="diagnostic_msgs::msg::dds_::KeyValue_"):
    key: str
    value: str

@dataclass
class Status(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticStatus_"):
    level: uint8
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]

@dataclass
class Diagnostics(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticArray_"):
    header: Header
    status: sequence[Status]

participant = DomainParticipant(int(sys.argv[1]))
states = DataReader(participant, Topic(participant, "rt/toy/joint_states", JointState))
motors = DataReader(participant, Topic(participant, "rt/toy/motors", Diagnostics))
state = motor = None
deadline = time.monotonic() + 120
while (state is None or motor is None) and time.monotonic() < deadline:
    state = next(iter(states.take()), state)
    motor = next(iter(motors.take()), motor)
    time.sleep(0.02)
print(state.name, state.position)
print(motor.status[0].name, {pair.key: pair.value for pair in motor.status[0].values}["winding_celsius"])
"""
"""A program without ROS: CycloneDDS with its own definitions of the message types."""


def test_a_cyclonedds_program_reads_states_and_motors(make_toy_driver: Callable[[], Any], ros_domain: int) -> None:
    interface = "<Interfaces><NetworkInterface name='lo'/></Interfaces>"
    loopback = f"<General>{interface}<AllowMulticast>false</AllowMulticast></General>"
    peers = "<ParticipantIndex>auto</ParticipantIndex><Peers><Peer Address='127.0.0.1'/></Peers>"
    uri = f"<CycloneDDS><Domain>{loopback}<Discovery>{peers}</Discovery></Domain></CycloneDDS>"
    with running(make_toy_driver(), NodeConfig()):
        done = subprocess.run(
            [sys.executable, "-c", READER, str(ros_domain)],
            env={**os.environ, "CYCLONEDDS_URI": uri},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['a', 'b'] [0.0, 0.0]", "toy: a 30"]


def test_image_quality_and_peers_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"^jpeg_quality is 0, expected 1 to 100$"):
        NodeConfig(jpeg_quality=0)
    with pytest.raises(ConfigError, match=r"^lockstep is 'camera', expected any of operator, recorder$"):
        NodeConfig(lockstep=("camera",))
    assert np.isfinite(NodeConfig().safety.timeout_s)


def test_commands_that_waited_while_the_node_was_stalled_do_not_move_the_robot(
    make_toy_driver: Callable[[], Any],
) -> None:
    """The operator moves on for a while and dies; the node is stalled meanwhile and then finds the old commands."""
    from sensor_msgs.msg import JointState

    driver = make_toy_driver()
    stall, stalled, resume = threading.Event(), threading.Event(), threading.Event()
    read = driver.read

    def read_or_stall() -> Any:
        if stall.is_set() and not resume.is_set():
            stalled.set()
            resume.wait(120)
        return read()

    driver.read = read_or_stall
    with running(driver, NodeConfig()) as robot, ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        applied = listen(graph, JointState, "joint_commands_sent")
        assert graph.spin_until(lambda: commands.get_subscription_count() > 0, 120)

        def push(position: float) -> None:
            commands.publish(JointState(name=["a"], position=[position]))
            graph.spin_for(0.01)

        def following() -> bool:
            push(0.0)
            return robot.cycle.safety.status.mode is Mode.FOLLOWING

        assert graph.spin_until(following, 120)
        for _ in range(50):
            push(0.0)
        stall.set()
        while not stalled.is_set():
            push(0.0)
        for k in range(30):
            push(0.01 * k)
        graph.spin_for(1.0)  # longer than the timeout of a command
        received = len(applied)
        resume.set()
        assert graph.spin_until(lambda: len(applied) > received + 60, 120)
        assert max(abs(message.position[0]) for message in applied[received:]) < 1e-3
        assert robot.cycle.safety.status.mode is Mode.HOLDING
