"""Register access to serial servos through the vendors' packet handlers; base class for Feetech and Dynamixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from waldo.errors import HardwareError
from waldo.robots.drivers.serial_port import SerialPort

ATTEMPTS = 5
"""Number of times that a register is read or written before the servo counts as not responding."""


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
    """The frames and registers of one vendor's servos on an open serial port."""

    homing: ClassVar[Register]
    lower: ClassVar[Register]
    upper: ClassVar[Register]
    enable: ClassVar[Register]
    goal: ClassVar[Register]
    block: ClassVar[tuple[int, int]]
    """Address and length [bytes] of the registers that are read in each cycle."""
    header: ClassVar[int]
    """Length of a status frame without its data [bytes]."""
    drive_mode: ClassVar[Register | None] = None
    """Register whose bit 0 reverses the servo's direction; None if the servo has no such setting."""
    models: ClassVar[Mapping[int, str]]
    """Supported servos: model number -> name."""

    def __init__(self, port: SerialPort, handler: Any) -> None:
        """Use an open port and the packet handler of the vendor's SDK."""
        self.port, self.handler = port, handler
        self.model: dict[int, int] = {}
        """Servo id -> model number of the servos that have responded to a ping."""

    # Provided by a vendor's class.

    def query_all(self, ids: Sequence[int], address: int, length: int) -> None:
        """Send a sync read."""
        raise NotImplementedError

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return the id, error byte and data of the next frame; None if it is damaged or there is none."""
        raise NotImplementedError

    def decode(self, servo: int, block: bytes, error: int) -> Feedback:
        """Return the reading in a servo's block of registers."""
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

    def ping(self, servo: int) -> bool:
        """Return whether a servo responds, and store its model number."""
        for _ in range(ATTEMPTS):
            try:
                number, result, _ = self.handler.ping(self.port, servo)
            except IndexError:
                # Feetech's handler fails on a late response to an earlier request.
                continue
            if result == 0:
                self.model[servo] = number
                return True
        return False

    def read(self, servo: int, register: Register) -> int:
        """Return the value of a register.

        Raises:
            HardwareError: If the servo does not respond.
        """
        for _ in range(ATTEMPTS):
            data, result, _ = self.handler.readTxRx(self.port, servo, register.address, register.size)
            if result == 0 and len(data) == register.size:
                return register.decode(bytes(data))
        raise HardwareError(
            f"no response from servo {servo} on {self.port.name}; check its power supply, cable and bus noise"
        )

    def write(self, servo: int, register: Register, value: int) -> None:
        """Write a register.

        Raises:
            HardwareError: If the servo rejects the value or does not respond.
        """
        reason = "no response"
        for _ in range(ATTEMPTS):
            data = list(register.encode(value))
            result, error = self.handler.writeTxRx(self.port, servo, register.address, register.size, data)
            if result == 0:
                if refused := self.refused(error):
                    reason = refused
                    continue
                return
        raise HardwareError(
            f"servo {servo} on {self.port.name} did not accept {value} at address {register.address} ({reason}); "
            "check its power supply and that its model matches the driver"
        )

    def refused(self, error: int) -> str:
        """Return why a write was rejected, from the error byte of the response; empty if it was not."""
        del error
        return ""

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
        address, length = self.block
        self.query_all(ids, address, length)
        self.port.setPacketTimeout((self.header + length) * len(ids))
        found: dict[int, Feedback] = {}
        while len(found) < len(ids):
            frame = self.receive()
            if frame is not None and frame[0] in ids and len(frame[2]) == length:
                found[frame[0]] = self.decode(frame[0], frame[2], frame[1])
            elif self.port.isPacketTimeout():
                break
        return found

    def write_all(self, register: Register, values: Mapping[int, int]) -> None:
        """Write one register of several servos with one frame, to which no servo responds."""
        data = [byte for servo, value in values.items() for byte in (servo, *register.encode(value))]
        self.handler.syncWriteTxOnly(self.port, register.address, register.size, data, len(data))
        self.port.is_using = False
