r"""Compensation of the droop of loaded joints: a position controller without an integrator stands below its target.

The offset of each joint integrates its error, $\dot b_j = (q_j - \hat q_j) / T \cdot 1/(1 + (\dot q_j/\dot q_0)^2)$,
and is bounded: the lag of a fast motion is not a droop, and a blocked joint does not press harder and harder.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waldo.typing import Array

TIME_S = 0.4
"""Time constant of the integration T [s]: slower than the position loop of any joint, so it does not oscillate."""

SLOW = 0.15
"""Speed of the desired motion at which half of the error counts [rad/s or m/s]."""

MAX_DROOP = 0.12
"""Largest offset of a command [rad or m]; a G1 droops by 0.04 rad in its elbow."""


class Droop:
    """Offsets (joints,) [rad or m] between commands and the positions that they are to bring about."""

    def __init__(self, joints: NDArray[np.bool_]) -> None:
        """Initialize without an offset; `joints` is the mask (joints,) of those that are compensated."""
        self._joints = joints
        self.offset: Array = np.zeros(len(joints))
        """The current offsets, shape (joints,) [rad or m]."""

    def start(self, measured: Array, command: Array | None) -> None:
        """Start at measured positions (joints,) [rad or m].

        Args:
            measured: Shape (joints,).
            command: The last command, (joints,), if the robot holds it: its distance is the droop. Joints that stand
                farther away were moved by other means.
        """
        distance = np.zeros_like(measured) if command is None else command - measured
        self.offset = np.where(self._joints & (np.abs(distance) <= MAX_DROOP), distance, 0.0)

    def step(self, desired: Array, moved: Array, measured: Array, dt_s: float, joints: NDArray[np.intp]) -> None:
        """Integrate the errors of a cycle.

        Args:
            desired: Desired positions, shape (joints,) [rad or m].
            moved: Their change in this cycle, shape (joints,) [rad or m].
            measured: Measured positions, shape (joints,) [rad or m].
            dt_s: Duration of the cycle [s].
            joints: Indices of the joints that move; others keep their offsets.
        """
        active = np.zeros(len(desired), dtype=bool)
        active[joints] = True
        rate = dt_s / TIME_S / (1 + np.square(moved / dt_s / SLOW))
        changed = np.clip(self.offset + rate * (desired - measured), -MAX_DROOP, MAX_DROOP)
        self.offset = np.where(active & self._joints, changed, self.offset)
