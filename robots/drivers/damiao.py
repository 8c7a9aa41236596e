"""Driver for Damiao motors (DM-J4310, DM-J4340, ...) over CAN, as used in the OpenArm and reBot arms.

Frames and registers: Damiao's "DM-J43xx-2EC reduction motor manual" and https://gitee.com/kit-miao/motor-control-routine,
also in lerobot 0.6.1, motors/damiao. Frames have standard ids and 8 bytes, most significant bit first::

    command   id = CAN id          q 16 | dq 12 | kp 12 | kd 12 | t 12 bits
    special   id = CAN id          FF x 7, FC enable, FD disable, FE set zero, FB clear error
    feedback  id = MST id          error 4 | CAN id 4 | q 16 | dq 12 | t 12 | T_MOS 8 | T_rotor 8 bits
    register  id = 7FF             CAN id low, high, 33 read / 55 write / AA save / CC refresh, RID, 4 bytes of data

Register data are little-endian. T_MOS is the mean temperature of the power stage and T_rotor that of the winding, both
in °C.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.bus_driver import BusOptions
from waldo.robots.drivers.can_link import CanLink
from waldo.robots.drivers.can_robot import CanMotorDriver, CanOptions, Feedback, MotorProtocol
from waldo.robots.drivers.mit import Range, Setpoint, from_count, pack_command, unpack_command
from waldo.typing import Array

REGISTERS = 0x7FF
"""Id of register frames."""
READ, WRITE, SAVE, REFRESH = 0x33, 0x55, 0xAA, 0xCC
"""Request in a register frame."""
ENABLE, DISABLE, SET_ZERO, CLEAR = 0xFC, 0xFD, 0xFE, 0xFB
"""Last byte of special frames."""

KT, OT_LIMIT, MST_ID, TIMEOUT, CTRL_MODE, PHASE_OHM, GEAR, PMAX, VMAX, TMAX = 1, 2, 7, 9, 10, 17, 20, 21, 22, 23
"""Register numbers (RID): torque constant [N·m/A], winding temperature limit [°C], feedback id, CAN timeout [50 µs],
control mode, phase resistance [Ω], gear ratio, and full-scale position [rad], velocity [rad/s] and torque [N·m]."""
VBUS = 60
"""Register with the supply voltage [V]; older firmware has none."""
VOLTAGE_NOISE = 0.05
"""Relative difference of two readings of the voltage."""
VOLTAGE_PERIOD_CYCLES = 60
"""Number of cycles between two readings of a motor's supply voltage."""
MARKS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 16, 17, 18, 19, 20, 24, 25, 26, 27, 28, 29, 31)
"""Registers whose replies are marks: not those that other programs poll."""
INTEGERS = {MST_ID, 8, TIMEOUT, CTRL_MODE, 13, 14, 15, 16, 35, 36}
"""Registers that contain a 32-bit unsigned integer; the others contain a 32-bit float."""
MIT = 1
"""Value of CTRL_MODE for MIT mode."""

ERRORS = {
    0x8: "over-voltage",
    0x9: "under-voltage",
    0xA: "over-current",
    0xB: "driver over-temperature (MOS)",
    0xC: "winding over-temperature (coil)",
    0xD: "communication lost",
    0xE: "overload",
}
"""Error code in the feedback -> text; code 0 means disabled and 1 enabled."""


STATES = {0, 1, *ERRORS}
"""Codes that the first half byte of a feedback frame may have."""
ATTEMPTS, OPTIONAL_ATTEMPTS = 5, 2
"""Number of times that a register is read or written before the motor counts as not responding; the second one is for
registers that older firmware does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamiaoOptions(CanOptions):
    """Options of the `damiao` driver."""

    fd: bool = False
    """Send CAN FD frames, as used by OpenArm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Constants read from one motor's registers; NaN if the motor did not respond."""

    torque_constant_nm_per_a: float
    """Torque constant with which the motor controller converts torque to current [N·m/A]; NaN if it is not set."""
    winding_limit_c: float
    """Winding temperature at which the motor controller disables the torque [°C]."""
    resistance_ohm: float
    """Phase resistance [Ω]."""
    gear_ratio: float
    """Rotor turns per turn of the output shaft."""
    can_timeout_s: float
    """Time without frames after which the motor controller disables the torque [s]; 0 disables this timeout."""


def is_register_reply(data: bytes, can_id: int) -> bool:
    """Return whether a frame with a motor's feedback id is the value of a register.

    The feedback of a motor that is disabled starts with the same bytes within 0.05 rad of -PMAX; it is taken for one.
    """
    return len(data) == 8 and data[:2] == bytes([can_id & 0xFF, can_id >> 8]) and data[2] in (READ, WRITE, SAVE)


