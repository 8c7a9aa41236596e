"""Emulated Dynamixel X servos.

Frames: ROBOTIS e-Manual, "DYNAMIXEL Protocol 2.0" (https://emanual.robotis.com/docs/en/dxl/protocol2/): instructions
01 ping, 02 read, 03 write, 04 registered write, 05 action, 06 factory reset, 08 reboot, 10 clear, 82 and 92 sync and
bulk read, 8A and 9A their fast forms, 83 and 93 sync and bulk write; byte stuffing; CRC-16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from waldo.errors import UnknownNameError
from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.servos.dynamixel_modes import REVERSE, TORQUE_ON_BY_GOAL, DynamixelDrives
from waldo.sim.emulation.servos.dynamixel_table import (
    ACCESS_ERROR,
    EEPROM_SIZE,
    EXTENDED_MODE,
    GOALS,
    LENGTH_ERROR,
    MODELS,
    RANGE_ERROR,
    check_write,
    factory_values,
    mode_values,
    table_of,
    volatile_values,
)
from waldo.sim.emulation.servos.servo import Servo

MAX_LENGTH = 512
"""Largest length of a frame; a larger length field is noise [bytes]."""
PING, READ, WRITE, REG_WRITE, ACTION, FACTORY_RESET, REBOOT, CLEAR = 1, 2, 3, 4, 5, 6, 8, 0x10
SYNC_READ, FAST_SYNC_READ, BULK_READ, FAST_BULK_READ, SYNC_WRITE, BULK_WRITE = 0x82, 0x8A, 0x92, 0x9A, 0x83, 0x93
"""Instructions."""
RESULT_FAIL, INSTRUCTION_ERROR = 1, 2
"""Error numbers of a status frame."""
RESET_ALL, RESET_EXCEPT_ID, RESET_EXCEPT_ID_AND_RATE = 0xFF, 1, 2
"""Options of a factory reset."""
CLEAR_TURNS = bytes([1, 0x44, 0x58, 0x4C, 0x22])
"""Parameters of the clear instruction: make a multi-turn position one within a turn."""
BROADCAST = 0xFE
FACTORY_RATE = 57_600
"""Baud rate of a new servo [bit/s]."""


class DynamixelServos(DynamixelDrives):
    """Dynamixel X servos: FF FF FD 00, id, length, instruction, parameters, CRC-16."""

    return_delay: ClassVar[int] = 9
    persistent_size: ClassVar[int] = EEPROM_SIZE
    id_register: ClassVar[int] = 7
    baud_rates: ClassVar[Mapping[int, int]] = {
        0: 9_600, 1: 57_600, 2: 115_200, 3: 1_000_000, 4: 2_000_000, 5: 3_000_000, 6: 4_000_000, 7: 4_500_000
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
        names = tuple(models) or ("xm430-w350",) * len(joints.robot.joints)
        for name in names:
            if name not in MODELS:
                raise UnknownNameError("Dynamixel servo", name, MODELS)
        self.models = [MODELS[name] for name in names]
        self._tables = [table_of(model) for model in self.models]
        rate = FACTORY_RATE if one_by_one else baudrate
        self._rate_code = next(code for code, known in self.baud_rates.items() if known == rate)
        super().__init__(joints, ids, baudrate=baudrate, calibrated=calibrated, one_by_one=one_by_one)

    def make_servo(self, joint: int, calibrated: bool) -> Servo:
        """Return a servo in its factory state, except id and baud rate, or calibrated to its joint."""
        model, table = self.models[joint], self._tables[joint]
        servo = Servo(model.size, self.id_register)
        for address, value in factory_values(model, float(self.supply_v[joint])).items():
            servo.put(address, table[address].size if address in table else 2, value)
        servo.put(7, 1, self.ids[joint])
        servo.put(8, 1, self._rate_code)
        if calibrated:
            middle, low, high = self.calibration(joint)
            # Present position = actual position + homing offset; Feetech subtracts the offset.
            is_reversed = self.directions[joint] < 0
            servo.put(10, 1, REVERSE if is_reversed else 0)
            servo.put(20, 4, 2047 + middle if is_reversed else 2047 - middle)
            servo.put(11, 1, EXTENDED_MODE)
            servo.put(52, 4, low)
            servo.put(48, 4, high)
        return servo

    def start(self, joint: int) -> None:
        """Disable torque, set the volatile registers to their defaults, hold the position."""
        servo, table = self.servos[joint], self._tables[joint]
        servo.memory[EEPROM_SIZE:] = bytes(len(servo.memory) - EEPROM_SIZE)
        for address, value in volatile_values(self.models[joint], servo).items():
            servo.put(address, table[address].size if address in table else 2, value)
        servo.turns = self.whole_turns(joint)
        servo.put(116, 4, round(self.position_of(joint, float(self.actual_counts()[joint]))))

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
        """Execute a frame; yield the responses in the order in which the servos send them."""
        target, instruction, data = frame[4], frame[7], frame[8:]
        self.quiet_s = 0.0
        if instruction in (SYNC_READ, BULK_READ):
            for identity, address, length in _requests(instruction, data):
                if found := [servo for servo in self.at(identity) if servo.memory[68]]:
                    yield self.overlaid([self._status(s, *self._read(s, address, length)) for s in found])
        elif instruction in (FAST_SYNC_READ, FAST_BULK_READ):
            yield from self._read_in_a_chain(_requests(instruction, data))
        elif instruction in (SYNC_WRITE, BULK_WRITE):
            self._write_several(instruction, data)
        else:
            yield from self._execute_for_all(target, instruction, data)

    def _execute_for_all(self, target: int, instruction: int, data: bytes) -> Iterator[bytes]:
        """Execute an instruction for the servos with an id; yield the responses."""
        responses: dict[int, list[bytes]] = {}
        for servo in self.listening() if target == BROADCAST else self.at(target):
            identity, level = servo.id, servo.memory[68]
            if identity in self.silent:
                continue
            if instruction == FACTORY_RESET and target == BROADCAST and data[:1] == bytes([RESET_ALL]):
                continue
            error, values = self._execute(servo, instruction, data)
            # Status return level (68): 0 a ping only, 1 a read too, 2 every instruction.
            if instruction == PING or (target != BROADCAST and level >= (1 if instruction == READ else 2)):
                responses.setdefault(identity, []).append(self._status(servo, error, values, identity))
        yield from map(self.overlaid, responses.values())
        for servo in self._coupled(target):
            self._execute(servo, instruction, data)

    def _coupled(self, identity: int) -> list[Servo]:
        """Return the servos that have an id as secondary id (12): they execute its frames and do not respond."""
        return [servo for servo in self.listening() if servo.memory[12] == identity < BROADCAST - 1]

    def _execute(self, servo: Servo, instruction: int, data: bytes) -> tuple[int, bytes]:
        """Execute an instruction for one servo; return its error number and the parameters of the response."""
        address = data[0] | data[1] << 8 if len(data) >= 2 else 0
        if instruction == PING:
            return 0, bytes(servo.memory[0:2]) + bytes(servo.memory[6:7])
        if instruction == READ:
            return self._read(servo, address, data[2] | data[3] << 8)
        if instruction == WRITE:
            return self._write(servo, address, data[2:]), b""
        if instruction == REG_WRITE:
            servo.waiting = (address, data[2:])
            return 0, b""
        if instruction == ACTION:
            waiting, servo.waiting = servo.waiting, None
            return (INSTRUCTION_ERROR if waiting is None else self._write(servo, *waiting)), b""
        if instruction == REBOOT:
            self.restart(self.servos.index(servo))
            return 0, b""
        if instruction == FACTORY_RESET:
            return self._reset(servo, data[0]), b""
        if instruction == CLEAR:
            return self._clear(servo, data), b""
        return INSTRUCTION_ERROR, b""

    def _reset(self, servo: Servo, option: int) -> int:
        """Restore the factory settings and reboot; return the error number."""
        if option not in (RESET_ALL, RESET_EXCEPT_ID, RESET_EXCEPT_ID_AND_RATE):
            return RANGE_ERROR
        joint = self.servos.index(servo)
        factory = self.make_servo(joint, False)
        factory.put(7, 1, 1 if option == RESET_ALL else servo.memory[7])
        factory.put(8, 1, servo.memory[8] if option == RESET_EXCEPT_ID_AND_RATE else 1)
        servo.persistent = bytes(factory.memory)
        self.restart(joint)
        return 0

    def _clear(self, servo: Servo, data: bytes) -> int:
        """Make a multi-turn position one within a turn; return the error number."""
        joint = self.servos.index(servo)
        if data != CLEAR_TURNS:
            return RANGE_ERROR if len(data) == len(CLEAR_TURNS) else LENGTH_ERROR
        if servo.memory[122]:
            return RESULT_FAIL
        goal = self.actual_of(joint, servo.signed(116, 4))
        servo.turns = self.whole_turns(joint)
        servo.put(116, 4, round(self.position_of(joint, goal)))
        return 0

    def _read(self, servo: Servo, address: int, length: int) -> tuple[int, bytes]:
        """Return the error number and a part of the control table; indirect data are those of their addresses."""
        if address + length > len(servo.memory):
            return ACCESS_ERROR, b""
        return 0, bytes(servo.memory[self._mapped(servo, at)] for at in range(address, address + length))

    def _mapped(self, servo: Servo, address: int) -> int:
        """Return the address to which an indirect data register refers; another address refers to itself."""
        for first, data, number in self.models[self.servos.index(servo)].indirect:
            if data <= address < data + number:
                target = servo.get(first + 2 * (address - data), 2)
                return target if target < len(servo.memory) else address
        return address

    def _read_in_a_chain(self, requests: list[tuple[int, int, int]]) -> Iterator[bytes]:
        """Yield the response to a fast read: one frame, to which each servo appends its part and the CRC so far.

        A servo that does not respond interrupts it, since the next one waits for its part.
        """
        length = 1 + sum(4 + size for _, _, size in requests)
        if length > MAX_LENGTH:
            return
        frame = b"\xff\xff\xfd\x00" + bytes([BROADCAST]) + length.to_bytes(2, "little") + b"\x55"
        for identity, address, size in requests:
            found = [servo for servo in self.at(identity) if servo.memory[68] and servo.id not in self.silent]
            if not found:
                break
            error, values = self._read(found[0], address, size)
            frame += bytes([error | (0x80 if found[0].fault else 0), identity]) + values.ljust(size, b"\0")
            frame += crc16(frame).to_bytes(2, "little")
        if len(frame) > 8:
            yield frame

    def _write_several(self, instruction: int, data: bytes) -> None:
        """Execute a sync or bulk write."""
        at, address, length = 0, 0, 0
        if instruction == SYNC_WRITE:
            address, length, at = data[0] | data[1] << 8, data[2] | data[3] << 8, 4
        while at < len(data):
            identity, at = data[at], at + 1
            if instruction == BULK_WRITE:
                address, length = data[at] | data[at + 1] << 8, data[at + 2] | data[at + 3] << 8
                at += 4
            for servo in [*self.at(identity), *self._coupled(identity)]:
                self._write(servo, address, data[at : at + length])
            at += length
        if address == 116:
            self.log_goals([servo.signed(116, 4) for servo in self.servos])

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
        """Write to a servo's registers; return the error number, 0 for success."""
        if servo.id in self.silent:
            return RESULT_FAIL
        # Indirect data: a run of addresses that are adjacent in the control table is one write.
        targets = [self._mapped(servo, address + k) for k in range(len(data))]
        at = 0
        while at < len(data):
            end = at + 1
            while end < len(data) and targets[end] == targets[end - 1] + 1:
                end += 1
            if error := self._write_adjacent(servo, targets[at], data[at:end]):
                return error
            at = end
        return 0

    def _write_adjacent(self, servo: Servo, address: int, data: bytes) -> int:
        """Write adjacent registers; return the error number, 0 for success."""
        joint = self.servos.index(servo)
        written = range(address, address + len(data))
        if error := check_write(self.models[joint], self._tables[joint], servo, address, data):
            return error
        if 64 in written and data[64 - address] and servo.fault & servo.memory[63]:
            return RESULT_FAIL
        if set(GOALS) & set(written) and servo.memory[10] & TORQUE_ON_BY_GOAL and not servo.fault:
            servo.memory[64] = 1
        reversed_before = self.sign(servo)
        if address < EEPROM_SIZE:
            servo.store(address, data)
        else:
            servo.memory[address : address + len(data)] = data
        if 11 in written:
            for register, value in mode_values(servo).items():
                servo.put(register, self._tables[joint][register].size if register in self._tables[joint] else 2, value)
        if 11 in written or self.sign(servo) != reversed_before:
            servo.turns = self.whole_turns(joint)
        if 116 in written:
            self.start_motion(joint)
        self.note_written(servo, address, len(data))
        return 0


def _requests(instruction: int, data: bytes) -> list[tuple[int, int, int]]:
    """Return id, address and length of each part of a sync or bulk read."""
    if instruction in (SYNC_READ, FAST_SYNC_READ):
        address, length = data[0] | data[1] << 8, data[2] | data[3] << 8
        return [(identity, address, length) for identity in data[4:]]
    parts = [data[k : k + 5] for k in range(0, len(data), 5)]
    return [(part[0], part[1] | part[2] << 8, part[3] | part[4] << 8) for part in parts]


def crc16(data: bytes) -> int:
    """Return the CRC-16 of protocol 2.0: polynomial 0x8005, most significant bit first, initial value 0."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc
