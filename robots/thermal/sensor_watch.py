"""Is a temperature sensor to be believed? Absurd values, jumps, and sensors that are stuck or contradict the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from waldo.typing import Array

if TYPE_CHECKING:
    from waldo.robots.thermal.observer import Sensor


LOWEST_C, HIGHEST_C = -20.0, 200.0
"""No motor that works is outside; a loose wire has been seen to read -886 °C (robotology mesh-support 2016)."""

FASTEST_K_PER_S = 15.0
"""A jump beyond what the load explains, and faster than this, is a bad contact [K/s]."""

BELIEVED_AGAIN_S = 10.0
"""A sensor that was absurd must be sound for so long before it counts again [s]."""

STUCK_S, STUCK_K = 300.0, 8.0
"""A reading that has not moved for so long [s] while the load alone would have moved it by so much [K] is stuck."""

FAR_SIGMA = 6.0
"""So many standard deviations from the estimate is a surprise."""

FAR_S = 60.0
"""A surprise that lasts so long is not the sensor's [s]: then the reading counts again and corrects the model."""


class SensorWatch:
    """Watches one kind of sensor of several motors. Shapes (motors,)."""

    def __init__(self, count: int, sensor: Sensor) -> None:
        """Take how many motors there are and how such a sensor reads."""
        self.sensor = sensor
        self._last: Array = np.full(count, np.nan)
        self._doubt_s: Array = np.zeros(count)
        self._same_s: Array = np.zeros(count)
        self._pushed_k: Array = np.zeros(count)
        self._far_s: Array = np.zeros(count)
        self._stuck: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        self._why: list[str] = [""] * count

    def look(self, values: Array, expected_c: Array, std_k: Array, push_k: Array, dt_s: float) -> NDArray[np.bool_]:
        """Say which readings [°C] are to be used.

        Given are the estimate [°C], its standard deviation [K], by how much the load alone moved it in this step [K],
        and the step's length.
        """
        told = np.isfinite(values)
        absurd = told & ((values < LOWEST_C) | (values > HIGHEST_C))
        leap = np.abs(values - self._last - push_k) > FASTEST_K_PER_S * dt_s + 2 * self.sensor.step_k
        jumped = told & ~absurd & np.isfinite(self._last) & leap
        self._note(absurd, values, "reads {:.0f} °C: bad sensor or wire")
        self._note(jumped, values, "jumped to {:.0f} °C: bad contact")
        self._doubt_s = np.where(absurd | jumped, BELIEVED_AGAIN_S, np.maximum(self._doubt_s - dt_s, 0))
        self._watch_stuck(told, values, push_k, dt_s)
        self._last = np.where(told & ~absurd, values, self._last)
        good = told & ~absurd & (self._doubt_s <= 0) & ~self._stuck
        far = good & (np.abs(values - expected_c) > FAR_SIGMA * np.hypot(std_k, self.sensor.std_k + self.sensor.step_k))
        self._far_s = np.where(far, self._far_s + dt_s, 0.0)
        return good & (~far | (self._far_s > FAR_S))

    def _watch_stuck(self, told: NDArray[np.bool_], values: Array, push_k: Array, dt_s: float) -> None:
        # The estimate itself follows a stuck sensor; what the load would have done does not.
        moved = told & (values != self._last)
        self._same_s = np.where(moved, 0.0, self._same_s + dt_s)
        self._pushed_k = np.where(moved, 0.0, self._pushed_k + push_k)
        apart = np.abs(self._pushed_k) > STUCK_K
        self._stuck = told & ~moved & (self._stuck | ((self._same_s > STUCK_S) & apart))

    def _note(self, which: NDArray[np.bool_], values: Array, text: str) -> None:
        for i in np.flatnonzero(which):
            self._why[i] = text.format(values[i])

    def describe(self, motor: int, name: str) -> str:
        """Return what is wrong with a motor's sensor; empty where nothing is."""
        if self._doubt_s[motor] > 0:
            return f"{name} sensor {self._why[motor]}"
        if self._stuck[motor]:
            return f"{name} sensor stuck at {self._last[motor]:.0f} °C"
        return ""
