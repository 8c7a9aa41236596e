"""Register access to serial servos through the vendors' packet handlers; base class for Feetech and Dynamixel."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waldo.errors import HardwareError
from waldo.robots.drivers.serial_port import SerialPort

ATTEMPTS = 5
"""Number of times that a register is read or written before the servo counts as not responding."""
READ_ATTEMPTS = 7
"""Number of requests for one reading: behind a response that is 0.3 s late, there are three of them."""
SILENT_S = 0.02
"""Time without a byte after which the line counts as silent [s], after the first timeout; doubled after each further
one, up to `LONGEST_SILENT_S`."""
LONGEST_SILENT_S = 0.16
DISTURBED = 3
"""Readings of a servo that are damaged before it counts as disturbed by another one with its id."""
LENGTHS = 8
"""Number of different lengths of responses to the same request."""
LATEST_S = 1.0
"""Time after a request in which its response may still arrive [s], unless the response to a later one has arrived."""


@dataclass(frozen=True, slots=True)
class Register:
    """Location and encoding of a value in a servo's control table."""

    address: int
    size: int
    """Number of bytes, in little-endian order."""
    sign_bit: int | None = None
    """Index of the sign bit for sign-magnitude values, as used by Feetech."""
    signed: bool = False
    """Whether the value is in two's complement, as used by Dynamixel."""

    def encode(self, value: int) -> bytes:
        """Return the bytes of a value."""
        if self.sign_bit is not None:
            value = abs(value) | (1 << self.sign_bit if value < 0 else 0)
        return value.to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """Return the value of the first `size` bytes."""
        value = int.from_bytes(data[: self.size], "little", signed=self.signed)
        if self.sign_bit is not None and value & (1 << self.sign_bit):
            return -(value & ((1 << self.sign_bit) - 1))
        return value

    def within(self, block: bytes, start: int) -> int:
        """Return the value from a block of bytes that starts at address `start`."""
        return self.decode(block[self.address - start :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One reading of a servo, at its own shaft."""

    position: float
    """[counts]."""
    speed: float
    """[counts/s]."""
    pwm_ratio: float
    """Duty cycle: fraction of the supply voltage applied to the winding, -1 to 1."""
    voltage_v: float
    """Supply voltage [V]."""
    temperature_c: float
    """Sensor on the servo's board [°C]."""
    current_a: float
    """Motor current [A]; NaN if the servo does not measure it."""
    fault: str = ""
    """Faults as text; empty if there are none."""
    disabled: bool = False
    """Whether a protection has disabled or reduced the servo's torque."""


class ServoBus:
    """The frames and registers of one vendor's servos on an open serial port.

    A response carries the id of its servo, but not what it responds to. A response that arrives after the timeout of
    its request must not be taken for the response to a later one, which may be a different register. Therefore each
    request asks for so many adjacent registers that its response differs in length from those that may still arrive,
    and a response with another length is discarded.
    """

    number: ClassVar[Register]
    """Model number."""
    homing: ClassVar[Register]
    lower: ClassVar[Register]
    upper: ClassVar[Register]
    enable: ClassVar[Register]
    goal: ClassVar[Register]
    block: ClassVar[tuple[int, int]]
    """Address and length [bytes] of the registers that are read in each cycle."""
    motion: ClassVar[tuple[int, int]]
    """Address and length [bytes] of position and speed alone."""
    header: ClassVar[int]
    """Length of a status frame without its data [bytes]."""
    drive_mode: ClassVar[Register | None] = None
    """Register whose bit 0 reverses the servo's direction; None if the servo has no such setting."""
    secondary: ClassVar[Register | None] = None
    """Register with a second id whose frames the servo executes as well; None if the servo has no such setting."""
    models: ClassVar[Mapping[int, str]]
    """Supported servos: model number -> name."""
    turns: ClassVar[bool] = False
    """Whether positions continue over several turns, but start within one turn when the servo is switched on."""
    baud_rates: ClassVar[tuple[int, ...]]
    """Baud rates that a servo may be set to [bit/s], the factory's first."""

    def __init__(self, port: SerialPort, handler: Any) -> None:
        """Use an open port and the packet handler of the vendor's SDK."""
        self.port, self.handler = port, handler
        self.model: dict[int, int] = {}
        """Servo id -> model number of the servos that have responded to a ping."""
        self._used: dict[int, float] = {}
        """Length of a response -> time of the last request for it [s]."""
        self._open: dict[int, float] = {}
        """The same for requests without a response, which may still arrive."""

    # Provided by a vendor's class.

    def query(self, servo: int, address: int, length: int) -> None:
        """Send a read."""
        raise NotImplementedError

    def query_all(self, ids: Sequence[int], address: int, length: int) -> None:
        """Send a sync read."""
        raise NotImplementedError

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return the id, error byte and data of the next frame; None if it is damaged or there is none."""
        raise NotImplementedError

    def decode(self, servo: int, block: bytes, error: int) -> Feedback:
        """Return the reading in a servo's block of registers."""
        raise NotImplementedError

    def decode_motion(self, block: bytes) -> tuple[float, float]:
        """Return position [counts] and speed [counts/s] in the registers of `motion`."""
        raise NotImplementedError

    def homing_offset(self, present: int, wanted: int) -> int:
        """Return the homing offset that changes a servo's reading from `present` to `wanted` [counts]."""
        raise NotImplementedError

    def unlock(self, servo: int) -> None:
        """Allow writing to the servo's non-volatile memory; does nothing if it has no lock."""

    def lock(self, servo: int) -> None:
        """Protect the servo's non-volatile memory; does nothing if it has no lock."""

    def clear(self, servo: int) -> None:
        """Clear a latched error."""
        raise NotImplementedError

    def prepare(self, servo: int) -> None:
        """Set the operating mode, on which the meaning of positions depends."""
        raise NotImplementedError

    def configure(self, servo: int, effort_ratio: float) -> None:
        """Set gains and limits; a servo that is configured already keeps holding its position.

        Args:
            servo: Id of the servo.
            effort_ratio: Allowed fraction of the servo's stall torque, 0 to 1.
        """
        raise NotImplementedError

    # Common to all vendors.

    def supports(self, number: int) -> bool:
        """Return whether a servo of this model number has the registers of this class."""
        return number in self.models

    def ping(self, servo: int) -> bool:
        """Return whether a servo responds, and store its model number."""
        try:
            self.model[servo] = self.read(servo, self.number)
        except HardwareError:
            return False
        return True

    def finds(self, ids: Sequence[int], baudrate: int) -> bool:
        """Return whether one of some servos responds at another baud rate [bit/s]; the rate is kept."""
        self.port.set_baudrate(baudrate)
        self._open.clear()
        for servo in ids:
            try:
                self._read_bytes(servo, self.number.address, self.number.size, attempts=1)
            except HardwareError:
                continue
            return True
        return False

    def is_disturbed(self, servo: int) -> bool:
        """Return whether the readings of a servo that responds are always damaged, as if another one had its id."""
        try:
            self._read_bytes(servo, *self.block, attempts=DISTURBED)
        except HardwareError:
            return True
        return False

    def read(self, servo: int, register: Register) -> int:
        """Return the value of a register, read until two readings in succession agree.

        Raises:
            HardwareError: If the servo does not respond, or no two readings agree.
        """
        return self.read_together(servo, [register])[0]

    def read_once(self, servo: int, register: Register) -> int:
        """Return the value of a register from a single reading, for the control cycle.

        Raises:
            HardwareError: If the servo does not respond at once.
        """
        return register.decode(self._read_bytes(servo, register.address, register.size, attempts=1))

    def read_together(self, servo: int, registers: Sequence[Register]) -> list[int]:
        """Return the values of several registers, read as one block until two readings in succession agree.

        Raises:
            HardwareError: If the servo does not respond, or no two readings agree.
        """
        start = min(register.address for register in registers)
        length = max(register.address + register.size for register in registers) - start
        before = b""
        for _ in range(ATTEMPTS):
            block = self._read_bytes(servo, start, length)
            if block == before:
                return [register.within(block, start) for register in registers]
            before = block
        raise HardwareError(
            f"servo {servo} on {self.port.name} returns different values in each of {ATTEMPTS} readings of address "
            f"{start}; check noise on the bus, that no other program uses it, and that no two servos have the same id"
        )

    def write(self, servo: int, register: Register, value: int) -> None:
        """Write a register and read it back.

        Raises:
            HardwareError: If the servo rejects the value or does not respond.
        """
        reason, data = "no response", register.encode(value)
        for _ in range(ATTEMPTS):
            self.handler.writeTxOnly(self.port, servo, register.address, register.size, list(data))
            self.port.setPacketTimeout(self.header)
            response = self._receive_from({servo}, 0)
            if response is not None and (refused := self.refused(response[1])):
                reason = refused
            elif self._read_bytes(servo, register.address, register.size) == data:
                return
            else:
                reason = "another value is read back"
        raise HardwareError(
            f"servo {servo} on {self.port.name} did not accept {value} at address {register.address} ({reason}); "
            "check its power supply and that its model matches the driver"
        )

    def _read_bytes(self, servo: int, address: int, length: int, attempts: int = READ_ATTEMPTS) -> bytes:
        """Return the bytes of adjacent registers."""
        for attempt in range(attempts):
            if attempt:
                self.recover(attempt)
            while (distinct := self._distinct(address, length)) is None and attempts > 1:
                self._listen()
            if distinct is None:
                break
            start, total = distinct
            self.query(servo, start, total)
            self.port.setPacketTimeout(self.header + total)
            if (response := self._receive_from({servo}, total)) is not None:
                self._open.pop(total, None)
                return response[2][address - start :][:length]
        raise HardwareError(
            f"no response from servo {servo} on {self.port.name}; check its power supply, cable and bus noise"
        )

    def recover(self, attempt: int) -> None:
        """Wait until the line is silent, before the n-th repetition of a request."""
        self.port.drain(min(SILENT_S * 2 ** (attempt - 1), LONGEST_SILENT_S))

    def _distinct(self, address: int, length: int) -> tuple[int, int] | None:
        """Return the start and length of a block that contains registers, for a request that is sent now.

        No response of this length is expected any more, and it was not used lately. None if there is no such length.
        """
        now_s = time.monotonic()
        totals = range(length, length + LENGTHS)
        free = [total for total in totals if now_s - self._open.get(total, -np.inf) > LATEST_S]
        if not free:
            return None
        total = min(free, key=lambda one: self._used.get(one, -np.inf))
        self._used[total] = self._open[total] = now_s
        # Registers before the address: after the last one there may be none.
        return max(0, address - (total - length)), total

    def _receive_from(self, ids: Collection[int], length: int) -> tuple[int, int, bytes] | None:
        """Return the next frame of one of some servos with so many bytes of data; None at the port's timeout."""
        while True:
            frame = self.receive()
            if frame is not None:
                self._settle(len(frame[2]))
                if frame[0] in ids and len(frame[2]) == length:
                    return frame
            if self.port.isPacketTimeout():
                return None

    def _settle(self, total: int) -> None:
        """Forget the requests before the one whose response has this length: responses keep their order on a line."""
        if (sent_s := self._open.get(total)) is not None:
            self._open = {one: at_s for one, at_s in self._open.items() if at_s >= sent_s}

    def _listen(self) -> None:
        """Discard responses that arrive late, for a moment."""
        self.port.setPacketTimeout(self.header)
        self._receive_from((), -1)

    def refused(self, error: int) -> str:
        """Return why a write was rejected, from the error byte of the response; empty if it was not."""
        del error
        return ""

    def hold(self, servo: int, goal: int) -> None:
        """Enable a servo's torque at a goal [counts]; one that is enabled already keeps its goal.

        Raises:
            HardwareError: If the servo does not accept its goal; its torque then stays disabled.
        """
        if self.read(servo, self.enable) == 1:
            return
        self.write(servo, self.goal, goal)
        if (found := self.read(servo, self.goal)) != goal:
            raise HardwareError(
                f"servo {servo} on {self.port.name} has goal {found} after {goal} was written, so its torque stays "
                "disabled; check noise on the bus and that no other program uses it"
            )
        self.write(servo, self.enable, 1)

    def change(self, servo: int, register: Register, value: int) -> None:
        """Write a register in non-volatile memory if its value differs; this disables the servo's torque.

        Unnecessary writes are avoided because the memory wears out.
        """
        if self.read(servo, register) != value:
            self.write(servo, self.enable, 0)
            self.unlock(servo)
            self.write(servo, register, value)
            self.lock(servo)

    def read_all(self, ids: Sequence[int]) -> dict[int, Feedback]:
        """Read the block of registers of all servos with one request; return servo id -> reading of those that respond.

        Responses may arrive in any order.
        """
        found = self._read_blocks(ids, *self.block)
        return {servo: self.decode(servo, block, error) for servo, (block, error) in found.items()}

    def read_motions(self, ids: Sequence[int]) -> dict[int, tuple[float, float]]:
        """Read position [counts] and speed [counts/s] of all servos with one short request."""
        return {servo: self.decode_motion(block) for servo, (block, _) in self._read_blocks(ids, *self.motion).items()}

    def _read_blocks(self, ids: Sequence[int], address: int, length: int) -> dict[int, tuple[bytes, int]]:
        """Return servo id -> registers and error byte of the servos that respond to one request."""
        if (distinct := self._distinct(address, length)) is None:
            self._listen()
            return {}
        start, total = distinct
        self.query_all(ids, start, total)
        self.port.setPacketTimeout((self.header + total) * len(ids))
        found: dict[int, tuple[bytes, int]] = {}
        while len(found) < len(ids) and (frame := self._receive_from(ids, total)) is not None:
            found[frame[0]] = frame[2][address - start :], frame[1]
        if len(found) == len(ids):
            self._open.pop(total, None)
        return found

    def write_all(self, register: Register, values: Mapping[int, int]) -> None:
        """Write one register of several servos with one frame, to which no servo responds."""
        data = [byte for servo, value in values.items() for byte in (servo, *register.encode(value))]
        self.handler.syncWriteTxOnly(self.port, register.address, register.size, data, len(data))
        self.port.is_using = False
