"""How many messages of a stream are missing, from the publisher's sequence numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""The sequence number of a message whose publisher does not count."""


def gaps(sequence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many messages are missing before each message, shape (T,).

    Numbers count up by one. One that goes back begins a new count (the publisher was started again); before the first
    message, and beside messages without a number, nothing is known to be missing.
    """
    missing = np.zeros(len(sequence), np.int64)
    if len(sequence) > 1:
        steps = np.diff(sequence)
        known = (sequence[1:] >= 0) & (sequence[:-1] >= 0)
        missing[1:] = np.where(known & (steps > 1), steps - 1, 0)
    return missing


class LossCounter:
    """The same, message by message, while recording."""

    def __init__(self) -> None:
        """Start before the first message."""
        self.lost = 0
        self._last = UNKNOWN

    def add(self, sequence: int) -> int:
        """Count a message and return how many were missing before it."""
        missing = max(0, sequence - self._last - 1) if sequence >= 0 and self._last >= 0 else 0
        self._last = sequence
        self.lost += missing
        return missing
