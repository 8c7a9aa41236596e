"""Actions that move the targets of the joints, as position targets at the control rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from waldo.typing import Array


class Increments:
    """The targets of several worlds, each moved by the actions of a policy."""

    def __init__(self, increment_rad: float, ticks: int) -> None:
        """Initialize without a target.

        Args:
            increment_rad: Motion of a joint by an action of 1 [rad].
            ticks: Control ticks of an action.
        """
        self._increment_rad, self._ticks = increment_rad, ticks
        self._targets: Array = np.zeros((0, 0))

    def reset(self, which: NDArray[np.int64] | None = None) -> None:
        """Let the worlds `which` (None: all) start from where their joints are."""
        if which is None:
            self._targets = np.zeros((0, 0))
        elif len(self._targets):
            self._targets[which] = np.nan

    def targets(self, actions: Array, worlds: NDArray[np.int64], position: Array) -> Array:
        """Return the targets of each tick, (actions' worlds, ticks, joints) [rad].

        Args:
            actions: Actions of some worlds, (worlds, joints), -1 to 1.
            worlds: These worlds.
            position: Joint positions of all worlds, (all worlds, joints) [rad].
        """
        if self._targets.shape != position.shape:
            self._targets = np.full(position.shape, np.nan)
        start = np.where(np.isnan(self._targets[worlds]), position[worlds], self._targets[worlds])
        end = start + self._increment_rad * np.clip(actions, -1.0, 1.0)
        self._targets[worlds] = end
        share = np.arange(1, self._ticks + 1)[:, None] / self._ticks
        return start[:, None] + share * (end - start)[:, None]
