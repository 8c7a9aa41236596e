"""The nominal rate of a robot's states: the announced rate, or else the measured one."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

MIN_RATE_SAMPLES = 5
"""Smallest number of states from which the robot's rate is measured."""

MAX_RATE_SAMPLES = 300
"""Largest number of states from which the robot's rate is measured."""

RATE_TOLERANCE = 1.5
"""Factor up to which a measured rate counts as the dataset's."""

COMMON_RATES_HZ = tuple(
    map(float, (10, 15, 20, 25, 30, 40, 50, 60, 75, 90, 100, 120, 125, 150, 200, 250, 300, 400, 500, 1000))
)
"""Control rates that are common [Hz]."""

COMMON_RATE_TOLERANCE = 0.08
"""Relative difference up to which a measured rate is rounded to a common one."""


class StateRate:
    """Measures the rate of the states between episodes."""

    def __init__(self) -> None:
        """Initialize without states."""
        self._stamps_ns: deque[int] = deque(maxlen=MAX_RATE_SAMPLES)

    def __len__(self) -> int:
        """Return the number of states of the present measurement."""
        return len(self._stamps_ns)

    def add(self, header_ns: int) -> None:
        """Add the stamp of a state [ns]."""
        self._stamps_ns.append(header_ns)

    def clear(self) -> None:
        """Start a new measurement."""
        self._stamps_ns.clear()

    def nominal_hz(self, announced_hz: float | None, known_hz: float | None) -> float | None:
        """Return the nominal rate [Hz]; None if it is not known yet.

        Args:
            announced_hz: Rate that the robot states [Hz]; None if it does not state it.
            known_hz: Rate of the dataset's last episode [Hz], which counts as the measured one unless that differs by
                more than `RATE_TOLERANCE`; None without an episode.
        """
        if announced_hz is not None:
            return announced_hz
        measured_hz = self._measured_hz()
        if measured_hz is None:
            return known_hz
        if known_hz is not None and 1 / RATE_TOLERANCE < measured_hz / known_hz < RATE_TOLERANCE:
            return known_hz
        return round_rate(measured_hz)

    def _measured_hz(self) -> float | None:
        """Return the rate of the last states [Hz]: from the median interval, since a busy machine delays some."""
        if len(self._stamps_ns) < MIN_RATE_SAMPLES:
            return None
        period_ns = float(np.median(np.diff(self._stamps_ns)))
        return 1e9 / period_ns if period_ns > 0 else None


def round_rate(measured_hz: float) -> float:
    """Return the nearest common rate if it is close to a measured one, else the measured rate as an integer [Hz]."""
    common_hz = min(COMMON_RATES_HZ, key=lambda hz: abs(math.log(hz / measured_hz)))
    return common_hz if abs(common_hz / measured_hz - 1) < COMMON_RATE_TOLERANCE else float(round(measured_hz))
