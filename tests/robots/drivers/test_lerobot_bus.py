"""A late or damaged answer on a serial bus of LeRobot's is an error once, and never the answer to another request."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lerobot.motors import Motor, MotorNormMode
from lerobot.motors.dynamixel import DynamixelMotorsBus
from lerobot.motors.feetech import FeetechMotorsBus

from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.errors import HardwareError
from waldo.robots.drivers import calibration
from waldo.robots.drivers.lerobot.bus import LATEST_S, discard_late_answers, serial_buses
from waldo.robots.drivers.lerobot.driver import SENSOR_ATTEMPTS, LeRobotDriver
from waldo.sim.emulation.emulated_joints import EmulatedJoints

TIMEOUT_S = 0.06
"""LeRobot waits 50 ms for Feetech servos and 34 ms for Dynamixel servos."""
BUSES = {"feetech": (FeetechMotorsBus, "sts3215"), "dynamixel": (DynamixelMotorsBus, "xl430-w250")}


class Line:
    """An emulated arm whose answers can be delayed or damaged, and the number of requests so far."""

    def __init__(self, vendor: str) -> None:
        emulator, self.driver_class = DRIVERS[vendor]
        self.plant = EmulatedJoints(SO101)
        self.requests = 0
        self.delay: Callable[[int], float] = lambda number: 0.0
        line = self

        class Late(emulator):
            def answer(self, frame: bytes) -> Iterator[bytes]:
                parts = list(super().answer(frame))
                line.requests += bool(parts)
                time.sleep(line.delay(line.requests) if parts else 0.0)
                yield from parts

        self.servos = Late(self.plant)


@pytest.fixture(params=list(BUSES))
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    line = Line(request.param)
    with line.servos:
        line.bus_class, line.model = BUSES[request.param]  # type: ignore[attr-defined]
        yield line


def bus_of(line: Any, *, guarded: bool = True) -> Any:
    """Return a connected bus of LeRobot's."""
    motors = {
        name: Motor(identity, line.model, MotorNormMode.DEGREES)
        for identity, name in enumerate(SO101.joint_names, start=1)
    }
    bus = line.bus_class(line.servos.port, motors)
    if guarded:
        discard_late_answers(SimpleNamespace(bus=bus))
    bus.connect(handshake=False)
    return bus


def read(bus: Any, register: str) -> dict[str, int] | None:
    try:
        return bus.sync_read(register, normalize=False)
    except ConnectionError:
        return None


def sure(bus: Any, register: str) -> dict[str, int]:
    """Read until there is an answer: the emulation may not be scheduled in time on a busy machine."""
    for _ in range(20):
        if (found := read(bus, register)) is not None:
            return found
    raise AssertionError(f"no answer to {register}")


def patiently[T](call: Callable[[], T]) -> T:
    """Call a method of the driver until its requests are answered in time."""
    for _ in range(20):
        try:
            return call()
        except HardwareError as error:
            found = error
    raise AssertionError(found)


def test_an_answer_after_the_timeout_is_discarded(line: Line) -> None:
    bus = bus_of(line)
    true = {name: sure(bus, name) for name in ("Present_Position", "Present_Temperature")}
    late = line.requests + 1
    line.delay = lambda number: TIMEOUT_S if number == late else 0.0
    assert read(bus, "Present_Position") is None
    for _ in range(5):
        for name, values in true.items():
            assert sure(bus, name) == pytest.approx(values, abs=2)
    bus.disconnect(disable_torque=False)


def test_without_the_guard_lerobot_answers_with_what_was_asked_before(line: Line) -> None:
    """If this fails, LeRobot or the vendors' SDKs discard late answers themselves, and the guard can be removed."""
    bus = bus_of(line, guarded=False)
    true = sure(bus, "Present_Temperature")
    late = line.requests + 1
    line.delay = lambda number: TIMEOUT_S if number == late else 0.0
    assert read(bus, "Present_Position") is None
    time.sleep(LATEST_S)
    assert read(bus, "Present_Temperature") != true
    bus.disconnect(disable_torque=False)


def test_random_delays_and_damage_never_give_a_wrong_position(line: Line) -> None:
    bus, rng = bus_of(line), random.Random(0)
    true = {name: sure(bus, name) for name in ("Present_Position", "Present_Temperature")}
    line.delay = lambda number: rng.uniform(0.005, LATEST_S - 0.05) if rng.random() < 0.05 else 0.0
    line.servos.noise = lambda data: bytes([data[0] ^ 1, *data[1:]]) if rng.random() < 0.02 else data
    lost = 0
    for _ in range(50):
        for name, values in true.items():
            found = read(bus, name)
            lost += found is None
            assert found is None or found == pytest.approx(values, abs=2)
    assert 0 < lost < 75
    bus.disconnect(disable_torque=False)


def test_the_buses_of_both_arms_of_a_robot_are_guarded() -> None:
    def arm() -> Any:
        return SimpleNamespace(bus=SimpleNamespace(port_handler=SimpleNamespace(), _is_comm_success=bool))

    pair = SimpleNamespace(left_arm=arm(), right_arm=arm(), cameras={}, name="pair", can=SimpleNamespace(bus=object()))
    assert list(serial_buses(pair)) == [pair.left_arm.bus, pair.right_arm.bus]


def test_a_lost_answer_of_the_sensors_keeps_their_values(tmp_path: Path) -> None:
    line = Line("feetech")
    with line.servos:
        reader = line.driver_class(SO101, port=line.servos.port, torque=False)
        reader.open()
        calibration.save(tmp_path / "mine.json", SO101.joint_names, reader.stored())
        reader.disconnect()
        config = f'{{"calibration_dir": "{tmp_path}"}}'
        driver = LeRobotDriver(
            SO101, type="so101_follower", id="mine", port=line.servos.port, config=config, sensor_period_s=0.0
        )
        patiently(driver.connect)
        before = patiently(driver.motors).driver_c
        while not np.isfinite(before).all():
            before = patiently(driver.motors).driver_c
        line.delay = lambda number: TIMEOUT_S
        for _ in range(SENSOR_ATTEMPTS - 1):
            np.testing.assert_array_equal(driver.motors().driver_c, before)
        with pytest.raises(HardwareError, match="cannot read the motors' sensors"):
            driver.motors()
        line.delay = lambda number: 0.0
        position = patiently(driver.read).position
        np.testing.assert_allclose(position, line.plant.position, atol=0.05)
        patiently(driver.motors)
        driver.disconnect()
