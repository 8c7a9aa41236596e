"""The offset between a page's clock and this machine's, from round trips.

Of the last round trips the shortest one counts: its offset is wrong by half of its duration at most (Mills, "Network
Time Protocol Version 4", RFC 5905, section 10).
"""

from __future__ import annotations

import math
from collections import deque

WINDOW = 20
"""Number of round trips among which the shortest one is chosen."""
MAX_ROUND_TRIP_S = 1.0
"""Duration of a round trip from which it is ignored [s]."""


class ClockOffset:
    """Converts times of a page's clock to this machine's."""

    def __init__(self) -> None:
        """Initialize without a round trip: every time is unknown."""
        self._trips: deque[tuple[int, int]] = deque(maxlen=WINDOW)
        """Duration and offset of each round trip [ns]."""

    def add(self, sent_ns: int, page_ms: float, received_ns: int) -> None:
        """Add a round trip.

        Args:
            sent_ns: When this machine asked [ns].
            page_ms: The page's time when it answered [ms].
            received_ns: When the answer arrived [ns].
        """
        duration_ns = received_ns - sent_ns
        if not 0 <= duration_ns <= MAX_ROUND_TRIP_S * 1e9 or not math.isfinite(page_ms):
            return
        self._trips.append((duration_ns, (sent_ns + received_ns) // 2 - round(page_ms * 1e6)))

    def stamp_ns(self, page_ms: float, now_ns: int) -> int | None:
        """Return a time of the page on this machine's clock [ns], not later than now; None without a round trip.

        Args:
            page_ms: Time on the page's clock [ms].
            now_ns: The present [ns].
        """
        if not self._trips:
            return None
        _, offset_ns = min(self._trips)
        return min(round(page_ms * 1e6) + offset_ns, now_ns)
