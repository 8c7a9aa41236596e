"""Base class of the drivers for serial servos (Feetech, Dynamixel).

One sync read per cycle returns position, speed, load, voltage, temperature and current of all servos, so temperatures
cost no additional bus time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers import calibration
from waldo.robots.drivers.bus_driver import BusDriver, BusOptions
from waldo.robots.drivers.calibration import FULL_TURN_RAD, TURN, Counts, ServoCalibration
from waldo.robots.drivers.second_servos import SecondServos, default_ids
from waldo.robots.drivers.serial_port import SerialPort
from waldo.robots.drivers.servo_bus import READ_ATTEMPTS, Feedback, ServoBus
from waldo.typing import Array

RANGE_MARGIN = 60
"""How far outside its calibrated range a servo may be when its torque is enabled [counts]: 5 degrees."""

SENSORS_S = 0.1
"""Interval at which the sensors of servos without torque are read [s]."""
MAX_SPEED = 12 / (2 * np.pi) * TURN
"""Highest plausible speed of a servo, also when a person moves the arm [counts/s]: 12 rad/s."""
JUMP = 0.02 / (2 * np.pi) * TURN
"""Noise of a position [counts]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServoOptions(BusOptions):
    """Options of serial servos. Tuples contain one value per joint, or a single one for all joints."""

    port: str = "/dev/ttyACM0"
    """Serial port of the bus adapter."""
    baudrate: int = 1_000_000
    """Baud rate of the bus [bit/s]."""
    calibration: str = ""
    """Calibration file in LeRobot's format, which must agree with the servos; by default the servos' own values."""
    allow_uncalibrated: bool = False
    """Accept servos that have not been calibrated; the middle of a turn is then the middle of the joint's range."""
    response_timeout_s: float = 0.02
    """Longest wait for responses beyond their time on the wire [s]; a USB adapter may delay them by 16 ms."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a value that cannot be used."""
        BusOptions.__post_init__(self)
        self.require_positive("baudrate")


