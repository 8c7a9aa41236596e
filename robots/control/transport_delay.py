"""How much later than usual a message arrives, from the clocks of its publisher and its receiver."""

from __future__ import annotations

from collections import deque

WINDOW_NS = 10_000_000_000
"""Time for which messages must arrive with a larger offset before that becomes the usual one [ns]."""


class TransportDelay:
    """Delays of the messages of a topic.

    The difference between the time of receipt and that of publication contains the difference between two clocks. Its
    minimum over the last seconds is taken as that difference and the usual delay; only what exceeds it is late.
    """

    def __init__(self) -> None:
        """Start without messages."""
        self._minima: deque[tuple[int, int]] = deque()

    def late_ns(self, published_ns: int, now_ns: int) -> int:
        """Register a message and return by how much it is later than usual, 0 or more [ns].

        Args:
            published_ns: When it was published, by the publisher's clock [ns].
            now_ns: When it is handled [ns].
        """
        offset = now_ns - published_ns
        # A minimum is replaced by one that has itself lasted: after a stall of any length, the old one still counts.
        while len(self._minima) > 1 and self._minima[1][0] < now_ns - WINDOW_NS:
            self._minima.popleft()
        # Increasing offsets only: the first one is the minimum of the window.
        while self._minima and self._minima[-1][1] > offset:
            self._minima.pop()
        if not self._minima or self._minima[-1][1] < offset:  # an equal one has lasted for longer
            self._minima.append((now_ns, offset))
        return offset - self._minima[0][1]
