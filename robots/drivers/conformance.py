"""Conformance tests for drivers.

Every driver of waldo passes these tests against an emulation of its robot. To test a driver of your own, subclass
`HardwareConformance` in a test file and implement `make`, which returns a driver that is not connected yet, and
`make_absent`, which returns a driver of a device that does not exist:

    from waldo.robots.drivers.conformance import HardwareConformance

    class TestMyDriver(HardwareConformance):
        def make(self) -> Driver:
            return MyDriver(my_robot, port="/dev/ttyUSB0")

        def make_absent(self) -> Driver:
            return MyDriver(my_robot, port="/dev/no-such-port")

Then run `pytest`. The tests move the first joint by 0.1 rad (or 0.1 m) towards the middle of its range, so on real
hardware the robot needs that much space. Notes for particular devices:

* Start an emulator or simulator in a pytest fixture with `autouse=True`; `make` is called after it has started.
* Use `DriverConformance`, without `make_absent`, for a simulation, which cannot be missing.
* Raise `max_cycles` if the robot needs more than 300 control cycles (5 s at 60 Hz) to move by 0.05 rad.
* Override a single test if its requirement does not apply to the driver, and state the reason there.

`examples/driver.py` is a complete driver of about 100 lines that passes these tests.
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
"""Distance by which the first joint is moved [rad or m]."""
SENSORS = tuple(f.name for f in fields(MotorSensors) if f.name not in ("faults", "disabled"))
"""Fields of `MotorSensors` that are arrays of measured values."""
PLAUSIBLE = (
    ("voltage_v", 0.0, 100.0),
    ("pwm_ratio", -1.0, 1.0),
    ("current_a", -100.0, 100.0),
    ("winding_c", -20.0, 180.0),
    ("housing_c", -20.0, 180.0),
    ("driver_c", -20.0, 180.0),
)
"""Fields of `MotorSensors` with the lowest and highest plausible value."""


class DriverConformance:
    """Tests that every driver must pass; each test gets its own connected driver."""

    max_cycles: int = 300
    """Number of control cycles within which a commanded joint must have moved."""

    def make(self) -> Driver:
        """Return a driver that is not connected yet; called again for a second connection."""
        raise NotImplementedError

    @pytest.fixture
    def driver(self) -> Iterator[Driver]:
        """A connected driver."""
        driver = self.make()
        driver.connect()
        yield driver
        driver.disconnect()

    def run_cycle(self, driver: Driver) -> None:
        """Wait for one control cycle, or advance a simulation by one, and read the driver."""
        if isinstance(driver, SimulatedDriver):
            driver.advance()
        else:
            time.sleep(1 / 60)
        driver.read()

    def test_implements_the_driver_protocol(self, driver: Driver) -> None:
        """All methods of `Driver` exist."""
        assert isinstance(driver, Driver)

    def test_state_is_finite_and_has_one_value_per_joint(self, driver: Driver) -> None:
        """Positions are finite; velocities and efforts may be NaN; every array has shape (joints,)."""
        state = driver.read()
        shape = (len(driver.robot.joints),)
        assert isinstance(state, RobotState)
        assert isinstance(state.stamp_ns, int)
        for array in (state.position, state.velocity, state.effort):
            assert array.shape == shape
            assert array.dtype == np.float64
        assert np.isfinite(state.position).all()

    def test_positions_are_within_the_joint_limits(self, driver: Driver) -> None:
        """An idle robot is within the limits of its description, which also detects degrees or counts."""
        position = driver.read().position
        assert (position > driver.robot.lower - 0.2).all()
        assert (position < driver.robot.upper + 0.2).all()

    def test_sensors_are_in_si_units_and_unknown_values_are_nan(self, driver: Driver) -> None:
        """Every array has shape (joints,) and no infinite values; the known values are plausible in SI units."""
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
        for name, low, high in PLAUSIBLE:
            values = getattr(motors, name)
            known = values[~np.isnan(values)]
            assert ((known >= low) & (known <= high)).all(), name

    def test_stamps_do_not_decrease(self, driver: Driver) -> None:
        """A later reading has a later stamp, or the same one until the robot has been read again."""
        first = last = driver.read().stamp_ns
        deadline = time.monotonic() + 60
        while last == first:
            assert time.monotonic() < deadline
            self.run_cycle(driver)
            stamp = driver.read().stamp_ns
            assert stamp >= last
            last = stamp

    def test_a_written_target_moves_the_joint(self, driver: Driver) -> None:
        """The first joint covers at least half the distance to a target close to it."""
        start = driver.read().position
        middle = (driver.robot.lower + driver.robot.upper) / 2
        target = start.copy()
        target[0] += STEP if start[0] < middle[0] else -STEP
        for _ in range(self.max_cycles):
            driver.write(target)
            self.run_cycle(driver)
            if abs(driver.read().position[0] - start[0]) > STEP / 2:
                break
        assert abs(driver.read().position[0] - target[0]) < STEP / 2

    def test_write_returns_the_applied_target_within_the_limits(self, driver: Driver) -> None:
        """Targets within the limits are returned almost unchanged, targets outside are clipped."""
        robot = driver.robot
        present = np.clip(driver.read().position, robot.lower, robot.upper)
        applied = driver.write(present)
        assert applied.shape == present.shape
        assert np.abs(applied - present).max() < 5e-3
        outside = present.copy()
        outside[0] = robot.upper[0] + 1.0
        applied = driver.write(outside)
        # The applied target may be rounded to a count or a 32-bit float.
        assert applied[0] <= robot.upper[0] + 1e-3
        driver.write(present)

    def test_every_frame_is_returned_once(self, driver: Driver) -> None:
        """A second call directly after the first returns no frames."""
        driver.frames()
        assert list(driver.frames()) == []

    def test_disconnecting_twice_is_harmless(self) -> None:
        """A caller may disconnect without checking whether the driver is connected."""
        driver = self.make()
        driver.connect()
        driver.disconnect()
        driver.disconnect()

    def test_a_second_connection_works(self) -> None:
        """A second driver can be connected and read after the first has disconnected."""
        driver = self.make()
        driver.connect()
        driver.disconnect()
        second = self.make()
        second.connect()
        try:
            assert np.isfinite(second.read().position).all()
        finally:
            second.disconnect()


class HardwareConformance(DriverConformance):
    """Tests for drivers of a device that can be missing; a simulation uses `DriverConformance` alone."""

    def make_absent(self) -> Driver:
        """Return a driver of a device that does not exist."""
        raise NotImplementedError

    def test_a_missing_device_raises_an_error_with_advice(self) -> None:
        """The message states what was found and, after a semicolon, what to do."""
        driver = self.make_absent()
        with pytest.raises(HardwareError, match=r".+;.+"):
            driver.connect()
        driver.disconnect()
