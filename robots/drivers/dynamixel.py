"""Driver for ROBOTIS Dynamixel X servos (protocol 2.0), as used in the Koch, ALOHA, ViperX and GELLO arms.

Registers: https://emanual.robotis.com/docs/en/dxl/x/, "Control Table". Duty cycle, current, speed, position, voltage
and temperature are adjacent (registers 124 to 146), so that one sync read per cycle returns all of them. The hardware
error status is at 70 and is read only from servos that set the alert bit.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from waldo.errors import HardwareError
from waldo.robots.drivers.bus_driver import BusOptions
from waldo.robots.drivers.calibration import TURN
from waldo.robots.drivers.serial_port import SerialPort
from waldo.robots.drivers.servo_bus import SILENT_S, Feedback, Register, ServoBus
from waldo.robots.drivers.servo_robot import SerialServoDriver, ServoOptions

RETURN_DELAY, OPERATING_MODE, HARDWARE_ERROR = (Register(a, 1) for a in (9, 11, 70))
PWM_LIMIT = Register(36, 2)
GOAL_PWM, PWM, CURRENT = (Register(a, 2, signed=True) for a in (100, 124, 126))
VELOCITY, POSITION = Register(128, 4, signed=True), Register(132, 4, signed=True)
VOLTAGE, TEMPERATURE = Register(144, 2), Register(146, 1)
PROFILE_ACCELERATION, PROFILE_VELOCITY = Register(108, 4), Register(112, 4)

STATUS_RETURN_LEVEL, EVERY_INSTRUCTION = Register(68, 1), 2
"""Which instructions a servo responds to; volatile."""
EXTENDED_POSITION_MODE = 4
"""Value of OPERATING_MODE. Position mode (3) ignores homing offsets beyond ±1024 counts."""
FULL_PWM = 885
"""Duty cycle of 100 %, in units of 0.113 %."""
COUNTS_PER_S = 0.229 / 60 * TURN
"""Unit of the velocity: 0.229 rpm [counts/s]."""
REBOOT_S = 2.0
"""Longest duration of a reboot [s]."""
ALERT = 0x80
"""Bit of a status frame's error byte: HARDWARE_ERROR is not 0."""

ERRORS = {0: "supply voltage", 2: "over-temperature", 3: "motor encoder", 4: "electrical shock", 5: "overload"}
"""Bit of HARDWARE_ERROR -> text."""

REFUSALS = {
    1: "instruction failed",
    2: "unknown instruction",
    3: "wrong checksum",
    4: "value out of range",
    5: "data too short",
    6: "value beyond its limit",
    7: "register is locked while the torque is enabled",
}
"""Number in a status frame's error byte -> text."""

MILLIAMPERES: Mapping[int, float] = {
    **dict.fromkeys((1000, 1010, 1020, 1030, 1100, 1110, 1120, 1130), 2.69),
    **dict.fromkeys((1040, 1050), 1.34),
    **dict.fromkeys((1190, 1200, 1210, 1220, 1230, 1240), 1.0),
}
"""Model number -> unit of the current [mA]. Other models report a load in the same register, or their unit is unknown;
their current is not used."""


def fault_text(bits: int) -> str:
    """Return the faults in HARDWARE_ERROR as text; empty if there are none."""
    unknown = bits & ~sum(1 << bit for bit in ERRORS)
    texts = [text for bit, text in ERRORS.items() if bits & 1 << bit]
    return ", ".join(texts + [f"hardware error 0x{unknown:02X}"] * bool(unknown))


