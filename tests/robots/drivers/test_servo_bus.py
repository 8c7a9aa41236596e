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
from waldo.robots.drivers import dynamixel, feetech, servo_bus
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


class Replies:
    """A port and a line: what has been requested, and which responses arrive, as lengths of their data."""

    name = "line"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requested: list[int] = []
        self.arriving: list[int] = []
        self.now_s = 100.0
        monkeypatch.setattr(servo_bus.time, "monotonic", lambda: self.now_s)

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
        self.now_s += 0.012

    def isPacketTimeout(self) -> bool:  # noqa: N802
        return not self.arriving


class Line(servo_bus.ServoBus):
    """A bus whose only servo, 1, responds as the test decides."""

    header, block, motion = 6, (56, 15), (56, 4)

    def __init__(self, replies: Replies) -> None:
        super().__init__(replies, None)  # type: ignore[arg-type]
        self.replies = replies

    def query_all(self, ids: Any, address: int, length: int) -> None:
        self.replies.requested.append(length)

    def receive(self) -> tuple[int, int, bytes] | None:
        return (1, 0, bytes(self.replies.arriving.pop(0))) if self.replies.arriving else None

    def decode_motion(self, block: bytes) -> tuple[float, float]:
        return 0.0, 0.0


def test_no_request_has_the_length_of_a_response_that_may_still_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = Replies(monkeypatch)
    line = Line(replies)
    for _ in range(servo_bus.LENGTHS + 3):
        assert line.read_motions([1]) == {}
    requested = replies.requested
    assert len(requested) == len(set(requested)) == servo_bus.LENGTHS, "then nothing is requested"
    # The response to the first request arrives: it is discarded, and the others may still follow.
    replies.arriving = requested[:1]
    assert line.read_motions([1]) == {}
    assert len(requested) == servo_bus.LENGTHS
    # That to the third: the first two lengths are free again.
    replies.arriving = requested[2:3]
    assert line.read_motions([1]) == {}
    replies.arriving = []
    for _ in range(3):
        line.read_motions([1])
    assert requested[servo_bus.LENGTHS :] == requested[:2]
    # Without any response, all are free after a while.
    replies.now_s += servo_bus.LATEST_S
    replies.arriving = [requested[2]]
    assert line.read_motions([1]) == {1: (0.0, 0.0)}


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
