"""Notices for the operator: warnings, errors, and their end."""

from __future__ import annotations

from dataclasses import dataclass

from waldo.robots.diagnostics import OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A line of text for the operator."""

    level: int = OK
    """Diagnostic level: `OK` for information and for the end of a fault, `WARN` or `ERROR`."""
    text: str
    confirmation: bool = False
    """Whether it confirms a request of the operator, who looks at the robot: it is then signaled by sound too."""
