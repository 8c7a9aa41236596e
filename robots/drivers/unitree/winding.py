"""Inference of which of a Unitree motor's two temperatures is that of the winding.

Unitree's documentation calls them surface and winding, NVIDIA's SONIC winding and driver, and LeRobot uses their mean.
The winding has about a tenth of the housing's heat capacity and is where the losses arise. It therefore follows changes
of the load within tens of seconds and fluctuates more. The fluctuation is the squared deviation from a moving average,
integrated over time and summed over all motors, because the order is the same for all motors of a firmware.
"""

from __future__ import annotations

import numpy as np

from waldo.typing import Array

AVERAGE_S = 60.0
"""Time constant of the moving average [s], between that of a winding and that of a housing."""
RATIO = 2.0
"""Smallest ratio of the two fluctuations at which the winding is identified."""
MIN_FLUCTUATION_K2_S = 400.0
"""Smallest fluctuation at which the winding is identified [K² s]: 2 K during 100 s in one motor."""


class WindingFinder:
    """Fluctuation of the two temperatures of several motors."""

    def __init__(self) -> None:
        """Start without temperatures; the winding is not identified yet."""
        self._average: Array | None = None
        self._fluctuation = np.zeros(2)

    def add(self, temperature_c: Array, dt_s: float) -> None:
        """Add temperatures, shape (motors, 2) [°C], measured `dt_s` [s] after the previous ones."""
        if self._average is None:
            self._average = temperature_c.copy()
            return
        deviation = temperature_c - self._average
        self._fluctuation += np.square(deviation).sum(axis=0) * dt_s
        self._average += deviation * min(dt_s / AVERAGE_S, 1.0)

    @property
    def winding(self) -> int | None:
        """Index of the winding's temperature, 0 or 1; None while it cannot be identified."""
        low, high = sorted(float(value) for value in self._fluctuation)
        if high < MIN_FLUCTUATION_K2_S or high < RATIO * low:
            return None
        return int(np.argmax(self._fluctuation))
