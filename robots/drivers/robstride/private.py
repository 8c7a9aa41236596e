"""RobStride's private protocol, in which the motors are delivered.

Frames have extended ids, as in RobStride's product manuals (https://github.com/RobStride/Product_Information, RS02,
chapter 4)::

    id        communication type 5 | data area 16 | target 8 bits
    type 1    MIT command: torque in the data area; q, dq, kp, kd in 16 bits each, big-endian
    type 2    feedback: data area = mode 2 | faults 6 | motor id 8 bits, target = host; q, dq, t, temperature x 10
    type 3    enable; 4 stop (byte 0 = 1: clear the fault too); 6 set zero (byte 0 = 1)
    type 17   read a parameter; 18 write one: index in bytes 0-1, value in bytes 4-7, little-endian
    type 21   faults in 32 bits, warnings in 32 bits, little-endian

The temperature is that of the thermistor on the winding, in 0.1 °C.
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
from waldo.robots.drivers.mit import Range, Setpoint, from_count, to_count
from waldo.robots.drivers.robstride.models import FAULTS, FEEDBACK_FAULTS, WARNING, fault_text
from waldo.robots.drivers.robstride.options import RobStrideOptions
from waldo.typing import Array

COMMAND, FEEDBACK, ENABLE, STOP, SET_ZERO, READ, WRITE, FAULT, REPORT = 1, 2, 3, 4, 6, 17, 18, 21, 24
"""Communication types; 24 is feedback that a motor sends periodically."""
RUN_MODE, VBUS, CAN_TIMEOUT = 0x7005, 0x701C, 0x7028
"""Parameter indices: control mode (0 is MIT), supply voltage [V], CAN timeout [50 µs]."""
LOW_MARKS = (0x7006, 0x700A, 0x700B, 0x7010, 0x7011, 0x7014, 0x7016)
HIGH_MARKS = (0x7017, 0x7018, 0x701A, 0x701B, 0x701E, 0x701F, 0x7020)
"""Parameters whose replies are marks: one for each digit of its number, the lower digit first."""
ATTEMPTS = 5
"""Number of times that a parameter is read before the motor counts as not responding."""
VOLTAGE_PERIOD_CYCLES = 60
"""Number of cycles between two readings of a motor's supply voltage."""


def frame_id(kind: int, area: int, target: int) -> int:
    """Return the 29-bit id of a frame from its communication type, data area and target."""
    return kind << 24 | (area & 0xFFFF) << 8 | target & 0xFF


def pack_command(setpoint: Setpoint, full: Range) -> tuple[int, bytes]:
    """Return the data area (the torque) and the 8 bytes of a MIT command."""
    counts = (
        to_count(setpoint.position_rad, -full.position_rad, full.position_rad, 16),
        to_count(setpoint.velocity_rad_s, -full.velocity_rad_s, full.velocity_rad_s, 16),
        to_count(setpoint.kp, 0, full.kp, 16),
        to_count(setpoint.kd, 0, full.kd, 16),
    )
    return to_count(setpoint.torque_nm, -full.torque_nm, full.torque_nm, 16), struct.pack(">4H", *counts)


def unpack_command(area: int, data: bytes, full: Range) -> Setpoint:
    """Return the setpoint in the data area and 8 bytes of a MIT command."""
    q, dq, kp, kd = struct.unpack(">4H", data)
    return Setpoint(
        position_rad=from_count(q, -full.position_rad, full.position_rad, 16),
        velocity_rad_s=from_count(dq, -full.velocity_rad_s, full.velocity_rad_s, 16),
        kp=from_count(kp, 0, full.kp, 16),
        kd=from_count(kd, 0, full.kd, 16),
        torque_nm=from_count(area, -full.torque_nm, full.torque_nm, 16),
    )


def unpack_feedback(area: int, data: bytes, full: Range) -> Feedback:
    """Return the reading in the data area and 8 bytes of a feedback frame."""
    q, dq, t, tenths = struct.unpack(">HHHh", data)
    return Feedback(
        position_rad=from_count(q, -full.position_rad, full.position_rad, 16),
        velocity_rad_s=from_count(dq, -full.velocity_rad_s, full.velocity_rad_s, 16),
        torque_nm=from_count(t, -full.torque_nm, full.torque_nm, 16),
        winding_c=tenths / 10,
        enabled=area >> 14 == 2,
        fault=fault_text(area >> 8 & 0x3F, FEEDBACK_FAULTS),
    )


