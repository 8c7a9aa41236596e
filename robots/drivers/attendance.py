"""Which motors of a bus answer, and how long each has been silent."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Attendance:
    """Kept by drivers whose motors answer one by one. Ages are told by the monotonic clock: a wall clock may jump."""

    def __init__(self, motors: int) -> None:
        """Take how many motors there are; none has been heard yet."""
        self.heard_ns = np.zeros(motors, dtype=np.int64)
        """When each was heard last [ns since the epoch]."""
        self.missed = [""] * motors
        """Whose last answer did not come, in words; empty where it did."""
        self._heard_s = np.full(motors, -np.inf)

    def heard(self, motor: int) -> None:
        """Take note of an answer."""
        self.heard_ns[motor], self._heard_s[motor] = time.time_ns(), time.monotonic()

    def close(self, asked: Sequence[int], silent: Sequence[int]) -> None:
        """End a cycle in which some were asked, of whom some did not answer."""
        now = time.monotonic()
        for motor in asked:
            late_ms = (now - self._heard_s[motor]) * 1e3
            self.missed[motor] = f"no answer for {late_ms:.0f} ms" if motor in silent else ""

    def lost(self, patience_s: float) -> list[int]:
        """Return the motors that have been silent for longer than `patience_s` [s]."""
        silent_s = time.monotonic() - self._heard_s
        return [motor for motor, missed in enumerate(self.missed) if missed and silent_s[motor] > patience_s]

    @property
    def known(self) -> NDArray[np.float64]:
        """1 for a motor that answered in the last cycle, NaN for one that did not, (motors,)."""
        return np.array([np.nan if missed else 1.0 for missed in self.missed])
