"""Lost messages of a stream, counted from gaps in the publisher's sequence numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""Sequence number of a message from a publisher that does not count."""


def gaps(sequence: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of missing messages before each message, shape (T,).

    A number that goes back starts a new count, as after a restart of the publisher. No loss is counted before the first
    message or next to messages without a number.
    """
    missing = np.zeros(len(sequence), np.int64)
    if len(sequence) > 1:
        steps = np.diff(sequence)
        known = (sequence[1:] >= 0) & (sequence[:-1] >= 0)
        missing[1:] = np.where(known & (steps > 1), steps - 1, 0)
    return missing


class LossCounter:
    """Counts the same losses message by message, while recording."""

    def __init__(self) -> None:
        self.lost = 0
        """Lost messages so far."""
        self._last = UNKNOWN

    def add(self, sequence: int) -> int:
        """Count a message and return the number of missing messages before it."""
        missing = max(0, sequence - self._last - 1) if sequence >= 0 and self._last >= 0 else 0
        self._last = sequence
        self.lost += missing
        return missing
