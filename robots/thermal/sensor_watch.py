"""Plausibility of temperature sensors: values out of range, jumps, stuck sensors and outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from waldo.typing import Array

MIN_C, MAX_C = -20.0, 200.0
"""Plausible readings of a working motor [°C]; a loose wire has read -886 °C (robotology mesh-support 2016)."""

MAX_RATE_K_PER_S = 15.0
"""A faster change that the load does not explain is a bad contact [K/s]."""

RECOVERY_S = 10.0
"""Time without an implausible reading after which a sensor is used again [s]."""

STUCK_S, STUCK_K = 300.0, 8.0
"""A reading that is constant for this time [s], while the load should have changed it by this much [K], is stuck."""

OUTLIER_SIGMA = 6.0
"""A reading this many standard deviations from the estimate is an outlier."""

OUTLIER_S = 60.0
"""Duration after which outliers are used [s]: a difference that persists is not an error of the sensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """Error model of one kind of temperature sensor."""

    std_k: float
    """Standard deviation of the constant error: offset and placement [K]."""
    noise_k: float = 0.3
    """Standard deviation of the varying error besides rounding [K]."""
    step_k: float = 1.0
    """Resolution [K]; most servos round to 1 °C."""
    delay_s: float = 0.0
    """Delay of a reading [s]."""


class SensorWatch:
    """Decides which readings of one kind of sensor are used. Shapes (motors,)."""

    def __init__(self, count: int, sensor: Sensor) -> None:
        self.sensor = sensor
        self._seen = False
        self._last: Array = np.full(count, np.nan)
        self._doubt_s: Array = np.zeros(count)
        self._constant_s: Array = np.zeros(count)
        self._load_k: Array = np.zeros(count)
        self._outlier_s: Array = np.zeros(count)
        self._stuck: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        self._faults: list[str] = [""] * count

    def accept(
        self, values: Array, expected_c: Array, std_k: Array, load_step_k: Array, dt_s: float
    ) -> NDArray[np.bool_]:
        """Return which readings are to be used, (motors,).

        Args:
            values: Readings [°C]; NaN if there is none.
            expected_c: Estimated temperatures [°C].
            std_k: Standard deviations of the estimates [K].
            load_step_k: Changes of temperature in this step that the load alone predicts [K].
            dt_s: Length of the step [s].
        """
        present = np.isfinite(values)
        if not (self._seen or present.any()):
            return present  # a robot without sensors of this kind
        self._seen = True
        plausible = (values >= MIN_C) & (values <= MAX_C)
        implausible = present & ~plausible
        leap = np.abs(values - self._last - load_step_k) > MAX_RATE_K_PER_S * dt_s + 2 * self.sensor.step_k
        jumped = plausible & leap
        self._note(implausible, values, "reads {:.0f} °C: bad sensor or wire")
        self._note(jumped, values, "jumped to {:.0f} °C: bad contact")
        self._doubt_s = np.where(implausible | jumped, RECOVERY_S, np.maximum(self._doubt_s - dt_s, 0))
        self._watch_stuck(present, values, load_step_k, dt_s)
        self._last = np.where(plausible, values, self._last)
        good = plausible & (self._doubt_s <= 0) & ~self._stuck
        bound = OUTLIER_SIGMA * np.hypot(std_k, self.sensor.std_k + self.sensor.step_k)
        outlier = good & (np.abs(values - expected_c) > bound)
        self._outlier_s = np.where(outlier, self._outlier_s + dt_s, 0.0)
        return good & (~outlier | (self._outlier_s > OUTLIER_S))

    def _watch_stuck(self, present: NDArray[np.bool_], values: Array, load_step_k: Array, dt_s: float) -> None:
        # The estimate follows a stuck sensor; the temperature change that the load predicts does not.
        moved = present & (values != self._last)
        self._constant_s = np.where(moved, 0.0, self._constant_s + dt_s)
        self._load_k = np.where(moved, 0.0, self._load_k + load_step_k)
        overdue = np.abs(self._load_k) > STUCK_K
        self._stuck = present & ~moved & (self._stuck | ((self._constant_s > STUCK_S) & overdue))

    def _note(self, which: NDArray[np.bool_], values: Array, text: str) -> None:
        for i in which.nonzero()[0]:
            self._faults[i] = text.format(values[i])

    def describe(self, motor: int, name: str) -> str:
        """Return the fault of a motor's sensor as text; empty if there is none."""
        if self._doubt_s[motor] > 0:
            return f"{name} sensor {self._faults[motor]}"
        if self._stuck[motor]:
            return f"{name} sensor stuck at {self._last[motor]:.0f} °C"
        return ""
