"""Motion limits: follow a target within the position, speed and acceleration limits of each joint.

Vectorized over worlds: arrays have shape (..., joints), so that one robot and hundreds of simulated ones share this
code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waldo.robots.description import Robot
from waldo.typing import Array


class MotionLimiter:
    r"""Follow a target as fast as the limits of a robot allow, and brake in time to stop at it.

    A speed ratio $r < 1$ scales every joint's speed limit by $r$ and its acceleration limit by $r^2$. Replacing time
    $t$ by $r t$ in a motion scales velocities by $r$ and accelerations by $r^2$; the limited motion is therefore the
    full-speed motion traversed $1/r$ times as slowly, along the same path through joint space.

    This holds for a target that stands still, for a robot that starts from rest, and for a constant ratio. The
    discretization adds a deviation of at most $a\,\Delta t^2$ per joint (0.006 rad at 20 rad/s² and 60 Hz). It does
    not hold for a target that moves faster than the limited joints: the target does not wait, so each joint takes a
    shortcut. When the target reverses or the ratio drops, a moving joint brakes with its full acceleration.
    """

    def __init__(self, robot: Robot) -> None:
        self._lower, self._upper = robot.lower, robot.upper
        self._speed = np.array([joint.velocity for joint in robot.joints])
        self._acceleration = np.array([joint.acceleration for joint in robot.joints])
        self.position: Array = robot.home.copy()
        """The last setpoint, shape (..., joints) [rad or m]."""
        self.velocity: Array = np.zeros_like(self.position)
        """The velocity of the last setpoint, shape (..., joints) [rad/s or m/s]."""

    def reset(self, position: Array, worlds: NDArray[np.intp] | None = None) -> None:
        """Start from rest at a position.

        Args:
            position: Joint positions, shape (..., joints) [rad or m].
            worlds: Indices of the worlds to reset; all if None.
        """
        if worlds is None:
            self.position = np.array(position, dtype=float)
            self.velocity = np.zeros_like(self.position)
        else:
            self.position[worlds] = position
            self.velocity[worlds] = 0.0

    def track_measured(self, position: Array, joints: NDArray[np.bool_]) -> None:
        """Set the setpoint of some joints to their measured position, at rest.

        Args:
            position: Measured joint positions, shape (joints,) [rad or m].
            joints: Mask of the joints that move by other means, shape (joints,).
        """
        self.position = np.where(joints, position, self.position)
        self.velocity = np.where(joints, 0.0, self.velocity)

    def step(
        self, target: Array, dt_s: float, *, speed_ratio: Array | float = 1.0, target_velocity: Array | float = 0.0
    ) -> Array:
        """Return the next setpoint on the way to a target.

        Args:
            target: Joint positions, shape (..., joints) [rad or m]; clipped to the position limits.
            dt_s: Time since the last setpoint [s].
            speed_ratio: Fraction of full speed that may be used, shape (...).
            target_velocity: Velocity of the target, shape (..., joints) [rad/s or m/s]. Without it, a joint that
                brakes in time to stop at the target stays v²/2a behind a target that does not stop.

        Returns:
            Joint positions, shape (..., joints) [rad or m].
        """
        ratio = np.minimum(speed_ratio, 1.0)[..., None]
        speed, gentle = self._speed * ratio, self._acceleration * np.square(ratio)
        feedforward = np.clip(target_velocity, -speed, speed)
        error = np.clip(target, self._lower, self._upper) - self.position - feedforward * dt_s
        velocity = np.clip(feedforward + np.sign(error) * _stoppable_speed(np.abs(error), gentle, dt_s), -speed, speed)
        # Stop at the position limits, however fast the target moves.
        below, above = self._upper - self.position, self.position - self._lower
        velocity = np.minimum(velocity, _stoppable_speed(np.maximum(below, 0), self._acceleration, dt_s))
        velocity = np.maximum(velocity, -_stoppable_speed(np.maximum(above, 0), self._acceleration, dt_s))
        # Braking may use the full acceleration, speeding up only the scaled one.
        down = np.where(self.velocity > 0, self._acceleration, gentle) * dt_s
        up = np.where(self.velocity < 0, self._acceleration, gentle) * dt_s
        self.velocity = np.clip(velocity, self.velocity - down, self.velocity + up)
        return self._advance(dt_s)

    def brake(self, dt_s: float) -> Array:
        """Return the next setpoint of joints that stop with their full acceleration.

        Args:
            dt_s: Time since the last setpoint [s].

        Returns:
            Joint positions, shape (..., joints) [rad or m].
        """
        slower = np.maximum(np.abs(self.velocity) - self._acceleration * dt_s, 0.0)
        self.velocity = np.sign(self.velocity) * slower
        return self._advance(dt_s)

    def _advance(self, dt_s: float) -> Array:
        self.position = np.clip(self.position + self.velocity * dt_s, self._lower, self._upper)
        return self.position


def _stoppable_speed(distance: Array, acceleration: Array, dt_s: float) -> Array:
    """Return the highest speed from which a joint can stop within a distance, in steps of `dt_s`.

    A joint at speed v that brakes by a·dt per step moves k more steps, with (k - 1)·a·dt < v ≤ k·a·dt, and travels
    k·v·dt - a·dt²·k·(k - 1)/2 in them. This is solved for v; k follows from the distances at v = k·a·dt.
    """
    change = acceleration * dt_s
    steps = np.maximum(np.ceil((np.sqrt(1 + 8 * distance / (change * dt_s)) - 1) / 2), 1)
    return distance / (steps * dt_s) + change * (steps - 1) / 2
