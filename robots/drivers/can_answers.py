"""Which positions of CAN motors are current: an answer carries the id of its motor, but not what it answers.

The answers of one motor keep their order, and an adapter that stalls delays all of them: the newest one counts. An
answer that was overtaken by others is recognized by its position, which does not continue the motion.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

ACCELERATION_RAD_S2 = 150.0
"""Acceleration beyond which a position does not continue the motion [rad/s²]: several times that of a loaded joint."""
MEASURED_S = 0.01
"""Uncertainty of the time between the measurements of two answers [s]."""
CONFIRMED_RAD = 0.001
"""Largest difference of the first two positions of a motor at rest [rad]: two to three counts of a frame."""
ROUNDING_RAD = 0.003
"""Allowance for the rounding of positions and velocities in a frame [rad]."""
REFUSALS = 3
"""Successive positions of a motor that are refused; then the motion is as it is, such as after a collision."""


@dataclass(slots=True)
class _Motion:
    position_rad: float
    velocity_rad_s: float
    at_s: float
    confirmed: bool = False
    """Whether the position continues one before."""
    refused: int = 0


class Motions:
    """The last motion of each motor, which the next position must continue."""

    def __init__(self, motors: int) -> None:
        """Initialize without positions."""
        self._last: list[_Motion | None] = [None] * motors
        self.refused = 0
        """Number of positions that were refused."""

    def confirmed(self, motor: int) -> bool:
        """Return whether the motion of a motor is known: two positions in succession have agreed."""
        last = self._last[motor]
        return last is not None and last.confirmed

    def continues(self, motor: int, position_rad: float, velocity_rad_s: float) -> bool:
        """Return whether a position that has just arrived continues the motion of a motor; keep it if it does.

        The first positions are kept until two agree.
        """
        now_s = time.monotonic()
        before = self._last[motor]
        confirmed = False
        if before is not None and not before.confirmed:
            fastest = max(abs(before.velocity_rad_s), abs(velocity_rad_s))
            allowed = CONFIRMED_RAD + fastest * (now_s - before.at_s + MEASURED_S)
            confirmed = abs(position_rad - before.position_rad) <= allowed
        elif before is not None and before.refused < REFUSALS:
            confirmed = True
            passed_s = now_s - before.at_s
            expected = before.position_rad + passed_s * (before.velocity_rad_s + velocity_rad_s) / 2
            fastest = max(abs(before.velocity_rad_s), abs(velocity_rad_s))
            allowed = ROUNDING_RAD + ACCELERATION_RAD_S2 * passed_s**2 / 4 + fastest * MEASURED_S
            if abs(position_rad - expected) > allowed:
                before.refused += 1
                self.refused += 1
                return False
        elif before is not None:
            confirmed = True
        self._last[motor] = _Motion(position_rad, velocity_rad_s, now_s, confirmed)
        return True
