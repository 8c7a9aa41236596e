"""The teleoperation node over real DDS."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from waldo import ros
from waldo.collect.devices.device import Observation, Session
from waldo.collect.notice import Notice
from waldo.collect.robot_condition import RobotCondition
from waldo.collect.teleop.node import TeleopNode
from waldo.robots.diagnostics import OK, WARN, ComponentStatus, component_message

pytestmark = pytest.mark.usefixtures("ros_domain")


class Steady:
    """A device that commands the same targets until the test ends it, and requests one service."""

    def __init__(self) -> None:
        self.finished = False
        self.positions: list[np.ndarray] = []

    def open(self) -> None: ...

    def step(self, observation: Observation, session: Session, dt_s: float) -> np.ndarray:
        if not self.positions:
            session.request("save")
        self.positions.append(observation.position)
        return np.array([0.25, -0.5])

    def close(self) -> None: ...


def spin_until(graph: ros.Graph, condition: Callable[[], bool], act: Callable[[], None]) -> None:
    for _ in range(4000):
        if condition():
            return
        act()
        graph.spin_for(0.03)
    raise AssertionError("the condition does not hold")


def test_commands_services_status_and_letting_go_over_dds() -> None:
    from diagnostic_msgs.msg import DiagnosticArray
    from sensor_msgs.msg import JointState
    from std_srvs.srv import Trigger

    device, notices, commands = Steady(), list[Notice](), list[Any]()
    ready, calls = threading.Event(), list[str]()

    def operate() -> None:
        with ros.join_graph("teleop", "toy") as graph:
            node = TeleopNode(graph, device, ["a", "b"], rate_hz=100, notify=notices.append)
            # A request made before discovery would be refused: the test's service must be visible first.
            client = graph.node.create_client(Trigger, "recorder/save")
            assert graph.spin_until(client.service_is_ready, 120)
            ready.set()
            node.run(lambda: False)

    def save(_request: Any, response: Any) -> Any:
        calls.append("save")
        response.success, response.message = True, "episode_000000 saved"
        return response

    thread = threading.Thread(target=operate)
    with ros.join_graph("robot", "toy") as graph:
        graph.node.create_subscription(JointState, "joint_commands", commands.append, ros.stream_qos())
        graph.node.create_service(Trigger, "recorder/save", save)
        states = graph.node.create_publisher(JointState, "joint_states", ros.stream_qos())
        statuses = graph.node.create_publisher(DiagnosticArray, "status", ros.stream_qos())
        thread.start()
        held = ComponentStatus(component="control", level=WARN, message="holding: no command for 0.2 s")
        following = ComponentStatus(component="control", level=OK, message="following")

        stamps = itertools.count(0, 300_000_000)

        def publish() -> None:
            state = JointState(name=["b", "a"], position=[2.0, 1.0])
            states.publish(state)
            shown = [notice.text for notice in notices]
            control = following if "robot: holding: no command for 0.2 s" in shown else held
            statuses.publish(component_message("toy", [control], next(stamps)))

        def complete() -> bool:
            texts = {notice.text for notice in notices}
            expected = {"robot: holding: no command for 0.2 s", "robot: following", "save: ok episode_000000 saved"}
            return len(commands) > 5 and texts >= expected

        try:
            spin_until(graph, lambda: ready.is_set(), publish)
            spin_until(graph, complete, publish)
            device.finished = True
            spin_until(graph, lambda: bool(commands) and not commands[-1].name, lambda: None)
        finally:
            device.finished = True
            thread.join(120)
    assert not thread.is_alive()
    assert [list(message.name) for message in commands[:-1]] == [["a", "b"]] * (len(commands) - 1)
    assert list(commands[0].position) == [0.25, -0.5]
    assert (list(commands[-1].name), list(commands[-1].position)) == ([], [])
    np.testing.assert_array_equal(device.positions[0], [1.0, 2.0])
    assert calls == ["save"]


class Attentive(Steady):
    """A device that uses applied commands and heat margins."""

    uses_feedback = True

    def __init__(self) -> None:
        super().__init__()
        self.observations: list[Observation] = []

    def step(self, observation: Observation, session: Session, dt_s: float) -> np.ndarray:
        self.observations.append(observation)
        return super().step(observation, session, dt_s)


def test_a_device_that_uses_feedback_observes_applied_commands_and_heat_over_dds() -> None:
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    from sensor_msgs.msg import JointState

    device = Attentive()

    def operate() -> None:
        with ros.join_graph("teleop", "toy") as graph:
            TeleopNode(graph, device, ["a", "b"], rate_hz=100).run(lambda: False)

    values = [KeyValue(key="winding_celsius", value="75"), KeyValue(key="limit_celsius", value="90")]
    motors = DiagnosticArray(status=[DiagnosticStatus(level=b"\x00", name="toy: a", values=values)])
    thread = threading.Thread(target=operate)
    with ros.join_graph("robot", "toy") as graph:
        topics = {"joint_states": JointState, "joint_commands_sent": JointState, "motors": DiagnosticArray}
        send = {name: graph.node.create_publisher(kind, name, ros.stream_qos()) for name, kind in topics.items()}
        stamps = itertools.count(1)
        thread.start()

        def publish() -> None:
            state = JointState(name=["b", "a"], position=[2.0, 1.0])
            state.header.stamp = ros.ns_to_stamp(next(stamps) * 10_000_000)
            send["joint_states"].publish(state)
            send["joint_commands_sent"].publish(JointState(name=["b", "a"], position=[2.5, 1.5]))
            send["motors"].publish(motors)

        def complete() -> bool:
            return any(one.applied is not None and one.heat_margins for one in device.observations)

        try:
            spin_until(graph, complete, publish)
        finally:
            device.finished = True
            thread.join(120)
    last = device.observations[-1]
    np.testing.assert_array_equal(last.applied, [1.5, 2.5])
    assert dict(last.heat_margins) == {"a": 0.5}


class Viewer(Steady):
    """A device that shows its operator the cameras and the robot's condition."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, object, int]] = []
        self.words: list[str] = []

    def image(self, stream: str, image: object, stamp_ns: int) -> None:
        self.images.append((stream, image, stamp_ns))

    def condition(self, condition: RobotCondition) -> None:
        self.words.append(condition.word)


