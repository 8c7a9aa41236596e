"""Emulated Damiao motors.

Sources: "DM-J43xx-2EC reduction motor manual" and https://gitee.com/kit-miao/motor-control-routine. Frames have
standard ids: the motor's id for MIT mode, plus 0x100 for position-velocity mode, 0x200 for velocity mode and 0x300 for
force-position mode (selected by register 10); 7FF for registers. Values are little-endian, except those of MIT mode.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from waldo.robots.drivers.mit import Range
from waldo.sim.emulation.can_bus import CanMotors, from_count, to_count
from waldo.sim.emulation.drives import Aim, Law, Motion
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.motion_profile import UNLIMITED

REGISTERS = 0x7FF
"""Id of register frames."""
READ, WRITE, STORE, REFRESH = 0x33, 0x55, 0xAA, 0xCC
"""Request in a register frame."""
ENABLE, DISABLE, SET_ZERO, CLEAR = 0xFC, 0xFD, 0xFE, 0xFB
"""Last byte of special frames."""
MIT, POSITION_VELOCITY, VELOCITY, FORCE_POSITION = 1, 2, 3, 4
"""Values of CTRL_MODE; the frames of mode n have the motor's id plus 0x100 (n - 1)."""
OVER_VOLTAGE, UNDER_VOLTAGE, OVERHEATED, LOST = 0x8, 0x9, 0xC, 0xD
"""Error codes."""
LEAST = 1e-3
"""Smallest full-scale value: angles, speeds and torques are divided by it."""
UV, KT, OT, ACC, DEC, OV = 0, 1, 2, 4, 5, 29
"""Registers: under-voltage [V], torque constant [N·m/A], temperature limit [°C], acceleration and deceleration
[rad/s²], over-voltage [V]."""
MST_ID, ESC_ID, TIMEOUT, CTRL_MODE, PMAX, VMAX, TMAX = 7, 8, 9, 10, 21, 22, 23
"""Registers: ids of feedback and commands, timeout [50 µs], mode, full-scale position [rad], velocity [rad/s] and
torque [N·m]."""
TIMEOUT_S = 50e-6
"""Unit of the timeout (9) [s]."""

RANGES: Mapping[str, Range] = {
    name: Range(position_rad=12.5, velocity_rad_s=velocity, torque_nm=torque)
    for name, velocity, torque in (
        ("dm3507", 50, 5), ("dm4310", 30, 10), ("dm4340", 8, 28), ("dm6006", 45, 20), ("dm8006", 45, 40),
        ("dm8009", 45, 54), ("dm10010l", 25, 200), ("dm10010", 20, 200),
    )
}  # fmt: skip
"""Motor -> ranges of its frames when it is delivered, from Damiao's "Limit_Param" table."""


class Register(NamedTuple):
    """A register with its factory value."""

    value: float
    writable: bool = True
    is_integer: bool = False
    lower: float = -math.inf
    upper: float = math.inf
    """Smallest and largest value that is accepted."""


def factory_registers(can_id: int, full: Range, torque_constant: float, resistance: float) -> dict[int, Register]:
    """Return the registers of a motor: number -> register. Those that depend on neither are typical of a DM-J4310."""

    def whole(value: int, upper: int) -> Register:
        return Register(value, is_integer=True, lower=0, upper=upper)

    def fixed(value: float, *, is_integer: bool = False) -> Register:
        return Register(value, writable=False, is_integer=is_integer)

    return {
        UV: Register(15.0, lower=10), KT: Register(torque_constant, lower=0), OT: Register(120.0, lower=80, upper=200),
        3: Register(0.98, lower=0, upper=1), ACC: Register(10.0, lower=0), DEC: Register(-10.0, upper=0),
        6: Register(1000.0, lower=0), MST_ID: whole(0x10 + can_id, 0x7FF), ESC_ID: whole(can_id, 0x7FF),
        TIMEOUT: whole(0, 2**32 - 1), CTRL_MODE: Register(MIT, is_integer=True, lower=1, upper=4),
        11: fixed(1e-4), 12: fixed(1.8e-5), 13: fixed(0, is_integer=True), 14: fixed(5017, is_integer=True),
        15: fixed(1, is_integer=True), 16: fixed(14, is_integer=True), 17: fixed(resistance), 18: fixed(3.6e-4),
        19: fixed(0.0045), 20: fixed(10.0), PMAX: Register(full.position_rad, lower=LEAST),
        VMAX: Register(full.velocity_rad_s, lower=LEAST), TMAX: Register(full.torque_nm, lower=LEAST),
        24: Register(1000.0, lower=100, upper=10_000), 25: Register(3.72e-4, lower=0), 26: Register(0.002, lower=0),
        27: Register(50.0, lower=0), 28: Register(1.0, lower=0), OV: Register(32.0), 30: Register(1.0, upper=1),
        31: Register(4.0, lower=1, upper=30), 32: Register(30.0, upper=500), 33: Register(1000.0), 34: Register(50.0),
        35: whole(4, 4), 36: fixed(1, is_integer=True), 50: fixed(0.0), 51: fixed(0.0), 52: fixed(1.0), 53: fixed(0.0),
        54: fixed(0.0), 55: fixed(1.0), 56: fixed(0.0), 59: fixed(10.26), 60: fixed(24.0), 61: fixed(25.0),
        62: fixed(25.0), 63: fixed(0.0), 64: fixed(0.0), 65: fixed(0.0), 80: fixed(0.0), 81: fixed(0.0),
    }  # fmt: skip


