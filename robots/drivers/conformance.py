"""What every driver must do, as tests: subclass `DriverConformance` in a test file and give it a `make`.

::

    class TestMine(DriverConformance):
        def make(self) -> Driver:
            return MyDriver(robot, port=...)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest

from waldo.errors import HardwareError
from waldo.robots.driver import Driver, MotorSensors, RobotState, SimulatedDriver

STEP = 0.1
"""How far the robot is asked to move [rad or m]."""
SENSORS = tuple(f.name for f in fields(MotorSensors) if f.name not in ("faults", "disabled"))


class DriverConformance:
    """The tests; each gets a driver of its own, connected."""

    patience_cycles: int = 300
    """How many control cycles the robot may take to begin to move."""
    settles: bool = True
    """Whether the robot stands still by itself when it is not told anything."""

    def make(self) -> Driver:
        """Return a driver that can be connected; called again for a second connection."""
        raise NotImplementedError

    def make_absent(self) -> Driver | None:
        """Return a driver whose device is not there; None where there can be no such thing."""
        return None

    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        """A connected driver."""
        driver = self.make()
        driver.connect()
        yield driver
        driver.disconnect()

    def let_pass(self, driver: Driver) -> None:
        """Let one control cycle pass, with what the robot node does in one."""
        if isinstance(driver, SimulatedDriver):
            driver.advance()
        else:
            time.sleep(1 / 60)
        driver.read()

    def test_it_is_a_driver(self, driver: Driver) -> None:
        """The protocol's methods are there."""
        assert isinstance(driver, Driver)

    def test_a_state_is_finite_and_in_the_order_of_the_joints(self, driver: Driver) -> None:
        """Positions are known, velocities and efforts may be NaN; every array is (joints,)."""
        state = driver.read()
        shape = (len(driver.robot.joints),)
        assert isinstance(state, RobotState)
        assert isinstance(state.stamp_ns, int)
        for array in (state.position, state.velocity, state.effort):
            assert array.shape == shape
            assert array.dtype == np.float64
        assert np.isfinite(state.position).all()

    def test_positions_are_in_radians_within_the_limits(self, driver: Driver) -> None:
        """A robot at rest is where its description says that it can be."""
        position = driver.read().position
        assert (position > driver.robot.lower - 0.2).all()
        assert (position < driver.robot.upper + 0.2).all()

    def test_motors_are_in_si_units_and_unknown_is_nan(self, driver: Driver) -> None:
        """Every array is (joints,), never infinite; what is known is plausible in SI units."""
        driver.read()
        motors = driver.motors()
        joints = len(driver.robot.joints)
        for name in SENSORS:
            array = getattr(motors, name)
            assert array.shape == (joints,), name
            assert not np.isinf(array).any(), name
        assert len(motors.faults) == joints
        assert motors.disabled.shape == (joints,)
        assert not motors.disabled.any()
        assert all(isinstance(fault, str) for fault in motors.faults)
        for name, low, high in (
            ("voltage_v", 0.0, 100.0),
            ("pwm_ratio", -1.0, 1.0),
            ("current_a", -100.0, 100.0),
            ("winding_c", -20.0, 180.0),
            ("housing_c", -20.0, 180.0),
            ("driver_c", -20.0, 180.0),
        ):
            known = getattr(motors, name)
            known = known[~np.isnan(known)]
            assert ((known >= low) & (known <= high)).all(), name

    def test_stamps_do_not_go_back(self, driver: Driver) -> None:
        """A later reading has a later stamp, or the same while time stands still."""
        first = last = driver.read().stamp_ns
        deadline = time.monotonic() + 60
        while last == first:
            assert time.monotonic() < deadline
            self.let_pass(driver)
            stamp = driver.read().stamp_ns
            assert stamp >= last
            last = stamp

    def test_a_write_moves_the_joint_towards_its_target(self, driver: Driver) -> None:
        """The first joint comes at least halfway to a target that is near."""
        start = driver.read().position
        middle = (driver.robot.lower + driver.robot.upper) / 2
        target = start.copy()
        target[0] += STEP if start[0] < middle[0] else -STEP
        for _ in range(self.patience_cycles):
            driver.write(target)
            self.let_pass(driver)
            if abs(driver.read().position[0] - start[0]) > STEP / 2:
                break
        assert abs(driver.read().position[0] - target[0]) < STEP / 2

    def test_a_write_returns_what_was_sent_within_the_limits(self, driver: Driver) -> None:
        """What lies outside is cut off, and the caller learns of it; what lies inside is kept."""
        robot = driver.robot
        here = np.clip(driver.read().position, robot.lower, robot.upper)
        sent = driver.write(here)
        assert sent.shape == here.shape
        assert np.abs(sent - here).max() < 5e-3
        beyond = here.copy()
        beyond[0] = robot.upper[0] + 1.0
        sent = driver.write(beyond)
        # What is sent is a count or a 32-bit float: the nearest to the limit.
        assert sent[0] <= robot.upper[0] + 1e-3
        driver.write(here)

    def test_frames_are_a_sequence(self, driver: Driver) -> None:
        """No frame comes twice."""
        driver.frames()
        assert list(driver.frames()) == []

    def test_disconnecting_twice_is_harmless(self) -> None:
        """So that cleaning up needs no memory."""
        driver = self.make()
        driver.connect()
        driver.disconnect()
        driver.disconnect()

    def test_it_can_be_connected_again(self) -> None:
        """A second connection reads as the first did."""
        driver = self.make()
        driver.connect()
        driver.disconnect()
        again = self.make()
        again.connect()
        try:
            assert np.isfinite(again.read().position).all()
        finally:
            again.disconnect()

    def test_an_absent_device_says_what_to_do(self) -> None:
        """The message names what is missing, and what to do after a semicolon."""
        driver = self.make_absent()
        if driver is None:
            pytest.skip("this driver's device cannot be absent")
        with pytest.raises(HardwareError, match=r".+;.+"):
            driver.connect()
        driver.disconnect()
