"""Base class of the drivers for motors on one bus: serial servos and CAN motors.

In every cycle the driver queries all motors and waits a short time for their responses. A motor that misses a cycle
keeps its last reading: the state's stamp is that of the oldest reading, and the motor's sensor values are unknown. A
motor that stays silent for `motor_timeout_s` counts as disconnected (`HardwareError`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, cast

import numpy as np

from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.options import TypedOptions, build_options, per_joint
from waldo.robots.drivers.response_tracker import ResponseTracker
from waldo.robots.motor import in_parallel
from waldo.robots.motors.library import load_motor
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions(TypedOptions):
    """Options of motors on any bus. Tuples contain one value per joint, or a single one for all joints."""

    ids: tuple[int, ...] = ()
    """Id of each motor on the bus; 1, 2, 3, ... by default."""
    motors: tuple[str, ...] = ()
    """Type of each motor, as listed by `waldo motors`; by default those of the robot's description."""
    torque: bool = True
    """Drive the motors. With false they are only read, and the arm can be moved by hand."""
    on_close: Literal["hold", "release"] = "hold"
    """Whether the motors hold their position or disable their torque when the driver disconnects."""
    clear_errors: bool = False
    """Clear latched errors when connecting. Use it only after the cause has been removed."""
    response_timeout_s: float = 0.01
    """Longest wait for the motors' responses in a control cycle [s]."""
    motor_timeout_s: float = 0.25
    """A motor that does not respond for this long counts as disconnected [s]."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a value that cannot be used."""
        TypedOptions.__post_init__(self)
        self.require_positive("response_timeout_s", "motor_timeout_s")


class MotorFeedback(Protocol):
    """What the base class reads of a motor's feedback."""

    @property
    def fault(self) -> str:
        """The motor's faults as text; empty if there are none."""
        ...

    @property
    def disabled(self) -> bool:
        """Whether the motor's drive has disabled its torque."""
        ...


