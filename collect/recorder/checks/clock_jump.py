"""Detection of jumps of the system clock, which make the timestamps before and after them inconsistent."""

from __future__ import annotations

JUMP_S = 0.010
"""The smallest step that counts as a jump [s]; slewing moves a clock by at most 0.5 ms per second (adjtime(3))."""


class ClockWatch:
    """Compares the wall clock with a monotonic one; both times are arguments."""

    def __init__(self, wall_ns: int, monotonic_ns: int) -> None:
        """Initialize with both clocks at one instant [ns]."""
        self._offset_ns = wall_ns - monotonic_ns

    def check(self, wall_ns: int, monotonic_ns: int) -> int:
        """Return the jump of the wall clock since the last check [ns]; 0 if there was none."""
        offset = wall_ns - monotonic_ns
        jump = offset - self._offset_ns
        self._offset_ns = offset
        return jump if abs(jump) >= JUMP_S * 1e9 else 0
