"""RobStride's MIT protocol, to which a motor can be switched.

Frames have standard ids and 8 bytes::

    command   id = motor id          q 16 | dq 12 | kp 12 | kd 12 | t 12 bits, most significant bit first
    special   id = motor id          FF x 7, FC enable, FD disable, FE set zero, FB clear the fault
    run mode  id = motor id          FF x 6, mode, FC; mode 0 is MIT
    faults    id = motor id          FF x 6, 0, FB: read the faults
    feedback  id = id of the host    motor id 8 | q 16 | dq 12 | t 12 | temperature x 10 16 bits
    faults    id = id of the host    motor id 8 | faults 32, little-endian | 0 24 bits

Source: RobStride's RS00 manual of 2026-01-12, "MIT protocol"; the frames of the other models differ in the full-scale
values only. A motor responds to every frame. The feedback contains neither the supply voltage nor whether the motor is
enabled, so the faults are read now and then.
"""

from __future__ import annotations

import dataclasses
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from waldo.errors import HardwareError
from waldo.robots.drivers.can_link import CanLink
from waldo.robots.drivers.can_robot import Feedback
from waldo.robots.drivers.mit import Range, Setpoint, from_count, pack_command, unpack_command
from waldo.robots.drivers.robstride.models import FAULTS, fault_text
from waldo.robots.drivers.robstride.options import RobStrideOptions
from waldo.typing import Array

ENABLE, DISABLE, SET_ZERO, CLEAR = 0xFC, 0xFD, 0xFE, 0xFB
"""Last byte of special frames."""
MIT = 0
"""Run mode in which the motor executes commands of this protocol."""
ATTEMPTS = 5
"""Number of times that a motor is asked before it counts as not responding."""
FAULT_PERIOD_CYCLES = 10
"""Number of cycles between two readings of a motor's faults."""


def unpack_feedback(data: bytes, full: Range) -> Feedback:
    """Return the reading in the 8 bytes of a feedback frame."""
    bits = int.from_bytes(data, "big")
    return Feedback(
        position_rad=from_count(bits >> 40 & 0xFFFF, -full.position_rad, full.position_rad, 16),
        velocity_rad_s=from_count(bits >> 28 & 0xFFF, -full.velocity_rad_s, full.velocity_rad_s, 12),
        torque_nm=from_count(bits >> 16 & 0xFFF, -full.torque_nm, full.torque_nm, 12),
        winding_c=(bits & 0xFFFF) / 10,
    )


class MitProtocol:
    """RobStride's MIT frames, as a `MotorProtocol`."""

    marks = 0

    def __init__(
        self,
        link: CanLink,
        ids: Sequence[int],
        names: Sequence[str],
        ranges: Sequence[Range],
        options: RobStrideOptions,
    ) -> None:
        """Use an open bus; `ids`, `names` and `ranges` contain one value per motor."""
        self._link, self._ids, self._names, self.ranges = link, tuple(ids), tuple(names), tuple(ranges)
        self._host, self._timeout_s = options.host, options.motor_timeout_s
        self._motor_of = {can_id: motor for motor, can_id in enumerate(ids)}
        self._faults = [""] * len(ids)
        self._enabled = [False] * len(ids)
        self._last: list[bytes | None] = [None] * len(ids)
        """The last command of each motor, which is repeated to ask for its feedback."""
        self._queries = [0] * len(ids)
        self.foreign = 0
        """Number of frames with the host's id that fit no motor."""

    def identify(self) -> None:
        """Check that every motor responds in this protocol.

        Raises:
            HardwareError: If a motor does not respond.
        """
        for motor, can_id in enumerate(self._ids):
            for _ in range(ATTEMPTS):
                self._ask_for_faults(motor)
                if self._responds(motor):
                    break
            else:
                raise HardwareError(
                    f"no response from {self._names[motor]} (id 0x{can_id:02X}) on {self._link.name} in the MIT "
                    "protocol; check power, wiring, bit rate and ids, and the protocol: motors are delivered in the "
                    "private one (protocol=private)"
                )

    def _responds(self, motor: int) -> bool:
        deadline = time.monotonic() + self._timeout_s
        while (message := self._link.receive(deadline - time.monotonic())) is not None:
            self.parse(message)
            if not message.is_extended_id and message.arbitration_id == self._host:
                if len(message.data) == 8 and message.data[0] == self._ids[motor]:
                    return True
        return False

    def _ask_for_faults(self, motor: int) -> None:
        self._send(motor, bytes([0xFF] * 6 + [0, CLEAR]))

    def _send(self, motor: int, data: bytes) -> None:
        self._link.send(self._ids[motor], data, extended=False)

    def query(self, motor: int) -> None:
        """Ask for feedback without moving: repeat the last command, or select the run mode that the motor has."""
        last = self._last[motor]
        self._send(motor, last if last is not None else bytes([0xFF] * 6 + [MIT, ENABLE]))
        self._queries[motor] += 1
        if self._queries[motor] % FAULT_PERIOD_CYCLES == 0:
            self._ask_for_faults(motor)

    def mark(self, motor: int, number: int) -> None:
        """Raise an error: no reply of this protocol contains a number."""
        raise NotImplementedError

    def mark_of(self, message: Any) -> None:
        """Return None: no frame is a mark."""
        del message

    def enable(self, motor: int) -> None:
        """Switch the power stage on."""
        self._send(motor, bytes([0xFF] * 7 + [ENABLE]))
        self._enabled[motor] = True

    def release(self, motor: int) -> None:
        """Switch the power stage off."""
        self._last[motor] = None
        self._enabled[motor] = False
        self._send(motor, bytes([0xFF] * 7 + [DISABLE]))

    def clear(self, motor: int) -> None:
        """Clear the faults."""
        self._send(motor, bytes([0xFF] * 7 + [CLEAR]))
        self._faults[motor] = ""

    def set_zero(self, motor: int) -> None:
        """Make the present angle the motor's zero."""
        self._send(motor, bytes([0xFF] * 7 + [SET_ZERO]))

    def command(self, motor: int, setpoint: Setpoint) -> Setpoint:
        """Send a MIT command; return the setpoint as rounded by the frame."""
        data = pack_command(setpoint, self.ranges[motor])
        self._last[motor] = data
        self._send(motor, data)
        return unpack_command(data, self.ranges[motor])

    def parse(self, message: Any) -> tuple[int, Feedback] | None:
        """Return the motor and reading of a feedback frame; store the faults of a fault frame."""
        data = bytes(message.data)
        if message.is_extended_id or message.arbitration_id != self._host:
            return None
        motor = self._motor_of.get(data[0]) if len(data) == 8 else None
        if motor is None:
            self.foreign += 1
            return None
        if data[5:] == bytes(3):
            # No reading: the winding would be at 0 °C and the torque at the negative full scale.
            self._faults[motor] = fault_text(struct.unpack_from("<I", data, 1)[0], FAULTS)
            return None
        feedback = unpack_feedback(data, self.ranges[motor])
        enabled = self._enabled[motor] and not self._faults[motor]
        return motor, dataclasses.replace(feedback, fault=self._faults[motor], enabled=enabled)

    def voltages(self) -> Array:
        """Return NaN, shape (motors,): the protocol does not contain the supply voltage."""
        return np.full(len(self._ids), np.nan)