class DynamixelBus(ServoBus):
    """Dynamixel X servos on an open serial port."""

    number: ClassVar[Register] = Register(0, 2)
    homing: ClassVar[Register] = Register(20, 4, signed=True)
    lower: ClassVar[Register] = Register(52, 4)
    upper: ClassVar[Register] = Register(48, 4)
    enable: ClassVar[Register] = Register(64, 1)
    goal: ClassVar[Register] = Register(116, 4, signed=True)
    drive_mode: ClassVar[Register | None] = Register(10, 1)
    secondary: ClassVar[Register | None] = Register(12, 1)
    block: ClassVar[tuple[int, int]] = (124, 23)
    motion: ClassVar[tuple[int, int]] = (128, 8)
    turns: ClassVar[bool] = True
    header: ClassVar[int] = 11
    baud_rates: ClassVar[tuple[int, ...]] = (57_600, 1_000_000, 115_200, 2_000_000, 3_000_000, 4_000_000, 9_600)
    models: ClassVar[Mapping[int, str]] = {
        1000: "XH430-W350",
        1001: "XD430-T350",
        1010: "XH430-W210",
        1011: "XD430-T210",
        1020: "XM430-W350",
        1030: "XM430-W210",
        1040: "XH430-V350",
        1050: "XH430-V210",
        1060: "XL430-W250",
        1070: "XC430-W150",
        1080: "XC430-W240",
        1090: "2XL430-W250",
        1100: "XH540-W270",
        1101: "XD540-T270",
        1110: "XH540-W150",
        1111: "XD540-T150",
        1120: "XM540-W270",
        1130: "XM540-W150",
        1140: "XH540-V270",
        1150: "XH540-V150",
        1160: "2XC430-W250",
        1170: "XW540-T260",
        1180: "XW540-T140",
        1190: "XL330-M077",
        1200: "XL330-M288",
        1210: "XC330-T181",
        1220: "XC330-T288",
        1230: "XC330-M181",
        1240: "XC330-M288",
        1270: "XW430-T333",
        1280: "XW430-T200",
        1310: "XW540-H260",
    }

    def ping(self, servo: int) -> bool:
        """Return whether a servo responds; one that another program set to respond to pings only is set back."""
        if super().ping(servo):
            return True
        self.handler.writeTxOnly(self.port, servo, STATUS_RETURN_LEVEL.address, 1, [EVERY_INSTRUCTION])
        self.port.is_using = False
        self.port.drain(SILENT_S)
        try:
            self.read_once(servo, self.number)
        except HardwareError:
            return False
        return super().ping(servo)

    def query(self, servo: int, address: int, length: int) -> None:
        """Send a read."""
        self.handler.readTx(self.port, servo, address, length)

    def query_all(self, ids: Sequence[int], address: int, length: int) -> None:
        """Send a sync read."""
        self.handler.syncReadTx(self.port, address, length, list(ids), len(ids), False)

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return the id, error byte and data of the next frame; None if it is damaged or there is none."""
        frame, result = self.handler.rxPacket(self.port, False)
        if result != 0:
            return None
        length = frame[5] | frame[6] << 8
        return frame[4], frame[8], bytes(frame[9 : 7 + length - 2])

    def read_all(self, ids: Sequence[int]) -> dict[int, Feedback]:
        """Read the block of registers of all servos, and the hardware error of those that set the alert bit."""
        found = super().read_all(ids)
        for servo, feedback in found.items():
            if feedback.fault:
                try:
                    fault = fault_text(self.read_once(servo, HARDWARE_ERROR))
                except HardwareError:  # the next cycle reads it again
                    continue
                found[servo] = dataclasses.replace(feedback, fault=fault or feedback.fault, disabled=bool(fault))
        return found

    def decode(self, servo: int, block: bytes, error: int) -> Feedback:
        """Return the reading in a block of registers."""
        start = self.block[0]
        return Feedback(
            position=POSITION.within(block, start),
            speed=VELOCITY.within(block, start) * COUNTS_PER_S,
            pwm_ratio=max(-1.0, min(1.0, PWM.within(block, start) / FULL_PWM)),
            voltage_v=VOLTAGE.within(block, start) / 10,
            temperature_c=TEMPERATURE.within(block, start),
            current_a=CURRENT.within(block, start) * MILLIAMPERES.get(self.model[servo], math.nan) / 1000,
            fault="alert" if error & ALERT else "",
        )

    def refused(self, error: int) -> str:
        """Return why a write was rejected, from the error byte of the response; empty if it was not."""
        return REFUSALS.get(error & ~ALERT, "")

    def decode_motion(self, block: bytes) -> tuple[float, float]:
        """Return position [counts] and speed [counts/s]."""
        start = self.motion[0]
        return POSITION.within(block, start), VELOCITY.within(block, start) * COUNTS_PER_S

    def homing_offset(self, present: int, wanted: int) -> int:
        """Return the offset (present = actual + offset)."""
        return wanted - present

    def clear(self, servo: int) -> None:
        """Reboot the servo, which is the only way to leave a shutdown."""
        self.handler.reboot(self.port, servo)
        deadline = time.monotonic() + REBOOT_S
        while not self.ping(servo):
            if time.monotonic() > deadline:
                raise HardwareError(
                    f"servo {servo} on {self.port.name} has not responded within {REBOOT_S:g} s after a reboot; check "
                    "its power supply"
                )

    def prepare(self, servo: int) -> None:
        """Select extended position mode."""
        self.change(servo, OPERATING_MODE, EXTENDED_POSITION_MODE)

    def configure(self, servo: int, effort_ratio: float) -> None:
        """Set no return delay, no motion profile and the duty cycle limit: the safety chain limits the motion."""
        self.change(servo, RETURN_DELAY, 0)
        self.write(servo, PROFILE_ACCELERATION, 0)
        self.write(servo, PROFILE_VELOCITY, 0)
        limit = self.read(servo, PWM_LIMIT)
        self.write(servo, GOAL_PWM, min(limit, round(FULL_PWM * effort_ratio)))


class DynamixelDriver(SerialServoDriver[ServoOptions]):
    """A `Driver` for Dynamixel X servos on a serial bus."""

    Options: ClassVar[type[BusOptions]] = ServoOptions
    vendor: ClassVar[str] = "dynamixel"

    def make_bus(self, port: SerialPort) -> ServoBus:
        """Return ROBOTIS's frames and registers on an open port."""
        from dynamixel_sdk import PacketHandler

        handler: Any = PacketHandler(2.0)
        return DynamixelBus(port, handler)
