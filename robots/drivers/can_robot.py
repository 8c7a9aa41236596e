"""Base class of the drivers for CAN motors in MIT mode (Damiao, RobStride)."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.bus_driver import BusDriver, BusOptions
from waldo.robots.drivers.can_answers import Marks, Motions
from waldo.robots.drivers.can_link import CanLink
from waldo.robots.drivers.mit import Setpoint
from waldo.robots.drivers.options import per_joint
from waldo.typing import Array

FULL_EFFORT_RAD = 0.25
"""Deflection at which the default stiffness applies the joint's full effort [rad]."""
UNKNOWN_EFFORT_NM = 10.0
"""Effort from which the default stiffness is computed for a joint without an effort limit [N·m]."""
ATTEMPTS = 8
"""Number of times that a motor is queried when connecting before it counts as missing; two answers must agree."""
LATEST_S = 0.35
"""Time after a missing answer in which it may still arrive [s]."""
MAX_BURST = 500
"""Most frames that are read at once after a missing answer."""
MARKED_S = 0.05
"""Longest wait for the first reply to a mark [s]."""
QUIET_S = 0.002
"""Time without a frame after which there is none left [s]."""
DAMPING_S = 0.025
"""Default damping divided by the stiffness [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanOptions(BusOptions):
    """Options of CAN motors. Tuples contain one value per joint, or a single one for all joints."""

    interface: str = "socketcan"
    """Kind of adapter, as named by python-can: socketcan, slcan, pcan, virtual, ..."""
    channel: str = "can0"
    """Channel of the adapter: can0, /dev/ttyACM0, ..."""
    bitrate: int = 1_000_000
    """Bit rate of the bus [bit/s]; ignored by socketcan, whose bit rate is set with `ip link`."""
    signs: tuple[float, ...] = ()
    """1 or -1 per motor: -1 if its angle decreases when the joint's angle increases; 1 by default."""
    offsets_rad: tuple[float, ...] = ()
    """Angle of each motor when its joint is at 0 [rad]; 0 by default."""
    kp: tuple[float, ...] = ()
    """Stiffness [N·m/rad]; by default 0.25 rad of deflection apply the joint's full effort."""
    kd: tuple[float, ...] = ()
    """Damping [N·m·s/rad]; by default the stiffness times 0.025 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One reading of a motor, at its own output shaft."""

    position_rad: float
    velocity_rad_s: float
    torque_nm: float
    winding_c: float = np.nan
    """Winding temperature [°C]; NaN if it is not measured."""
    driver_c: float = np.nan
    """Temperature of the motor controller's power stage [°C]; NaN if it is not measured."""
    enabled: bool = True
    """Whether the power stage is on."""
    fault: str = ""
    """Faults as text; empty if there are none."""

    @property
    def disabled(self) -> bool:
        """Whether the power stage is off."""
        return not self.enabled


class MotorProtocol(Protocol):
    """The frames of one vendor; motors are indices from 0."""

    marks: int
    """Number of different marks; 0 if the protocol has none."""

    def identify(self) -> None:
        """Read what must be known before the first command; raises HardwareError if a motor does not respond."""
        ...

    def query(self, motor: int) -> None:
        """Send a frame to which a motor responds with its feedback, without moving."""
        ...

    def mark(self, motor: int, number: int) -> None:
        """Send a frame whose reply contains one of `marks` numbers."""
        ...

    def mark_of(self, message: Any) -> tuple[int, int] | None:
        """Return the motor and number if a frame is the reply to a mark."""
        ...

    def enable(self, motor: int) -> None:
        """Switch a motor's power stage on."""
        ...

    def release(self, motor: int) -> None:
        """Switch a motor's power stage off."""
        ...

    def clear(self, motor: int) -> None:
        """Clear a latched error."""
        ...

    def command(self, motor: int, setpoint: Setpoint) -> Setpoint:
        """Send a command; return the setpoint as rounded by the frame."""
        ...

    def parse(self, message: Any) -> tuple[int, Feedback] | None:
        """Return the motor and feedback of a received frame; None for other frames."""
        ...

    def voltages(self) -> Array:
        """Return the supply voltages, shape (motors,) [V]; NaN if they are not reported."""
        ...