class SerialServoDriver[OptionsT: ServoOptions](BusDriver[OptionsT, Feedback]):
    """A `Driver` for servos on one serial bus; a vendor's class adds the frames and registers."""

    Options: ClassVar[type[BusOptions]] = ServoOptions
    vendor: ClassVar[str]
    """Registered name of the driver."""
    clear_help: ClassVar[str] = (
        "remove the cause (let the servo cool down, check the supply voltage), then connect again, with "
        "clear_errors=true if the error is latched"
    )

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of the class `Options`."""
        super().__init__(robot, **options)
        if not self.options.ids:
            self.ids = default_ids(self.robot)
        self.second = SecondServos(self.robot, self.ids)
        """The second servos of joints that two servos drive."""
        self._all_ids = (*self.ids, *self.second.ids)
        if not all(0 <= servo <= 252 for servo in self._all_ids):
            raise InvalidValueError("ids", self._all_ids, "ids from 0 to 252")
        self._bus: ServoBus | None = None
        self._turns: NDArray[np.int64] = np.zeros(len(self.ids), dtype=np.int64)
        """What is added to each servo's positions, whole turns [counts]."""
        self._sensors_s = -np.inf
        self._implausible: dict[int, float] = {}
        """Joint -> position that the next reading must confirm [counts]."""
        self.counts: Counts

    def make_bus(self, port: SerialPort) -> ServoBus:
        """Return the vendor's frames and registers on an open port."""
        raise NotImplementedError

    def connect(self) -> None:
        """Open the port, find every servo, check its calibration and hold the present position.

        Raises:
            HardwareError: If the port cannot be opened, or a servo is missing, uncalibrated, outside its calibrated
                range or reports a fault.
        """
        bus = self.open()
        try:
            self._load_calibration(self.stored())
            self._turns[:] = 0
            self._first_reading()
            self._refuse_faults()
            self.second.check(bus, self.robot.joint_names)
            ratios = [self._effort_ratio(i) for i in range(len(self.ids))]
            ratios += [ratios[i] for i in self.second.of]
            for servo, ratio in zip(self._all_ids, ratios, strict=True):
                bus.prepare(servo)
                bus.configure(servo, ratio)
                if not self.options.torque:
                    bus.write(servo, bus.enable, 0)
            # The operating mode may have changed how positions are reported.
            self.second.reset()
            self._first_reading()
            self._find_turns()
            if self.options.torque:
                for i in range(len(self.ids)):
                    self._hold(i)
        except BaseException:
            self._close()
            raise

    def open(self) -> ServoBus:
        """Open the port and find every servo, without changing anything in them.

        Raises:
            HardwareError: If the port cannot be opened, or a servo is missing or of an unsupported model.
        """
        port = SerialPort(self.options.port, self.options.baudrate, self.options.response_timeout_s)
        try:
            self._bus = bus = self.make_bus(port)
            silent = [servo for servo in self._all_ids if not bus.ping(servo)]
            if silent:
                responding = ", ".join(str(servo) for servo in bus.model) or "none"
                raise HardwareError(
                    f"no response from {self._servo_names(silent)} on {port.name} (responding: {responding}); "
                    f"{self._advice(bus, port)}"
                )
            for servo in self._all_ids:
                if not bus.supports(bus.model[servo]):
                    known = ", ".join(f"{name} ({number})" for number, name in bus.models.items())
                    raise HardwareError(
                        f"{self._servo_names([servo])} has model number {bus.model[servo]}, expected {known}; select "
                        "the driver of its vendor"
                    )
        except BaseException:
            self._bus = None
            port.close()
            raise
        return bus

    def _advice(self, bus: ServoBus, port: SerialPort) -> str:
        """Return what to do about servos that do not respond."""
        if not bus.model:
            for rate in bus.baud_rates:
                if rate != self.options.baudrate and bus.finds(self.ids, rate):
                    return f"servos respond at {rate} bit/s: pass baudrate={rate}, or set them up again"
            return "check the power supply, the cable to the first servo and the ids"
        if doubled := [i for i, servo in enumerate(self.ids) if servo in bus.model and bus.is_disturbed(servo)]:
            return (
                f"the readings of {self._names(doubled)} are damaged, as if two servos had the same id; connect the "
                "servos one at a time and set their ids, such as with lerobot-setup-motors"
            )
        return "check the cable to the first silent servo and its id"

    @property
    def bus(self) -> ServoBus:
        """The open bus."""
        if self._bus is None:
            raise HardwareError("the serial port is not open; call connect() first")
        return self._bus

    # Calibration.

    def stored(self) -> tuple[ServoCalibration, ...]:
        """Return the calibration stored in the servos."""
        bus = self.bus
        registers = [bus.homing, bus.lower, bus.upper, *filter(None, [bus.drive_mode])]
        found: list[ServoCalibration] = []
        for servo in self.ids:
            homing, lower, upper, *mode = bus.read_together(servo, registers)
            drive_mode = mode[0] & 1 if mode else 0
            found.append(
                ServoCalibration(
                    id=servo, drive_mode=drive_mode, homing_offset=homing, range_min=lower, range_max=upper
                )
            )
        return tuple(found)

    def store(self, calibrations: Sequence[ServoCalibration]) -> None:
        """Write a calibration into the servos' non-volatile memory; this disables their torque."""
        bus = self.bus
        for servo, one in zip(self.ids, calibrations, strict=True):
            bus.write(servo, bus.enable, 0)
            bus.prepare(servo)
            if bus.drive_mode is not None:
                bus.change(servo, bus.drive_mode, bus.read(servo, bus.drive_mode) & ~1 | one.drive_mode)
            bus.change(servo, bus.homing, one.homing_offset)
            bus.change(servo, bus.lower, one.range_min)
            bus.change(servo, bus.upper, one.range_max)
        self.second.reverse(bus)

    def positions(self) -> Array:
        """Return the servos' positions, shape (joints,) [counts]; works with and without a calibration."""
        self._first_reading()
        return np.array([f.position for f in self._known()])

    def _load_calibration(self, stored: tuple[ServoCalibration, ...]) -> None:
        """Use the calibration of the file, which must agree with the servos, or that stored in the servos."""
        wanted = stored
        command = f"waldo calibrate {self.robot.name} --driver {self.vendor} --port {self.options.port}"
        for i, one in enumerate(stored):
            if not one.valid:
                raise HardwareError(
                    f"{self._names([i])} has range {one.range_min} to {one.range_max}, expected an increasing range "
                    f"within 0 to {TURN - 1}; run: {command}"
                )
        reverses_itself = self.bus.drive_mode is not None
        if path := self.options.calibration:
            wanted = calibration.load(Path(path), self.robot.joint_names)
            for i, (one, other) in enumerate(zip(stored, wanted, strict=True)):
                mode = other.drive_mode if reverses_itself else one.drive_mode
                if dataclasses.replace(other, drive_mode=mode, id=one.id) != one:
                    raise HardwareError(
                        f"{self._names([i])} has homing offset {one.homing_offset} and range {one.range_min} to "
                        f"{one.range_max}, but {path} has {other.homing_offset} and {other.range_min} to "
                        f"{other.range_max}; write the file into the servos with: {command} --restore {path}"
                    )
        elif not self.options.allow_uncalibrated:
            full_turn = self.robot.upper - self.robot.lower > FULL_TURN_RAD
            bad = [i for i, c in enumerate(stored) if c.factory or (c.turns and not full_turn[i])]
            if bad:
                raise HardwareError(f"not calibrated: {self._names(bad)}; run: {command}")
        # A servo that reverses its direction itself already reports reversed positions.
        known = [dataclasses.replace(c, drive_mode=0) for c in wanted] if reverses_itself else wanted
        self.counts = Counts(self.robot, known)

    # Provided to the base class.

    def _query(self, motors: Sequence[int], timeout_s: float) -> Collection[int]:
        """Read all servos with one sync read; the port applies the response timeout.

        Without torque the sensors change slowly, so most readings are of position and speed alone: a leader is followed
        sooner.
        """
        del timeout_s
        now_s = time.monotonic()
        if self.options.torque or now_s - self._sensors_s > SENSORS_S or None in self._feedback:
            found = self.second.combined(self.bus.read_all(self._all_ids))
            self._sensors_s = now_s
            if self._turns.any():
                found = {servo: self._in_turn(servo, one) for servo, one in found.items()}
        else:
            found = self._with_last_sensors(self.bus.read_motions(self.ids))
        responded = [i for i in motors if self.ids[i] in found and self._is_plausible(i, found[self.ids[i]])]
        for i in responded:
            self._keep(i, found[self.ids[i]])
        return responded

    def _find_turns(self) -> None:
        """Find the whole turns by which a servo's positions differ from its calibration.

        A servo that counts turns starts within one when it is switched on. If its joint crosses the zero of the
        encoder, the range was calibrated in the turn before or behind.
        """
        if not self.bus.turns:
            return
        position = np.array([f.position for f in self._known()])
        middle = (self.counts.low + self.counts.high) / 2
        outside = (position < self.counts.low - RANGE_MARGIN) | (position > self.counts.high + RANGE_MARGIN)
        self._turns = np.where(outside, TURN * np.round((middle - position) / TURN), 0).astype(np.int64)
        if self._turns.any():
            self._feedback = [None] * len(self.ids)
            self._first_reading()

    def _with_last_sensors(self, motions: Mapping[int, tuple[float, float]]) -> dict[int, Feedback]:
        """Return servo id -> reading, from a new position and speed and the last values of the other sensors."""
        return {
            servo: dataclasses.replace(feedback, position=motions[servo][0] + turns, speed=motions[servo][1])
            for servo, feedback, turns in zip(self.ids, self._known(), self._turns.tolist(), strict=True)
            if servo in motions
        }

    def _in_turn(self, servo: int, feedback: Feedback) -> Feedback:
        """Return a reading with its position in the turn of the calibration."""
        return dataclasses.replace(feedback, position=feedback.position + int(self._turns[self.ids.index(servo)]))

    def _is_plausible(self, joint: int, feedback: Feedback) -> bool:
        """Return whether a servo can have reached a position since its last one.

        The checksum of a frame does not detect every error: Feetech's has eight bits, and the loss of a byte 0xFF does
        not change it. A position that is too far away is accepted if the next reading confirms it.
        """
        last, implausible = self._feedback[joint], self._implausible.pop(joint, None)
        bound = JUMP + MAX_SPEED * self._responses.age_s(joint)
        if last is None or abs(feedback.position - last.position) <= bound:
            return True
        if implausible is not None and abs(feedback.position - implausible) <= bound:
            return True
        self._implausible[joint] = feedback.position
        return False

    def _state(self, feedback: Sequence[Feedback]) -> tuple[Array, Array, Array]:
        position = self.counts.angles(np.array([f.position for f in feedback]))
        velocity = self.counts.speeds(np.array([f.speed for f in feedback]))
        return position, velocity, self._current(feedback) * self.torque_constant

    def _sensors(self, feedback: Sequence[Feedback]) -> dict[str, Array]:
        current = self._current(feedback)
        return {
            "current_a": current,
            "torque_nm": current * self.torque_constant,
            "pwm_ratio": self.counts.along(np.array([f.pwm_ratio for f in feedback])),
            "voltage_v": np.array([f.voltage_v for f in feedback]),
            "driver_c": np.array([f.temperature_c for f in feedback]),
        }

    def _current(self, feedback: Sequence[Feedback]) -> Array:
        return self.counts.along(np.array([f.current_a for f in feedback]))

    def _command(self, targets: Array) -> Array:
        goals = self.counts.goals(targets)
        raw: list[int] = (goals - self._turns).tolist()
        self.bus.write_all(self.bus.goal, self.second.goals(dict(zip(self.ids, raw, strict=True))))
        return np.clip(self.counts.angles(goals.astype(float)), self.robot.lower, self.robot.upper)

    def _clear(self, motor: int) -> None:
        self.bus.clear(self.ids[motor])
        if motor in self.second.of:
            self.bus.clear(self.second.of[motor])

    def _reread(self, motors: Sequence[int]) -> None:
        del motors
        self._first_reading()

    def _release(self) -> None:
        self.bus.write_all(self.bus.enable, dict.fromkeys(self._all_ids, 0))

    def _is_open(self) -> bool:
        return self._bus is not None

    def _close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.port.close()

    # Connecting.

    def _hold(self, joint: int) -> None:
        """Enable a servo's torque at its present position; a servo that is enabled already keeps its goal.

        Raises:
            HardwareError: If the servo is outside its calibrated range, or does not accept its goal.
        """
        servo = self.ids[joint]
        position = self._known()[joint].position
        low, high = self.counts.low[joint], self.counts.high[joint]
        goal = round(float(np.clip(position, low, high)))
        if abs(goal - position) > RANGE_MARGIN:
            raise HardwareError(
                f"{self._names([joint])} is at {position:.0f}, outside its calibrated range of {low:.0f} to "
                f"{high:.0f}; move it back into the range, or calibrate again"
            )
        goal -= int(self._turns[joint])
        if self.bus.read(servo, self.bus.enable) == 1:
            goal = self.bus.read(servo, self.bus.goal)
        for one, wanted in self.second.goals({servo: goal}).items():
            self.bus.hold(one, wanted)

    def _servo_names(self, servos: Sequence[int]) -> str:
        """Return the joints and ids of servos, for messages; both servos of a joint have its name."""
        joints = {servo: i for i, servo in enumerate(self.ids)} | {two: i for i, two in self.second.of.items()}
        return ", ".join(f"{self.robot.joint_names[joints[servo]]} (id {servo})" for servo in servos)

    def _effort_ratio(self, joint: int) -> float:
        """Return the fraction of its stall torque that a servo may apply."""
        peak, effort = self.robot.joints[joint].motor.peak_torque_nm, self.robot.joints[joint].effort
        return 1.0 if peak is None or not np.isfinite(effort) else min(1.0, effort / peak)

    def _first_reading(self) -> None:
        """Read all servos at least once; raises HardwareError for a servo that does not respond to a sync read."""
        silent: list[int] = list(range(len(self.ids)))
        for attempt in range(READ_ATTEMPTS):
            if attempt:
                self.bus.recover(attempt)
            self._exchange(silent, self.options.response_timeout_s)
            if not (silent := [i for i in silent if self._responses.missed[i]]):
                return
        raise HardwareError(
            f"{self._names(silent)} responds to a ping, but not to a sync read; check that no two servos have the same "
            "id, noise on the bus and its termination"
        )
