"""A leader arm as a device: an arm like the robot's in the operator's hand, read with its torque disabled or small.

A leader arm has no dead-man switch. The robot starts to follow once every joint of the leader is close to the robot's,
and stops following when a joint is far from it. If there is a terminal, the service keys of the other devices work.

With `feel_ratio` the operator feels the robot: while it follows, the leader's motors pull with a fraction of their
torque towards the robot's measured pose, and thus against the hand that pushes a blocked or loaded robot on. While it
does not follow, their goal is where the leader is, and they pull nowhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from waldo.collect.devices import terminal_keys
from waldo.collect.devices.device import Observation, Session
from waldo.errors import HardwareError, InvalidValueError
from waldo.robots.description import Robot, load_robot, presets
from waldo.robots.diagnostics import ERROR
from waldo.robots.driver import Driver
from waldo.robots.drivers.options import TypedOptions, build_options, options_class
from waldo.robots.drivers.parts import PartOptions, make_driver
from waldo.typing import Array

MAX_FEEL = 0.5
"""Largest fraction of a leader's torque with which it may pull: a hand is stronger."""

RETRY_S = 1.0
"""Interval between two attempts to reconnect the leader [s]."""

REMIND_S = 2.0
"""Minimum interval between two messages about the same joint [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngageOptions(TypedOptions):
    """When the robot follows its leader."""

    engage_rad: float = 0.3
    """The robot starts to follow when every joint of the leader is this close to the robot's [rad]."""
    release_rad: float = 1.0
    """The robot stops following when a joint is farther away than this [rad] (the bound of GELLO)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderArmOptions(EngageOptions):
    """Options of a leader arm beside those of its driver."""

    arm: str = ""
    """Name of the leader's description; by default the preset `<robot>_leader`, or else the robot itself."""
    driver: str = "feetech"
    """Name of the leader's driver."""
    feel_ratio: float = 0.0
    """Largest torque towards the robot's pose, as a fraction of that of the leader's motors, 0 to 0.5; 0: none."""

    def __post_init__(self) -> None:
        """Raise InvalidValueError for a torque against which a hand could not move the leader."""
        EngageOptions.__post_init__(self)
        if not 0 <= self.feel_ratio <= MAX_FEEL:
            raise InvalidValueError("feel_ratio", self.feel_ratio, f"0 to {MAX_FEEL}")


class Leader:
    """A Device over any source of a leader's joint angles; subclasses provide `connect`, `angles`, `disconnect`."""

    usage = f"move the leader close to the robot's pose; the robot then follows   {terminal_keys.HELP}"
    """Instructions for the operator."""

    def __init__(self, robot: Robot, engage: EngageOptions) -> None:
        """Initialize for a robot that follows under the conditions of `engage`."""
        self.robot, self.engage = robot, engage
        self.engaged = False
        """Whether the robot follows."""
        self.keys = terminal_keys.TerminalKeys()
        self._notified, self._since_s = "-", math.inf
        self._retry_s: float | None = None

    # provided by subclasses

    def connect(self) -> None:
        """Connect to the leader; raises HardwareError if it is absent."""
        raise NotImplementedError

    def angles(self) -> Array:
        """Return the leader's joint angles, shape (joints,) [rad]; raises HardwareError if it is disconnected."""
        raise NotImplementedError

    def disconnect(self) -> None:
        """Disconnect from the leader."""
        raise NotImplementedError

    # the protocol of every device

    def open(self) -> None:
        """Connect to the leader, and read keys if there is a terminal."""
        self.connect()
        if self.keys.available():
            self.keys.open()

    def step(self, observation: Observation, session: Session, dt_s: float) -> Array | None:
        """Return the leader's angles (joints,) [rad] while the robot follows, else None."""
        for name in self.keys.take_requests():
            if name in ("stop_motion", "enable", "reset"):
                # The robot may stand elsewhere afterwards: it must be engaged again.
                self.engaged = False
            session.request(name)
        angles = self._angles(session, dt_s)
        if angles is None:
            return None
        target = np.clip(angles, self.robot.lower, self.robot.upper)
        distance = np.abs(target - observation.position)
        bound = self.engage.release_rad if self.engaged else self.engage.engage_rad
        self.engaged = bool(distance.max() <= bound)
        self._notify(session, distance, dt_s)
        self.feel(observation.position if self.engaged else None)
        return target if self.engaged else None

    def feel(self, position: Array | None) -> None:
        """Let the operator feel the robot's pose (joints,) [rad]; None while it does not follow."""

    def _angles(self, session: Session, dt_s: float) -> Array | None:
        """Return the leader's angles; None while it is disconnected, which lets the robot hold."""
        if self._retry_s is None:
            try:
                return self.angles()
            except HardwareError as error:
                self.engaged, self._retry_s = False, RETRY_S
                session.notify(f"the leader was disconnected, the robot holds: {error}", ERROR)
                return None
        self._retry_s -= dt_s
        if self._retry_s > 0:
            return None
        self._retry_s = RETRY_S
        with contextlib.suppress(HardwareError):
            self.disconnect()
        with contextlib.suppress(HardwareError):
            self.connect()
            angles = self.angles()
            self._retry_s, self._notified = None, "-"
            session.notify("the leader is connected again; move it close to the robot's pose")
            return angles
        return None

    def _notify(self, session: Session, distance: Array, dt_s: float) -> None:
        """Report when the robot starts to follow and, at intervals, which joint prevents it."""
        worst = int(np.argmax(distance))
        name = self.robot.joint_names[worst]
        blocking = "" if self.engaged else name
        self._since_s += dt_s
        if blocking == self._notified and (self.engaged or self._since_s < REMIND_S):
            return
        self._notified, self._since_s = blocking, 0.0
        if self.engaged:
            session.notify("following the leader")
        else:
            session.notify(
                f"{name} of the leader is {distance[worst]:.2f} rad from the robot; move it closer to engage"
            )

    @property
    def finished(self) -> bool:
        """Whether escape was pressed."""
        return self.keys.finished

    def close(self) -> None:
        """Disconnect from the leader and restore the terminal."""
        self.keys.close()
        self.disconnect()