class CanMotorDriver[OptionsT: CanOptions](BusDriver[OptionsT, Feedback]):
    """A `Driver` for motors on one CAN bus; a vendor's class adds the frames."""

    Options: ClassVar[type[BusOptions]] = CanOptions
    id_format: ClassVar[str] = "0x{:02X}"

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of the class `Options`."""
        super().__init__(robot, **options)
        count = len(self.robot.joints)

        def column(name: str, default: Sequence[float]) -> Array:
            return np.array(per_joint(name, getattr(self.options, name), count, default), dtype=float)

        self.signs = column("signs", [1.0] * count)
        if not np.all(np.abs(self.signs) == 1):
            raise InvalidValueError("signs", self.options.signs, "1 or -1 for each motor")
        self.offsets = column("offsets_rad", [0.0] * count)
        efforts = [j.effort if np.isfinite(j.effort) else UNKNOWN_EFFORT_NM for j in self.robot.joints]
        self.kp = column("kp", [effort / FULL_EFFORT_RAD for effort in efforts])
        self.kd = column("kd", list(self.kp * DAMPING_S))
        self._link: CanLink | None = None
        self.protocol: MotorProtocol
        self.motions = Motions(count)
        """What the positions are compared with, and how many were refused."""
        self.marks = Marks[Feedback](count)
        """Which motors' answers may be those to earlier requests."""
        self._unconfirmed: list[tuple[bool, str] | None] = [None] * count
        """Per motor, a change of enabled and fault that only one answer has reported."""
        self._missed_s = -np.inf

    def make_protocol(self, link: CanLink) -> MotorProtocol:
        """Return the vendor's frames on an open bus."""
        raise NotImplementedError

    def open_link(self) -> CanLink:
        """Open the bus that the options name."""
        return CanLink(self.options.interface, self.options.channel, self.options.bitrate)

    def connect(self) -> None:
        """Open the bus, find every motor and hold the present position.

        Raises:
            HardwareError: If the bus cannot be opened, or a motor is missing or reports a fault.
        """
        self._link = link = self.open_link()
        try:
            self.protocol = self.make_protocol(link)
            self.protocol.identify()
            self.motions, self.marks = Motions(len(self.ids)), Marks(len(self.ids))
            silent = list(range(len(self.ids)))
            for _ in range(ATTEMPTS):
                self._exchange(silent, self.options.motor_timeout_s)
                if not (silent := [i for i in silent if not self.motions.confirmed(i)]):
                    break
            else:
                if answered := [i for i in silent if self._feedback[i] is not None]:
                    raise HardwareError(
                        f"{self._names(answered)} reports different positions at each reading on {link.name}; keep "
                        "the arm still, and check noise on the bus and that no two motors have the same id"
                    )
                raise HardwareError(
                    f"no response from {self._names(silent)} on {link.name}; check power, wiring, bit rate and ids"
                )
            self._find_marks()
            self._refuse_faults()
            if self.options.torque:
                for motor in range(len(self.ids)):
                    self.protocol.enable(motor)
                # The present position, so that enabling causes no motion.
                self._command(self._state(self._known())[0])
        except BaseException:
            self._close()
            raise

    def _find_marks(self) -> None:
        """Find out which motors reply to marks, so that a stall of the adapter is not taken for old firmware."""
        for _ in range(2 if self.protocol.marks else 0):
            for motor in self.marks.unknown():
                self.protocol.mark(motor, self.marks.next(motor) % self.protocol.marks)
            deadline = time.monotonic() + MARKED_S
            while self.marks.unknown() and (message := self.link.receive(deadline - time.monotonic())) is not None:
                self._accept(message)

    @property
    def link(self) -> CanLink:
        """The open bus."""
        if self._link is None:
            raise HardwareError("the CAN bus is not open; call connect() first")
        return self._link

    # Provided to the base class.

    def _query(self, motors: Sequence[int], timeout_s: float) -> Collection[int]:
        # Frames that arrived since the last cycle.
        while (message := self.link.receive(0)) is not None:
            self._accept(message)
        for motor in motors:
            is_late = motor in self.marks.late
            if is_late and not self.marks.is_due(motor):
                continue
            self.protocol.query(motor)
            if is_late:
                self.protocol.mark(motor, self.marks.next(motor) % self.protocol.marks)
        start = time.monotonic()
        deadline = start + timeout_s
        waiting = set(motors)
        while waiting and (message := self.link.receive(deadline - time.monotonic())) is not None:
            waiting.discard(self._accept(message))
        self.motions.interrupted |= waiting
        if self.protocol.marks:
            self.marks.late |= waiting
        elif waiting:
            self._missed_s = time.monotonic()
        elif start - self._missed_s < LATEST_S:
            # The answers to earlier requests may arrive now, those to this one behind them.
            for _ in range(MAX_BURST):
                if (message := self.link.receive(QUIET_S)) is None:
                    break
                self._accept(message)
        return set(motors) - waiting

    def _accept(self, message: Any) -> int:
        """Store the feedback of a frame; return its motor, or -1 for other frames and old positions."""
        if (mark := self.protocol.mark_of(message)) is not None:
            motor, number = mark
            current = self.marks.reply(motor, number, self.protocol.marks)
            return -1 if current is None else self._accept_feedback(motor, *current)
        parsed = self.protocol.parse(message)
        if parsed is None:
            return -1
        motor, feedback = parsed
        if motor in self.marks.late:
            self.marks.hold(motor, feedback)
            return -1
        return self._accept_feedback(motor, feedback, self.link.age_s(message))

    def _accept_feedback(self, motor: int, feedback: Feedback, age_s: float) -> int:
        """Store a motor's feedback; return the motor, or -1 for an old position and a status to be confirmed."""
        if not self.motions.continues(motor, feedback.position_rad, feedback.velocity_rad_s, age_s):
            return -1
        if not self._is_confirmed(motor, feedback):
            self.protocol.query(motor)
            return -1
        self._keep(motor, feedback, age_s)
        return motor

    def _is_confirmed(self, motor: int, feedback: Feedback) -> bool:
        """Return whether a motor's status is the one before, or two answers have reported the new one."""
        before, status = self._feedback[motor], (feedback.enabled, feedback.fault)
        known = before is None or status in ((before.enabled, before.fault), self._unconfirmed[motor])
        self._unconfirmed[motor] = None if known else status
        return known

    def _state(self, feedback: Sequence[Feedback]) -> tuple[Array, Array, Array]:
        position = self.signs * (np.array([f.position_rad for f in feedback]) - self.offsets)
        velocity = self.signs * np.array([f.velocity_rad_s for f in feedback])
        return position, velocity, self.signs * np.array([f.torque_nm for f in feedback])

    def _sensors(self, feedback: Sequence[Feedback]) -> dict[str, Array]:
        torque = self.signs * np.array([f.torque_nm for f in feedback])
        return {
            "current_a": torque / self.torque_constant,
            "torque_nm": torque,
            "voltage_v": self.protocol.voltages(),
            "winding_c": np.array([f.winding_c for f in feedback]),
            "driver_c": np.array([f.driver_c for f in feedback]),
        }

    def _command(self, targets: Array) -> Array:
        applied = np.empty_like(targets)
        for i, target in enumerate(targets):
            angle = self.signs[i] * target + self.offsets[i]
            setpoint = Setpoint(position_rad=float(angle), kp=float(self.kp[i]), kd=float(self.kd[i]))
            applied[i] = self.signs[i] * (self.protocol.command(i, setpoint).position_rad - self.offsets[i])
        return applied

    def _clear(self, motor: int) -> None:
        self.protocol.clear(motor)

    def _release(self) -> None:
        for motor in range(len(self.ids)):
            self.protocol.release(motor)

    def _is_open(self) -> bool:
        return self._link is not None

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
