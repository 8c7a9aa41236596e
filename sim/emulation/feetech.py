"""Emulated Feetech STS servos.

Frames: Feetech's "communication protocol manual": FF FF, id, length, instruction, parameters, inverted sum; codes
01 ping, 02 read, 03 write, 04 registered write, 05 action, 06 recovery, 82 sync read, 83 sync write. Registers:
Feetech's "STS/SMS memory table"; signed values have a sign bit (bit 15, load bit 10, offset bit 11).

The documents do not describe what a servo does with an unknown instruction, or with data past the memory table: here it
does not respond, like an STS3215 with firmware 3.10 to the instruction 0A (servolab 1.0.0, ports/feetech_port.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from waldo.errors import UnknownNameError
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.servos.feetech_modes import OVER_CURRENT, OVERLOAD, FeetechDrives
from waldo.sim.emulation.servos.servo import Servo

MODELS: Mapping[str, int] = {"sts3215": 777, "sts3250": 2825}
"""Name of a servo -> model number."""
MEMORY_SIZE = 87
"""Size of the memory table [bytes]."""
PING, READ, WRITE, REG_WRITE, ACTION, RECOVERY, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 5, 6, 0x82, 0x83
"""Instructions."""
KNOWN = (PING, READ, WRITE, REG_WRITE, ACTION, RECOVERY)
"""Instructions for one servo, or for all with the id 254."""
CALIBRATE, CENTER = 128, 2048
"""Value of the torque register (40) that makes the present position that of the center [counts]."""


class FeetechServos(FeetechDrives):
    """STS servos in Feetech's protocol."""

    return_delay: ClassVar[int] = 7
    persistent_size: ClassVar[int] = 40
    id_register: ClassVar[int] = 5
    baud_rates: ClassVar[Mapping[int, int]] = {
        0: 1_000_000, 1: 500_000, 2: 250_000, 3: 128_000, 4: 115_200, 5: 76_800, 6: 57_600, 7: 38_400
    }  # fmt: skip

    def __init__(
        self,
        joints: Joints,
        ids: Sequence[int] = (),
        *,
        models: Sequence[str] = (),
        baudrate: int = 1_000_000,
        calibrated: bool = True,
        one_by_one: bool = False,
    ) -> None:
        """Open a pseudo-terminal with servos; arguments as for `SerialServos`.

        Raises:
            UnknownNameError: If one of `models` is not emulated.
        """
        self._models = tuple(models) or ("sts3215",) * len(joints.robot.joints)
        for model in self._models:
            if model not in MODELS:
                raise UnknownNameError("Feetech servo", model, MODELS)
        super().__init__(joints, ids, baudrate=baudrate, calibrated=calibrated, one_by_one=one_by_one)

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo in its factory state, or calibrated to its joint."""
        servo = Servo(MEMORY_SIZE, self.id_register)
        model = MODELS[self._models[joint]]
        for address, size, value in (
            (0, 1, 3), (1, 1, 10), (3, 2, model), (5, 1, self.ids[joint]), (7, 1, 250), (8, 1, 1), (11, 2, 4095),
            (13, 1, 70), (14, 1, 80 if self.supply_v[joint] < 9 else 140), (15, 1, 40), (16, 2, 1000), (18, 1, 12),
            (19, 1, 44), (20, 1, 47), (21, 1, 32), (22, 1, 32), (24, 1, 16), (28, 2, 500), (34, 1, 20), (35, 1, 200),
            (26, 1, 1), (27, 1, 1), (30, 1, 1), (36, 1, 80), (37, 1, 10), (38, 1, 200), (39, 1, 10), (80, 1, 1),
            (84, 1, 50), (85, 1, 254), (86, 1, 1),
        ):  # fmt: skip
            servo.put(address, size, value)
        if calibrated:
            middle, low, high = self.calibration(joint)
            offset = middle - 2047
            servo.put_magnitude(31, 11, offset)
            servo.put(9, 2, low)
            servo.put(11, 2, high)
        return servo

    def start(self, joint: int) -> None:
        """Disable torque, set the torque limit from register 16, lock the persistent memory, hold the position."""
        servo = self.servos[joint]
        servo.memory[40:71] = bytes(31)
        servo.put(48, 2, servo.get(16, 2))
        servo.put(55, 1, 1)
        servo.step_goal = None
        servo.put_magnitude(42, 15, self.present(joint))

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
        """Execute a frame; yield the responses in the order in which the servos send them."""
        target, instruction, data = frame[2], frame[4], frame[5:-1]
        if instruction == SYNC_READ:
            for identity in data[2:]:
                yield self.overlaid([self._status(s, _part(s, data[0], data[1])) for s in self.at(identity)])
        elif instruction == SYNC_WRITE:
            self._write_several(data)
        elif instruction in KNOWN:
            responses: dict[int, list[bytes]] = {}
            for servo in self.listening() if target == 0xFE else self.at(target):
                identity = servo.id
                values = self._execute(servo, instruction, data)
                # With response level 0 (register 8), a servo responds to a ping and to a read only.
                if instruction == PING or (target != 0xFE and (instruction == READ or servo.memory[8])):
                    responses.setdefault(identity, []).append(self._status(servo, values, identity))
            yield from map(self.overlaid, responses.values())

    def _write_several(self, data: bytes) -> None:
        """Execute a sync write."""
        address, length = data[0], data[1]
        for k in range(2, len(data), length + 1):
            for servo in self.at(data[k]):
                self._write(servo, address, data[k + 1 : k + 1 + length])
        if address <= 42 < address + length:
            self.log_goals([servo.get(42, 2) for servo in self.servos])

    def _execute(self, servo: Servo, instruction: int, data: bytes) -> bytes | None:
        """Execute an instruction for one servo; return the parameters of the response, None for no response."""
        if instruction == READ:
            return _part(servo, data[0], data[1])
        if instruction == WRITE:
            return b"" if self._write(servo, data[0], data[1:]) else None
        if instruction == REG_WRITE:
            servo.waiting = (data[0], data[1:])
        elif instruction == ACTION and servo.waiting is not None:
            waiting, servo.waiting = servo.waiting, None
            self._write(servo, *waiting)
        elif instruction == RECOVERY and servo.id not in self.silent:
            self._recover(servo)
        return b""

    def _recover(self, servo: Servo) -> None:
        """Restore the factory settings, except the id."""
        joint = self.servos.index(servo)
        factory = self.make_servo(joint, False)
        factory.memory[self.id_register] = servo.id
        servo.persistent = bytes(factory.memory)
        self.restart(joint)

    def _status(self, servo: Servo, data: bytes | None, identity: int | None = None) -> bytes:
        """Return a response; a servo whose id was written answers with the id that was asked for."""
        identity = servo.id if identity is None else identity
        if data is None or identity in self.silent:
            return b""
        body = bytes([identity, len(data) + 2, servo.fault]) + data
        return b"\xff\xff" + body + bytes([~sum(body) & 0xFF])

    def _write(self, servo: Servo, address: int, data: bytes) -> bool:
        """Write to a servo's memory, except what is read-only; return whether it is within the memory table."""
        end = address + len(data)
        if servo.id in self.silent or end > MEMORY_SIZE:
            return False
        joint = self.servos.index(servo)
        for at, byte in enumerate(data, start=address):
            if at < 5 or 56 <= at:
                continue
            servo.memory[at] = byte
            # While register 55 (lock) is set, changes are not persistent.
            if at < self.persistent_size and not servo.memory[55]:
                servo.store(at, bytes([byte]))
        if address <= 33 < end:
            servo.step_goal = servo.timed = None
        if address <= 40 < end:
            self._switch(servo, joint)
        if address <= 42 < end:
            # As the real servo does, writing a goal switches the torque on.
            servo.memory[40] = servo.memory[40] or 1
            self.start_motion(joint)
        self.note_written(servo, address, len(data))
        return True

    def _switch(self, servo: Servo, joint: int) -> None:
        """Execute a write to the torque register (40)."""
        if servo.memory[40] == CALIBRATE:
            servo.memory[40] = 0
            offset = (round(float(self.actual_counts()[joint])) - CENTER + 2047) % 4096 - 2047
            servo.put_magnitude(31, 11, offset)
            servo.store(31, bytes(servo.memory[31:33]))
        elif servo.memory[40]:
            servo.fault &= ~(OVERLOAD | OVER_CURRENT)


def _part(servo: Servo, address: int, size: int) -> bytes | None:
    """Return a part of a servo's memory; None if it is not within the memory table."""
    return bytes(servo.memory[address : address + size]) if address + size <= MEMORY_SIZE else None