class DamiaoMotors(CanMotors):
    """Damiao motors; motor i responds with the id in its register 7, `0x10 + ids[i]` at first."""

    too_hot: ClassVar[int] = OVERHEATED
    nominal_v: ClassVar[float] = 24.0

    def __init__(self, joints: Joints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Attach motors to an open bus; arguments as for `CanMotors`."""
        super().__init__(joints, bus, ids, ranges)
        self._tables = [
            factory_registers(can_id, ranges[i], float(joints.torque_constant[i]), float(joints.resistance[i]))
            for i, can_id in enumerate(ids)
        ]
        self.registers = [{number: one.value for number, one in table.items()} for table in self._tables]
        """Registers of each motor: number -> value; writable."""
        self._stored = [dict(one) for one in self.registers]
        self._goals = [Law()] * len(ids)
        """Position, velocity and torque limit that the last frame of the other modes commanded."""

    def hot_limit(self, motor: int) -> float:
        """Return the winding temperature at which a motor disables itself, register 2 [°C]."""
        return float(self.registers[motor][OT])

    def power_cycle(self) -> None:
        """Switch the power off and on: registers that were not stored are reset and the torque is disabled."""
        with self.joints.lock:
            for motor, stored in enumerate(self._stored):
                self.registers[motor] = dict(stored)
                self.ids[motor] = int(stored[ESC_ID])
                self.fault[motor] = 0
                self.switch(motor, False)

    def answer(self, message: Any) -> None:
        """Respond to a register frame (id 7FF), a special frame (FF x 7) or a command."""
        data, identity = bytes(message.data), message.arbitration_id
        mode = 0 if identity == REGISTERS else identity // 0x100 + 1
        target = data[0] | data[1] << 8 if identity == REGISTERS else identity % 0x100
        if message.is_extended_id or target not in self.ids:
            return
        motor = self.ids.index(target)
        if motor in self.silent:
            return
        self.quiet_s[motor] = 0.0
        if identity == REGISTERS:
            self._register(motor, data)
        elif data[:7] == b"\xff" * 7 and data[7] >= CLEAR:
            self._special(motor, data[7])
        elif mode == self.registers[motor][CTRL_MODE]:
            if self.enabled[motor]:
                self._execute(motor, mode, data)
            self._send_feedback(motor)

    def _special(self, motor: int, command: int) -> None:
        """Execute FB clear error, FC enable, FD disable or FE set zero."""
        if command == CLEAR:
            self.fault[motor] = 0
        elif command == SET_ZERO:
            self.set_zero(motor)
        elif command in (ENABLE, DISABLE):
            self._goals[motor] = Law(position=float(self.joints.position[motor]))
            self.switch(motor, command == ENABLE)
        self._send_feedback(motor)

    def _execute(self, motor: int, mode: int, data: bytes) -> None:
        """Execute the frame of a mode."""
        zero = float(self.zeros[motor])
        if mode == MIT:
            self.command(motor, self._unpack(motor, data))
        elif mode == POSITION_VELOCITY:
            position, velocity = struct.unpack_from("<ff", data)
            self._goals[motor] = Law(position + zero, abs(velocity))
        elif mode == VELOCITY:
            self._goals[motor] = Law(velocity=struct.unpack_from("<f", data)[0])
        elif mode == FORCE_POSITION:
            position, velocity, current = struct.unpack_from("<fHH", data)
            self._goals[motor] = Law(position + zero, velocity / 100, limit=min(current / 10_000, 1.0))
        if mode != MIT:
            self.commands += 1

    def _unpack(self, motor: int, data: bytes) -> Law:
        """Return the law of an MIT frame."""
        q, dq = data[0] << 8 | data[1], data[2] << 4 | data[3] >> 4
        kp, kd, t = (data[3] & 0xF) << 8 | data[4], data[5] << 4 | data[6] >> 4, (data[6] & 0xF) << 8 | data[7]
        position, velocity, torque = (self.registers[motor][number] for number in (PMAX, VMAX, TMAX))
        return Law(
            from_count(q, -position, position, 16),
            from_count(dq, -velocity, velocity, 12),
            from_count(kp, 0, 500, 12),
            from_count(kd, 0, 5, 12),
            from_count(t, -torque, torque, 12),
        )

    def aim(self, joint: int) -> Aim:
        """Return the goal of the mode, with the acceleration of register 4."""
        mode, goal = self.registers[joint][CTRL_MODE], self._goals[joint]
        acceleration = self.registers[joint][ACC] or UNLIMITED
        if not self.enabled[joint] or mode == MIT:
            return Aim(Motion.FREE)
        if mode == VELOCITY:
            return Aim(Motion.TURN, 0.0, goal.velocity, acceleration)
        return Aim(Motion.APPROACH, goal.position, goal.velocity, acceleration)

    def law(self, joint: int) -> Law:
        """Return the control law of the mode."""
        if not self.enabled[joint] or self.registers[joint][CTRL_MODE] == MIT:
            return self.impedance(joint)
        return self.follow(joint, self._goals[joint].limit)

    def protect(self, seconds: float) -> None:
        """Disable motors that are too hot, have a wrong supply voltage, or receive no frames (9)."""
        super().protect(seconds)
        for motor, registers in enumerate(self.registers):
            if self.supply_v < registers[UV]:
                self.trip(motor, UNDER_VOLTAGE)
            elif self.supply_v > registers[OV]:
                self.trip(motor, OVER_VOLTAGE)
            timeout_s = registers[TIMEOUT] * TIMEOUT_S
            if timeout_s and self.enabled[motor] and self.quiet_s[motor] > timeout_s:
                self.trip(motor, LOST)

    def _register(self, motor: int, data: bytes) -> None:
        """Read, write or store registers, or refresh the feedback; a motor does not respond to an unknown register."""
        request, number = data[2], data[3]
        if request == REFRESH:
            self._send_feedback(motor)
        elif request == STORE and not self.enabled[motor]:
            self._stored[motor] = dict(self.registers[motor])
            self._reply(motor, data)
        elif request in (READ, WRITE) and number in self._tables[motor]:
            one = self._tables[motor][number]
            form = "<I" if one.is_integer else "<f"
            feedback_id, own = int(self.registers[motor][MST_ID]), data[:4]
            if request == WRITE:
                self._write(motor, number, struct.unpack_from(form, data, 4)[0])
            value = self._live(motor).get(number, self.registers[motor][number])
            packed = struct.pack(form, int(value) if one.is_integer else value)
            self.send(feedback_id, own + packed, extended=False)

    def _live(self, motor: int) -> dict[int, float]:
        """Return the registers that are measured: supply voltage, temperatures of board and winding, angles."""
        winding_c, angle = float(self.joints.heat[motor, 0]), self.angle(motor)
        return {60: self.supply_v, 61: float(self.driver_c[motor]), 62: winding_c, 80: angle, 81: angle}

    def _write(self, motor: int, number: int, value: float) -> None:
        """Write a register, unless it is read-only or the value is out of its range."""
        one = self._tables[motor][number]
        if one.writable and one.lower <= value <= one.upper:
            self.registers[motor][number] = value
            if number == ESC_ID:
                self.ids[motor] = int(value)
            elif number == CTRL_MODE:
                self._goals[motor] = Law(position=float(self.joints.position[motor]))

    def _reply(self, motor: int, data: bytes) -> None:
        self.send(int(self.registers[motor][MST_ID]), data[:8], extended=False)

    def _send_feedback(self, motor: int) -> None:
        position, velocity, torque = (self.registers[motor][number] for number in (PMAX, VMAX, TMAX))
        q = to_count(self.angle(motor), position, 16)
        dq = to_count(float(self.joints.velocity[motor]), velocity, 12)
        t = to_count(float(self.joints.effort[motor]), torque, 12)
        state = self.fault[motor] or int(self.enabled[motor])
        temperatures = [round(self.driver_c[motor]), round(float(self.joints.heat[motor, 0]))]
        head = [state << 4 | self.ids[motor] & 0xF, q >> 8, q & 0xFF, dq >> 4, (dq & 0xF) << 4 | t >> 8, t & 0xFF]
        self.send(int(self.registers[motor][MST_ID]), bytes(head + temperatures), extended=False)
