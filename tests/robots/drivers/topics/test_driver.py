"""The `topics` driver with a ROS node that emulates a ros2_control robot, in its own ROS domain."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from rclpy.task import Future

from waldo import ros
from waldo.errors import HardwareError, InvalidValueError, UnknownNameError
from waldo.robots.description import Robot
from waldo.robots.drivers.topics.driver import TopicMapDriver

pytestmark = pytest.mark.usefixtures("ros_domain")


class Controlled:
    """A robot under ros2_control with one more joint, another joint order and two controllers."""

    def __init__(self) -> None:
        self.position = {"wheel": 0.0, "B": 0.2, "A": -0.1}
        self.received: list[Any] = []
        self.mute = False
        self.with_effort = True
        self.split = False
        self.forwarded = ("A", "B")
        self.images = [{"step": 8, "encoding": "bgr8", "data": bytes([1, 2, 3, 4, 5, 6, 0, 0] * 2)}]
        self._stop, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Controlled:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _trajectory(self, message: Any) -> None:
        self.received.append(message)
        self.position |= dict(zip(message.joint_names, message.points[-1].positions, strict=True))

    def _forward(self, message: Any) -> None:
        self.received.append(message)
        self.position |= dict(zip(self.forwarded, message.data, strict=True))

    def _work(self) -> None:
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
        from sensor_msgs.msg import Image, JointState, Temperature
        from std_msgs.msg import Float64MultiArray
        from trajectory_msgs.msg import JointTrajectory

        def status(name: str, message: str = "", level: int = 0, **values: str) -> Any:
            pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
            return DiagnosticStatus(level=bytes([level]), name=name, message=message, values=pairs)

        with ros.join_graph("controller_manager") as graph:
            node, qos = graph.node, ros.stream_qos()
            node.create_subscription(JointTrajectory, "/jtc/joint_trajectory", self._trajectory, qos)
            node.create_subscription(Float64MultiArray, "/fpc/commands", self._forward, qos)
            states = node.create_publisher(JointState, "/joint_states", qos)
            diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos)
            temperature = node.create_publisher(Temperature, "/B/temperature", qos)
            image = node.create_publisher(Image, "/cam/image_raw", qos)
            report = DiagnosticArray(
                status=[
                    status("arm: A", "hot", 1, **{"Motor Temperature [C]": "61.5 C"}),
                    status("waldo: B", winding_std_kelvin="1", winding_celsius="99", temperature="99"),
                    status("/arm/B", level=2, temperature="41"),
                ]
            )
            self._ready.set()
            while not self._stop.is_set():
                if not self.mute:
                    message = JointState(name=list(self.position), position=list(self.position.values()))
                    message.effort = [0.0, 2.0, 1.0] if self.with_effort else []
                    message.header.stamp = ros.ns_to_stamp(time.time_ns())
                    if self.split:
                        for name, position in self.position.items():
                            part = JointState(name=[name], position=[position], velocity=[position * 10])
                            part.header.stamp = message.header.stamp
                            states.publish(part)
                    else:
                        states.publish(message)
                    states.publish(JointState(name=["gripper"], position=[1.0]))
                    diagnostics.publish(report)
                    temperature.publish(Temperature(temperature=44.0))
                    for fields in self.images:
                        image.publish(Image(height=2, width=2, **fields))
                graph.spin_for(0.01)


@pytest.fixture
def robot(toy_robot: Robot) -> Robot:
    return toy_robot


@pytest.fixture
def controlled() -> Iterator[Controlled]:
    with Controlled() as robot:
        yield robot


def driver(robot: Robot, **options: object) -> TopicMapDriver:
    defaults = {
        "joint_names": ("A", "B"),
        "command": "/jtc/joint_trajectory",
        "connect_timeout_s": 60.0,
        "max_staleness_s": 30.0,
    }
    return TopicMapDriver(robot, **{**defaults, **options})


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_state_in_several_messages_is_read_as_one(robot: Robot, controlled: Controlled) -> None:
    controlled.split = True
    made = driver(robot)
    made.connect()
    until(lambda: not np.isnan(made.read().velocity).any())  # a whole state may have been under way
    state = made.read()
    np.testing.assert_allclose(state.position, [-0.1, 0.2])
    np.testing.assert_allclose(state.velocity, [-1.0, 2.0])
    made.disconnect()


def test_states_are_matched_by_name_and_commands_are_trajectories(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, time_from_start_s=1.25)
    made.connect()
    state = made.read()
    np.testing.assert_allclose(state.position, [-0.1, 0.2])
    np.testing.assert_allclose(state.effort, [1.0, 2.0])
    assert np.isnan(state.velocity).all()
    assert made.write(np.array([0.5, 9.0])).tolist() == [0.5, 2.0]
    until(lambda: np.allclose(made.read().position, [0.5, 2.0]))
    message = controlled.received[-1]
    assert list(message.joint_names) == ["A", "B"]
    duration = message.points[0].time_from_start
    assert (duration.sec, duration.nanosec) == (1, 250_000_000)
    # Connecting commands the present position.
    np.testing.assert_allclose(controlled.received[0].points[0].positions, [-0.1, 0.2])
    with pytest.raises(InvalidValueError, match="expected finite numbers"):
        made.write(np.array([np.inf, np.nan]))
    made.disconnect()


def test_forward_commands_have_the_order_of_joint_names(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, command="/fpc/commands", command_type="forward")
    made.connect()
    made.write(np.array([0.3, -0.4]))
    until(lambda: np.allclose(made.read().position, [0.3, -0.4]))
    made.disconnect()


def test_each_controller_receives_its_joints(robot: Robot, controlled: Controlled) -> None:
    controlled.forwarded = ("B",)
    made = driver(robot, commands={"/jtc/joint_trajectory": "A", "/fpc/commands": "B"})
    made.connect()
    made.write(np.array([0.4, 0.7]))
    until(lambda: np.allclose(made.read().position, [0.4, 0.7]))
    trajectory = next(message for message in controlled.received if hasattr(message, "points"))
    assert list(trajectory.joint_names) == ["A"]
    made.disconnect()


@pytest.mark.parametrize(
    ("commands", "error", "message"),
    [
        ({"/jtc/joint_trajectory": "A"}, InvalidValueError, "one controller for each joint, also for B"),
        ({"/a/commands": "A+B", "/b/commands": "B"}, InvalidValueError, "also for B"),
        ({"/a/commands": "A+C"}, UnknownNameError, "unknown joint 'C'"),
    ],
)
def test_every_joint_has_one_controller(
    robot: Robot, commands: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        driver(robot, commands=commands)


class Goal:
    """A goal of either action, with the fields that are set."""

    def __init__(self) -> None:
        self.trajectory = SimpleNamespace(joint_names=[], points=[])
        self.command = SimpleNamespace(position=0.0, max_effort=0.0)


class ActionClient:
    """rclpy's action client, without the types of control_msgs, which no package index has."""

    goals: ClassVar[list[tuple[str, Any]]] = []
    accepts: ClassVar[bool] = True

    def __init__(self, node: Any, kind: Any, name: str) -> None:
        self.name = name

    def server_is_ready(self) -> bool:
        return True

    def send_goal_async(self, goal: Any) -> Future[Any]:
        self.goals.append((self.name, goal))
        future: Future[Any] = Future()
        future.set_result(SimpleNamespace(accepted=self.accepts))
        return future


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = SimpleNamespace(FollowJointTrajectory=SimpleNamespace(Goal=Goal), GripperCommand=SimpleNamespace(Goal=Goal))
    monkeypatch.setitem(sys.modules, "control_msgs.action", kinds)
    monkeypatch.setattr("rclpy.action.ActionClient", ActionClient)
    monkeypatch.setattr(ActionClient, "accepts", True)
    ActionClient.goals.clear()