def unpack_feedback(data: bytes, full: Range) -> Feedback:
    """Return the reading in the 8 bytes of a feedback frame."""
    bits = int.from_bytes(data, "big")
    state = bits >> 60
    fault = "" if state in (0, 1) else ERRORS.get(state, f"error 0x{state:X}")
    return Feedback(
        position_rad=from_count(bits >> 40 & 0xFFFF, -full.position_rad, full.position_rad, 16),
        velocity_rad_s=from_count(bits >> 28 & 0xFFF, -full.velocity_rad_s, full.velocity_rad_s, 12),
        torque_nm=from_count(bits >> 16 & 0xFFF, -full.torque_nm, full.torque_nm, 12),
        driver_c=float(bits >> 8 & 0xFF),
        winding_c=float(bits & 0xFF),
        enabled=state == 1,
        fault=fault,
    )


class DamiaoProtocol:
    """Damiao's frames, as a `MotorProtocol`."""

    marks = len(MARKS)

    def __init__(self, link: CanLink, ids: Sequence[int], names: Sequence[str], timeout_s: float) -> None:
        """Use an open bus; `timeout_s` is the longest wait for a register [s]."""
        self._link, self._ids, self._names, self._timeout_s = link, tuple(ids), tuple(names), timeout_s
        self._feedback_ids: list[int] = []
        self.foreign = 0
        """Number of frames with the id of a motor's feedback that were discarded because they are none."""
        self._motor_of = {can_id: motor for motor, can_id in enumerate(ids)}
        self.ranges: list[Range] = []
        self.parameters: list[Parameters] = []
        self._voltages = np.full(len(ids), np.nan)
        self._queries = [0] * len(ids)

    def identify(self) -> None:
        """Read each motor's full-scale values and constants, and select MIT mode.

        Raises:
            HardwareError: If a motor does not respond or does not accept MIT mode.
        """
        for motor, can_id in enumerate(self._ids):
            *full, feedback_id = (self.read_register(motor, rid) for rid in (PMAX, VMAX, TMAX, MST_ID))
            if not all(np.isfinite(value) and value > 0 for value in full) or not np.isfinite(feedback_id):
                raise HardwareError(
                    f"no response from {self._names[motor]} (id 0x{can_id:02X}) on {self._link.name}; "
                    "check power, wiring, bit rate and ids"
                )
            if int(feedback_id) in self._ids:
                raise HardwareError(
                    f"{self._names[motor]} (id 0x{can_id:02X}) answers with the id 0x{int(feedback_id):02X} of a motor "
                    "(register 7, MST_ID), so that its feedback is a command; set it to the motor's id plus 0x10"
                )
            self._feedback_ids.append(int(feedback_id))
            self.ranges.append(Range(position_rad=full[0], velocity_rad_s=full[1], torque_nm=full[2]))
            kt, limit, resistance, gear, timeout = (
                self.read_register(motor, rid, OPTIONAL_ATTEMPTS) for rid in (KT, OT_LIMIT, PHASE_OHM, GEAR, TIMEOUT)
            )
            self.parameters.append(
                Parameters(
                    torque_constant_nm_per_a=kt if kt > 0 else np.nan,
                    winding_limit_c=limit,
                    resistance_ohm=resistance if resistance > 0 else np.nan,
                    gear_ratio=gear if gear > 0 else np.nan,
                    can_timeout_s=timeout * 50e-6,
                )
            )
            self._voltages[motor] = self.read_register(motor, VBUS, OPTIONAL_ATTEMPTS, tolerance=VOLTAGE_NOISE)
            if self.read_register(motor, CTRL_MODE) != MIT:
                self.write_register(motor, CTRL_MODE, MIT)

    def read_register(self, motor: int, rid: int, attempts: int = ATTEMPTS, *, tolerance: float = 0.0) -> float:
        """Return the value of a register, read until two readings in succession agree.

        Args:
            motor: Index of the motor.
            rid: Register.
            attempts: Number of times that a motor which does not respond is asked.
            tolerance: Relative difference of two readings that agree.

        Returns:
            The value; NaN if the motor does not respond, or no two readings agree.
        """
        before = np.nan
        for attempt in range(2 * attempts):
            self._register(motor, READ, rid, bytes(4))
            value = self._await_register(motor, READ, rid)
            if abs(value - before) <= tolerance * abs(before):
                return value
            before = value
            if np.isnan(value) and attempt >= attempts - 1:
                break
        return np.nan

    def write_register(self, motor: int, rid: int, value: float) -> None:
        """Write a register in volatile memory.

        Raises:
            HardwareError: If the motor does not confirm the value.
        """
        data, confirmed = struct.pack("<I", round(value)) if rid in INTEGERS else struct.pack("<f", value), np.nan
        for _ in range(ATTEMPTS):
            self._register(motor, WRITE, rid, data)
            confirmed = self._await_register(motor, WRITE, rid)
            if np.isfinite(confirmed):
                break
        if not np.isclose(confirmed, value):
            raise HardwareError(
                f"{self._names[motor]} (id 0x{self._ids[motor]:02X}) reports {confirmed:g} in register {rid} after "
                f"{value:g} was written; disable the motor, or update its firmware"
            )

    def _register(self, motor: int, request: int, rid: int, value: bytes) -> None:
        can_id = self._ids[motor]
        self._link.send(REGISTERS, bytes([can_id & 0xFF, can_id >> 8, request, rid]) + value, extended=False)

    def _await_register(self, motor: int, request: int, rid: int) -> float:
        start = bytes([self._ids[motor] & 0xFF, self._ids[motor] >> 8, request, rid])
        deadline = time.monotonic() + self._timeout_s
        while (message := self._link.receive(deadline - time.monotonic())) is not None:
            data = bytes(message.data)
            if message.arbitration_id != REGISTERS and is_register_reply(data, self._ids[motor]) and data[:4] == start:
                return float(struct.unpack_from("<I" if rid in INTEGERS else "<f", data, 4)[0])
        return np.nan

    def query(self, motor: int) -> None:
        """Send a refresh frame, to which the motor responds with its feedback; now and then ask for the voltage."""
        self._register(motor, REFRESH, 0, bytes(4))
        self._queries[motor] += 1
        if self._queries[motor] % VOLTAGE_PERIOD_CYCLES == 0 and np.isfinite(self._voltages[motor]):
            self._register(motor, READ, VBUS, bytes(4))

    def mark(self, motor: int, number: int) -> None:
        """Read a register."""
        self._register(motor, READ, MARKS[number], bytes(4))

    def mark_of(self, message: Any) -> tuple[int, int] | None:
        """Return the motor and number if a frame is the value of one of the registers `MARKS`."""
        data = bytes(message.data)
        if message.is_extended_id or message.arbitration_id not in self._feedback_ids or len(data) != 8:
            return None
        motor = self._motor_of.get(data[0])
        is_mark = motor is not None and is_register_reply(data, self._ids[motor]) and data[2] == READ
        return (motor, MARKS.index(data[3])) if motor is not None and is_mark and data[3] in MARKS else None

    def enable(self, motor: int) -> None:
        """Switch the power stage on."""
        self._special(motor, ENABLE)

    def release(self, motor: int) -> None:
        """Switch the power stage off."""
        self._special(motor, DISABLE)

    def clear(self, motor: int) -> None:
        """Clear a latched error."""
        self._special(motor, CLEAR)

    def set_zero(self, motor: int) -> None:
        """Make the present angle the motor's zero, in non-volatile memory."""
        self._special(motor, SET_ZERO)

    def _special(self, motor: int, last: int) -> None:
        self._link.send(self._ids[motor], bytes([0xFF] * 7 + [last]), extended=False)

    def command(self, motor: int, setpoint: Setpoint) -> Setpoint:
        """Send a MIT command; return the setpoint as rounded by the frame."""
        data = pack_command(setpoint, self.ranges[motor])
        self._link.send(self._ids[motor], data, extended=False)
        return unpack_command(data, self.ranges[motor])

    def parse(self, message: Any) -> tuple[int, Feedback] | None:
        """Return the motor and reading of a feedback frame; None for other frames, such as echoes of sent commands.

        A motor also answers the requests of other programs: with the value of a register, which is no feedback.
        """
        data = bytes(message.data)
        if message.is_extended_id or message.arbitration_id not in self._feedback_ids:
            return None
        motor = self._motor_of.get(data[0] & 0x0F) if len(data) == 8 else None
        if motor is not None and is_register_reply(data, self._ids[motor]) and data[2:4] == bytes([READ, VBUS]):
            self._voltages[motor] = struct.unpack_from("<f", data, 4)[0]
            return None
        if (
            motor is None
            or message.arbitration_id != self._feedback_ids[motor]
            or data[0] >> 4 not in STATES
            or is_register_reply(data, self._ids[motor])
        ):
            self.foreign += 1
            return None
        return motor, unpack_feedback(data, self.ranges[motor])

    def voltages(self) -> Array:
        """Return the supply voltages, shape (motors,) [V]; NaN for motors whose firmware has no register for it."""
        return self._voltages.copy()


