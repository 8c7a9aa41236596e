"""Do motors warm as their constants say? A fan that is blocked or a motor that was swapped shows over minutes.

Beside the estimate, which follows the sensors, runs one that does not: what the constants alone make of the load, with
a standard deviation for the air, friction and gears that may be other. A sensor that stays beyond both is no longer
explained by these. Shapes (motors,).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from waldo.robots.thermal.observer import H, HeatObserver, ObserverConfig, W
from waldo.robots.thermal.two_node import Load, TwoNodeModel
from waldo.typing import Array

APART_K, APART_S = 8.0, 300.0
"""So far from the model [K] for so long [s] is an alarm, if it is also beyond what is uncertain."""

HOT_SIGMA, COLD_SIGMA = 4.0, 3.0
"""Standard deviations of the model's own uncertainty that are explained by it; friction makes more heat, never less."""

MEAN_S = 60.0
"""Time constant of the difference's mean [s]: longer than a cycle of the work, in which a winding's comes and goes."""

BACK_RATIO, BACK_S = 0.7, 60.0
"""An alarm ends where the difference has been below this share of what raises it for so long [s]."""

SOUND_C = (-20.0, 180.0)
"""A reading outside is a bad sensor's, and told as such [°C]."""

NODE = {"winding": W, "housing": H, "driver": H}
"""Kind of sensor -> node that it measures, the best first."""


class DriftWatch:
    """Compares the sensors of several motors with a model that never hears of them."""

    def __init__(self, model: TwoNodeModel, config: ObserverConfig | None = None) -> None:
        """Take the motors' constants, and what is expected of air, friction and sensors."""
        self._model = HeatObserver(model, config)
        count = len(model)
        self._begun = np.zeros(count, dtype=bool)
        self._apart_s, self._back_s = np.zeros(count), np.zeros(count)
        self.drift_k: Array = np.full(count, np.nan)
        """How much hotter a sensor has read than the constants say, the mean of a minute [K]; NaN without one."""
        self.alarm: NDArray[np.bool_] = np.zeros(count, dtype=bool)
        """Which motors have been beyond explanation for minutes."""

    def step(self, load: Load, dt_s: float, readings: Mapping[str, Array]) -> None:
        """Let `dt_s` [s] pass under a load [W] with readings: kind -> (motors,) [°C], NaN for none."""
        self._model.step(load, dt_s)
        measured, expected, std = self._told(readings)
        self._begin(measured)
        drift = np.where(self._begun, measured - expected, np.nan)
        before = np.where(np.isnan(self.drift_k), drift, self.drift_k)
        self.drift_k = before + min(1.0, dt_s / MEAN_S) * (drift - before)
        allowed = np.maximum(APART_K, np.where(self.drift_k < 0, COLD_SIGMA, HOT_SIGMA) * std)
        # A reading that is missing says nothing for either side.
        told = np.isfinite(self.drift_k)
        apart = np.abs(self.drift_k) > allowed
        back = np.abs(self.drift_k) < BACK_RATIO * allowed
        self._apart_s = np.where(told & ~apart, 0.0, self._apart_s + dt_s * apart)
        self._back_s = np.where(told & ~back, 0.0, self._back_s + dt_s * back)
        self.alarm = (self.alarm | (self._apart_s >= APART_S)) & (self._back_s < BACK_S)

    def _told(self, readings: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """Return each motor's best reading, what the model alone expects of it [°C], and how surely [K]."""
        model = self._model
        measured, expected, std = (np.full(len(self.alarm), np.nan) for _ in range(3))
        for kind, node in NODE.items():
            values = readings.get(kind)
            if values is None:
                continue
            take = np.isnan(measured) & (values > SOUND_C[0]) & (values < SOUND_C[1])
            sensor = getattr(model.config, kind)
            spread = np.sqrt(model.covariance[:, node, node] + sensor.std_k**2 + sensor.step_k**2 / 12)
            measured = np.where(take, values, measured)
            expected, std = np.where(take, model.mean[:, node], expected), np.where(take, spread, std)
        return measured, expected, std

    def _begin(self, measured: Array) -> None:
        """Let the model begin as warm as the first readings: the motors may have worked before."""
        first = ~self._begun & np.isfinite(measured)
        if first.any():
            self._model.mean[first, W] = self._model.mean[first, H] = measured[first]
            self._begun |= first

    def describe(self, motor: int) -> str:
        """Return what is wrong with a motor, in words; empty where nothing is."""
        if not self.alarm[motor]:
            return ""
        drift = self.drift_k[motor]
        if drift < 0:
            return f"{-drift:.0f} K colder than its constants say: another motor, or a sensor that is off?"
        return f"{drift:.0f} K hotter than its constants say: blocked fan or another motor?"
