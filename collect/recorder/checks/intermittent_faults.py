"""Faults that come and go, such as those of a loose cable: each is short, and together they spoil a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from waldo.collect.recorder.checks.gate import Gate
from waldo.collect.status_watch import StatusChange
from waldo.robots.diagnostics import WARN

WINDOW_NS = 30_000_000_000
"""Time over which faults are counted [ns]."""
FEW = 3
"""Number of faults of a motor or component within that time from which it is not in order."""
RESPONSE = "no response"
"""Text in the status of a motor that does not answer on its bus."""


class IntermittentFaults:
    """Counts how often each motor does not answer on its bus."""

    def __init__(self) -> None:
        """Initialize without faults."""
        self._at_ns: dict[str, deque[int]] = {}
        self._text: dict[str, str] = {}

    def add(self, changes: Iterable[StatusChange]) -> None:
        """Add changes of statuses."""
        for change in changes:
            if change.level >= WARN and RESPONSE in change.text:
                self._at_ns.setdefault(change.name, deque(maxlen=100)).append(change.at_ns)
                self._text[change.name] = change.text

    def gates(self, now_ns: int) -> list[Gate]:
        """Return a gate for each motor that has often not answered until a time [ns]."""
        found: list[Gate] = []
        for name, times in sorted(self._at_ns.items()):
            recent = sum(now_ns - at_ns <= WINDOW_NS for at_ns in times)
            if recent >= FEW:
                text = f"{recent} times in {WINDOW_NS / 1e9:g} s: {self._text[name]}; check its cable and connectors"
                found.append(Gate(name=f"bus {name}", reason=text))
        return found
