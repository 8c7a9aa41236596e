"""Driver for Unitree robots (G1, H1-2, Go2, H1) over DDS: `rt/lowstate` in, `rt/lowcmd` or `rt/arm_sdk` out.

Sources: https://github.com/unitreerobotics/unitree_sdk2_python (example/g1/low_level: mode_pr, mode_machine;
example/g1/high_level: arm_sdk) and https://github.com/unitreerobotics/xr_teleoperate (gains, arm_sdk). `rt/lowcmd`
requires that the robot's motion service is released, `rt/arm_sdk` that it is active.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from waldo.errors import HardwareError, InvalidValueError, MissingOptionError, count
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.bus_driver import torque_constants
from waldo.robots.drivers.options import build_options, per_joint
from waldo.robots.drivers.unitree.channel import Channel, ChannelOptions
from waldo.robots.drivers.unitree.motors import (
    ARM_SDK_MOTORS,
    ARM_SDK_WEIGHT,
    G1_MOTORS,
    GO_MOTORS,
    HG_MOTORS,
    MOTOR_INDICES,
    default_gains,
    fault_text,
)
from waldo.robots.drivers.unitree.services import MotionSwitcher, NoServiceError
from waldo.robots.drivers.unitree.winding import WindingFinder
from waldo.typing import Array

LOG = logging.getLogger(__name__)

WRONG_CHECKSUM, NOT_FINITE, OVERTAKEN = "with a wrong checksum", "with values that are not finite", "overtaken"
"""Reasons for which a state is refused."""
SERVICE_S = 2.0
"""Longest wait for the motion service [s]."""
REBOOT_TICKS = 1000
"""A state whose tick is at most this much behind the last one was overtaken; a larger step is a restart [ms]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitreeOptions(ChannelOptions):
    """Options of the `unitree` driver. Tuples contain one value per joint, or a single one for all joints."""

    family: Literal["hg", "go"] = "hg"
    """Message family: hg for G1 and H1-2; go for Go2, B2 and H1."""
    command_topic: Literal["rt/lowcmd", "rt/arm_sdk"] = "rt/lowcmd"
    """rt/lowcmd: waldo alone drives every motor. rt/arm_sdk, of the G1 alone: the robot's own controller stands and
    walks, and waldo drives the waist and the arms; other joints are only read."""
    motion_service: Literal["check", "release", "ignore"] = "check"
    """The robot's motion service must not run beside rt/lowcmd, and must run for rt/arm_sdk. check: refuse to connect
    otherwise. release: stop it before rt/lowcmd is used; a standing robot falls. ignore: do not ask."""
    weight_ramp_s: float = 2.0
    """Time in which the weight of rt/arm_sdk rises to 1 after connecting and falls to 0 before disconnecting [s]."""
    state_topic: str = "rt/lowstate"
    """Topic of the robot's state."""
    motor_indices: tuple[int, ...] = ()
    """Index of each joint's motor in a message; by default from the joint's name (G1, Go2)."""
    kp: tuple[float, ...] = ()
    """Stiffness [N·m/rad]; by default 80, wrists 40, waist 300 for the G1 (xr_teleoperate), 40 otherwise."""
    kd: tuple[float, ...] = ()
    """Damping [N·m·s/rad]; by default 3, wrists 1.5 for the G1 (xr_teleoperate), 1 otherwise."""
    mode_pr: int = 0
    """0: ankles and waist in pitch and roll. 1: in the angles of their motors A and B."""
    unused_motors: Literal["hold", "damp", "off"] = "hold"
    """Command on rt/lowcmd for motors without a joint: hold their position, damp their motion, or no torque."""
    winding_sensor: Literal["auto", "first", "second"] = "auto"
    """Which of the two temperatures is that of the winding; auto infers it. Family go has one: first, or auto."""
    other_sensor: Literal["housing", "driver"] = "housing"
    """Location of the other temperature, and of the only one of family go unless it is that of the winding."""
    check_crc: bool = True
    """Reject states with a wrong checksum (family hg). A checksum of 0 is that of a simulator that computes none."""
    on_close: Literal["hold", "release"] = "hold"
    """Last command on rt/lowcmd: hold the position, or disable the torque, upon which the arms fall."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a value that cannot be used."""
        ChannelOptions.__post_init__(self)
        self.require_positive("weight_ramp_s")


