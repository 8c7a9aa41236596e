"""Emulated RobStride motors in their private protocol, or in the MIT protocol after they were switched to it.

Source: product manual of the RS02, "Driver protocol and instructions" (https://github.com/RobStride/Product_Information).
Frames have extended ids: communication type, data area, target; `waldo.robots.drivers.robstride.private` lists them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from waldo.robots.drivers.mit import Range
from waldo.sim.emulation.can_bus import CanMotors, from_count, to_count
from waldo.sim.emulation.drives import Aim, Law, Motion
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.motion_profile import UNLIMITED

GET_ID, COMMAND, FEEDBACK, ENABLE, STOP, SET_ZERO, SET_ID = 0, 1, 2, 3, 4, 6, 7
READ, WRITE, FAULTS, SAVE, SET_RATE, REPORT, SET_PROTOCOL = 17, 18, 21, 22, 23, 24, 25
"""Communication types."""
MIT, PROFILE_POSITION, VELOCITY, CURRENT, CYCLIC_POSITION = 0, 1, 2, 3, 5
"""Run modes (0x7005)."""
UNDER_VOLTAGE, OVERHEATED = 0b000001, 0b000100
"""Fault bits in the id of a feedback frame."""
FAULT_FRAME = {UNDER_VOLTAGE: 1 << 2, OVERHEATED: 1 << 0}
"""Fault bit of a feedback frame -> bit of a fault frame."""
LOWEST_V, HIGHEST_V = 12.0, 60.0
"""Supply voltages outside of which a motor stops [V]."""
OVER_VOLTAGE_BIT = 1 << 3
"""Bit of a fault frame; the feedback has none for it."""
TIMEOUT_S = 1 / 20_000
"""Unit of canTimeout (0x7028) [s]."""
REPORT_S, REPORT_STEP_S = 0.010, 0.005
"""Interval of reports with EPScan_time (0x7026) = 1, and what each further unit adds [s]."""
MIT_PROTOCOL = 2
"""Value of SET_PROTOCOL: 0 private, 1 CANopen, 2 MIT; a real motor changes after the next power-on."""
MIT_SPECIAL = {0xFC, 0xFD, 0xFE, 0xFB}
"""Last byte of special frames of the MIT protocol: enable or run mode, disable, set zero, clear or read faults."""
BROADCAST = 0xFE
"""Target of the frame that contains a motor's id."""


class Parameter(NamedTuple):
    """A parameter: format in the frame, value after power-on, whether it can be written."""

    form: str
    value: float = 0.0
    writable: bool = True


PARAMETERS: Mapping[int, Parameter] = {
    0x7005: Parameter("<B3x", MIT), 0x7006: Parameter("<f"), 0x700A: Parameter("<f"), 0x700B: Parameter("<f", 17.0),
    0x7010: Parameter("<f", 0.17), 0x7011: Parameter("<f", 0.012), 0x7014: Parameter("<f", 0.1),
    0x7016: Parameter("<f"), 0x7017: Parameter("<f", 10.0), 0x7018: Parameter("<f", 23.0),
    0x7019: Parameter("<f", writable=False), 0x701A: Parameter("<f", writable=False),
    0x701B: Parameter("<f", writable=False), 0x701C: Parameter("<f", writable=False), 0x701E: Parameter("<f", 40.0),
    0x701F: Parameter("<f", 6.0), 0x7020: Parameter("<f", 0.02), 0x7021: Parameter("<f", 0.1),
    0x7022: Parameter("<f", 20.0), 0x7024: Parameter("<f", 10.0), 0x7025: Parameter("<f", 10.0),
    0x7026: Parameter("<H2x", 1), 0x7028: Parameter("<I"), 0x7029: Parameter("<B3x"),
}  # fmt: skip
"""Index -> parameter, from the manual's "Read and write a single parameter list"."""


