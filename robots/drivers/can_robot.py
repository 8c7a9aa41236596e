"""A robot of CAN motors in MIT mode: what the drivers for Damiao and RobStride share.

Each cycle the driver asks every motor how it is and waits for the answers, for a short time. A motor that misses one
keeps its last reading, whose stamp is the state's; one that stays silent is lost (HardwareError).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.can_link import CanLink
from waldo.robots.drivers.mit import Setpoint
from waldo.robots.drivers.motor_bus import Attendance, BusOptions, as_motors, torque_constants
from waldo.robots.drivers.options import build_options, numbers, whole_numbers
from waldo.typing import Array

FULL_EFFORT_RAD = 0.25
"""Deflection at which the default stiffness gives the joint's full effort [rad]."""
DAMPING_S = 0.025
"""Default damping over stiffness [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanOptions(BusOptions):
    """How the motors are reached and driven; lists are in the order of the robot's joints, with commas between."""

    interface: str = "socketcan"
    """python-can's name of the adapter's kind: socketcan, slcan, pcan, virtual ..."""
    channel: str = "can0"
    """The adapter's channel: can0, /dev/ttyACM0 ..."""
    bitrate: int = 1_000_000
    """Bits a second; with socketcan the interface has its own."""
    signs: str = ""
    """1 or -1 for each motor: whether its angle grows with the joint's."""
    offsets_rad: str = ""
    """Angle of each motor where its joint is at 0 [rad]."""
    kp: str = ""
    """Stiffness [N·m/rad]; unless given, so that 0.25 rad of deflection ask for the joint's full effort."""
    kd: str = ""
    """Damping [N·m·s/rad]; a fortieth of a second times the stiffness unless given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one motor says of itself, at its own shaft."""

    position_rad: float
    velocity_rad_s: float
    torque_nm: float
    winding_c: float = np.nan
    driver_c: float = np.nan
    enabled: bool = True
    fault: str = ""
    """What is wrong, in words; empty where nothing."""


class MotorProtocol(Protocol):
    """One vendor's frames; motors are counted from 0."""

    def identify(self) -> None:
        """Learn what must be known before the first command; raises HardwareError for a motor that is not there."""
        ...

    def ask(self, motor: int) -> None:
        """Send what makes a motor answer with its state, and moves nothing."""
        ...

    def enable(self, motor: int) -> None:
        """Switch a motor's power stage on."""
        ...

    def release(self, motor: int) -> None:
        """Switch it off."""
        ...

    def clear(self, motor: int) -> None:
        """Clear a latched error."""
        ...

    def command(self, motor: int, setpoint: Setpoint) -> Setpoint:
        """Send a command; return what the frame's counts say."""
        ...

    def parse(self, message: Any) -> tuple[int, Feedback] | None:
        """Return which motor a frame came from and what it says; None for other frames."""
        ...

    def volts(self) -> Array:
        """Return the supply voltages that the motors told, shape (motors,) [V]; NaN where they do not."""
        ...


