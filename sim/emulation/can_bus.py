"""Emulated CAN motors: they answer a vendor's frames on a python-can bus and move the joints of a MuJoCo model.

For tests, and to try a driver without the robot. Written from the vendors' manuals, apart from the drivers: a mistake
on one side shows. Faults can be put in: a motor that falls silent, an error, a hot winding.
"""

from __future__ import annotations

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
"""Longest wait for a frame between two steps of the plant [s]."""


def count(value: float, limit: float, bits: int) -> int:
    """Return a value from -limit to limit as a whole number of `bits` bits."""
    share = (min(max(value, -limit), limit) + limit) / (2 * limit)
    return int(share * ((1 << bits) - 1) + 0.5)


def value(count: int, lower: float, upper: float, bits: int) -> float:
    """Return what a count of `bits` bits stands for."""
    return lower + (upper - lower) * count / ((1 << bits) - 1)


class CanMotors:
    """Motors on one bus, in a thread; a context manager. Joint i of the plant is the motor with `ids[i]`."""

    limit_c: ClassVar[float] = 120.0
    """Winding temperature at which a motor switches itself off [°C]."""

    def __init__(self, joints: EmulatedJoints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Take the joints, an open python-can bus, and each motor's id and range."""
        self.joints, self.ids, self.ranges = joints, tuple(ids), tuple(ranges)
        joints = len(self.ids)
        self.silent: set[int] = set()
        """Motors that answer nothing: unplugged."""
        self.enabled = [False] * joints
        self.fault = [0] * joints
        """Each motor's error, in the vendor's own number."""
        self.driver_c = np.full(joints, 35.0)
        self.commands = 0
        """Commands that were taken."""
        self._bus = bus
        self._law = np.zeros((5, joints))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="can motors")

    def __enter__(self) -> Self:
        """Start to answer."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop to answer and close the bus."""
        self._ended.set()
        self._thread.join(30)
        self._bus.shutdown()

    def send(self, frame_id: int, data: bytes, *, extended: bool) -> None:
        """Put a frame on the bus."""
        import can

        self._bus.send(can.Message(arbitration_id=frame_id, data=data, is_extended_id=extended))

    def put_error_frame(self, bits: int) -> None:
        """Let the readers' adapters report an error of the bus (linux/can/error.h)."""
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
                self.answer(message)

    def _protect(self) -> None:
        for motor in np.flatnonzero(self.joints.heat[:, 0] >= self.limit_c):
            if not self.fault[motor]:
                self.fault[motor] = self.too_hot
                self.switch(int(motor), False)

    too_hot: ClassVar[int] = 0
    """The vendor's number of a winding that is too hot."""

    def switch(self, motor: int, on: bool) -> None:
        """Switch a motor's power stage; a motor with an error stays off."""
        self.enabled[motor] = on and not self.fault[motor]
        self._apply()

    def command(self, motor: int, law: tuple[float, float, float, float, float]) -> None:
        """Take a command: position, velocity, kp, kd, torque."""
        self._law[:, motor] = law
        self.commands += 1
        self._apply()

    def _apply(self) -> None:
        law = self._law.copy()
        law[2:, [not on for on in self.enabled]] = 0
        self.joints.command(*law)

    def answer(self, message: Any) -> None:
        """Answer one frame."""
        raise NotImplementedError


