"""The drivers of Dex3-1 and Inspire hands with emulated hands over DDS, alone and as parts of a G1."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot, load_robot
from waldo.robots.driver import Driver
from waldo.robots.drivers.conformance import HardwareConformance
from waldo.robots.drivers.parts import make_driver
from waldo.robots.drivers.unitree.hands import DEX3_MOTORS, INSPIRE_MOTORS, Dex3Driver, InspireDriver
from waldo.sim.emulation.unitree import EmulatedUnitree

DOMAIN = 101 + os.getpid() % 100
G1_DEX3, G1_INSPIRE = load_robot("g1_dex3"), load_robot("g1_inspire")
LEFT = G1_DEX3.parts[1].robot
OPTIONS: dict[str, object] = {
    "interface": "lo", "domain": DOMAIN, "connect_timeout_s": 60.0, "max_staleness_s": 30.0, "rate_hz": 100.0
}  # fmt: skip
"""A busy machine may pause a process for seconds."""


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def g1() -> Iterator[EmulatedUnitree]:
    with EmulatedUnitree(G1_DEX3, DOMAIN, rate_hz=100) as made:
        yield made


class TestDex3(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _hand(self, g1: EmulatedUnitree) -> None:
        pass

    def make(self) -> Driver:
        return Dex3Driver(LEFT, **OPTIONS)

    def make_absent(self) -> Driver:
        return Dex3Driver(LEFT, interface="lo", domain=210, connect_timeout_s=0.2)


class TestInspire(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _hands(self) -> Iterator[None]:
        with EmulatedUnitree(G1_INSPIRE, DOMAIN, rate_hz=100):
            yield

    def make(self) -> Driver:
        return InspireDriver(G1_INSPIRE.parts[1].robot, **OPTIONS)

    def make_absent(self) -> Driver:
        return InspireDriver(G1_INSPIRE.parts[1].robot, interface="lo", domain=210, connect_timeout_s=0.2)


def test_the_fingers_of_the_right_hand_have_another_order() -> None:
    assert DEX3_MOTORS["left_hand_middle_0_joint"] == ("left", 3)
    assert DEX3_MOTORS["left_hand_index_1_joint"] == ("left", 6)
    assert DEX3_MOTORS["right_hand_index_0_joint"] == ("right", 3)
    assert DEX3_MOTORS["right_hand_middle_1_joint"] == ("right", 6)
    assert INSPIRE_MOTORS["right_pinky_joint"] == 0
    assert INSPIRE_MOTORS["left_thumb_rotation_joint"] == 11


@pytest.mark.parametrize("robot", [G1_DEX3, G1_INSPIRE], ids=lambda robot: robot.name)
def test_the_whole_g1_is_one_robot(robot: Robot) -> None:
    with EmulatedUnitree(robot, DOMAIN, rate_hz=100) as g1:
        driver: Any = make_driver("unitree", robot, OPTIONS)
        driver.connect()
        np.testing.assert_allclose(driver.read().position, g1.joints.position, atol=0.15)
        target = robot.home.copy()
        finger = next(i for i, name in enumerate(robot.joint_names) if "left" in name and "index" in name)
        elbow = robot.joint_names.index("right_elbow_joint")
        target[finger] = 0.6 * max(robot.lower[finger], robot.upper[finger], key=abs)
        target[elbow] = 0.3
        driver.write(target)
        until(lambda: float(np.abs(driver.read().position - target)[[finger, elbow]].max()) < 0.1)
        assert g1.refused == 0
        assert all(hand.refused == 0 for hand in g1.hands)
        sensors = driver.motors()
        assert sensors.winding_c.shape == (len(robot.joints),)
        temperatures = np.fmax(sensors.winding_c, sensors.driver_c)
        assert np.isfinite(temperatures).all()
        driver.disconnect()


def test_a_hand_reports_the_heat_and_faults_of_its_motors(g1: EmulatedUnitree) -> None:
    driver = Dex3Driver(LEFT, **OPTIONS)
    driver.connect()
    thumb = G1_DEX3.joint_names.index("left_hand_thumb_0_joint")
    with g1.joints.lock:
        g1.joints.heat[thumb] = [90.0, 50.0]

    def winding_c() -> float:
        driver.read()
        return float(driver.motors().winding_c[0])

    until(lambda: winding_c() > 80)
    driver.disconnect()


def test_on_close_release_disables_the_torque(g1: EmulatedUnitree) -> None:
    driver = Dex3Driver(LEFT, on_close="release", **OPTIONS)
    driver.connect()
    hand: Any = g1.hands[0]
    until(lambda: hand.taken > 3 and hand.law[2, 0] > 0)
    driver.disconnect()
    until(lambda: hand.law[2].max() == 0)


def test_wrong_targets_and_states_are_refused(g1: EmulatedUnitree) -> None:
    driver = Dex3Driver(LEFT, **OPTIONS)
    driver.connect()
    hand: Any = g1.hands[0]
    before = hand.law[0].copy()
    with pytest.raises(InvalidValueError, match="finite numbers"):
        driver.write(np.full(7, np.nan))
    state = driver.channel.state
    state.motor_state[2].q = np.nan
    assert not driver._accepts(state)
    state.motor_state = state.motor_state[:3]
    assert not driver._accepts(state)
    assert driver.refused == 2
    np.testing.assert_allclose(hand.law[0], before, atol=0.1)
    driver.disconnect()


def test_a_silent_hand_is_an_error(g1: EmulatedUnitree) -> None:
    driver = Dex3Driver(LEFT, **{**OPTIONS, "max_staleness_s": 0.3})
    driver.connect()
    g1.mute = True
    with pytest.raises(HardwareError, match=r"no new state on rt/dex3/left/state for 0\.\d+ s"):
        until(lambda: driver.read() is None)
    driver.disconnect()


def test_joints_of_another_robot_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="joints of one Dex3-1"):
        Dex3Driver(load_robot("so101"))
    with pytest.raises(InvalidValueError, match="joints among right_pinky_joint"):
        InspireDriver(load_robot("so101"))
