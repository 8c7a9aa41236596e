"""Which of a Unitree motor's two temperatures is the winding's? Inferred from what they do.

Unitree's page calls them surface and winding, NVIDIA's SONIC winding and driver, and LeRobot takes their mean. Physics
decides: the winding has a tenth of the housing's heat capacity and is where the heat comes in, so it follows each load
within tens of seconds and swings more. The swing is the mean square of a temperature about its own slow mean, added up
over all motors, since one firmware has one order.
"""

from __future__ import annotations

import numpy as np

from waldo.typing import Array

SLOW_S = 60.0
"""Time constant of the mean about which a temperature swings [s]: between a winding's and a housing's."""
RATIO = 2.0
"""The winding's swing is at least so many times the other's, in K²."""
ENOUGH_K2_S = 400.0
"""Swing that must have been seen before anything is said: 2 K for 100 s, in one motor [K² s]."""


class WindingFinder:
    """Watches the two temperatures of several motors."""

    def __init__(self) -> None:
        """Begin with no opinion."""
        self._slow: Array | None = None
        self._swing = np.zeros(2)

    def add(self, temperature_c: Array, dt_s: float) -> None:
        """Take temperatures (motors, 2) [°C], `dt_s` [s] after the last ones."""
        if self._slow is None:
            self._slow = temperature_c.copy()
            return
        deviation = temperature_c - self._slow
        self._swing += np.square(deviation).sum(axis=0) * dt_s
        self._slow += deviation * min(dt_s / SLOW_S, 1.0)

    @property
    def winding(self) -> int | None:
        """0 or 1: which one is the winding's; None while it is not clear."""
        low, high = sorted(self._swing)
        if high < ENOUGH_K2_S or high < RATIO * low:
            return None
        return int(np.argmax(self._swing))
