"""The paths of several axes to their goals, with limited velocity and acceleration (trapezoidal velocity profiles)."""

from __future__ import annotations

import numpy as np

from waldo.typing import Array

STEP_S = 0.002
"""Longest step of the integration [s]."""
UNLIMITED = 1e9
"""A limit that is never reached, in any unit; infinity would become NaN in products with 0."""


class MotionProfiles:
    """Setpoints of axes that move to goals or turn at a velocity. Arrays have shape (axes,), in any unit of angle."""

    def __init__(self, position: Array) -> None:
        """Start at rest at a position."""
        self.position: Array = np.array(position, dtype=float)
        """Present setpoints."""
        self.velocity: Array = np.zeros(len(self.position))
        """Velocities of the setpoints [1/s]."""

    def follow(self, axes: Array, position: Array) -> None:
        """Place the setpoints of some axes (mask) at their measured position, at rest."""
        self.position = np.where(axes, position, self.position)
        self.velocity = np.where(axes, 0.0, self.velocity)

    def approach(self, axes: Array, goal: Array, velocity: Array, acceleration: Array, seconds: float) -> None:
        """Move some axes (mask) toward their goals for a time [s], within a velocity and an acceleration."""
        for step in _steps(seconds):
            error = goal - self.position
            braking = np.sqrt(2 * acceleration * np.abs(error))
            speed = np.minimum(np.minimum(velocity, braking), np.abs(error) / step)
            change = np.clip(np.sign(error) * speed - self.velocity, -acceleration * step, acceleration * step)
            new = self.velocity + change
            moved = self.position + new * step
            arrived = np.abs(goal - moved) <= np.minimum(acceleration * step * step, np.abs(new) * step)
            self.position = np.where(axes, np.where(arrived, goal, moved), self.position)
            self.velocity = np.where(axes, np.where(arrived, 0.0, new), self.velocity)

    def turn(self, axes: Array, velocity: Array, acceleration: Array, seconds: float) -> None:
        """Turn some axes (mask) for a time [s], at a velocity that is reached with an acceleration."""
        for step in _steps(seconds):
            change = np.clip(velocity - self.velocity, -acceleration * step, acceleration * step)
            self.velocity = np.where(axes, self.velocity + change, self.velocity)
            self.position = np.where(axes, self.position + self.velocity * step, self.position)

    def limit_lead(self, axes: Array, position: Array, lead: float) -> None:
        """Keep the setpoints of some axes (mask) within a distance of the measured position, if a joint is blocked."""
        near = np.clip(self.position, position - lead, position + lead)
        self.position = np.where(axes, near, self.position)


def _steps(seconds: float) -> list[float]:
    """Divide a time into steps of at most STEP_S."""
    if seconds <= 0:
        return []
    count = int(np.ceil(seconds / STEP_S))
    return [seconds / count] * count