class RobStrideProtocol:
    """RobStride's frames, as a `MotorProtocol`."""

    marks = len(LOW_MARKS) * len(HIGH_MARKS)

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
        self._host = options.host
        self._can_timeout = struct.pack("<I", round(options.can_timeout_s * 20_000))
        self._timeout_s = options.motor_timeout_s
        self._motor_of = {can_id: motor for motor, can_id in enumerate(ids)}
        self._faults, self._warnings = [""] * len(ids), [""] * len(ids)
        self._voltages = np.full(len(ids), np.nan)
        self._queries = [0] * len(ids)
        self._low: list[int | None] = [None] * len(ids)
        """Lower digit of the mark that is arriving."""

    def identify(self) -> None:
        """Check that every motor responds and is in MIT mode (run mode 0), and read its supply voltage.

        Raises:
            HardwareError: If a motor does not respond or is in another run mode.
        """
        for motor, can_id in enumerate(self._ids):
            data = self.read_parameter(motor, RUN_MODE)
            if data is None:
                raise HardwareError(
                    f"no response from {self._names[motor]} (id 0x{can_id:02X}) on {self._link.name}; "
                    "check power, wiring, bit rate and ids"
                )
            if data[0] != 0:
                raise HardwareError(
                    f"{self._names[motor]} (id 0x{can_id:02X}) is in run mode {data[0]}, expected 0 (MIT); stop "
                    "it and set parameter 0x7005 to 0, or power-cycle it"
                )
            voltage = self.read_parameter(motor, VBUS, confirm=False)
            self._voltages[motor] = np.nan if voltage is None else struct.unpack("<f", voltage)[0]

    def read_parameter(self, motor: int, index: int, *, confirm: bool = True) -> bytes | None:
        """Return the 4 bytes of a parameter, read until two readings in succession agree if `confirm` is set.

        Returns:
            The bytes; None if the motor does not respond, or no two readings agree.
        """
        before: bytes | None = None
        for _ in range(ATTEMPTS):
            self._send(READ, self._host, motor, struct.pack("<HHI", index, 0, 0))
            data = self._await_parameter(motor, index)
            if data is not None and (data == before or not confirm):
                return data
            before = data
        return None

    def _await_parameter(self, motor: int, index: int) -> bytes | None:
        deadline = time.monotonic() + self._timeout_s
        while (message := self._link.receive(deadline - time.monotonic())) is not None:
            data = bytes(message.data)
            kind, area = message.arbitration_id >> 24, message.arbitration_id >> 8 & 0xFFFF
            if message.is_extended_id and kind == READ and area == self._ids[motor] and len(data) == 8:
                if struct.unpack_from("<H", data)[0] == index:
                    return data[4:]
        return None

    def _send(self, kind: int, area: int, motor: int, data: bytes) -> None:
        self._link.send(frame_id(kind, area, self._ids[motor]), data, extended=True)

    def query(self, motor: int) -> None:
        """Write the CAN timeout, to which the motor responds with its feedback: the protocol has no query frame."""
        self._send(WRITE, self._host, motor, struct.pack("<HH", CAN_TIMEOUT, 0) + self._can_timeout)
        self._queries[motor] += 1
        if self._queries[motor] % VOLTAGE_PERIOD_CYCLES == 0:
            self._send(READ, self._host, motor, struct.pack("<HHI", VBUS, 0, 0))

    def mark(self, motor: int, number: int) -> None:
        """Read two parameters."""
        high, low = divmod(number, len(LOW_MARKS))
        for index in (LOW_MARKS[low], HIGH_MARKS[high]):
            self._send(READ, self._host, motor, struct.pack("<HHI", index, 0, 0))

    def mark_of(self, message: Any) -> tuple[int, int] | None:
        """Return the motor and number if a frame is the value of a parameter that completes a mark."""
        data = bytes(message.data)
        kind, area = message.arbitration_id >> 24, message.arbitration_id >> 8 & 0xFFFF
        motor = self._motor_of.get(area & 0xFF)
        if not message.is_extended_id or kind != READ or motor is None or len(data) != 8:
            return None
        index = struct.unpack_from("<H", data)[0]
        if index in LOW_MARKS:
            self._low[motor] = LOW_MARKS.index(index)
        if index not in HIGH_MARKS or (low := self._low[motor]) is None:
            return None
        self._low[motor] = None
        return motor, HIGH_MARKS.index(index) * len(LOW_MARKS) + low

    def enable(self, motor: int) -> None:
        """Switch the power stage on."""
        self._send(ENABLE, self._host, motor, bytes(8))

    def release(self, motor: int) -> None:
        """Switch the power stage off."""
        self._send(STOP, self._host, motor, bytes(8))

    def clear(self, motor: int) -> None:
        """Switch the power stage off and clear the faults."""
        self._send(STOP, self._host, motor, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        self._faults[motor] = ""

    def set_zero(self, motor: int) -> None:
        """Make the present angle the motor's zero."""
        self._send(SET_ZERO, self._host, motor, bytes([1, 0, 0, 0, 0, 0, 0, 0]))

    def command(self, motor: int, setpoint: Setpoint) -> Setpoint:
        """Send a MIT command; return the setpoint as rounded by the frame."""
        area, data = pack_command(setpoint, self.ranges[motor])
        self._send(COMMAND, area, motor, data)
        return unpack_command(area, data, self.ranges[motor])

    def parse(self, message: Any) -> tuple[int, Feedback] | None:
        """Return the motor and reading of a feedback frame; store faults, warnings and voltages of other frames."""
        data = bytes(message.data)
        kind, area = message.arbitration_id >> 24, message.arbitration_id >> 8 & 0xFFFF
        motor = self._motor_of.get(area & 0xFF)
        if not message.is_extended_id or motor is None or len(data) != 8:
            return None
        if kind == FAULT:
            faults, warnings = struct.unpack("<II", data)
            self._faults[motor] = fault_text(faults, FAULTS)
            self._warnings[motor] = WARNING if warnings & 1 else ""
        elif kind == READ and struct.unpack_from("<H", data)[0] == VBUS:
            self._voltages[motor] = struct.unpack_from("<f", data, 4)[0]
        elif kind in (FEEDBACK, REPORT):
            return motor, self._complete(motor, unpack_feedback(area, data, self.ranges[motor]))
        return None

    def _complete(self, motor: int, feedback: Feedback) -> Feedback:
        """Add the faults and warnings of earlier fault frames; a motor that is enabled has no fault."""
        if feedback.enabled:
            self._faults[motor] = ""
        texts = dict.fromkeys(filter(None, (feedback.fault, self._faults[motor], self._warnings[motor])))
        return dataclasses.replace(feedback, fault=", ".join(texts))

    def voltages(self) -> Array:
        """Return the supply voltages, shape (motors,) [V]."""
        return self._voltages.copy()
