"""The SpaceMouse: velocities of the cap move the end effector, and a lost mouse stops it."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from tested_mouse import TestedMouse

from waldo.collect.devices.conformance import RecordingSession
from waldo.collect.devices.device import Observation
from waldo.collect.devices.spacemouse import (
    LEAD_M,
    PySpaceMouse,
    SpaceMouse,
    SpaceMouseOptions,
    bounded,
    past_dead_zone,
)
from waldo.collect.retargeting.retargeter import Retargeter
from waldo.errors import HardwareError, InvalidValueError, MissingExtraError, UnknownNameError
from waldo.robots.description import Robot, load_robot

DT_S = 1 / 60


class Rig:
    """A SpaceMouse and a robot that follows exactly."""

    def __init__(self, robot: Robot, **options: object) -> None:
        self.mouse, self.session = TestedMouse(), RecordingSession()
        self.device = SpaceMouse(robot, make_reader=lambda: self.mouse, **options)
        self.device.open()
        self.position = robot.home.copy()
        self.retargeter = Retargeter(robot)

    def step(self, cycles: int = 1) -> np.ndarray | None:
        for _ in range(cycles):
            observation = Observation(stamp_ns=0, position=self.position.copy(), environment={})
            command = self.device.step(observation, self.session, DT_S)
            if command is not None:
                self.position = command.copy()
        return command

    def engage(self) -> None:
        self.mouse.press(False)
        assert self.step() is None
        self.mouse.press(True)

    def pose(self, side: str = "right") -> np.ndarray:
        self.retargeter.reset(self.position, self.position)
        return self.retargeter.pose(side)


def test_a_deflection_moves_the_end_effector_with_its_velocity() -> None:
    rig = Rig(load_robot("vx300s"))
    rig.engage()
    before = rig.pose()
    rig.mouse.linear[:] = 0.0, 0.0, 1.0
    assert rig.step(30) is not None
    np.testing.assert_allclose(rig.pose()[:3, 3] - before[:3, 3], [0, 0, 0.2 * 0.5], atol=5e-3)
    np.testing.assert_allclose(rig.pose()[:3, :3], before[:3, :3], atol=0.02)


def test_directions_are_those_of_the_operator_of_the_robot() -> None:
    rig = Rig(load_robot("aloha"))  # its operator looks along y
    rig.engage()
    before = rig.pose()
    rig.mouse.linear[:] = 1.0, 0.0, 0.0
    rig.step(15)
    moved = rig.pose()[:3, 3] - before[:3, 3]
    assert moved[1] > 0.03 > 10 * abs(moved[0])


def test_a_target_out_of_reach_does_not_run_away() -> None:
    rig = Rig(load_robot("so101"))
    rig.engage()
    rig.mouse.linear[:] = 1.0, 0.0, 0.0
    rig.step(600)
    target = rig.device._target
    assert np.linalg.norm(target[:3, 3] - rig.pose()[:3, 3]) <= LEAD_M + 0.01
    rig.mouse.linear[:] = -1.0, 0.0, 0.0
    before = rig.pose()
    rig.step(60)
    assert rig.pose()[0, 3] < before[0, 3] - 0.05


def test_the_right_button_closes_and_opens_the_gripper() -> None:
    robot = load_robot("so101")
    rig = Rig(robot)
    rig.engage()
    rig.step(10)
    np.testing.assert_allclose(rig.position[5], robot.home[5], atol=1e-6)
    for expected in (robot.lower[5], robot.upper[5]):
        rig.mouse.press(True, 1)
        rig.step(1)
        rig.mouse.press(False, 1)
        rig.step(120)
        assert rig.position[5] == pytest.approx(expected)


def test_only_the_chosen_arm_moves() -> None:
    robot = load_robot("bi_so101")
    rig = Rig(robot, side="left")
    rig.engage()
    rig.mouse.linear[:] = 1.0, 0.0, 0.5
    rig.step(20)
    changed = {robot.joint_names[j] for j in np.flatnonzero(np.abs(rig.position - robot.home) > 1e-9)}
    assert changed
    assert all(name.startswith("left_") for name in changed)


def test_a_disconnected_mouse_stops_finishes_and_names_the_reason() -> None:
    rig = Rig(load_robot("so101"))
    rig.engage()
    assert rig.step() is not None
    rig.mouse.connected = False
    assert rig.step() is None
    assert rig.session.texts == ["the SpaceMouse was disconnected (no answer); the robot holds"]
    assert rig.device.finished
    rig.device.close()
    assert rig.mouse.closed == 1


def test_a_deflected_mouse_that_stops_reporting_stops_the_robot_until_it_is_pressed_again() -> None:
    rig = Rig(load_robot("so101"))
    rig.engage()
    rig.mouse.linear[:] = 0.5, 0.0, 0.0
    assert rig.step(5) is not None
    rig.mouse.reporting = False
    assert rig.step(20) is None
    assert "has stopped reporting while its cap is deflected: the robot holds" in rig.session.texts[-1]
    rig.mouse.reporting = True
    assert rig.step(5) is None
    rig.engage()
    assert rig.step() is not None


def test_a_mouse_at_rest_reports_nothing_and_stays_engaged() -> None:
    rig = Rig(load_robot("so101"))
    rig.engage()
    rig.step()
    rig.mouse.reporting = False
    assert rig.step(60) is not None


def test_a_deflection_that_is_not_finite_stops_the_robot() -> None:
    rig = Rig(load_robot("so101"))
    rig.engage()
    assert rig.step() is not None
    rig.mouse.angular[1] = np.inf
    assert rig.step() is None
    rig.mouse.angular[1] = 0.0
    assert rig.step(3) is None
    rig.engage()
    assert rig.step() is not None


def test_a_button_that_is_held_at_the_start_does_not_engage() -> None:
    rig = Rig(load_robot("so101"))
    rig.mouse.press(True)
    assert rig.step(5) is None


def test_deflections_have_a_dead_zone_without_a_step() -> None:
    np.testing.assert_allclose(past_dead_zone(np.array([0.05, -0.04, 1.0, -2.0])), [0, 0, 1, -1])
    assert 0 < past_dead_zone(np.array([0.06]))[0] < 0.02
    np.testing.assert_allclose(bounded(np.array([3.0, 4.0]), 1.0), [0.6, 0.8])
    np.testing.assert_array_equal(bounded(np.zeros(3), 1.0), np.zeros(3))


def test_options_and_sides_are_checked() -> None:
    with pytest.raises(InvalidValueError, match=r"speed_m_s is 2\.0"):
        SpaceMouseOptions(speed_m_s=2.0)
    with pytest.raises(UnknownNameError, match=r"unknown option 'speed'"):
        SpaceMouse(load_robot("so101"), speed=1.0)


class FakeDevice:
    """A device of pyspacemouse: a call reads one of several queued reports into the same object."""

    def __init__(self, reports: int) -> None:
        self.state = SimpleNamespace(t=-1.0, x=0.0, y=0.0, z=0.0, roll=0.0, pitch=0.0, yaw=0.0, buttons=[0, 0])
        self.reports, self.failed, self.closed = reports, False, 0

    def read(self) -> SimpleNamespace:
        if self.failed:
            raise RuntimeError("hid error")
        if self.reports:
            self.reports -= 1
            self.state.t += 1.0
            self.state.x += 0.1
        return self.state

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("pyspacemouse")
    module.AxisConvention = SimpleNamespace(ROS="ros")  # type: ignore[attr-defined]
    module.device = FakeDevice(5)  # type: ignore[attr-defined]
    module.open = lambda axis_convention: module.device if axis_convention == "ros" else None  # type: ignore
    monkeypatch.setitem(sys.modules, "pyspacemouse", module)
    return module


def test_all_queued_reports_are_read_in_a_cycle(library: ModuleType) -> None:
    reader = PySpaceMouse()
    assert reader.read().linear[0] == pytest.approx(0.5)
    library.device.reports = 1
    assert reader.read().linear[0] == pytest.approx(0.6)
    first = reader.read().report_s
    assert reader.read().report_s == first
    library.device.failed = True
    with pytest.raises(HardwareError, match=r"^the SpaceMouse was disconnected \(hid error\)$"):
        reader.read()
    reader.close()
    assert library.device.closed == 1


def test_a_missing_mouse_or_library_is_named(library: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(axis_convention: str) -> None:
        raise Exception(f"no device for {axis_convention}")

    library.open = fail  # type: ignore[attr-defined]
    with pytest.raises(HardwareError, match=r"^no SpaceMouse found \(no device for ros\); connect one"):
        PySpaceMouse()
    monkeypatch.setitem(sys.modules, "pyspacemouse", None)
    with pytest.raises(MissingExtraError, match="--extra spacemouse"):
        PySpaceMouse()


def test_a_measured_position_that_is_not_finite_stops_and_names_the_reason() -> None:
    rig = Rig(load_robot("so101"))
    rig.engage()
    assert rig.step() is not None
    good = rig.position.copy()
    rig.position[2] = np.nan
    assert rig.step() is None
    assert rig.session.texts == [
        "a target or a measured position is not a finite number: the robot holds; "
        "release the left button and press it again"
    ]
    rig.position = good
    assert rig.step(3) is None
    rig.engage()
    assert rig.step() is not None
