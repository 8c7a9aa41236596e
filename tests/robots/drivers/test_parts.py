"""Robots of several parts: two arms on two ports or two CAN buses, one driver, one control cycle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import can
import numpy as np
import pytest

from tests.robots.drivers.servo_bench import until
from waldo.errors import HardwareError, InvalidValueError, MissingOptionError, UnknownNameError
from waldo.robots.description import Robot, load_robot
from waldo.robots.driver import Driver
from waldo.robots.drivers.conformance import HardwareConformance
from waldo.robots.drivers.damiao import DamiaoDriver
from waldo.robots.drivers.dynamixel import DynamixelDriver
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.robots.drivers.mit import Range
from waldo.robots.drivers.options import convert_options
from waldo.robots.drivers.parts import PartsDriver, make_driver, option_classes
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos

PAIR, SO101 = load_robot("bi_so101"), load_robot("so101")
PATIENT: dict[str, object] = {"motor_timeout_s": 20.0, "response_timeout_s": 1.0}
"""A busy machine may pause a process for seconds."""
CHANNELS = count()


@pytest.fixture
def arms() -> Iterator[dict[str, FeetechServos]]:
    """Two emulated arms, each on its own port."""
    with FeetechServos(EmulatedJoints(SO101)) as left, FeetechServos(EmulatedJoints(SO101)) as right:
        yield {"left": left, "right": right}


def driver_of(arms: dict[str, FeetechServos], **options: object) -> Any:
    ports = {f"{part}.port": servos.port for part, servos in arms.items()}
    return make_driver("feetech", PAIR, {**ports, **PATIENT, **options})


class TestPair(HardwareConformance):
    @pytest.fixture(autouse=True)
    def _arms(self, arms: dict[str, FeetechServos]) -> None:
        self._servos = arms

    def make(self) -> Driver:
        return driver_of(self._servos)

    def make_absent(self) -> Driver:
        return driver_of(self._servos, **{"right.port": "/dev/no-such-port"})


def test_each_arm_follows_its_own_targets(arms: dict[str, FeetechServos]) -> None:
    driver = driver_of(arms)
    driver.connect()
    target = PAIR.home.copy()
    target[[0, 6]] += [0.2, -0.3]
    driver.write(target)
    until(driver, lambda state: bool(np.abs(state.position - target)[[0, 6]].max() < 0.01))
    assert arms["left"].joints.position[0] == pytest.approx(target[0], abs=0.01)
    assert arms["right"].joints.position[0] == pytest.approx(target[6], abs=0.01)
    sensors = driver.motors()
    assert np.isfinite(sensors.driver_c).all()
    assert len(sensors.faults) == len(PAIR.joints)
    driver.disconnect()


def test_the_state_is_as_old_as_the_oldest_part(arms: dict[str, FeetechServos]) -> None:
    driver = driver_of(arms)
    driver.connect()
    before = time.time_ns()
    arms["right"].silent |= {1}
    time.sleep(0.02)
    assert driver.read().stamp_ns <= before
    driver.disconnect()


def test_a_part_that_is_missing_is_named_and_the_others_are_released(arms: dict[str, FeetechServos]) -> None:
    with pytest.raises(HardwareError, match=r"^right: serial port /dev/no-such-port does not exist"):
        driver_of(arms, **{"right.port": "/dev/no-such-port"}).connect()
    again = driver_of(arms)
    again.connect()
    again.disconnect()


def test_an_arm_that_is_unplugged_is_named(arms: dict[str, FeetechServos]) -> None:
    driver = driver_of(arms)
    driver.connect()
    arms["right"].unplug()
    with pytest.raises(HardwareError, match=r"^right: "):
        until(driver, lambda _: False)
    driver.disconnect()


def test_no_arm_moves_if_a_target_of_one_is_not_finite(arms: dict[str, FeetechServos]) -> None:
    driver = driver_of(arms)
    driver.connect()
    before = [servos.servos[0].memory[42:44] for servos in arms.values()]
    target = PAIR.home + 0.2
    target[8] = np.nan
    with pytest.raises(InvalidValueError, match="finite numbers"):
        driver.write(target)
    driver.read()
    assert [servos.servos[0].memory[42:44] for servos in arms.values()] == before
    driver.disconnect()


def test_errors_name_the_joint_of_the_whole_robot(arms: dict[str, FeetechServos]) -> None:
    arms["right"].silent |= {3}
    with pytest.raises(HardwareError, match=r"right: no response from right_elbow_flex \(id 3\)"):
        driver_of(arms).connect()


def test_an_option_applies_to_all_parts_or_to_one() -> None:
    driver: Any = make_driver(
        "feetech",
        PAIR,
        {"left.port": "/dev/a", "right.port": "/dev/b", "baudrate": 500_000, "right.ids": (11, 12, 13, 14, 15, 16)},
    )
    left, right = driver.drivers["left"], driver.drivers["right"]
    assert (left.options.port, right.options.port) == ("/dev/a", "/dev/b")
    assert (left.options.baudrate, right.options.baudrate) == (500_000, 500_000)
    assert (left.ids, right.ids) == ((1, 2, 3, 4, 5, 6), (11, 12, 13, 14, 15, 16))


def test_each_part_may_have_another_driver() -> None:
    texts = {"left.port": "/dev/a", "right.driver": "dynamixel", "right.port": "/dev/b", "right.baudrate": "57600"}
    options = convert_options(texts, *option_classes("feetech", PAIR, texts))
    assert options["right.baudrate"] == 57600
    driver: Any = make_driver("feetech", PAIR, options)
    assert isinstance(driver.drivers["left"], FeetechDriver)
    assert isinstance(driver.drivers["right"], DynamixelDriver)


def test_two_arms_of_different_vendors_are_one_robot() -> None:
    with FeetechServos(EmulatedJoints(SO101)) as left, DynamixelServos(EmulatedJoints(SO101)) as right:
        options = {"left.port": left.port, "right.port": right.port, "right.driver": "dynamixel"}
        driver = make_driver("feetech", PAIR, {**options, **PATIENT})
        driver.connect()
        np.testing.assert_allclose(driver.read().position, PAIR.home, atol=0.02)
        driver.disconnect()


def test_one_port_for_both_arms_is_refused() -> None:
    with pytest.raises(MissingOptionError, match=r"left and right both have /dev/ttyACM0.*--option left.port=\.\.\."):
        make_driver("feetech", PAIR, {})
    with pytest.raises(MissingOptionError, match="both have /dev/x"):
        make_driver("feetech", PAIR, {"port": "/dev/x"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lefft.port": "/dev/a"}, "unknown part of bi_so101 'lefft'; did you mean 'left'?"),
        ({"left.prt": "/dev/a", "right.port": "/dev/b"}, "unknown option 'prt'; did you mean 'port'?"),
        ({"left.port": "/dev/a", "right.port": "/dev/b", "baudrat": 1}, "unknown option 'baudrat'"),
    ],
)
def test_unknown_parts_and_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message.replace("?", r"\?")):
        make_driver("feetech", PAIR, options)


def test_a_robot_without_parts_has_no_options_of_parts() -> None:
    with pytest.raises(UnknownNameError, match="part of the robot 'left'"):
        make_driver("feetech", SO101, {"left.port": "/dev/a"})


def test_parts_must_have_the_robots_joints() -> None:
    with pytest.raises(InvalidValueError, match="joints of the parts"):
        Robot(name="x", model="x", joints=SO101.joints, cameras=(), mjcf="", parts=PAIR.parts)


def test_two_arms_on_two_can_buses_are_one_robot() -> None:
    robot = load_robot("bi_openarm")
    ranges = [Range(position_rad=12.5, velocity_rad_s=45, torque_nm=j.effort) for j in robot.joints[:8]]
    channels = {side: f"arms{next(CHANNELS)}" for side in ("left", "right")}
    emulated = {
        side: DamiaoMotors(
            EmulatedJoints(load_robot(f"openarm_{side}")),
            can.Bus(interface="virtual", channel=channel),
            range(1, 9),
            ranges,
        )
        for side, channel in channels.items()
    }
    with emulated["left"], emulated["right"]:
        options = {f"{side}.channel": channel for side, channel in channels.items()}
        driver: Any = make_driver("damiao", robot, {"interface": "virtual", **options, **PATIENT})
        assert isinstance(driver, PartsDriver)
        assert isinstance(driver.drivers["left"], DamiaoDriver)
        driver.connect()
        target = robot.home.copy()
        target[[1, 9]] = [-0.3, 0.3]
        driver.write(target)
        until(driver, lambda state: bool(np.abs(state.position - target)[[1, 9]].max() < 0.05))
        assert driver.motors().winding_c.shape == (16,)
        driver.disconnect()
