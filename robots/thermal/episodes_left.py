"""How many more episodes like the last ones fit before a motor is at its limit?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.robots.thermal.two_node import Load, TwoNodeModel

Array = NDArray[np.float64]

MOST = 1000
"""More than this is as good as any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What an episode asks of the motors, (motors,)."""

    load: Load
    """Mean load while it is recorded [W]."""
    seconds: float
    """How long it takes [s]."""
    pause_s: float
    """Rest until the next one begins [s]."""
    idle: Load
    """Mean load in the pause [W]: what holding the idle pose costs."""


def episodes_left(model: TwoNodeModel, state_c: Array, ambient_c: Array, limit_c: Array, work: Work) -> tuple[int, int]:
    """Return how many episodes end with every winding below its limit (motors,) [°C], and which motor ends them.

    MOST and -1 where there is no end. The winding is hottest at the end of an episode.
    """
    limit = np.where(np.isnan(limit_c), np.inf, limit_c)
    state = state_c
    for done in range(MOST):
        hot = model.step(state, work.load, ambient_c, work.seconds)
        over = hot[..., 0] - limit
        if (over > 0).any():
            return done, int(np.argmax(over))
        cooled = model.step(hot, work.idle, ambient_c, work.pause_s)
        if np.abs(cooled - state).max() < 1e-3:
            return MOST, -1
        state = cooled
    return MOST, -1
