"""A gate: something that must be in order before an episode starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Something that is not in order."""

    name: str
    """Its name: "stream cameras/front", "camera front", "clock", "disk", "heat elbow_flex"."""
    reason: str
    """Why, and what to do."""
