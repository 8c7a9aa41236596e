"""How long the disk still lasts. An episode needs its room twice: as a journal, and as the sealed copy beside it."""

from __future__ import annotations

import shutil
from collections import deque
from dataclasses import dataclass
from pathlib import Path

RESERVE_BYTES = 64_000_000
"""Room that recording leaves free, for the system and for closing the episode [bytes]."""

SEAL_RATIO = 1.05
"""Size of a sealed episode over its journal's, at most: packets are copied, numbers are compressed."""

WINDOW_S = 10.0
"""The rate of writing is taken over so long [s]."""

LOW_S = 600.0
"""Less than this is said as a warning [s]."""


@dataclass(frozen=True, slots=True)
class Space:
    """What the disk still takes."""

    seconds_left: float
    """Seconds of recording at the present rate; infinite while nothing is written."""

    @property
    def low(self) -> bool:
        """Whether the operator should be warned."""
        return self.seconds_left < LOW_S

    @property
    def full(self) -> bool:
        """Whether recording must stop now, so that the episode can still be closed."""
        return self.seconds_left <= 0.0

    def __str__(self) -> str:
        """Say it in minutes."""
        if self.seconds_left == float("inf"):
            return "disk: no rate yet"
        return f"disk: {max(self.seconds_left, 0) / 60:.0f} min left"


def space_left(free_bytes: float, journal_bytes: float, bytes_per_s: float) -> Space:
    """Return how long recording can go on so that the journal and its sealed copy both still fit."""
    room = free_bytes - SEAL_RATIO * journal_bytes - RESERVE_BYTES
    if room <= 0:
        return Space(0.0)
    return Space(room / ((1 + SEAL_RATIO) * bytes_per_s) if bytes_per_s > 0 else float("inf"))


class DiskWatch:
    """Follows the rate of writing and the room that is left in a folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder that is recorded into."""
        self._folder = folder
        self._written: deque[tuple[float, int]] = deque()
        self._rate = 0.0

    def check(self, now_s: float, journal_bytes: int, free_bytes: int | None = None) -> Space:
        """Return the room that is left, given the live journal's size; 0 bytes while none is written."""
        if self._written and journal_bytes < self._written[-1][1]:
            self._written.clear()  # another episode; the rate of the last one stands until this one has its own
        self._written.append((now_s, journal_bytes))
        while now_s - self._written[0][0] > WINDOW_S:
            self._written.popleft()
        first_s, first_bytes = self._written[0]
        span = now_s - first_s
        if span >= 1.0 and journal_bytes > first_bytes:
            self._rate = (journal_bytes - first_bytes) / span
        free = shutil.disk_usage(self._folder).free if free_bytes is None else free_bytes
        return space_left(free, journal_bytes, self._rate)
