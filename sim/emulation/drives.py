"""Emulated drives: where the setpoint of each drive moves, and the control law that it applies to its joint."""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, NamedTuple

import numpy as np

from waldo.sim.emulation.joints import Joints
from waldo.sim.emulation.motion_profile import MotionProfiles
from waldo.typing import Array


class Law(NamedTuple):
    """A joint's control law: torque = kp (position - q) + kd (velocity - dq) + torque, within a limit."""

    position: float = 0.0
    """[rad]."""
    velocity: float = 0.0
    """[rad/s]."""
    kp: float = 0.0
    """[N·m/rad]."""
    kd: float = 0.0
    """[N·m·s/rad]."""
    torque: float = 0.0
    """[N·m]."""
    limit: float = 1.0
    """Largest torque as a fraction of the drive's maximum, 0 to 1."""


class Motion(Enum):
    """How the setpoint of a drive moves."""

    FREE = "free"
    """It is the measured position: the torque is off, or the drive controls no position."""
    APPROACH = "approach"
    """It moves to a goal."""
    TURN = "turn"
    """It turns at a velocity."""


class Aim(NamedTuple):
    """Where the setpoint of a drive moves, in the drive's unit of angle: counts of a servo's encoder, or rad."""

    motion: Motion
    goal: float = 0.0
    velocity: float = 0.0
    """Largest velocity of an approach, or the velocity of a turn [1/s]."""
    acceleration: float = 0.0
    """[1/s²]."""


class Drives:
    """Drives whose setpoints follow motion profiles. A manufacturer's class provides aims, laws and protections."""

    joints: Joints
    paths: MotionProfiles
    """Setpoints of the drives, in their unit of angle."""
    lead: ClassVar[float]
    """Largest distance of the setpoint of a turning drive from its measured position."""

    def measured(self) -> Array:
        """Return the measured positions of the drives, (joints,), in their unit of angle."""
        raise NotImplementedError

    def is_on(self, joint: int) -> bool:
        """Return whether the power stage of a drive is on."""
        raise NotImplementedError

    def aim(self, joint: int) -> Aim:
        """Return where the setpoint of a drive moves."""
        raise NotImplementedError

    def law(self, joint: int) -> Law:
        """Return how a drive acts on its joint."""
        raise NotImplementedError

    def protect(self, seconds: float) -> None:
        """Apply the protections and the timeouts for the elapsed time [s]."""
        raise NotImplementedError

    def apply(self) -> None:
        """Command the joints."""
        laws = np.array([self.law(joint) for joint in range(len(self.paths.position))]).T
        self.joints.command(*laws[:5])
        self.joints.limit_effort(laws[5])

    def advance(self, seconds: float) -> None:
        """Move the setpoints, apply the protections, and command the joints, after a time [s]."""
        self.protect(seconds)
        aims = [self.aim(joint) for joint in range(len(self.paths.position))]
        goal, velocity, acceleration = np.array([one[1:] for one in aims]).T
        free, moving, turning = (np.array([one.motion is kind for one in aims]) for kind in Motion)
        measured = self.measured()
        self.paths.follow(free, measured)
        if moving.any():
            self.paths.approach(moving, goal, velocity, acceleration, seconds)
        if turning.any():
            self.paths.turn(turning, velocity, acceleration, seconds)
            self.paths.limit_lead(turning, measured, self.lead)
        self.apply()