class DamiaoMotors(CanMotors):
    """Damiao motors; motor i answers with the id `0x10 + ids[i]`."""

    too_hot: ClassVar[int] = 0xC

    def __init__(self, joints: EmulatedJoints, bus: Any, ids: Sequence[int], ranges: Sequence[Range]) -> None:
        """Take the joints, an open bus, and each motor's id and range."""
        super().__init__(joints, bus, ids, ranges)
        self.registers = [
            {
                1: float(joints.torque_constant[i]),
                2: self.limit_c,
                7: 0x10 + self.ids[i],
                8: self.ids[i],
                9: 0,
                10: 2,
                17: float(joints.resistance[i]),
                20: 10.0,
                21: ranges[i].position_rad,
                22: ranges[i].velocity_rad_s,
                23: ranges[i].torque_nm,
            }
            for i in range(len(self.ids))
        ]

    def answer(self, message: Any) -> None:
        """Answer a register frame, a special frame or a command."""
        data = bytes(message.data)
        wanted = data[0] | data[1] << 8 if message.arbitration_id == 0x7FF else message.arbitration_id
        if message.is_extended_id or wanted not in self.ids:
            return
        motor = self.ids.index(wanted)
        if motor in self.silent:
            return
        if message.arbitration_id == 0x7FF:
            if data[2] == 0xCC:
                self._tell(motor)
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
                    value(q, -full.position_rad, full.position_rad, 16),
                    value(dq, -full.velocity_rad_s, full.velocity_rad_s, 12),
                    value(kp, 0, 500, 12),
                    value(kd, 0, 5, 12),
                    value(t, -full.torque_nm, full.torque_nm, 12),
                ),
            )
        self._tell(motor)

    def _special(self, motor: int, what: int) -> None:
        if what == 0xFB:
            self.fault[motor] = 0
        elif what in (0xFC, 0xFD):
            self.switch(motor, what == 0xFC)

    def _register(self, motor: int, data: bytes) -> None:
        rid = data[3]
        form = "<I" if rid in (7, 8, 9, 10) else "<f"
        if data[2] == 0x55:
            self.registers[motor][rid] = struct.unpack_from(form, data, 4)[0]
        told = self.registers[motor].get(rid, 0)
        self.send(0x10 + self.ids[motor], data[:4] + struct.pack(form, told), extended=False)

    def _tell(self, motor: int) -> None:
        full, joints = self.ranges[motor], self.joints
        q = count(joints.position[motor], full.position_rad, 16)
        dq = count(joints.velocity[motor], full.velocity_rad_s, 12)
        t = count(joints.effort[motor], full.torque_nm, 12)
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
    """RobStride motors in their private protocol; `fault` holds the six bits of the feedback's id."""

    too_hot: ClassVar[int] = 0b000100
    limit_c: ClassVar[float] = 145.0
    volts: ClassVar[float] = 48.0
    """Supply voltage [V]."""
    run_mode: ClassVar[int] = 0
    """Parameter 0x7005."""

    def answer(self, message: Any) -> None:
        """Answer a frame of the types 1, 3, 4, 6, 17 and 18."""
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
            self._take_command(motor, area, data)
        elif kind in (3, 4):
            if kind == 4 and data[0] == 1:
                self.fault[motor] = 0
            self.switch(motor, kind == 3)
        self._tell(motor, host)

    def _take_command(self, motor: int, area: int, data: bytes) -> None:
        if not self.enabled[motor]:
            return
        q, dq, kp, kd = struct.unpack(">4H", data)
        full = self.ranges[motor]
        self.command(
            motor,
            (
                value(q, -full.position_rad, full.position_rad, 16),
                value(dq, -full.velocity_rad_s, full.velocity_rad_s, 16),
                value(kp, 0, full.kp, 16),
                value(kd, 0, full.kd, 16),
                value(area, -full.torque_nm, full.torque_nm, 16),
            ),
        )

    def _parameter(self, motor: int, host: int, data: bytes) -> None:
        index = data[0] | data[1] << 8
        told = {0x7005: struct.pack("<I", self.run_mode), 0x701C: struct.pack("<f", self.volts)}.get(index, bytes(4))
        self.send(17 << 24 | self.ids[motor] << 8 | host, data[:2] + bytes(2) + told, extended=True)

    def _tell(self, motor: int, host: int) -> None:
        full, joints = self.ranges[motor], self.joints
        area = (2 if self.enabled[motor] else 0) << 14 | self.fault[motor] << 8 | self.ids[motor]
        data = struct.pack(
            ">HHHh",
            count(joints.position[motor], full.position_rad, 16),
            count(joints.velocity[motor], full.velocity_rad_s, 16),
            count(joints.effort[motor], full.torque_nm, 16),
            round(joints.heat[motor, 0] * 10),
        )
        self.send(2 << 24 | area << 8 | host, data, extended=True)

    def tell_faults(self, motor: int, faults: int, warnings: int) -> None:
        """Send a fault frame (type 21)."""
        self.send(21 << 24 | self.ids[motor] << 8 | 0xFD, struct.pack("<II", faults, warnings), extended=True)