def empty_command(family: str) -> Any:
    """Return a LowCmd of a family that disables every motor."""
    from waldo.robots.drivers.unitree import idl as idl

    if family == "hg":
        off = [idl.HgMotorCmd(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0) for _ in range(HG_MOTORS)]
        return idl.HgLowCmd(0, 0, off, [0] * 4, 0)
    off = [idl.GoMotorCmd(0, 0.0, 0.0, 0.0, 0.0, 0.0, [0] * 3) for _ in range(GO_MOTORS)]
    # Head and level flag are those of example/go2/low_level.
    return idl.GoLowCmd(
        [0xFE, 0xEF], 0xFF, 0, [0] * 2, [0] * 2, 0, off, idl.GoBmsCmd(0, [0] * 3), [0] * 40, [0] * 12, [0] * 2, 0, 0, 0
    )


def message_types(family: str) -> tuple[Any, Any]:
    """Return the classes of LowState and LowCmd of a family."""
    from waldo.robots.drivers.unitree import idl as idl

    return (idl.HgLowState, idl.HgLowCmd) if family == "hg" else (idl.GoLowState, idl.GoLowCmd)


class UnitreeDriver:
    """A `Driver` for the motors of a Unitree robot's body over DDS."""

    Options: ClassVar[type[UnitreeOptions]] = UnitreeOptions
    per_part: ClassVar[bool] = True
    """The driver is for the motors of the body; hands have drivers of their own."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of `UnitreeOptions`.

        Raises:
            InvalidValueError: If a joint has no motor index, two joints have the same one, or the robot has no
                rt/arm_sdk.
        """
        self.options = build_options(UnitreeOptions, options)
        # The robot's cameras are read by separate drivers.
        self.robot = robot = dataclasses.replace(robot, cameras=())
        names = robot.joint_names
        self.indices = per_joint("motor_indices", self.options.motor_indices, len(names), self._indices_by_name())
        """Motor index of each joint."""
        motors = HG_MOTORS if self.options.family == "hg" else GO_MOTORS
        if len(set(self.indices)) != len(names) or not all(0 <= i < motors for i in self.indices):
            raise InvalidValueError(
                "motor_indices", self.indices, f"a different index from 0 to {motors - 1} for each joint"
            )
        self.by_weight = self.options.command_topic == "rt/arm_sdk"
        if self.by_weight and (self.options.family != "hg" or not set(names) <= set(G1_MOTORS)):
            # The motors and the index of the weight are those of the G1; other robots have others.
            raise InvalidValueError("command_topic", "rt/arm_sdk", f"rt/lowcmd for {robot.name}, which is no G1")
        self.driven = np.array([not self.by_weight or i in ARM_SDK_MOTORS for i in self.indices])
        """Which joints are commanded, shape (joints,); the others are only read."""
        gains = [default_gains(name) for name in names]
        self.kp = per_joint("kp", self.options.kp, len(names), [kp for kp, _ in gains])
        self.kd = per_joint("kd", self.options.kd, len(names), [kd for _, kd in gains])
        self._torque_constant = torque_constants(robot)
        self.finder = WindingFinder()
        self.refused = Counter[str]()
        """Number of states that were refused, by reason."""
        self._sorted_ns = 0
        self._ramp_s, self._ramp_from, self._ramp_to = 0.0, 0.0, 0.0
        """When the weight of rt/arm_sdk began to change, from what and to what."""
        state_type, command_type = message_types(self.options.family)
        self.channel = Channel(
            self.options, (self.options.state_topic, state_type), (self.options.command_topic, command_type)
        )

    def _indices_by_name(self) -> Sequence[int]:
        """Return the motor index of each joint, if the options do not contain them."""
        if self.options.motor_indices:
            return ()
        if unknown := [name for name in self.robot.joint_names if name not in MOTOR_INDICES]:
            raise MissingOptionError(
                "--driver unitree",
                "the option motor_indices for joints other than those of the G1 and Go2",
                f"pass the motor index of each joint, including {', '.join(unknown)}",
            )
        return [MOTOR_INDICES[name] for name in self.robot.joint_names]

    def connect(self) -> None:
        """Join the domain, wait for the robot's state, and hold the present position.

        Raises:
            HardwareError: If the domain cannot be joined, the robot publishes no valid state, its motion service is in
                the way, or another program commands it.
        """
        # Before the topics: a motion service that is active may itself send commands, and releasing it moves the robot.
        self._check_motion_service()
        self.channel.open(self._accepts, self._refused_text)
        try:
            self._command = empty_command(self.options.family)
            self._prepare()
            self._set_targets(self._positions())
        except BaseException:
            self.channel.close()
            raise
        self._ramp_s, self._ramp_from, self._ramp_to = time.monotonic(), 0.0, 1.0
        self.channel.start(self._message)

    def _refused_text(self) -> str:
        """Return how many states were rejected and why, for messages; empty if none was."""
        if not self.refused:
            return ""
        reasons = ", ".join(f"{number} {reason}" for reason, number in self.refused.items())
        advice = "; check_crc=false accepts wrong checksums" if WRONG_CHECKSUM in self.refused else ""
        return f" ({reasons}{advice})"

    def _accepts(self, state: Any) -> bool:
        """Return whether a state is valid and newer than the last one."""
        last = self.channel.state
        # A simulator that counts no ticks (unitree_mujoco) publishes 0; each of its states is new.
        if last is not None and state.tick == last.tick and state.tick != 0:
            return False
        overtaken = last is not None and 0 < last.tick - state.tick <= REBOOT_TICKS
        reasons = ((overtaken, OVERTAKEN), (not self._is_intact(state), WRONG_CHECKSUM))
        reason = next((text for refused, text in reasons if refused), "" if self._is_finite(state) else NOT_FINITE)
        if reason:
            self.refused[reason] += 1
        return not reason

    def _is_intact(self, state: Any) -> bool:
        from waldo.robots.drivers.unitree.crc import checksum

        checked = self.options.check_crc and self.options.family == "hg" and state.crc != 0
        return not checked or state.crc == checksum(state)

    def _is_finite(self, state: Any) -> bool:
        motors = [state.motor_state[i] for i in self.indices]
        return bool(np.isfinite([(m.q, m.dq, m.tau_est) for m in motors]).all())

    def _check_motion_service(self) -> None:
        """Compare the robot's motion service with the topic of the commands; simulators have no such service."""
        options = self.options
        if options.motion_service == "ignore":
            return
        with MotionSwitcher(options.domain, options.interface, timeout_s=SERVICE_S) as switcher:
            try:
                active = switcher.active()
            except NoServiceError as error:
                # A robot whose service was not found in time would be driven beside its own controller.
                LOG.warning("%s; a simulator has none", error)
                return
            if self.by_weight and not active:
                raise HardwareError(
                    "the robot's motion service is not active, but rt/arm_sdk needs it; let the robot stand first "
                    "(waldo unitree select ai, then waldo unitree stand)"
                )
            if not self.by_weight and active and options.motion_service == "release":
                switcher.release()
            elif not self.by_weight and active:
                raise HardwareError(
                    f"the robot's motion service {active!r} is active and commands the same motors; suspend the robot, "
                    "then pass motion_service=release, or press L2+R2 on the remote"
                )

    def _prepare(self) -> None:
        """Set the fields that are the same in every command."""
        options, command, state = self.options, self._command, self.channel.state
        if options.family == "hg":
            command.mode_pr = options.mode_pr
            command.mode_machine = state.mode_machine
        for i, motor in enumerate(command.motor_cmd):
            held = i not in self.indices and i < len(G1_MOTORS) and not self.by_weight
            if held and options.unused_motors != "off":
                motor.mode, motor.q = 1, float(state.motor_state[i].q)
                motor.kp, motor.kd = (60.0, 1.0) if options.unused_motors == "hold" else (0.0, 2.0)
        for i, kp, kd, driven in zip(self.indices, self.kp, self.kd, self.driven, strict=True):
            if driven:
                command.motor_cmd[i].mode, command.motor_cmd[i].kp, command.motor_cmd[i].kd = 1, float(kp), float(kd)

    def _message(self) -> Any:
        """Return the command to send now, with its checksum and, on rt/arm_sdk, the weight of this moment."""
        from waldo.robots.drivers.unitree.crc import checksum

        if self.by_weight:
            self._command.motor_cmd[ARM_SDK_WEIGHT].q = self._weight()
        self._command.crc = checksum(self._command)
        return self._command

    def _weight(self) -> float:
        """Return the present weight of the arm commands, 0 to 1."""
        progress = min((time.monotonic() - self._ramp_s) / self.options.weight_ramp_s, 1.0)
        return self._ramp_from + (self._ramp_to - self._ramp_from) * progress

    def read(self) -> RobotState:
        """Return the newest state.

        Raises:
            HardwareError: If there has been no new state for `max_staleness_s`, or another program publishes states or
                sends commands.
        """
        state = self.channel.newest()
        motors = [state.motor_state[i] for i in self.indices]
        return RobotState(
            stamp_ns=self.channel.received_ns,
            position=np.array([m.q for m in motors]),
            velocity=np.array([m.dq for m in motors]),
            effort=np.array([m.tau_est for m in motors]),
        )

    def _positions(self) -> Array:
        return np.array([self.channel.last.motor_state[i].q for i in self.indices])

    def motors(self) -> MotorSensors:
        """Return the motors' sensors and faults; the options determine which temperature is that of the winding."""
        motors = [self.channel.last.motor_state[i] for i in self.indices]
        torque = np.array([m.tau_est for m in motors])
        sensors = dataclasses.replace(
            MotorSensors.unknown(len(motors)), torque_nm=torque, current_a=torque / self._torque_constant
        )
        other = {"housing": "housing_c", "driver": "driver_c"}[self.options.other_sensor]
        if self.options.family == "go":
            only = "winding_c" if self.options.winding_sensor == "first" else other
            return dataclasses.replace(
                sensors,
                **{only: np.array([float(m.temperature) for m in motors])},
                voltage_v=np.full(len(motors), self.channel.state.power_v),
                faults=tuple(f"{count(m.lost, 'frame')} lost" if m.lost else "" for m in motors),
            )
        both = np.array([m.temperature for m in motors], dtype=float)
        winding_c, other_c = self._sort(both)
        temperatures: dict[str, Any] = {"winding_c": winding_c, other: other_c}
        return dataclasses.replace(
            sensors,
            voltage_v=np.array([m.vol for m in motors]),
            faults=tuple(fault_text(m.motorstate) for m in motors),
            **temperatures,
        )

    def _sort(self, both: Array) -> tuple[Array, Array]:
        """Return the temperatures of the windings and of the other location [°C], each of shape (joints,).

        Args:
            both: Both temperatures of each motor, shape (joints, 2) [°C].
        """
        dt_s = (self.channel.received_ns - self._sorted_ns) / 1e9 if self._sorted_ns else 0.0
        self._sorted_ns = self.channel.received_ns
        self.finder.add(both, min(dt_s, 1.0))
        winding = {"first": 0, "second": 1, "auto": self.finder.winding}[self.options.winding_sensor]
        if winding is None:
            # The higher temperature is the safe choice until the winding has been identified.
            return both.max(axis=1), np.full(len(both), np.nan)
        return both[:, winding], both[:, 1 - winding]

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad].

        Returns:
            The applied targets, within the joint limits; the present positions of joints that are only read.
        """
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(within)):
            raise InvalidValueError("targets", targets, "finite numbers")
        within = np.where(self.driven, within, self._positions())
        self._set_targets(within)
        return within.astype(np.float32).astype(float)

    def _set_targets(self, targets: Array) -> None:
        with self.channel.lock:
            for i, target, driven in zip(self.indices, targets, self.driven, strict=True):
                if driven:
                    self._command.motor_cmd[i].q = float(target)

    def frames(self) -> Sequence[Frame]:
        """Return no frames: the robot's cameras are read by separate drivers."""
        return ()

    def disconnect(self) -> None:
        """Return the arms to the robot's own controller, hold, or disable the torque, and leave the domain.

        On rt/arm_sdk the weight falls to 0 within `weight_ramp_s`; on rt/lowcmd `on_close` decides.
        """
        if self.by_weight and self.channel.is_sending:
            with self.channel.lock:
                self._ramp_from, self._ramp_s, self._ramp_to = self._weight(), time.monotonic(), 0.0
            time.sleep(self.options.weight_ramp_s)
        self.channel.finish(self._last_message)

    def _last_message(self) -> Any:
        if self.options.on_close == "release" and not self.by_weight:
            for motor in self._command.motor_cmd:
                motor.mode, motor.kp, motor.kd = 0, 0.0, 0.0
        return self._message()
