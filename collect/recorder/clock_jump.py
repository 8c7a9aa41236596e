"""Jumps of the machine's clock: a step by NTP or by hand would tear a recording's times apart unseen."""

from __future__ import annotations

JUMP_S = 0.010
"""The smallest step that counts [s]; slewing a clock moves it by at most 0.5 ms a second (adjtime(3))."""


class ClockWatch:
    """Compares the clock that stamps messages with one that only goes forward. Both are passed in."""

    def __init__(self, wall_ns: int, monotonic_ns: int) -> None:
        """Take both clocks at one instant [ns]."""
        self._offset_ns = wall_ns - monotonic_ns

    def check(self, wall_ns: int, monotonic_ns: int) -> int:
        """Return by how much the clock has jumped since the last check [ns]; 0 if it has not."""
        offset = wall_ns - monotonic_ns
        jump = offset - self._offset_ns
        self._offset_ns = offset
        return jump if abs(jump) >= JUMP_S * 1e9 else 0