def test_a_device_that_shows_images_receives_those_of_the_color_cameras() -> None:
    from sensor_msgs.msg import CompressedImage, Image, JointState

    device = Viewer()

    def operate() -> None:
        with ros.join_graph("teleop", "toy") as graph:
            TeleopNode(graph, device, ["a", "b"], rate_hz=100).run(lambda: False)

    jpeg = b"\xff\xd8\xff\xe0 and the rest"
    with ros.join_graph("robot", "toy") as graph:
        states = graph.node.create_publisher(JointState, "joint_states", ros.stream_qos())
        front = graph.node.create_publisher(CompressedImage, "cameras/front/image_raw/compressed", ros.stream_qos())
        wrist = graph.node.create_publisher(Image, "cameras/wrist/image_raw", ros.stream_qos())
        depth = graph.node.create_publisher(Image, "cameras/front/depth/image_raw", ros.stream_qos())

        def publish() -> None:
            states.publish(JointState(name=["a", "b"], position=[1.0, 2.0]))
            compressed = CompressedImage(format="jpeg", data=jpeg)
            compressed.header.stamp = ros.ns_to_stamp(5_000_000_007)
            front.publish(compressed)
            for publisher, encoding, size in ((wrist, "rgb8", 3), (depth, "16UC1", 2)):
                publisher.publish(Image(height=1, width=2, encoding=encoding, step=2 * size, data=bytes(2 * size)))

        thread = threading.Thread(target=operate)
        thread.start()
        try:
            spin_until(graph, lambda: len({stream for stream, _, _ in device.images}) == 2, publish)
        finally:
            device.finished = True
            thread.join(120)
    assert {stream for stream, _, _ in device.images} == {"cameras/front", "cameras/wrist"}
    newest = {stream: (image, stamp) for stream, image, stamp in device.images}
    assert newest["cameras/front"] == (jpeg, 5_000_000_007)
    assert np.shape(newest["cameras/wrist"][0]) == (1, 2, 3)
    assert device.words