class BusDriver[OptionsT: BusOptions, FeedbackT: MotorFeedback]:
    """A driver of motors on one bus; a subclass adds the bus and the meaning of its feedback.

    Motors are indices into the robot's joints.
    """

    Options: ClassVar[type[BusOptions]] = BusOptions
    per_part: ClassVar[bool] = True
    """The driver is for one connection: each part of a robot needs its own."""
    id_format: ClassVar[str] = "{}"
    """Format of a motor id in messages."""
    recoverable: ClassVar[tuple[str, ...]] = ()
    """Faults that are cleared when connecting, such as a lost connection to the host."""
    clear_help: ClassVar[str] = "remove the cause, then connect with clear_errors=true"
    """What a user can do about a fault."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of the class `Options`."""
        self.options: OptionsT = cast("OptionsT", build_options(self.Options, options))
        count = len(robot.joints)
        self.robot = robot = with_motors(robot, self.options.motors)
        self.ids = per_joint("ids", self.options.ids, count, range(1, count + 1))
        if len(set(self.ids)) != count:
            raise InvalidValueError("ids", self.options.ids, "a different id for each motor")
        self.torque_constant = torque_constants(robot)
        """Torque constant of each motor, shape (joints,) [N·m/A]; NaN if it is not published."""
        self._feedback: list[FeedbackT | None] = [None] * count
        self._responses = ResponseTracker(count)

    # Provided by a subclass.

    def connect(self) -> None:
        """Open the bus, find every motor and hold the present position.

        Raises:
            HardwareError: If the bus cannot be opened, or a motor is missing or reports a fault.
        """
        raise NotImplementedError

    def _query(self, motors: Sequence[int], timeout_s: float) -> Collection[int]:
        """Query motors, pass each feedback to `_keep`, and return the motors that responded within `timeout_s` [s]."""
        raise NotImplementedError

    def _state(self, feedback: Sequence[FeedbackT]) -> tuple[Array, Array, Array]:
        """Return the joints' positions [rad], velocities [rad/s] and efforts [N·m], each of shape (joints,)."""
        raise NotImplementedError

    def _sensors(self, feedback: Sequence[FeedbackT]) -> dict[str, Array]:
        """Return the fields of `MotorSensors` that the motors measure, each of shape (joints,)."""
        raise NotImplementedError

    def _command(self, targets: Array) -> Array:
        """Send position targets (joints,) [rad] within the joint limits; return the targets that the frames carry."""
        raise NotImplementedError

    def _clear(self, motor: int) -> None:
        """Clear a motor's latched error."""
        raise NotImplementedError

    def _release(self) -> None:
        """Disable the torque of every motor."""
        raise NotImplementedError

    def _is_open(self) -> bool:
        """Whether the bus is open."""
        raise NotImplementedError

    def _close(self) -> None:
        """Close the bus."""
        raise NotImplementedError

    # The `Driver` protocol.

    def read(self) -> RobotState:
        """Query all motors and return the joint state; its stamp is that of the oldest reading.

        Raises:
            HardwareError: If a motor has not responded for `motor_timeout_s`, or the bus fails.
        """
        self._exchange(range(len(self.ids)), self.options.response_timeout_s)
        if lost := self._responses.lost(self.options.motor_timeout_s):
            raise HardwareError(
                f"no response from {self._names(lost)} for {self.options.motor_timeout_s:g} s; check the motor's "
                "cable and power supply, then connect again"
            )
        position, velocity, effort = self._state(self._known())
        return RobotState(
            stamp_ns=int(self._responses.stamp_ns.min()), position=position, velocity=velocity, effort=effort
        )

    def motors(self) -> MotorSensors:
        """Return the sensor values and faults of the last reading; NaN for motors that missed it."""
        known, current = self._known(), self._responses.current
        sensors = {name: values * current for name, values in self._sensors(known).items()}
        disabled = [self.options.torque and feedback.disabled for feedback in known]
        return dataclasses.replace(
            MotorSensors.unknown(len(known)),
            faults=tuple(self._fault_text(i, feedback) for i, feedback in enumerate(known)),
            disabled=np.array(disabled, dtype=bool),
            **sensors,
        )

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad].

        Returns:
            The applied targets: within the joint limits, and rounded to what the frames carry. Without torque, the
            present position.

        Raises:
            InvalidValueError: If a target is not finite; nothing is sent.
        """
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(within)):
            raise InvalidValueError("targets", targets, "finite numbers")
        return self._command(within) if self.options.torque else self._state(self._known())[0]

    def frames(self) -> Sequence[Frame]:
        """Return no frames: motors on a bus have no cameras."""
        return ()

    def disconnect(self) -> None:
        """Hold the last target or disable the torque, according to `on_close`, and close the bus."""
        if not self._is_open():
            return
        try:
            if self.options.torque and self.options.on_close == "release":
                self._release()
        finally:
            self._close()

    # For subclasses.

    def _keep(self, motor: int, feedback: FeedbackT, age_s: float = 0.0) -> None:
        """Store a motor's feedback that has just arrived, and is up to `age_s` old [s]."""
        self._feedback[motor] = feedback
        self._responses.responded(motor, age_s)

    def _exchange(self, motors: Sequence[int], timeout_s: float) -> None:
        """Query motors and record which of them responded."""
        responded = self._query(motors, timeout_s)
        self._responses.end_cycle(motors, set(motors).difference(responded))

    def _known(self) -> list[FeedbackT]:
        """Return the last feedback of every motor; raises HardwareError before the first reading."""
        known = [feedback for feedback in self._feedback if feedback is not None]
        if len(known) < len(self.ids):
            raise HardwareError("the motors have not been read yet; call connect() first")
        return known

    def _names(self, motors: Sequence[int]) -> str:
        """Return the joints and ids of motors, for messages."""
        ids = [self.id_format.format(self.ids[i]) for i in motors]
        return ", ".join(f"{self.robot.joint_names[i]} (id {text})" for i, text in zip(motors, ids, strict=True))

    def _fault_text(self, motor: int, feedback: FeedbackT) -> str:
        """Return a motor's fault, a missed cycle, or that its torque is disabled."""
        missed = self._responses.missed[motor]
        off = "torque disabled" if self.options.torque and feedback.disabled and not feedback.fault else ""
        return "; ".join(filter(None, (feedback.fault, missed, off)))

    def _reread(self, motors: Sequence[int]) -> None:
        """Query motors whose errors have been cleared."""
        self._exchange(motors, self.options.motor_timeout_s)

    def _refuse_faults(self) -> None:
        """Clear the faults that may be cleared, then raise HardwareError if any motor still reports one."""
        cleared = [
            motor
            for motor, feedback in enumerate(self._known())
            if feedback.fault and (self.options.clear_errors or feedback.fault in self.recoverable)
        ]
        for motor in cleared:
            self._clear(motor)
        if cleared:
            self._reread(cleared)
        faults = [f"{self._names([i])} reports {f.fault}" for i, f in enumerate(self._known()) if f.fault]
        if faults:
            raise HardwareError(f"{', '.join(faults)}; {self.clear_help}")


def with_motors(robot: Robot, motors: tuple[str, ...]) -> Robot:
    """Return a robot without cameras, and with other motors if `motors` contains types from the motor library."""
    robot = dataclasses.replace(robot, cameras=())
    if not motors:
        return robot
    found = [load_motor(name) for name in per_joint("motors", motors, len(robot.joints), ())]
    joints = [
        dataclasses.replace(joint, motor=in_parallel(motor, joint.motor.count))
        for joint, motor in zip(robot.joints, found, strict=True)
    ]
    return dataclasses.replace(robot, joints=tuple(joints))


def torque_constants(robot: Robot) -> Array:
    """Return the torque constant of each motor, shape (joints,) [N·m/A]; NaN if it is not published."""
    constants = [joint.motor.torque_constant_nm_per_a for joint in robot.joints]
    return np.array([np.nan if constant is None else constant for constant in constants])