ACTIONS = {"/arm/follow_joint_trajectory": "A", "/gripper/gripper_cmd": "B"}


def test_actions_need_control_msgs(robot: Robot, controlled: Controlled) -> None:
    with pytest.raises(HardwareError, match=r"/arm/follow_joint_trajectory needs the package control_msgs"):
        driver(robot, commands=ACTIONS).connect()


@pytest.mark.usefixtures("actions")
def test_controllers_may_be_action_servers(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, commands=ACTIONS)
    made.connect()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        made.write(np.array([0.4, 0.7]))
        time.sleep(0.01)
    grips = [goal.command.position for name, goal in ActionClient.goals if name == "/gripper/gripper_cmd"]
    assert grips == pytest.approx([0.2, 0.7])  # the position when connecting, then one goal for the new target
    trajectories = [goal.trajectory for name, goal in ActionClient.goals if name != "/gripper/gripper_cmd"]
    assert 2 <= len(trajectories) <= 7
    assert trajectories[-1].joint_names == ["A"]
    assert trajectories[-1].points[0].positions.tolist() == pytest.approx([0.4])
    made.disconnect()


@pytest.mark.usefixtures("actions")
def test_an_action_server_that_rejects_goals_is_an_error(
    robot: Robot, controlled: Controlled, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = driver(robot, commands=ACTIONS)
    made.connect()
    monkeypatch.setattr(ActionClient, "accepts", False)

    def follows() -> bool:
        made.write(np.array([0.4, 0.7]))
        made.read()
        return False

    with pytest.raises(HardwareError, match=r"/arm/follow_joint_trajectory rejects goals; the action server .*gripper"):
        until(follows)
    # The goal of the gripper, which is sent once, was sent again.
    assert [name for name, _ in ActionClient.goals].count("/gripper/gripper_cmd") >= 3
    made.disconnect()


def test_states_that_are_not_finite_are_dropped(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, max_staleness_s=0.5)
    made.connect()
    controlled.position["wheel"] = math.nan  # not a joint of the robot
    time.sleep(0.1)
    made.read()
    controlled.position["B"] = math.nan
    with pytest.raises(HardwareError, match="no joint states on /joint_states"):
        until(lambda: made.read() is None)
    made.disconnect()


def test_temperatures_come_from_diagnostics_without_waldos_own_estimates(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, temperature_source="diagnostics", temperature_location="winding")
    made.connect()
    until(lambda: not np.isnan(made.motors().winding_c).any())
    sensors = made.motors()
    assert sensors.winding_c.tolist() == [61.5, 41.0]
    assert sensors.faults == ("hot", "error")
    assert sensors.torque_nm.tolist() == [1.0, 2.0]
    made.disconnect()


def test_temperatures_come_from_temperature_topics(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, temperature_source="temperature")
    made.connect()
    until(lambda: not np.isnan(made.motors().housing_c[1]))
    assert made.motors().housing_c[1] == 44.0
    assert np.isnan(made.motors().housing_c[0])
    made.disconnect()


def test_temperatures_come_from_dynamic_joint_states(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    made = driver(robot, temperature_source="dynamic")
    values = SimpleNamespace(interface_names=["position", "temperature"], values=[0.1, 52.0])
    made._temperatures._on_dynamic(SimpleNamespace(joint_names=["wheel", "B"], interface_values=[values, values]))
    assert made.motors().housing_c[1] == 52.0
    monkeypatch.setitem(__import__("sys").modules, "control_msgs.msg", None)
    with pytest.raises(HardwareError, match="temperature_source=dynamic requires control_msgs"):
        made.connect()


def test_images_are_converted_to_rgb(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot, cameras={"front": "/cam/image_raw"})
    made.connect()
    frames: list[Any] = []
    until(lambda: bool(frames.extend(made.frames()) or frames))
    assert frames[0].rgb.tolist() == [[[3, 2, 1], [6, 5, 4]]] * 2
    made.disconnect()
    assert driver(robot).robot.cameras == ()


def test_an_image_that_cannot_be_used_costs_only_itself(
    robot: Robot, controlled: Controlled, capfd: pytest.CaptureFixture[str]
) -> None:
    controlled.images = [
        {"step": 4, "encoding": "16UC1", "data": bytes(8)},
        {"step": 6, "encoding": "rgb8", "data": bytes(5)},
        {"step": 2, "encoding": "nv21", "data": bytes(4)},
        {"step": 4, "encoding": "uyvy", "data": bytes([128, 235] * 4)},
    ]
    made = driver(robot, cameras={"front": "/cam/image_raw"})
    made.connect()
    frames: list[Any] = []
    until(lambda: bool(frames.extend(made.frames()) or len(frames) > 2))
    assert all((frame.rgb == 255).all() for frame in frames)
    made.disconnect()
    log = capfd.readouterr().err
    for text in ("encoding 16UC1 is depth", "has only 5 bytes in rows of 6", "unsupported image encoding 'nv21'"):
        assert log.count(f"camera front: {text}") + log.count(f"camera front: image of 2x2 rgb8 {text}") == 1


def test_reading_a_silent_robot_is_an_error(robot: Robot, controlled: Controlled) -> None:
    made = driver(robot)
    made.connect()
    controlled.mute = True
    made.options = replace(made.options, max_staleness_s=0.05)
    time.sleep(0.3)
    with pytest.raises(HardwareError, match=r"no joint states on /joint_states for \d+\.\d\d s; check"):
        made.read()
    made.disconnect()


def test_errors_name_the_missing_topic_or_camera(robot: Robot, controlled: Controlled) -> None:
    with pytest.raises(
        HardwareError, match=r"no state of all joints \(A, B\) received on /nowhere within 0\.3 s; check"
    ):
        driver(robot, joint_states="/nowhere", connect_timeout_s=0.3).connect()
    with pytest.raises(HardwareError, match="no controller receives /nowhere within 3 s; check that it is active"):
        driver(robot, command="/nowhere", connect_timeout_s=3.0).connect()
    with pytest.raises(UnknownNameError, match="unknown camera 'side'"):
        driver(robot, cameras={"side": "/x"})
    with pytest.raises(InvalidValueError, match="'effort', expected trajectory, forward or joint_state"):
        driver(robot, command_type="effort")
