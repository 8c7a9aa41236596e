"""Feetech STS and SMS servos: the arms SO-100 and SO-101 and many more.

Registers: Feetech's "STS/SMS memory table", as also in lerobot 0.6.1, motors/feetech/tables.py; signs as in Feetech's
own SMS_STS library (bit 15, of the load bit 10). One sync read of 56..70 a cycle: position, speed, load, voltage,
temperature, status, moving and current are neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from waldo.errors import InvalidValueError
from waldo.robots.drivers.serial_port import SerialPort
from waldo.robots.drivers.servo_bus import Feedback, Register, ServoBus
from waldo.robots.drivers.servo_robot import SerialServoDriver, ServoOptions

RETURN_DELAY, P_GAIN, D_GAIN, I_GAIN, MODE = (Register(a, 1) for a in (7, 21, 22, 23, 33))
PHASE, ACCELERATION, LOCK = Register(18, 1), Register(41, 1), Register(55, 1)
TORQUE_LIMIT = Register(48, 2)
"""In thousandths of the stall torque; forgotten when the power goes."""
POSITION = Register(56, 2, sign_bit=15)
SPEED = Register(58, 2, sign_bit=15)
LOAD = Register(60, 2, sign_bit=10)
VOLTAGE, TEMPERATURE, STATUS = Register(62, 1), Register(63, 1), Register(65, 1)
CURRENT = Register(69, 2, sign_bit=15)

AMPERES = 0.0065
"""Unit of the current [A]."""
FULL_LOAD = 1000
"""Load at full PWM."""
MULTI_TURN = 0x10
"""Bit of PHASE: positions count on over whole turns, instead of 0..4095."""

ERRORS = {0: "supply voltage", 1: "angle sensor", 2: "over-temperature", 3: "over-current", 5: "overload"}
"""Bit of the status -> words."""
SWITCHED_OFF = 0b100100
"""Bits with which a servo gives no torque, or only its protective one: over-temperature, overload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeetechOptions(ServoOptions):
    """How the servos are reached and driven."""

    p: int = 16
    """Position gain; the factory's 32 shakes an SO-101, LeRobot takes 16 too."""
    i: int = 0
    """Integral gain."""
    d: int = 32
    """Damping gain."""

    def __post_init__(self) -> None:
        """Refuse what does not fit into a register."""
        ServoOptions.__post_init__(self)
        for name in ("p", "i", "d"):
            if not 0 <= getattr(self, name) <= 254:
                raise InvalidValueError(name, getattr(self, name), "a whole number from 0 to 254")


def faults(bits: int) -> str:
    """Return what a status says, in words; empty where nothing is wrong."""
    unknown = bits & ~sum(1 << bit for bit in ERRORS)
    words = [text for bit, text in ERRORS.items() if bits & 1 << bit]
    return ", ".join(words + [f"status 0x{unknown:02X}"] * bool(unknown))


class FeetechBus(ServoBus):
    """STS servos on an open port."""

    homing: ClassVar[Register] = Register(31, 2, sign_bit=11)
    lower: ClassVar[Register] = Register(9, 2)
    upper: ClassVar[Register] = Register(11, 2)
    enable: ClassVar[Register] = Register(40, 1)
    goal: ClassVar[Register] = Register(42, 2, sign_bit=15)
    block: ClassVar[tuple[int, int]] = (56, 15)
    header: ClassVar[int] = 6
    models: ClassVar[Mapping[int, str]] = {777: "STS3215", 2825: "STS3250"}

    def __init__(self, port: SerialPort, handler: Any, options: FeetechOptions) -> None:
        """Take the open port, the SDK's packet handler and the gains."""
        super().__init__(port, handler)
        self.options = options

    def ask_all(self, ids: Sequence[int], address: int, length: int) -> None:
        """Send a sync read."""
        self.handler.syncReadTx(self.port, address, length, list(ids), len(ids))

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return the next frame's id, status and data; None for a damaged one or none."""
        frame, result = self.handler.rxPacket(self.port)
        return (frame[2], frame[4], bytes(frame[5:-1])) if result == 0 else None

    def decode(self, servo: int, block: bytes, error: int) -> Feedback:
        """Return what the block says; the status stands in it as well as in the frame's head."""
        del servo
        start = self.block[0]
        return Feedback(
            position=POSITION.within(block, start),
            speed=SPEED.within(block, start),
            pwm_ratio=LOAD.within(block, start) / FULL_LOAD,
            voltage_v=VOLTAGE.within(block, start) / 10,
            temperature_c=TEMPERATURE.within(block, start),
            current_a=CURRENT.within(block, start) * AMPERES,
            fault=faults(status := STATUS.within(block, start) | error),
            disabled=bool(status & SWITCHED_OFF),
        )

    def homing_offset(self, reads: int, wanted: int) -> int:
        """Return the offset: present = actual - offset, of up to 2047."""
        return max(-2047, min(2047, reads - wanted))

    def unlock(self, servo: int) -> None:
        """Let what is written outlast the power."""
        self.write(servo, LOCK, 0)

    def lock(self, servo: int) -> None:
        """Keep it."""
        self.write(servo, LOCK, 1)

    def clear(self, servo: int) -> None:
        """Clear an overload, which switching on does: where it is, so that nothing moves."""
        self.write(servo, self.goal, self.read(servo, POSITION))
        self.write(servo, self.enable, 1)
        self.write(servo, self.enable, 0)

    def prepare(self, servo: int) -> None:
        """Position mode; positions within one turn."""
        self.change(servo, MODE, 0)
        self.change(servo, PHASE, self.read(servo, PHASE) & ~MULTI_TURN)

    def configure(self, servo: int, effort_ratio: float) -> None:
        """Answers without delay, the driver's gains, full acceleration: the robot node ramps."""
        options = self.options
        self.change(servo, RETURN_DELAY, 0)
        for register, value in ((P_GAIN, options.p), (I_GAIN, options.i), (D_GAIN, options.d)):
            self.change(servo, register, value)
        self.write(servo, ACCELERATION, 254)
        self.write(servo, TORQUE_LIMIT, round(FULL_LOAD * effort_ratio))


class FeetechDriver(SerialServoDriver):
    """STS servos on a serial bus, as a Driver (waldo.robots.driver)."""

    options_class: ClassVar[type[ServoOptions]] = FeetechOptions
    vendor: ClassVar[str] = "feetech"

    def make_bus(self, port: SerialPort) -> ServoBus:
        """Return Feetech's frames on an open port."""
        from scservo_sdk import PacketHandler

        assert isinstance(self.options, FeetechOptions)
        return FeetechBus(port, PacketHandler(0), self.options)
