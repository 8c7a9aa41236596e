"""Emulated Damiao and RobStride motors: faults, timeouts, storage and reports, without a clock."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import count
from typing import Any

import can
import pytest

from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.emulated_robot import load_emulated
from waldo.sim.emulation.robstride import RobStrideMotors

CHANNELS = count()
STEP_S = 0.002


class CanDesk:
    """Motors on a table, and what a host sends and receives."""

    def __init__(self, driver: str, motor: str) -> None:
        robot = load_emulated("motors", driver, [motor], (1, 2))
        channel = f"desk{next(CHANNELS)}"
        self.host = can.Bus(interface="virtual", channel=channel)
        bus = can.Bus(interface="virtual", channel=channel)
        kind = DamiaoMotors if driver == "damiao" else RobStrideMotors
        self.motors: Any = kind(robot.joints(), bus, robot.ids, robot.ranges())
        self._bus = bus

    def close(self) -> None:
        self._bus.shutdown()
        self.host.shutdown()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.motors.joints.advance(STEP_S)
            self.motors.quiet_s += STEP_S
            self.motors.advance(STEP_S)

    def send(self, identity: int, data: bytes, *, extended: bool = False) -> list[can.Message]:
        """Send a frame and return what arrives."""
        self.motors.answer(can.Message(arbitration_id=identity, data=data, is_extended_id=extended))
        return self.received()

    def received(self) -> list[can.Message]:
        found: list[can.Message] = []
        while (message := self.host.recv(0)) is not None:
            found.append(message)
        return found


@pytest.fixture
def damiao() -> Iterator[CanDesk]:
    desk = CanDesk("damiao", "dm4310")
    yield desk
    desk.close()


@pytest.fixture
def robstride() -> Iterator[CanDesk]:
    desk = CanDesk("robstride", "rs02")
    yield desk
    desk.close()


def special(last: int) -> bytes:
    return bytes([0xFF] * 7 + [last])


def register(desk: CanDesk, request: int, number: int, value: bytes = bytes(4)) -> bytes | None:
    found = desk.send(0x7FF, bytes([1, 0, request, number]) + value)
    return bytes(found[0].data) if found else None


def test_a_frame_of_another_mode_is_ignored(damiao: CanDesk) -> None:
    damiao.send(1, special(0xFC))
    assert damiao.send(0x101, struct.pack("<ff", 1.0, 5.0)) == []
    register(damiao, 0x55, 10, struct.pack("<I", 2))
    assert len(damiao.send(0x101, struct.pack("<ff", 1.0, 5.0))) == 1
    damiao.wait(2)
    assert abs(damiao.motors.angle(0) - 1.0) < 0.01
    assert damiao.send(1, bytes(8)) == []


def test_registers_that_are_read_only_or_out_of_range_keep_their_value(damiao: CanDesk) -> None:
    for number, form, value in ((20, "<f", 3.0), (10, "<I", 9), (2, "<f", 300.0)):
        before = register(damiao, 0x33, number)
        after = register(damiao, 0x55, number, struct.pack(form, value))
        assert before is not None
        assert after is not None
        assert after[4:] == before[4:]
    assert register(damiao, 0x33, 200) is None


def test_a_full_scale_value_of_zero_is_refused(damiao: CanDesk) -> None:
    for number in (21, 22, 23):
        register(damiao, 0x55, number, struct.pack("<f", 0.0))
        assert damiao.motors.registers[0][number] > 0


def test_the_temperature_limit_is_that_of_its_register(damiao: CanDesk) -> None:
    damiao.send(1, special(0xFC))
    damiao.motors.joints.heat[0] = [95.0, 40.0]
    damiao.wait(0.01)
    assert damiao.motors.enabled[0]
    register(damiao, 0x55, 2, struct.pack("<f", 90.0))
    damiao.wait(0.01)
    assert not damiao.motors.enabled[0]


def test_a_bus_error_does_not_end_the_emulation(damiao: CanDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by a datagram of another program on a multicast address."""
    receive, failures = damiao._bus.recv, [can.CanOperationError("no frame")] * 3

    def recv(timeout: float) -> can.Message | None:
        if failures:
            raise failures.pop()
        return receive(timeout)

    monkeypatch.setattr(damiao._bus, "recv", recv)
    with damiao.motors:
        while failures:
            damiao.host.recv(0.01)
        damiao.host.send(can.Message(arbitration_id=1, data=special(0xFC), is_extended_id=False))
        answer = damiao.host.recv(20)
    assert answer is not None
    assert answer.data[0] >> 4 == 1


def test_registers_are_kept_over_a_power_cycle_once_they_are_stored(damiao: CanDesk) -> None:
    register(damiao, 0x55, 2, struct.pack("<f", 100.0))
    damiao.motors.power_cycle()
    assert damiao.motors.registers[0][2] == 120.0
    register(damiao, 0x55, 2, struct.pack("<f", 100.0))
    damiao.send(1, special(0xFC))
    assert register(damiao, 0xAA, 1) is None, "not while it is enabled"
    damiao.send(1, special(0xFD))
    assert register(damiao, 0xAA, 1) is not None
    damiao.motors.power_cycle()
    assert damiao.motors.registers[0][2] == 100.0