class DamiaoDriver(CanMotorDriver[DamiaoOptions]):
    """A `Driver` for robots with Damiao motors."""

    Options: ClassVar[type[BusOptions]] = DamiaoOptions
    recoverable: ClassVar[tuple[str, ...]] = (ERRORS[0xD],)

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `DamiaoOptions`."""
        super().__init__(robot, **options)
        if max(self.ids) > 0x0F:
            raise InvalidValueError("ids", self.ids, "ids from 1 to 15, because the feedback has 4 bits for them")

    def open_link(self) -> CanLink:
        """Open the bus that the options name."""
        options = self.options
        return CanLink(options.interface, options.channel, options.bitrate, fd=options.fd)

    def make_protocol(self, link: CanLink) -> MotorProtocol:
        """Return Damiao's frames on an open bus."""
        self.damiao = DamiaoProtocol(link, self.ids, self.robot.joint_names, self.options.motor_timeout_s)
        return self.damiao

    def connect(self) -> None:
        """Open the bus, read each motor's ranges and constants, and hold the present position.

        Raises:
            HardwareError: If the bus cannot be opened, or a motor is missing or reports a fault.
        """
        super().connect()
        reported = np.array([p.torque_constant_nm_per_a for p in self.damiao.parameters])
        self.torque_constant = np.where(np.isfinite(reported), reported, self.torque_constant)
