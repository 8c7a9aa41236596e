"""Whether the joints are where they can be, and where they are commanded to be. No ROS; time is that of the rows."""

from __future__ import annotations

import numpy as np

from waldo.collect.recorder.checks.gate import Gate
from waldo.robots.description import Robot
from waldo.typing import Array

BEYOND_RAD = 0.15
"""Distance beyond a joint's limits from which its zero is wrong [rad]: backlash and a soft stop are smaller."""
APART_RAD = 0.35
"""Distance of a joint from its command from which the two do not agree [rad]."""
APART_S = 1.0
"""Time after which they do not agree [s]; a joint that follows is late by a fraction of it."""


class JointGates:
    """Compares measured positions with limits and applied commands, between episodes."""

    def __init__(self, robot: Robot) -> None:
        """Initialize without positions."""
        self._robot = robot
        self._position: Array = np.full(len(robot.joints), np.nan)
        self._applied: Array = np.full(len(robot.joints), np.nan)
        self._applied_ns = 0
        self._agreed_ns: list[int] = []
        self._now_ns = 0

    def applied(self, position: Array, at_ns: int) -> None:
        """Add the positions (joints,) that were sent to the robot at a time [ns] [rad or m]; NaN without a command."""
        self._applied, self._applied_ns = np.asarray(position, dtype=float), at_ns

    def state(self, position: Array, at_ns: int) -> None:
        """Add measured positions, shape (joints,) [rad or m], at a time [ns]."""
        self._position, self._now_ns = np.asarray(position, dtype=float), at_ns
        apart = np.abs(self._position - self._applied) > APART_RAD
        # A command that is not sent any more is not followed either.
        apart &= abs(at_ns - self._applied_ns) < APART_S * 1e9
        before = self._agreed_ns or [at_ns] * len(apart)
        self._agreed_ns = [since if is_apart else at_ns for since, is_apart in zip(before, apart.tolist(), strict=True)]

    def gates(self) -> list[Gate]:
        """Return what is not in order."""
        found: list[Gate] = []
        low, high = self._robot.lower, self._robot.upper
        for k, joint in enumerate(self._robot.joint_names):
            at = self._position[k]
            if not low[k] - BEYOND_RAD <= at <= high[k] + BEYOND_RAD and np.isfinite(at):
                text = f"{joint} is at {at:.2f} rad, beyond its limits {low[k]:.2f} to {high[k]:.2f} rad"
                found.append(Gate(name=f"calibration {joint}", reason=f"{text}; calibrate the robot"))
            apart_s = (self._now_ns - self._agreed_ns[k]) / 1e9 if self._agreed_ns else 0.0
            if apart_s > APART_S:
                text = f"{joint} has been {abs(at - self._applied[k]):.2f} rad from its command for {apart_s:.0f} s"
                found.append(Gate(name=f"joint {joint}", reason=f"{text}; it may be blocked or without torque"))
        return found
