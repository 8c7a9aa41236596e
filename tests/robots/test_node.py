"""The robot node over real DDS: commands in, states, heat and images out; holds and stops; other vendors' readers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from waldo import ros
from waldo.errors import ConfigError, HardwareError
from waldo.robots.control.safety import Mode
from waldo.robots.diagnostics import from_message
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
    """Return a list that fills with a topic's messages."""
    heard: list[Any] = []

    def on_message(message: Any) -> None:
        heard.append(message)

    graph.node.create_subscription(kind, topic, on_message, ros.stream_qos())
    return heard


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


def test_a_robot_follows_holds_and_stops(make_toy_driver: Callable[[], Any]) -> None:
    from sensor_msgs.msg import JointState
    from std_srvs.srv import SetBool, Trigger

    driver = make_toy_driver()
    with running(driver, NodeConfig()) as robot, ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        sent = listen(graph, JointState, "joint_commands_sent")
        assert graph.spin_until(lambda: commands.get_subscription_count() > 0, 120)

        def push(position: float) -> None:
            commands.publish(JointState(name=["a"], position=[position]))
            graph.spin_for(0.01)

        def following_to(position: float) -> bool:
            push(position)
            return abs(driver.position[0] - position) < 1e-3

        assert graph.spin_until(lambda: following_to(0.3), 120)
        assert sent[-1].position[0] == pytest.approx(0.3, abs=1e-2)
        # Silence is lost input: the robot holds by itself.
        assert graph.spin_until(lambda: robot.safety.status.reason == "no command for 0.2 s", 120)
        stop = graph.node.create_client(Trigger, "robot/stop_motion")
        assert graph.call(stop, Trigger.Request()).success
        assert graph.spin_until(lambda: (push(0.5), robot.safety.status.mode is Mode.STOPPED)[1], 120)
        assert driver.position[0] == pytest.approx(0.3, abs=1e-2)
        enable = graph.node.create_client(SetBool, "robot/enable")
        assert graph.call(enable, SetBool.Request(data=True)).success
        assert graph.spin_until(lambda: following_to(0.5), 120)


def test_a_robot_that_is_lost_stops_and_is_reached_again(make_toy_driver: Callable[[], Any]) -> None:
    from sensor_msgs.msg import JointState
    from std_srvs.srv import SetBool

    driver = make_toy_driver()
    connected: list[str] = []
    unplugged = threading.Event()
    read = driver.read

    def read_or_fail() -> Any:
        if unplugged.is_set():
            raise HardwareError("no servo answers")
        return read()

    def connect() -> None:
        connected.append("connect")
        if unplugged.is_set():
            raise HardwareError("no servo answers")

    driver.read, driver.connect = read_or_fail, connect
    driver.disconnect = lambda: connected.append("disconnect")
    with running(driver, NodeConfig()) as robot, ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        assert graph.spin_until(lambda: commands.get_subscription_count() > 0, 120)

        def follows() -> bool:
            commands.publish(JointState(name=["a"], position=[0.3]))
            graph.spin_for(0.01)
            return robot.safety.status.mode is Mode.FOLLOWING

        assert graph.spin_until(follows, 120)
        unplugged.set()
        assert graph.spin_until(lambda: robot.safety.status.mode is Mode.STOPPED, 120)
        assert robot.safety.status.reason == "the robot is lost: no servo answers"
        assert graph.spin_until(lambda: "connect" in connected, 120)
        # What is left of the old connection ends before a new one is tried.
        assert connected[:2] == ["disconnect", "connect"]
        unplugged.clear()
        tried = len(connected)
        assert graph.spin_until(lambda: len(connected) > tried, 120)
        assert robot.safety.status.mode is Mode.STOPPED
        enable = graph.node.create_client(SetBool, "robot/enable")
        assert graph.call(enable, SetBool.Request(data=True)).success
        assert graph.spin_until(follows, 120)


def test_simulated_time_stands_still_until_the_operator_has_answered(make_toy_driver: Callable[[], Any]) -> None:
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import JointState

    driver = make_toy_driver()
    with running(driver, NodeConfig(lockstep=("operator",))), ros.join_graph("operator", "toy") as graph:
        commands = graph.node.create_publisher(JointState, "joint_commands", ros.stream_qos())
        states = listen(graph, JointState, "joint_states")
        clocks = listen(graph, Clock, "/clock")
        listen(graph, JointState, "environment_state")
        assert graph.spin_until(lambda: bool(states), 120)
        graph.spin_for(0.3)
        assert len(states) == 1
        for tick in range(5):
            assert graph.spin_until(lambda tick=tick: len(states) > tick, 120)
            message = JointState(name=["a"], position=[0.1])
            message.header.stamp = states[tick].header.stamp
            commands.publish(message)
        assert graph.spin_until(lambda: len(states) == 6 and len(clocks) >= 5, 120)
    stamps = [ros.stamp_to_ns(state.header.stamp) for state in states[:6]]
    assert stamps == [round(k * 1e9 / 60) for k in range(6)]


def test_lockstep_is_for_simulations_only(make_toy_driver: Callable[[], Any]) -> None:
    class RealDriver:
        """A driver without a world to advance."""

        def __init__(self, inner: Any) -> None:
            self.robot, self.read, self.motors = inner.robot, inner.read, inner.motors
            self.write, self.frames = inner.write, inner.frames
            self.connect, self.disconnect = inner.connect, inner.disconnect

    with (
        ros.join_graph("robot", "toy") as graph,
        pytest.raises(ConfigError, match=r"expected nothing for a real robot"),
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
"""A program that is not ours and knows nothing of ROS: CycloneDDS with the message types written out."""


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
    with pytest.raises(ConfigError, match=r"^jpeg_quality is 0, expected 1..100$"):
        NodeConfig(jpeg_quality=0)
    with pytest.raises(ConfigError, match=r"^lockstep is 'camera', expected any of operator, recorder$"):
        NodeConfig(lockstep=("camera",))
    assert np.isfinite(NodeConfig().safety.timeout_s)
