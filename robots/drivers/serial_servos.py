"""A robot of servos on one serial bus: what the drivers for Feetech and Dynamixel share.

Each cycle is one question to all servos at once for one block of registers: position, speed, load, voltage, temperature
and current come together, so heat costs nothing. A servo that misses a cycle keeps its last reading, whose stamp is the
state's, and tells no heat; one that stays silent is lost (HardwareError).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from waldo.errors import ConfigError, HardwareError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers import calibration
from waldo.robots.drivers.calibration import Counts, ServoCalibration
from waldo.robots.drivers.options import build_options, whole_numbers, words
from waldo.robots.drivers.serial_port import SerialPort
from waldo.robots.motors import load_motor

Array = NDArray[np.float64]

TRIES = 5
"""How often a register is asked for before it is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoOptions:
    """How the servos are reached and driven; lists are in the order of the robot's joints, with commas between."""

    port: str = "/dev/ttyACM0"
    """The adapter's serial port."""
    baudrate: int = 1_000_000
    """Bits a second on the bus."""
    ids: str = ""
    """Id of each servo; 1, 2, 3 ... unless given."""
    motors: str = ""
    """Type of each servo, as `waldo motors` lists them; those of the robot's description unless given."""
    calibration: str = ""
    """Calibration file, LeRobot's or waldo's; what the servos themselves hold unless given."""
    uncalibrated: bool = False
    """Go on with servos that nobody has calibrated: a turn's middle is then the middle of the joint."""
    torque: bool = True
    """Drive the servos; false: they only read (a leader arm)."""
    on_close: str = "hold"
    """What the servos do after `disconnect`: hold, or release."""
    clear_errors: bool = False
    """Clear latched errors when connecting: only when their cause is known and gone."""
    answer_s: float = 0.02
    """How long an answer may take beyond its time on the wire [s]: a USB adapter may keep it for 16 ms."""
    patience_s: float = 0.25
    """A servo silent for so long is lost [s]."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.on_close not in ("hold", "release"):
            raise ConfigError("on_close", self.on_close, "hold or release")
        for name in ("answer_s", "patience_s", "baudrate"):
            if not getattr(self, name) > 0:
                raise ConfigError(name, getattr(self, name), "a number above 0")


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
        """Let a servo's lasting memory be written."""
        raise NotImplementedError

    def lock(self, servo: int) -> None:
        """Keep it."""
        raise NotImplementedError

    def clear(self, servo: int) -> None:
        """Clear a latched error."""
        raise NotImplementedError

    def configure(self, servo: int, effort_ratio: float) -> None:
        """Set a servo up, torque off, to give up to a share of its torque."""
        raise NotImplementedError

    # what they share

    def ping(self, servo: int) -> bool:
        """Say whether a servo answers, and learn its model."""
        for _ in range(TRIES):
            number, result, _ = self.handler.ping(self.port, servo)
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
        """Write a register of the lasting memory, which wears, only where it differs."""
        if self.read(servo, register) != value:
            self.write(servo, register, value)

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


