"""A response that arrives late, twice, or is another program's is never taken for the response to another request."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from dynamixel_sdk import PacketHandler

from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.errors import HardwareError
from waldo.sim.emulation.emulated_joints import EmulatedJoints

HOME = np.array([0, -1, 0.58, 1.45, 0, 0.3])


def question(vendor: str, frame: bytes) -> tuple[int, int, int]:
    """Return the servo, instruction and address of a request."""
    if vendor == "feetech":
        return frame[2], frame[4], frame[5] if len(frame) > 6 else -1
    return frame[4], frame[7], frame[8] if len(frame) > 10 else -1


class Line:
    """An emulated arm whose responses can be delayed: `delay(servo, instruction, address)` [s]."""

    def __init__(self, vendor: str) -> None:
        emulator, self._driver = DRIVERS[vendor]
        self.plant = EmulatedJoints(SO101)
        self.stored: Any = None
        self.delay: Callable[[int, int, int], float] = lambda servo, instruction, address: 0.0
        line = self

        class Late(emulator):
            def answer(self, frame: bytes) -> Iterator[bytes]:
                parts = list(super().answer(frame))
                time.sleep(line.delay(*question(vendor, frame)))
                yield from parts

        self.servos = Late(self.plant)

    def driver(self, **options: object) -> Any:
        return self._driver(SO101, port=self.servos.port, motor_timeout_s=20.0, **options)


@contextmanager
def holding(vendor: str) -> Iterator[Line]:
    """An arm that holds, as after any session, with an idle line."""
    line = Line(vendor)
    with line.servos:
        driver = line.driver()
        driver.connect()
        driver.write(HOME)
        line.stored = driver.stored()
        driver.disconnect()
        yield line


@pytest.fixture(params=list(DRIVERS))
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """An arm for one test."""
    with holding(request.param) as line:
        yield line


@pytest.fixture(scope="module", params=list(DRIVERS))
def same_line(request: pytest.FixtureRequest) -> Iterator[Line]:
    """An arm for several tests, each of which leaves it as it was."""
    with holding(request.param) as line:
        yield line


@pytest.mark.parametrize("number", range(12))
def test_one_late_response_while_connecting_never_changes_the_calibration(same_line: Line, number: int) -> None:
    """The n-th read of servo 1 is answered 25 ms late, which is after its timeout."""
    line, asked = same_line, 0

    def once(servo: int, instruction: int, address: int) -> float:
        nonlocal asked
        asked += servo == 1 and instruction == 2
        return 0.025 if asked == number + 1 and servo == 1 and instruction == 2 else 0.0

    driver = line.driver()
    line.delay = once
    driver.connect()
    assert asked > number + 1
    assert list(driver.counts.low) == [one.range_min for one in line.stored]
    assert list(driver.counts.high) == [one.range_max for one in line.stored]
    for _ in range(20):
        applied = driver.write(HOME)
        np.testing.assert_allclose(driver.read().position, line.plant.position, atol=0.05)
    np.testing.assert_allclose(applied, HOME, atol=2e-3)
    np.testing.assert_allclose(line.plant.position, HOME, atol=0.1)
    driver.disconnect()


def test_random_delays_lead_to_the_true_calibration_or_a_refusal(line: Line) -> None:
    rng, driver = random.Random(1), line.driver()
    line.delay = lambda *_: rng.uniform(0.005, 0.3) if rng.random() < 0.01 else 0.0
    connected, refusals = 0, []
    for _ in range(12):
        try:
            driver.connect()
        except HardwareError as error:
            refusals.append(str(error))
            continue
        connected += 1
        assert list(driver.counts.low) == [one.range_min for one in line.stored]
        for _ in range(3):
            np.testing.assert_allclose(driver.read().position, line.plant.position, atol=0.05)
        driver.disconnect()
    assert connected >= 10, refusals


@pytest.mark.parametrize("seconds", [0.0, 3.0])
def test_a_leader_s_short_readings_are_safe_too(line: Line, seconds: float) -> None:
    """Without torque, most readings are of position and speed alone; the sensors follow ten times a second."""
    rng, driver = random.Random(2), line.driver(torque=False)
    driver.connect()
    line.plant.falls = False
    line.delay = lambda *_: rng.uniform(0.005, 0.1) if rng.random() < 0.02 else 0.0
    with line.plant.lock:
        line.plant.heat[:] = 50.0
    end, readings = time.monotonic() + 1.0 + seconds, 0
    while time.monotonic() < end:
        np.testing.assert_allclose(driver.read().position, line.plant.position, atol=0.05)
        readings += 1
    assert readings > 50
    line.delay = lambda *_: 0.0
    deadline = time.monotonic() + 60
    while not np.allclose(driver.motors().driver_c, 50.0, atol=3.0):
        assert time.monotonic() < deadline
        driver.read()
    driver.disconnect()


def test_responses_that_arrive_twice_are_used_once(line: Line) -> None:
    line.servos.noise = lambda data: data + data
    driver = line.driver()
    driver.connect()
    for _ in range(20):
        np.testing.assert_allclose(driver.read().position, line.plant.position, atol=0.05)
        assert not any(driver.motors().faults)
    driver.disconnect()


def test_responses_to_another_program_are_discarded(line: Line) -> None:
    """Another program polls 2 bytes of servo 1; its responses precede ours."""
    if isinstance(line.servos, DRIVERS["feetech"][0]):
        foreign = bytes([0xFF, 0xFF, 1, 4, 0, 0x21, 0x03, 255 - (1 + 4 + 0x21 + 0x03)])
    else:
        foreign = bytes.fromhex("fffffd000106005500 2103")
        foreign += PacketHandler(2.0).updateCRC(0, foreign, len(foreign)).to_bytes(2, "little")
    line.servos.noise = lambda data: foreign + data
    driver = line.driver()
    driver.connect()
    for _ in range(20):
        np.testing.assert_allclose(driver.read().position, line.plant.position, atol=0.05)
    driver.disconnect()


def test_an_empty_range_is_refused(line: Line) -> None:
    vendor = "feetech" if isinstance(line.servos, DRIVERS["feetech"][0]) else "dynamixel"
    for address, size in ((9, 2), (11, 2)) if vendor == "feetech" else ((52, 4), (48, 4)):
        line.servos.servos[0].put(address, size, 796)
    with pytest.raises(HardwareError, match=r"shoulder_pan .* has range 796 to 796, expected an increasing range"):
        line.driver().connect()


def test_an_arm_that_holds_outside_its_range_is_refused(line: Line) -> None:
    vendor = "feetech" if isinstance(line.servos, DRIVERS["feetech"][0]) else "dynamixel"
    # A servo that holds moves into its new range, in less time than a busy machine takes to connect.
    line.plant.advance = lambda seconds: None
    line.servos.servos[0].put(*((9, 2) if vendor == "feetech" else (52, 4)), 2500)
    with pytest.raises(HardwareError, match=r"shoulder_pan .* is at 2\d\d\d, outside its calibrated range of 2500"):
        line.driver().connect()