class RobStrideMotors(CanMotors):
    """RobStride motors; `fault` contains the six fault bits of the feedback id."""

    too_hot: ClassVar[int] = OVERHEATED
    limit_c: ClassVar[float] = 145.0
    nominal_v: ClassVar[float] = 48.0

    def __init__(self, joints: Joints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Attach motors to an open bus; arguments as for `CanMotors`."""
        super().__init__(joints, bus, ids, ranges)
        self.parameters = [{index: one.value for index, one in PARAMETERS.items()} for _ in ids]
        """Parameters of each motor: index -> value; writable."""
        for motor, full in enumerate(ranges):
            self.parameters[motor][0x700B] = full.torque_nm
        self.mit = [False] * len(ids)
        """Whether each motor has been switched to the MIT protocol; writable."""
        self._hosts = [0xFD] * len(ids)
        self._reporting = [False] * len(ids)
        self._reported_s = np.zeros(len(ids))

    def answer(self, message: Any) -> None:
        """Respond to a frame for one of the motors."""
        identity = message.arbitration_id
        if not message.is_extended_id and identity in self.ids and self.mit[self.ids.index(identity)]:
            self._answer_mit(self.ids.index(identity), bytes(message.data))
            return
        kind, area, target = identity >> 24, identity >> 8 & 0xFFFF, identity & 0xFF
        if not message.is_extended_id or target not in self.ids:
            return
        motor = self.ids.index(target)
        if motor in self.silent or self.mit[motor]:
            return
        self.quiet_s[motor] = 0.0
        data = bytes(message.data)
        if kind == COMMAND:
            self._execute(motor, area, data)
            self._send_feedback(motor)
            return
        self._hosts[motor] = area & 0xFF
        if kind in (GET_ID, SET_ID, SET_RATE, SET_PROTOCOL):
            if kind == SET_ID:
                self.ids[motor] = area >> 8
            if kind == SET_PROTOCOL:
                self.mit[motor] = data[6] == MIT_PROTOCOL
            self.send(GET_ID << 24 | self.ids[motor] << 8 | BROADCAST, bytes(7) + bytes([motor]), extended=True)
        elif kind == READ:
            self._read(motor, data)
        elif kind in (ENABLE, STOP, SET_ZERO, WRITE, SAVE, REPORT):
            self._change(motor, kind, data)
            self._send_feedback(motor)

    def _change(self, motor: int, kind: int, data: bytes) -> None:
        """Execute an instruction to which a motor responds with its feedback."""
        if kind == ENABLE:
            # A position mode holds the present angle until another one is written.
            self.parameters[motor][0x7016] = self.angle(motor)
            self.switch(motor, True)
        elif kind == STOP:
            if data[0] == 1:
                self.fault[motor] = 0
            self.switch(motor, False)
        elif kind == SET_ZERO and data[0] == 1 and not self._in_mode(motor, PROFILE_POSITION):
            self.set_zero(motor)
            self.parameters[motor][0x7016] = 0.0
        elif kind == WRITE:
            index = data[0] | data[1] << 8
            if index in PARAMETERS and PARAMETERS[index].writable:
                self.parameters[motor][index] = struct.unpack_from(PARAMETERS[index].form, data, 4)[0]
        elif kind == REPORT:
            self._reporting[motor] = data[6] == 1

    def _answer_mit(self, motor: int, data: bytes) -> None:
        """Respond to a frame of the MIT protocol."""
        if motor in self.silent or len(data) != 8:
            return
        self.quiet_s[motor] = 0.0
        if data[:6] == b"\xff" * 6 and data[7] in MIT_SPECIAL:
            self._special_mit(motor, data[6], data[7])
        elif self._in_mode(motor, MIT):
            bits, full = int.from_bytes(data, "big"), self.ranges[motor]
            self.command(
                motor,
                Law(
                    from_count(bits >> 48, -full.position_rad, full.position_rad, 16),
                    from_count(bits >> 36 & 0xFFF, -full.velocity_rad_s, full.velocity_rad_s, 12),
                    from_count(bits >> 24 & 0xFFF, 0, full.kp, 12),
                    from_count(bits >> 12 & 0xFFF, 0, full.kd, 12),
                    from_count(bits & 0xFFF, -full.torque_nm, full.torque_nm, 12),
                ),
            )
        if data[7] == 0xFB and data[6] != 0xFF and data[:6] == b"\xff" * 6:
            bits = FAULT_FRAME.get(self.fault[motor], 0)
            self.send(self._hosts[motor], bytes([self.ids[motor]]) + struct.pack("<I", bits) + bytes(3), extended=False)
        else:
            self._send_mit_feedback(motor)

    def _special_mit(self, motor: int, mode: int, last: int) -> None:
        """Execute a special frame of the MIT protocol."""
        if last == 0xFC and mode == 0xFF:
            self.switch(motor, True)
        elif last == 0xFC:
            self.parameters[motor][0x7005] = {0: MIT, 1: CYCLIC_POSITION, 2: VELOCITY}.get(mode, MIT)
        elif last == 0xFD:
            self.switch(motor, False)
        elif last == 0xFE:
            self.set_zero(motor)
        elif mode == 0xFF:
            self.fault[motor] = 0

    def _send_mit_feedback(self, motor: int) -> None:
        full, joints = self.ranges[motor], self.joints
        bits = (
            self.ids[motor] << 56
            | to_count(self.angle(motor), full.position_rad, 16) << 40
            | to_count(float(joints.velocity[motor]), full.velocity_rad_s, 12) << 28
            | to_count(float(joints.effort[motor]), full.torque_nm, 12) << 16
            | round(float(joints.heat[motor, 0]) * 10)
        )
        self.send(self._hosts[motor], bits.to_bytes(8, "big"), extended=False)

    def _in_mode(self, motor: int, mode: int) -> bool:
        """Return whether a motor runs in a mode."""
        return self.enabled[motor] and self.parameters[motor][0x7005] == mode

    def _execute(self, motor: int, area: int, data: bytes) -> None:
        """Execute an MIT command; the torque is in the data area of the id."""
        if not self._in_mode(motor, MIT):
            return
        q, dq, kp, kd = struct.unpack(">4H", data)
        full = self.ranges[motor]
        self.command(
            motor,
            Law(
                from_count(q, -full.position_rad, full.position_rad, 16),
                from_count(dq, -full.velocity_rad_s, full.velocity_rad_s, 16),
                from_count(kp, 0, full.kp, 16),
                from_count(kd, 0, full.kd, 16),
                from_count(area, -full.torque_nm, full.torque_nm, 16),
            ),
        )

    def _read(self, motor: int, data: bytes) -> None:
        """Return a parameter; bit 16 of the id is set if there is none with this index."""
        index = data[0] | data[1] << 8
        known = PARAMETERS.get(index)
        value = bytes(4) if known is None else struct.pack(known.form, self._value(motor, index))
        area = (known is None) << 8 | self.ids[motor]
        self.send(READ << 24 | area << 8 | self._hosts[motor], data[:2] + bytes(2) + value, extended=True)

    def _value(self, motor: int, index: int) -> float:
        """Return the value of a parameter."""
        joints = self.joints
        live = {
            0x7019: self.angle(motor),
            0x701A: float(joints.effort[motor] / joints.torque_constant[motor]),
            0x701B: float(joints.velocity[motor]),
            0x701C: self.supply_v,
        }
        value = live.get(index, self.parameters[motor][index])
        return value if PARAMETERS[index].form == "<f" else int(value)

    def aim(self, joint: int) -> Aim:
        """Return the goal of the run mode."""
        one, mode = self.parameters[joint], self.parameters[joint][0x7005]
        goal = one[0x7016] + float(self.zeros[joint])
        if not self.enabled[joint] or mode in (MIT, CURRENT):
            return Aim(Motion.FREE)
        if mode == VELOCITY:
            return Aim(Motion.TURN, 0.0, one[0x700A], one[0x7022] or UNLIMITED)
        if mode == PROFILE_POSITION:
            return Aim(Motion.APPROACH, goal, one[0x7024], one[0x7025] or UNLIMITED)
        return Aim(Motion.APPROACH, goal, one[0x7017], UNLIMITED)

    def law(self, joint: int) -> Law:
        """Return the control law of the run mode, within the torque (0x700B) and current limits (0x7018)."""
        one, mode = self.parameters[joint], self.parameters[joint][0x7005]
        limit = min(one[0x700B] / self.ranges[joint].torque_nm, 1.0)
        if not self.enabled[joint] or mode == MIT:
            return self.impedance(joint)._replace(limit=limit)
        constant = float(self.joints.torque_constant[joint])
        if mode == CURRENT:
            return Law(torque=one[0x7006] * constant, limit=limit)
        return self.follow(joint, min(limit, one[0x7018] * constant / self.ranges[joint].torque_nm))

    def protect(self, seconds: float) -> None:
        """Stop motors that are too hot, have a wrong supply voltage or receive no frames; send faults and reports."""
        before = list(self.fault)
        super().protect(seconds)
        for motor, one in enumerate(self.parameters):
            if self.supply_v < LOWEST_V:
                self.trip(motor, UNDER_VOLTAGE)
            if self.enabled[motor] and self.supply_v > HIGHEST_V:
                self.switch(motor, False)
                self.send_faults(motor, OVER_VOLTAGE_BIT, 0)
            timeout_s = one[0x7028] * TIMEOUT_S
            if timeout_s and self.enabled[motor] and self.quiet_s[motor] > timeout_s:
                self.switch(motor, False)
            if self.fault[motor] and not before[motor]:
                self.send_faults(motor, FAULT_FRAME[self.fault[motor]], 0)
            self._report(motor, seconds)

    def _report(self, motor: int, seconds: float) -> None:
        """Send the feedback of a motor that reports by itself, at the interval of 0x7026."""
        self._reported_s[motor] += seconds
        interval_s = REPORT_S + REPORT_STEP_S * (max(self.parameters[motor][0x7026], 1) - 1)
        if self._reporting[motor] and motor not in self.silent and self._reported_s[motor] >= interval_s:
            self._reported_s[motor] = 0.0
            self._send_feedback(motor, REPORT)

    def _send_feedback(self, motor: int, kind: int = FEEDBACK) -> None:
        full, joints = self.ranges[motor], self.joints
        area = (2 if self.enabled[motor] else 0) << 14 | self.fault[motor] << 8 | self.ids[motor]
        data = struct.pack(
            ">HHHh",
            to_count(self.angle(motor), full.position_rad, 16),
            to_count(float(joints.velocity[motor]), full.velocity_rad_s, 16),
            to_count(float(joints.effort[motor]), full.torque_nm, 16),
            round(float(joints.heat[motor, 0]) * 10),
        )
        self.send(kind << 24 | area << 8 | self._hosts[motor], data, extended=True)

    def send_faults(self, motor: int, faults: int, warnings: int) -> None:
        """Send a fault frame (type 21)."""
        area = self.ids[motor]
        self.send(FAULTS << 24 | area << 8 | self._hosts[motor], struct.pack("<II", faults, warnings), extended=True)
