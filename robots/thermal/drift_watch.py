"""Detects motors whose temperature departs from their constants over minutes: a blocked fan or a replaced motor.

The observer follows the sensors. Beside it runs a second model that does not: it predicts the temperatures from the
load alone, with a standard deviation for the air temperature, friction and gears. A sensor that stays outside this
range indicates a cause that the model does not contain. Shapes (motors,).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from waldo.robots.thermal.observer import HOUSING, WINDING, HeatObserver, ObserverConfig
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

ALARM_K, ALARM_S = 8.0, 300.0
"""Smallest difference from the model [K], and its duration [s], that raise an alarm."""

HOT_SIGMA, COLD_SIGMA = 4.0, 3.0
"""Standard deviations of the prediction that the model explains; friction adds heat and never removes it."""

MEAN_S = 60.0
"""Time constant of the averaged difference [s]: longer than a work cycle, within which a winding warms and cools."""

CLEAR_RATIO, CLEAR_S = 0.7, 60.0
"""An alarm is cleared after the difference was below this fraction of its threshold for this time [s]."""

PLAUSIBLE_C = (-20.0, 180.0)
"""Range of usable readings [°C]; readings outside it are reported by `SensorWatch`."""


class DriftWatch:
    """Compares the sensors of several motors with a prediction that does not use them."""

    def __init__(self, model: TwoNodeModel, config: ObserverConfig | None = None) -> None:
        self._model = HeatObserver(model, config)
        count = len(model)
        self._started = np.zeros(count, dtype=bool)
        self._over_s: Array = np.zeros(count)
        self._clear_s: Array = np.zeros(count)
        self.drift_k: Array = np.full(count, np.nan)
        """Sensor reading minus prediction, averaged over a minute [K]; NaN without a sensor."""
        self.alarm: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        """Motors whose drift has been outside the explained range for minutes."""

    def step(self, load: Load, dt_s: float, readings: Mapping[str, Array]) -> None:
        """Advance by `dt_s` [s] under a load [W] with readings: kind -> (motors,) [°C], NaN if there is none."""
        self._model.step(load, dt_s)
        measured, expected, std = self._compare(readings)
        self._start(measured)
        drift = np.where(self._started, measured - expected, np.nan)
        before = np.where(np.isnan(self.drift_k), drift, self.drift_k)
        self.drift_k = before + min(1.0, dt_s / MEAN_S) * (drift - before)
        allowed = np.maximum(ALARM_K, np.where(self.drift_k < 0, COLD_SIGMA, HOT_SIGMA) * std)
        # A missing reading neither raises nor clears an alarm.
        present = np.isfinite(self.drift_k)
        over = np.abs(self.drift_k) > allowed
        clear = np.abs(self.drift_k) < CLEAR_RATIO * allowed
        self._over_s = np.where(present & ~over, 0.0, self._over_s + dt_s * over)
        self._clear_s = np.where(present & ~clear, 0.0, self._clear_s + dt_s * clear)
        self.alarm = (self.alarm | (self._over_s >= ALARM_S)) & (self._clear_s < CLEAR_S)

    def _compare(self, readings: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """Return each motor's best reading [°C], its prediction [°C] and the standard deviation between them [K]."""
        model = self._model
        measured, expected, std = (np.full(len(self.alarm), np.nan) for _ in range(3))
        # In order of preference.
        for kind in self._model.watches:
            values = readings.get(kind)
            if values is None:
                continue
            take = np.isnan(measured) & (values > PLAUSIBLE_C[0]) & (values < PLAUSIBLE_C[1])
            reading, spread = model.expected(kind)
            measured = np.where(take, values, measured)
            expected, std = np.where(take, reading, expected), np.where(take, spread, std)
        return measured, expected, std

    def _start(self, measured: Array) -> None:
        """Start the prediction at the first readings: the motors may have been in use before."""
        first = ~self._started & np.isfinite(measured)
        if first.any():
            self._model.mean[first, WINDING] = self._model.mean[first, HOUSING] = measured[first]
            self._started |= first

    def describe(self, motor: int) -> str:
        """Return the alarm of a motor as text; empty if there is none."""
        if not self.alarm[motor]:
            return ""
        drift = self.drift_k[motor]
        if drift < 0:
            return f"{-drift:.0f} K colder than predicted: a different motor, or a faulty sensor?"
        return f"{drift:.0f} K hotter than predicted: blocked fan or a different motor?"
