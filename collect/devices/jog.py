"""Jogging: a deflection per joint becomes a moving joint target."""

from __future__ import annotations

import numpy as np

from waldo.robots.description import Robot
from waldo.typing import Array

LEAD_S = 0.15
"""How far the target may run ahead of the robot, in seconds at full speed: a blocked joint must not wind up."""


class Jog:
    """Integrates deflections into targets near the robot's real position."""

    def __init__(self, robot: Robot, speed_share: float) -> None:
        """Take the robot and the share of each joint's speed limit that full deflection stands for, 0..1."""
        self._speed = speed_share * np.array([joint.velocity for joint in robot.joints])
        self._lower, self._upper = robot.lower, robot.upper
        self._target: Array | None = None

    def release(self) -> None:
        """Forget the target: the next deflection starts where the robot then is."""
        self._target = None

    def step(self, position: Array, deflection: Array, dt_s: float) -> Array:
        """Return the targets (joints,) [rad] after `dt_s` [s] of `deflection` (joints,), each -1..1."""
        if self._target is None:
            self._target = position.copy()
        lead = np.maximum(self._speed * LEAD_S, 0.05)
        moved = self._target + np.clip(deflection, -1, 1) * self._speed * dt_s
        self._target = np.clip(np.clip(moved, position - lead, position + lead), self._lower, self._upper)
        return self._target
