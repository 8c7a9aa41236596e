"""How long the battery lasts, from its charge over the last half hour. Time is passed in."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

EVERY_S = 10.0
"""Interval at which the charge is noted [s]."""
SPAN_S = 1800.0
"""Time over which the discharge is measured [s]."""
MIN_S = 120.0
"""Time from which it is measured [s]: the resolution of a charge is a percent."""


class BatteryForecast:
    """Extrapolates the charge by a straight line."""

    def __init__(self) -> None:
        """Initialize without a charge."""
        self._points: deque[tuple[float, float]] = deque()
        self.ratio = math.nan
        """The charge, 0 to 1; NaN if it is unknown."""

    def add(self, ratio: float, monotonic_s: float) -> None:
        """Add the charge at a time of a monotonic clock [s]; one that is no ratio makes it unknown."""
        self.ratio = ratio if 0.0 <= ratio <= 1.0 else math.nan
        if math.isnan(self.ratio):
            self._points.clear()
            return
        if self._points and monotonic_s - self._points[-1][0] < EVERY_S:
            return
        if self._points and self.ratio > self._points[-1][1] + 0.01:  # it is charged, or was replaced
            self._points.clear()
        self._points.append((monotonic_s, self.ratio))
        while monotonic_s - self._points[0][0] > SPAN_S:
            self._points.popleft()

    @property
    def remaining_s(self) -> float:
        """Time until the battery is empty [s]; infinite if its charge does not fall, NaN if that is not known yet."""
        if len(self._points) < 2 or self._points[-1][0] - self._points[0][0] < MIN_S:
            return math.nan
        times, ratios = np.array(self._points).T
        slope = float(np.polyfit(times - times[0], ratios, 1)[0])
        return self.ratio / -slope if slope < 0 else math.inf
