"""Which motors of a bus respond, and when each responded last."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray


class ResponseTracker:
    """Responses of motors that are queried one by one.

    Ages are measured with the monotonic clock, because the wall clock may jump.
    """

    def __init__(self, motors: int) -> None:
        """Track `motors` motors, none of which has responded yet."""
        self.stamp_ns = np.zeros(motors, dtype=np.int64)
        """Time of each motor's last response, shape (motors,) [ns since the epoch]."""
        self.missed = [""] * motors
        """Per motor, why its reading is old, such as "no response for 40 ms"; empty if it is current."""
        self._monotonic_s = np.full(motors, -np.inf)
        self._missing_s = np.zeros(motors)
        """Time at which each motor missed a cycle after one in which it responded."""

    def responded(self, motor: int, age_s: float = 0.0) -> None:
        """Record a response that has just arrived, and whose values are up to `age_s` old [s]."""
        self.stamp_ns[motor] = time.time_ns() - int(age_s * 1e9)
        self._monotonic_s[motor] = time.monotonic() - age_s

    def age_s(self, motor: int) -> float:
        """Return the time since a motor's last response [s]; infinity before the first one."""
        return time.monotonic() - float(self._monotonic_s[motor])

    def end_cycle(self, queried: Sequence[int], silent: Collection[int]) -> None:
        """Finish a cycle in which the motors `queried` were queried and `silent` did not respond."""
        now_s = time.monotonic()
        for motor in queried:
            age_ms = (now_s - self._monotonic_s[motor]) * 1e3
            if not self.missed[motor]:
                self._missing_s[motor] = now_s
            text = f"no response for {age_ms:.0f} ms" if np.isfinite(age_ms) else "no response yet"
            self.missed[motor] = text if motor in silent else ""

    def lost(self, timeout_s: float) -> list[int]:
        """Return the motors that have been queried for longer than `timeout_s` [s] without a response."""
        since_s = np.where(np.isfinite(self._monotonic_s), np.maximum(self._monotonic_s, self._missing_s), -np.inf)
        age_s = time.monotonic() - since_s
        return [motor for motor, missed in enumerate(self.missed) if missed and age_s[motor] > timeout_s]

    @property
    def current(self) -> NDArray[np.float64]:
        """1 for each motor that responded in the last cycle and NaN for the others, shape (motors,)."""
        return np.array([np.nan if missed else 1.0 for missed in self.missed])
