"""Drivers for the hands of Unitree's humanoids: Dex3-1 (`dex3`) and Inspire RH56DFX (`inspire`).

Sources: https://github.com/unitreerobotics/xr_teleoperate, teleop/robot_control/robot_hand_unitree.py and
robot_hand_inspire.py (topics, order of the motors, gains, ranges); unitree_sdk2, example/g1/dex3 (mode byte).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import numpy as np

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.driver import Frame, MotorSensors, RobotState
from waldo.robots.drivers.bus_driver import torque_constants
from waldo.robots.drivers.options import build_options, per_joint
from waldo.robots.drivers.unitree.channel import Channel, ChannelOptions
from waldo.robots.drivers.unitree.motors import fault_text
from waldo.typing import Array

DEX3_ORDER: Mapping[str, tuple[str, ...]] = {
    "left": ("thumb_0", "thumb_1", "thumb_2", "middle_0", "middle_1", "index_0", "index_1"),
    "right": ("thumb_0", "thumb_1", "thumb_2", "index_0", "index_1", "middle_0", "middle_1"),
}
"""Side -> joint of each motor of a Dex3-1; the fingers have another order on the right hand than on the left."""
DEX3_MOTORS: Mapping[str, tuple[str, int]] = {
    f"{side}_hand_{part}_joint": (side, index) for side, parts in DEX3_ORDER.items() for index, part in enumerate(parts)
}
"""Joint -> side and index of its motor."""
DEX3_ENABLED, DEX3_TIMEOUT = 1 << 4, 1 << 7
"""Bits of a motor's mode, beside its index: enabled, and stopped as if no command arrived any more."""

INSPIRE_ORDER = ("pinky", "ring", "middle", "index", "thumb_bend", "thumb_rotation")
"""Joint of each motor of an Inspire hand."""
INSPIRE_MOTORS: Mapping[str, int] = {
    f"{side}_{part}_joint": start + index
    for side, start in (("right", 0), ("left", 6))
    for index, part in enumerate(INSPIRE_ORDER)
}
"""Joint -> index of its motor in the message for both hands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOptions(ChannelOptions):
    """Options of hands over DDS."""

    rate_hz: float = 100.0
    """Rate at which the last command is repeated [Hz]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dex3Options(HandOptions):
    """Options of the `dex3` driver. Tuples contain one value per joint, or a single one for all joints."""

    kp: tuple[float, ...] = ()
    """Stiffness [N·m/rad]; 1.5 by default (xr_teleoperate)."""
    kd: tuple[float, ...] = ()
    """Damping [N·m·s/rad]; 0.2 by default (xr_teleoperate)."""
    on_close: Literal["hold", "release"] = "hold"
    """Whether the motors hold their position or disable their torque when the driver disconnects."""
    winding_sensor: Literal["first", "second", "higher"] = "higher"
    """Which of a motor's two temperatures is that of the winding; the higher one is the safe choice."""


