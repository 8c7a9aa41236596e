"""Changes in the statuses of motors and components.

A status is reported when its level or its text changes. Figures within a text are ignored, because a temperature or a
duration changes in every message. A decrease of the level is reported after a hold time, so that a value that varies
around a threshold is reported once. No ROS; the times are those of the messages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from waldo.robots.diagnostics import OK

STATUS_TOPIC = "status"
"""Topic in the robot's namespace with the statuses of its components."""

HOLD_S = 1.0
"""A lower level is reported after it has lasted this long [s]."""

FIGURE = re.compile(r"(?<![A-Za-z_\d.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
"""A number that is not part of a name such as joint_1 or camera2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChange:
    """The new status of a motor or component."""

    name: str
    """The joint or component: "elbow_flex", "camera front"."""
    level: int
    """Diagnostic level: `OK`, `WARN` or `ERROR`."""
    text: str
    """The status's message."""
    at_ns: int
    """Time of the message with the change [ns]."""
    previous_level: int | None = None
    """Level of the status reported before; None for the first one."""


@dataclass(slots=True)
class _Tracked:
    """The reported status of one motor or component, and a lower level that may follow it."""

    reported: StatusChange
    lower_since_ns: int | None = None


class StatusWatch:
    """Finds the changes in a sequence of statuses."""

    def __init__(self) -> None:
        self._tracked: dict[str, _Tracked] = {}

    def update(self, name: str, level: int, text: str, at_ns: int) -> StatusChange | None:
        """Return the change that a status is, or None.

        Args:
            name: The motor or component.
            level: Diagnostic level.
            text: The status's message.
            at_ns: Time of the message [ns].

        Returns:
            The first status of a name, and every later one with another level or text.
        """
        change = StatusChange(name=name, level=level, text=text, at_ns=at_ns)
        tracked = self._tracked.get(name)
        if tracked is None:
            self._tracked[name] = _Tracked(change)
            return change
        if _key(change) == _key(tracked.reported):
            tracked.lower_since_ns = None
            return None
        if level < tracked.reported.level:
            if tracked.lower_since_ns is None:
                tracked.lower_since_ns = at_ns
            if at_ns - tracked.lower_since_ns < HOLD_S * 1e9:
                return None
        change = replace(change, previous_level=tracked.reported.level)
        self._tracked[name] = _Tracked(change)
        return change

    @property
    def faults(self) -> list[StatusChange]:
        """The reported statuses with a warning or an error."""
        return [one.reported for one in self._tracked.values() if one.reported.level > OK]

    def reported(self, name: str) -> StatusChange | None:
        """Return the reported status of a motor or component; None before its first one."""
        tracked = self._tracked.get(name)
        return tracked.reported if tracked else None


def _key(status: StatusChange) -> tuple[int, str]:
    return status.level, FIGURE.sub("#", status.text)
