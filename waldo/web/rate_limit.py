"""A limit of how often something may happen (token bucket)."""

from __future__ import annotations

import time
from collections.abc import Callable


class RateLimit:
    """Allows a mean rate, and bursts above it."""

    def __init__(self, rate_hz: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Initialize.

        Args:
            rate_hz: Mean rate [1/s].
            burst: How many may happen at once after a pause.
            clock: Returns a time [s].
        """
        self._rate_hz, self._burst, self._clock = rate_hz, burst, clock
        self._available, self._at_s = float(burst), clock()

    def allow(self) -> bool:
        """Count one, and return whether it is within the limit."""
        now_s = self._clock()
        elapsed_s = max(0.0, now_s - self._at_s)
        self._available = min(self._burst, self._available + elapsed_s * self._rate_hz)
        self._at_s = now_s
        if self._available < 1:
            return False
        self._available -= 1
        return True
