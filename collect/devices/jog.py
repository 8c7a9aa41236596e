"""Jogging: integrate one deflection per joint into joint targets."""

from __future__ import annotations

import numpy as np

from waldo.robots.description import Robot
from waldo.typing import Array

LEAD_S = 0.15
"""Maximum lead of the target over the robot, as time at full speed [s]; a blocked joint must not wind up."""

MIN_LEAD = 0.05
"""Lower bound of that lead, for slow joints [rad or m]."""


class Jog:
    """Integrates deflections into targets close to the robot's measured position."""

    def __init__(self, robot: Robot, speed_ratio: float) -> None:
        """Initialize without a target.

        Args:
            robot: Description of the robot.
            speed_ratio: Speed at full deflection as a fraction of each joint's speed limit, 0 to 1.
        """
        self._speed = speed_ratio * np.array([joint.velocity for joint in robot.joints])
        self._lower, self._upper = robot.lower, robot.upper
        self._target: Array | None = None

    def release(self) -> None:
        """Drop the target; the next step starts at the measured position."""
        self._target = None

    def step(self, position: Array, deflection: Array, dt_s: float) -> Array | None:
        """Return the next targets; None if a position or deflection is not a finite number.

        Args:
            position: Measured positions, shape (joints,) [rad or m].
            deflection: Shape (joints,), each -1 to 1.
            dt_s: Duration of the step [s].

        Returns:
            Shape (joints,) [rad or m], within the joints' limits.
        """
        if not (np.isfinite(position).all() and np.isfinite(deflection).all()):
            self.release()
            return None
        if self._target is None:
            self._target = position.copy()
        lead = np.maximum(self._speed * LEAD_S, MIN_LEAD)
        moved = self._target + np.clip(deflection, -1, 1) * self._speed * dt_s
        self._target = np.clip(np.clip(moved, position - lead, position + lead), self._lower, self._upper)
        return self._target.copy()
