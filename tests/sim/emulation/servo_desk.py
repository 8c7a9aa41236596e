"""Emulated servos on a table without a clock: a test sends frames and lets time pass."""

from __future__ import annotations

from typing import Any

import serial

from waldo.sim.emulation.arms import make_bare_motors
from waldo.sim.emulation.dynamixel import DynamixelServos, crc16
from waldo.sim.emulation.emulated_joints import EmulatedJoints
from waldo.sim.emulation.feetech import FeetechServos

STEP_S = 0.002


class Desk:
    """Servos that turn without limits, and what a host sends and receives."""

    def __init__(self, vendor: str, *motors: str, **options: Any) -> None:
        robot, model = make_bare_motors(motors)
        self.vendor, self.joints = vendor, EmulatedJoints(robot, model=model)
        kind = FeetechServos if vendor == "feetech" else DynamixelServos
        self.servos: Any = kind(self.joints, models=motors, calibrated=False, **options)
        self.first = self.servos.servos[0]
        # Servos listen at their own baud rate only.
        self._port = serial.Serial(self.servos.port, 1_000_000)

    def close(self) -> None:
        """Remove the servos."""
        self._port.close()
        self.servos.unplug()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.joints.advance(STEP_S)
            self.servos.advance(STEP_S)
        self.servos.refresh()

    def send(self, servo: int, instruction: int, *data: int) -> list[bytes]:
        """Send a frame and return the responses."""
        payload = bytes(data)
        if self.vendor == "feetech":
            body = bytes([servo, len(payload) + 2, instruction]) + payload
            frame = b"\xff\xff" + body + bytes([~sum(body) & 0xFF])
        else:
            head = b"\xff\xff\xfd\x00" + bytes([servo]) + (len(payload) + 3).to_bytes(2, "little")
            frame = head + bytes([instruction]) + payload
            frame += crc16(frame).to_bytes(2, "little")
        (found,) = self.servos.frames(bytearray(frame))
        self.servos.refresh()
        responses = [part for part in self.servos._answered(found) if part]
        self.servos.apply()
        return responses

    def write(self, servo: int, address: int, size: int, value: int) -> int:
        """Write a register; return the error byte of the response."""
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        where = (address,) if self.vendor == "feetech" else (address & 0xFF, address >> 8)
        (response,) = self.send(servo, 3, *where, *data)
        return response[4] if self.vendor == "feetech" else response[8]
