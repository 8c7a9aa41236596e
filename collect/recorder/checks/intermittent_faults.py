"""Faults that come and go, such as those of a loose cable: each is short, and together they spoil a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from waldo.collect.recorder.checks.gate import Gate
from waldo.robots.diagnostics import WARN, MotorStatus

WINDOW_NS = 30_000_000_000
"""Time over which faults are counted [ns]."""
FEW = 3
"""Number of faults of a motor or component within that time from which it is not in order."""
RESPONSE = "no response"
"""Text in the status of a motor that does not answer on its bus."""


class IntermittentFaults:
    """Counts how often each motor does not answer on its bus.

    It counts the statuses themselves: their changes are reported with a hold time, so that a motor that does not answer
    every half second counts as one long fault there.
    """

    def __init__(self) -> None:
        """Initialize without faults."""
        self._at_ns: dict[str, deque[int]] = {}
        self._text: dict[str, str] = {}
        self._silent: set[str] = set()

    def add(self, statuses: Mapping[str, MotorStatus], at_ns: int) -> None:
        """Add the statuses of the motors at a time [ns]."""
        silent = {name for name, one in statuses.items() if one.level >= WARN and RESPONSE in one.message}
        for name in silent - self._silent:
            self._at_ns.setdefault(name, deque(maxlen=100)).append(at_ns)
            self._text[name] = statuses[name].message
        self._silent = silent

    def gates(self, now_ns: int) -> list[Gate]:
        """Return a gate for each motor that has often not answered until a time [ns]."""
        found: list[Gate] = []
        for name, times in sorted(self._at_ns.items()):
            recent = sum(now_ns - at_ns <= WINDOW_NS for at_ns in times)
            if recent >= FEW:
                text = f"{recent} times in {WINDOW_NS / 1e9:g} s: {self._text[name]}; check its cable and connectors"
                found.append(Gate(name=f"bus {name}", reason=text))
        return found