class SerialServoDriver:
    """A Driver (waldo.robots.driver) over one serial bus."""

    options_class: ClassVar[type[ServoOptions]] = ServoOptions

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot and the fields of the driver's options, as values or as texts."""
        self.options = build_options(self.options_class, options)
        count = len(robot.joints)
        if self.options.motors:
            motors = [load_motor(name) for name in words("motors", self.options.motors, count, ())]
            joints = zip(robot.joints, motors, strict=True)
            robot = dataclasses.replace(
                robot, joints=tuple(dataclasses.replace(joint, motor=motor) for joint, motor in joints)
            )
        self.robot = robot
        self.ids = whole_numbers("ids", self.options.ids, count, range(1, count + 1))
        if len(set(self.ids)) != count or not all(0 <= servo <= 252 for servo in self.ids):
            raise ConfigError("ids", self.options.ids, "a different id from 0 to 252 for each servo")
        constants = [joint.motor.torque_constant_nm_per_a for joint in robot.joints]
        self.torque_constant = np.array([np.nan if k is None else k for k in constants])
        self._bus: ServoBus | None = None
        self._feedback: list[Feedback | None] = [None] * count
        self._heard_ns = np.zeros(count, dtype=np.int64)
        self._missed = [""] * count

    # what a vendor's driver adds

    def make_bus(self, port: SerialPort) -> ServoBus:
        """Return the vendor's frames on an open port."""
        raise NotImplementedError

    # the protocol of every driver

    def connect(self) -> None:
        """Open the port, find every servo, and hold where they are; raises HardwareError with what to do."""
        bus = self.open()
        try:
            self._learn(self.stored())
            for i, servo in enumerate(self.ids):
                bus.write(servo, bus.enable, 0)
                bus.configure(servo, self._effort_ratio(i))
            self._first_reading()
            self._refuse_faults()
            if self.options.torque:
                # Where each servo is now, so that switching on moves nothing.
                here = {servo: round(f.position) for servo, f in zip(self.ids, self._known(), strict=True)}
                bus.write_all(bus.goal, here)
                for servo in self.ids:
                    bus.write(servo, bus.enable, 1)
        except BaseException:
            self._close()
            raise

    def open(self) -> ServoBus:
        """Open the port and find every servo, without touching them; raises HardwareError with what to do."""
        port = SerialPort(self.options.port, self.options.baudrate, self.options.answer_s)
        try:
            self._bus = bus = self.make_bus(port)
            silent = [i for i, servo in enumerate(self.ids) if not bus.ping(servo)]
            if silent:
                there = ", ".join(str(servo) for servo in bus.model) or "none"
                raise HardwareError(
                    f"no answer from {self._names(silent)} on {port.name}, of the others: {there}; "
                    "check the power supply, the cable to the first that is silent, ids and baudrate"
                )
            for i, servo in enumerate(self.ids):
                if bus.model[servo] not in bus.models:
                    known = ", ".join(f"{name} ({number})" for number, name in bus.models.items())
                    raise HardwareError(
                        f"{self._names([i])} is of model {bus.model[servo]}; this driver knows {known}: choose the "
                        "driver of its vendor"
                    )
        except BaseException:
            self._bus = None
            port.close()
            raise
        return bus

    def read(self) -> RobotState:
        """Ask all servos at once and return the joints' state; its stamp is the oldest answer's."""
        self._exchange()
        silent_s = (time.time_ns() - self._heard_ns) / 1e9
        lost = [i for i in range(len(self.ids)) if self._missed[i] and silent_s[i] > self.options.patience_s]
        if lost:
            raise HardwareError(
                f"no answer from {self._names(lost)} for {self.options.patience_s:g} s; check the servo's cable and "
                "the power supply, then connect again"
            )
        known = self._known()
        return RobotState(
            stamp_ns=int(self._heard_ns.min()),
            position=self.counts.angles(np.array([f.position for f in known])),
            velocity=self.counts.speeds(np.array([f.speed for f in known])),
            effort=self._current() * self.torque_constant,
        )

    def motors(self) -> MotorSensors:
        """Return what the servos said; the torque is the current times the torque constant."""
        known = self._known()
        silent = np.array([np.nan if missed else 1.0 for missed in self._missed])
        current = self._current() * silent
        return dataclasses.replace(
            MotorSensors.unknown(len(known)),
            current_a=current,
            torque_nm=current * self.torque_constant,
            pwm_ratio=self.counts.along(np.array([f.pwm_ratio for f in known])) * silent,
            voltage_v=np.array([f.voltage_v for f in known]) * silent,
            driver_c=np.array([f.temperature_c for f in known]) * silent,
            faults=tuple("; ".join(filter(None, (f.fault, self._missed[i]))) for i, f in enumerate(known)),
        )

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]; return what the counts say, within limits and calibration."""
        wanted = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(wanted)):
            raise ConfigError("targets", targets, "finite numbers")
        if not self.options.torque:
            return self.counts.angles(np.array([f.position for f in self._known()]))
        goals = self.counts.goals(wanted)
        self.bus.write_all(self.bus.goal, dict(zip(self.ids, goals.tolist(), strict=True)))
        return np.clip(self.counts.angles(goals.astype(float)), self.robot.lower, self.robot.upper)

    def frames(self) -> Sequence[Frame]:
        """Return nothing: servos have no cameras."""
        return ()

    def disconnect(self) -> None:
        """Leave the servos holding the last target, or released, and close the port."""
        if self._bus is None:
            return
        try:
            if self.options.torque and self.options.on_close == "release":
                self._bus.write_all(self._bus.enable, dict.fromkeys(self.ids, 0))
        finally:
            self._close()

    # calibration

    @property
    def bus(self) -> ServoBus:
        """The open bus."""
        if self._bus is None:
            raise HardwareError("the serial port is not open; call connect() first")
        return self._bus

    def stored(self) -> tuple[ServoCalibration, ...]:
        """Return the calibration that the servos hold."""
        bus = self.bus
        return tuple(
            ServoCalibration(
                id=servo,
                homing_offset=bus.read(servo, bus.homing),
                range_min=bus.read(servo, bus.lower),
                range_max=bus.read(servo, bus.upper),
            )
            for servo in self.ids
        )

    def store(self, wanted: Sequence[ServoCalibration]) -> None:
        """Write a calibration into the servos' lasting memory, with the torque off."""
        bus = self.bus
        for servo, one in zip(self.ids, wanted, strict=True):
            bus.write(servo, bus.enable, 0)
            bus.unlock(servo)
            bus.change(servo, bus.homing, one.homing_offset)
            bus.change(servo, bus.lower, one.range_min)
            bus.change(servo, bus.upper, one.range_max)
            bus.lock(servo)

    def positions(self) -> Array:
        """Return where the servos are (joints,) [counts], calibrated or not."""
        self._first_reading()
        return np.array([f.position for f in self._known()])

    def _learn(self, stored: tuple[ServoCalibration, ...]) -> None:
        """Take the file's calibration, which the servos must hold as well, or theirs."""
        wanted = stored
        if path := self.options.calibration:
            wanted = calibration.load(Path(path), self.robot.joint_names)
            for i, (one, other) in enumerate(zip(stored, wanted, strict=True)):
                if dataclasses.replace(other, drive_mode=0, id=one.id) != one:
                    raise HardwareError(
                        f"{self._names([i])} holds homing offset {one.homing_offset} and range {one.range_min} to "
                        f"{one.range_max}, {path} says {other.homing_offset} and {other.range_min} to "
                        f"{other.range_max}; write the file into the servos with: waldo calibrate {self.robot.name} "
                        f"--restore {path}"
                    )
        elif not self.options.uncalibrated and all(one.factory for one in stored):
            raise HardwareError(
                f"the servos on {self.options.port} are not calibrated; run: waldo calibrate {self.robot.name} "
                f"--option port={self.options.port}"
            )
        self.counts = Counts(self.robot, wanted)

    # inside

    def _names(self, servos: Sequence[int]) -> str:
        return ", ".join(f"{self.robot.joint_names[i]} (id {self.ids[i]})" for i in servos)

    def _known(self) -> list[Feedback]:
        known = [feedback for feedback in self._feedback if feedback is not None]
        if len(known) < len(self.ids):
            raise HardwareError("the servos have not been read yet; call connect() first")
        return known

    def _current(self) -> Array:
        return self.counts.along(np.array([f.current_a for f in self._known()]))

    def _effort_ratio(self, joint: int) -> float:
        """Return the share of its stall torque that a servo may give."""
        peak, effort = self.robot.joints[joint].motor.peak_torque_nm, self.robot.joints[joint].effort
        return 1.0 if peak is None or not np.isfinite(effort) else min(1.0, effort / peak)

    def _first_reading(self) -> None:
        for _ in range(TRIES):
            self._exchange()
            if not any(self._missed):
                return
        silent = [i for i, missed in enumerate(self._missed) if missed]
        raise HardwareError(
            f"{self._names(silent)} answers a ping, but not a sync read; check noise on the bus and its termination"
        )

    def _refuse_faults(self) -> None:
        """Raise for errors, clearing first those that the options say to clear."""
        if self.options.clear_errors:
            for i, feedback in enumerate(self._known()):
                if feedback.fault:
                    self.bus.clear(self.ids[i])
            self._first_reading()
        bad = [f"{self._names([i])} reports {f.fault}" for i, f in enumerate(self._known()) if f.fault]
        if bad:
            raise HardwareError(
                f"{', '.join(bad)}; remove the cause (let it cool, check the supply), then connect, with "
                "clear_errors=true where it is latched"
            )

    def _exchange(self) -> None:
        """Ask all servos once."""
        asked_ns = time.time_ns()
        found = self.bus.read_all(self.ids)
        now = time.time_ns()
        for i, servo in enumerate(self.ids):
            if servo in found:
                self._feedback[i], self._heard_ns[i], self._missed[i] = found[servo], now, ""
            else:
                self._missed[i] = f"no answer for {(asked_ns - self._heard_ns[i]) / 1e6:.0f} ms"

    def _close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.port.close()
