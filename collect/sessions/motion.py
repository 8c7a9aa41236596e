"""Whether a robot moves: for starting and ending episodes by its motion. Time is an argument."""

from __future__ import annotations

import numpy as np

from waldo.typing import Array


class MotionWatch:
    """Follows the joints' positions; small movements count when they add up."""

    def __init__(self, moving_rad: float) -> None:
        """Initialize; `moving_rad` is the movement of a joint that counts as motion [rad]."""
        self._moving_rad = moving_rad
        self._reference: Array | None = None
        self._moved_s = -np.inf

    def add(self, position: Array, monotonic_s: float) -> None:
        """Add the positions of the joints (joints,) [rad] at a time [s]; a position that is not finite is ignored."""
        if not np.isfinite(position).all():
            return
        if self._reference is None:
            self._reference = position.copy()
        elif np.abs(position - self._reference).max() > self._moving_rad:
            self._reference, self._moved_s = position.copy(), monotonic_s

    def still_s(self, monotonic_s: float) -> float:
        """Return for how long no joint has moved [s]; infinite if none has."""
        return monotonic_s - self._moved_s

    def reset(self, moved_s: float = -np.inf) -> None:
        """Forget the motion before, or take a time for that of the last one [s]; the next position is the reference."""
        self._reference, self._moved_s = None, moved_s