def test_a_motor_without_frames_stops_with_an_error(damiao: CanDesk) -> None:
    register(damiao, 0x55, 9, struct.pack("<I", 4000))  # 0.2 s
    damiao.send(1, special(0xFC))
    damiao.wait(0.1)
    assert damiao.motors.enabled[0]
    damiao.wait(0.2)
    assert not damiao.motors.enabled[0]
    (feedback,) = damiao.send(1, special(0xFC))
    assert feedback.data[0] >> 4 == 0xD
    damiao.send(1, special(0xFB))
    (feedback,) = damiao.send(1, special(0xFC))
    assert feedback.data[0] >> 4 == 1


@pytest.mark.parametrize(("volts", "error"), [(12.0, 0x9), (40.0, 0x8)])
def test_a_wrong_supply_voltage_is_an_error(damiao: CanDesk, volts: float, error: int) -> None:
    damiao.send(1, special(0xFC))
    damiao.motors.supply_v = volts
    damiao.wait(0.01)
    (feedback,) = damiao.send(1, special(0xFC))
    assert feedback.data[0] >> 4 == error


def test_zero_and_ids_of_a_damiao_motor(damiao: CanDesk) -> None:
    damiao.motors.joints.place([0.7, 0.0])
    damiao.send(1, special(0xFE))
    assert damiao.motors.angle(0) == 0.0
    register(damiao, 0x55, 7, struct.pack("<I", 0x55))
    register(damiao, 0x55, 8, struct.pack("<I", 6))
    (feedback,) = damiao.send(6, special(0xFC))
    assert (feedback.arbitration_id, feedback.data[0] & 0xF) == (0x55, 6)


def parameter(desk: CanDesk, index: int, value: bytes | None = None) -> list[can.Message]:
    """Write a parameter of motor 1, or read it."""
    kind, data = (17, bytes(4)) if value is None else (18, value)
    return desk.send(kind << 24 | 0xFD << 8 | 1, struct.pack("<HH", index, 0) + data, extended=True)


def test_an_unknown_parameter_is_reported_as_a_failure(robstride: CanDesk) -> None:
    (known,) = parameter(robstride, 0x701E)
    assert known.arbitration_id == 17 << 24 | 1 << 8 | 0xFD
    assert struct.unpack_from("<f", known.data, 4)[0] == 40.0
    (unknown,) = parameter(robstride, 0x7999)
    assert unknown.arbitration_id == 17 << 24 | 1 << 16 | 1 << 8 | 0xFD
    parameter(robstride, 0x701C, struct.pack("<f", 1.0))
    (read_only,) = parameter(robstride, 0x701C)
    assert struct.unpack_from("<f", read_only.data, 4)[0] == 48.0


def test_the_profile_position_mode_has_a_speed_and_an_acceleration(robstride: CanDesk) -> None:
    parameter(robstride, 0x7005, bytes([1, 0, 0, 0]))
    robstride.send(3 << 24 | 0xFD << 8 | 1, bytes(8), extended=True)
    parameter(robstride, 0x7024, struct.pack("<f", 2.0))
    parameter(robstride, 0x7025, struct.pack("<f", 4.0))
    parameter(robstride, 0x7016, struct.pack("<f", 3.0))
    robstride.wait(1.0)
    assert abs(robstride.motors.angle(0) - 1.5) < 0.1, "0.5 s of acceleration, 0.5 s at 2 rad/s"
    robstride.send(6 << 24 | 0xFD << 8 | 1, bytes([1, *bytes(7)]), extended=True)
    assert robstride.motors.zeros[0] == 0.0, "no zero while it runs in this mode"
    robstride.wait(1.5)
    assert abs(robstride.motors.angle(0) - 3.0) < 0.01


def test_a_robstride_motor_without_frames_stops(robstride: CanDesk) -> None:
    parameter(robstride, 0x7028, struct.pack("<I", 4000))  # 0.2 s
    robstride.send(3 << 24 | 0xFD << 8 | 1, bytes(8), extended=True)
    robstride.wait(0.1)
    assert robstride.motors.enabled[0]
    robstride.wait(0.2)
    assert not robstride.motors.enabled[0]


@pytest.mark.parametrize(("volts", "bit"), [(10.0, 1 << 2), (70.0, 1 << 3)])
def test_a_wrong_supply_voltage_sends_a_fault_frame(robstride: CanDesk, volts: float, bit: int) -> None:
    robstride.send(3 << 24 | 0xFD << 8 | 1, bytes(8), extended=True)
    robstride.motors.supply_v = volts
    robstride.wait(0.01)
    faults = [one for one in robstride.received() if one.arbitration_id >> 24 == 21]
    assert struct.unpack("<II", faults[0].data) == (bit, 0)
    assert not robstride.motors.enabled[0]


def test_reports_are_sent_at_the_interval_of_their_parameter(robstride: CanDesk) -> None:
    robstride.send(24 << 24 | 0xFD << 8 | 1, bytes([1, 2, 3, 4, 5, 6, 1, 0]), extended=True)
    robstride.wait(0.2)
    reports = [one for one in robstride.received() if one.arbitration_id >> 24 == 24]
    assert 18 <= len(reports) <= 21
    parameter(robstride, 0x7026, struct.pack("<HH", 3, 0))
    robstride.wait(0.2)
    reports = [one for one in robstride.received() if one.arbitration_id >> 24 == 24]
    assert 9 <= len(reports) <= 11
