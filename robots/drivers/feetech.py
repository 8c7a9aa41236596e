"""Driver for Feetech STS and SMS servos, as used in the SO-100 and SO-101 arms.

Registers are those of Feetech's "STS/SMS memory table" (also in lerobot 0.6.1, motors/feetech/tables.py). Signed values
are in sign-magnitude form with the sign in bit 15, or bit 10 for the load, as in Feetech's SMS_STS library (ReadPos,
ReadSpeed, ReadLoad, ReadCurrent); the sign of the current is that of the direction in which it drives. Position,
speed, load, voltage, temperature, status and current are adjacent (registers 56 to 70), so that one sync read per
cycle returns all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from waldo.errors import InvalidValueError
from waldo.robots.drivers.bus_driver import BusOptions
from waldo.robots.drivers.serial_port import SerialPort
from waldo.robots.drivers.servo_bus import Feedback, Register, ServoBus
from waldo.robots.drivers.servo_robot import SerialServoDriver, ServoOptions

RETURN_DELAY, P_GAIN, D_GAIN, I_GAIN, MODE = (Register(a, 1) for a in (7, 21, 22, 23, 33))
PHASE, ACCELERATION, LOCK = Register(18, 1), Register(41, 1), Register(55, 1)
GOAL_TIME, GOAL_SPEED = Register(44, 2), Register(46, 2)
"""Time and speed of the motion to a goal; 0 for as fast as possible. Volatile, and left by other programs."""
TORQUE_LIMIT = Register(48, 2)
"""Thousandths of the stall torque; volatile."""
POSITION = Register(56, 2, sign_bit=15)
SPEED = Register(58, 2, sign_bit=15)
LOAD = Register(60, 2, sign_bit=10)
VOLTAGE, TEMPERATURE, STATUS = Register(62, 1), Register(63, 1), Register(65, 1)
CURRENT = Register(69, 2, sign_bit=15)

AMPERES = 0.0065
"""Unit of the current [A]."""
FULL_LOAD = 1000
"""Load at a duty cycle of 100 %."""
MULTI_TURN = 0x10
"""Bit of PHASE: positions accumulate over several turns instead of staying within 0 to 4095."""

ERRORS = {0: "supply voltage", 1: "angle sensor", 2: "over-temperature", 3: "over-current", 5: "overload"}
"""Bit of the status register -> text."""
TORQUE_OFF_BITS = 0b100100
"""Status bits at which a servo disables its torque or reduces it to the protective torque."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeetechOptions(ServoOptions):
    """Options of the `feetech` driver."""

    p: int = 16
    """Position gain. The factory default of 32 makes an SO-101 oscillate; LeRobot also uses 16."""
    i: int = 0
    """Integral gain."""
    d: int = 32
    """Damping gain."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a gain that does not fit into its register."""
        ServoOptions.__post_init__(self)
        for name in ("p", "i", "d"):
            if not 0 <= getattr(self, name) <= 254:
                raise InvalidValueError(name, getattr(self, name), "a whole number from 0 to 254")


def fault_text(bits: int) -> str:
    """Return the faults of a status register as text; empty if there are none."""
    unknown = bits & ~sum(1 << bit for bit in ERRORS)
    texts = [text for bit, text in ERRORS.items() if bits & 1 << bit]
    return ", ".join(texts + [f"status 0x{unknown:02X}"] * bool(unknown))