class CanMotorDriver:
    """A Driver (waldo.robots.driver) over one CAN bus."""

    options_class: ClassVar[type[CanOptions]] = CanOptions
    harmless: ClassVar[tuple[str, ...]] = ()
    """Errors that connecting clears: those that only say that nobody talked to the motor."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Take the robot and the fields of the driver's options, as values or as texts."""
        self.options = build_options(self.options_class, options)
        count = len(robot.joints)
        self.robot = robot = as_motors(robot, self.options.motors)
        self.ids = whole_numbers("ids", self.options.ids, count, range(1, count + 1))
        if len(set(self.ids)) != count:
            raise InvalidValueError("ids", self.options.ids, "a different id for each motor")
        self.signs = numbers("signs", self.options.signs, count, [1.0] * count)
        if not np.all(np.abs(self.signs) == 1):
            raise InvalidValueError("signs", self.options.signs, "1 or -1 for each motor")
        self.offsets = numbers("offsets_rad", self.options.offsets_rad, count, [0.0] * count)
        efforts = [joint.effort if np.isfinite(joint.effort) else 10.0 for joint in robot.joints]
        self.kp = numbers("kp", self.options.kp, count, [effort / FULL_EFFORT_RAD for effort in efforts])
        self.kd = numbers("kd", self.options.kd, count, list(self.kp * DAMPING_S))
        self.torque_constant = torque_constants(robot)
        self._link: CanLink | None = None
        self._feedback: list[Feedback | None] = [None] * count
        self._attendance = Attendance(count)
        self.protocol: MotorProtocol

    # what a vendor's driver adds

    def make_protocol(self, link: CanLink) -> MotorProtocol:
        """Return the vendor's frames on an open bus."""
        raise NotImplementedError

    # the protocol of every driver

    def connect(self) -> None:
        """Open the bus, find every motor, and hold where they are; raises HardwareError with what to do."""
        options = self.options
        link = self.open_link()
        self._link = link
        try:
            self.protocol = self.make_protocol(link)
            self.protocol.identify()
            self._exchange(range(len(self.ids)), options.patience_s)
            if silent := [i for i, feedback in enumerate(self._feedback) if feedback is None]:
                raise HardwareError(
                    f"no answer from {self._names(silent)} on {link.name}; check power, wiring, bit rate and ids"
                )
            self._refuse_faults()
            if options.torque:
                for motor in range(len(self.ids)):
                    self.protocol.enable(motor)
                # Where each motor is now, so that enabling moves nothing.
                self._targets = self._angles()
                self._send(self._targets)
        except BaseException:
            link.close()
            self._link = None
            raise

    def open_link(self) -> CanLink:
        """Open the bus that the options name."""
        return CanLink(self.options.interface, self.options.channel, self.options.bitrate)

    def read(self) -> RobotState:
        """Ask every motor and return the joints' state; its stamp is the oldest answer's."""
        self._exchange(range(len(self.ids)), self.options.answer_s)
        lost = self._attendance.lost(self.options.patience_s)
        if lost:
            raise HardwareError(
                f"no answer from {self._names(lost)} for {self.options.patience_s:g} s; check the motor's power and "
                "its plug, then connect again"
            )
        known = self._known()
        return RobotState(
            stamp_ns=int(self._attendance.heard_ns.min()),
            position=self._angles(),
            velocity=self.signs * np.array([f.velocity_rad_s for f in known]),
            effort=self.signs * np.array([f.torque_nm for f in known]),
        )

    def motors(self) -> MotorSensors:
        """Return what the motors said; the current is the torque over the torque constant."""
        known = self._known()
        torque = self.signs * np.array([f.torque_nm for f in known])
        silent = self._attendance.known
        return dataclasses.replace(
            MotorSensors.unknown(len(known)),
            current_a=torque / self.torque_constant * silent,
            torque_nm=torque * silent,
            voltage_v=self.protocol.volts(),
            winding_c=np.array([f.winding_c for f in known]) * silent,
            driver_c=np.array([f.driver_c for f in known]) * silent,
            faults=tuple(
                "; ".join(part for part in (feedback.fault, self._attendance.missed[i], self._off(feedback)) if part)
                for i, feedback in enumerate(known)
            ),
            disabled=np.array([self.options.torque and not feedback.enabled for feedback in known]),
        )

    def write(self, targets: Array) -> Array:
        """Command position targets (joints,) [rad]; return what the frames carry, within the joints' limits."""
        wanted = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(wanted)):
            raise InvalidValueError("targets", targets, "finite numbers")
        self._targets = wanted
        return self._send(wanted) if self.options.torque else self._angles()

    def frames(self) -> Sequence[Frame]:
        """Return nothing: CAN motors have no cameras."""
        return ()

    def disconnect(self) -> None:
        """Leave the motors holding the last target, or released, and close the bus."""
        link, self._link = self._link, None
        if link is None:
            return
        try:
            if self.options.torque and self.options.on_close == "release":
                for motor in range(len(self.ids)):
                    self.protocol.release(motor)
        finally:
            link.close()

    # inside

    @property
    def link(self) -> CanLink:
        """The open bus."""
        if self._link is None:
            raise HardwareError("the CAN bus is not open; call connect() first")
        return self._link

    def _names(self, motors: Sequence[int]) -> str:
        return ", ".join(f"{self.robot.joint_names[i]} (id 0x{self.ids[i]:02X})" for i in motors)

    def _known(self) -> list[Feedback]:
        if any(feedback is None for feedback in self._feedback):
            raise HardwareError("the motors have not been read yet; call connect() first")
        return [feedback for feedback in self._feedback if feedback is not None]

    def _angles(self) -> Array:
        return self.signs * (np.array([f.position_rad for f in self._known()]) - self.offsets)

    def _off(self, feedback: Feedback) -> str:
        return "switched off" if self.options.torque and not feedback.enabled and not feedback.fault else ""

    def _refuse_faults(self) -> None:
        """Raise for latched errors, clearing first those that are harmless or that the options say to clear."""
        cleared = [
            i
            for i, feedback in enumerate(self._known())
            if feedback.fault and (self.options.clear_errors or feedback.fault in self.harmless)
        ]
        for motor in cleared:
            self.protocol.clear(motor)
        if cleared:
            self._exchange(cleared, self.options.patience_s)
        if bad := [i for i, feedback in enumerate(self._known()) if feedback.fault]:
            told = ", ".join(f"{self._names([i])} reports {self._known()[i].fault}" for i in bad)
            raise HardwareError(f"{told}; remove the cause, then connect with clear_errors=true")

    def _send(self, targets: Array) -> Array:
        """Command every motor; return the joint angles (joints,) that the frames carry."""
        sent = np.empty_like(targets)
        for i, target in enumerate(targets):
            angle = self.signs[i] * target + self.offsets[i]
            setpoint = Setpoint(position_rad=float(angle), kp=float(self.kp[i]), kd=float(self.kd[i]))
            sent[i] = self.signs[i] * (self.protocol.command(i, setpoint).position_rad - self.offsets[i])
        return sent

    def _exchange(self, motors: Sequence[int], timeout_s: float) -> None:
        """Take in what has come, ask `motors`, and wait for their answers for up to `timeout_s` [s]."""
        while (message := self.link.receive(0)) is not None:
            self._take_in(message)
        for motor in motors:
            self.protocol.ask(motor)
        deadline = time.monotonic() + timeout_s
        waiting = set(motors)
        while waiting and (message := self.link.receive(deadline - time.monotonic())) is not None:
            waiting.discard(self._take_in(message))
        self._attendance.end_cycle(motors, [*waiting])

    def _take_in(self, message: Any) -> int:
        """Keep what a frame says; return its motor, or -1."""
        parsed = self.protocol.parse(message)
        if parsed is None:
            return -1
        motor, feedback = parsed
        self._feedback[motor] = feedback
        self._attendance.heard(motor)
        return motor
