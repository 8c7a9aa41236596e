"""A robot of servos on one serial bus: what the drivers for Feetech and Dynamixel share.

Each cycle is one question to all servos at once for one block of registers: position, speed, load, voltage, temperature
and current come together, so heat costs nothing. A servo that misses a cycle keeps its last reading, whose stamp is the
state's, and tells no heat; one that stays silent is lost (HardwareError).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers import calibration
from waldo.robots.drivers.calibration import FULL_TURN_RAD, Counts, ServoCalibration
from waldo.robots.drivers.motor_bus import Attendance, BusOptions, as_motors, torque_constants
from waldo.robots.drivers.options import build_options, whole_numbers
from waldo.robots.drivers.serial_port import SerialPort
from waldo.robots.drivers.servo_bus import TRIES, Feedback, ServoBus
from waldo.typing import Array

BESIDE = 60
"""How far outside its calibrated range a servo may be switched on [counts]: 5 degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoOptions(BusOptions):
    """How the servos are reached and driven; lists are in the order of the robot's joints, with commas between."""

    port: str = "/dev/ttyACM0"
    """The adapter's serial port."""
    baudrate: int = 1_000_000
    """Bits a second on the bus."""
    calibration: str = ""
    """Calibration file, LeRobot's or waldo's; what the servos themselves hold unless given."""
    uncalibrated: bool = False
    """Go on with servos that nobody has calibrated: a turn's middle is then the middle of the joint."""
    answer_s: float = 0.02
    """How long an answer may take beyond its time on the wire [s]: a USB adapter may keep it for 16 ms."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        BusOptions.__post_init__(self)
        if not self.baudrate > 0:
            raise InvalidValueError("baudrate", self.baudrate, "a number above 0")


class SerialServoDriver:
    """A Driver (waldo.robots.driver) over one serial bus."""

    options_class: ClassVar[type[ServoOptions]] = ServoOptions
    vendor: ClassVar[str]
    """Name of the driver."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot and the fields of the driver's options, as values or as texts."""
        self.options = build_options(self.options_class, options)
        count = len(robot.joints)
        self.robot = robot = as_motors(robot, self.options.motors)
        self.ids = whole_numbers("ids", self.options.ids, count, range(1, count + 1))
        if len(set(self.ids)) != count or not all(0 <= servo <= 252 for servo in self.ids):
            raise InvalidValueError("ids", self.options.ids, "a different id from 0 to 252 for each servo")
        self.torque_constant = torque_constants(robot)
        self._bus: ServoBus | None = None
        self._feedback: list[Feedback | None] = [None] * count
        self._attendance = Attendance(count)

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
            self._first_reading()
            self._refuse_faults()
            for i, servo in enumerate(self.ids):
                bus.prepare(servo)
                bus.configure(servo, self._effort_ratio(i))
                if not self.options.torque:
                    bus.write(servo, bus.enable, 0)
            # What was set up may have changed what is read.
            self._first_reading()
            if self.options.torque:
                for i in range(len(self.ids)):
                    self._hold(i)
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
        lost = self._attendance.lost(self.options.patience_s)
        if lost:
            raise HardwareError(
                f"no answer from {self._names(lost)} for {self.options.patience_s:g} s; check the servo's cable and "
                "the power supply, then connect again"
            )
        known = self._known()
        return RobotState(
            stamp_ns=int(self._attendance.heard_ns.min()),
            position=self.counts.angles(np.array([f.position for f in known])),
            velocity=self.counts.speeds(np.array([f.speed for f in known])),
            effort=self._current() * self.torque_constant,
        )

    def motors(self) -> MotorSensors:
        """Return what the servos said; the torque is the current times the torque constant."""
        known = self._known()
        silent = self._attendance.known
        current = self._current() * silent
        return dataclasses.replace(
            MotorSensors.unknown(len(known)),
            current_a=current,
            torque_nm=current * self.torque_constant,
            pwm_ratio=self.counts.along(np.array([f.pwm_ratio for f in known])) * silent,
            voltage_v=np.array([f.voltage_v for f in known]) * silent,
            driver_c=np.array([f.temperature_c for f in known]) * silent,
            faults=tuple("; ".join(filter(None, (f.fault, self._attendance.missed[i]))) for i, f in enumerate(known)),
            disabled=np.array([self.options.torque and f.disabled for f in known]),
        )

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]; return what the counts say, within limits and calibration."""
        wanted = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(wanted)):
            raise InvalidValueError("targets", targets, "finite numbers")
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
                drive_mode=0 if bus.drive_mode is None else bus.read(servo, bus.drive_mode) & 1,
                homing_offset=bus.read(servo, bus.homing),
                range_min=bus.read(servo, bus.lower),
                range_max=bus.read(servo, bus.upper),
            )
            for servo in self.ids
        )

    def store(self, wanted: Sequence[ServoCalibration]) -> None:
        """Write a calibration into the servos' lasting memory; they let go for that."""
        bus = self.bus
        for servo, one in zip(self.ids, wanted, strict=True):
            bus.write(servo, bus.enable, 0)
            bus.prepare(servo)
            if bus.drive_mode is not None:
                bus.change(servo, bus.drive_mode, bus.read(servo, bus.drive_mode) & ~1 | one.drive_mode)
            bus.change(servo, bus.homing, one.homing_offset)
            bus.change(servo, bus.lower, one.range_min)
            bus.change(servo, bus.upper, one.range_max)

    def positions(self) -> Array:
        """Return where the servos are (joints,) [counts], calibrated or not."""
        self._first_reading()
        return np.array([f.position for f in self._known()])

    def _learn(self, stored: tuple[ServoCalibration, ...]) -> None:
        """Take the file's calibration, which the servos must hold as well, or theirs."""
        wanted = stored
        inverts = self.bus.drive_mode is not None
        where = f"{self.robot.name} --driver {self.vendor} --port {self.options.port}"
        if path := self.options.calibration:
            wanted = calibration.load(Path(path), self.robot.joint_names)
            for i, (one, other) in enumerate(zip(stored, wanted, strict=True)):
                mode = other.drive_mode if inverts else one.drive_mode
                if dataclasses.replace(other, drive_mode=mode, id=one.id) != one:
                    raise HardwareError(
                        f"{self._names([i])} holds homing offset {one.homing_offset} and range {one.range_min} to "
                        f"{one.range_max}, {path} says {other.homing_offset} and {other.range_min} to "
                        f"{other.range_max}; write the file into the servos with: waldo calibrate {where} "
                        f"--restore {path}"
                    )
        elif not self.options.uncalibrated:
            around = self.robot.upper - self.robot.lower > FULL_TURN_RAD
            bad = [i for i, c in enumerate(stored) if c.factory or (c.turns and not around[i])]
            if bad:
                raise HardwareError(f"{self._names(bad)} are not calibrated; run: waldo calibrate {where}")
        # A servo that turns the other way round by itself has told so in all that it says.
        known = [dataclasses.replace(c, drive_mode=0) for c in wanted] if inverts else wanted
        self.counts = Counts(self.robot, known)

    def _hold(self, joint: int) -> None:
        """Switch a servo on where it is; one that is on already goes on holding what it holds."""
        bus, servo = self.bus, self.ids[joint]
        if bus.read(servo, bus.enable) == 1:
            return
        here = self._known()[joint].position
        goal = round(float(np.clip(here, self.counts.low[joint], self.counts.high[joint])))
        if abs(goal - here) > BESIDE:
            raise HardwareError(
                f"{self._names([joint])} is at {here:.0f}, outside its calibrated range of "
                f"{self.counts.low[joint]:.0f} to {self.counts.high[joint]:.0f}; move it back, or calibrate again"
            )
        bus.write(servo, bus.goal, goal)
        if (told := bus.read(servo, bus.goal)) != goal:
            raise HardwareError(f"{self._names([joint])} does not take {goal} as its goal, but {told}; it stays off")
        bus.write(servo, bus.enable, 1)

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
            if not any(self._attendance.missed):
                return
        silent = [i for i, missed in enumerate(self._attendance.missed) if missed]
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
        found = self.bus.read_all(self.ids)
        for i, servo in enumerate(self.ids):
            if servo in found:
                self._feedback[i] = found[servo]
                self._attendance.heard(i)
        joints = range(len(self.ids))
        self._attendance.end_cycle(joints, [i for i in joints if self.ids[i] not in found])

    def _close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.port.close()