class HandDriver[OptionsT: HandOptions]:
    """A `Driver` for hands; a subclass adds the messages."""

    Options: ClassVar[type[HandOptions]] = HandOptions
    per_part: ClassVar[bool] = True
    """The driver is for one connection: each hand, or pair of hands, needs its own."""

    def __init__(self, robot: Robot, **options: object) -> None:
        """Create a driver for a robot; `options` are the fields of the class `Options`."""
        self.options: OptionsT = cast("OptionsT", build_options(self.Options, options))
        self.robot = dataclasses.replace(robot, cameras=())
        self.indices = self._indices()
        """Motor index of each joint."""
        self.refused = 0
        """Number of states with too few motors, or with values that are not finite."""
        self._torque_constant = torque_constants(robot)
        self.channel = self._channel()
        self._command: Any = None

    # Provided by a subclass.

    def _indices(self) -> list[int]:
        """Return the motor index of each joint; raises InvalidValueError for a joint of another robot."""
        raise NotImplementedError

    def _channel(self) -> Channel:
        """Return the topics."""
        raise NotImplementedError

    def _motors(self, state: Any) -> Sequence[Any]:
        """Return the motors of a state message."""
        raise NotImplementedError

    def _new_command(self) -> Any:
        """Return a command message without targets."""
        raise NotImplementedError

    def _to_joints(self, values: Array) -> Array:
        """Return joint positions [rad] from the motors' positions, both of shape (joints,)."""
        raise NotImplementedError

    def _set(self, targets: Array) -> Array:
        """Put position targets [rad] into the command; return those that it carries."""
        raise NotImplementedError

    # The `Driver` protocol.

    def connect(self) -> None:
        """Join the domain, wait for the state, and hold the present position.

        Raises:
            HardwareError: If the domain cannot be joined, the hand publishes no state, or another program commands it.
        """
        self.channel.open(self._accepts, self._refused_text)
        try:
            self._command = self._new_command()
            self._set(self.read().position)
        except BaseException:
            self.channel.close()
            raise
        self.channel.start(lambda: self._command)

    def _accepts(self, state: Any) -> bool:
        motors = self._motors(state)
        valid = len(motors) > max(self.indices) and bool(
            np.isfinite([(motors[i].q, motors[i].dq, motors[i].tau_est) for i in self.indices]).all()
        )
        self.refused += not valid
        return valid

    def _refused_text(self) -> str:
        return f" ({self.refused} that are not complete or not finite)" if self.refused else ""

    def read(self) -> RobotState:
        """Return the newest state.

        Raises:
            HardwareError: If there has been no new state for `max_staleness_s`.
        """
        motors = self._motors(self.channel.newest())
        chosen = [motors[i] for i in self.indices]
        scale = self._to_joints(np.ones(len(chosen))) - self._to_joints(np.zeros(len(chosen)))
        return RobotState(
            stamp_ns=self.channel.received_ns,
            position=self._to_joints(np.array([m.q for m in chosen])),
            velocity=scale * np.array([m.dq for m in chosen]),
            effort=np.array([m.tau_est for m in chosen]),
        )

    def write(self, targets: Array) -> Array:
        """Command position targets, shape (joints,) [rad]; return the applied targets, within the joint limits."""
        within = np.clip(np.asarray(targets, dtype=float), self.robot.lower, self.robot.upper)
        if not np.all(np.isfinite(within)):
            raise InvalidValueError("targets", targets, "finite numbers")
        with self.channel.lock:
            return self._set(within)

    def frames(self) -> Sequence[Frame]:
        """Return no frames: hands have no cameras."""
        return ()

    def motors(self) -> MotorSensors:
        """Return the motors' sensors and faults."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Send the last command, which holds the position unless an option is set otherwise, and leave the domain."""
        self.channel.finish(self._last_command)

    def _last_command(self) -> Any:
        return self._command


