"""Frames that are malformed, or that no motor understands, never end an emulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import can
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.robots.drivers.can_bench import DAMIAO_RANGE
from tests.robots.drivers.servo_bench import DRIVERS, SO101
from waldo.robots.drivers.robstride.models import RANGES
from waldo.sim.emulation.can_bus import CanMotors
from waldo.sim.emulation.damiao import DamiaoMotors
from waldo.sim.emulation.dynamixel import crc16
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.robstride import RobStrideMotors

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=list(DRIVERS))
def servos(request: pytest.FixtureRequest) -> Iterator[Any]:
    found = DRIVERS[request.param][0](EmulatedJoints(SO101))
    yield found
    found.unplug()


def framed(servos: Any, identity: int, instruction: int, data: bytes) -> bytes:
    """Return a frame with a valid checksum."""
    if isinstance(servos, DRIVERS["feetech"][0]):
        body = bytes([identity, len(data) + 2, instruction]) + data
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])
    frame = (
        b"\xff\xff\xfd\x00" + bytes([identity]) + (len(data) + 3).to_bytes(2, "little") + bytes([instruction]) + data
    )
    return frame + crc16(frame).to_bytes(2, "little")


@MANY
@example(1, 0x8A, b"\x00\x00\x00\x80\x00\x00")  # a fast read of 32 KiB
@given(
    st.sampled_from([1, 6, 7, 0xFE]),
    st.sampled_from([1, 2, 3, 4, 5, 6, 8, 0x10, 0x82, 0x83, 0x8A, 0x92, 0x93, 0x9A, 0x77]),
    st.binary(max_size=20),
)
def test_servos_survive_any_parameters(servos: Any, identity: int, instruction: int, data: bytes) -> None:
    buffer = bytearray(framed(servos, identity, instruction, data))
    for frame in servos.frames(buffer):
        for response in servos._answered(frame):
            assert isinstance(response, bytes)
    servos.refresh()
    servos.apply()
    servos.power_cycle()


MOTORS: list[tuple[type[CanMotors], Any]] = [
    (DamiaoMotors, DAMIAO_RANGE),
    (RobStrideMotors, RANGES["RobStride RS03"]),
]


@pytest.mark.parametrize(("kind", "full"), MOTORS)
def test_can_motors_survive_any_frame(kind: type[CanMotors], full: Any) -> None:
    with can.Bus(interface="virtual", channel=f"fuzz-{kind.__name__}") as host:
        bus = can.Bus(interface="virtual", channel=f"fuzz-{kind.__name__}")
        with kind(EmulatedJoints(SO101), bus, range(1, 7), [full] * 6) as motors:

            @settings(max_examples=300, deadline=None)
            @given(st.integers(0, 2**29 - 1), st.booleans(), st.binary(max_size=8))
            def send(identity: int, extended: bool, data: bytes) -> None:
                known = [0x7FF, *range(8)] if not extended else [k << 24 | 0xFD00 | identity % 8 for k in range(32)]
                for one in (known[identity % len(known)], identity if extended else identity & 0x7FF):
                    host.send(can.Message(arbitration_id=one, is_extended_id=extended, data=data))

            send()
            while host.recv(0.2) is not None:
                pass
            assert motors._thread.is_alive()