class FeetechBus(ServoBus):
    """STS servos on an open serial port."""

    number: ClassVar[Register] = Register(3, 2)
    homing: ClassVar[Register] = Register(31, 2, sign_bit=11)
    lower: ClassVar[Register] = Register(9, 2)
    upper: ClassVar[Register] = Register(11, 2)
    enable: ClassVar[Register] = Register(40, 1)
    goal: ClassVar[Register] = Register(42, 2, sign_bit=15)
    block: ClassVar[tuple[int, int]] = (56, 15)
    motion: ClassVar[tuple[int, int]] = (56, 4)
    header: ClassVar[int] = 6
    models: ClassVar[Mapping[int, str]] = {777: "STS3215", 2825: "STS3250"}
    series: ClassVar[int] = 9
    """Low byte of the model number, the major version of the servo, of every STS servo: they share one memory table."""
    baud_rates: ClassVar[tuple[int, ...]] = (1_000_000, 500_000, 250_000, 128_000, 115_200, 76_800, 57_600, 38_400)

    def __init__(self, port: SerialPort, handler: Any, options: FeetechOptions) -> None:
        """Use an open port, the SDK's packet handler, and the gains of `options`."""
        super().__init__(port, handler)
        self.options = options

    def supports(self, number: int) -> bool:
        """Return whether a model number is that of an STS servo."""
        return number & 0xFF == self.series

    def query(self, servo: int, address: int, length: int) -> None:
        """Send a read."""
        self.handler.readTx(self.port, servo, address, length)

    def query_all(self, ids: Sequence[int], address: int, length: int) -> None:
        """Send a sync read."""
        self.handler.syncReadTx(self.port, address, length, list(ids), len(ids))

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return the id, status and data of the next frame; None if it is damaged or there is none."""
        frame, result = self.handler.rxPacket(self.port)
        return (frame[2], frame[4], bytes(frame[5:-1])) if result == 0 else None

    def decode(self, servo: int, block: bytes, error: int) -> Feedback:
        """Return the reading in a block of registers; the status is in the block and in the frame's error byte."""
        del servo
        start = self.block[0]
        status = STATUS.within(block, start) | error
        return Feedback(
            position=POSITION.within(block, start),
            speed=SPEED.within(block, start),
            pwm_ratio=LOAD.within(block, start) / FULL_LOAD,
            voltage_v=VOLTAGE.within(block, start) / 10,
            temperature_c=TEMPERATURE.within(block, start),
            current_a=CURRENT.within(block, start) * AMPERES,
            fault=fault_text(status),
            disabled=bool(status & TORQUE_OFF_BITS),
        )

    def decode_motion(self, block: bytes) -> tuple[float, float]:
        """Return position [counts] and speed [counts/s]."""
        start = self.motion[0]
        return POSITION.within(block, start), SPEED.within(block, start)

    def homing_offset(self, present: int, wanted: int) -> int:
        """Return the offset (present = actual - offset), limited to ±2047."""
        return max(-2047, min(2047, present - wanted))

    def unlock(self, servo: int) -> None:
        """Make writes persist across a power cycle."""
        self.write(servo, LOCK, 0)

    def lock(self, servo: int) -> None:
        """Make writes volatile again."""
        self.write(servo, LOCK, 1)

    def clear(self, servo: int) -> None:
        """Clear an overload by enabling the torque once, with the present position as the goal."""
        self.write(servo, self.goal, self.read(servo, POSITION))
        self.write(servo, self.enable, 1)
        self.write(servo, self.enable, 0)

    def prepare(self, servo: int) -> None:
        """Select position mode with positions within one turn."""
        self.change(servo, MODE, 0)
        self.change(servo, PHASE, self.read(servo, PHASE) & ~MULTI_TURN)

    def configure(self, servo: int, effort_ratio: float) -> None:
        """Set the gains, no return delay, and the highest speed and acceleration, which the safety chain limits."""
        options = self.options
        self.change(servo, RETURN_DELAY, 0)
        for register, value in ((P_GAIN, options.p), (I_GAIN, options.i), (D_GAIN, options.d)):
            self.change(servo, register, value)
        self.write(servo, ACCELERATION, 254)
        self.write(servo, GOAL_TIME, 0)
        self.write(servo, GOAL_SPEED, 0)
        self.write(servo, TORQUE_LIMIT, round(FULL_LOAD * effort_ratio))


class FeetechDriver(SerialServoDriver[FeetechOptions]):
    """A `Driver` for Feetech STS servos on a serial bus."""

    Options: ClassVar[type[BusOptions]] = FeetechOptions
    vendor: ClassVar[str] = "feetech"

    def make_bus(self, port: SerialPort) -> ServoBus:
        """Return Feetech's frames and registers on an open port."""
        from scservo_sdk import PacketHandler

        return FeetechBus(port, PacketHandler(0), self.options)