class LeaderArm(Leader):
    """A leader arm read by one of waldo's drivers."""

    Options = LeaderArmOptions

    @staticmethod
    def option_classes(values: Mapping[str, str]) -> tuple[type | None, ...]:
        """Return the classes of the options: the leader's own, and those of its driver."""
        drivers = [values.get("driver", LeaderArmOptions().driver)]
        drivers += [driver for option, driver in values.items() if option.endswith(".driver")]
        return LeaderArmOptions, PartOptions, *map(options_class, drivers)

    def __init__(self, robot: Robot, arm: Robot | str = "", driver: str = "feetech", **options: object) -> None:
        """Initialize without connecting.

        Args:
            robot: Description of the robot that follows.
            arm: Description or name of the leader; by default the preset `<robot>_leader`, or else the robot itself.
            driver: Name of the leader's driver.
            options: Those of `LeaderArmOptions` and of the driver, such as `port`.
        """
        names = ("engage_rad", "release_rad", "feel_ratio")
        own = build_options(LeaderArmOptions, {name: options.pop(name) for name in names if name in options})
        super().__init__(robot, own)
        description = arm if isinstance(arm, Robot) else _leader_of(robot, arm)
        self._scale, self._offset = _gripper_scales(robot, description)
        self._lower, self._upper = description.lower, description.upper
        self._feels = own.feel_ratio > 0
        self._goal: Array | None = None
        torque: dict[str, object] = {"torque": self._feels}
        if self._feels:
            description = _weakened(description, own.feel_ratio)
            torque["on_close"] = "release"
        self._driver: Driver = make_driver(driver, description, {**options, **torque})
        self._connected = False

    def connect(self) -> None:
        """Connect to the leader; raises HardwareError if it is absent."""
        self._goal = None
        self._driver.connect()
        self._connected = True

    def angles(self) -> Array:
        """Return the leader's joint angles, shape (joints,) [rad]."""
        position = self._driver.read().position
        if self._feels:
            # Without a goal it is free: its goal moves along.
            goal = position if self._goal is None else (self._goal - self._offset) / self._scale
            self._driver.write(np.clip(goal, self._lower, self._upper))
        return position * self._scale + self._offset

    def feel(self, position: Array | None) -> None:
        """Pull towards the robot's pose from the next cycle on; not at all without one, or with one not finite."""
        self._goal = position if position is not None and np.isfinite(position).all() else None

    def disconnect(self) -> None:
        """Disconnect from the leader."""
        if self._connected:
            self._connected = False
            self._driver.disconnect()


def _weakened(robot: Robot, ratio: float) -> Robot:
    """Return a robot whose drives have a fraction of their motors' torque; descriptions of leaders state none."""
    joints = tuple(
        dataclasses.replace(joint, effort=ratio * (joint.motor.peak_torque_nm or joint.effort))
        for joint in robot.joints
    )
    return dataclasses.replace(robot, joints=joints)


def _gripper_scales(robot: Robot, leader: Robot) -> tuple[Array, Array]:
    """Return scale and offset of each joint: a leader's gripper, often a trigger, moves the robot's over its range."""
    if len(leader.joints) != len(robot.joints):
        raise InvalidValueError(
            f"joints of the leader {leader.name}",
            leader.joint_names,
            f"as many as {robot.name} has, {robot.joint_names}",
        )
    scale, offset = np.ones(len(robot.joints)), np.zeros(len(robot.joints))
    for i, (one, other) in enumerate(zip(robot.joints, leader.joints, strict=True)):
        if one.name.endswith("gripper"):
            scale[i] = (one.upper - one.lower) / (other.upper - other.lower)
            offset[i] = one.lower - scale[i] * other.lower
    return scale, offset


def _leader_of(robot: Robot, name: str) -> Robot:
    """Return the description of a robot's leader arm."""
    if name:
        return load_robot(name)
    preset = f"{robot.name}_leader"
    return load_robot(preset) if preset in presets() else robot
