"""The registers of servos on a serial bus, through the vendors' packet handlers: what Feetech and Dynamixel share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from waldo.errors import HardwareError
from waldo.robots.drivers.serial_port import SerialPort

TRIES = 5
"""How often a register is asked for before it is given up."""


@dataclass(frozen=True, slots=True)
class Register:
    """Where a value lies in a servo's memory."""

    address: int
    size: int
    """Bytes, the lowest first."""
    sign_bit: int | None = None
    """Feetech's way of signs: the bit that says minus."""
    signed: bool = False
    """The other way: two's complement."""

    def encode(self, value: int) -> bytes:
        """Return a value's bytes."""
        if self.sign_bit is not None:
            value = abs(value) | (1 << self.sign_bit if value < 0 else 0)
        return value.to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes) -> int:
        """Return the value of bytes."""
        value = int.from_bytes(data[: self.size], "little", signed=self.signed)
        if self.sign_bit is not None and value & (1 << self.sign_bit):
            return -(value & ((1 << self.sign_bit) - 1))
        return value

    def within(self, block: bytes, start: int) -> int:
        """Return the value from a block that begins at the address `start`."""
        return self.decode(block[self.address - start :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one servo says of itself, at its own shaft."""

    position: float
    """[counts]."""
    speed: float
    """[counts/s]."""
    pwm_ratio: float
    """Share of the supply voltage that is at the winding, -1..1."""
    voltage_v: float
    temperature_c: float
    """The sensor on the servo's board [°C]."""
    current_a: float
    """NaN where the servo does not measure it [A]."""
    fault: str = ""
    """What is wrong, in words; empty where nothing."""
    disabled: bool = False
    """Whether it has switched itself off."""


class ServoBus:
    """One vendor's frames and registers on an open port, through the vendor's packet handler."""

    homing: ClassVar[Register]
    lower: ClassVar[Register]
    upper: ClassVar[Register]
    enable: ClassVar[Register]
    goal: ClassVar[Register]
    block: ClassVar[tuple[int, int]]
    """Address and length of what is read each cycle."""
    header: ClassVar[int]
    """Bytes of a status frame beside its data."""
    drive_mode: ClassVar[Register | None] = None
    """Where a servo keeps that it turns the other way round, if it does so by itself; bit 0."""
    models: ClassVar[Mapping[int, str]]
    """Model number -> name of the servos that this driver knows."""

    def __init__(self, port: SerialPort, handler: Any) -> None:
        """Take the open port and the SDK's packet handler."""
        self.port, self.handler = port, handler
        self.model: dict[int, int] = {}
        """Id -> model number of the servos that have answered."""

    # what the SDKs differ in

    def ask_all(self, ids: Sequence[int], address: int, length: int) -> None:
        """Send a sync read."""
        raise NotImplementedError

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return the next frame's id, error byte and data; None for a damaged one or none."""
        raise NotImplementedError

    def decode(self, servo: int, block: bytes, error: int) -> Feedback:
        """Return what a servo's block of registers says."""
        raise NotImplementedError

    def homing_offset(self, reads: int, wanted: int) -> int:
        """Return the offset with which a servo that reads so without one reads what is wanted."""
        raise NotImplementedError

    def unlock(self, servo: int) -> None:
        """Let a servo's lasting memory be written, where it is locked while the torque is off."""

    def lock(self, servo: int) -> None:
        """Lock it again."""

    def clear(self, servo: int) -> None:
        """Clear a latched error."""
        raise NotImplementedError

    def prepare(self, servo: int) -> None:
        """Set what positions depend on: the operating mode."""
        raise NotImplementedError

    def configure(self, servo: int, effort_ratio: float) -> None:
        """Set a servo up to give up to a share of its torque; one that is set up already keeps holding."""
        raise NotImplementedError

    # what they share

    def ping(self, servo: int) -> bool:
        """Say whether a servo answers, and learn its model."""
        for _ in range(TRIES):
            try:
                number, result, _ = self.handler.ping(self.port, servo)
            except IndexError:
                # Feetech's handler does not expect that the model's answer is another, late one.
                continue
            if result == 0:
                self.model[servo] = number
                return True
        return False

    def read(self, servo: int, register: Register) -> int:
        """Return a register's value; raises HardwareError when the servo does not answer."""
        for _ in range(TRIES):
            data, result, _ = self.handler.readTxRx(self.port, servo, register.address, register.size)
            if result == 0 and len(data) == register.size:
                return register.decode(bytes(data))
        raise HardwareError(
            f"no answer from id {servo} on {self.port.name}; check power, the bus cable and noise on it"
        )

    def write(self, servo: int, register: Register, value: int) -> None:
        """Write a register; raises HardwareError when the servo does not confirm it."""
        said = "no answer"
        for _ in range(TRIES):
            data = list(register.encode(value))
            result, error = self.handler.writeTxRx(self.port, servo, register.address, register.size, data)
            if result == 0:
                if refused := self.refused(error):
                    said = refused
                    continue
                return
        raise HardwareError(
            f"id {servo} on {self.port.name} does not take {value} at address {register.address}: {said}"
        )

    def refused(self, error: int) -> str:
        """Return why a write was not done, from a status frame's error byte; empty where it was."""
        del error
        return ""

    def change(self, servo: int, register: Register, value: int) -> None:
        """Write a register of the lasting memory, which wears, only where it differs; the servo lets go for that."""
        if self.read(servo, register) != value:
            self.write(servo, self.enable, 0)
            self.unlock(servo)
            self.write(servo, register, value)
            self.lock(servo)

    def read_all(self, ids: Sequence[int]) -> dict[int, Feedback]:
        """Ask all servos once for their block; return those that answered, in whatever order."""
        address, length = self.block
        self.ask_all(ids, address, length)
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
        """Write a register of several servos with one frame, which nobody answers."""
        data = [byte for servo, value in values.items() for byte in (servo, *register.encode(value))]
        self.handler.syncWriteTxOnly(self.port, register.address, register.size, data, len(data))
        self.port.is_using = False
