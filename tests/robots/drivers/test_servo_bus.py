"""Encoding of register values, and guards of a servo bus: whose response it is, and whether a write was accepted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dynamixel_sdk import PacketHandler
from hypothesis import given
from hypothesis import strategies as st

from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.errors import HardwareError
from waldo.robots.drivers import dynamixel, feetech
from waldo.robots.drivers.servo_bus import Register
from waldo.sim.emulation.emulated_joints import EmulatedJoints

RETURN_DELAY = {"feetech": feetech.RETURN_DELAY, "dynamixel": dynamixel.RETURN_DELAY}
"""A register of the non-volatile memory."""


@given(st.integers(-2047, 2047), st.sampled_from([11, 15]))
def test_sign_magnitude_values_are_decoded_unchanged(value: int, bit: int) -> None:
    register = Register(0, 2, sign_bit=bit)
    assert register.decode(register.encode(value)) == value
    assert register.encode(-5) == bytes([5, 1 << bit - 8])


@given(st.integers(-(2**31), 2**31 - 1))
def test_twos_complement_values_are_decoded_unchanged(value: int) -> None:
    register = Register(0, 4, signed=True)
    assert register.decode(register.encode(value)) == value


@pytest.fixture(params=list(DRIVERS))
def vendor(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def servos(vendor: str) -> Iterator[Any]:
    emulator, _ = DRIVERS[vendor]
    with emulator(EmulatedJoints(SO101)) as servos:
        yield servos


@pytest.fixture
def bus(vendor: str, servos: Any) -> Iterator[Any]:
    """The bus of an emulated arm, with servos that have not been configured."""
    _, driver = DRIVERS[vendor]
    bus = driver(SO101, port=servos.port, response_timeout_s=1.0).open()
    yield bus
    bus.port.close()


def from_another_servo(vendor: str, frame: bytes) -> bytes:
    """Return a response of servo 1 as one of servo 2 with zeros as data."""
    out = bytearray(frame)
    if vendor == "feetech":
        out[2], out[5:-1] = 2, bytes(len(out) - 6)
        out[-1] = ~sum(out[2:-1]) & 0xFF
    else:
        out[4], out[9:-2] = 2, bytes(len(out) - 11)
        out[-2:] = PacketHandler(2.0).updateCRC(0, out[:-2], len(out) - 2).to_bytes(2, "little")
    return bytes(out)


def test_a_response_of_another_servo_is_discarded(vendor: str, servos: Any, bus: Any) -> None:
    number = bus.read(1, bus.number)
    assert number > 0
    servos.noise = lambda frame: from_another_servo(vendor, frame) + frame
    assert bus.read(1, bus.number) == number


def test_a_write_without_effect_is_an_error(servos: Any, bus: Any) -> None:
    servos._write = lambda servo, address, data: 0
    with pytest.raises(HardwareError, match=r"did not accept 1 at address \d+ \(another value is read back\)"):
        bus.write(1, bus.enable, 1)


def test_the_reason_of_a_refusal_is_reported() -> None:
    with DRIVERS["dynamixel"][0](EmulatedJoints(SO101)) as servos:
        bus = DRIVERS["dynamixel"][1](SO101, port=servos.port, response_timeout_s=1.0).open()
        bus.write(1, bus.enable, 1)
        with pytest.raises(HardwareError, match=rf"\({dynamixel.REFUSALS[7]}\)"):
            bus.write(1, dynamixel.OPERATING_MODE, bus.read(1, dynamixel.OPERATING_MODE))
        bus.port.close()


def test_non_volatile_memory_is_changed_with_the_torque_disabled(vendor: str, servos: Any, bus: Any) -> None:
    register, write, torque = RETURN_DELAY[vendor], servos._write, []

    def watched(servo: Any, address: int, data: bytes) -> Any:
        if address == register.address:
            torque.append(servo.get(bus.enable.address, 1))
        return write(servo, address, data)

    servos._write = watched
    bus.write(1, bus.enable, 1)
    bus.change(1, register, bus.read(1, register))
    assert torque == [], "an equal value is not written"
    bus.change(1, register, 3)
    assert torque
    assert not any(torque)
    assert bus.read(1, register) == 3
