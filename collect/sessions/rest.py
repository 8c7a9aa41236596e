"""When the motors should rest: before a limit, at the next interruption of the plan that costs nothing.

A motor that is at work heats up from episode to episode, and the robot's forecast states how many more fit. Where the
scene, the task or the operator changes, the robot stands still in any case; a rest there costs less than one between
two episodes alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waldo.collect.sessions.plan import Cell
from waldo.robots.diagnostics import MotorStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A proposed rest."""

    after: int
    """Number of episodes before it; 0: now."""
    seconds: float
    """Its length [s]."""
    joint: str
    """The joint that needs it."""
    reason: str
    """Why then."""


def change(before: Cell, after: Cell) -> int:
    """Return how much changes between two episodes: 3 the operator, 2 the task, 1 the scene, 0 nothing."""
    if before.operator != after.operator:
        return 3
    if before.instruction != after.instruction:
        return 2
    return 1 if before.scene != after.scene else 0


REASONS = {
    0: "no change of the scene comes before",
    1: "the scene changes",
    2: "the task changes",
    3: "the operator changes",
}
"""Change -> why the rest is proposed there."""


def propose_rest(motors: Mapping[str, MotorStatus], upcoming: Sequence[Cell]) -> Rest | None:
    """Return when to rest; None if the plan ends before a limit, or the forecast states none.

    Args:
        motors: Joint -> its motor's readings, with the number of episodes until a limit and the rest after it.
        upcoming: Cell of each episode that is still to be recorded.
    """
    known = [
        (motor.values.get("episodes_left", math.nan), joint)
        for joint, motor in motors.items()
        if math.isfinite(motor.values.get("episodes_left", math.nan))
    ]
    if not known:
        return None
    left, joint = min(known)
    fitting = max(0, math.floor(left))
    if fitting >= len(upcoming):
        return None
    seconds = motors[joint].values.get("cooldown_seconds", math.nan)
    # Among the interruptions before the limit: the largest change and, of equal ones, the last.
    candidates = [(change(upcoming[k - 1], upcoming[k]), k) for k in range(1, fitting + 1)]
    kind, after = max(candidates, default=(0, 0))
    if kind == 0:
        after = fitting
    return Rest(after=after, seconds=seconds if math.isfinite(seconds) else 0.0, joint=joint, reason=REASONS[kind])
