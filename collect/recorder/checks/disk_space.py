"""Remaining recording time on a disk. An episode requires its size twice: as a journal and as the finalized copy."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass
from pathlib import Path

RESERVE_BYTES = 64_000_000
"""Free space that a recording leaves for the system and for closing the episode [bytes]."""

FINALIZED_RATIO = 1.05
"""Maximum size of a finalized episode over that of its journal: packets are copied, numbers are compressed."""

WINDOW_S = 10.0
"""Window over which the write rate is measured [s]."""

MIN_SPAN_S = 1.0
"""Minimum span of a measurement of the write rate [s]."""

LOW_S = 600.0
"""Less remaining time than this is a warning [s]."""


@dataclass(frozen=True, slots=True)
class Space:
    """Remaining recording time on the disk."""

    remaining_s: float
    """Remaining time at the present write rate [s]; infinite while nothing is written."""

    @property
    def low(self) -> bool:
        """Whether to warn the operator."""
        return self.remaining_s < LOW_S

    @property
    def full(self) -> bool:
        """Whether recording must stop now to leave enough space for closing the episode."""
        return self.remaining_s <= 0.0

    def __str__(self) -> str:
        """Return the remaining time in minutes."""
        if self.remaining_s == float("inf"):
            return "disk: rate unknown"
        return f"disk: {max(self.remaining_s, 0) / 60:.0f} min remaining"


def remaining_space(free_bytes: float, journal_bytes: float, bytes_per_s: float) -> Space:
    """Return the time after which the journal and its finalized copy no longer fit together.

    Args:
        free_bytes: Free space on the disk.
        journal_bytes: Present size of the journal.
        bytes_per_s: Write rate; 0 if unknown.
    """
    room = free_bytes - FINALIZED_RATIO * journal_bytes - RESERVE_BYTES
    if room <= 0:
        return Space(0.0)
    return Space(room / ((1 + FINALIZED_RATIO) * bytes_per_s) if bytes_per_s > 0 else float("inf"))


class DiskWatch:
    """Measures the write rate and the remaining recording time of a folder."""

    def __init__(self, folder: Path) -> None:
        """Initialize for the folder of a dataset."""
        self._folder = folder
        self._written: deque[tuple[float, int]] = deque()
        self._rate = 0.0

    def check(self, now_s: float, journal_bytes: int, free_bytes: int | None = None) -> Space:
        """Return the remaining recording time.

        Args:
            now_s: Time of a monotonic clock [s].
            journal_bytes: Size of the live journal; 0 without one.
            free_bytes: Free space, for tests; by default that of the disk.
        """
        if self._written and journal_bytes < self._written[-1][1]:
            self._written.clear()  # a new episode; the previous rate stands until the new one is measured
        self._written.append((now_s, journal_bytes))
        while now_s - self._written[0][0] > WINDOW_S:
            self._written.popleft()
        first_s, first_bytes = self._written[0]
        span = now_s - first_s
        if span >= MIN_SPAN_S and journal_bytes > first_bytes:
            self._rate = (journal_bytes - first_bytes) / span
        free = shutil.disk_usage(self._folder).free if free_bytes is None else free_bytes
        return remaining_space(free, journal_bytes, self._rate)
