"""A finding of a check, on a recorded episode or on one that is being recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A problem of an episode, or a note on it."""

    level: Literal["problem", "note"]
    """A problem makes the check fail; a note does not."""
    kind: str
    """The check that reports it: rate, gap, loss, ..."""
    stream: str
    """The stream; empty for the whole episode."""
    text: str
    """The finding and the expected value."""


def problem(kind: str, stream: str, text: str) -> Finding:
    """Return a problem."""
    return Finding(level="problem", kind=kind, stream=stream, text=text)


def note(kind: str, stream: str, text: str) -> Finding:
    """Return a note."""
    return Finding(level="note", kind=kind, stream=stream, text=text)
