"""Emulated CAN motors: they answer the manufacturer's frames on a python-can bus and move the joints of a MuJoCo model.

For tests, and for trying a driver without the robot. The emulation is written from the manufacturers' manuals,
independently of the drivers, so that an error on one side is detected. Faults can be injected: a motor that does not
respond, an error code, a hot winding.

Sources:

* Damiao: "DM-J43xx-2EC reduction motor manual" and https://gitee.com/kit-miao/motor-control-routine.
* RobStride: product manual of the RS02, chapter 4, private protocol (https://github.com/RobStride/Product_Information).
* Bus errors: error classes of linux/can/error.h.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from waldo.robots.drivers.mit import Range
from waldo.sim.emulation.emulated_joints import EmulatedJoints

STEP_S = 0.002
"""Longest wait for a frame between two steps of the joints [s]."""


def to_count(value: float, limit: float, bits: int) -> int:
    """Return a value between -limit and limit as an unsigned integer of `bits` bits."""
    ratio = (min(max(value, -limit), limit) + limit) / (2 * limit)
    return int(ratio * ((1 << bits) - 1) + 0.5)


def from_count(count: int, lower: float, upper: float, bits: int) -> float:
    """Return the value of an unsigned integer of `bits` bits."""
    return lower + (upper - lower) * count / ((1 << bits) - 1)


class CanMotors:
    """Motors on one bus, in their own thread; a context manager. Joint i is the motor with `ids[i]`."""

    limit_c: ClassVar[float] = 120.0
    """Winding temperature at which a motor disables itself [°C]."""

    def __init__(self, joints: EmulatedJoints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Attach motors to an open python-can bus.

        Args:
            joints: Joints that the motors drive.
            bus: Open `can.Bus`; it is closed on exit.
            ids: CAN id of each motor.
            ranges: Ranges of position, velocity and torque that each motor's frames cover.
        """
        self.joints, self.ids, self.ranges = joints, tuple(ids), tuple(ranges)
        motors = len(self.ids)
        self.silent: set[int] = set()
        """Indices of motors that do not respond, as if unplugged."""
        self.enabled = [False] * motors
        self.fault = [0] * motors
        """Error code of each motor, in the manufacturer's numbering."""
        self.driver_c = np.full(motors, 35.0)
        self.commands = 0
        """Number of commands received."""
        self._bus = bus
        self._law = np.zeros((5, motors))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="can motors")

    def __enter__(self) -> Self:
        """Start to respond."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and close the bus."""
        self._ended.set()
        self._thread.join(30)
        self._bus.shutdown()

    def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
        """Send a frame."""
        import can

        self._bus.send(can.Message(arbitration_id=frame_id, data=data, is_extended_id=extended))

    def put_error_frame(self, bits: int) -> None:
        """Make the readers' adapters report a bus error (error class of linux/can/error.h)."""
        import can

        self._bus.send(can.Message(arbitration_id=bits, is_error_frame=True, data=bytes(8)))

    def _work(self) -> None:
        last = time.monotonic()
        while not self._ended.is_set():
            message = self._bus.recv(STEP_S)
            now = time.monotonic()
            self.joints.advance(now - last)
            last = now
            self._protect()
            if message is not None and not message.is_error_frame:
                # A motor ignores frames that it cannot read.
                with contextlib.suppress(IndexError, struct.error):
                    self.answer(message)

    def _protect(self) -> None:
        for motor in np.flatnonzero(self.joints.heat[:, 0] >= self.limit_c):
            if not self.fault[motor]:
                self.fault[motor] = self.too_hot
                self.switch(int(motor), False)

    too_hot: ClassVar[int] = 0
    """Error code of an overheated winding."""

    def switch(self, motor: int, on: bool) -> None:
        """Enable or disable a motor; a motor with an error stays disabled."""
        self.enabled[motor] = on and not self.fault[motor]
        self._apply()

    def command(self, motor: int, law: tuple[float, float, float, float, float]) -> None:
        """Execute a command: position [rad], velocity [rad/s], kp [N·m/rad], kd [N·m·s/rad], torque [N·m]."""
        self._law[:, motor] = law
        self.commands += 1
        self._apply()

    def _apply(self) -> None:
        law = self._law.copy()
        law[2:, [not on for on in self.enabled]] = 0
        self.joints.command(*law)

    def answer(self, message: Any) -> None:
        """Process one frame and send the responses."""
        raise NotImplementedError


