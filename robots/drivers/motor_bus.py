"""What drivers of motors on one bus share: common options, the motors' types, and which of them answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.errors import InvalidValueError
from waldo.robots.description import Robot
from waldo.robots.drivers.options import words
from waldo.robots.motors.library import load_motor


@dataclass(frozen=True, slots=True, kw_only=True)
class BusOptions:
    """What can be said of motors on any bus; lists are in the order of the robot's joints, with commas between."""

    ids: str = ""
    """Id of each motor; 1, 2, 3 ... unless given."""
    motors: str = ""
    """Type of each motor, as `waldo motors` lists them; those of the robot's description unless given."""
    torque: bool = True
    """Drive the motors; false: they only read (an arm that is led by hand)."""
    on_close: str = "hold"
    """What the motors do after `disconnect`: hold, or release."""
    clear_errors: bool = False
    """Clear latched errors when connecting: only when their cause is known and gone."""
    answer_s: float = 0.01
    """How long a cycle waits for the motors' answers [s]."""
    patience_s: float = 0.25
    """A motor silent for so long is lost [s]."""

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.on_close not in ("hold", "release"):
            raise InvalidValueError("on_close", self.on_close, "hold or release")
        for name in ("answer_s", "patience_s"):
            if not getattr(self, name) > 0:
                raise InvalidValueError(name, getattr(self, name), "a number above 0")


def as_motors(robot: Robot, motors: str) -> Robot:
    """Return the robot as its motors alone: without cameras, which are devices of their own.

    `motors` are other types of motors, "sts3215" or "rs03, rs00"; "" leaves those of its description.
    """
    robot = dataclasses.replace(robot, cameras=())
    if not motors:
        return robot
    found = [load_motor(name) for name in words("motors", motors, len(robot.joints), ())]
    joints = zip(robot.joints, found, strict=True)
    return dataclasses.replace(robot, joints=tuple(dataclasses.replace(joint, motor=motor) for joint, motor in joints))


def torque_constants(robot: Robot) -> NDArray[np.float64]:
    """Return each motor's torque constant (joints,) [N·m/A]; NaN where nobody has published it."""
    constants = [joint.motor.torque_constant_nm_per_a for joint in robot.joints]
    return np.array([np.nan if k is None else k for k in constants])


class Attendance:
    """Kept by drivers whose motors answer one by one. Ages are told by the monotonic clock: a wall clock may jump."""

    def __init__(self, motors: int) -> None:
        """Take how many motors there are; none has been heard yet."""
        self.heard_ns = np.zeros(motors, dtype=np.int64)
        """When each was heard last [ns since the epoch]."""
        self.missed = [""] * motors
        """Whose last answer did not come, in words; empty where it did."""
        self._heard_s = np.full(motors, -np.inf)

    def heard(self, motor: int) -> None:
        """Take note of an answer."""
        self.heard_ns[motor], self._heard_s[motor] = time.time_ns(), time.monotonic()

    def end_cycle(self, asked: Sequence[int], silent: Sequence[int]) -> None:
        """End a cycle in which some were asked, of whom some did not answer."""
        now = time.monotonic()
        for motor in asked:
            late_ms = (now - self._heard_s[motor]) * 1e3
            self.missed[motor] = f"no answer for {late_ms:.0f} ms" if motor in silent else ""

    def lost(self, patience_s: float) -> list[int]:
        """Return the motors that have been silent for longer than `patience_s` [s]."""
        silent_s = time.monotonic() - self._heard_s
        return [motor for motor, missed in enumerate(self.missed) if missed and silent_s[motor] > patience_s]

    @property
    def known(self) -> NDArray[np.float64]:
        """1 for a motor that answered in the last cycle, NaN for one that did not, (motors,)."""
        return np.array([np.nan if missed else 1.0 for missed in self.missed])
