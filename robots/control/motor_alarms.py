"""Log events of motor faults, sensor and drift warnings, and heat levels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from waldo.robots.control.changes import ChangeFilter
from waldo.robots.diagnostics import ERROR, OK, WARN, WARN_MARGIN_K, level_of
from waldo.robots.event import Event
from waldo.robots.motor_readings import MotorReadings

HYSTERESIS_K = 2.0
"""A heat level ends once the winding is this far below the threshold at which it began [K]."""


class MotorAlarms:
    """Reports each change of a motor's faults and heat level once."""

    def __init__(self, joints: Sequence[str]) -> None:
        self._joints = joints
        self._notes = ChangeFilter()
        self._levels = [OK] * len(joints)

    def update(self, readings: MotorReadings) -> list[Event]:
        """Return the events of new readings."""
        return [event for i in range(len(self._joints)) for event in self._motor_events(i, readings)]

    def _motor_events(self, i: int, readings: MotorReadings) -> Iterator[Event]:
        joint, note = self._joints[i], readings.notes[i]
        if self._notes.changed(joint, note):
            yield Event(f"motor {joint}: {note}", WARN) if note else Event(f"motor {joint}: fault cleared")
        winding_c, limit_c = float(readings.winding_c[i]), float(readings.limit_c[i])
        level, text = level_of(winding_c, limit_c)
        last, headroom = self._levels[i], limit_c - winding_c
        begins_at = {ERROR: 0.0, WARN: WARN_MARGIN_K}.get(last, -math.inf)
        if level > last or (level < last and headroom > begins_at + HYSTERESIS_K):
            self._levels[i] = level
            yield Event(f"motor {joint}: {text}", level)