class DamiaoMotors(CanMotors):
    """Damiao motors; motor i responds with the id `0x10 + ids[i]`.

    Registers by number, as in the manual: 1 torque constant, 2 temperature limit, 7 master id, 8 CAN id, 9 timeout,
    10 control mode (1 is MIT), 17 resistance, 20 gear ratio, 21 to 23 ranges of position, velocity and torque.
    """

    too_hot: ClassVar[int] = 0xC

    def __init__(self, joints: EmulatedJoints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Attach motors to an open bus; arguments as for `CanMotors`."""
        super().__init__(joints, bus, ids, ranges)
        self.registers = [
            {
                1: float(joints.torque_constant[i]),
                2: self.limit_c,
                7: 0x10 + self.ids[i],
                8: self.ids[i],
                9: 0,
                10: 1,
                17: float(joints.resistance[i]),
                20: 10.0,
                21: ranges[i].position_rad,
                22: ranges[i].velocity_rad_s,
                23: ranges[i].torque_nm,
            }
            for i in range(len(self.ids))
        ]

    def answer(self, message: Any) -> None:
        """Respond to a register frame (id 7FF), a special frame (FF x 7) or a command."""
        data = bytes(message.data)
        target = data[0] | data[1] << 8 if message.arbitration_id == 0x7FF else message.arbitration_id
        if message.is_extended_id or target not in self.ids:
            return
        motor = self.ids.index(target)
        if motor in self.silent:
            return
        if message.arbitration_id == 0x7FF:
            if data[2] == 0xCC:
                self._send_feedback(motor)
            else:
                self._register(motor, data)
            return
        if data[:7] == b"\xff" * 7 and data[7] >= 0xFB:
            self._special(motor, data[7])
        elif self.enabled[motor] and self.registers[motor][10] == 1:
            q, dq = data[0] << 8 | data[1], data[2] << 4 | data[3] >> 4
            kp, kd, t = (data[3] & 0xF) << 8 | data[4], data[5] << 4 | data[6] >> 4, (data[6] & 0xF) << 8 | data[7]
            full = self.ranges[motor]
            self.command(
                motor,
                (
                    from_count(q, -full.position_rad, full.position_rad, 16),
                    from_count(dq, -full.velocity_rad_s, full.velocity_rad_s, 12),
                    from_count(kp, 0, 500, 12),
                    from_count(kd, 0, 5, 12),
                    from_count(t, -full.torque_nm, full.torque_nm, 12),
                ),
            )
        self._send_feedback(motor)

    def _special(self, motor: int, command: int) -> None:
        """Execute FB clear error, FC enable or FD disable."""
        if command == 0xFB:
            self.fault[motor] = 0
        elif command in (0xFC, 0xFD):
            self.switch(motor, command == 0xFC)

    def _register(self, motor: int, data: bytes) -> None:
        """Read (33) or write (55) a register; 7 to 10 are integers, the others floats."""
        rid = data[3]
        form = "<I" if rid in (7, 8, 9, 10) else "<f"
        if data[2] == 0x55:
            self.registers[motor][rid] = struct.unpack_from(form, data, 4)[0]
        value = self.registers[motor].get(rid, 0)
        self.send(0x10 + self.ids[motor], data[:4] + struct.pack(form, value), extended=False)

    def _send_feedback(self, motor: int) -> None:
        full, joints = self.ranges[motor], self.joints
        q = to_count(joints.position[motor], full.position_rad, 16)
        dq = to_count(joints.velocity[motor], full.velocity_rad_s, 12)
        t = to_count(joints.effort[motor], full.torque_nm, 12)
        state = self.fault[motor] or int(self.enabled[motor])
        self.send(
            0x10 + self.ids[motor],
            bytes(
                [
                    state << 4 | self.ids[motor],
                    q >> 8,
                    q & 0xFF,
                    dq >> 4,
                    (dq & 0xF) << 4 | t >> 8,
                    t & 0xFF,
                    round(self.driver_c[motor]),
                    round(joints.heat[motor, 0]),
                ]
            ),
            extended=False,
        )


class RobStrideMotors(CanMotors):
    """RobStride motors in their private protocol; `fault` contains the six fault bits of the feedback id."""

    too_hot: ClassVar[int] = 0b000100
    limit_c: ClassVar[float] = 145.0
    volts: ClassVar[float] = 48.0
    """Supply voltage [V]."""
    run_mode: ClassVar[int] = 0
    """Run mode, parameter 0x7005; 0 is MIT control."""

    def answer(self, message: Any) -> None:
        """Respond to frames of type 1 (command), 3 (enable), 4 (stop), 6 (set zero), 17 and 18 (parameters)."""
        kind, area, target = (
            message.arbitration_id >> 24,
            message.arbitration_id >> 8 & 0xFFFF,
            message.arbitration_id & 0xFF,
        )
        if not message.is_extended_id or target not in self.ids:
            return
        motor = self.ids.index(target)
        if motor in self.silent:
            return
        data, host = bytes(message.data), area & 0xFF
        if kind == 17:
            self._parameter(motor, host, data)
            return
        if kind == 1:
            host = 0xFD
            self._execute(motor, area, data)
        elif kind in (3, 4):
            if kind == 4 and data[0] == 1:
                self.fault[motor] = 0
            self.switch(motor, kind == 3)
        self._send_feedback(motor, host)

    def _execute(self, motor: int, area: int, data: bytes) -> None:
        """Execute an MIT command; the torque is in the data area of the id."""
        if not self.enabled[motor]:
            return
        q, dq, kp, kd = struct.unpack(">4H", data)
        full = self.ranges[motor]
        self.command(
            motor,
            (
                from_count(q, -full.position_rad, full.position_rad, 16),
                from_count(dq, -full.velocity_rad_s, full.velocity_rad_s, 16),
                from_count(kp, 0, full.kp, 16),
                from_count(kd, 0, full.kd, 16),
                from_count(area, -full.torque_nm, full.torque_nm, 16),
            ),
        )

    def _parameter(self, motor: int, host: int, data: bytes) -> None:
        """Return parameter 0x7005 (run mode) or 0x701C (supply voltage); others are 0."""
        index = data[0] | data[1] << 8
        value = {0x7005: struct.pack("<I", self.run_mode), 0x701C: struct.pack("<f", self.volts)}.get(index, bytes(4))
        self.send(17 << 24 | self.ids[motor] << 8 | host, data[:2] + bytes(2) + value, extended=True)

    def _send_feedback(self, motor: int, host: int) -> None:
        full, joints = self.ranges[motor], self.joints
        area = (2 if self.enabled[motor] else 0) << 14 | self.fault[motor] << 8 | self.ids[motor]
        data = struct.pack(
            ">HHHh",
            to_count(joints.position[motor], full.position_rad, 16),
            to_count(joints.velocity[motor], full.velocity_rad_s, 16),
            to_count(joints.effort[motor], full.torque_nm, 16),
            round(joints.heat[motor, 0] * 10),
        )
        self.send(2 << 24 | area << 8 | host, data, extended=True)

    def send_faults(self, motor: int, faults: int, warnings: int) -> None:
        """Send a fault frame (type 21)."""
        self.send(21 << 24 | self.ids[motor] << 8 | 0xFD, struct.pack("<II", faults, warnings), extended=True)
