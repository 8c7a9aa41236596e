"""A hand that moves an emulated arm through its calibration, so that an operator can rehearse it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from waldo.robots.description import Robot
from waldo.typing import Array

SPEED_RAD_S = 1.5
"""Speed of the hand [rad/s]."""

PAUSE_S = 2.0
"""Time for which the hand holds the middle pose before it moves the joints [s]."""


class CalibrationHand:
    """A path for `EmulatedLeader`: the middle pose while the servos are not centered, then each joint to both ends.

    The joints are moved one after the other, again and again, as long as the servos are centered.
    """

    def __init__(self, robot: Robot, is_centered: Callable[[], bool]) -> None:
        """Initialize in the middle pose; `is_centered` returns whether the servos' homing offsets have been set."""
        self._robot, self._is_centered = robot, is_centered
        self._middle = (robot.lower + robot.upper) / 2
        self._position = self._middle.copy()
        self._seconds = 0.0
        self._tour_s = 0.0

    def __call__(self, seconds: float) -> Array:
        """Return the positions, shape (joints,) [rad], at a time since the start [s]."""
        elapsed_s, self._seconds = seconds - self._seconds, seconds
        self._tour_s = self._tour_s + elapsed_s if self._is_centered() else 0.0
        step = SPEED_RAD_S * max(elapsed_s, 0.0)
        self._position = self._position + np.clip(self._goal() - self._position, -step, step)
        return self._position.copy()

    def _goal(self) -> Array:
        """Return the pose to which the hand moves."""
        goal = self._middle.copy()
        spans_s = 2 * (self._robot.upper - self._robot.lower) / SPEED_RAD_S
        remaining_s = self._tour_s % (PAUSE_S + float(spans_s.sum())) - PAUSE_S
        if remaining_s < 0:
            return goal
        for joint, span_s in enumerate(spans_s):
            if remaining_s < span_s:
                # To the lower end, over the whole range to the upper one, and back: a quarter, a half and a quarter.
                ratio = remaining_s / span_s
                if ratio < 0.25:
                    goal[joint] = self._robot.lower[joint]
                elif ratio < 0.75:
                    goal[joint] = self._robot.upper[joint]
                return goal
            remaining_s -= span_s
        return goal
