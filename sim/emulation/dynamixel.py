"""Emulated Dynamixel X servos.

Frames: ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0" (https://emanual.robotis.com/docs/en/dxl/protocol2/): instructions
01 ping, 02 read, 03 write, 04 registered write, 05 action, 08 reboot, 82 and 92 sync and bulk read, 83 and 93 sync and
bulk write; byte stuffing; CRC-16. Registers: e-Manual, control table of the X series
(https://emanual.robotis.com/docs/en/dxl/x/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from waldo.sim.emulation.servo_bus import SerialServos, Servo
from waldo.typing import Array

MAX_LENGTH = 512
"""Largest length of a frame; a larger length field is noise [bytes]."""


class DynamixelServos(SerialServos):
    """Dynamixel X servos: FF FF FD 00, id, length, instruction, parameters, CRC-16."""

    memory_size: ClassVar[int] = 147
    return_delay: ClassVar[int] = 9
    persistent_size: ClassVar[int] = 64
    id_register: ClassVar[int] = 7
    baud_rates: ClassVar[Mapping[int, int]] = {
        0: 9_600, 1: 57_600, 2: 115_200, 3: 1_000_000, 4: 2_000_000, 5: 3_000_000, 6: 4_000_000, 7: 4_500_000
    }  # fmt: skip
    model: ClassVar[int] = 1020
    """Model number of the XM430-W350."""
    milliamperes: ClassVar[float] = 2.69
    """Unit of the current register [mA]."""

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo in its factory state, or calibrated to its joint."""
        servo = Servo(self.memory_size, self.id_register)
        for address, size, value in (
            (0, 2, self.model), (6, 1, 48), (7, 1, self.ids[joint]), (8, 1, 3), (9, 1, 250), (11, 1, 3), (12, 1, 255),
            (13, 1, 2), (24, 4, 10), (31, 1, 80), (32, 2, 160), (34, 2, 60), (36, 2, 885), (38, 2, 1193),
            (44, 4, 200), (48, 4, 4095), (63, 1, 52),
        ):  # fmt: skip
            servo.put(address, size, value)
        if calibrated:
            middle, low, high = self.calibration(joint)
            # Present position = actual position + homing offset; Feetech subtracts the offset.
            servo.put(20, 4, 2047 - middle)
            servo.put(11, 1, 4)
            servo.put(52, 4, low)
            servo.put(48, 4, high)
        self.reset_volatile(servo)
        return servo

    def reset_volatile(self, servo: Servo) -> None:
        """Disable torque, set the limits from the persistent registers, respond to all instructions (68)."""
        servo.memory[64:147] = bytes(83)
        servo.put(68, 1, 2)
        servo.put(84, 2, 800)
        servo.put(100, 2, servo.get(36, 2))
        servo.put(102, 2, servo.get(38, 2))
        servo.put(104, 4, servo.get(44, 4))

    def _signed(self, servo: Servo, address: int) -> int:
        """Return a signed 32-bit value."""
        return int.from_bytes(servo.memory[address : address + 4], "little", signed=True)

    def homing_offset(self, servo: Servo) -> int:
        """Return the homing offset (20) [counts]; in position mode (3), offsets beyond 1,024 are ignored."""
        offset = self._signed(servo, 20)
        return 0 if servo.memory[11] == 3 and abs(offset) > 1024 else offset

    def frames(self, buffer: bytearray) -> Iterator[bytes]:
        """Remove complete frames with a valid checksum from a buffer and yield them without byte stuffing."""
        while (at := buffer.find(b"\xff\xff\xfd\x00")) >= 0:
            del buffer[:at]
            if len(buffer) < 7:
                return
            length = buffer[5] | buffer[6] << 8
            if length > MAX_LENGTH:
                del buffer[:4]
                continue
            if len(buffer) < length + 7:
                return
            frame = bytes(buffer[: length + 7])
            if length >= 3 and crc16(frame[:-2]) == frame[-2] | frame[-1] << 8:
                del buffer[: len(frame)]
                yield frame[:7] + frame[7:-2].replace(b"\xff\xff\xfd\xfd", b"\xff\xff\xfd")
            else:
                del buffer[:4]

    def answer(self, frame: bytes) -> Iterator[bytes]:
        """Execute ping, read, write, registered write, action, reboot, sync and bulk read and write."""
        target, instruction, data = frame[4], frame[7], frame[8:]
        if instruction in (0x82, 0x92):
            yield from self._read_several(instruction, data)
            return
        if instruction in (0x83, 0x93):
            self._write_several(instruction, data)
            return
        responses: dict[int, list[bytes]] = {}
        for servo in self.listening() if target == 0xFE else self.at(target):
            identity, level = servo.id, servo.memory[68]
            error, values = self._execute(servo, instruction, data)
            # Status return level (68): 0 a ping only, 1 a read too, 2 every instruction.
            if instruction == 1 or (target != 0xFE and level >= (1 if instruction == 2 else 2)):
                responses.setdefault(identity, []).append(self._status(servo, error, values, identity))
        yield from map(self.overlaid, responses.values())

    def _execute(self, servo: Servo, instruction: int, data: bytes) -> tuple[int, bytes]:
        """Execute an instruction for one servo; return its error number and the parameters of the response."""
        address = data[0] | data[1] << 8 if len(data) >= 2 else 0
        if instruction == 1:
            return 0, bytes(servo.memory[0:2]) + bytes(servo.memory[6:7])
        if instruction == 2:
            return 0, bytes(servo.memory[address : address + (data[2] | data[3] << 8)])
        if instruction == 3:
            return self._write(servo, address, data[2:]), b""
        if instruction == 4:
            servo.waiting = (address, data[2:])
            return 0, b""
        if instruction == 5:
            waiting, servo.waiting = servo.waiting, None
            return (0 if waiting is None else self._write(servo, *waiting)), b""
        if instruction == 8:
            servo.memory[: self.persistent_size] = servo.persistent[: self.persistent_size]
            servo.fault = 0
            self.reset_volatile(servo)
            return 0, b""
        return 2, b""

    def _read_several(self, instruction: int, data: bytes) -> Iterator[bytes]:
        if instruction == 0x82:
            address, length = data[0] | data[1] << 8, data[2] | data[3] << 8
            requests = [(identity, address, length) for identity in data[4:]]
        else:
            parts = [data[k : k + 5] for k in range(0, len(data), 5)]
            requests = [(part[0], part[1] | part[2] << 8, part[3] | part[4] << 8) for part in parts]
        for identity, address, length in requests:
            if found := [servo for servo in self.at(identity) if servo.memory[68]]:
                yield self.overlaid([self._status(s, 0, bytes(s.memory[address : address + length])) for s in found])

    def _write_several(self, instruction: int, data: bytes) -> None:
        at, address, length = 0, 0, 0
        if instruction == 0x83:
            address, length, at = data[0] | data[1] << 8, data[2] | data[3] << 8, 4
        while at < len(data):
            identity, at = data[at], at + 1
            if instruction == 0x93:
                address, length = data[at] | data[at + 1] << 8, data[at + 2] | data[at + 3] << 8
                at += 4
            for servo in self.at(identity):
                self._write(servo, address, data[at : at + length])
            at += length
        if address == 116:
            self.log_goals([self._signed(servo, 116) for servo in self.servos])

    def _status(self, servo: Servo, error: int, data: bytes, identity: int | None = None) -> bytes:
        """Return a response; a servo whose id was written answers with the id that was asked for."""
        identity = servo.id if identity is None else identity
        if identity in self.silent:
            return b""
        body = bytes([0x55, error | (0x80 if servo.fault else 0)]) + data
        body = body.replace(b"\xff\xff\xfd", b"\xff\xff\xfd\xfd")
        frame = b"\xff\xff\xfd\x00" + bytes([identity]) + (len(body) + 2).to_bytes(2, "little") + body
        return frame + crc16(frame).to_bytes(2, "little")

    def _write(self, servo: Servo, address: int, data: bytes) -> int:
        """Write to a servo's memory; return the error number, 0 for success.

        Errors: 1 result fail, 4 data range, 6 data limit, 7 access.
        """
        if servo.id in self.silent or address + len(data) > self.memory_size:
            return 4
        if address < self.persistent_size and servo.memory[64]:
            return 7
        if 122 <= address:
            return 7
        if address == 116 and servo.memory[11] == 3:
            goal = int.from_bytes(data, "little", signed=True)
            if not self._signed(servo, 52) <= goal <= self._signed(servo, 48):
                return 6
        if address == 64 and data[0] and servo.fault:
            return 1
        servo.memory[address : address + len(data)] = data
        if address < self.persistent_size:
            persistent = bytearray(servo.persistent)
            persistent[address : address + len(data)] = data
            servo.persistent = bytes(persistent)
        self.note_written(servo, address, len(data))
        return 0

    def refresh(self) -> None:
        """Write 124 to 146 (duty cycle, current, velocity, position, voltage, temperature) and 70 (hardware error)."""
        current, duty, volts = self.electrical()
        counts, speeds = self.actual_counts(), self.joints.velocity * 60 / (2 * np.pi) / 0.229
        for i, servo in enumerate(self.servos):
            servo.put(124, 2, round(float(duty[i]) * 885))
            servo.put(126, 2, round(float(current[i]) * 1000 / self.milliamperes))
            servo.put(128, 4, round(float(speeds[i])))
            servo.put(132, 4, round(float(counts[i])) + self.homing_offset(servo))
            servo.put(144, 2, round(volts * 10))
            servo.put(146, 1, round(float(self.joints.driver_c[i])))
            servo.put(122, 1, int(abs(speeds[i]) > 1))
            servo.put(70, 1, servo.fault)

    def drives(self) -> tuple[Array, Array, Array]:
        """Return torque enabled (64), goal (116) [counts] and torque limit (100, 36) of each servo."""
        on = np.array([float(servo.memory[64] == 1) for servo in self.servos])
        goals = [float(self._signed(servo, 116) - self.homing_offset(servo)) for servo in self.servos]
        limit = [min(servo.get(100, 2), servo.get(36, 2)) / 885 for servo in self.servos]
        return on, np.array(goals), np.array(limit)

    def protect(self, seconds: float) -> None:
        """Shut down servos that are overheated (31) or overloaded for long; only a reboot enables them again."""
        efforts = np.abs(self.joints.effort) / self._peak
        for i, servo in enumerate(self.servos):
            servo.overloaded_s = servo.overloaded_s + seconds if efforts[i] > 0.95 else 0.0
            hot = self.joints.driver_c[i] >= servo.get(31, 1)
            fault = (0x04 if hot else 0) | (0x20 if servo.overloaded_s > 2.0 else 0)
            if fault & ~servo.fault:
                servo.fault |= fault
                servo.memory[64] = 0
                self.apply()


def crc16(data: bytes) -> int:
    """Return the CRC-16 of protocol 2.0: polynomial 0x8005, most significant bit first, initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
