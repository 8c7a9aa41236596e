"""Events for the log: what happened to a robot, and how severe it is."""

from __future__ import annotations

from dataclasses import dataclass

from waldo.robots.diagnostics import OK


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a robot or one of its components."""

    text: str
    level: int = OK
    """Diagnostic level, which is also the severity in the log: `OK` is logged as information."""
