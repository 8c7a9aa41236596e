"""Emulated Feetech STS3215 servos.

Frames: Feetech's "communication protocol manual": FF FF, id, length, instruction, parameters, inverted sum; codes
01 ping, 02 read, 03 write, 04 registered write, 05 action, 82 sync read, 83 sync write. Registers: Feetech's "STS/SMS
memory table"; signed values have a sign bit (bit 15, load bit 10, offset bit 11).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from waldo.sim.emulation.servo_bus import COUNTS_PER_RAD, TURN, SerialServos, Servo
from waldo.typing import Array


class FeetechServos(SerialServos):
    """STS3215 servos."""

    memory_size: ClassVar[int] = 87
    return_delay: ClassVar[int] = 7
    persistent_size: ClassVar[int] = 40
    id_register: ClassVar[int] = 5
    baud_rates: ClassVar[Mapping[int, int]] = {
        0: 1_000_000, 1: 500_000, 2: 250_000, 3: 128_000, 4: 115_200, 5: 76_800, 6: 57_600, 7: 38_400
    }  # fmt: skip

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo in its factory state, or calibrated to its joint."""
        servo = Servo(self.memory_size, self.id_register)
        for address, size, value in (
            (0, 1, 3), (1, 1, 10), (3, 2, 777), (5, 1, self.ids[joint]), (7, 1, 250), (8, 1, 1), (11, 2, 4095),
            (13, 1, 70), (14, 1, 80 if self._volts[joint] < 9 else 140), (15, 1, 40), (16, 2, 1000), (18, 1, 12),
            (19, 1, 44), (20, 1, 47), (21, 1, 32), (22, 1, 32), (24, 1, 16), (28, 2, 500), (34, 1, 20), (35, 1, 200),
            (36, 1, 80), (37, 1, 10), (38, 1, 200), (39, 1, 10),
        ):  # fmt: skip
            servo.put(address, size, value)
        if calibrated:
            middle, low, high = self.calibration(joint)
            offset = middle - 2047
            servo.put(31, 2, abs(offset) | (0x800 if offset < 0 else 0))
            servo.put(9, 2, low)
            servo.put(11, 2, high)
        self.reset_volatile(servo)
        return servo

    def reset_volatile(self, servo: Servo) -> None:
        """Disable torque, set the torque limit from register 16, lock the persistent memory."""
        servo.memory[40:71] = bytes(31)
        servo.put(48, 2, servo.get(16, 2))
        servo.put(55, 1, 1)

    def homing_offset(self, servo: Servo) -> int:
        """Return the homing offset (register 31) [counts]."""
        value = servo.get(31, 2)
        return -(value & 0x7FF) if value & 0x800 else value & 0x7FF

    def frames(self, buffer: bytearray) -> Iterator[bytes]:
        """Remove complete frames with a valid checksum from a buffer and yield them."""
        while (at := buffer.find(b"\xff\xff")) >= 0:
            del buffer[:at]
            if len(buffer) > 2 and buffer[2] == 0xFF:
                del buffer[:1]
                continue
            if len(buffer) < 4 or len(buffer) < buffer[3] + 4:
                return
            frame = bytes(buffer[: buffer[3] + 4])
            if len(frame) >= 6 and (~sum(frame[2:-1]) & 0xFF) == frame[-1]:
                del buffer[: len(frame)]
                yield frame
            else:
                del buffer[:2]

    def answer(self, frame: bytes) -> Iterator[bytes]:
        """Execute ping, read, write, registered write, action, sync read and sync write."""
        target, instruction, data = frame[2], frame[4], frame[5:-1]
        if instruction == 0x82:
            for identity in data[2:]:
                if found := self.at(identity):
                    yield self.overlaid([self._status(s, self._read(s, data[0], data[1])) for s in found])
            return
        if instruction == 0x83:
            address, length = data[0], data[1]
            for k in range(2, len(data), length + 1):
                for servo in self.at(data[k]):
                    self._write(servo, address, data[k + 1 : k + 1 + length])
            if address == 42:
                self.log_goals([servo.get(42, 2) for servo in self.servos])
            return
        responses: dict[int, list[bytes]] = {}
        for servo in self.listening() if target == 0xFE else self.at(target):
            values, identity = b"", servo.id
            if instruction == 2:
                values = self._read(servo, data[0], data[1])
            elif instruction == 3:
                self._write(servo, data[0], data[1:])
            elif instruction == 4:
                servo.waiting = (data[0], data[1:])
            elif instruction == 5 and servo.waiting is not None:
                self._write(servo, *servo.waiting)
                servo.waiting = None
            # With response level 0 (register 8), a servo responds to a ping and to a read only.
            if instruction == 1 or (target != 0xFE and (instruction == 2 or servo.memory[8])):
                responses.setdefault(identity, []).append(self._status(servo, values, identity))
        yield from map(self.overlaid, responses.values())

    def _read(self, servo: Servo, address: int, size: int) -> bytes:
        """Return a part of a servo's memory; behind its end there is nothing."""
        return bytes(servo.memory[address : address + size])

    def _status(self, servo: Servo, data: bytes, identity: int | None = None) -> bytes:
        """Return a response; a servo whose id was written answers with the id that was asked for."""
        identity = servo.id if identity is None else identity
        if identity in self.silent:
            return b""
        body = bytes([identity, len(data) + 2, servo.fault]) + data
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])

    def _write(self, servo: Servo, address: int, data: bytes) -> None:
        if servo.id in self.silent or address + len(data) > self.memory_size or 56 <= address < 71:
            return
        servo.memory[address : address + len(data)] = data
        # While register 55 (lock) is set, changes are not persistent.
        if address < self.persistent_size and not servo.memory[55]:
            persistent = bytearray(servo.persistent)
            persistent[address : address + len(data)] = data
            servo.persistent = bytes(persistent)
        if address <= 40 < address + len(data) and servo.memory[40]:
            servo.fault &= ~0x20
        if address <= 42 < address + len(data):
            # As the real servo does, writing a goal switches the torque on.
            servo.memory[40] = servo.memory[40] or 1
        self.note_written(servo, address, len(data))

    def refresh(self) -> None:
        """Write registers 56 to 70: position, speed, load, voltage, temperature, status, moving, current."""
        current, duty, volts = self.electrical()
        counts, speeds = self.actual_counts(), self.joints.velocity * COUNTS_PER_RAD
        for i, servo in enumerate(self.servos):
            position = round(float(counts[i])) - self.homing_offset(servo)
            servo.put(56, 2, position % TURN)
            for address, value, bit in (
                (58, round(float(speeds[i])), 15),
                (60, round(float(duty[i]) * 1000), 10),
                (69, round(float(current[i]) / 0.0065), 15),
            ):
                servo.put(address, 2, abs(value) | (1 << bit if value < 0 else 0))
            servo.put(62, 1, round(volts * 10))
            servo.put(63, 1, round(float(self.joints.driver_c[i])))
            servo.put(65, 1, servo.fault)
            servo.put(66, 1, int(abs(speeds[i]) > 3))

    def drives(self) -> tuple[Array, Array, Array]:
        """Return torque enabled (40), goal (42) [counts] and torque limit (48, 16, in overload 34) of each servo."""
        on = np.array([float(servo.memory[40] == 1 and not servo.fault & 0x04) for servo in self.servos])
        goals = [
            min(max(servo.get(42, 2) & 0x7FFF, servo.get(9, 2)), servo.get(11, 2)) + self.homing_offset(servo)
            for servo in self.servos
        ]
        limit = [
            min(servo.get(48, 2), servo.get(16, 2), servo.get(34, 1) * 10 if servo.fault & 0x20 else 1000) / 1000
            for servo in self.servos
        ]
        return on, self._path(np.array(goals, dtype=float), on), np.array(limit)

    _moved_s = 0.0
    _reached: Array | None = None

    def _path(self, goals: Array, on: Array) -> Array:
        """Return how far each servo has come on the way to its goal at the goal speed (46) [counts]; 0: at once."""
        now_s = time.monotonic()
        passed_s, self._moved_s = now_s - self._moved_s, now_s
        speeds = np.array([servo.get(46, 2) & 0x7FFF for servo in self.servos], dtype=float)
        start = goals if self._reached is None else np.where(on > 0, self._reached, self.actual_counts())
        step = speeds * passed_s
        self._reached = np.where(speeds > 0, start + np.clip(goals - start, -step, step), goals)
        return self._reached

    def moves_gradually(self) -> bool:
        """Return whether a servo has a goal speed."""
        return any(servo.get(46, 2) for servo in self.servos)

    def stiffness_ratio(self) -> Array:
        """Return the P gain (21) of each servo divided by 16, the gain of the model."""
        return np.array([servo.get(21, 1) / 16 for servo in self.servos])

    def protect(self, seconds: float) -> None:
        """Disable overheated servos (13); reduce the torque after the overload time (35, 36)."""
        efforts = np.abs(self.joints.effort) / self._peak
        before = [servo.fault for servo in self.servos]
        for i, servo in enumerate(self.servos):
            hot = self.joints.driver_c[i] >= servo.get(13, 1)
            servo.fault = servo.fault & ~0x04 | (0x04 if hot else 0)
            over = efforts[i] * 100 > servo.get(36, 1)
            servo.overloaded_s = servo.overloaded_s + seconds if over else 0.0
            if servo.overloaded_s > servo.get(35, 1) * 0.01:
                servo.fault |= 0x20
        if before != [servo.fault for servo in self.servos]:
            self.apply()
