"""Motion limits: a command becomes a motion that stays inside each joint's position, speed and acceleration limits.

Vectorised over worlds: arrays have shape (..., joints), so one robot and five hundred simulated ones share this code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waldo.robots.description import Robot

Array = NDArray[np.float64]


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

    def step(self, target: Array, dt_s: float, *, speed_ratio: Array | float = 1.0) -> Array:
        """Return the next setpoint (..., joints) [rad] on the way to `target`, `dt_s` [s] after the last one.

        `speed_ratio` (...) is the share of full speed that may be used: where the fastest joint needs more, all are
        slowed alike, so that the path through joint space stays what it was. Accelerations go with its square: the same
        motion in slow motion. Braking may always be as hard as the joint allows.
        """
        error = np.clip(target, self._lower, self._upper) - self.position
        distance = np.abs(error)
        gentle = self._acceleration * np.square(np.minimum(speed_ratio, 1.0))[..., None]
        # In discrete time a joint at speed v that brakes by a·dt each step covers v²/2a + v·dt/2.
        brake = gentle * dt_s / 2
        reachable = np.minimum(distance / dt_s, np.sqrt(brake**2 + 2 * gentle * distance) - brake)
        wanted = np.sign(error) * np.minimum(np.maximum(reachable, 0.0), self._speed)
        needed = np.max(np.abs(wanted) / self._speed, axis=-1, initial=0.0)
        wanted *= np.minimum(1.0, speed_ratio / np.maximum(needed, 1e-9))[..., None]
        down = np.where(self.velocity > 0, self._acceleration, gentle) * dt_s
        up = np.where(self.velocity < 0, self._acceleration, gentle) * dt_s
        self.velocity = np.clip(wanted, self.velocity - down, self.velocity + up)
        self.position = np.clip(self.position + self.velocity * dt_s, self._lower, self._upper)
        return self.position
