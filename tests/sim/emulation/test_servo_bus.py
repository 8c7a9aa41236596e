"""Emulated servos with the vendors' packet handlers, and the framing of their protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.sim.emulation.dynamixel import DynamixelServos, crc16
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos
from waldo.sim.emulation.servo_bus import SerialServos


def test_checksums_agree_with_the_manuals() -> None:
    # Ping of id 1 in Feetech's "communication protocol manual" and in ROBOTIS's e-manual, "Protocol 2.0".
    plant = EmulatedJoints(SO101)
    servos = FeetechServos(plant)
    assert list(servos.frames(bytearray(b"\xff\xff\x01\x02\x01\xfb"))) == [b"\xff\xff\x01\x02\x01\xfb"]
    assert list(servos.frames(bytearray(b"\xff\xff\x01\x02\x01\xfa"))) == []
    servos.unplug()
    assert crc16(bytes([0xFF, 0xFF, 0xFD, 0x00, 0x01, 0x03, 0x00, 0x01])) == 0x4E19


@given(st.binary(max_size=64), st.sampled_from(list(DRIVERS)))
def test_frames_are_found_after_garbage(garbage: bytes, vendor: str) -> None:
    servos = GARBAGE[vendor]
    ping = b"\xff\xff\x01\x02\x01\xfb" if vendor == "feetech" else b"\xff\xff\xfd\x00\x01\x03\x00\x01\x19\x4e"
    # A frame is found at the latest after the end of a frame that the garbage seemed to start.
    buffer = bytearray(garbage)
    list(servos.frames(buffer))
    for _ in range(120):
        buffer += ping
        if list(servos.frames(buffer)):
            return
    raise AssertionError(garbage)


@pytest.fixture(scope="module", autouse=True)
def _garbage() -> Iterator[None]:
    GARBAGE.update({vendor: kind(EmulatedJoints(SO101)) for vendor, (kind, _) in DRIVERS.items()})
    yield
    for servos in GARBAGE.values():
        servos.unplug()


GARBAGE: dict[str, SerialServos] = {}


def test_dynamixels_support_bulk_and_registered_writes_and_reject_locked_registers() -> None:
    from dynamixel_sdk import GroupBulkRead, GroupBulkWrite, PacketHandler

    from waldo.robots.drivers.serial_port import SerialPort

    with DynamixelServos(EmulatedJoints(SO101)) as servos:
        port, handler = SerialPort(servos.port, 1_000_000, 1.0), PacketHandler(2.0)
        bulk = GroupBulkRead(port, handler)
        bulk.addParam(1, 146, 1)
        bulk.addParam(2, 132, 4)
        assert bulk.txRxPacket() == 0
        assert bulk.getData(1, 146, 1) == 25
        assert 0 <= bulk.getData(2, 132, 4) <= 4095
        assert handler.regWriteTxRx(port, 1, 65, 1, [1]) == (0, 0)
        assert servos.servos[0].memory[65] == 0
        handler.action(port, 0xFE)
        assert handler.read1ByteTxRx(port, 1, 65) == (1, 0, 0)
        both = GroupBulkWrite(port, handler)
        both.addParam(1, 65, 1, [0])
        both.addParam(2, 65, 1, [1])
        assert both.txPacket() == 0
        assert handler.read1ByteTxRx(port, 2, 65) == (1, 0, 0)
        handler.write1ByteTxRx(port, 1, 64, 1)
        assert handler.write1ByteTxRx(port, 1, 11, 4) == (0, 7)
        handler.write1ByteTxRx(port, 1, 64, 0)
        handler.write1ByteTxRx(port, 1, 11, 3)
        assert handler.write4ByteTxRx(port, 1, 116, 4095) == (0, 6)
        # Position mode ignores homing offsets beyond 1024 counts, so the position is that of the encoder.
        position, *errors = handler.read4ByteTxRx(port, 1, 132)
        assert errors == [0, 0]
        assert abs(position - 700) < 50  # the arm falls a little, since its torque is disabled
        found, result = handler.broadcastPing(port)
        assert result == 0
        assert sorted(found) == [1, 2, 3, 4, 5, 6]
        port.close()


def test_feetechs_support_registered_writes_and_lose_locked_writes_on_a_power_cycle() -> None:
    from scservo_sdk import PacketHandler

    from waldo.robots.drivers.serial_port import SerialPort

    with FeetechServos(EmulatedJoints(SO101)) as servos:
        port, handler = SerialPort(servos.port, 1_000_000, 1.0), PacketHandler(0)
        assert handler.regWriteTxRx(port, 2, 41, 1, [9]) == (0, 0)
        assert servos.servos[1].memory[41] == 0
        handler.action(port, 0xFE)
        assert handler.read1ByteTxRx(port, 2, 41) == (9, 0, 0)
        handler.write1ByteTxRx(port, 2, 21, 7)
        handler.write1ByteTxRx(port, 2, 55, 0)
        handler.write1ByteTxRx(port, 2, 22, 8)
        servos.power_cycle()
        assert handler.read1ByteTxRx(port, 2, 21) == (32, 0, 0)
        assert handler.read1ByteTxRx(port, 2, 22) == (8, 0, 0)
        port.close()
