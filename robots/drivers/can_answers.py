"""Which positions of CAN motors are current: an answer carries the id of its motor, but not what it answers.

An adapter that stalls delays all answers: those that follow may answer earlier requests. After an answer has been
missing, each request is therefore followed by a mark, the reading of a parameter that changes from request to request;
a position counts once the reply to its mark has arrived. An answer that was overtaken by others is recognized by its
position, which does not continue the motion.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np

ACCELERATION_RAD_S2 = 60.0
"""Acceleration beyond which a position does not continue the motion [rad/s²]: three times the largest commanded one."""
DRIFT_RAD = 0.02
"""Largest deviation that an acceleration is believed to cause between two positions [rad]; after a long gap almost any
position would continue the motion."""
MEASURED_S = 0.01
"""Uncertainty of the time between the measurements of two answers [s]."""
CONFIRMED_RAD = 0.001
"""Largest difference of the first two positions of a motor at rest [rad]: two to three counts of a frame."""
ROUNDING_RAD = 0.003
"""Allowance for the rounding of positions and velocities in a frame [rad]."""
REFUSALS = 3
"""Number of positions that are refused although each continues the one before; then the motion is as it is, such as
after a collision. Several late answers do not continue each other."""
APART_S = 0.005
"""Shortest time between two of them [s]: a line that was late delivers all its answers at once."""


@dataclass(slots=True)
class _Motion:
    position_rad: float
    velocity_rad_s: float
    at_s: float
    confirmed: bool = False
    """Whether the position continues one before."""
    refused: int = 0
    """Number of refused positions before this one that it continues."""

    def continued_by(self, position_rad: float, velocity_rad_s: float, at_s: float) -> bool:
        """Return whether the motor can have moved to a position until then."""
        passed_s = at_s - self.at_s
        expected = self.position_rad + passed_s * (self.velocity_rad_s + velocity_rad_s) / 2
        fastest = max(abs(self.velocity_rad_s), abs(velocity_rad_s))
        drift = min(ACCELERATION_RAD_S2 * passed_s**2 / 4, DRIFT_RAD)
        allowed = ROUNDING_RAD + drift + fastest * MEASURED_S
        return abs(position_rad - expected) <= allowed


class Motions:
    """The last motion of each motor, which the next position must continue."""

    def __init__(self, motors: int) -> None:
        """Initialize without positions."""
        self._last: list[_Motion | None] = [None] * motors
        self._behind: list[_Motion | None] = [None] * motors
        """The first position of each motor behind missing answers, which the next one must continue."""
        self._other: list[_Motion | None] = [None] * motors
        """The motion of each motor that the refused positions would be."""
        self.interrupted: set[int] = set()
        """Motors with missing answers: after a while, many positions would continue the motion."""
        self.refused = 0
        """Number of positions that were refused."""

    def confirmed(self, motor: int) -> bool:
        """Return whether the motion of a motor is known: two positions in succession have agreed."""
        last = self._last[motor]
        return last is not None and last.confirmed

    def continues(self, motor: int, position_rad: float, velocity_rad_s: float, age_s: float = 0.0) -> bool:
        """Return whether a position that was measured `age_s` ago continues the motion of a motor; keep it if it does.

        The first positions are kept until two agree.
        """
        now_s = time.monotonic() - age_s
        before = self._last[motor]
        confirmed = False
        if before is not None and not before.confirmed:
            fastest = max(abs(before.velocity_rad_s), abs(velocity_rad_s))
            allowed = CONFIRMED_RAD + fastest * (now_s - before.at_s + MEASURED_S)
            confirmed = abs(position_rad - before.position_rad) <= allowed
        elif before is not None:
            confirmed = True
            if not before.continued_by(position_rad, velocity_rad_s, now_s):
                if not self._is_other(motor, _Motion(position_rad, velocity_rad_s, now_s)):
                    self.refused += 1
                    return False
            elif motor in self.interrupted:
                behind = self._behind[motor]
                if behind is None or not behind.continued_by(position_rad, velocity_rad_s, now_s):
                    self._behind[motor] = _Motion(position_rad, velocity_rad_s, now_s)
                    return False
        self.interrupted.discard(motor)
        self._behind[motor] = self._other[motor] = None
        self._last[motor] = _Motion(position_rad, velocity_rad_s, now_s, confirmed)
        return True

    def _is_other(self, motor: int, found: _Motion) -> bool:
        """Return whether a position that does not continue the motion belongs to another one that is established."""
        other = self._other[motor]
        if other is None or not other.continued_by(found.position_rad, found.velocity_rad_s, found.at_s):
            self._other[motor] = found
            return False
        if found.at_s - other.at_s > APART_S:
            found.refused = other.refused + 1
            self._other[motor] = found
        return found.refused >= REFUSALS


BETWEEN_S = 0.03
"""Longest time between two measurements that a motor sends between two marks [s]."""
FRESH_S = 0.03
"""Longest time from a mark to its reply after which a motor is no longer late [s]."""
REPEAT_S, LONGEST_REPEAT_S = 0.015, 0.15
"""Time after which a mark without a reply is followed by another one [s]: doubled each time, so that a line that is
late is not given more to do."""
UNMARKED = 2
"""Number of marks without a reply after which a motor counts as one that does not reply to them."""


class Moving(Protocol):
    """A reading of a motor."""

    @property
    def position_rad(self) -> float:
        """Position [rad]."""
        ...

    @property
    def velocity_rad_s(self) -> float:
        """Velocity [rad/s]."""
        ...


class Marks[FeedbackT: Moving]:
    """For motors whose answers may be late, the mark that was sent last and the feedback that awaits its reply."""

    def __init__(self, motors: int) -> None:
        """Initialize; all motors are trusted."""
        self.late: set[int] = set()
        """Motors whose answers may be those to earlier requests."""
        self._number = [0] * motors
        self._replied = [False] * motors
        self._waiting: list[list[FeedbackT]] = [[] for _ in range(motors)]
        self._unanswered = [0] * motors
        self._sent_s = [-np.inf] * motors
        """Time at which the last mark was sent; -inf once its reply has arrived."""

    def is_due(self, motor: int) -> bool:
        """Return whether a motor that is late shall be queried: not while the reply to its mark is expected."""
        repeat_s = min(REPEAT_S * 2 ** max(0, self._unanswered[motor] - 1), LONGEST_REPEAT_S)
        return time.monotonic() - self._sent_s[motor] > repeat_s

    def next(self, motor: int) -> int:
        """Return the number of the mark that follows a request; feedback from before it is discarded."""
        self._number[motor] += 1
        self._sent_s[motor] = time.monotonic()
        self._waiting[motor].clear()
        self._unanswered[motor] += 1
        if not self._replied[motor] and self._unanswered[motor] > UNMARKED:
            self.late.discard(motor)
        return self._number[motor]

    def unknown(self) -> list[int]:
        """Return the motors that have not replied to a mark."""
        return [motor for motor, replied in enumerate(self._replied) if not replied]

    def hold(self, motor: int, feedback: FeedbackT) -> None:
        """Keep the feedback of a motor until the reply to its mark arrives."""
        self._waiting[motor].append(feedback)

    def reply(self, motor: int, number: int, numbers: int) -> tuple[FeedbackT, float] | None:
        """Accept a reply; return the feedback before it and its largest age [s] if it is that to the last mark.

        An answer that was overtaken may be among the feedback; then none of it counts.

        Args:
            motor: The motor.
            number: Number of the mark, modulo `numbers`.
            numbers: Number of different marks.
        """
        self._replied[motor] = True
        if number != self._number[motor] % numbers:
            return None
        waiting, self._waiting[motor] = self._waiting[motor], []
        age_s = time.monotonic() - self._sent_s[motor]
        self._sent_s[motor], self._unanswered[motor] = -np.inf, 0
        if motor not in self.late or not waiting:
            return None
        positions = [one.position_rad for one in waiting]
        fastest = max(abs(one.velocity_rad_s) for one in waiting)
        if max(positions) - min(positions) > ROUNDING_RAD + fastest * BETWEEN_S:
            return None
        if age_s < FRESH_S:
            self.late.discard(motor)
        return waiting[-1], age_s
