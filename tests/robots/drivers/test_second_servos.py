"""Joints that two servos drive: shoulder and elbow of the ALOHA arms, whose servos face each other."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.drivers.dynamixel import DynamixelDriver
from waldo.robots.drivers.feetech import FeetechDriver
from waldo.robots.drivers.second_servos import CONFIRMED, SecondServos, default_ids
from waldo.robots.drivers.servo_bus import Feedback
from waldo.robots.presets.aloha import VX300S
from waldo.sim.emulation.dynamixel import DynamixelServos
from waldo.sim.emulation.emulated_robot import load_emulated
from waldo.sim.emulation.feetech import FeetechServos

SHOULDER, SECOND = 1, 3
"""Joint with two servos, and the id of the second one."""
ALL = range(9)
"""Indices of the servos."""


@contextmanager
def arm(*, calibrated: bool = True) -> Iterator[Any]:
    """Run the nine emulated servos of an arm."""
    robot = load_emulated("vx300s")
    with DynamixelServos(robot.joints(), robot.ids, models=robot.motors, calibrated=calibrated) as servos:
        yield servos


def driver(servos: Any, **options: object) -> DynamixelDriver:
    """Return a driver for the arm."""
    return DynamixelDriver(VX300S, port=servos.port, **options)


def memory(servos: Any, servo: int) -> Any:
    """Return the memory of the servo with an id."""
    return next(one for one in servos.servos if one.id == servo)


def test_ids_count_both_servos_of_a_joint() -> None:
    assert default_ids(VX300S) == (1, 2, 4, 6, 7, 8, 9)
    assert SecondServos(VX300S, default_ids(VX300S)).of == {1: 3, 2: 5}
    with pytest.raises(InvalidValueError, match="3 free, for the second servo"):
        SecondServos(VX300S, (1, 2, 3, 6, 7, 8, 9))


def test_both_servos_of_a_joint_hold_and_move_it() -> None:
    with arm() as servos:
        connected = driver(servos)
        connected.connect()
        assert all(servos.is_on(index) for index in ALL)
        start = connected.read().position
        np.testing.assert_allclose(start, VX300S.home, atol=0.1)
        target = start + 0.2
        for share in np.linspace(0, 1, 60):
            connected.read()
            applied = connected.write(start + share * (target - start))
            time.sleep(0.01)
        np.testing.assert_allclose(applied, target, atol=0.002)
        time.sleep(0.5)
        moved = connected.read().position - start
        np.testing.assert_allclose(moved, 0.2, atol=0.08)
        goals = [servos.actual_of(index, servos.servos[index].signed(116, 4)) for index in (1, 2)]
        joints = servos.joint_of_actual(np.array([0.0, *goals, *[0.0] * 6]))[1:3]
        # Both goals are the same angle, up to the play between the two encoders.
        assert joints[0] == pytest.approx(joints[1], abs=0.01)
        connected.disconnect()


def test_current_adds_up_and_the_warmer_servo_counts() -> None:
    with arm() as servos:
        connected = driver(servos)
        connected.connect()
        connected.read()
        sensors = connected.motors()
        current, _, _ = servos.electrical()
        assert abs(sensors.current_a[SHOULDER]) == pytest.approx(abs(current[1] - current[2]), abs=0.02)
        assert abs(sensors.torque_nm[SHOULDER]) > 0.3, "it carries the arm"
        connected.disconnect()


def test_a_second_servo_that_is_silent_is_missing_and_named() -> None:
    with arm() as servos:
        servos.silent.add(SECOND)
        with pytest.raises(HardwareError, match=r"no response from shoulder \(id 3\)"):
            driver(servos).connect()
        servos.silent.clear()
        connected = driver(servos, motor_timeout_s=0.2)
        connected.connect()
        servos.silent.add(SECOND)
        time.sleep(0.05)
        connected.read()
        assert connected.motors().faults[SHOULDER].startswith("no response for")
        time.sleep(0.3)
        with pytest.raises(HardwareError, match="no response from shoulder"):
            connected.read()
        connected.disconnect()


def test_a_fault_of_the_second_servo_is_one_of_the_joint() -> None:
    with arm() as servos:
        connected = driver(servos)
        connected.connect()
        memory(servos, SECOND).fault = 0x20
        for _ in range(3):
            connected.read()
            time.sleep(0.02)
        sensors = connected.motors()
        assert "second servo: overload" in sensors.faults[SHOULDER]
        assert sensors.disabled[SHOULDER]
        assert not sensors.disabled[[0, 2, 3, 4, 5, 6]].any()
        connected.disconnect()


def test_servos_that_would_work_against_each_other_are_refused() -> None:
    with arm() as servos:
        memory(servos, SECOND).memory[10] = 0
        with pytest.raises(HardwareError, match=r"servos 2 and 3 of shoulder face each other.*run waldo calibrate"):
            driver(servos).connect()
        assert not any(servos.is_on(index) for index in ALL)


def test_a_coupled_servo_is_uncoupled() -> None:
    """Interbotix's and LeRobot's programs leave the second servo with the id of the first as its secondary id."""
    with arm() as servos:
        memory(servos, SECOND).memory[12] = 2
        connected = driver(servos)
        connected.connect()
        assert memory(servos, SECOND).memory[12] == 255
        assert servos.is_on(2)
        connected.disconnect()


def test_calibration_reverses_the_second_servos() -> None:
    with arm(calibrated=False) as servos:
        memory(servos, SECOND).memory[12] = 2
        opened = driver(servos, torque=False)
        opened.open()
        opened.store(opened.stored())
        opened.disconnect()
        assert [memory(servos, one).memory[10] & 1 for one in (2, 3, 4, 5)] == [0, 1, 0, 1]
        assert memory(servos, SECOND).memory[12] == 255


def test_a_fault_of_the_second_servo_is_cleared_on_request() -> None:
    with arm() as servos:
        memory(servos, SECOND).fault = 0x20
        with pytest.raises(HardwareError, match=r"shoulder .* reports second servo: "):
            driver(servos).connect()
        connected = driver(servos, clear_errors=True)
        connected.connect()
        assert not any(connected.motors().faults)
        connected.disconnect()


def test_both_servos_are_released() -> None:
    with arm() as servos:
        connected = driver(servos, on_close="release")
        connected.connect()
        assert servos.is_on(2)
        connected.disconnect()
        until = time.monotonic() + 10
        while any(servos.is_on(index) for index in ALL) and time.monotonic() < until:
            time.sleep(0.01)
        assert not any(servos.is_on(index) for index in ALL)


def test_the_difference_of_the_servos_is_measured_at_each_connection() -> None:
    """A servo that was taken off and fixed again, or counts its turns from another start, is at another position."""
    with arm() as servos:
        connected = driver(servos, on_close="release")
        for offset in (0, 300):
            servo = memory(servos, SECOND)
            servo.put(20, 4, servo.signed(20, 4) + offset)
            connected.connect()
            for _ in range(2 * CONFIRMED):
                connected.read()
                time.sleep(0.02)
            assert not any(connected.motors().faults)
            connected.disconnect()


def test_servos_that_come_apart_are_a_fault_once_it_is_confirmed() -> None:
    second = SecondServos(VX300S, default_ids(VX300S))
    one = Feedback(position=1000, speed=0, pwm_ratio=0.1, voltage_v=12, temperature_c=30, current_a=1)

    def reading(between: float) -> Feedback:
        two = dataclasses.replace(one, position=1000 + between, temperature_c=50, voltage_v=11.5)
        return second.combined({2: one, 3: two, 4: one, 5: one})[2]

    joined = reading(7.0)
    assert (joined.position, joined.current_a, joined.temperature_c, joined.voltage_v) == (1000, 2, 50, 11.5)
    assert second.goals({2: 500, 4: 600, 9: 1}) == {2: 500, 4: 600, 9: 1, 3: 507, 5: 600}
    found = [reading(7.0 + 100) for _ in range(CONFIRMED)]
    assert [one.disabled for one in found] == [False] * (CONFIRMED - 1) + [True]
    assert "its two servos are 100 counts apart" in found[-1].fault
    assert not reading(7.0).disabled
    assert second.combined({2: one, 4: one, 5: one}).keys() == {4}, "one servo of the shoulder is missing"


def test_motors_from_the_library_keep_their_number() -> None:
    found = DynamixelDriver(VX300S, motors=("xm430-w350",))
    assert found.robot.joints[SHOULDER].motor.name == "2 x Dynamixel XM430-W350"
    assert found.robot.joints[0].motor.name == "Dynamixel XM430-W350"


def test_a_driver_that_cannot_reverse_servos_refuses_such_an_arm(tmp_path: Path) -> None:
    robot = load_emulated("vx300s", "feetech")
    with FeetechServos(robot.joints(), robot.ids) as servos:
        connected = FeetechDriver(VX300S, port=servos.port)
        with pytest.raises(HardwareError, match="shoulder has two servos, which this driver cannot reverse"):
            connected.connect()
