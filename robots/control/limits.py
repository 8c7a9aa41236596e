"""Motion limits: a command becomes a motion that stays inside each joint's position, speed and acceleration limits.

Vectorised over worlds: arrays have shape (..., joints), so one robot and five hundred simulated ones share this code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waldo.robots.description import Robot
from waldo.typing import Array


class MotionLimiter:
    """Follows a target as fast as the limits of `robot` allow, braking in time to stop at it."""

    def __init__(self, robot: Robot) -> None:
        """Take the limits from the robot's joints."""
        self._lower, self._upper = robot.lower, robot.upper
        self._speed = np.array([joint.velocity for joint in robot.joints])
        self._acceleration = np.array([joint.acceleration for joint in robot.joints])
        self.position: Array = robot.home.copy()
        self.velocity: Array = np.zeros_like(self.position)

    def reset(self, position: Array, which: NDArray[np.intp] | None = None) -> None:
        """Start again at rest at `position` (..., joints) [rad]; `which` names the worlds, else all of them."""
        if which is None:
            self.position = np.array(position, dtype=float)
            self.velocity = np.zeros_like(self.position)
        else:
            self.position[which] = position
            self.velocity[which] = 0.0

    def go_along(self, position: Array, which: NDArray[np.bool_]) -> None:
        """Take joints `which` (joints,) for resting at `position` (joints,) [rad]: they were moved by other means."""
        self.position = np.where(which, position, self.position)
        self.velocity = np.where(which, 0.0, self.velocity)

    def step(
        self, target: Array, dt_s: float, *, speed_ratio: Array | float = 1.0, target_velocity: Array | float = 0.0
    ) -> Array:
        """Return the next setpoint (..., joints) [rad] on the way to `target`, `dt_s` [s] after the last one.

        `speed_ratio` (...) is the share of full speed that may be used: where the fastest joint needs more, all are
        slowed alike, so that the path through joint space stays what it was. Accelerations go with its square: the same
        motion in slow motion. Braking may always be as hard as the joint allows.

        `target_velocity` (..., joints) [rad/s] is how fast the target itself moves: who only brakes in time to stop at
        it stays v/2a behind a target that does not stop.
        """
        along = np.clip(target_velocity, -self._speed, self._speed)
        # What is left to make up for, beside going along.
        error = np.clip(target, self._lower, self._upper) - self.position - along * dt_s
        gentle = self._acceleration * np.square(np.minimum(speed_ratio, 1.0))[..., None]
        wanted = np.clip(along + np.sign(error) * _reach(np.abs(error), gentle, dt_s), -self._speed, self._speed)
        needed = np.max(np.abs(wanted) / self._speed, axis=-1, initial=0.0)
        wanted *= np.minimum(1.0, speed_ratio / np.maximum(needed, 1e-9))[..., None]
        # However fast the target moves, the joint stops at its limits.
        wanted = np.minimum(wanted, _reach(np.maximum(self._upper - self.position, 0), self._acceleration, dt_s))
        wanted = np.maximum(wanted, -_reach(np.maximum(self.position - self._lower, 0), self._acceleration, dt_s))
        down = np.where(self.velocity > 0, self._acceleration, gentle) * dt_s
        up = np.where(self.velocity < 0, self._acceleration, gentle) * dt_s
        self.velocity = np.clip(wanted, self.velocity - down, self.velocity + up)
        self.position = np.clip(self.position + self.velocity * dt_s, self._lower, self._upper)
        return self.position


def _reach(distance: Array, acceleration: Array, dt_s: float) -> Array:
    """Return the speed from which a joint can still stop within a distance, in steps of `dt_s`.

    In discrete time a joint at speed v that brakes by a·dt each step covers v²/2a + v·dt/2.
    """
    brake = acceleration * dt_s / 2
    return np.minimum(distance / dt_s, np.maximum(np.sqrt(brake**2 + 2 * acceleration * distance) - brake, 0.0))