class Dex3Driver(HandDriver[Dex3Options]):
    """A `Driver` for one Dex3-1, whose side follows from the names of its joints."""

    Options = Dex3Options

    def _indices(self) -> list[int]:
        names = self.robot.joint_names
        known = [DEX3_MOTORS.get(name) for name in names]
        sides = {side_and_index[0] for side_and_index in known if side_and_index is not None}
        if None in known or len(sides) != 1:
            expected = "joints of one Dex3-1: left_hand_thumb_0_joint, ..., or right_hand_thumb_0_joint, ..."
            raise InvalidValueError("joints", ", ".join(names), expected)
        (self.side,) = sides
        count = len(names)
        self.kp = per_joint("kp", self.options.kp, count, [1.5] * count)
        self.kd = per_joint("kd", self.options.kd, count, [0.2] * count)
        return [side_and_index[1] for side_and_index in known if side_and_index is not None]

    def _channel(self) -> Channel:
        from waldo.robots.drivers.unitree.idl import HandCmd, HandState

        topic = f"rt/dex3/{self.side}"
        return Channel(self.options, (f"{topic}/state", HandState), (f"{topic}/cmd", HandCmd))

    def _motors(self, state: Any) -> Sequence[Any]:
        return state.motor_state

    def _new_command(self) -> Any:
        from waldo.robots.drivers.unitree.idl import HandCmd, HgMotorCmd

        motors = [HgMotorCmd(i, 0.0, 0.0, 0.0, 0.0, 0.0, 0) for i in range(len(DEX3_ORDER[self.side]))]
        for index, kp, kd in zip(self.indices, self.kp, self.kd, strict=True):
            motors[index].mode, motors[index].kp, motors[index].kd = index | DEX3_ENABLED, float(kp), float(kd)
        return HandCmd(motors, [0] * 4)

    def _to_joints(self, values: Array) -> Array:
        return values

    def _set(self, targets: Array) -> Array:
        for index, target in zip(self.indices, targets, strict=True):
            self._command.motor_cmd[index].q = float(target)
        return targets.astype(np.float32).astype(float)

    def _last_command(self) -> Any:
        if self.options.on_close == "release":
            for index, motor in enumerate(self._command.motor_cmd):
                motor.mode, motor.kp, motor.kd = index | DEX3_ENABLED | DEX3_TIMEOUT, 0.0, 0.0
        return self._command

    def motors(self) -> MotorSensors:
        """Return torques, currents, voltages, temperatures and faults."""
        motors = [self.channel.last.motor_state[i] for i in self.indices]
        torque = np.array([m.tau_est for m in motors])
        both = np.array([m.temperature for m in motors], dtype=float)
        winding = {"first": both[:, 0], "second": both[:, 1], "higher": both.max(axis=1)}[self.options.winding_sensor]
        return dataclasses.replace(
            MotorSensors.unknown(len(motors)),
            torque_nm=torque,
            current_a=torque / self._torque_constant,
            voltage_v=np.array([m.vol for m in motors]),
            winding_c=winding,
            faults=tuple(fault_text(m.motorstate) for m in motors),
        )


class InspireDriver(HandDriver[HandOptions]):
    """A `Driver` for a pair of Inspire hands on one topic; a motor's position is 1 if the finger is open, or 0."""

    def _indices(self) -> list[int]:
        names = self.robot.joint_names
        if unknown := [name for name in names if name not in INSPIRE_MOTORS]:
            raise InvalidValueError("joints", ", ".join(unknown), f"joints among {', '.join(INSPIRE_MOTORS)}")
        return [INSPIRE_MOTORS[name] for name in names]

    def _channel(self) -> Channel:
        from waldo.robots.drivers.unitree.idl import MotorCmds, MotorStates

        return Channel(self.options, ("rt/inspire/state", MotorStates), ("rt/inspire/cmd", MotorCmds))

    def _motors(self, state: Any) -> Sequence[Any]:
        return state.states

    def _new_command(self) -> Any:
        from waldo.robots.drivers.unitree.idl import GoMotorCmd, MotorCmds

        # A hand that is not part of the robot stays open.
        return MotorCmds([GoMotorCmd(1, 1.0, 0.0, 0.0, 0.0, 0.0, [0] * 3) for _ in INSPIRE_MOTORS])

    def _to_joints(self, values: Array) -> Array:
        return self.robot.upper - values * (self.robot.upper - self.robot.lower)

    def _set(self, targets: Array) -> Array:
        ratios = ((self.robot.upper - targets) / (self.robot.upper - self.robot.lower)).astype(np.float32)
        for index, ratio in zip(self.indices, ratios, strict=True):
            self._command.cmds[index].q = float(ratio)
        return self._to_joints(ratios.astype(float))

    def motors(self) -> MotorSensors:
        """Return the temperatures, which are unknown if the hand's service reports 0 for all of them."""
        motors = [self.channel.last.states[i] for i in self.indices]
        temperature = np.array([float(m.temperature) for m in motors])
        return dataclasses.replace(
            MotorSensors.unknown(len(motors)),
            driver_c=temperature if temperature.any() else np.full(len(motors), np.nan),
        )
