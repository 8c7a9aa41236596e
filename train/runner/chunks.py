"""Playing of action chunks: each continues the motion of the one before, without a jump in position or velocity.

Chunks arrive while the one before is still being played, and they answer observations that are some time old. An action
belongs to a time after the observation, so the first actions of a chunk are skipped. At the border the two chunks
differ; the difference fades out along the polynomial of fifth degree that is smooth at both ends (minimum jerk: Flash
and Hogan 1985, J. Neurosci. 5:1688), and the limits of the joints bound what remains.

Chunk time: seconds at the policy's pace. It runs slower than the clock while the governor limits the speed, so a whole
chunk is slowed down along its path.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from waldo.robots.control.limits import MotionLimiter
from waldo.robots.description import Robot
from waldo.typing import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """The difference between two chunks at the moment of their change, before it is smoothed."""

    position: float
    """Largest difference of a joint's position [rad or m]."""
    velocity: float
    """Largest difference of a joint's velocity [rad/s or m/s]."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    actions: Array
    start_s: float
    fps: float

    def at(self, time_s: float) -> Array:
        """Return the interpolated action at a chunk time; the last action from the end on."""
        place = np.clip((time_s - self.start_s) * self.fps, 0.0, len(self.actions) - 1.0)
        index = min(int(place), max(len(self.actions) - 2, 0))
        following = self.actions[min(index + 1, len(self.actions) - 1)]
        return self.actions[index] + (place - index) * (following - self.actions[index])

    def velocity(self, time_s: float) -> Array:
        """Return the derivative at a chunk time; 0 outside the chunk."""
        half_s = 0.5 / self.fps
        return (self.at(time_s + half_s) - self.at(time_s - half_s)) * self.fps

    @property
    def end_s(self) -> float:
        """Chunk time of the last action."""
        return self.start_s + (len(self.actions) - 1) / self.fps


@dataclass(frozen=True, slots=True)
class _Fade:
    """A difference that fades to zero within a time, with no jump in position or velocity."""

    position: Array
    velocity: Array
    start_s: float
    length_s: float

    def at(self, time_s: float) -> Array:
        """Return what is left of the difference at a chunk time."""
        s = float(np.clip((time_s - self.start_s) / self.length_s, 0.0, 1.0))
        # Quintic Hermite basis with no acceleration at the start, and rest at the end.
        of_position = 1 - s**3 * (10 - 15 * s + 6 * s**2)
        of_velocity = self.length_s * (s - 6 * s**3 + 8 * s**4 - 3 * s**5)
        return of_position * self.position + of_velocity * self.velocity


class ChunkPlayer:
    """Returns the target of each control cycle from the newest chunk of actions."""

    def __init__(self, robot: Robot, fps: float, *, blend_s: float = 0.2) -> None:
        """Initialize without a chunk.

        Args:
            robot: The robot, whose joint limits bound the motion.
            fps: Actions per second.
            blend_s: Time in which the difference between two chunks fades out [s].
        """
        self._fps, self._blend_s = fps, max(blend_s, 1e-6)
        self._limiter = MotionLimiter(robot)
        self._chunk: _Chunk | None = None
        self._fade: _Fade | None = None
        self.time_s = 0.0
        """Chunk time."""
        self.chunks = 0
        """Number of chunks since the start."""
        self.border: Border | None = None
        """Difference at the last change from one chunk to the next."""

    @property
    def has_chunk(self) -> bool:
        """Whether there is a chunk to play."""
        return self._chunk is not None

    @property
    def left_s(self) -> float:
        """Chunk time until the last action; 0 or less once it is reached, and without a chunk."""
        return 0.0 if self._chunk is None else self._chunk.end_s - self.time_s

    @property
    def age_s(self) -> float:
        """Chunk time since the observation that the present chunk answers; infinite without a chunk."""
        return np.inf if self._chunk is None else self.time_s - self._chunk.start_s

    def reset(self, position: Array) -> None:
        """Drop the chunk; the next one starts from rest at joint positions (joints,) [rad or m]."""
        self._chunk = self._fade = self.border = None
        self._limiter.reset(position)

    def start(self, position: Array) -> None:
        """Start from rest at joint positions (joints,) [rad or m], with the chunk that has arrived meanwhile."""
        self._limiter.reset(position)

    def add(self, actions: Array, observed_s: float) -> None:
        """Change to another chunk.

        Args:
            actions: Joint positions, (actions, joints) [rad or m].
            observed_s: Chunk time of the observation, at which the first action is due.
        """
        chunk, now_s = _Chunk(actions, observed_s, self._fps), self.time_s
        if self._chunk is not None:
            before = self._target(now_s)
            velocity = self._velocity(now_s)
            position_gap = before - chunk.at(now_s)
            velocity_gap = velocity - chunk.velocity(now_s)
            self._fade = _Fade(position_gap, velocity_gap, now_s, self._blend_s)
            self.border = Border(position=float(np.abs(position_gap).max()), velocity=float(np.abs(velocity_gap).max()))
        self._chunk = chunk
        self.chunks += 1

    def ahead(self, observed_s: float) -> Array:
        """Return the actions that are due from a chunk time to the end of the chunk, (actions, joints) [rad or m]."""
        if self._chunk is None:
            raise RuntimeError("there is no chunk to play")
        count = int((self._chunk.end_s - observed_s) * self._fps) + 1
        return np.array([self._target(observed_s + i / self._fps) for i in range(count)]).reshape(
            -1, self._chunk.actions.shape[1]
        )

    def target(self) -> Array:
        """Return the present target before the limits of the joints, (joints,) [rad or m]."""
        if self._chunk is None:
            raise RuntimeError("there is no chunk to play")
        return self._target(self.time_s)

    def step(self, dt_s: float, speed_ratio: float = 1.0) -> Array:
        """Advance by a control cycle and return the setpoint, (joints,) [rad or m].

        Args:
            dt_s: Length of the cycle [s].
            speed_ratio: Fraction of full speed that the heat governor allows, above 0 to 1.
        """
        target = self.target()
        velocity = self._velocity(self.time_s) * speed_ratio if self.left_s > 0 else np.zeros_like(target)
        self.time_s += dt_s * speed_ratio
        return self._limiter.step(target, dt_s, target_velocity=velocity)

    def _target(self, time_s: float) -> Array:
        assert self._chunk is not None
        target = self._chunk.at(time_s)
        return target if self._fade is None else target + self._fade.at(time_s)

    def _velocity(self, time_s: float) -> Array:
        half_s = 0.25 / self._fps
        return (self._target(time_s + half_s) - self._target(time_s - half_s)) / (2 * half_s)
